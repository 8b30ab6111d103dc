"""The library's formulas, evaluated a second time by other means.

Everything here is slow and obvious. Exact values are mpmath numbers of 50 digits, computed from the given
floats as they are, held in NumPy arrays of dtype object.
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np
from ulps import exactly, mp

exp = np.frompyfunc(mp.exp, 1, 1)
log1p = np.frompyfunc(mp.log1p, 1, 1)
maximum = np.frompyfunc(max, 2, 1)


def softplus(x):
    """log(1 + exp(x))."""
    return maximum(x, mp.mpf(0)) + log1p(exp(-abs(x)))


def sigmoid(x):
    """1 / (1 + exp(-x))."""
    return 1 / (1 + exp(-x))


def larger_term(towards, away):
    """The ruler for the difference of a gradient's two terms; None where there is just one."""
    return np.where((towards == 0) | (away == 0), None, maximum(towards, away))


def reduce(losses, reduction):
    """The reduced loss, and the factor that reduction gives each loss's gradient."""
    if reduction == "none":
        return losses, mp.mpf(1)
    share = 1 / mp.mpf(max(len(losses), 1) if reduction == "mean" else 1)
    return share * sum(losses, mp.mpf(0)), share


class Pairs(NamedTuple):
    """Exact results of dpo_loss, under its own names."""

    loss: object
    losses: np.ndarray
    grad_policy_chosen_logps: np.ndarray
    grad_policy_rejected_logps: np.ndarray
    chosen_rewards: np.ndarray
    rejected_rewards: np.ndarray
    gradient_weights: np.ndarray
    gradient_scale: np.ndarray  # see larger_term


def dpo(
    policy_chosen_logps,
    policy_rejected_logps,
    ref_chosen_logps=None,
    ref_rejected_logps=None,
    *,
    beta=0.1,
    label_smoothing=0.0,
    margin=None,
    weights=None,
    soft_labels=None,
    reduction="mean",
) -> Pairs:
    """-p log sigma(z) - (1 - p) log sigma(-z), by definition."""
    count = len(policy_chosen_logps)

    def given(values, default):
        return np.broadcast_to(exactly(default if values is None else values), (count,))

    beta, margin, weights = given(beta, 0.1), given(margin, 0.0), given(weights, 1.0)
    a = exactly(policy_chosen_logps) - given(ref_chosen_logps, 0.0)
    b = exactly(policy_rejected_logps) - given(ref_rejected_logps, 0.0)
    q = given(label_smoothing, 0.0) if soft_labels is None else 1 - exactly(soft_labels)
    p = 1 - q if soft_labels is None else exactly(soft_labels)
    z = beta * (a - b) - margin

    losses = weights * (p * softplus(-z) + q * softplus(z))
    loss, share = reduce(losses, reduction)
    factor = share * weights * beta
    towards, away = factor * p * sigmoid(-z), factor * q * sigmoid(z)
    return Pairs(
        loss,
        losses,
        away - towards,
        towards - away,
        beta * a,
        beta * b,
        sigmoid(-z),
        larger_term(towards, away),
    )


class Rankings(NamedTuple):
    """Exact results of plackett_luce_loss, under its own names."""

    loss: object
    losses: np.ndarray
    grad_policy_logps: np.ndarray
    rewards: np.ndarray
    gradient_weights: np.ndarray
    gradient_scale: np.ndarray  # see larger_term


def plackett_luce(
    policy_logps, ref_logps=None, *, beta=0.1, rankings=None, weights=None, reduction="mean"
) -> Rankings:
    """-log of the product of one softmax for each stage, by definition, from numbers exp(score)."""
    groups, size = np.shape(policy_logps)
    beta = np.broadcast_to(exactly(beta), (groups,))
    weights = np.broadcast_to(exactly(1.0 if weights is None else weights), (groups,))
    rewards = beta[:, None] * (exactly(policy_logps) - (0 if ref_logps is None else exactly(ref_logps)))
    rankings = np.broadcast_to(np.arange(size), (groups, size)) if rankings is None else np.asarray(rankings)

    losses, (picks_another, away) = [], np.empty((2, groups, size), dtype=object)
    for group in range(groups):
        order = rankings[group]
        worth = exp(rewards[group, order])  # mpmath's exponents have no bounds: nothing overflows
        remaining = np.cumsum(worth[::-1])[::-1]  # at stage k: of all items from k on
        others = np.append(remaining[1:], mp.mpf(0))  # at stage k: of all items after k
        losses.append(weights[group] * sum(log1p(others / worth), mp.mpf(0)))
        picks_another[group, order] = others / remaining
        away[group, order] = worth * np.append(mp.mpf(0), np.cumsum(1 / remaining[:-1]))
    losses = np.array(losses, dtype=object)
    loss, share = reduce(losses, reduction)
    factor = (share * weights * beta)[:, None]
    towards, away = factor * picks_another, factor * away
    return Rankings(loss, losses, away - towards, rewards, picks_another, larger_term(towards, away))


