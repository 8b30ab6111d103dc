"""Samples of the optimal policy out of samples of the reference, and what best-of-n costs."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from . import _core
from ._typing import ArrayLike, RowValue


class RejectionSample(NamedTuple):
    """What `rejection_sample` returns."""

    accepted: npt.NDArray[np.bool_]
    """Which samples are, in the shape of `rewards`."""
    acceptance_rate: RowValue
    """The mean probability of acceptance of each prompt: an estimate of Z exp(-bound / beta)."""


class BestOfN(NamedTuple):
    """What `best_of_n_policy` returns."""

    logps: npt.NDArray[np.float64]
    """log-probability with which each response is the best of n."""
    kl: RowValue
    """KL(best of n || ref), exactly."""
    expected_reward: RowValue
    """The expected best reward of n."""
    kl_bound: float
    """log n - (n - 1) / n, which `kl` never exceeds."""


def rejection_sample(
    rewards: ArrayLike, beta: float | ArrayLike, seed: int, *, bound: float | ArrayLike | None = None
) -> RejectionSample:
    """Which samples of the reference to keep, so that those are distributed as pi* = ref exp(r / beta) / Z.

    A sample of reward r is accepted with probability exp((r - bound) / beta).

    Parameters
    ----------
    rewards : (..., N) float64
        Of N samples of ref for each prompt.
    beta : float or (...)
        Above 0.
    seed : int
        In [0, 2**64). It decides with the prompt and the sample alone: the same on every machine.
    bound : float or (...), optional
        At least as large as any reward that the reference can get. None: the best reward among the
        samples [1]_, with which rare better responses are drawn too seldom.

    Returns
    -------
    RejectionSample

    References
    ----------
    .. [1] Liu et al., "Statistical Rejection Sampling Improves Preference Optimization", 2023,
       arXiv:2309.06657.
    """
    if bound is not None:
        bound = np.broadcast_to(np.asarray(bound, np.float64), np.asarray(rewards).shape[:-1])
    accepted, rate = _core.rejection_sample(rewards, beta, bound, seed)
    return RejectionSample(accepted.view(np.bool_), rate)


def importance_resample(
    rewards: ArrayLike, beta: float | ArrayLike, num_draws: int, seed: int
) -> npt.NDArray[np.int64]:
    """Indices (..., num_draws) of samples of the reference, drawn in proportion to exp(r / beta).

    With replacement [1]_. They are as good as there are effective samples: see `estimate_log_partition`.
    Arguments are as for `rejection_sample`.

    References
    ----------
    .. [1] Rubin, "Using the SIR Algorithm to Simulate Posterior Distributions", 1988.
    """
    return _core.importance_resample(rewards, beta, num_draws, seed)


def best_of_n_kl_bound(n: int) -> float:
    """log n - (n - 1) / n: no more than that can KL(best of n || ref) be [1]_.

    .. [1] Beirami et al., "Theoretical Guarantees on the Best-of-n Alignment Policy", 2024, arXiv:2401.01879.

    >>> import swiftdpo
    >>> round(swiftdpo.best_of_n_kl_bound(4), 4)
    0.6363
    """
    return _core.best_of_n_kl_bound(n)


def best_of_n_policy(ref_logps: ArrayLike, rewards: ArrayLike, n: int) -> BestOfN:
    """The policy that draws n responses of the reference and keeps the best, over listed responses: exactly.

    ::

        P(y) = ref(y) / R(y) (F(y)^n - (F(y) - R(y))^n)

    with R(y) the probability of a reward of r(y), and F(y) that of at most r(y). Of equally good
    responses the first drawn is kept.

    Parameters
    ----------
    ref_logps, rewards : (..., N) float64
        The last axis is that of a prompt's responses.
    n : int
        At least 1.

    Returns
    -------
    BestOfN
    """
    return BestOfN(*_core.best_of_n(ref_logps, rewards, n), _core.best_of_n_kl_bound(n))
