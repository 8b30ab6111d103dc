"""The library's losses as a JAX user would write them, in double precision: JAX differentiates them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.nn import sigmoid as s
from jax.nn import softplus as sp

# L(z, u, v) where the label is surely right; x holds the other numbers of the pairs.
SURE = {
    "sigmoid": lambda z, u, v, x: sp(-z),
    "hinge": lambda z, u, v, x: jnp.maximum(0, 1 - z),
    "slic": lambda z, u, v, x: jnp.maximum(0, -z),
    "ipo": lambda z, u, v, x: ((z - 0.5) / x["beta"]) ** 2,
    "nca_pair": lambda z, u, v, x: sp(-u) + sp(u) / 2 + sp(v) / 2,
    "bco_pair": lambda z, u, v, x: sp(-u) + sp(v),
    "sppo_hard": lambda z, u, v, x: ((u - 0.5) ** 2 + (v + 0.5) ** 2) / x["beta"] ** 2,
    "apo_zero": lambda z, u, v, x: s(-u) + s(v),
    "apo_down": lambda z, u, v, x: s(u) + s(-z),
    "discopop": lambda z, u, v, x: (1 - s(z / 0.05)) * sp(-z) + s(z / 0.05) * jnp.exp(-z),
    "odds_ratio": lambda z, u, v, x: x["beta"] * sp(-z),
    "rao_kupper": lambda z, u, v, x: jnp.where(
        x["ties"],
        sp(jnp.log(2.0) - z) + sp(jnp.log(2.0) + z) - jnp.log(3.0),
        sp(jnp.log(2.0) - z),
    ),
    "davidson": lambda z, u, v, x: (
        jnp.log(1 + 4 * jnp.exp(-z / 2) + jnp.exp(-z)) + jnp.where(x["ties"], z / 2 - jnp.log(4.0), 0)
    ),
    "rpo_sq": lambda z, u, v, x: (z - x["reward_gaps"]) ** 2,
}
SAME = {"ipo_norm": "ipo", "sigmoid_norm": "sigmoid", "alphapo": "sigmoid"}


def bernoulli_kl(first, second):
    """KL between s(first) and s(second)."""
    return s(first) * (sp(-second) - sp(-first)) + s(-first) * (sp(second) - sp(first))


def scores(name, a, b, x):
    if name == "alphapo":
        return tuple(1 - jnp.exp(-y / n) for y, n in ((a, x["chosen_lengths"]), (b, x["rejected_lengths"])))
    if name == "odds_ratio":
        means = a / x["chosen_lengths"], b / x["rejected_lengths"]
        return tuple(y - jnp.log(-jnp.expm1(y)) for y in means)
    if name.endswith("_norm"):
        return a / x["chosen_lengths"], b / x["rejected_lengths"]
    return a, b


def quantiles(name, policy_chosen, policy_rejected, ref_chosen, ref_rejected):
    """What is compared: the score of each pair, and the other one of the same rank."""
    if name == "aot":
        own, other = policy_chosen - policy_rejected, ref_chosen - ref_rejected
    else:
        own, other = policy_chosen - ref_chosen, policy_rejected - ref_rejected
    ranks = jnp.argsort(jnp.argsort(own))
    return own, jnp.sort(other)[ranks]


def dpo(name, policy_chosen, policy_rejected, ref_chosen, ref_rejected, beta, margin, smoothing, x):
    """The mean loss of a batch, with every parameter that the tests give."""
    x = x | {"beta": beta}
    if name == "sft":
        tokens = x["sft_lengths"]
        return -x["sft_logps"].sum() / tokens.sum()
    if name.startswith("aot"):
        own, other = quantiles(name, policy_chosen, policy_rejected, ref_chosen, ref_rejected)
        z = beta * (own - other) - margin
        return jnp.mean((1 - smoothing) * sp(-z) + smoothing * sp(z))
    a, b = scores(name, policy_chosen - ref_chosen, policy_rejected - ref_rejected, x)
    scale = 1 if name == "odds_ratio" else beta
    z = scale * (a - b) - margin
    u, v = scale * a - margin / 2, scale * b + margin / 2
    if name == "robust":
        return jnp.mean(((1 - smoothing) * sp(-z) - smoothing * sp(z)) / (1 - 2 * smoothing))
    if name == "exo_pair":
        return jnp.mean(bernoulli_kl(z, jnp.log((1 - smoothing) / smoothing)))
    if name == "rpo_bwd_kl":
        return jnp.mean(bernoulli_kl(x["reward_gaps"], z))
    if name == "rpo_fwd_kl":
        return jnp.mean(bernoulli_kl(z, x["reward_gaps"]))
    sure = SURE[SAME.get(name, name)]
    right = sure(z, u, v, x)
    if name == "rpo_sq":
        return jnp.mean(right)
    doubt = (1 - smoothing) * right + smoothing * sure(-z, v, u, x)
    return jnp.mean(jnp.where(x["ties"], right, doubt) if name in ("rao_kupper", "davidson") else doubt)


def plackett_luce(scores, rankings):
    """The loss of each group."""
    best_first = jnp.take_along_axis(scores, rankings, 1)
    remaining = jax.lax.cumlogsumexp(best_first, axis=1, reverse=True)
    return (remaining - best_first).sum(1)


def sequence_logps(logits, labels, ignore_index=-100):
    """The log-probability of each sequence whose logits at t score the label at t + 1."""
    logits, labels = logits[:, :-1], labels[:, 1:]
    counts = labels != ignore_index
    chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), jnp.where(counts, labels, 0)[..., None], -1)[
        ..., 0
    ]
    return jnp.where(counts, chosen, 0).sum(1)


def kto(policy, ref, desirable, beta, kl):
    x = beta * (policy - ref - kl)
    return jnp.mean(s(jnp.where(desirable, -x, x)))


def bco(policy, ref, desirable, beta, delta):
    x = beta * (policy - ref) - delta
    return jnp.mean(sp(jnp.where(desirable, -x, x)))
