"""KTO and BCO: losses of single responses, each desirable or not, for autograd."""

from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from .. import _core
from .._typing import Nonfinite, Reduction
from ..unpaired import BCODelta, KTOBaseline
from ._operators import RewardedLoss
from ._tensors import (
    Number,
    is_plain,
    lend,
    lend_mask,
    number_or_array,
    refuse_gradient,
    require_tensor,
    tensor_or_none,
    through_host,
)


class UnpairedLoss(NamedTuple):
    """What `kto_loss` and `bco_loss` return."""

    loss: Tensor
    """The reduced loss, or (B,) losses with ``reduction="none"``; the one that is differentiable."""
    rewards: Tensor
    """(B,): beta * (log pi(y|x) - log ref(y|x))."""


class _Inputs(NamedTuple):
    policy_logps: Tensor
    ref_logps: Tensor | None
    beta: Tensor | None
    desirable: Tensor
    weights: Tensor | None


class _Options(NamedTuple):
    beta: float
    loss_type: int
    reduction: str
    nonfinite: str
    desirable_weight: float
    undesirable_weight: float
    baseline: float


def _evaluate(inputs: _Inputs, options: _Options) -> tuple[Any, ...]:
    """The extension's arrays: (loss, losses, gradient by the policy, rewards, gradient by beta, ...)."""
    return _core.unpaired_loss(
        lend(inputs.policy_logps),  # type: ignore[arg-type]
        lend(inputs.ref_logps),
        number_or_array(inputs.beta, options.beta),
        lend(inputs.weights),
        lend_mask(inputs.desirable, "desirable"),  # type: ignore[arg-type]
        *options[1:],  # type: ignore[arg-type]
    )[0]


def _scaled(inputs: _Inputs, options: _Options, results: tuple[Any, ...], grad_loss: Tensor) -> list[Tensor]:
    """Gradients by policy, reference and beta; (0,) for what was not given."""
    by_policy = torch.from_numpy(results[2]) * grad_loss
    none, beta = by_policy.new_empty(0), inputs.beta
    by_reference = none.clone() if inputs.ref_logps is None else -by_policy
    if beta is None:
        return [by_policy, by_reference, none]
    by_beta = (torch.from_numpy(results[4]) * grad_loss).sum_to_size(beta.shape)
    return [by_policy, by_reference, by_beta]


def _fake(inputs: _Inputs, options: _Options) -> list[Tensor]:
    responses = inputs.policy_logps
    shape = responses.shape if options.reduction == "none" else ()
    return [responses.new_empty(shape), responses.new_empty(responses.shape)]


_loss = RewardedLoss(
    "unpaired_loss",
    _Inputs,
    _Options,
    evaluate=_evaluate,
    rewards=3,
    scaled=_scaled,
    fake=_fake,
    differentiable=3,
)


def _unpaired_loss(
    policy_logps: Tensor,
    ref_logps: Tensor | None,
    desirable: Tensor,
    beta: Number,
    weights: Tensor | None,
    *choices: Any,
) -> UnpairedLoss:
    betas = tensor_or_none(beta)
    inputs = _Inputs(
        require_tensor(policy_logps, "policy_logps"),
        ref_logps,
        betas,
        require_tensor(desirable, "desirable"),
        weights,
    )
    refuse_gradient(weights, "weights")
    options = _Options(0.0 if isinstance(beta, Tensor) else beta, *choices)
    if is_plain((policy_logps, ref_logps, betas, weights)) and desirable.is_cpu:
        return UnpairedLoss(*_loss(inputs, options))
    return UnpairedLoss(*through_host(lambda host: _loss(_Inputs._make(host), options), inputs))


def _number(baseline: Number, name: str) -> float:
    if not isinstance(baseline, Tensor):
        return float(baseline)
    refuse_gradient(baseline, name)
    return float(baseline)


def kto_loss(
    policy_logps: Tensor,
    ref_logps: Tensor | None,
    desirable: Tensor,
    beta: Number = 0.1,
    *,
    kl: Number | KTOBaseline = 0.0,
    loss_type: Literal["kto", "apo_zero_unpaired"] = "kto",
    desirable_weight: float = 1.0,
    undesirable_weight: float = 1.0,
    weights: Tensor | None = None,
    reduction: Reduction = "mean",
    nonfinite: Nonfinite = "propagate",
) -> UnpairedLoss:
    """`swiftdpo.kto_loss` for autograd: the same arguments, as tensors.

    The loss is differentiable by the log-probabilities of policy and reference, and by `beta`; `kl` has no
    part in gradients. Devices, types, NaN and infinities are as in `dpo_loss`.
    """
    if loss_type not in ("kto", "apo_zero_unpaired"):
        raise ValueError(f"loss_type is {loss_type!r}; expected 'kto' or 'apo_zero_unpaired'")
    baseline = kl.value() if isinstance(kl, KTOBaseline) else _number(kl, "kl")
    numbers = (desirable_weight, undesirable_weight, baseline)
    choices = (int(loss_type != "kto"), reduction, nonfinite)
    return _unpaired_loss(policy_logps, ref_logps, desirable, beta, weights, *choices, *numbers)


def bco_loss(
    policy_logps: Tensor,
    ref_logps: Tensor | None,
    desirable: Tensor,
    beta: Number = 0.1,
    *,
    delta: Number | BCODelta = 0.0,
    desirable_weight: float = 1.0,
    undesirable_weight: float = 1.0,
    weights: Tensor | None = None,
    reduction: Reduction = "mean",
    nonfinite: Nonfinite = "propagate",
) -> UnpairedLoss:
    """`swiftdpo.bco_loss` for autograd: the same arguments, as tensors.

    The loss is differentiable by the log-probabilities of policy and reference, and by `beta`; `delta` has no
    part in gradients. Devices, types, NaN and infinities are as in `dpo_loss`.
    """
    baseline = delta.value if isinstance(delta, BCODelta) else _number(delta, "delta")
    numbers = (desirable_weight, undesirable_weight, baseline)
    choices = (2, reduction, nonfinite)
    return _unpaired_loss(policy_logps, ref_logps, desirable, beta, weights, *choices, *numbers)


__all__ = ["UnpairedLoss", "bco_loss", "kto_loss"]
