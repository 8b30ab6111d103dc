"""Statements that hold for all inputs, tried on those that Hypothesis finds."""

from __future__ import annotations

import math

import numpy as np
import pytest
import swiftdpo
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from oracles import dpo, plackett_luce
from ulps import assert_sums_to_zero, assert_ulps

EPSILON = np.finfo(float).eps
LN2 = math.log(2)

settings.register_profile("oracles", max_examples=60, deadline=None, derandomize=True)
settings.load_profile("oracles")

# Multiples of 1/64 below 2**16: they add up and subtract without rounding.
exact_logps = st.integers(-(2**20), 0).map(lambda n: n / 64)
any_logps = st.floats(-1e6, 1e3)
margins = st.floats(-1e4, 1e4)
betas = st.sampled_from([2.0**-7, 0.125, 0.5, 1.0, 4.0]) | st.floats(1e-4, 1e2)
chances = st.floats(0, 1)


def column(elements, count=4):
    return arrays(np.float64, count, elements=elements)


def margin_loss(z, **options):
    """dpo_loss as a function of the margin z alone."""
    z = np.atleast_1d(np.asarray(z, dtype=np.float64))
    return swiftdpo.dpo_loss(z, np.zeros_like(z), None, None, beta=1.0, reduction="sum", **options)


# Pairs


@given(st.tuples(*[column(any_logps)] * 4), betas, chances)
def test_any_pairs_match_mpmath(inputs, beta, p):
    soft_labels = np.full(4, p)
    out = swiftdpo.dpo_loss(*inputs, beta=beta, soft_labels=soft_labels, reduction="sum")
    exact = dpo(*inputs, beta=beta, soft_labels=soft_labels, reduction="sum")
    assert_ulps(out.losses, exact.losses, name="losses")
    assert_ulps(out.gradient_weights, exact.gradient_weights, name="gradient_weights")
    assert_ulps(
        out.grad_policy_chosen_logps, exact.grad_policy_chosen_logps, scale=exact.gradient_scale, name="grad"
    )


@given(column(any_logps), column(any_logps), betas, chances)
def test_ln_2_where_policy_and_reference_are_equal(chosen, rejected, beta, p):
    out = swiftdpo.dpo_loss(chosen, rejected, chosen, rejected, beta=beta, soft_labels=np.full(4, p))
    np.testing.assert_allclose(out.losses, LN2, rtol=EPSILON)
    np.testing.assert_array_equal(out.gradient_weights, 0.5)
    np.testing.assert_allclose(out.grad_policy_chosen_logps, beta * (0.5 - p) / 4, rtol=4 * EPSILON)


@given(st.tuples(*[column(any_logps)] * 4), betas)
def test_a_coin_toss_has_no_sides(inputs, beta):
    """With soft label 1/2 the two responses may change places, bit for bit."""
    chosen, rejected, ref_chosen, ref_rejected = inputs
    half = np.full(4, 0.5)
    out = swiftdpo.dpo_loss(chosen, rejected, ref_chosen, ref_rejected, beta=beta, soft_labels=half)
    swapped = swiftdpo.dpo_loss(rejected, chosen, ref_rejected, ref_chosen, beta=beta, soft_labels=half)
    np.testing.assert_array_equal(out.losses, swapped.losses)
    np.testing.assert_array_equal(out.grad_policy_chosen_logps, swapped.grad_policy_rejected_logps)
    np.testing.assert_array_equal(out.chosen_rewards, swapped.rejected_rewards)


@given(column(margins), chances)
def test_changing_places_is_turning_the_label(z, p):
    out, turned = margin_loss(z, soft_labels=np.full(4, p)), margin_loss(-z, soft_labels=np.full(4, 1 - p))
    scale = 8 * EPSILON * (1 + abs(z))  # 1 - p is rounded
    assert (abs(out.losses - turned.losses) <= scale).all()
    assert (abs(out.grad_policy_chosen_logps + turned.grad_policy_chosen_logps) <= 8 * EPSILON).all()


