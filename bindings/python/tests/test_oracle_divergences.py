"""Divergences: mpmath, finite differences, supports, and what part (a) of the derivation claims."""

from __future__ import annotations

import math

import numpy as np
import pytest
import swiftdpo
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from oracles import central_difference
from ulps import assert_ulps, exactly, mp

KINDS = ["kl", "reverse_kl", "generalized_kl", "jensen_shannon"]
INF = math.inf


def log_softmax(scores):
    return scores - np.logaddexp.reduce(scores, axis=-1, keepdims=True)


def exact_terms(logp, logq, kind):
    """Each outcome's share and its two slopes, by definition."""
    if kind == "reverse_kl":
        value, slope_q, slope_p = exact_terms(logq, logp, "kl")
        return value, slope_p, slope_q
    logp, logq = mp.mpf(float(logp)), mp.mpf(float(logq))
    p, q = mp.exp(logp), mp.exp(logq)
    difference = mp.mpf(0) if logp == logq else logp - logq
    if kind == "jensen_shannon":
        shares = [x * mp.log(2 * x / (p + q)) / 2 if x > 0 else mp.mpf(0) for x in (p, q)]
        return sum(shares), *shares
    share = mp.mpf(0) if p == 0 else p * difference
    return (share, share + p, -p) if kind == "kl" else (share - p + q, share, q - p)


def exact(logp, logq, kind):
    terms = np.vectorize(lambda p, q: exact_terms(p, q, kind), otypes=[object] * 3)(logp, logq)
    return terms[0].sum(axis=-1), terms[1], terms[2], terms[0]


def rows(seed, shape, spread):
    rng = np.random.default_rng(seed)
    return log_softmax(rng.normal(0, spread, shape)), log_softmax(rng.normal(0, spread, shape))


SPREADS = [1e-9, 1e-4, 0.1, 1.0, 5.0, 50.0, 400.0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize("size", [1, 2, 7, 8, 9, 50])
def test_match_mpmath(kind, spread, size):
    logp, logq = rows(size, (4, size), spread)
    out = swiftdpo.divergence(logp, logq, kind)
    value, slope_p, slope_q, terms = exact(logp, logq, kind)
    p, q = (np.maximum(np.exp(values), 1e-290) for values in (logp, logq))  # no digits below the normal range
    if kind in ("kl", "reverse_kl"):  # terms of both signs
        assert_ulps(out.divergence, value, scale=abs(terms).sum(axis=-1) + 1e-290, name=kind)
        assert_ulps(out.grad_logp, slope_p, 6, scale=abs(terms) + p, name="grad_logp")
        assert_ulps(out.grad_logq, slope_q, 6, scale=abs(terms) + q, name="grad_logq")
    else:
        assert_ulps(out.divergence, value, 8, name=kind)
        assert_ulps(out.grad_logp, slope_p, 8, scale=abs(slope_p) + 1e-290, name="grad_logp")
        assert_ulps(out.grad_logq, slope_q, 8, scale=abs(slope_q) + 1e-290, name="grad_logq")


@pytest.mark.parametrize("kind", KINDS)
def test_single_precision_is_the_double_result_rounded(kind):
    logp, logq = (values.astype(np.float32) for values in rows(3, (5, 19), 3.0))
    single = swiftdpo.divergence(logp, logq, kind)
    double = swiftdpo.divergence(logp.astype(np.float64), logq.astype(np.float64), kind)
    np.testing.assert_array_equal(single.divergence, double.divergence)
    np.testing.assert_array_equal(single.grad_logp, double.grad_logp.astype(np.float32))
    np.testing.assert_array_equal(single.grad_logq, double.grad_logq.astype(np.float32))


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_derivatives(kind):
    logp, logq = rows(7, (6,), 1.0)
    out = swiftdpo.divergence(logp, logq, kind)
    by_p = central_difference(lambda x: swiftdpo.divergence(x, logq, kind).divergence, logp, 1e-3)
    by_q = central_difference(lambda x: swiftdpo.divergence(logp, x, kind).divergence, logq, 1e-3)
    np.testing.assert_allclose(out.grad_logp, by_p, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(out.grad_logq, by_q, rtol=1e-9, atol=1e-10)


def test_supports():
    """0 log 0 = 0; a q of 0 beside a p that is not makes KL infinite, however small p is."""
    half, sure, never = math.log(0.5), 0.0, -INF
    assert swiftdpo.kl_divergence([sure, never], [half, half]) == pytest.approx(math.log(2), rel=1e-15)
    assert swiftdpo.kl_divergence([half, half], [sure, never]) == INF
    assert swiftdpo.kl_divergence([sure, -2000.0], [sure, never]) == INF
    assert swiftdpo.kl_divergence([sure, never], [sure, never]) == 0
    assert swiftdpo.divergence([half, half], [sure, never], "reverse_kl").divergence == pytest.approx(
        math.log(2)
    )
    assert swiftdpo.divergence([half, half], [sure, never], "generalized_kl").divergence == INF
    disjoint = swiftdpo.divergence([sure, never], [never, sure], "jensen_shannon")
    assert disjoint.divergence == pytest.approx(math.log(2), rel=1e-15)
    assert np.isfinite(disjoint.grad_logp).all() and np.isfinite(disjoint.grad_logq).all()
    out = swiftdpo.divergence([half, half, never], [half, never, half])
    assert out.divergence == INF and out.grad_logp[1] == INF
    assert np.isfinite(out.grad_logp[[0, 2]]).all() and np.isfinite(out.grad_logq).all()


def test_kl_over_the_support_of_p_needs_no_more_of_q():
    """A q that lists only what p can give: KL is the whole divergence."""
    logp, logq = log_softmax(np.array([0.3, -1.0, 0.5])), np.log([0.2, 0.1, 0.3])
    whole = swiftdpo.kl_divergence([*logp, -INF], [*logq, math.log(0.4)])
    assert swiftdpo.kl_divergence(logp, logq) == pytest.approx(whole, rel=1e-15)


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2])
def test_axes(axis):
    rng = np.random.default_rng(0)
    logp, logq = (np.log(rng.uniform(0.1, 0.4, (3, 4, 5))) for _ in range(2))
    out = swiftdpo.divergence(logp, logq, axis=axis)
    expected = (np.exp(logp) * (logp - logq)).sum(axis=axis)
    np.testing.assert_allclose(out.divergence, expected, rtol=1e-13)
    np.testing.assert_allclose(swiftdpo.kl_divergence(logp, logq, axis), expected, rtol=1e-13)
    np.testing.assert_allclose(out.grad_logq, -np.exp(logp), rtol=1e-15)
    assert out.grad_logp.shape == logp.shape


