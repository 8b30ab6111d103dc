"""Divergences between distributions over listed outcomes, and their estimates from samples."""

from typing import NamedTuple

import numpy as np

from . import _core
from ._typing import ArrayLike, DivergenceKind, FloatArray, Nonfinite, RowValue


class Divergence(NamedTuple):
    """What `divergence` returns."""

    divergence: RowValue
    """One for each row, float64."""
    grad_logp: FloatArray
    """d divergence / d log p, each log-probability taken as free."""
    grad_logq: FloatArray
    """d divergence / d log q."""


class KLEstimates(NamedTuple):
    """What `kl_estimates` returns, in the shape and dtype of `policy_logps`."""

    k1: FloatArray
    """d = log pi - log ref: unbiased, of either sign."""
    k2: FloatArray
    """d^2 / 2: biased, of small variance."""
    k3: FloatArray
    """exp(-d) - 1 + d: unbiased, never negative."""


def divergence(
    logp: ArrayLike,
    logq: ArrayLike,
    kind: DivergenceKind = "kl",
    axis: int = -1,
    *,
    nonfinite: Nonfinite = "error",
) -> Divergence:
    """A divergence between distributions p and q over the same outcomes, with its gradients.

    ::

        kl               sum of p (log p - log q)                                    [1]_
        reverse_kl       the same with p and q exchanged
        generalized_kl   sum of p (log p - log q) - p + q                            [2]_
        jensen_shannon   (KL(p || m) + KL(q || m)) / 2 with m = (p + q) / 2          [3]_

    Between distributions "generalized_kl" is "kl" without the terms that cancel: exactly 0 for p = q, never
    negative, and as accurate as ever however near p and q are. Take "kl" for a q that lists only what p can
    give.

    Parameters
    ----------
    logp, logq : (..., N) float32 or float64
        Log-probabilities, -inf among them. They must not be above 0 (but for rounding, of up to 0.01).
    kind : str
        One of the above.
    axis : int
        Along which the outcomes lie.
    nonfinite : "error" or "propagate"
        Whether NaN or +inf is an error, or goes through to the results.

    Returns
    -------
    Divergence

    Notes
    -----
    Where the log-probabilities come from a softmax, the gradient g by them becomes g - p * sum(g) by its
    logits.

    References
    ----------
    .. [1] Kullback and Leibler, "On Information and Sufficiency", 1951.
    .. [2] Csiszar, "I-Divergence Geometry of Probability Distributions and Minimization Problems", 1975.
    .. [3] Lin, "Divergence Measures Based on the Shannon Entropy", 1991.

    Examples
    --------
    >>> import numpy as np, swiftdpo
    >>> out = swiftdpo.divergence(np.log([0.5, 0.5]), np.log([0.9, 0.1]), "jensen_shannon")
    >>> round(float(out.divergence), 4)
    0.1017
    """
    values, *gradients = _core.divergence(_last(logp, axis), _last(logq, axis), kind, True, nonfinite)
    return Divergence(values, *(_back(gradient, axis) for gradient in gradients))


def kl_divergence(
    logp: ArrayLike, logq: ArrayLike, axis: int = -1, *, nonfinite: Nonfinite = "error"
) -> RowValue:
    """KL(p || q) = sum of p (log p - log q) over listed outcomes, float64.

    `divergence` gives its gradients too. Outcomes with p = 0 add nothing; q = 0 < p makes it infinite.
    Exchange the arguments for the reverse one.

    >>> import numpy as np, swiftdpo
    >>> round(float(swiftdpo.kl_divergence(np.log([0.5, 0.5]), np.log([0.9, 0.1]))), 4)
    0.5108
    """
    return _core.divergence(_last(logp, axis), _last(logq, axis), "kl", False, nonfinite)[0]


def jensen_shannon_divergence(
    logp: ArrayLike, logq: ArrayLike, axis: int = -1, *, nonfinite: Nonfinite = "error"
) -> RowValue:
    """(KL(p || m) + KL(q || m)) / 2 with m = (p + q) / 2: symmetric, and in [0, log 2]; see `divergence`."""
    return _core.divergence(_last(logp, axis), _last(logq, axis), "jensen_shannon", False, nonfinite)[0]


def kl_estimates(
    policy_logps: ArrayLike, ref_logps: ArrayLike, *, nonfinite: Nonfinite = "error"
) -> KLEstimates:
    """Estimates of KL(pi || ref), one from each response y that was sampled from pi [1]_.

    With d = log pi(y|x) - log ref(y|x)::

        k1 = d          k2 = d^2 / 2          k3 = exp(-d) - 1 + d

    Their derivatives by log pi(y|x) are 1, k1 and k1 - k3. (The mean of k2's derivatives estimates the
    gradient of KL; that of k3's doesn't.)

    Parameters
    ----------
    policy_logps, ref_logps : float32 or float64 of one shape
        Log-probabilities of the samples.
    nonfinite : "error" or "propagate"
        Whether NaN or an infinity is an error, or goes through.

    Returns
    -------
    KLEstimates

    References
    ----------
    .. [1] Schulman, "Approximating KL Divergence", 2020.
    """
    return KLEstimates(*_core.kl_estimates(policy_logps, ref_logps, nonfinite))


def _last(array: ArrayLike, axis: int) -> ArrayLike:
    return array if axis == -1 else np.moveaxis(np.asarray(array), axis, -1)


def _back(array: FloatArray | None, axis: int) -> FloatArray:
    assert array is not None
    return array if axis == -1 else np.moveaxis(array, -1, axis)