@given(margins, margins, st.floats(0, 1), chances)
def test_convex_in_the_margin(left, right, share, p):
    between = share * left + (1 - share) * right
    losses = margin_loss([left, between, right], soft_labels=np.full(3, p)).losses
    chord = share * losses[0] + (1 - share) * losses[2]
    assert losses[1] <= chord + 8 * EPSILON * (abs(left) + abs(right) + 1)


@given(margins, margins, chances)
def test_slope_never_falls(left, right, p):
    left, right = sorted((left, right))
    slope = margin_loss([left, right], soft_labels=np.full(2, p)).grad_policy_chosen_logps
    assert slope[0] <= slope[1] + 4 * EPSILON


@given(st.floats(-30, 30))
def test_the_smallest_loss_is_the_entropy_of_the_label(z):
    p = 1 / (1 + math.exp(-z))
    out = margin_loss(z, soft_labels=np.array([p]))
    entropy = -sum(x * math.log(x) for x in (p, 1 - p) if x > 0)
    assert out.loss == pytest.approx(entropy, rel=1e-12, abs=1e-15 * (1 + abs(z)))
    assert abs(out.grad_policy_chosen_logps[0]) <= 4 * EPSILON
    assert out.loss <= min(margin_loss(z + step, soft_labels=np.array([p])).loss for step in (-0.1, 0.1))


@given(st.tuples(*[column(exact_logps)] * 4), st.integers(-(2**24), 2**24).map(lambda n: n / 64), betas)
def test_a_constant_in_all_four_changes_nothing(inputs, constant, beta):
    """Nothing is rounded on the way in, so nothing may change on the way out."""
    out = swiftdpo.dpo_loss(*inputs, beta=beta)
    moved = swiftdpo.dpo_loss(*(values + constant for values in inputs), beta=beta)
    np.testing.assert_allclose(moved.losses, out.losses, rtol=8 * EPSILON, atol=1e-322)
    np.testing.assert_allclose(
        moved.grad_policy_chosen_logps, out.grad_policy_chosen_logps, rtol=8 * EPSILON, atol=1e-322
    )


@given(st.tuples(*[column(st.floats(-3000, 0))] * 4), st.floats(-1e4, 1e4))
def test_a_constant_in_all_four_costs_only_its_rounding(inputs, constant):
    out = swiftdpo.dpo_loss(*inputs, beta=0.1, reduction="sum")
    moved = swiftdpo.dpo_loss(*(values + constant for values in inputs), beta=0.1, reduction="sum")
    rounding = 0.1 * 4 * np.spacing(13000.0)
    np.testing.assert_allclose(moved.losses, out.losses, rtol=8 * EPSILON + rounding, atol=rounding)


@given(st.tuples(*[column(any_logps)] * 4), betas)
def test_signs_of_the_gradient(inputs, beta):
    """More probability for the chosen response never costs, for the rejected one never pays."""
    out = swiftdpo.dpo_loss(*inputs, beta=beta)
    assert (out.losses >= 0).all() and out.loss >= 0
    assert (out.grad_policy_chosen_logps <= 0).all() and (out.grad_policy_rejected_logps >= 0).all()
    np.testing.assert_array_equal(out.grad_policy_chosen_logps, -out.grad_policy_rejected_logps)


@given(st.tuples(*[column(st.floats(-500, 0))] * 4), betas)
def test_gradient_weight_is_the_chance_of_the_wrong_order(inputs, beta):
    """sigma(r_l - r_w), from the rewards that the same call returns; and beta times it is the gradient."""
    out = swiftdpo.dpo_loss(*inputs, beta=beta, reduction="sum")
    difference = out.rejected_rewards - out.chosen_rewards
    tolerance = 8 * EPSILON * (1 + abs(out.rejected_rewards) + abs(out.chosen_rewards))
    with np.errstate(over="ignore"):
        expected = 1 / (1 + np.exp(-difference))
    assert (abs(out.gradient_weights - expected) <= tolerance * expected + 1e-300).all()
    np.testing.assert_allclose(
        out.grad_policy_rejected_logps, beta * out.gradient_weights, rtol=4 * EPSILON, atol=1e-322
    )


