"""Plackett-Luce: losses over ranked lists of responses."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from . import _core
from ._typing import ArrayLike, FirstChoice, FloatArray, Nonfinite, Reduction, Ties, Unlisted


class PlackettLuceLoss(NamedTuple):
    """What `plackett_luce_loss` returns, in the dtype of `policy_logps` (float32 for half precision)."""

    loss: float | FloatArray
    """The reduced loss; with ``reduction="none"`` the array `losses`."""
    losses: FloatArray
    """(B,): -log P(ranking) of each group, its weight included, before reduction."""
    rewards: FloatArray
    """(B, K): score of each item, beta * (log pi(y|x) - log ref(y|x))."""
    grad_policy_logps: FloatArray
    """(B, K): d loss / d log pi of each item; with ``reduction="none"`` of the sum of the losses."""
    gradient_weights: FloatArray | None
    """(B, K): the probability that the stage at which the item is chosen picks another one; 0 where that was
    not observed. None unless `ties` is "breslow"."""
    hessian_product: FloatArray | None = None
    """None: see `plackett_luce_hessian_product`."""
    grad_tie_strengths: npt.NDArray[np.float64] | None = None
    """(D - 1,): d loss / d `tie_strengths`; None unless `ties` is "davidson"."""

    @property
    def grad_ref_logps(self) -> FloatArray:
        """(B, K): d loss / d log ref of each item."""
        return -self.grad_policy_logps


def plackett_luce_loss(
    policy_logps: ArrayLike,
    ref_logps: ArrayLike | None = None,
    beta: float | ArrayLike = 0.1,
    rankings: ArrayLike | None = None,
    *,
    ranks: ArrayLike | None = None,
    top: int | None = None,
    unlisted: Unlisted = "error",
    first_choice: FirstChoice = "best",
    offsets: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    position_weights: ArrayLike | None = None,
    ties: Ties = "breslow",
    tie_strengths: ArrayLike | None = None,
    reduction: Reduction = "mean",
    nonfinite: Nonfinite = "error",
) -> PlackettLuceLoss:
    """Negative log-likelihood of rankings of K responses each, with its gradient.

    With scores s_i = beta (log pi(y_i) - log ref(y_i)), and items numbered from best to worst::

        loss = - log P(ranking) = - sum over k of log [ exp(s_k) / sum over j >= k of exp(s_j) ]

    (Plackett [1]_ and Luce [2]_; for policies [3]_, appendix A.3.) K = 2 gives exactly the numbers of
    `dpo_loss`, and ``top=1`` is S-DPO [4]_.

    Parameters
    ----------
    policy_logps : (B, K) float32, float64, float16 or bfloat16
        log pi(y|x) in nats of each item, for each of B groups. All floating-point arrays of one call
        share one dtype; half precision is read exactly and gives float32 results. Contiguous arrays and
        CPU tensors are read where they lie; lists become float64. (K,) is a single group: `losses` then
        has shape ().
    ref_logps : (B, K), optional
        The same under the frozen reference. None: 0, so that scores are beta * `policy_logps`.
    beta : float or (B,)
        Above 0; one for the batch or one for each group. 1 for scores that are rewards or log-worths already.
    rankings : (B, K) int64 or int32, optional
        Item indices 0..K-1 of each group, best first. A list that ends early is filled up with -1, and
        `unlisted` says what that means. None: the columns stand best first.
    ranks : (B, K) int64 or int32, optional
        Instead of `rankings`, the rank of each item: 1 is the best, equal ranks are ties (only order and
        equality count); 0 is unranked, below all that are ranked, in an unknown order; -1 did not take part.
    ties : "breslow", "efron", "average" or "davidson"
        How d items of equal rank are chosen from all that are left, whose worths e = exp(s) have the sum A,
        of which T is their own: with the product of e / A [5]_; of e / (A - l T / d) for l < d [8]_; with the
        mean, over all d! orders, of the probability to choose them in that order, exactly (d <= 10); as
        a set, with a probability proportional to delta_d times the geometric mean of their worths [9]_.
    tie_strengths : (D - 1,), optional
        delta_2, ..., delta_D > 0 of ``ties="davidson"``, D at most 8, the largest number of items that may be
        tied; delta_1 is 1.
    top : int, optional
        Only the first `top` choices of each group were observed. Ties count if their first place is one.
    unlisted : "error", "absent" or "remain"
        What the items that a list does not name did: it is an error if there are any; they did not take part;
        or they remained behind those listed, in an unknown order.
    first_choice : "best" or "worst"
        Which item each stage chooses. "worst": with probabilities proportional to exp(-s) among those left;
        lists and ranks then run from the worst, and with ``top=1`` only the worst is known (best-worst
        scaling [6]_).
    offsets : (B + 1,) int64 or int32, optional
        Groups of different sizes: arrays of items are flat, (N,) for (B, K) everywhere, and group b has those
        from ``offsets[b]`` to ``offsets[b + 1] - 1``.
    weights : (B,), optional
        Factor, at least 0, of each group's loss. The mean still divides by B.
    position_weights : (K,), optional
        Factor, at least 0, of each place's part of the loss (position-aware ListMLE [7]_); K of the largest
        group. Ties have the place of their first.
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
    .. [4] Chen et al., "On Softmax Direct Preference Optimization for Recommendation", 2024,
       arXiv:2406.09215.
    .. [5] Breslow, "Covariance Analysis of Censored Survival Data", Biometrics 30(1), 1974.
    .. [6] Marley and Louviere, "Some probabilistic models of best, worst, and best-worst choices", Journal of
       Mathematical Psychology 49(6), 2005.
    .. [7] Lan et al., "Position-Aware ListMLE: A Sequential Learning Process for Ranking", UAI 2014.
    .. [8] Efron, "The Efficiency of Cox's Likelihood Function for Censored Data", JASA 72(359), 1977.
    .. [9] Turner et al., "Modelling rankings in R: the PlackettLuce package", Computational Statistics 35,
       2020, after Davidson, "On Extending the Bradley-Terry Model to Accommodate Ties in Paired Comparison
       Experiments", JASA 65(329), 1970.

    Examples
    --------
    >>> import swiftdpo
    >>> out = swiftdpo.plackett_luce_loss([[0.5, 2.0, -1.0]], beta=1.0, rankings=[[1, 0, 2]])
    >>> round(out.loss, 4)
    0.4427
    >>> best_of_three = dict(rankings=[[1, -1, -1]], unlisted="remain")
    >>> round(swiftdpo.plackett_luce_loss([[0.5, 2.0, -1.0]], beta=1.0, **best_of_three).loss, 4)
    0.2413
    """
    return PlackettLuceLoss(
        *_core.plackett_luce_loss(
            policy_logps,
            ref_logps,
            beta,
            weights,
            position_weights,
            None,
            rankings,
            ranks,
            offsets,
            tie_strengths,
            reduction,
            nonfinite,
            unlisted,
            first_choice,
            top,
            ties,
            False,
        )
    )


def plackett_luce_hessian_product(
    direction: ArrayLike,
    policy_logps: ArrayLike,
    ref_logps: ArrayLike | None = None,
    beta: float | ArrayLike = 0.1,
    rankings: ArrayLike | None = None,
    *,
    ranks: ArrayLike | None = None,
    top: int | None = None,
    unlisted: Unlisted = "error",
    first_choice: FirstChoice = "best",
    offsets: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    position_weights: ArrayLike | None = None,
    ties: Ties = "breslow",
    tie_strengths: ArrayLike | None = None,
    reduction: Reduction = "mean",
) -> FloatArray:
    """Product of the Hessian of `plackett_luce_loss` with a vector.

    In time linear in the number of items; but d items that are tied take d 2^d with ``ties="average"``, and
    Davidson's ties, whose strengths are held fixed, D^2 for each item.

    The Hessian is that of ``loss`` by `policy_logps`. It is positive semidefinite but for ``ties="average"``,
    and its product with a vector that is constant in each group is 0.

    Parameters
    ----------
    direction
        The vector, with the shape and dtype of `policy_logps`. The others are those of `plackett_luce_loss`.

    Returns
    -------
    array
        With the shape and dtype of `policy_logps`.
    """
    results = _core.plackett_luce_loss(
        policy_logps,
        ref_logps,
        beta,
        weights,
        position_weights,
        direction,
        rankings,
        ranks,
        offsets,
        tie_strengths,
        reduction,
        "error",
        unlisted,
        first_choice,
        top,
        ties,
        False,
    )
    product: FloatArray = results[5]
    return product
