"""The oracles agree with one another, and the ruler measures: none of this needs the library."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch_oracles
from oracles import (
    all_rankings,
    central_difference,
    dpo,
    log_softmax,
    logits_gradient,
    plackett_luce,
    ranking_probabilities,
    sequence_logps,
)
from samples import MARGINS, random_rankings, realistic_groups, realistic_pairs
from ulps import assert_ulps, error_in_ulps, exactly, mp, ulp

# The ruler


@pytest.mark.parametrize(
    "value", [1.0, 1.5, 2.0, 0.1, -3.7, 1e300, 2.2250738585072014e-308, 1e-310, 5e-324, 0.0]
)
def test_ulp_of_a_float_is_that_of_the_standard_library(value):
    assert float(ulp(mp.mpf(value))) == math.ulp(value)
    single = np.float32(value) if abs(value) < 1e30 else np.float32(1e30)
    assert float(ulp(mp.mpf(float(single)), np.float32)) == np.spacing(abs(single))


def test_ulp_is_of_the_real_number_not_of_its_nearest_float():
    just_below_two = mp.mpf(2) - mp.mpf(10) ** -30
    assert float(just_below_two) == 2.0
    assert float(ulp(just_below_two)) == math.ulp(1.9)


@pytest.mark.parametrize("value", [1.0, -1.0, 0.1, 1e-310, 1e300, 745.13])
@pytest.mark.parametrize("steps", [0, 1, 3])
def test_neighbours_are_ulps_apart(value, steps):
    neighbour = value
    for _ in range(steps):
        neighbour = math.nextafter(neighbour, math.copysign(math.inf, value))
    assert error_in_ulps(neighbour, mp.mpf(value)) == steps


@pytest.mark.parametrize(
    "actual, exact",
    [
        (math.nan, 1.0),
        (1.0, math.nan),
        (math.nan, math.nan),
        (math.inf, 1e308),
        (1.0, math.inf),
        (math.inf, -math.inf),
        (-1e-320, 1e-320),
        (5e-324, mp.mpf("-1e-400")),
    ],
)
def test_what_has_no_distance_is_infinitely_far(actual, exact):
    assert error_in_ulps(actual, exact) == math.inf


def test_equal_infinities_are_exact_and_zero_has_no_wrong_sign():
    assert error_in_ulps(-math.inf, -math.inf) == 0
    assert error_in_ulps(-0.0, 0.0) == error_in_ulps(0.0, 0.0) == 0
    assert error_in_ulps(-0.0, mp.mpf("1e-400")) < 1e-70
    assert error_in_ulps(0.0, mp.mpf("1e-320")) > 1000


def test_a_scale_replaces_the_size_and_the_sign_of_a_difference():
    assert error_in_ulps(-1e-17, mp.mpf("1e-17"), scale=1.0) < 0.1
    assert error_in_ulps(3e-16, mp.mpf(0), scale=1.0) == pytest.approx(3e-16 / math.ulp(1.0))


def test_float32_results_may_only_be_the_rounded_double():
    third = mp.mpf(1) / 3
    nearest = np.float32(1 / 3)
    assert_ulps(np.array([nearest]), [third])
    with pytest.raises(AssertionError, match="ulps"):
        assert_ulps(np.array([np.nextafter(nearest, np.float32(0))]), [third])


# The oracles


def test_dpo_mpmath_and_autograd_agree():
    inputs = realistic_pairs(40, seed=1)
    policy = [torch_oracles.tensor(values) for values in inputs[:2]]
    losses = torch_oracles.dpo(
        *policy, *(torch.tensor(values) for values in inputs[2:]), beta=0.1, label_smoothing=0.1
    )
    losses.mean().backward()
    exact = dpo(*inputs, beta=0.1, label_smoothing=0.1)
    np.testing.assert_allclose(exact.losses.astype(float), losses.detach(), rtol=1e-12)
    np.testing.assert_allclose(
        exact.grad_policy_chosen_logps.astype(float), policy[0].grad, rtol=1e-10, atol=1e-15
    )
    np.testing.assert_allclose(
        exact.grad_policy_rejected_logps.astype(float), policy[1].grad, rtol=1e-10, atol=1e-15
    )


def test_dpo_gradients_are_derivatives():
    """mpmath differentiates the loss by itself, numerically, with digits to spare."""
    options = dict(beta=[0.3], margin=[0.25], weights=[1.5], soft_labels=[0.8], reduction="sum")
    point = [-3.0, -5.0, -2.5, -5.25]
    exact = dpo(*([value] for value in point), **options)

    def loss(chosen, rejected):
        z = mp.mpf(0.3) * ((chosen - point[2]) - (rejected - point[3])) - mp.mpf(0.25)
        chance = 1 / (1 + mp.exp(-z))
        return -mp.mpf(1.5) * (mp.mpf(0.8) * mp.log(chance) + (1 - mp.mpf(0.8)) * mp.log(1 - chance))

    assert mp.almosteq(exact.loss, loss(*map(mp.mpf, point[:2])), 1e-40)
    assert mp.almosteq(exact.grad_policy_chosen_logps[0], mp.diff(loss, tuple(point[:2]), (1, 0)), 1e-20)
    assert mp.almosteq(exact.grad_policy_rejected_logps[0], mp.diff(loss, tuple(point[:2]), (0, 1)), 1e-20)


def test_naive_dpo_fails_the_bound():
    """The bound of 4 ulps is a sharp one: the textbook formula breaks it on realistic inputs."""
    policy_chosen, policy_rejected, ref_chosen, ref_rejected = inputs = realistic_pairs(100)
    z = 0.1 * ((policy_chosen - ref_chosen) - (policy_rejected - ref_rejected))
    naive = np.logaddexp(0, -z)
    errors = [error_in_ulps(*pair) for pair in zip(naive, dpo(*inputs).losses, strict=True)]
    assert 20 < max(errors) < 1e4
    with pytest.raises(AssertionError, match=r"losses\[\d+\]"):
        assert_ulps(naive, dpo(*inputs).losses, name="losses")


def test_naive_softplus_fails_the_bound_on_the_margins():
    zero = np.zeros_like(MARGINS)
    with np.errstate(over="ignore"), pytest.raises(AssertionError):
        assert_ulps(np.log(1 + np.exp(-MARGINS)), dpo(MARGINS, zero, beta=1).losses)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 6])
def test_plackett_luce_mpmath_and_the_urn_agree(size):
    scores = np.random.default_rng(size).normal(0, 2, size)
    rankings = all_rankings(size)
    urn = ranking_probabilities(scores)
    exact = plackett_luce(np.tile(scores, (len(rankings), 1)), beta=1, rankings=rankings)
    assert len(urn) == math.factorial(size) and math.fsum(urn.values()) == pytest.approx(1, abs=1e-14)
    for ranking, loss in zip(rankings, exact.losses, strict=True):
        assert float(loss) == pytest.approx(-math.log(urn[tuple(ranking)]), rel=1e-13, abs=1e-15)


def test_plackett_luce_is_a_race_of_exponentials():
    """Items that arrive at rates exp(score) arrive in this order this often."""
    rates = [mp.exp(score) for score in (0.4, -0.7, 0.1)]

    def second_before_third(after):
        return mp.quad(
            lambda t: rates[1] * mp.exp(-(rates[1] + rates[2]) * t), [after, after + 5, after + 30]
        )

    with mp.workdps(15):
        probability = mp.quad(
            lambda t: rates[0] * mp.exp(-rates[0] * t) * second_before_third(t), [0, 2, 10, 30]
        )
    exact = plackett_luce([[0.4, -0.7, 0.1]], beta=1)
    assert float(exact.losses[0]) == pytest.approx(-math.log(probability), abs=1e-9)


def test_plackett_luce_mpmath_autograd_and_differences_agree():
    policy, ref = realistic_groups(6, 7, seed=2)
    rankings, weights = random_rankings(6, 7, seed=3), np.linspace(0.5, 2, 6)
    exact = plackett_luce(policy, ref, beta=0.2, rankings=rankings, weights=weights)

    leaf = torch_oracles.tensor(policy)
    losses = torch.tensor(weights) * torch_oracles.plackett_luce(0.2 * (leaf - torch.tensor(ref)), rankings)
    losses.mean().backward()
    np.testing.assert_allclose(exact.losses.astype(float), losses.detach(), rtol=1e-11)
    np.testing.assert_allclose(exact.grad_policy_logps.astype(float), leaf.grad, rtol=1e-9, atol=1e-14)

    def loss(logps):
        return float(plackett_luce(logps, ref[:2], beta=0.2, rankings=rankings[:2], weights=weights[:2]).loss)

    differences = central_difference(loss, policy[:2], 2e-2)
    np.testing.assert_allclose(
        exact.grad_policy_logps[:2].astype(float) * 3, differences, rtol=1e-8, atol=1e-11
    )


def test_logits_oracle_mpmath_and_autograd_agree():
    rng = np.random.default_rng(4)
    logits = rng.normal(0, 4, (3, 5, 11)).astype(np.float32)
    labels = rng.integers(0, 11, (3, 5))
    labels[0, :3] = labels[2] = -100
    for shift in (True, False):
        for average in (True, False):
            options = dict(shift=shift, average=average)
            ours, grad_logps = sequence_logps(logits, labels, **options), rng.normal(0, 1, 3)
            leaf = torch_oracles.tensor(logits)
            theirs = torch_oracles.sequence_logps(leaf, labels, **options)
            theirs.backward(torch.tensor(grad_logps))
            np.testing.assert_allclose(ours.logps, theirs.detach(), rtol=1e-13)
            np.testing.assert_allclose(
                logits_gradient(logits, labels, grad_logps, **options), leaf.grad, atol=1e-14
            )
    row = logits[0, 4]
    log_probabilities, normalizer = log_softmax(row)
    assert normalizer == pytest.approx(float(mp.log(sum(mp.exp(x) for x in exactly(row)))), rel=1e-15)
    np.testing.assert_allclose(
        log_probabilities,
        torch.log_softmax(torch.tensor(row, dtype=torch.float64), 0),
        rtol=1e-14,
        atol=1e-15,
    )
