"""Optimal policies and implicit rewards: mpmath, finite differences, (b), (d) and (e) of the derivation."""

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

BETAS = [1e-3, 0.05, 0.5, 1.0, 20.0, 1e4]


def log_softmax(scores):
    return scores - np.logaddexp.reduce(scores, axis=-1, keepdims=True)


def prompts(seed=0, shape=(3, 11), spread=2.0):
    rng = np.random.default_rng(seed)
    return log_softmax(rng.normal(0, spread, shape)), rng.normal(0, spread, shape)


def exact(ref, rewards, beta):
    """log pi*, log Z and what follows from them, of one row in 50 digits."""
    ref, rewards, beta = exactly(ref), exactly(rewards), mp.mpf(float(beta))
    weights = np.array([mp.exp(s + r / beta) for s, r in zip(ref, rewards, strict=True)], dtype=object)
    partition = weights.sum()
    probabilities = weights / partition
    expected = (probabilities * rewards).sum()
    return {
        "logps": np.array([mp.log(p) for p in probabilities], dtype=object),
        "log_partition": mp.log(partition),
        "objective": beta * mp.log(partition),
        "expected_reward": expected,
        "kl": expected / beta - mp.log(partition),
        "grad_rewards": probabilities / beta,
        "grad_beta": -expected / beta**2,
    }


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("size", [1, 2, 7, 8, 9, 33])
def test_match_mpmath(beta, size):
    ref, rewards = prompts(size, (3, size))
    out = swiftdpo.optimal_policy(ref, rewards, beta)
    for row in range(3):
        expected = exact(ref[row], rewards[row], beta)
        scale = 1 + abs(expected["log_partition"]) + abs(exactly(rewards[row])).max() / mp.mpf(beta)
        assert_ulps(out.logps[row], expected["logps"], 2, scale=abs(expected["logps"]) + 1 + math.log(size))
        assert_ulps(out.log_partition[row], expected["log_partition"], 2, scale=scale)
        assert_ulps(out.objective[row], expected["objective"], 2, scale=beta * scale)
        assert_ulps(
            out.expected_reward[row], expected["expected_reward"], 4, scale=abs(exactly(rewards[row])).max()
        )
        assert_ulps(out.kl[row], expected["kl"], 4, scale=scale)
        assert_ulps(out.grad_beta[row], expected["grad_beta"], 6, scale=scale / beta)
        assert_ulps(out.grad_rewards[row], expected["grad_rewards"], 6, name="grad_rewards")


def test_single_precision_is_the_double_result_rounded():
    ref, rewards = (values.astype(np.float32) for values in prompts(4))
    single = swiftdpo.optimal_policy(ref, rewards, 0.5, policy_logps=ref)
    ref, rewards = ref.astype(np.float64), rewards.astype(np.float64)
    double = swiftdpo.optimal_policy(ref, rewards, 0.5, policy_logps=ref)
    for name in single._fields:
        one, two = getattr(single, name), getattr(double, name)
        np.testing.assert_array_equal(one, two.astype(one.dtype), err_msg=name)


@pytest.mark.parametrize("beta", BETAS)
def test_b_the_maximum_and_the_gap(beta):
    """J(pi*) = beta log Z, by J's definition; J(pi*) - J(pi) = beta KL(pi || pi*) for any pi."""
    ref, rewards = prompts(8, (6, 10))
    best = swiftdpo.optimal_policy(ref, rewards, beta)
    np.testing.assert_allclose(np.exp(best.logps).sum(axis=-1), 1, rtol=1e-14)
    at_best = swiftdpo.optimal_policy(ref, rewards, beta, policy_logps=best.logps)
    size = np.abs(rewards).max() + beta
    np.testing.assert_allclose(at_best.policy_objective, best.objective, rtol=1e-12, atol=1e-13 * size)
    np.testing.assert_array_equal(at_best.policy_gap, 0)
    for seed in range(20):
        policy = log_softmax(np.random.default_rng(seed).normal(0, 2, ref.shape))
        out = swiftdpo.optimal_policy(ref, rewards, beta, policy_logps=policy)
        by_definition = (np.exp(policy) * (rewards - beta * (policy - ref))).sum(axis=-1)
        np.testing.assert_allclose(out.policy_objective, by_definition, rtol=1e-12, atol=1e-13 * size)
        np.testing.assert_allclose(
            best.objective - out.policy_objective, out.policy_gap, rtol=1e-9, atol=1e-12 * size
        )
        assert (out.policy_gap > 0).all()
        kl = swiftdpo.kl_divergence(policy, best.logps)
        np.testing.assert_allclose(out.policy_gap, beta * kl, rtol=1e-11, atol=1e-14 * beta)


