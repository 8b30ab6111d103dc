"""plackett_luce_loss against exact values, all permutations, autograd, differences and its own symmetries."""

from __future__ import annotations

import math

import numpy as np
import pytest
import swiftdpo
import torch
import torch_oracles
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import all_rankings, central_difference, plackett_luce, ranking_probabilities
from samples import MARGINS, random_rankings, realistic_groups, realistic_pairs
from ulps import PAIR_SINGLES, assert_sums_to_zero, assert_ulps, reduced_ulps

FLOATS = [np.float64, np.float32]
REDUCTIONS = ["mean", "sum", "none"]


def assert_exact(policy, ref=None, *, ulps=4, **options):
    """Every field is within `ulps` of the exact value of the inputs as they are; a gradient, whose two terms
    cancel (of all items but the best), within so many of the larger one. float32 is that value to 1e-12, and
    then rounded; of pairs it is what plain DPO has."""
    out, exact = swiftdpo.plackett_luce_loss(policy, ref, **options), plackett_luce(policy, ref, **options)
    if policy.dtype == np.float32:
        ulps = 1e-12 * 2**53
    singles = PAIR_SINGLES if policy.shape[-1] == 2 else 0.5
    assert_ulps(out.rewards, exact.rewards, ulps, name="rewards")
    for name in ("losses", "gradient_weights"):
        assert getattr(out, name).dtype == policy.dtype
        assert_ulps(getattr(out, name), getattr(exact, name), ulps, name=name, singles=singles)
    assert_ulps(
        out.grad_policy_logps,
        exact.grad_policy_logps,
        ulps,
        scale=exact.gradient_scale,
        name="gradient",
        singles=singles,
    )
    if options.get("reduction") == "none":
        np.testing.assert_array_equal(out.loss, out.losses)
    else:
        if policy.shape[-1] == 2:
            ulps += reduced_ulps(policy.dtype) - 4
        assert_ulps(np.float64(out.loss), exact.loss, ulps, name="loss")


# Exact values


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 31, 32])
def test_realistic(dtype, size):
    policy, ref = realistic_groups(31, size, dtype, seed=size)
    for beta in (0.1, 1.0):
        assert_exact(policy, ref, beta=beta, rankings=random_rankings(31, size, seed=size))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_own_beta_and_weight_for_each_group(dtype, reduction):
    rng = np.random.default_rng(0)
    policy, ref = realistic_groups(11, 6, dtype, seed=1)
    assert_exact(
        policy,
        ref,
        beta=(10 ** rng.uniform(-3, 0.5, 11)).astype(dtype),
        reduction=reduction,
        rankings=random_rankings(11, 6),
        weights=rng.exponential(1, 11).astype(dtype),
    )


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("groups", [1, 2, 7, 8, 9, 17])
def test_numbers_of_groups(dtype, groups):
    policy, ref = realistic_groups(groups, 5, dtype, seed=groups)
    assert_exact(policy, ref, rankings=random_rankings(groups, 5, seed=groups))


def test_a_group_does_not_depend_on_its_batch():
    policy, ref = realistic_groups(21, 6, seed=2)
    rankings = random_rankings(21, 6, seed=2)
    whole = swiftdpo.plackett_luce_loss(policy, ref, rankings=rankings, reduction="sum")
    for i in range(21):
        one = swiftdpo.plackett_luce_loss(
            policy[i : i + 1], ref[i : i + 1], rankings=rankings[i : i + 1], reduction="sum"
        )
        for name in ("losses", "grad_policy_logps", "rewards", "gradient_weights"):
            assert getattr(one, name).tobytes() == getattr(whole, name)[i : i + 1].tobytes()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("size", [33, 64, 65, 127, 128, 129, 135, 300, 1025])
def test_long_rankings(dtype, size):
    """In no order, worst first, best first: of 128 items on cut into runs, one for each lane."""
    policy = np.random.default_rng(size).normal(0, 2, (3, size)).astype(dtype)
    policy[1].sort()
    policy[2, ::-1].sort()
    assert_exact(policy, beta=1.0)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("spread", [280.0, 310.0, 590.0, 610.0, 1e5])
def test_long_rankings_of_scores_far_apart(dtype, spread):
    policy = (spread * np.random.default_rng(13).uniform(-0.5, 0.5, (2, 150))).astype(dtype)
    policy[:, :2] = [-spread / 2, spread / 2]
    assert_exact(policy, beta=1.0, rankings=random_rankings(2, 150, seed=13))
    assert_exact(np.sort(policy), beta=1.0)


