"""Samples of pi* out of samples of the reference, and best of n: distributions, bounds, brute force."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import swiftdpo
from hypothesis import given
from hypothesis import strategies as st
from ulps import exactly, mp

OUTCOMES, BETA, SAMPLES = 8, 0.7, 100_000


def log_softmax(scores):
    return scores - np.logaddexp.reduce(scores, axis=-1, keepdims=True)


@pytest.fixture(scope="module")
def world():
    rng = np.random.default_rng(0)
    ref, rewards = log_softmax(rng.normal(0, 1, OUTCOMES)), rng.normal(0, 1, OUTCOMES)
    drawn = rng.choice(OUTCOMES, SAMPLES, p=np.exp(ref))
    return ref, rewards, drawn, swiftdpo.optimal_policy(ref, rewards, BETA)


def chi_square(drawn, probabilities):
    expected = len(drawn) * probabilities
    return float(((np.bincount(drawn, minlength=len(probabilities)) - expected) ** 2 / expected).sum())


#: Far out in the tail of chi-square with OUTCOMES - 1 = 7 degrees of freedom: one in a million.
UNLIKELY = 41.0


def test_what_is_accepted_is_distributed_as_the_optimal_policy(world):
    ref, rewards, drawn, best = world
    out = swiftdpo.rejection_sample(rewards[drawn], BETA, 1, bound=rewards.max())
    assert out.accepted.dtype == np.bool_
    assert chi_square(drawn[out.accepted], np.exp(best.logps)) < UNLIKELY
    assert chi_square(drawn[out.accepted], np.exp(ref)) > UNLIKELY
    share = math.exp(best.log_partition - rewards.max() / BETA)
    assert out.acceptance_rate == pytest.approx(share, rel=0.02)
    assert out.accepted.mean() == pytest.approx(share, rel=0.02)
    looser = swiftdpo.rejection_sample(rewards[drawn], BETA, 1, bound=rewards.max() + 1)
    assert chi_square(drawn[looser.accepted], np.exp(best.logps)) < UNLIKELY
    assert looser.acceptance_rate == pytest.approx(share * math.exp(-1 / BETA), rel=0.02)
    assert (out.accepted | ~looser.accepted).all()


def test_what_is_resampled_is_distributed_as_the_optimal_policy(world):
    _, rewards, drawn, best = world
    indices = swiftdpo.importance_resample(rewards[drawn], BETA, 20_000, 2)
    assert indices.shape == (20_000,) and indices.min() >= 0 and indices.max() < SAMPLES
    assert chi_square(drawn[indices], np.exp(best.logps)) < UNLIKELY


def test_a_seed_decides_and_prompts_do_not_see_each_other():
    rewards = np.random.default_rng(3).normal(size=(4, 50))
    for call in (
        lambda rewards, seed: swiftdpo.rejection_sample(rewards, 0.5, seed).accepted,
        lambda rewards, seed: swiftdpo.importance_resample(rewards, 0.5, 30, seed),
    ):
        np.testing.assert_array_equal(call(rewards, 7), call(rewards, 7))
        assert (call(rewards, 7) != call(rewards, 8)).any()
        np.testing.assert_array_equal(call(rewards, 7)[:1], call(rewards[:1], 7))
        np.testing.assert_array_equal(call(rewards, 7)[0], call(rewards[0], 7))
        other = rewards.copy()
        other[2] = 0.0
        np.testing.assert_array_equal(np.delete(call(other, 7), 2, 0), np.delete(call(rewards, 7), 2, 0))


def test_the_same_samples_on_every_machine():
    rewards = np.array([0.0, 1.0, 0.5, -1.0, 2.0, 0.25, 1.75, 0.9])
    assert swiftdpo.importance_resample(rewards, 1.0, 8, 42).tolist() == [4, 4, 7, 2, 6, 6, 1, 3]
    assert swiftdpo.rejection_sample(rewards, 1.0, 42).accepted.nonzero()[0].tolist() == [1, 2, 4, 6]


def test_extremes():
    out = swiftdpo.rejection_sample([1e308, -1e308, 0.0], 1e-3, 0)
    assert out.accepted.tolist() == [True, False, False]
    assert swiftdpo.importance_resample([-1e308, 1e308], 1e-3, 5, 0).tolist() == [1] * 5
    assert swiftdpo.rejection_sample(np.full(9, 3.0), 0.1, 0).accepted.all()


def brute_force(ref, rewards, n):
    """Of all strings of n draws: which response is kept."""
    probabilities = [mp.exp(x) for x in exactly(ref)]
    total = sum(probabilities)
    kept = [mp.mpf(0)] * len(rewards)
    for draws in itertools.product(range(len(rewards)), repeat=n):
        best = max(draws, key=lambda y: rewards[y])  # the first of equals
        kept[best] += math.prod((probabilities[y] / total for y in draws), start=mp.mpf(1))
    return kept, [p / total for p in probabilities]


@pytest.mark.parametrize("n", [1, 2, 3, 5])
@pytest.mark.parametrize("ties", [False, True])
def test_best_of_n_matches_all_strings_of_draws(n, ties):
    rng = np.random.default_rng(n)
    ref, rewards = log_softmax(rng.normal(0, 2, 5)), rng.normal(0, 1, 5)
    rewards = np.round(rewards) if ties else rewards
    out = swiftdpo.best_of_n_policy(ref, rewards, n)
    kept, reference = brute_force(ref, rewards, n)
    np.testing.assert_allclose(np.exp(out.logps), [float(p) for p in kept], rtol=1e-13)
    kl = sum(p * mp.log(p / q) for p, q in zip(kept, reference, strict=True))
    assert out.kl == pytest.approx(float(kl), rel=1e-12, abs=1e-14)
    assert out.expected_reward == pytest.approx(
        float(sum(p * r for p, r in zip(kept, rewards, strict=True))), rel=1e-12
    )


@given(st.integers(1, 30), st.integers(1, 5000), st.integers(0, 2**32))
def test_the_bounds_of_best_of_n(size, n, seed):
    """0 <= KL <= log n - (n - 1) / n <= log n, and the reward rises with n."""
    rng = np.random.default_rng(seed)
    ref, rewards = log_softmax(rng.normal(0, 3, size)), rng.choice([0.0, 0.5, 1.0, 2.0, 2.5], size)
    out = swiftdpo.best_of_n_policy(ref, rewards, n)
    assert np.exp(out.logps).sum() == pytest.approx(1, rel=1e-11)
    assert -1e-13 <= out.kl <= out.kl_bound + 1e-12 and out.kl_bound <= math.log(n) + 1e-15
    assert out.kl == pytest.approx(swiftdpo.kl_divergence(out.logps, ref), rel=1e-9, abs=1e-12)
    assert swiftdpo.best_of_n_policy(ref, rewards, n + 1).expected_reward >= out.expected_reward - 1e-12
    best = swiftdpo.optimal_policy(ref, rewards, 0.3, policy_logps=out.logps)
    assert best.policy_gap >= 0


def test_the_bound_is_what_many_different_responses_cost():
    for n in (1, 2, 4, 64):
        out = swiftdpo.best_of_n_policy(np.full(100_000, -math.log(100_000)), np.arange(100_000.0), n)
        assert out.kl == pytest.approx(out.kl_bound, abs=1e-3)
        assert out.kl_bound == pytest.approx(math.log(n) - (n - 1) / n, abs=1e-15)


def test_bad_input():
    cases = [
        (
            r"rewards\[1\]: a reward must not exceed",
            lambda: swiftdpo.rejection_sample([0.0, 2.0], 1.0, 0, bound=1.0),
        ),
        (r"bound", lambda: swiftdpo.rejection_sample([0.0, 2.0], 1.0, 0, bound=math.nan)),
        (r"rewards\[0\]: values", lambda: swiftdpo.rejection_sample([math.nan], 1.0, 0)),
        (r"beta: beta must", lambda: swiftdpo.importance_resample([0.0], 0.0, 1, 0)),
        (r"num_draws is 0", lambda: swiftdpo.importance_resample([0.0], 1.0, 0, 0)),
        (r"n is 0", lambda: swiftdpo.best_of_n_kl_bound(0)),
        (r"ref_logps has shape", lambda: swiftdpo.best_of_n_policy([0.0, 0.0], [0.0], 2)),
        (r"ref_logps\[0\]: at least one", lambda: swiftdpo.best_of_n_policy([-math.inf], [0.0], 2)),
        (r"seed", lambda: swiftdpo.rejection_sample([0.0], 1.0, -1)),
        (r"single number", lambda: swiftdpo.rejection_sample(0.0, 1.0, 0)),
    ]
    for message, call in cases:
        with pytest.raises((ValueError, TypeError), match=message):
            call()


def test_responses_that_the_reference_cannot_give():
    out = swiftdpo.best_of_n_policy([-math.inf, math.log(0.5), math.log(0.5)], [9.0, 1.0, 2.0], 2)
    np.testing.assert_allclose(np.exp(out.logps), [0, 0.25, 0.75], rtol=1e-14)