def test_b_normalising_is_what_brings_in_log_z():
    """With the unnormalised weights below the line, J has no beta log Z beside it."""
    ref, rewards = prompts(9, (10,))
    policy, beta = log_softmax(np.random.default_rng(1).normal(0, 1, 10)), 0.7
    out = swiftdpo.optimal_policy(ref, rewards, beta, policy_logps=policy)
    unnormalised = -beta * (np.exp(policy) @ (policy - ref - rewards / beta))
    assert out.policy_objective == pytest.approx(unnormalised, rel=1e-13)
    assert abs(beta * out.log_partition) > 0.1
    assert out.policy_objective == pytest.approx(out.objective - out.policy_gap, rel=1e-12)


@pytest.mark.parametrize("beta", [0.1, 1.0, 5.0])
def test_gradients_are_derivatives(beta):
    ref, rewards = prompts(10, (7,))
    out = swiftdpo.optimal_policy(ref, rewards, beta)
    by_rewards = central_difference(
        lambda x: swiftdpo.optimal_policy(ref, x, beta).log_partition, rewards, 1e-3 * beta
    )
    np.testing.assert_allclose(out.grad_rewards, by_rewards, rtol=1e-8, atol=1e-9 / beta)
    by_beta = central_difference(
        lambda x: swiftdpo.optimal_policy(ref, rewards, x[0]).log_partition, np.array([beta]), 1e-3 * beta
    )
    assert out.grad_beta == pytest.approx(by_beta[0], rel=1e-7)
    assert out.expected_reward - beta * out.kl == pytest.approx(out.objective, rel=1e-13)


def test_betas_of_their_own_and_rows_do_not_see_each_other():
    ref, rewards = prompts(12, (40, 13))
    betas = np.geomspace(1e-2, 1e2, 40)
    out = swiftdpo.optimal_policy(ref, rewards, betas, policy_logps=ref)
    for row in range(40):
        alone = swiftdpo.optimal_policy(ref[row], rewards[row], betas[row], policy_logps=ref[row])
        for name in out._fields:
            np.testing.assert_array_equal(getattr(out, name)[row], getattr(alone, name), err_msg=name)


def test_impossible_responses_stay_impossible():
    ref, rewards = np.log([0.5, 0.0 + 1e-300, 0.5]), np.array([0.0, 1.0, 2.0])
    ref[1] = -math.inf
    out = swiftdpo.optimal_policy(ref, [0.0, 1e6, 2.0], 1e-3, policy_logps=np.log([0.2, 0.3, 0.5]))
    assert (
        out.logps[1] == -math.inf
        and out.grad_rewards[1] == 0
        and out.logps[2] == pytest.approx(0, abs=1e-300)
    )
    assert out.policy_objective == -math.inf and out.policy_gap == math.inf
    assert out.log_partition == pytest.approx(2000 + math.log(0.5), rel=1e-15)
    assert swiftdpo.optimal_policy(ref, rewards, 1.0).expected_reward < 2


def test_without_a_reference_it_is_a_softmax():
    out = swiftdpo.optimal_policy(None, np.array([1.0, 2.0, 4.0]), 0.5)
    np.testing.assert_allclose(out.logps, log_softmax(np.array([2.0, 4.0, 8.0])), atol=4e-15)


@given(
    arrays(np.float64, 5, elements=st.floats(-1e300, 0)),
    arrays(np.float64, 5, elements=st.floats(allow_nan=False, allow_infinity=False)),
    arrays(np.float64, 5, elements=st.floats(-1e3, 0)),
    st.floats(1e-320, 1e300, exclude_min=True),
)
def test_no_finite_input_gives_nan(ref, rewards, policy, beta):
    out = swiftdpo.optimal_policy(ref, rewards, beta)
    for name in ("logps", "log_partition", "objective", "grad_rewards", "kl"):
        assert not np.isnan(getattr(out, name)).any(), name
    for result in (
        swiftdpo.implicit_rewards(policy, ref, beta),
        swiftdpo.policy_from_rewards(rewards, ref, beta),
    ):
        assert not np.isnan(result).any()


# (d) the reward that a policy is optimal for