@pytest.mark.parametrize("options", [{}, {"top": 700}, {"top": 4100}, {"first_choice": "worst"}])
@pytest.mark.parametrize("size", [1024, 2047, 4999])
def test_long_rankings_in_single_are_those_in_double(size, options):
    """float32 keeps what it needs of a long group tile by tile; float64 has passes of its own."""
    policy, ref = realistic_groups(2, size, np.float32, seed=size)
    options = dict(beta=0.5, rankings=random_rankings(2, size, seed=size), reduction="sum", **options)
    out = swiftdpo.plackett_luce_loss(policy, ref, **options)
    exact = swiftdpo.plackett_luce_loss(policy.astype(float), ref.astype(float), **options)
    for name in ("losses", "grad_policy_logps", "gradient_weights", "rewards"):
        actual, expected = getattr(out, name), getattr(exact, name)
        np.testing.assert_allclose(actual, expected, rtol=1.01 * 2**-24, atol=1e-12, err_msg=name)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    size=st.integers(1, 40),
    scale=st.floats(1e-3, 1e3),
    beta=st.floats(0.01, 10),
    centre=st.sampled_from([0.0, -1e4, 1e4]),
    seed=st.integers(0, 2**32 - 1),
    single=st.booleans(),
)
def test_any_scores(size, scale, beta, centre, seed, single):
    rng = np.random.default_rng(seed)
    policy, ref = centre + scale * rng.standard_t(2, (2, 3, size))
    dtype = np.float32 if single else np.float64
    assert_exact(
        policy.astype(dtype),
        ref.astype(dtype),
        beta=float(np.float32(beta)),
        rankings=random_rankings(3, size, seed),
    )


def test_float32_of_any_size_is_that_value_rounded():
    """Where log-ratios need more digits than a double has, more are carried."""
    policy = np.float32([[2**40, 2**40, 2**40, -(2**41)], [3e37, -3e37, 3e37, 1.0]])
    ref = np.float32([[0.5 + 2**-23, 0.25 + 2**-24, 0.3, 0], [-3e37, 1, 2, 3e37]])
    assert_exact(policy, ref, beta=1.0, rankings=random_rankings(2, 4, seed=14))


@pytest.mark.parametrize("dtype", FLOATS)
def test_scores_around_ten_thousand(dtype):
    rng = np.random.default_rng(3)
    for centre in (-1e4, 1e4):
        policy = (centre + rng.normal(0, 3, (10, 8))).astype(dtype)
        assert_exact(policy, beta=1.0, rankings=random_rankings(10, 8, seed=3))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("spread", [1e2, 745.0, 1e4, 1e6])
def test_scores_far_apart(dtype, spread):
    """Finite however far apart: stages that are certain, and stages that are all but impossible."""
    rng = np.random.default_rng(4)
    policy = (spread * rng.uniform(-0.5, 0.5, (12, 8))).astype(dtype)
    policy[:, :2] = [-spread / 2, spread / 2]
    assert_exact(policy, beta=1.0, rankings=random_rankings(12, 8, seed=4))
    assert_exact(np.sort(policy)[:, ::-1].copy(), beta=1.0)
    assert_exact(np.sort(policy), beta=1.0)


def test_growing_and_falling_runs():
    """The running maximum moves at every stage, or never, or goes away and comes back."""
    steps = np.arange(20.0)
    policy = np.array([0.5 * steps, -0.5 * steps, 40 * steps, -40 * steps, 300 * np.sin(steps), np.zeros(20)])
    assert_exact(policy, beta=1.0)


@pytest.mark.parametrize("dtype", FLOATS)
def test_equal_scores(dtype):
    """All rankings of K equal items are equally likely: the loss is log K!."""
    for size in (1, 2, 3, 10, 20):
        out = swiftdpo.plackett_luce_loss(np.full((2, size), -7, dtype), beta=1.0)
        np.testing.assert_allclose(
            out.losses, math.lgamma(size + 1), rtol=1e-6 if dtype == np.float32 else 1e-14
        )
        assert_exact(np.full((2, size), -7, dtype), beta=1.0)


@pytest.mark.parametrize("dtype", FLOATS)
def test_denormal_scores(dtype):
    tiny = np.finfo(dtype).smallest_subnormal
    assert_exact(np.array([[0, tiny, -tiny, 5 * tiny]], dtype), beta=1.0)
    assert_exact(np.array([[-1, 0, 2, 1]], dtype), beta=float(tiny))


