"""Losses over ranked lists of responses, for autograd."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from .. import _core
from .._typing import FirstChoice, Nonfinite, Reduction, Ties, Unlisted
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


class PlackettLuceLoss(NamedTuple):
    """What `plackett_luce_loss` returns."""

    loss: Tensor
    """The reduced loss, or (B,) losses with ``reduction="none"``; the one that is differentiable."""
    rewards: Tensor
    """(B, K): score of each item, beta * (log pi(y|x) - log ref(y|x))."""


class _Inputs(NamedTuple):
    policy_logps: Tensor
    ref_logps: Tensor | None
    tie_strengths: Tensor | None
    beta: Tensor | None
    weights: Tensor | None
    position_weights: Tensor | None
    rankings: Tensor | None
    ranks: Tensor | None
    offsets: Tensor | None


class _Options(NamedTuple):
    beta: float
    reduction: str
    nonfinite: str
    unlisted: str
    first_choice: str
    top: int | None
    ties: str


def _evaluate(inputs: _Inputs, options: _Options) -> tuple[Any, ...]:
    return _core.plackett_luce_loss(
        lend(inputs.policy_logps),  # type: ignore[arg-type]
        lend(inputs.ref_logps),
        number_or_array(inputs.beta, options.beta),
        lend(inputs.weights),
        lend(inputs.position_weights),
        None,
        lend(inputs.rankings),
        lend(inputs.ranks),
        lend(inputs.offsets),
        lend(inputs.tie_strengths),
        *options[1:],  # type: ignore[arg-type]
        False,
    )


def of_items(grad_losses: Tensor, offsets: Tensor | None) -> Tensor:
    """The factor of each item's gradient: that of its group."""
    if grad_losses.ndim == 0:
        return grad_losses
    return grad_losses.unsqueeze(-1) if offsets is None else grad_losses.repeat_interleave(offsets.diff())


def empty_results(inputs: Any, options: Any) -> list[Tensor]:
    """In the shapes of the loss and the rewards of groups of items."""
    items, offsets = inputs.policy_logps, inputs.offsets
    if options.reduction != "none":
        losses = items.new_empty(())
    else:
        losses = items.new_empty(items.shape[:-1] if offsets is None else (offsets.shape[0] - 1,))
    return [losses, items.new_empty(items.shape)]


def _tie_strength_gradient(inputs: _Inputs, options: _Options, grad_losses: Tensor) -> Tensor:
    """Of the sum of losses times `grad_losses`, whose positive and negative part are weights of groups."""
    strengths = inputs.tie_strengths
    assert strengths is not None
    if not bool(torch.isfinite(grad_losses).all()):
        return torch.full_like(strengths, torch.nan)
    parts = []
    for sign in (1, -1):
        weights = (sign * grad_losses).clamp(min=0).to(inputs.policy_logps.dtype)
        weights = weights if inputs.weights is None else weights * inputs.weights
        results = _evaluate(inputs._replace(weights=weights), options._replace(reduction="sum"))
        parts.append(torch.from_numpy(results[6]))
    return (parts[0] - parts[1]).to(strengths.dtype)


def _scaled(inputs: _Inputs, options: _Options, results: tuple[Any, ...], grad_loss: Tensor) -> list[Tensor]:
    """Gradients by policy, reference and strengths of ties; (0,) for what was not given."""
    by_policy = torch.from_numpy(results[3]) * of_items(grad_loss, inputs.offsets)
    none = by_policy.new_empty(0)
    by_reference = none.clone() if inputs.ref_logps is None else -by_policy
    strengths = inputs.tie_strengths
    if strengths is None:
        return [by_policy, by_reference, none]
    if options.reduction == "none":
        return [by_policy, by_reference, _tie_strength_gradient(inputs, options, grad_loss)]
    return [by_policy, by_reference, (torch.from_numpy(results[6]) * grad_loss).to(strengths.dtype)]


_loss = RewardedLoss(
    "plackett_luce_loss",
    _Inputs,
    _Options,
    evaluate=_evaluate,
    rewards=2,
    scaled=_scaled,
    fake=empty_results,
    differentiable=3,
)


def plackett_luce_loss(
    policy_logps: Tensor,
    ref_logps: Tensor | None = None,
    beta: Number = 0.1,
    rankings: Tensor | None = None,
    *,
    ranks: Tensor | None = None,
    top: int | None = None,
    unlisted: Unlisted = "error",
    first_choice: FirstChoice = "best",
    offsets: Tensor | None = None,
    weights: Tensor | None = None,
    position_weights: Tensor | None = None,
    ties: Ties = "breslow",
    tie_strengths: Tensor | None = None,
    reduction: Reduction = "mean",
    nonfinite: Nonfinite = "propagate",
) -> PlackettLuceLoss:
    """`swiftdpo.plackett_luce_loss` for autograd: the same arguments, as tensors.

    The loss is differentiable by the log-probabilities of policy and reference, and by `tie_strengths`;
    asking for another gradient, or differentiating one again, is an error. Devices, types, NaN and infinities
    are as in `dpo_loss`.
    """
    betas = tensor_or_none(beta)
    inputs = _Inputs(
        require_tensor(policy_logps, "policy_logps"),
        ref_logps,
        tie_strengths,
        betas,
        weights,
        position_weights,
        rankings,
        ranks,
        offsets,
    )
    for name in ("beta", "weights", "position_weights"):
        refuse_gradient(getattr(inputs, name), name)
    number = 0.0 if isinstance(beta, Tensor) else beta
    options = _Options(number, reduction, nonfinite, unlisted, first_choice, top, ties)
    if is_plain((policy_logps, ref_logps, betas, weights, position_weights)) and all(
        x is None or x.is_cpu for x in (tie_strengths, rankings, ranks, offsets)
    ):
        return PlackettLuceLoss(*_loss(inputs, options))
    return PlackettLuceLoss(*through_host(lambda host: _loss(_Inputs._make(host), options), inputs))


__all__ = ["PlackettLuceLoss", "plackett_luce_loss"]
