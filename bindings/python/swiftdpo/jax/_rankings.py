"""Plackett-Luce: losses over ranked lists of responses."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .. import rankings as host
from .._typing import FirstChoice, Nonfinite, Reduction, Ties, Unlisted
from ._calls import Arrays, Call
from ._enums import FIRST_CHOICES, NONFINITE, REDUCTIONS, TIES, UNLISTED
from ._heads import Head, as_integers, as_reals, check_shapes, loss, number_or_array, refuse_bad_options


class PlackettLuceLoss(NamedTuple):
    """What `plackett_luce_loss` returns. Gradients go through `loss` alone."""

    loss: jax.Array
    """The reduced loss; with ``reduction="none"`` one for each group."""
    rewards: jax.Array
    """Score of each item, beta * (log pi(y|x) - log ref(y|x))."""


def _host(inputs: dict[str, Any], options: dict[str, Any], outputs: tuple[str, ...]) -> Mapping[str, Any]:
    return host.plackett_luce_loss(**options, **inputs)._asdict()


def _attributes(options: dict[str, Any]) -> dict[str, Any]:
    """As `swiftdpo_plackett_luce_options` has them."""
    attributes = {
        "reduction": np.int32(REDUCTIONS[options["reduction"]]),
        "nonfinite": np.int32(NONFINITE[options["nonfinite"]]),
        "unlisted": np.int32(UNLISTED[options["unlisted"]]),
        "first_choice": np.int32(FIRST_CHOICES[options["first_choice"]]),
        "ties": np.int32(TIES[options["ties"]]),
        "top": np.int64(options["top"] or 0),
    }
    if "beta" in options:
        attributes["beta"] = np.float64(options["beta"])
    return attributes


def _groups(inputs: Arrays) -> tuple[int, ...]:
    offsets = inputs.get("offsets")
    return (inputs["policy_logps"].shape[0] if offsets is None else offsets.shape[0] - 1,)


def _spread(cotangents: jax.Array, inputs: Arrays, gradient: jax.Array) -> jax.Array:
    if "offsets" not in inputs:
        return cotangents[:, None]
    return jnp.repeat(cotangents, jnp.diff(inputs["offsets"]), total_repeat_length=gradient.shape[0])


HEAD = Head(
    call=Call("plackett_luce_loss", _host, _attributes, {"beta": "betas"}),
    leading="policy_logps",
    results=("rewards",),
    gradients={"policy_logps": ("grad_policy_logps", 1), "ref_logps": ("grad_policy_logps", -1)},
    rows=_groups,
    shape_of=lambda name, inputs: inputs["policy_logps"].shape,
    spread=_spread,
)


def plackett_luce_loss(
    policy_logps: Any,
    ref_logps: Any | None = None,
    beta: Any = 0.1,
    rankings: Any | None = None,
    *,
    ranks: Any | None = None,
    top: int | None = None,
    unlisted: Unlisted = "error",
    first_choice: FirstChoice = "best",
    offsets: Any | None = None,
    weights: Any | None = None,
    position_weights: Any | None = None,
    ties: Ties = "breslow",
    tie_strengths: Any | None = None,
    reduction: Reduction = "mean",
    nonfinite: Nonfinite = "propagate",
) -> PlackettLuceLoss:
    """Negative log-likelihood of rankings: `swiftdpo.plackett_luce_loss`, which explains it, for JAX.

    Differentiable (reverse mode, once) by `policy_logps` and `ref_logps`. Array arguments may be traced; the
    others are Python values. `jax.vmap` makes batches of batches.
    """
    reals = {
        "policy_logps": policy_logps,
        "ref_logps": ref_logps,
        "weights": weights,
        "position_weights": position_weights,
    }
    arrays = as_reals(reals) | as_integers({"rankings": rankings, "ranks": ranks, "offsets": offsets})
    if tie_strengths is not None:
        arrays["tie_strengths"] = as_reals({"tie_strengths": tie_strengths})["tie_strengths"]
    first = arrays["policy_logps"]
    single = first.ndim == 1 and offsets is None
    if single:
        items = ("policy_logps", "ref_logps", "rankings", "ranks")
        arrays = {name: array[None] if name in items else array for name, array in arrays.items()}
        if weights is not None:
            arrays["weights"] = jnp.atleast_1d(arrays["weights"])
        first = arrays["policy_logps"]
    if first.ndim != (2 if offsets is None else 1):
        expected = "(B, K) or (K,)" if offsets is None else "(N,), for offsets is given"
        raise ValueError(f"policy_logps has {first.ndim} dimensions; expected {expected}")
    if offsets is not None and (arrays["offsets"].ndim != 1 or arrays["offsets"].size == 0):
        raise ValueError("offsets must have one dimension, and an element more than there are groups")
    groups = _groups(arrays)
    options: dict[str, Any] = {
        "top": top,
        "unlisted": unlisted,
        "first_choice": first_choice,
        "ties": ties,
        "reduction": reduction,
        "nonfinite": nonfinite,
    }
    number_or_array("beta", beta, first.dtype, groups, arrays, options)
    per_item = dict.fromkeys(("ref_logps", "rankings", "ranks"), first.shape)
    check_shapes(arrays, per_item | {"weights": groups, "beta": groups})
    empty = dict.fromkeys(("policy_logps", *per_item), (0, *first.shape[1:])) | {"offsets": (1,)}
    # How many places and strengths there may be depends on the groups: those are looked at when the call
    # runs.
    known = {
        name: array for name, array in arrays.items() if name not in ("position_weights", "tie_strengths")
    }
    if ties != "davidson":
        refuse_bad_options(HEAD.call, known, empty, options)
    outputs = loss(HEAD, tuple(sorted(options.items())), arrays)
    if single:
        outputs = {"loss": outputs["loss"].reshape(()), "rewards": outputs["rewards"][0]}
    return PlackettLuceLoss(**outputs)