def ranking_probabilities(scores) -> dict[tuple[int, ...], float]:
    """The probability of each ranking of the items: one item after another is drawn from an urn."""
    worth = [math.exp(score) for score in scores]

    def draw(urn: tuple[int, ...]):
        if not urn:
            yield (), 1.0
        for first in urn:
            share = worth[first] / math.fsum(worth[item] for item in urn)
            for rest, probability in draw(tuple(item for item in urn if item != first)):
                yield (first, *rest), share * probability

    return dict(draw(tuple(range(len(worth)))))


def all_rankings(size: int) -> np.ndarray:
    """All size! rankings, one in each row."""
    return np.array(list(itertools.permutations(range(size))), dtype=np.int64)


def central_difference(function, x: np.ndarray, step: float) -> np.ndarray:
    """The gradient of a scalar function, of order step**4, from its values alone."""
    gradient = np.empty_like(x)
    for index in np.ndindex(x.shape):
        near, far = (_difference(function, x, index, factor * step) for factor in (1, 2))
        gradient[index] = (4 * near - far) / 3
    return gradient


def _difference(function, x, index, step):
    above, below = x.copy(), x.copy()
    above[index] += step
    below[index] -= step
    return (function(above) - function(below)) / (above[index] - below[index])


class Logps(NamedTuple):
    """Results of sequence_logps in double precision, under its own names."""

    logps: np.ndarray
    num_tokens: np.ndarray
    token_logps: np.ndarray
    log_normalizers: np.ndarray


def log_softmax(row) -> tuple[np.ndarray, float]:
    """Of one row, and its log-sum-exp: exponentials in double precision, summed without rounding."""
    row = np.asarray(row, dtype=np.float64)
    below_top = row - row.max()
    rest = math.log(math.fsum(np.exp(below_top).tolist()))
    return below_top - rest, row.max() + rest


def scored(logits, labels, shift):
    """Logits beside the labels that they score: position t and label t + 1 with shift."""
    return (logits[:, :-1], labels[:, 1:]) if shift else (logits, labels)


def sequence_logps(logits, labels, *, ignore_index=-100, shift=True, average=False) -> Logps:
    """logits[t, y] - log sum over v of exp(logits[t, v]) for each label that counts; reads no other row."""
    rows, labels = scored(logits, labels, shift)
    counts = labels != ignore_index
    token_logps, normalizers = np.zeros(labels.shape), np.zeros(labels.shape)
    for index in zip(*np.nonzero(counts), strict=True):
        log_probabilities, normalizers[index] = log_softmax(rows[index])
        token_logps[index] = log_probabilities[labels[index]]
    normalizers = np.pad(normalizers, ((0, 0), (0, logits.shape[1] - rows.shape[1])))  # one for each row
    num_tokens = counts.sum(axis=1)
    logps = np.array([math.fsum(tokens) for tokens in token_logps])
    if average:
        logps = logps / np.maximum(num_tokens, 1)
    return Logps(logps, num_tokens, token_logps, normalizers)


def probabilities(logits, labels, *, ignore_index=-100, shift=True) -> tuple[np.ndarray, np.ndarray]:
    """The one-hot label and the softmax of each row that scores a label that counts; 0 in other rows."""
    targets, softmax = np.zeros(logits.shape), np.zeros(logits.shape)
    rows, labels = scored(logits, labels, shift)
    for b, t in zip(*np.nonzero(labels != ignore_index), strict=True):
        targets[b, t, labels[b, t]] = 1
        softmax[b, t] = np.exp(log_softmax(rows[b, t])[0])
    return targets, softmax


def logits_gradient(logits, labels, grad_logps, *, average=False, **options) -> np.ndarray:
    """g * (1[v = y] - softmax(logits)[v])."""
    targets, softmax = probabilities(logits, labels, **options)
    if average:
        grad_logps = grad_logps / np.maximum(targets.sum(axis=(1, 2)), 1)
    return np.asarray(grad_logps)[:, None, None] * (targets - softmax)