def test_rows_do_not_see_each_other():
    logp, logq = rows(5, (40, 23), 2.0)
    for kind in KINDS:
        together = swiftdpo.divergence(logp, logq, kind)
        for row in range(40):
            alone = swiftdpo.divergence(logp[row], logq[row], kind)
            assert alone.divergence == together.divergence[row]
            np.testing.assert_array_equal(alone.grad_logp, together.grad_logp[row])


logits = arrays(np.float64, (3, 6), elements=st.floats(-30, 30))


@given(logits, logits)
def test_properties(x, y):
    logp, logq = log_softmax(x), log_softmax(y)
    kl, generalized, js = (
        swiftdpo.divergence(logp, logq, k).divergence for k in ("kl", "generalized_kl", "jensen_shannon")
    )
    assert (generalized >= 0).all() and (js >= 0).all() and (js <= math.log(2) + 1e-14).all()
    np.testing.assert_allclose(kl, generalized, rtol=1e-13, atol=1e-13)
    turned = swiftdpo.divergence(logq, logp, "jensen_shannon")
    np.testing.assert_array_equal(js, turned.divergence)
    np.testing.assert_array_equal(
        turned.grad_logp, swiftdpo.divergence(logp, logq, "jensen_shannon").grad_logq
    )
    np.testing.assert_array_equal(swiftdpo.divergence(logq, logp, "reverse_kl").divergence, kl)
    for kind in KINDS:
        np.testing.assert_array_equal(swiftdpo.divergence(logp, logp, kind).divergence, 0)