@pytest.mark.parametrize("dtype", FLOATS)
def test_one_item(dtype):
    out = swiftdpo.plackett_luce_loss(np.array([[-12.5], [3.0]], dtype), np.array([[-10.0], [1.0]], dtype))
    assert out.loss == 0 and not out.losses.any() and not out.grad_policy_logps.any()
    assert not out.gradient_weights.any()
    assert_ulps(out.rewards, plackett_luce([[-2.5], [2.0]]).rewards)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_no_groups(reduction):
    out = swiftdpo.plackett_luce_loss(np.empty((0, 4)), reduction=reduction)
    assert out.loss == 0
    assert out.losses.shape == (0,) and out.grad_policy_logps.shape == (0, 4)


# K = 2 is dpo_loss, bit for bit


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_two_items_are_a_pair(dtype, reduction):
    rng = np.random.default_rng(5)
    count = len(MARGINS)
    for chosen, rejected, ref_chosen, ref_rejected in (
        realistic_pairs(count, dtype, seed=5),
        [MARGINS.astype(dtype), *np.zeros((3, count), dtype)],
    ):
        options = dict(
            beta=(10 ** rng.uniform(-2, 1, count)).astype(dtype),
            reduction=reduction,
            weights=rng.exponential(1, count).astype(dtype),
        )
        pair = swiftdpo.dpo_loss(chosen, rejected, ref_chosen, ref_rejected, **options)
        both = [np.stack(columns, axis=1) for columns in ((chosen, rejected), (ref_chosen, ref_rejected))]
        best_first = swiftdpo.plackett_luce_loss(*both, **options)
        reversed_columns = [columns[:, ::-1].copy() for columns in both]
        ranked = swiftdpo.plackett_luce_loss(
            *reversed_columns, rankings=np.tile([1, 0], (count, 1)), **options
        )
        for out, winner, loser in ((best_first, 0, 1), (ranked, 1, 0)):
            same_bits(out.loss, pair.loss)
            same_bits(out.losses, pair.losses)
            same_bits(out.grad_policy_logps[:, winner], pair.grad_policy_chosen_logps)
            same_bits(out.grad_policy_logps[:, loser], pair.grad_policy_rejected_logps)
            same_bits(out.rewards[:, winner], pair.chosen_rewards)
            same_bits(out.rewards[:, loser], pair.rejected_rewards)
            same_bits(out.gradient_weights[:, winner], pair.gradient_weights)
            assert not out.gradient_weights[:, loser].any()


def same_bits(actual, expected):
    assert np.asarray(actual).tobytes() == np.asarray(expected).tobytes()


# All permutations


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6])
def test_probabilities_of_all_rankings(size):
    """They are those of drawing from an urn, sum to 1, and their mean gradient is 0."""
    scores = np.random.default_rng(size).normal(0, 2, size)
    rankings = all_rankings(size)
    out = swiftdpo.plackett_luce_loss(
        np.tile(scores, (len(rankings), 1)), beta=1.0, rankings=rankings, reduction="none"
    )
    urn = ranking_probabilities(scores)
    probabilities = np.exp(-out.losses)
    expected = [urn[tuple(ranking)] for ranking in rankings.tolist()]
    np.testing.assert_allclose(probabilities, expected, rtol=1e-13)
    assert math.fsum(probabilities) == pytest.approx(1, abs=1e-14)
    np.testing.assert_allclose(probabilities @ out.grad_policy_logps, 0, atol=1e-14)
    first = [math.fsum(probabilities[rankings[:, 0] == item]) for item in range(size)]
    np.testing.assert_allclose(first, np.exp(scores) / np.exp(scores).sum(), rtol=1e-13)


# Autograd and differences


