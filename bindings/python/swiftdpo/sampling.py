"""Plackett-Luce as a distribution over rankings: probabilities, averages and draws."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from . import _core
from ._typing import ArrayLike, FirstChoice, FloatArray, Ties, Unlisted


def ranking_log_probability(
    rewards: ArrayLike,
    rankings: ArrayLike | None = None,
    *,
    ranks: ArrayLike | None = None,
    top: int | None = None,
    unlisted: Unlisted = "error",
    first_choice: FirstChoice = "best",
    offsets: ArrayLike | None = None,
    ties: Ties = "breslow",
    tie_strengths: ArrayLike | None = None,
) -> FloatArray:
    """log P(ranking) of each group under Plackett-Luce, in nats.

    Parameters
    ----------
    rewards : (B, K) float32 or float64
        Scores: the first choice falls on an item with a probability proportional to exp(reward).
    rankings, ranks, top, unlisted, first_choice, offsets, ties, tie_strengths
        What was observed, as in `plackett_luce_loss`. None of them: the columns stand best first.

    Returns
    -------
    (B,) array

    Examples
    --------
    >>> import numpy as np, swiftdpo
    >>> float(np.exp(swiftdpo.ranking_log_probability([0.0, 0.0, 0.0])).round(4))
    0.1667
    """
    results = _core.plackett_luce_loss(
        rewards,
        None,
        1.0,
        None,
        None,
        None,
        rankings,
        ranks,
        offsets,
        tie_strengths,
        "none",
        "error",
        unlisted,
        first_choice,
        top,
        ties,
        False,
    )
    losses: FloatArray = results[1]
    return 0 - losses


def sample_rankings(rewards: ArrayLike, num_samples: int, seed: int) -> npt.NDArray[np.int64]:
    """Rankings drawn from Plackett-Luce, by Gumbel noise on the rewards [1]_.

    The noise comes from the counter-based generator Philox4x32-10 [2]_ with the group, the sample and the
    item as its counter, so that a seed gives the same rankings on every machine, for any number of threads,
    and the first samples of a longer run are those of a shorter one.

    Parameters
    ----------
    rewards : (B, K), or (K,) for a single group
        Scores, finite.
    num_samples : int
        Rankings for each group.
    seed : int
        0 to 2**64 - 1.

    Returns
    -------
    (B, num_samples, K) int64, or (num_samples, K)
        Items, best first.

    References
    ----------
    .. [1] Yellott, "The Relationship between Luce's Choice Axiom, Thurstone's Theory of Comparative Judgment,
       and the Double Exponential Distribution", Journal of Mathematical Psychology 15(2), 1977.
    .. [2] Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011.

    Examples
    --------
    >>> import swiftdpo
    >>> swiftdpo.sample_rankings([0.0, 50.0, -50.0], 2, seed=1)
    array([[1, 0, 2],
           [1, 0, 2]])
    """
    return _core.sample_rankings(rewards, num_samples, seed)


class RankingMarginals(NamedTuple):
    """What `ranking_marginals` returns, with the shape of the rewards."""

    top_one_probabilities: npt.NDArray[np.float64]
    """The probability of each item to come first: the softmax of the rewards."""
    expected_ranks: npt.NDArray[np.float64]
    """The mean of each item's rank, from 1: 1 + sum over the others j of sigma(r_j - r_i)."""


def ranking_marginals(rewards: ArrayLike) -> RankingMarginals:
    """What rankings drawn from Plackett-Luce are like, item by item. Takes time quadratic in K.

    Parameters
    ----------
    rewards : (B, K), or (K,) for a single group
        Scores, finite.

    Examples
    --------
    >>> import swiftdpo
    >>> swiftdpo.ranking_marginals([0.0, 0.0]).expected_ranks
    array([1.5, 1.5])
    """
    return RankingMarginals(*_core.ranking_marginals(rewards))
