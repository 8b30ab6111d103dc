"""Losses over pairs of responses, one preferred, for autograd."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from torch import Tensor
from torch._C import _are_functorch_transforms_active
from torch.compiler import is_dynamo_compiling

from .._core import tensors_dpo_loss
from .._typing import Nonfinite, Reduction
from ..dpo import FDivergence, LossType, mixture
from ._pairs import NUM_FRACTIONS, PairInputs, PairOptions, apply_of_policy, pair_loss
from ._tensors import (
    Number,
    is_plain,
    refuse_gradient,
    require_tensor,
    tensor_or_none,
    through_host,
)


class PairLoss(NamedTuple):
    """What losses over pairs return: ``loss, chosen_rewards, rejected_rewards = dpo_loss(...)``."""

    loss: Tensor
    """The reduced loss, or (B,) losses with ``reduction="none"``; the one that is differentiable."""
    chosen_rewards: Tensor
    """(B,): beta * (log pi(y_w|x) - log ref(y_w|x)), whatever the loss."""
    rejected_rewards: Tensor
    """(B,): beta * (log pi(y_l|x) - log ref(y_l|x))."""


_PLAIN = ((0,), None, 0, False)


def dpo_loss(
    policy_chosen_logps: Tensor,
    policy_rejected_logps: Tensor,
    ref_chosen_logps: Tensor | None,
    ref_rejected_logps: Tensor | None,
    beta: Number = 0.1,
    loss_type: LossType | Sequence[LossType] = "sigmoid",
    loss_weights: Sequence[float] | None = None,
    label_smoothing: float = 0.0,
    f_divergence_type: FDivergence = "reverse_kl",
    f_alpha_divergence_coef: float = 0.5,
    discopop_tau: float = 0.05,
    margin: Number | None = None,
    weights: Tensor | None = None,
    chosen_lengths: Tensor | None = None,
    rejected_lengths: Tensor | None = None,
    reduction: Reduction = "mean",
    *,
    soft_labels: Tensor | None = None,
    ties: Tensor | None = None,
    tie_strength: Number = 2.0,
    reward_gaps: Tensor | None = None,
    reward_scale: float = 1.0,
    sft_logps: Tensor | None = None,
    sft_lengths: Tensor | None = None,
    alphapo_alpha: float = 0.0,
    reference_free: bool = False,
    nonfinite: Nonfinite = "propagate",
) -> PairLoss:
    """`swiftdpo.dpo_loss` for autograd: the same arguments, as tensors.

    The loss is differentiable by the log-probabilities of policy and reference, and by `beta`, `margin`,
    `sft_logps` and `tie_strength` where these are tensors; asking for a gradient by `weights`, `soft_labels`
    or `reward_gaps` is an error, and so is differentiating a gradient again.

    Tensors may be of any floating-point type and on any device. Those of one type, float32 or float64, on the
    host are read where they lie. Others are converted: to their common type, which is float32 at least, and
    from a device in one transfer; the results then go back there.

    NaN and infinities go through to the results that depend on them, so that a scaler of losses sees them;
    ``nonfinite="error"`` refuses them.
    """
    # The shortest way, for plain DPO over tensors that lie as the library reads them: None if they don't.
    if (
        type(policy_chosen_logps) is Tensor
        and type(beta) is float
        and loss_type == "sigmoid"
        and (weights is None and margin is None and soft_labels is None and loss_weights is None)
        and f_divergence_type == "reverse_kl"
        and not reference_free
        and not is_dynamo_compiling()
        and not _are_functorch_transforms_active()
    ):
        found = tensors_dpo_loss(
            policy_chosen_logps,
            policy_rejected_logps,
            ref_chosen_logps,
            ref_rejected_logps,
            beta,
            label_smoothing,
            reduction,
            nonfinite,
            apply_of_policy,
            PairLoss,
        )
        if found is not None:
            return found
    if loss_type == "sigmoid" and loss_weights is None and f_divergence_type == "reverse_kl":
        choice = (*_PLAIN[:3], reference_free)
    else:
        choice = mixture(
            loss_type,
            loss_weights,
            f_divergence_type,
            reference_free,
            *(f_alpha_divergence_coef, discopop_tau, 2.0, reward_scale, alphapo_alpha),
            *(None,) * 6,
            more=False,
        )[:4]
    betas, margins, strength = tensor_or_none(beta), tensor_or_none(margin), tensor_or_none(tie_strength)
    options = PairOptions(
        0.0 if betas is not None else beta,  # type: ignore[arg-type]
        None if margins is not None else margin,  # type: ignore[arg-type]
        label_smoothing,
        reduction,
        nonfinite,
        *choice,
        f_alpha_divergence_coef,
        discopop_tau,
        0.0 if strength is not None else tie_strength,  # type: ignore[arg-type]
        reward_scale,
        alphapo_alpha,
    )
    inputs = PairInputs(
        require_tensor(policy_chosen_logps, "policy_chosen_logps"),
        require_tensor(policy_rejected_logps, "policy_rejected_logps"),
        ref_chosen_logps,
        ref_rejected_logps,
        betas,
        margins,
        sft_logps,
        strength,
        None,
        None,
        weights,
        soft_labels,
        reward_gaps,
        chosen_lengths,
        rejected_lengths,
        sft_lengths,
        ties,
    )
    if weights is not None or soft_labels is not None or reward_gaps is not None:
        refuse_gradient(weights, "weights")
        refuse_gradient(soft_labels, "soft_labels")
        refuse_gradient(reward_gaps, "reward_gaps")
    if is_plain(inputs[:NUM_FRACTIONS]) and (chosen_lengths is None or chosen_lengths.is_cpu):
        return PairLoss(*pair_loss(inputs, options))
    return PairLoss(*through_host(partial(on_host, options), inputs))


def on_host(options: PairOptions, inputs: Sequence[Tensor | None]) -> Sequence[Tensor]:
    """No closure in `dpo_loss`, since each call there, the shortest too, would then make its cells."""
    return pair_loss(PairInputs._make(inputs), options)