@pytest.mark.parametrize("size", [2, 3, 8, 30])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_autograd(size, reduction):
    policy, ref = realistic_groups(20, size, seed=size)
    rankings = random_rankings(20, size, seed=size)
    out = swiftdpo.plackett_luce_loss(policy, ref, beta=0.2, rankings=rankings, reduction=reduction)
    leaf = torch_oracles.tensor(policy)
    losses = torch_oracles.plackett_luce(0.2 * (leaf - torch.tensor(ref)), rankings)
    loss = getattr(losses, reduction)()
    loss.backward()
    assert out.loss == pytest.approx(loss.item(), rel=1e-12)
    np.testing.assert_allclose(out.losses, losses.detach(), rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(out.grad_policy_logps, leaf.grad, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_finite_differences(reduction):
    rng = np.random.default_rng(6)
    policy, ref = rng.normal(-5, 2, (3, 5)), rng.normal(-5, 2, (3, 5))
    options = dict(
        beta=np.array([0.3, 1.0, 0.7]),
        weights=np.array([1.0, 0.5, 2.0]),
        reduction=reduction,
        rankings=random_rankings(3, 5, seed=6),
    )
    out = swiftdpo.plackett_luce_loss(policy, ref, **options)
    differences = central_difference(
        lambda x: swiftdpo.plackett_luce_loss(x, ref, **options).loss, policy, 2e-3
    )
    np.testing.assert_allclose(out.grad_policy_logps, differences, rtol=1e-9, atol=1e-11)


# Symmetries


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("spread", [1e-3, 1.0, 30.0, 1e4, 1e6])
@pytest.mark.parametrize("size", [2, 3, 5, 32, 200, 3000])
def test_gradients_of_a_group_sum_to_zero(size, spread, dtype):
    """To the last ulp: their exact sum is no more than what the rounding of each leaves."""
    rng = np.random.default_rng(size)
    policy, ref = (rng.normal(0, spread, (2, 16, size))).astype(dtype)
    for options in (
        {},
        dict(rankings=random_rankings(16, size)),
        dict(top=(size + 1) // 2),
        dict(first_choice="worst"),
        dict(weights=rng.exponential(size=16).astype(dtype)),
        dict(ranks=np.sort(rng.integers(1, size + 1, (16, size)), axis=1)),
    ):
        out = swiftdpo.plackett_luce_loss(policy, ref, beta=0.7, reduction="sum", **options)
        factors = 0.7 * options.get("weights", np.ones(16)).astype(float)
        assert_sums_to_zero(out.grad_policy_logps, out.gradient_weights, factors)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("size", [3, 8, 70])
def test_renaming_the_items_renames_the_results(dtype, size):
    """Bit for bit: an item's place in memory has no part in its numbers."""
    policy, ref = realistic_groups(6, size, dtype, seed=8)
    rankings, names = random_rankings(6, size, seed=8), random_rankings(6, size, seed=9)
    out = swiftdpo.plackett_luce_loss(policy, ref, rankings=rankings)
    renamed = swiftdpo.plackett_luce_loss(
        np.take_along_axis(policy, names, 1),
        np.take_along_axis(ref, names, 1),
        rankings=np.take_along_axis(np.argsort(names, axis=1), rankings, 1),
    )
    assert renamed.loss == out.loss
    same_bits(renamed.losses, out.losses)
    for name in ("grad_policy_logps", "rewards", "gradient_weights"):
        same_bits(getattr(renamed, name), np.take_along_axis(getattr(out, name), names, 1))


def test_rankings_may_be_left_out_when_items_stand_best_first():
    policy, ref = realistic_groups(5, 6, seed=10)
    stated = swiftdpo.plackett_luce_loss(policy, ref, rankings=np.tile(np.arange(6), (5, 1)))
    for name, value in stated._asdict().items():
        same_bits(getattr(swiftdpo.plackett_luce_loss(policy, ref), name), value)


def test_a_reference_of_zero_is_no_reference():
    policy = realistic_groups(5, 6, seed=11)[0]
    stated = swiftdpo.plackett_luce_loss(policy, np.zeros_like(policy))
    for name, value in stated._asdict().items():
        same_bits(getattr(swiftdpo.plackett_luce_loss(policy), name), value)


@pytest.mark.parametrize("log_partition", [1.0, -37.5, 1e4, 1e6])
def test_a_constant_added_to_a_group_changes_nothing(log_partition):
    """To all of a group's log-probabilities: what Z(x) does. Multiples of 1/64 add up without rounding."""
    policy = np.round(64 * np.random.default_rng(12).normal(-20, 5, (8, 6))) / 64
    out = swiftdpo.plackett_luce_loss(policy, beta=0.5, rankings=random_rankings(8, 6))
    moved = swiftdpo.plackett_luce_loss(policy + log_partition, beta=0.5, rankings=random_rankings(8, 6))
    np.testing.assert_allclose(moved.losses, out.losses, rtol=4 * 2**-52)
    np.testing.assert_allclose(moved.grad_policy_logps, out.grad_policy_logps, rtol=8 * 2**-52, atol=2**-53)