@pytest.mark.parametrize("beta", BETAS)
def test_d_round_trip(beta):
    ref, rewards = prompts(13, (5, 9))
    out = swiftdpo.optimal_policy(ref, rewards, beta)
    back = swiftdpo.implicit_rewards(out.logps, ref, beta, out.log_partition)
    size = np.maximum(np.abs(rewards).max(), beta * (np.abs(ref).max() + np.abs(out.logps).max()))
    np.testing.assert_allclose(back, rewards, atol=1e-14 * size, rtol=0)
    again = swiftdpo.policy_from_rewards(back, ref, beta, out.log_partition)
    scale = np.abs(rewards).max() / beta + np.abs(out.logps).max()
    np.testing.assert_allclose(again, out.logps, atol=1e-14 * scale, rtol=0)
    np.testing.assert_allclose(
        swiftdpo.policy_from_rewards(rewards, ref, beta, out.log_partition),
        out.logps,
        atol=1e-14 * scale,
        rtol=0,
    )


def test_d_round_trip_to_1e_14():
    """At ordinary sizes: rewards of a few, beta of a tenth, log-probabilities of tens of nats."""
    rng = np.random.default_rng(14)
    ref, rewards = rng.uniform(-60, -10, (100, 16)), rng.uniform(-2, 2, (100, 16))
    ref = log_softmax(ref)
    out = swiftdpo.optimal_policy(ref, rewards, 0.1)
    back = swiftdpo.implicit_rewards(out.logps, ref, 0.1, out.log_partition)
    assert np.abs(back - rewards).max() <= 1e-14


def test_d_within_one_ulp():
    rng = np.random.default_rng(15)
    policy, ref = rng.uniform(-900, 0, (2, 40))
    rewards, logz = rng.uniform(-9, 9, 40), rng.uniform(-90, 90, 40)
    betas = rng.uniform(0.01, 2, 40)
    out = swiftdpo.implicit_rewards(policy, ref, betas, logz)
    expected = exactly(betas) * (exactly(policy) - exactly(ref) + exactly(logz))
    assert_ulps(out, expected, 1)
    out = swiftdpo.policy_from_rewards(rewards, ref, betas, logz)
    assert_ulps(out, exactly(ref) + exactly(rewards) / exactly(betas) - exactly(logz), 1)


def test_d_shapes():
    policy, ref = np.array([[-1.0, -2.0], [-3.0, -5.0]]), np.array([[-2.0, -2.0], [-2.0, -2.0]])
    rows = swiftdpo.implicit_rewards(policy, ref, 1.0, np.array([10.0, 20.0]))
    np.testing.assert_array_equal(rows, [[11, 10], [19, 17]])
    np.testing.assert_array_equal(
        swiftdpo.implicit_rewards(policy, ref, np.array([1.0, 2.0])), [[1, 0], [-2, -6]]
    )
    np.testing.assert_array_equal(
        swiftdpo.implicit_rewards(policy, ref, np.array([1.0, 2.0]), 3.0), [[4, 3], [4, 0]]
    )
    each = swiftdpo.implicit_rewards(policy[0], ref[0], 1.0, np.array([10.0, 20.0]))
    np.testing.assert_array_equal(each, [11, 20])
    assert swiftdpo.implicit_rewards(-1.0, -2.0, 2.0, 3.0) == 8
    assert swiftdpo.implicit_rewards(policy, None, 1.0)[0, 1] == -2
    assert swiftdpo.implicit_rewards(np.zeros((0, 3)), None, 0.1).shape == (0, 3)


@pytest.mark.parametrize("log_partition", [-40.0, 0.5, 1e3])
def test_any_log_partition_cancels(log_partition):
    """DPO, Bradley-Terry and Plackett-Luce see differences of one prompt's rewards alone."""
    ref, policy = (log_softmax(np.random.default_rng(s).normal(0, 2, 6)) for s in (1, 2))
    plain = swiftdpo.implicit_rewards(policy, ref, 0.25)
    moved = swiftdpo.implicit_rewards(policy, ref, 0.25, log_partition)
    np.testing.assert_allclose(moved - plain, 0.25 * log_partition, atol=1e-13 * abs(log_partition))
    probability = swiftdpo.preference_probability(plain[:3], plain[3:])
    np.testing.assert_allclose(swiftdpo.preference_probability(moved[:3], moved[3:]), probability, rtol=1e-11)
    loss = swiftdpo.dpo_loss(policy[:3], policy[3:], ref[:3], ref[3:], beta=0.25, reduction="none").losses
    np.testing.assert_allclose(-np.log(probability), loss, rtol=1e-13)
    np.testing.assert_array_equal(
        swiftdpo.log_preference_probability([moved[0]], [moved[1]]),
        -swiftdpo.plackett_luce_loss([[moved[0], moved[1]]], beta=1.0).losses,
    )