@given(st.integers(0, 2**32))
def test_a_descent_ends_at_q(seed):
    """(a): KL is positive away from q, and gradient descent over softmax parameters ends at q."""
    rng = np.random.default_rng(seed)
    logq, theta = log_softmax(rng.normal(0, 1, 5)), rng.normal(0, 1, 5)
    assert swiftdpo.kl_divergence(log_softmax(theta), logq) > 0
    for _ in range(1500):
        logp = log_softmax(theta)
        gradient = swiftdpo.divergence(logp, logq).grad_logp
        theta -= 0.5 * (gradient - np.exp(logp) * gradient.sum()) / np.exp(logp).max()
        theta -= theta.mean()
    assert swiftdpo.kl_divergence(log_softmax(theta), logq) < 1e-3
    generalized = swiftdpo.divergence(logq, logq, "generalized_kl")
    np.testing.assert_array_equal(generalized.grad_logp, 0)
    np.testing.assert_array_equal(generalized.grad_logq, 0)


RATIOS = np.array(
    [
        s * m
        for m in (0.0, 1e-300, 1e-20, 1e-9, 1e-3, 0.3, 0.99, 1.0, 1.01, 2.0, 9.0, 80.0, 700.0)
        for s in (1, -1)
    ]
)


def test_estimates_match_mpmath():
    out = swiftdpo.kl_estimates(RATIOS, np.zeros_like(RATIOS))
    d = exactly(RATIOS)
    np.testing.assert_array_equal(out.k1, RATIOS)
    assert_ulps(out.k2, d * d / 2, 1)
    with mp.workdps(700):
        k3 = np.array([mp.exp(-x) - 1 + x for x in d], dtype=object)
    assert_ulps(out.k3, k3, 4)


def test_estimates_of_long_responses_subtract_exactly():
    policy, ref = np.array([-1200.3, -900.7]), np.array([-1210.9, -950.1])
    out = swiftdpo.kl_estimates(policy, ref)
    d = exactly(policy) - exactly(ref)
    assert_ulps(out.k3, np.array([mp.exp(-x) - 1 + x for x in d], dtype=object), 4)


def test_estimates_average_to_the_divergence():
    """Over all outcomes, weighted by p: k1 and k3 exactly, with k3 never negative."""
    logp, logq = rows(11, (9,), 1.5)
    out = swiftdpo.kl_estimates(logp, logq)
    kl = swiftdpo.kl_divergence(logp, logq)
    assert np.exp(logp) @ out.k1 == pytest.approx(kl, rel=1e-13)
    assert np.exp(logp) @ out.k3 == pytest.approx(kl, rel=1e-13)
    assert (out.k3 >= 0).all() and (out.k2 >= 0).all()
    slope = central_difference(lambda x: swiftdpo.kl_estimates(x, logq).k3.sum(), logp, 1e-3)
    np.testing.assert_allclose(out.k1 - out.k3, slope, rtol=1e-8, atol=1e-10)


@given(
    arrays(np.float64, 4, elements=st.floats(-1e308, 0)), arrays(np.float64, 4, elements=st.floats(-1e308, 0))
)
def test_no_finite_input_gives_nan(logp, logq):
    for kind in KINDS:
        for result in swiftdpo.divergence(logp, logq, kind):
            assert not np.isnan(result).any(), kind
    for result in swiftdpo.kl_estimates(logp, logq):
        assert not np.isnan(result).any()


def test_bad_input():
    with pytest.raises(ValueError, match=r"logq\[1\]: a log-probability must be at most 0"):
        swiftdpo.kl_divergence([-1.0, -1.0], [-1.0, 0.5])
    with pytest.raises(ValueError, match=r"logp\[0, 1\]: values must be finite"):
        swiftdpo.kl_divergence([[-1.0, np.nan]], [[-1.0, -1.0]])
    with pytest.raises(ValueError, match="logq has shape"):
        swiftdpo.kl_divergence([-1.0, -1.0], [-1.0])
    with pytest.raises(ValueError, match="single number"):
        swiftdpo.kl_divergence(-1.0, -1.0)
    with pytest.raises(ValueError, match="kind is 'chi2'; expected 'kl'"):
        swiftdpo.divergence([-1.0], [-1.0], "chi2")
    with pytest.raises(ValueError, match=r"policy_logps\[1\]: values must be finite"):
        swiftdpo.kl_estimates([-1.0, -INF], [-1.0, -1.0])
    assert math.isnan(swiftdpo.kl_divergence([-1.0, np.nan], [-1.0, -1.0], nonfinite="propagate"))
    assert swiftdpo.kl_divergence(np.zeros((0, 3)), np.zeros((0, 3))).shape == (0,)
