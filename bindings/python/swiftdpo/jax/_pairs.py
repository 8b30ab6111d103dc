"""Direct Preference Optimization and its relatives."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .. import dpo
from .._typing import Nonfinite, Reduction
from ..dpo import FDivergence, LossType
from ._calls import Call
from ._enums import NONFINITE, REDUCTIONS
from ._heads import (
    Head,
    as_integers,
    as_mask,
    as_reals,
    check_shapes,
    loss,
    number_or_array,
    refuse_bad_options,
)


class PairLoss(NamedTuple):
    """What `dpo_loss` returns. Gradients go through `loss` alone."""

    loss: jax.Array
    """The reduced loss; with ``reduction="none"`` one for each pair."""
    chosen_rewards: jax.Array
    """beta * (log pi(y_w|x) - log ref(y_w|x)), whatever the loss."""
    rejected_rewards: jax.Array
    """beta * (log pi(y_l|x) - log ref(y_l|x))."""


def _host(inputs: dict[str, Any], options: dict[str, Any], outputs: tuple[str, ...]) -> Mapping[str, Any]:
    arguments = {"ref_chosen_logps": None, "ref_rejected_logps": None, **options, **inputs}
    return dpo.dpo_loss(**arguments, more=True)._asdict()


def _attributes(options: dict[str, Any]) -> dict[str, Any]:
    """As `swiftdpo_dpo_options` has them."""
    types = options["loss_type"]
    attributes = {
        "loss_types": np.array([dpo.LOSS_TYPES[name] for name in types], np.int32),
        "f_divergence": np.int32(dpo.F_DIVERGENCES[options["f_divergence_type"]]),
        "reduction": np.int32(REDUCTIONS[options["reduction"]]),
        "nonfinite": np.int32(NONFINITE[options["nonfinite"]]),
        "reference_free": np.int32(options["reference_free"]),
    }
    if options["loss_weights"] is not None:
        attributes["loss_weights"] = np.array(options["loss_weights"], np.float64)
    for name in ("beta", "margin", "label_smoothing", "f_alpha_divergence_coef", "discopop_tau"):
        if name in options:
            attributes[name] = np.float64(options[name])
    for name in ("tie_strength", "reward_scale", "alphapo_alpha"):
        attributes[name] = np.float64(options[name])
    return attributes


def _coupled(options: dict[str, Any]) -> str | None:
    return next((repr(name) for name in options["loss_type"] if name in ("aot", "aot_unpaired", "sft")), None)


def _rows(inputs: dict[str, jax.Array]) -> tuple[int, ...]:
    return inputs["policy_chosen_logps"].shape


HEAD = Head(
    call=Call(
        "dpo_loss",
        _host,
        _attributes,
        {
            "beta": "betas",
            "margin": "margins",
            "grad_beta": "grad_betas",
            "grad_margin": "grad_margins",
        },
    ),
    leading="policy_chosen_logps",
    results=("chosen_rewards", "rejected_rewards"),
    gradients={
        "policy_chosen_logps": ("grad_policy_chosen_logps", 1),
        "policy_rejected_logps": ("grad_policy_rejected_logps", 1),
        "ref_chosen_logps": ("grad_ref_chosen_logps", 1),
        "ref_rejected_logps": ("grad_ref_rejected_logps", 1),
        "beta": ("grad_beta", 1),
        "margin": ("grad_margin", 1),
        "sft_logps": ("grad_sft_logps", 1),
    },
    rows=_rows,
    shape_of=lambda name, inputs: _rows(inputs),
    spread=lambda cotangents, inputs, gradient: cotangents,
    coupled=_coupled,
)


def dpo_loss(
    policy_chosen_logps: Any,
    policy_rejected_logps: Any,
    ref_chosen_logps: Any | None,
    ref_rejected_logps: Any | None,
    beta: Any = 0.1,
    loss_type: LossType | Sequence[LossType] = "sigmoid",
    loss_weights: Sequence[float] | None = None,
    label_smoothing: float = 0.0,
    f_divergence_type: FDivergence = "reverse_kl",
    f_alpha_divergence_coef: float = 0.5,
    discopop_tau: float = 0.05,
    margin: Any | None = None,
    weights: Any | None = None,
    chosen_lengths: Any | None = None,
    rejected_lengths: Any | None = None,
    reduction: Reduction = "mean",
    *,
    soft_labels: Any | None = None,
    ties: Any | None = None,
    tie_strength: float = 2.0,
    reward_gaps: Any | None = None,
    reward_scale: float = 1.0,
    sft_logps: Any | None = None,
    sft_lengths: Any | None = None,
    alphapo_alpha: float = 0.0,
    reference_free: bool = False,
    nonfinite: Nonfinite = "propagate",
) -> PairLoss:
    """Loss of a batch of preference pairs: `swiftdpo.dpo_loss`, which explains it, for JAX.

    Differentiable (reverse mode, once) by the log-probabilities of the policy and of the reference,
    `sft_logps`, and `beta` and `margin` where they are arrays. Array arguments may be traced: (B,), or
    scalars for a single pair; the others are Python values, which a `jax.jit` around the call has to take
    as static. `jax.vmap` makes batches of batches. What is not finite goes through to the results, unless
    ``nonfinite="error"``.
    """
    reals = as_reals(
        {
            "policy_chosen_logps": policy_chosen_logps,
            "policy_rejected_logps": policy_rejected_logps,
            "ref_chosen_logps": ref_chosen_logps,
            "ref_rejected_logps": ref_rejected_logps,
            "weights": weights,
            "soft_labels": soft_labels,
            "reward_gaps": reward_gaps,
            "sft_logps": sft_logps,
        }
    )
    if (ref_chosen_logps is None) != (ref_rejected_logps is None):
        raise ValueError("ref_chosen_logps and ref_rejected_logps go together: give both, or None for both")
    integers = {
        "chosen_lengths": chosen_lengths,
        "rejected_lengths": rejected_lengths,
        "sft_lengths": sft_lengths,
    }
    arrays = reals | as_integers(integers)
    if ties is not None:
        arrays["ties"] = as_mask("ties", ties)
    first = arrays["policy_chosen_logps"]
    if first.ndim > 1:
        raise ValueError(
            f"policy_chosen_logps has {first.ndim} dimensions; expected 1, an element for each pair "
            "(see jax.vmap)"
        )
    options: dict[str, Any] = {
        "loss_type": (loss_type,) if isinstance(loss_type, str) else tuple(loss_type),
        "loss_weights": None if loss_weights is None else tuple(map(float, loss_weights)),
        "label_smoothing": label_smoothing,
        "f_divergence_type": f_divergence_type,
        "f_alpha_divergence_coef": f_alpha_divergence_coef,
        "discopop_tau": discopop_tau,
        "reduction": reduction,
        "tie_strength": tie_strength,
        "reward_scale": reward_scale,
        "alphapo_alpha": alphapo_alpha,
        "reference_free": reference_free,
        "nonfinite": nonfinite,
    }
    number_or_array("beta", beta, first.dtype, first.shape, arrays, options)
    if margin is not None:
        number_or_array("margin", margin, first.dtype, first.shape, arrays, options)
    check_shapes(arrays, dict.fromkeys(arrays, first.shape))
    refuse_bad_options(HEAD.call, arrays, {}, options)
    outputs = loss(
        HEAD, tuple(sorted(options.items())), {name: jnp.atleast_1d(array) for name, array in arrays.items()}
    )
    if first.ndim == 0:
        outputs = {name: array.reshape(()) for name, array in outputs.items()}
    return PairLoss(**outputs)