@given(
    st.tuples(*[column(any_logps)] * 4), column(st.floats(0, 1e6)), st.integers(-20, 20).map(lambda n: 2.0**n)
)
def test_weights_are_factors(inputs, weights, factor):
    plain = swiftdpo.dpo_loss(*inputs, reduction="sum")
    weighted = swiftdpo.dpo_loss(*inputs, weights=weights, reduction="sum")
    np.testing.assert_allclose(weighted.losses, weights * plain.losses, rtol=4 * EPSILON, atol=1e-300)
    np.testing.assert_allclose(
        weighted.grad_policy_chosen_logps,
        weights * plain.grad_policy_chosen_logps,
        rtol=4 * EPSILON,
        atol=1e-300,
    )
    np.testing.assert_array_equal(weighted.gradient_weights, plain.gradient_weights)
    scaled = swiftdpo.dpo_loss(*inputs, weights=factor * weights, reduction="sum")
    np.testing.assert_allclose(scaled.losses, factor * weighted.losses, rtol=4 * EPSILON, atol=1e-300)
    nothing = swiftdpo.dpo_loss(*inputs, weights=np.zeros(4))
    assert nothing.loss == 0 and not nothing.losses.any() and not nothing.grad_policy_chosen_logps.any()


@given(st.integers(1, 40), st.integers(0, 2**32))
def test_reductions_of_pairs(count, seed):
    inputs = np.random.default_rng(seed).normal(-50, 20, (4, count))
    each, total, mean = (
        swiftdpo.dpo_loss(*inputs, reduction=reduction) for reduction in ("none", "sum", "mean")
    )
    np.testing.assert_array_equal(each.loss, each.losses)
    np.testing.assert_array_equal(each.losses, total.losses)
    np.testing.assert_array_equal(each.losses, mean.losses)
    np.testing.assert_allclose(total.loss, math.fsum(each.losses), rtol=4 * EPSILON)
    np.testing.assert_allclose(mean.loss, total.loss / count, rtol=2 * EPSILON)
    for side in ("grad_policy_chosen_logps", "grad_policy_rejected_logps"):
        np.testing.assert_array_equal(getattr(each, side), getattr(total, side))
        np.testing.assert_allclose(
            getattr(mean, side), getattr(total, side) / count, rtol=4 * EPSILON, atol=1e-322
        )


# Rankings: a gradient is a difference of terms up to beta times the weight, and is compared on that scale

small_groups = st.integers(1, 7).flatmap(
    lambda size: arrays(np.float64, (3, size), elements=st.floats(-2000, 2000))
)
exact_groups = st.integers(1, 7).flatmap(lambda size: arrays(np.float64, (3, size), elements=exact_logps))


@given(small_groups, betas)
def test_any_groups_match_mpmath(policy, beta):
    out = swiftdpo.plackett_luce_loss(policy, beta=beta, reduction="sum")
    exact = plackett_luce(policy, beta=beta, reduction="sum")
    assert_ulps(out.losses, exact.losses, name="losses")
    assert_ulps(out.grad_policy_logps, exact.grad_policy_logps, scale=exact.gradient_scale, name="grad")
    assert_ulps(out.gradient_weights, exact.gradient_weights, name="gradient_weights")


@given(small_groups, betas)
def test_signs_of_a_ranking(policy, beta):
    """The winner's gradient is never positive, the last one's never negative, and a group's sum to 0."""
    out = swiftdpo.plackett_luce_loss(policy, beta=beta, reduction="sum")
    gradient = out.grad_policy_logps
    assert (out.losses >= 0).all()
    if policy.shape[1] > 1:
        assert (gradient[:, 0] <= 0).all() and (gradient[:, -1] >= 0).all()
    assert_sums_to_zero(gradient, out.gradient_weights, [beta] * len(gradient))
    assert ((out.gradient_weights >= 0) & (out.gradient_weights <= 1)).all()


