"""Losses over pairs that need no reference model, for autograd: CPO, SimPO, AlphaPO, ORPO, SLiC and TPO.

Formulas and papers are with the functions of the same names in `swiftdpo`.
"""

from typing import Any, Literal

from torch import Tensor

from ._tensors import Number
from .dpo import PairLoss, dpo_loss


def _mixture(
    chosen: Tensor, rejected: Tensor, beta: Number, losses: dict[Any, float], options: dict[str, Any]
) -> PairLoss:
    """The losses whose weight is not 0, weighted."""
    kept = {name: weight for name, weight in losses.items() if weight != 0}
    return dpo_loss(
        chosen,
        rejected,
        None,
        None,
        beta,
        loss_type=tuple(kept),
        loss_weights=tuple(kept.values()),
        **options,
    )


def cpo_loss(
    policy_chosen_logps: Tensor,
    policy_rejected_logps: Tensor,
    beta: Number = 0.1,
    *,
    loss_type: Literal["sigmoid", "hinge", "ipo", "ipo_norm"] = "sigmoid",
    cpo_alpha: float = 1.0,
    chosen_lengths: Tensor | None = None,
    rejected_lengths: Tensor | None = None,
    **options: Any,
) -> PairLoss:
    """`swiftdpo.cpo_loss`: DPO without its reference, and a likelihood term. `options` are `dpo_loss`'s."""
    options |= {"chosen_lengths": chosen_lengths, "rejected_lengths": rejected_lengths}
    losses = {loss_type: 1.0, "sft": cpo_alpha}
    return _mixture(policy_chosen_logps, policy_rejected_logps, beta, losses, options)


def simpo_loss(
    policy_chosen_logps: Tensor,
    policy_rejected_logps: Tensor,
    chosen_lengths: Tensor,
    rejected_lengths: Tensor,
    beta: Number = 2.0,
    gamma: Number = 1.0,
    *,
    sft_weight: float = 0.0,
    **options: Any,
) -> PairLoss:
    """`swiftdpo.simpo_loss`: mean log-probabilities, and a target margin. `options` are `dpo_loss`'s."""
    options |= {"chosen_lengths": chosen_lengths, "rejected_lengths": rejected_lengths, "margin": gamma}
    losses = {"sigmoid_norm": 1.0, "sft": sft_weight}
    return _mixture(policy_chosen_logps, policy_rejected_logps, beta, losses, options)


def alphapo_loss(
    policy_chosen_logps: Tensor,
    policy_rejected_logps: Tensor,
    chosen_lengths: Tensor,
    rejected_lengths: Tensor,
    beta: Number = 2.0,
    gamma: Number = 1.0,
    alpha: float = 0.25,
    *,
    sft_weight: float = 0.0,
    **options: Any,
) -> PairLoss:
    """`swiftdpo.alphapo_loss`: SimPO with another shape of reward. `options` are `dpo_loss`'s."""
    options |= {"chosen_lengths": chosen_lengths, "rejected_lengths": rejected_lengths, "margin": gamma}
    options["alphapo_alpha"] = alpha
    losses = {"alphapo": 1.0, "sft": sft_weight}
    return _mixture(policy_chosen_logps, policy_rejected_logps, beta, losses, options)


def orpo_loss(
    policy_chosen_logps: Tensor,
    policy_rejected_logps: Tensor,
    chosen_lengths: Tensor,
    rejected_lengths: Tensor,
    beta: Number = 0.1,
    *,
    sft_weight: float = 1.0,
    **options: Any,
) -> PairLoss:
    """`swiftdpo.orpo_loss`: likelihood, and an odds ratio. `options` are `dpo_loss`'s."""
    options |= {"chosen_lengths": chosen_lengths, "rejected_lengths": rejected_lengths}
    losses = {"odds_ratio": 1.0, "sft": sft_weight}
    return _mixture(policy_chosen_logps, policy_rejected_logps, beta, losses, options)


def slic_loss(
    policy_chosen_logps: Tensor,
    policy_rejected_logps: Tensor,
    margin: Number = 1.0,
    *,
    sft_weight: float = 0.0,
    **options: Any,
) -> PairLoss:
    """`swiftdpo.slic_loss`: a hinge on log-probabilities. `options` are `dpo_loss`'s."""
    losses = {"slic": 1.0, "sft": sft_weight}
    options["margin"] = margin
    return _mixture(policy_chosen_logps, policy_rejected_logps, 1.0, losses, options)


def tpo_loss(
    policy_chosen_logps: Tensor,
    policy_rejected_logps: Tensor,
    gold_logps: Tensor,
    gold_lengths: Tensor,
    beta: Number = 0.01,
    *,
    loss_type: Literal["sigmoid", "hinge", "ipo", "tpo-l"] = "sigmoid",
    tpo_alpha: float = 1.0,
    gamma: Number = 0.5,
    **options: Any,
) -> PairLoss:
    """`swiftdpo.tpo_loss`: a loss over a pair, and the likelihood of a third response. `options` are
    `dpo_loss`'s."""
    options |= {"sft_logps": gold_logps, "sft_lengths": gold_lengths}
    name: str = loss_type
    if loss_type == "tpo-l":
        name, options["margin"] = "sigmoid_norm", gamma
    losses = {name: 1.0, "sft": tpo_alpha}
    return _mixture(policy_chosen_logps, policy_rejected_logps, beta, losses, options)


__all__ = ["alphapo_loss", "cpo_loss", "orpo_loss", "simpo_loss", "slic_loss", "tpo_loss"]
