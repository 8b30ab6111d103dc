"""Plackett-Luce: losses over ranked lists of responses."""

from typing import NamedTuple

from . import _core
from ._typing import ArrayLike, FloatArray, Nonfinite, Reduction


class PlackettLuceLoss(NamedTuple):
    """What `plackett_luce_loss` returns, in the dtype of `policy_logps`."""

    loss: float | FloatArray
    """The reduced loss; with ``reduction="none"`` the array `losses`."""
    losses: FloatArray
    """(B,): -log P(ranking) of each group, its weight included, before reduction."""
    rewards: FloatArray
    """(B, K): score of each item, beta * (log pi(y|x) - log ref(y|x))."""
    grad_policy_logps: FloatArray
    """(B, K): d loss / d log pi of each item; with ``reduction="none"`` of the sum of the losses."""
    gradient_weights: FloatArray
    """(B, K): the probability that the stage at which the item is chosen picks another one."""


def plackett_luce_loss(
    policy_logps: ArrayLike,
    ref_logps: ArrayLike | None = None,
    beta: float | ArrayLike = 0.1,
    rankings: ArrayLike | None = None,
    *,
    weights: ArrayLike | None = None,
    reduction: Reduction = "mean",
    nonfinite: Nonfinite = "error",
) -> PlackettLuceLoss:
    """Negative log-likelihood of rankings of K responses each, with its gradient.

    With scores s_i = beta (log pi(y_i) - log ref(y_i)), and items numbered from best to worst::

        loss = - log P(ranking) = - sum over k of log [ exp(s_k) / sum over j >= k of exp(s_j) ]

    (Plackett [1]_ and Luce [2]_; for policies [3]_, appendix A.3.) K = 2 gives exactly the numbers of
    `dpo_loss`.

    Parameters
    ----------
    policy_logps : (B, K) float32 or float64
        log pi(y|x) in nats of each item, for each of B groups. All floating-point arrays of one call share
        one dtype. Contiguous arrays and CPU tensors are read where they lie; lists become float64. (K,) is a
        single group: `losses` then has shape ().
    ref_logps : (B, K), optional
        The same under the frozen reference. None: 0, so that scores are beta * `policy_logps`.
    beta : float or (B,)
        Above 0; one for the batch or one for each group. 1 for scores that are rewards or log-worths already.
    rankings : (B, K) int64 or int32, optional
        Item indices 0..K-1 of each group, best first. None: the columns stand best first.
    weights : (B,), optional
        Factor, at least 0, of each group's loss. The mean still divides by B.
    reduction : "mean", "sum" or "none"
        What `loss` is. Gradients are those of `loss`; for "none", of the sum.
    nonfinite : "error" or "propagate"
        Whether NaN or an infinity in a log-probability is an error, or goes through to the results that
        depend on it.

    Returns
    -------
    PlackettLuceLoss

    Raises
    ------
    ValueError, TypeError
        Naming the argument, the index and the rule.

    Notes
    -----
    Computed in double precision whatever the dtype, in time linear in K, and finite for all finite scores,
    however far apart. The gradients of a group sum to 0. A group of one item has loss 0, and so has an empty
    batch.

    References
    ----------
    .. [1] Plackett, "The Analysis of Permutations", Applied Statistics 24(2), 1975.
    .. [2] Luce, "Individual Choice Behavior", 1959.
    .. [3] Rafailov et al., 2023, arXiv:2305.18290.

    Examples
    --------
    >>> import swiftdpo
    >>> out = swiftdpo.plackett_luce_loss([[0.5, 2.0, -1.0]], beta=1.0, rankings=[[1, 0, 2]])
    >>> round(out.loss, 4)
    0.4427
    """
    return PlackettLuceLoss(
        *_core.plackett_luce_loss(policy_logps, ref_logps, beta, weights, rankings, reduction, nonfinite)
    )