@given(exact_groups, st.integers(-(2**24), 2**24).map(lambda n: n / 64))
def test_a_constant_in_a_group_changes_nothing(policy, constant):
    out = swiftdpo.plackett_luce_loss(policy, beta=0.5)
    moved = swiftdpo.plackett_luce_loss(policy + constant, beta=0.5)
    np.testing.assert_allclose(moved.losses, out.losses, rtol=8 * EPSILON, atol=1e-322)
    np.testing.assert_allclose(
        moved.grad_policy_logps, out.grad_policy_logps, rtol=8 * EPSILON, atol=4 * EPSILON
    )


@given(small_groups, st.floats(0, 1e3))
def test_weights_of_groups_are_factors(policy, weight):
    plain = swiftdpo.plackett_luce_loss(policy, reduction="sum")
    weighted = swiftdpo.plackett_luce_loss(policy, weights=np.full(3, weight), reduction="sum")
    np.testing.assert_allclose(weighted.losses, weight * plain.losses, rtol=4 * EPSILON, atol=1e-300)
    np.testing.assert_allclose(
        weighted.grad_policy_logps,
        weight * plain.grad_policy_logps,
        rtol=4 * EPSILON,
        atol=EPSILON * weight + 1e-322,
    )


@given(small_groups)
def test_reductions_of_rankings(policy):
    each, total, mean = (swiftdpo.plackett_luce_loss(policy, reduction=r) for r in ("none", "sum", "mean"))
    np.testing.assert_array_equal(each.loss, total.losses)
    np.testing.assert_allclose(total.loss, math.fsum(each.losses), rtol=4 * EPSILON)
    np.testing.assert_allclose(mean.loss, total.loss / 3, rtol=2 * EPSILON)
    np.testing.assert_array_equal(each.grad_policy_logps, total.grad_policy_logps)
    np.testing.assert_allclose(
        mean.grad_policy_logps, total.grad_policy_logps / 3, rtol=4 * EPSILON, atol=EPSILON
    )


@given(small_groups)
def test_the_best_ranking_is_the_most_likely(policy):
    """No ranking costs less than the one that sorts the scores."""
    best = np.argsort(-policy, axis=1, kind="stable")
    shuffled = np.roll(best, 1, axis=1)
    sorted_losses = swiftdpo.plackett_luce_loss(policy, beta=1.0, rankings=best).losses
    others = swiftdpo.plackett_luce_loss(policy, beta=1.0, rankings=shuffled).losses
    assert (sorted_losses <= others * (1 + 8 * EPSILON) + 1e-300).all()


# Logits

tokens = st.integers(1, 40).flatmap(
    lambda size: arrays(np.float32, (2, 3, size), elements=st.floats(-200, 200, width=32))
)


@given(tokens)
def test_probabilities_of_all_labels_sum_to_one(logits):
    """Score every vocabulary entry in turn: log-probabilities of a distribution."""
    size = logits.shape[2]
    every = [
        swiftdpo.sequence_logps(logits, np.full((2, 3), v), shift=False).token_logps for v in range(size)
    ]
    np.testing.assert_allclose(np.exp(every).sum(axis=0), 1, rtol=2e-6)
    assert np.max(every) <= 0


@given(tokens, st.integers(-64, 64))
def test_a_constant_in_a_row_changes_nothing(logits, constant):
    rounded = np.round(logits)
    labels = np.zeros((2, 3), np.int64)
    out = swiftdpo.sequence_logps(rounded, labels)
    moved = swiftdpo.sequence_logps(rounded + np.float32(constant), labels)
    scored = out.log_normalizers[:, :-1]  # with shift, the last position scores nothing
    np.testing.assert_allclose(moved.token_logps, out.token_logps, atol=1e-6)
    np.testing.assert_allclose(moved.log_normalizers[:, :-1], scored + constant, atol=1e-6)
