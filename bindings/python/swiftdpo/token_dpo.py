"""TDPO: DPO with the KL divergence of each step of a response."""

from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from . import _core
from ._typing import ArrayLike, FloatArray, Nonfinite, Reduction, as_mask
from .divergences import divergence


class SequentialKL(NamedTuple):
    """What `sequential_kl` returns."""

    kl: npt.NDArray[np.float64]
    """(B,): the sum over a response's tokens."""
    token_kl: npt.NDArray[np.float64]
    """(B, T): KL(ref || pi) of the next token, 0 where it does not count."""
    grad_policy_logits: FloatArray
    """(B, T, V): d kl[b] / d the logits whose softmax is pi, which is pi - ref."""


class TDPOLoss(NamedTuple):
    """What `tdpo_loss` returns. Gradients are those of `loss`, or of the sum with ``reduction="none"``."""

    loss: float | FloatArray
    """The reduced loss; with ``reduction="none"`` the array `losses`."""
    losses: FloatArray
    """Loss of each pair, its weight included, before reduction."""
    grad_policy_chosen_logps: FloatArray
    """d loss / d log pi(y_w|x), with the KLs held."""
    grad_policy_rejected_logps: FloatArray
    """d loss / d log pi(y_l|x), with the KLs held."""
    grad_chosen_kl: FloatArray
    """d loss / d `chosen_kl`: 0 for "tdpo2", which stops it."""
    grad_rejected_kl: FloatArray
    """d loss / d `rejected_kl`."""
    chosen_rewards: FloatArray
    """beta * (log pi(y_w|x) - log ref(y_w|x))."""
    rejected_rewards: FloatArray
    """beta * (log pi(y_l|x) - log ref(y_l|x))."""
    margins: FloatArray
    """alpha * beta * (rejected_kl - chosen_kl), which the loss takes from the difference of rewards."""


def sequential_kl(
    ref_log_probs: ArrayLike, policy_log_probs: ArrayLike, mask: ArrayLike | None = None
) -> SequentialKL:
    """KL(ref || pi) of each next token, summed over a response [1]_.

    ::

        kl = sum over tokens t of  sum over v of ref(v | x, y_<t) (log ref(v | x, y_<t) - log pi(v | x, y_<t))

    Parameters
    ----------
    ref_log_probs, policy_log_probs : (B, T, V) float32 or float64
        Log-probabilities of all tokens of the vocabulary at each step: log-softmax of the logits that score
        each token of the response. -inf is legal where the reference has it.
    mask : (B, T) bool, optional
        The tokens that count. None: all.

    Notes
    -----
    Never negative, and exactly 0 where the two agree. There is no kernel that takes both models' logits as
    they are: normalise them first (a response at a time, if memory is short: the sums add up).

    References
    ----------
    .. [1] Zeng et al., "Token-level Direct Preference Optimization", 2024, arXiv:2404.11999.
    """
    out = divergence(ref_log_probs, policy_log_probs, "generalized_kl")
    token_kl, gradient = np.asarray(out.divergence), out.grad_logq
    if token_kl.ndim != 2:
        raise ValueError(f"ref_log_probs has {gradient.ndim} dimensions; expected 3: (B, T, V)")
    if mask is not None:
        counts = as_mask(mask, "mask").view(np.bool_)
        if counts.shape != token_kl.shape:
            raise ValueError(f"mask has shape {counts.shape}; expected {token_kl.shape}")
        token_kl = np.where(counts, token_kl, 0.0)
        gradient[~counts] = 0
    return SequentialKL(token_kl.sum(axis=1), token_kl, gradient)


# As swiftdpo_tdpo_loss_type counts.
_LOSS_TYPES = {"tdpo2": 0, "tdpo1": 1}


def loss_number(loss_type: str) -> int:
    """TDPO's loss as the extension takes it."""
    if loss_type not in _LOSS_TYPES:
        raise ValueError(f"loss_type is {loss_type!r}; expected 'tdpo1' or 'tdpo2'")
    return _LOSS_TYPES[loss_type]


def tdpo_loss(
    policy_chosen_logps: ArrayLike,
    policy_rejected_logps: ArrayLike,
    ref_chosen_logps: ArrayLike | None,
    ref_rejected_logps: ArrayLike | None,
    chosen_kl: ArrayLike,
    rejected_kl: ArrayLike,
    beta: float | ArrayLike = 0.1,
    alpha: float = 0.5,
    *,
    loss_type: Literal["tdpo1", "tdpo2"] = "tdpo2",
    label_smoothing: float = 0.0,
    soft_labels: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    reduction: Reduction = "mean",
    reference_free: bool = False,
    nonfinite: Nonfinite = "error",
) -> TDPOLoss:
    """Token-level DPO [1]_: DPO with a margin, by how much further the policy is from ref on y_l than on y_w.

    With z as in `dpo_loss` and D the `sequential_kl` of a response::

        loss = -log sigma(z - alpha beta (D(y_l) - D(y_w)))

    "tdpo1" is alpha = 1, with its gradient by both divergences; "tdpo2" takes `alpha` and no gradient by
    D(y_w), so that the chosen response may move away freely. With w = sigma(alpha beta (D_l - D_w) - z) the
    gradient by D_l is alpha beta w, that by D_w -alpha beta w or 0. In [0, inf). alpha = 0 is DPO.

    Parameters
    ----------
    policy_chosen_logps, policy_rejected_logps, ref_chosen_logps, ref_rejected_logps, beta
        As for `dpo_loss`.
    chosen_kl, rejected_kl : (B,)
        D of each response, in nats: finite, and below 0 only as an estimate.
    alpha : float
        Of "tdpo2", at least 0.
    loss_type : "tdpo1" or "tdpo2"
    label_smoothing, soft_labels, weights, reduction, reference_free, nonfinite
        As for `dpo_loss`.

    References
    ----------
    .. [1] Zeng et al., "Token-level Direct Preference Optimization", 2024, arXiv:2404.11999.

    Examples
    --------
    >>> import swiftdpo
    >>> out = swiftdpo.tdpo_loss([-10.0], [-11.0], [-10.5], [-10.5], [0.2], [0.6], beta=0.5, alpha=0.5)
    >>> round(out.loss, 4), out.grad_rejected_kl.round(4)
    (0.5211, array([0.1015]))
    """
    if reference_free:
        ref_chosen_logps = ref_rejected_logps = None
    result = _core.tdpo_loss(
        (chosen_kl, rejected_kl, alpha, loss_number(loss_type)),
        policy_chosen_logps,
        policy_rejected_logps,
        ref_chosen_logps,
        ref_rejected_logps,
        beta,
        None,
        weights,
        soft_labels,
        label_smoothing,
        reduction,
        nonfinite,
        None,
        tuple,
    )
    *_, by_chosen_kl, by_rejected_kl, margins = result
    return TDPOLoss._make((*result[:4], by_chosen_kl, by_rejected_kl, *result[4:6], margins))
