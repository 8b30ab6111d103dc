"""How far a floating-point result is from the exact value, in units in the last place (ulps).

The exact value is a real number (an mpmath number), not a float: it is never rounded before it is compared.
"""

from __future__ import annotations

import math

import mpmath
import numpy as np

#: Numbers of 50 decimal digits: what a comparison below calls exact.
mp = mpmath.MPContext()
mp.dps = 50

#: Real numbers of the floats in an array (or of one float), with nothing rounded.
exactly = np.frompyfunc(lambda value: mp.mpf(float(value)), 1, 1)


def ulp(exact, dtype=np.float64):
    """The distance between the neighbours of `dtype` around a real number: math.ulp, nothing rounded."""
    info = np.finfo(dtype)
    _, exponent = mp.frexp(exact)  # |exact| in [2**(exponent - 1), 2**exponent)
    exponent = max(exponent - 1, info.minexp) if exact != 0 else info.minexp
    return mp.ldexp(1, int(exponent - info.nmant))


def error_in_ulps(actual, exact, dtype=np.float64, scale=None) -> float:
    """|actual - exact| in ulps of `scale`, by default of `exact` itself.

    Infinite where no distance has a meaning: a NaN, an infinity on one side only, or the wrong sign (a zero
    of either sign is never wrong by that). A difference of larger terms has no sign to get wrong: name the
    larger term as the `scale`, and the sign is not judged.
    """
    actual, exact = float(actual), mp.mpf(exact)
    if math.isnan(actual) or mp.isnan(exact):
        return math.inf
    if math.isinf(actual) or mp.isinf(exact):
        return 0.0 if actual == exact else math.inf
    if scale is None and actual * mp.sign(exact) < 0:
        return math.inf
    return float(abs(exact - actual) / ulp(exact if scale is None else scale, dtype))


#: 2**-33 in ulps: for results in single precision the library takes exponentials to 34 bits.
SINGLE_SLACK = 2**20


#: How far plain DPO of float32 is off, in ulps of float32: it is computed in single precision.
PAIR_SINGLES = 4


def reduced_ulps(dtype) -> int:
    """How far a reduced loss of plain DPO may be off, which is a double whatever the dtype of the losses."""
    return PAIR_SINGLES * 2**29 if dtype == np.float32 else 4


def assert_ulps(actual, exact, ulps=4, *, scale=None, name="result", singles=0.5) -> None:
    """Each element of `actual` is within `ulps` double ulps of `exact`; float32 is nearly that, rounded.

    A float32 array may be half a float32 ulp, or `singles` of them, and SINGLE_SLACK further off. `scale` is
    as in error_in_ulps.
    """
    actual, exact = np.asarray(actual), np.asarray(exact, dtype=object)
    assert actual.dtype in (np.float64, np.float32), f"{name}: unexpected dtype {actual.dtype}"
    assert actual.shape == exact.shape, f"{name}: shape {actual.shape}, expected {exact.shape}"
    scales = np.broadcast_to(np.asarray(scale, dtype=object), exact.shape)
    for index in np.ndindex(exact.shape):
        allowed = ulps
        if actual.dtype == np.float32 and mp.isfinite(exact[index]):
            reference = exact[index] if scales[index] is None else scales[index]
            digits = exact[index] if singles == 0.5 else reference
            allowed += float(ulp(digits, np.float32) * singles / ulp(reference)) + SINGLE_SLACK
        error = error_in_ulps(actual[index], exact[index], scale=scales[index])
        assert error <= allowed, (
            f"{name}{list(index)}: {actual[index]!r} is {error:.3g} ulps (of double) from "
            f"{mp.nstr(mp.mpf(exact[index]), 20)}; {allowed:.3g} are allowed"
        )


def assert_sums_to_zero(gradients, weights, factors) -> None:
    """Each group's gradients of a Plackett-Luce loss sum to 0, but for what had to be rounded.

    Each gradient is the nearest of its type, up to half an ulp from a difference of two terms. One of those,
    the group's factor (beta times its weight) times the gradient weight, is a double, up to half an ulp from
    exact: in single precision that is nothing.
    """
    for gradient, weight, factor in zip(gradients, weights, factors, strict=True):
        half_ulps = math.fsum(np.spacing(abs(gradient)).astype(float) / 2)
        half_ulps += factor * math.fsum(np.spacing(weight.astype(float)) / 2)
        assert abs(math.fsum(gradient.astype(float))) <= (1 + 2.0**-20) * half_ulps
