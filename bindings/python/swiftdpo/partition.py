"""The partition function, estimated from rewards of responses that were sampled from the reference."""

import warnings
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from . import _core
from ._typing import ArrayLike, RowValue

_FIELDS = 7  # of swiftdpo_partition_accumulator


class UnreliableEstimateWarning(UserWarning):
    """An estimate of log Z rests on too few effective samples: its standard error means little."""


class LogPartitionEstimate(NamedTuple):
    """What `estimate_log_partition` returns: a number, or an array with an element for each prompt."""

    log_partition: RowValue
    """log of the mean of exp(r / beta)."""
    standard_error: RowValue
    """Of `log_partition`, by the delta method; infinite for a single sample."""
    effective_sample_size: RowValue
    """(sum w)^2 / sum w^2, between 1 and the number of samples."""
    corrected: RowValue
    """`log_partition` with its bias, - standard_error^2 / 2 to first order, removed."""
    largest_share: RowValue
    """The best sample's share of the sum."""
    reliable: bool | npt.NDArray[np.bool_]
    """Whether there are as many effective samples as asked for."""

    def interval(self, level: float = 0.95) -> tuple[RowValue, RowValue]:
        """The confidence interval for log Z around `corrected`, from the normal distribution."""
        distance = NormalDist().inv_cdf(0.5 + level / 2) * self.standard_error
        return self.corrected - distance, self.corrected + distance


class LogPartitionAccumulator:
    """What samples leave behind, so that log Z can be estimated from batches, or from many workers.

    Parameters
    ----------
    shape : tuple of int
        Of the prompts: () for one, (B,) for B of them.

    Examples
    --------
    >>> import swiftdpo
    >>> first, second = swiftdpo.LogPartitionAccumulator(), swiftdpo.LogPartitionAccumulator()
    >>> first.add([0.0, 1.0], beta=1.0)
    >>> second.add([2.0], beta=1.0)
    >>> first.merge(second)
    >>> round(float(first.estimate(min_effective_samples=0).log_partition), 4)
    1.309
    """

    def __init__(self, shape: tuple[int, ...] = ()) -> None:
        self.state: npt.NDArray[np.float64] = np.zeros((*shape, _FIELDS))

    def add(self, rewards: ArrayLike, beta: float | ArrayLike) -> None:
        """Adds samples, which lie along the last axis. All samples of a prompt are of one beta."""
        self.state = _core.partition_add(self.state, rewards, beta)

    def merge(self, other: "LogPartitionAccumulator") -> None:
        """Adds the samples of another accumulator of the same shape."""
        self.state = _core.partition_merge(self.state, other.state)

    def estimate(self, *, min_effective_samples: float = 100.0) -> LogPartitionEstimate:
        """The estimate from all samples so far. Warns where there are too few effective ones."""
        return _estimate(self.state, min_effective_samples)


def estimate_log_partition(
    rewards: ArrayLike, beta: float | ArrayLike, *, min_effective_samples: float = 100.0
) -> LogPartitionEstimate:
    """log Z(x) from rewards of responses sampled from the reference: Z(x) = E_ref[exp(r / beta)].

    Parameters
    ----------
    rewards : (..., N) float32 or float64
        Of N independent samples of ref(.|x), along the last axis.
    beta : float or (...)
        Above 0; one for all, or one for each prompt.
    min_effective_samples : float
        With fewer, the estimate comes with an `UnreliableEstimateWarning`. 0 never warns.

    Returns
    -------
    LogPartitionEstimate

    Notes
    -----
    Some exp(KL(pi* || ref)) samples are needed [1]_. With fewer, those that matter have not been seen, and
    the standard error does not know it.

    References
    ----------
    .. [1] Chatterjee and Diaconis, "The Sample Size Required in Importance Sampling", 2018.
    """
    shape = np.shape(rewards)[:-1]  # type: ignore[arg-type]
    state = _core.partition_add(np.zeros((*shape, _FIELDS)), rewards, beta)
    return _estimate(state, min_effective_samples)


def _estimate(state: npt.NDArray[np.float64], min_effective_samples: float) -> LogPartitionEstimate:
    log_partition, error, effective, corrected, share = _core.partition_estimate(state)
    reliable = effective >= min_effective_samples
    if not np.all(reliable):
        warnings.warn(
            f"log Z rests on {np.min(effective):.1f} effective samples, fewer than "
            f"{min_effective_samples:g}: the estimate is probably too low, and its standard error too small",
            UnreliableEstimateWarning,
            stacklevel=3,
        )
    return LogPartitionEstimate(log_partition, error, effective, corrected, share, reliable)
