"""Direct Preference Optimization: losses over pairs of responses, one preferred."""

from typing import Literal, NamedTuple

from . import _core
from ._typing import ArrayLike, FloatArray, Nonfinite, Reduction


class DPOLoss(NamedTuple):
    """What `dpo_loss` returns. Arrays have the shape and dtype of `policy_chosen_logps`."""

    loss: float | FloatArray
    """The reduced loss; with ``reduction="none"`` the array `losses`."""
    losses: FloatArray
    """Loss of each pair, its weight included, before reduction."""
    grad_policy_chosen_logps: FloatArray
    """d loss / d log pi(y_w|x); with ``reduction="none"`` of the sum of the losses."""
    grad_policy_rejected_logps: FloatArray
    """d loss / d log pi(y_l|x)."""
    chosen_rewards: FloatArray
    """beta * (log pi(y_w|x) - log ref(y_w|x))."""
    rejected_rewards: FloatArray
    """beta * (log pi(y_l|x) - log ref(y_l|x))."""
    gradient_weights: FloatArray
    """sigma(-z): near 0 where the policy is right and sure of it, near 1 where it is wrong."""


def dpo_loss(
    policy_chosen_logps: ArrayLike,
    policy_rejected_logps: ArrayLike,
    ref_chosen_logps: ArrayLike | None,
    ref_rejected_logps: ArrayLike | None,
    beta: float | ArrayLike = 0.1,
    *,
    loss_type: Literal["sigmoid"] = "sigmoid",
    label_smoothing: float = 0.0,
    margin: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    soft_labels: ArrayLike | None = None,
    reduction: Reduction = "mean",
    nonfinite: Nonfinite = "error",
) -> DPOLoss:
    """Loss of a batch of preference pairs, with its gradient.

    With a = log pi(y_w) - log ref(y_w), b = log pi(y_l) - log ref(y_l) and z = beta (a - b) - margin::

        loss = - p log sigma(z) - (1 - p) log sigma(-z)          d loss / dz = sigma(z) - p

    where p is the probability that the chosen response is the better one: 1 - `label_smoothing`, or the
    pair's own soft label. p = 1 is DPO [1]_, p = 1 - `label_smoothing` is cDPO [2]_.

    Parameters
    ----------
    policy_chosen_logps, policy_rejected_logps : (B,) float32 or float64
        log pi(y|x) in nats, summed over the response's tokens, of the preferred response y_w and of the
        other, y_l. All floating-point arrays of one call share one dtype. Contiguous arrays and CPU tensors
        are read where they lie; lists become float64. Scalars are one pair: results then have shape ().
    ref_chosen_logps, ref_rejected_logps : (B,) or None
        The same under the frozen reference. None for both: reference-free, a = log pi(y_w), b = log pi(y_l).
    beta : float or (B,)
        Strength of the KL regularisation, above 0; one for the batch or one for each pair.
    loss_type : "sigmoid"
        The loss by name: this release has the one above.
    label_smoothing : float
        Probability that a label is flipped, in [0, 0.5).
    margin : (B,), optional
        Subtracted from beta (a - b), in nats.
    weights : (B,), optional
        Factor, at least 0, of each pair's loss. The mean still divides by B.
    soft_labels : (B,), optional
        p of each pair, in [0, 1], instead of `label_smoothing`.
    reduction : "mean", "sum" or "none"
        What `loss` is. Gradients are those of `loss`; for "none", of the sum.
    nonfinite : "error" or "propagate"
        Whether NaN or an infinity in a log-probability is an error, or goes through to the results that
        depend on it.

    Returns
    -------
    DPOLoss

    Raises
    ------
    ValueError, TypeError
        Naming the argument, the index and the rule.

    Notes
    -----
    Computed in double precision whatever the dtype, and finite for all finite inputs whose result the dtype
    can hold. At z = 0 the loss is log 2. An empty batch has loss 0.

    References
    ----------
    .. [1] Rafailov et al., "Direct Preference Optimization: Your Language Model is Secretly a Reward Model",
       2023, arXiv:2305.18290.
    .. [2] Mitchell, "A note on DPO with noisy preferences and relationship to IPO", 2023.

    Examples
    --------
    >>> import swiftdpo
    >>> out = swiftdpo.dpo_loss([-10.0, -12.0], [-11.0, -9.0], [-10.5, -11.0], [-10.5, -10.0], beta=0.5)
    >>> round(out.loss, 4)
    0.8937
    >>> out.grad_policy_chosen_logps.round(4)
    array([-0.0944, -0.1828])
    """
    if loss_type != "sigmoid":
        raise ValueError(f"loss_type is {loss_type!r}; this release has 'sigmoid'")
    return DPOLoss(
        *_core.dpo_loss(
            policy_chosen_logps,
            policy_rejected_logps,
            ref_chosen_logps,
            ref_rejected_logps,
            beta,
            margin,
            weights,
            soft_labels,
            label_smoothing,
            reduction,
            nonfinite,
        )
    )
