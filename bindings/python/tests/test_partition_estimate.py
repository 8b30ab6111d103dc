"""log Z from samples: mpmath, a known Z over a thousand seeds, merging, and what cannot be trusted."""

from __future__ import annotations

import math
import pickle
import warnings

import numpy as np
import pytest
import swiftdpo
from hypothesis import given
from hypothesis import strategies as st
from ulps import assert_ulps, exactly, mp


def exact(rewards, beta):
    weights = np.array([mp.exp(r / mp.mpf(beta)) for r in exactly(rewards)], dtype=object)
    n, total, squares = len(weights), weights.sum(), (weights**2).sum()
    variance = (n * squares - total**2) / ((n - 1) * total**2) if n > 1 else mp.inf
    corrected = mp.log(total / n) + (variance / 2 if n > 1 else 0)
    return mp.log(total / n), mp.sqrt(variance), total**2 / squares, corrected, max(weights) / total


@pytest.mark.parametrize("size", [1, 2, 7, 8, 9, 100])
@pytest.mark.parametrize("spread", [1e-7, 1e-3, 1.0, 50.0])
def test_match_mpmath(size, spread):
    rewards = np.random.default_rng(size).normal(3, spread, size)
    out = swiftdpo.estimate_log_partition(rewards, 0.5, min_effective_samples=0)
    # The error's own accuracy is that of the weights, some 1e-16 however small it is.
    for value, expected, ulps, floor in zip(
        out, exact(rewards, 0.5), (4, 4, 8, 4, 4), (0, 1, 0, 0, 0), strict=False
    ):
        assert_ulps(value, expected, ulps, scale=None if expected == mp.inf else abs(expected) + floor)


def test_coverage_of_the_interval_over_a_thousand_seeds():
    """Rewards N(0, 1) and beta = 2: log Z = 1/8, and some 390 of 500 samples are effective."""
    rewards = np.random.default_rng(20).normal(size=(1000, 500))
    out = swiftdpo.estimate_log_partition(rewards, 2.0)
    assert (out.effective_sample_size > 250).all()
    low, high = out.interval()
    coverage = np.mean((low <= 0.125) & (high >= 0.125))
    assert 0.93 <= coverage <= 0.97, coverage
    errors = out.log_partition - 0.125
    assert np.std(errors) == pytest.approx(np.mean(out.standard_error), rel=0.1)


def test_the_correction_removes_bias():
    """Of 20 samples each the plain estimate is too low; the corrected one much less."""
    rewards = np.random.default_rng(21).normal(size=(20000, 20))
    out = swiftdpo.estimate_log_partition(rewards, 1.0, min_effective_samples=0)
    plain, corrected = np.mean(out.log_partition) - 0.5, np.mean(out.corrected) - 0.5
    assert plain < -0.02
    assert abs(corrected) < abs(plain) / 2


def test_samples_of_a_listed_reference_estimate_its_partition_function():
    rng = np.random.default_rng(22)
    ref, rewards = rng.dirichlet(np.ones(30)), rng.normal(0, 1, 30)
    known = swiftdpo.optimal_policy(np.log(ref), rewards, 0.8)
    out = swiftdpo.estimate_log_partition(rewards[rng.choice(30, 20000, p=ref)], 0.8)
    assert abs(out.log_partition - known.log_partition) < 4 * out.standard_error
    chi_square = np.exp(2 * known.logps - np.log(ref)).sum()
    assert out.effective_sample_size == pytest.approx(20000 / chi_square, rel=0.05)


@given(st.lists(st.lists(st.floats(-50, 50), min_size=1, max_size=20), min_size=1, max_size=6))
def test_workers_combine(parts):
    whole = swiftdpo.estimate_log_partition(np.concatenate(parts), 1.5, min_effective_samples=0)
    merged = swiftdpo.LogPartitionAccumulator()
    streamed = swiftdpo.LogPartitionAccumulator()
    for part in parts:
        worker = swiftdpo.LogPartitionAccumulator()
        worker.add(part, 1.5)
        merged.merge(pickle.loads(pickle.dumps(worker)))
        streamed.add(part, 1.5)
    for accumulator in (merged, streamed):
        out = accumulator.estimate(min_effective_samples=0)
        np.testing.assert_allclose(out.log_partition, whole.log_partition, rtol=1e-14, atol=1e-14)
        np.testing.assert_allclose(out.effective_sample_size, whole.effective_sample_size, rtol=1e-13)
        np.testing.assert_allclose(out.standard_error, whole.standard_error, rtol=1e-8, atol=1e-8)


def test_extremes():
    for rewards, beta in (
        ([1e308, -1e308], 1e-3),
        ([1e5, 1e5 - 1], 1e-2),
        ([-1e6] * 4, 0.1),
        ([5e-324, 0.0], 1e-300),
    ):
        out = swiftdpo.estimate_log_partition(rewards, beta, min_effective_samples=0)
        assert not any(np.isnan(value) for value in out[:5])
    same = swiftdpo.estimate_log_partition(np.full(200, 0.3), 0.1)
    assert same.log_partition == pytest.approx(3, rel=1e-15)
    assert same.standard_error == 0 and same.effective_sample_size == 200
    single = swiftdpo.estimate_log_partition([2.0], 1.0, min_effective_samples=1)
    assert single.log_partition == 2 and single.standard_error == math.inf and single.corrected == 2


def test_what_cannot_be_trusted_says_so():
    rewards = np.random.default_rng(23).normal(size=1000)
    with pytest.warns(swiftdpo.UnreliableEstimateWarning, match="effective samples") as caught:
        out = swiftdpo.estimate_log_partition(rewards, 0.1)
    assert not out.reliable and out.largest_share > 0.1
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert swiftdpo.estimate_log_partition(rewards, 2.0).reliable
        swiftdpo.estimate_log_partition(rewards, 0.1, min_effective_samples=0)


def test_bad_input():
    accumulator = swiftdpo.LogPartitionAccumulator()
    with pytest.raises(ValueError, match="an accumulator must"):
        accumulator.estimate()
    accumulator.add([1.0], 0.5)
    before = accumulator.state.copy()
    with pytest.raises(ValueError, match="an accumulator must"):
        accumulator.add([1.0], 0.25)
    with pytest.raises(ValueError, match=r"rewards\[1\]: values must be finite"):
        accumulator.add([1.0, math.nan], 0.5)
    with pytest.raises(ValueError, match="a row of samples for each accumulator"):
        accumulator.add([[1.0]], 0.5)
    other = swiftdpo.LogPartitionAccumulator()
    other.add([1.0], 0.75)
    with pytest.raises(ValueError, match="an accumulator must"):
        accumulator.merge(other)
    np.testing.assert_array_equal(accumulator.state, before)
    other.state = np.full(7, math.nan)
    with pytest.raises(ValueError, match="an accumulator must"):
        other.estimate()
    with pytest.raises(ValueError, match="single number"):
        swiftdpo.estimate_log_partition(1.0, 0.5)
    with pytest.raises(ValueError, match=r"rewards\.shape\[-1\]"):
        swiftdpo.estimate_log_partition(np.zeros((2, 0)), 0.5)
    with pytest.raises(ValueError, match="beta: beta must be"):
        swiftdpo.estimate_log_partition([1.0], -1.0)
