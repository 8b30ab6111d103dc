"""TDPO for autograd: DPO with the KL divergence of each step of a response."""

from functools import partial
from typing import Literal

from torch import Tensor

from .._typing import Nonfinite, Reduction
from ..token_dpo import loss_number
from ._pairs import NUM_FRACTIONS, PairInputs, PairOptions, pair_loss
from ._tensors import Number, is_plain, refuse_gradient, require_tensor, tensor_or_none, through_host
from .dpo import PairLoss, on_host


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
    label_smoothing: float = 0.0,
    soft_labels: Tensor | None = None,
    weights: Tensor | None = None,
    reduction: Reduction = "mean",
    reference_free: bool = False,
    nonfinite: Nonfinite = "propagate",
) -> PairLoss:
    """`swiftdpo.tdpo_loss` for autograd: the same arguments, as tensors.

    The loss is differentiable by log-probabilities of policy and reference, by `beta` where it is a tensor,
    and by `chosen_kl` and `rejected_kl`, of which "tdpo2" takes the first as a constant.
    """
    number = loss_number(loss_type)
    betas = tensor_or_none(beta)
    options = PairOptions(
        beta=0.0 if betas is not None else beta,  # type: ignore[arg-type]
        margin=None,
        label_smoothing=label_smoothing,
        reduction=reduction,
        nonfinite=nonfinite,
        loss_types=(0,),
        loss_weights=None,
        f_divergence=0,
        reference_free=reference_free,
        f_alpha_divergence_coef=0.5,
        discopop_tau=0.05,
        tie_strength=2.0,
        reward_scale=1.0,
        alphapo_alpha=0.0,
        tdpo_alpha=alpha,
        tdpo_loss_type=number,
    )
    chosen = require_tensor(chosen_kl, "chosen_kl")
    inputs = PairInputs(
        require_tensor(policy_chosen_logps, "policy_chosen_logps"),
        require_tensor(policy_rejected_logps, "policy_rejected_logps"),
        ref_chosen_logps,
        ref_rejected_logps,
        betas,
        # Its gradient would be 0 for "tdpo2", and go back through the model for nothing.
        chosen_kl=chosen if loss_type == "tdpo1" else chosen.detach(),
        rejected_kl=require_tensor(rejected_kl, "rejected_kl"),
        weights=weights,
        soft_labels=soft_labels,
    )
    refuse_gradient(weights, "weights")
    refuse_gradient(soft_labels, "soft_labels")
    if is_plain(inputs[:NUM_FRACTIONS]):
        return PairLoss(*pair_loss(inputs, options))
    return PairLoss(*through_host(partial(on_host, options), inputs))


__all__ = ["tdpo_loss"]