# (e) Bradley and Terry's probability

REWARDS = np.array(
    [0.0, 1e-300, -1e-20, 0.3, -1.0, 5.0, -36.0, 40.0, -700.0, 745.0, -1e4, 1e6, 1e308, -1e308]
)


def test_preference_probability_matches_mpmath():
    chosen, rejected = (grid.ravel() for grid in np.meshgrid(REWARDS, REWARDS))
    difference = exactly(chosen) - exactly(rejected)
    probability = swiftdpo.preference_probability(chosen, rejected)
    logs = swiftdpo.log_preference_probability(chosen, rejected)
    assert not np.isnan(logs).any()
    moderate = np.array([abs(d) < 1e4 for d in difference])
    with mp.workdps(30):
        exact_probability = np.array([1 / (1 + mp.exp(-d)) for d in difference[moderate]], dtype=object)
        exact_logs = np.array(
            [min(d, mp.mpf(0)) - mp.log1p(mp.exp(-abs(d))) for d in difference[moderate]], dtype=object
        )
    assert_ulps(probability[moderate], exact_probability, 4)
    assert_ulps(logs[moderate], exact_logs, 4)
    opposite = swiftdpo.preference_probability(rejected, chosen)
    np.testing.assert_allclose(probability + opposite, 1, rtol=1e-15)


def test_preference_probability_of_infinite_rewards():
    inf = math.inf
    out = swiftdpo.preference_probability([inf, -inf, inf, 0.0], [0.0, 0.0, inf, inf], nonfinite="propagate")
    np.testing.assert_array_equal(out, [1, 0, 0.5, 0])


def test_bad_input():
    ref, rewards = np.log([[0.5, 0.5]]), np.array([[1.0, 2.0]])
    impossible = np.full((1, 2), -math.inf)
    cases = [
        (r"beta: beta must be", lambda: swiftdpo.optimal_policy(ref, rewards, 0.0)),
        (r"beta\[0\]: beta must be", lambda: swiftdpo.optimal_policy(ref, rewards, np.array([np.nan]))),
        (r"rewards\[0, 1\]: values must be", lambda: swiftdpo.optimal_policy(ref, [[1.0, np.inf]], 0.1)),
        (r"ref_logps\[0, 0\]: at least one", lambda: swiftdpo.optimal_policy(impossible, rewards, 0.1)),
        (
            r"ref_logps\[0, 1\]: values must be",
            lambda: swiftdpo.optimal_policy([[0.0, np.nan]], rewards, 0.1),
        ),
        (
            r"policy_logps\[0, 0\]: a log-prob",
            lambda: swiftdpo.optimal_policy(ref, rewards, 0.1, policy_logps=rewards),
        ),
        (r"ref_logps has shape", lambda: swiftdpo.optimal_policy(ref[0], rewards, 0.1)),
        (r"rewards\.shape\[-1\]", lambda: swiftdpo.optimal_policy(None, np.zeros((2, 0)), 0.1)),
        (r"beta has shape", lambda: swiftdpo.optimal_policy(ref, rewards, np.array([0.1, 0.2]))),
        (r"log_partition has shape", lambda: swiftdpo.implicit_rewards(ref, ref, 0.1, np.zeros(3))),
        (r"log_partition\[0\]: values", lambda: swiftdpo.implicit_rewards(ref, ref, 0.1, [np.nan])),
        (r"policy_logps\[0, 0\]: values", lambda: swiftdpo.implicit_rewards(impossible, ref, 0.1)),
        (r"policy_logps has 3 dim", lambda: swiftdpo.implicit_rewards(np.zeros((1, 1, 1)), None, 0.1)),
        (
            r"rejected_rewards\[1\]: values",
            lambda: swiftdpo.preference_probability([0.0, 1.0], [0.0, np.nan]),
        ),
        (r"rejected_rewards has shape", lambda: swiftdpo.preference_probability([0.0, 1.0], [0.0])),
    ]
    for message, broken in cases:
        with pytest.raises(ValueError, match=message):
            broken()
    with pytest.raises(TypeError, match="share one dtype"):
        swiftdpo.optimal_policy(ref.astype(np.float32), rewards, 0.1)
