"""KTO and BCO: losses of single responses, each desirable or not."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .. import unpaired as host
from .._typing import Nonfinite, Reduction
from ._calls import Arrays, Call
from ._enums import NONFINITE, REDUCTIONS
from ._heads import Head, as_mask, as_reals, check_shapes, loss, number_or_array, refuse_bad_options


class ResponseLoss(NamedTuple):
    """What `kto_loss` and `bco_loss` return. Gradients go through `loss` alone."""

    loss: jax.Array
    """The reduced loss; with ``reduction="none"`` one for each response."""
    rewards: jax.Array
    """beta * (log pi(y|x) - log ref(y|x))."""


def _host(inputs: dict[str, Any], options: dict[str, Any], outputs: tuple[str, ...]) -> Mapping[str, Any]:
    arguments = {"ref_logps": None, **options, **inputs}
    baseline = float(arguments.pop("baseline"))
    if arguments["loss_type"] == "bco":
        del arguments["loss_type"]
        return host.bco_loss(**arguments, delta=baseline)._asdict()
    return host.kto_loss(**arguments, kl=baseline)._asdict()


def _attributes(options: dict[str, Any]) -> dict[str, Any]:
    """As `swiftdpo_unpaired_options` has them."""
    attributes = {
        "loss_type": np.int32(host.LOSS_TYPES[options["loss_type"]]),
        "reduction": np.int32(REDUCTIONS[options["reduction"]]),
        "nonfinite": np.int32(NONFINITE[options["nonfinite"]]),
        "desirable_weight": np.float64(options["desirable_weight"]),
        "undesirable_weight": np.float64(options["undesirable_weight"]),
    }
    for name in ("beta", "baseline"):
        if name in options:
            attributes[name] = np.float64(options[name])
    return attributes


def _rows(inputs: Arrays) -> tuple[int, ...]:
    return inputs["policy_logps"].shape


HEAD = Head(
    call=Call("unpaired_loss", _host, _attributes, {"beta": "betas", "grad_beta": "grad_betas"}),
    leading="policy_logps",
    results=("rewards",),
    gradients={
        "policy_logps": ("grad_policy_logps", 1),
        "ref_logps": ("grad_policy_logps", -1),
        "beta": ("grad_beta", 1),
    },
    rows=_rows,
    shape_of=lambda name, inputs: _rows(inputs),
    spread=lambda cotangents, inputs, gradient: cotangents,
)


def _loss(
    policy_logps: Any,
    ref_logps: Any | None,
    desirable: Any,
    beta: Any,
    baseline: Any,
    weights: Any | None,
    options: dict[str, Any],
) -> ResponseLoss:
    arrays = as_reals({"policy_logps": policy_logps, "ref_logps": ref_logps, "weights": weights})
    arrays["desirable"] = as_mask("desirable", desirable)
    first = arrays["policy_logps"]
    if first.ndim > 1:
        raise ValueError(
            f"policy_logps has {first.ndim} dimensions; expected 1, an element for each response "
            "(see jax.vmap)"
        )
    number_or_array("beta", beta, first.dtype, first.shape, arrays, options)
    check_shapes(arrays, dict.fromkeys(arrays, first.shape))
    if isinstance(baseline, float | int):
        options["baseline"] = float(baseline)
    else:
        arrays["baseline"] = jax.lax.stop_gradient(jnp.asarray(baseline))
        if arrays["baseline"].ndim or arrays["baseline"].dtype not in (jnp.float32, jnp.float64):
            raise TypeError("the baseline is one floating-point number")
    refuse_bad_options(HEAD.call, arrays, {"baseline": ()}, options)
    outputs = loss(
        HEAD,
        tuple(sorted(options.items())),
        {name: array if name == "baseline" else jnp.atleast_1d(array) for name, array in arrays.items()},
    )
    if first.ndim == 0:
        outputs = {name: array.reshape(()) for name, array in outputs.items()}
    return ResponseLoss(**outputs)


def kto_loss(
    policy_logps: Any,
    ref_logps: Any | None,
    desirable: Any,
    beta: Any = 0.1,
    *,
    kl: Any = 0.0,
    loss_type: Literal["kto", "apo_zero_unpaired"] = "kto",
    desirable_weight: float = 1.0,
    undesirable_weight: float = 1.0,
    weights: Any | None = None,
    reduction: Reduction = "mean",
    nonfinite: Nonfinite = "propagate",
) -> ResponseLoss:
    """Kahneman-Tversky optimization: `swiftdpo.kto_loss`, which explains it, for JAX.

    Differentiable (reverse mode, once) by `policy_logps`, `ref_logps`, and `beta` where it is an array.
    `kl` may be traced, and takes no part in gradients.
    """
    options = {
        "loss_type": loss_type,
        "desirable_weight": desirable_weight,
        "undesirable_weight": undesirable_weight,
        "reduction": reduction,
        "nonfinite": nonfinite,
    }
    if loss_type not in ("kto", "apo_zero_unpaired"):
        raise ValueError(f"loss_type is {loss_type!r}; expected 'kto' or 'apo_zero_unpaired'")
    return _loss(policy_logps, ref_logps, desirable, beta, kl, weights, options)


def bco_loss(
    policy_logps: Any,
    ref_logps: Any | None,
    desirable: Any,
    beta: Any = 0.1,
    *,
    delta: Any = 0.0,
    desirable_weight: float = 1.0,
    undesirable_weight: float = 1.0,
    weights: Any | None = None,
    reduction: Reduction = "mean",
    nonfinite: Nonfinite = "propagate",
) -> ResponseLoss:
    """Binary classifier optimization: `swiftdpo.bco_loss`, which explains it, for JAX; as `kto_loss`."""
    options = {
        "loss_type": "bco",
        "desirable_weight": desirable_weight,
        "undesirable_weight": undesirable_weight,
        "reduction": reduction,
        "nonfinite": nonfinite,
    }
    return _loss(policy_logps, ref_logps, desirable, beta, delta, weights, options)
