"""Losses over lists of responses that have targets instead of a ranking, for autograd."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from .. import _core
from .._typing import ListwiseLossType, Nonfinite, Reduction
from ._operators import RewardedLoss
from ._tensors import (
    Number,
    is_plain,
    lend,
    number_or_array,
    refuse_gradient,
    require_tensor,
    tensor_or_none,
    through_host,
)
from .rankings import empty_results, of_items


class ListLoss(NamedTuple):
    """What `listwise_loss` returns."""

    loss: Tensor
    """The reduced loss, or (B,) losses with ``reduction="none"``; the one that is differentiable."""
    rewards: Tensor
    """(B, K): score of each response, beta * (log pi(y|x) - log ref(y|x))."""


class _Inputs(NamedTuple):
    policy_logps: Tensor
    ref_logps: Tensor | None
    targets: Tensor
    beta: Tensor | None
    weights: Tensor | None
    offsets: Tensor | None


class _Options(NamedTuple):
    beta: float
    loss_type: str
    reduction: str
    nonfinite: str


def _evaluate(inputs: _Inputs, options: _Options) -> tuple[Any, ...]:
    return _core.listwise_loss(
        lend(inputs.policy_logps),  # type: ignore[arg-type]
        lend(inputs.ref_logps),
        lend(inputs.targets),  # type: ignore[arg-type]
        number_or_array(inputs.beta, options.beta),
        lend(inputs.weights),
        lend(inputs.offsets),
        *options[1:],  # type: ignore[arg-type]
    )


def _scaled(inputs: _Inputs, options: _Options, results: tuple[Any, ...], grad_loss: Tensor) -> list[Tensor]:
    """Gradients by policy and reference; (0,) for a reference that was not given."""
    by_policy = torch.from_numpy(results[3]) * of_items(grad_loss, inputs.offsets)
    return [by_policy, by_policy.new_empty(0) if inputs.ref_logps is None else -by_policy]


_loss = RewardedLoss(
    "listwise_loss",
    _Inputs,
    _Options,
    evaluate=_evaluate,
    rewards=2,
    scaled=_scaled,
    fake=empty_results,
    differentiable=2,
)


def listwise_loss(
    policy_logps: Tensor,
    ref_logps: Tensor | None,
    targets: Tensor,
    beta: Number = 0.1,
    *,
    loss_type: ListwiseLossType = "cross_entropy",
    offsets: Tensor | None = None,
    weights: Tensor | None = None,
    reduction: Reduction = "mean",
    nonfinite: Nonfinite = "propagate",
) -> ListLoss:
    """`swiftdpo.listwise_loss` for autograd: the same arguments, as tensors.

    The loss is differentiable by the log-probabilities of policy and reference; asking for another gradient,
    or differentiating one again, is an error. Devices, types, NaN and infinities are as in `dpo_loss`.
    """
    betas = tensor_or_none(beta)
    inputs = _Inputs(
        require_tensor(policy_logps, "policy_logps"),
        ref_logps,
        require_tensor(targets, "targets"),
        betas,
        weights,
        offsets,
    )
    for name in ("targets", "beta", "weights"):
        refuse_gradient(getattr(inputs, name), name)
    options = _Options(0.0 if isinstance(beta, Tensor) else beta, loss_type, reduction, nonfinite)
    if is_plain(inputs[:5]) and (offsets is None or offsets.is_cpu):
        return ListLoss(*_loss(inputs, options))
    return ListLoss(*through_host(lambda host: _loss(_Inputs._make(host), options), inputs))


__all__ = ["ListLoss", "listwise_loss"]
