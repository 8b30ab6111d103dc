"""Losses over lists of responses that have targets instead of a ranking."""

from typing import NamedTuple

from . import _core
from ._typing import ArrayLike, FloatArray, ListwiseLossType, Nonfinite, Reduction


class ListwiseLoss(NamedTuple):
    """What `listwise_loss` returns, in the dtype of `policy_logps` (float32 for half precision)."""

    loss: float | FloatArray
    """The reduced loss; with ``reduction="none"`` the array `losses`."""
    losses: FloatArray
    """(B,): the loss of each group, its weight included, before reduction."""
    rewards: FloatArray
    """(B, K): score of each response, beta * (log pi(y|x) - log ref(y|x))."""
    grad_policy_logps: FloatArray
    """(B, K): d loss / d log pi of each response; with ``reduction="none"`` of the sum of the losses."""

    @property
    def grad_ref_logps(self) -> FloatArray:
        """(B, K): d loss / d log ref of each response."""
        return -self.grad_policy_logps


def listwise_loss(
    policy_logps: ArrayLike,
    ref_logps: ArrayLike | None,
    targets: ArrayLike,
    beta: float | ArrayLike = 0.1,
    *,
    loss_type: ListwiseLossType = "cross_entropy",
    offsets: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    reduction: Reduction = "mean",
    nonfinite: Nonfinite = "error",
) -> ListwiseLoss:
    """Loss of groups of K responses with a target t for each, and its gradient.

    With scores s_i = beta (log pi(y_i) - log ref(y_i))::

        cross_entropy   - sum over i of t_i log softmax(s)_i
        lambda          sum over t_i > t_j of w_ij log(1 + exp(s_j - s_i)),
                        w_ij = |2^t_i - 2^t_j| |1 / log(1 + rank_i) - 1 / log(1 + rank_j)|
        pro             sum over k < K, best target first, of log sum over i >= k of exp(c_ki s_i) - c_kk s_k,
                        c_ki = t_k - t_i for i > k, c_kk = t_k - t_K

    The first is ListNet's top-one loss [1]_ with the targets as they are, and S-DPO's where one target is 1.
    The second is LiPO-lambda [2]_: rank_i is the place of s_i among the group's scores, and the weights of
    LambdaRank [3]_ are constants in the gradient. The third is PRO [4]_ without its supervised term; its
    temperatures are 1 / c, and it is no function of differences of scores.

    Parameters
    ----------
    policy_logps : (B, K) float32, float64, float16 or bfloat16
        log pi(y|x) in nats of each response, for each of B groups. All floating-point arrays of one call
        share one dtype; half precision is read exactly and gives float32 results. (K,) is a single group.
    ref_logps : (B, K) or None
        The same under the frozen reference. None: 0.
    targets : (B, K)
        For "cross_entropy" a distribution over each group: at least 0, with the sum 1 to within 1e-3. For
        "lambda" grades or rewards in [-512, 512]. For "pro" rewards.
    beta : float or (B,)
        Above 0; one for the batch or one for each group.
    loss_type : "cross_entropy", "lambda" or "pro"
        "lambda" and "pro" take time quadratic in K.
    offsets : (B + 1,) int64 or int32, optional
        Groups of different sizes: arrays of responses are flat, (N,) for (B, K) everywhere, and group b has
        those from ``offsets[b]`` to ``offsets[b + 1] - 1``.
    weights : (B,), optional
        Factor, at least 0, of each group's loss. The mean still divides by B.
    reduction, nonfinite
        As in `plackett_luce_loss`.

    Returns
    -------
    ListwiseLoss

    Raises
    ------
    ValueError, TypeError
        Naming the argument, the index and the rule.

    References
    ----------
    .. [1] Cao et al., "Learning to Rank: From Pairwise Approach to Listwise Approach", ICML 2007.
    .. [2] Liu et al., "LiPO: Listwise Preference Optimization through Learning-to-Rank", 2024,
       arXiv:2402.01878.
    .. [3] Burges et al., "Learning to Rank with Nonsmooth Cost Functions", NIPS 2006.
    .. [4] Song et al., "Preference Ranking Optimization for Human Alignment", 2023, arXiv:2306.17492.

    Examples
    --------
    >>> import swiftdpo
    >>> out = swiftdpo.listwise_loss([[0.5, 2.0, -1.0]], None, [[0.2, 0.7, 0.1]], beta=1.0)
    >>> round(out.loss, 4)
    0.8413
    """
    return ListwiseLoss(
        *_core.listwise_loss(
            policy_logps, ref_logps, targets, beta, weights, offsets, loss_type, reduction, nonfinite
        )
    )
