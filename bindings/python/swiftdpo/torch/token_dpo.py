"""TDPO for autograd: DPO with the KL divergence of each step of a response."""

from typing import Any, Literal

from torch import Tensor

from .._typing import Reduction
from ..token_dpo import check_options
from ._tensors import Number, require_tensor
from .dpo import PairLoss, dpo_loss


def tdpo_loss(
    policy_chosen_logps: Tensor,
    policy_rejected_logps: Tensor,
    ref_chosen_logps: Tensor | None,
    ref_rejected_logps: Tensor | None,
    chosen_kl: Tensor,
    rejected_kl: Tensor,
    beta: Number = 0.1,
    alpha: float = 0.5,
    *,
    loss_type: Literal["tdpo1", "tdpo2"] = "tdpo2",
    weights: Tensor | None = None,
    reduction: Reduction = "mean",
    **options: Any,
) -> PairLoss:
    """`swiftdpo.tdpo_loss` for autograd: the same arguments, as tensors.

    The loss is differentiable by what `dpo_loss` is, and by `chosen_kl` and `rejected_kl`, of which "tdpo2"
    takes the first as a constant. The sign of these divergences is not looked at: an estimate may be off by
    its rounding.
    """
    check_options(loss_type, alpha, options)
    policy = require_tensor(policy_chosen_logps, "policy_chosen_logps")
    for name, kl in (("chosen_kl", chosen_kl), ("rejected_kl", rejected_kl)):
        if require_tensor(kl, name).shape != policy.shape:
            raise ValueError(f"{name} has shape {tuple(kl.shape)}; expected {tuple(policy.shape)}")
    is_first = loss_type == "tdpo1"
    further = rejected_kl - (chosen_kl if is_first else chosen_kl.detach())
    return dpo_loss(
        policy_chosen_logps,
        policy_rejected_logps,
        ref_chosen_logps,
        ref_rejected_logps,
        beta,
        margin=beta * (1.0 if is_first else alpha) * further,
        weights=weights,
        reduction=reduction,
        **options,
    )


__all__ = ["tdpo_loss"]
