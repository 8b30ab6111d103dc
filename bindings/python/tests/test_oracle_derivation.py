"""The derivation that the library implements: what its parts (e), (f) and (g) claim, on responses that can be
listed.

There pi*(y) = ref(y) exp(r(y) / beta) / Z maximises E[r] - beta KL(pi || ref), and Z is a sum one can take.
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np
import pytest
import swiftdpo
import torch
import torch_oracles
from oracles import all_rankings, central_difference

RESPONSES = 6
PAIRS = np.array(list(itertools.permutations(range(RESPONSES), 2)))
CHOSEN, REJECTED = PAIRS.T


class World(NamedTuple):
    """One prompt's responses: true rewards, the reference, and the policy that is optimal for them."""

    beta: float
    rewards: np.ndarray
    ref: np.ndarray
    optimal: np.ndarray
    log_partition: float


def world(seed: int, beta: float) -> World:
    rng = np.random.default_rng(seed)
    rewards, ref = rng.normal(0, 1.5, RESPONSES), log_softmax(rng.normal(0, 1, RESPONSES))
    unnormalised = ref + rewards / beta
    log_partition = float(np.logaddexp.reduce(unnormalised))
    return World(beta, rewards, ref, unnormalised - log_partition, log_partition)


def log_softmax(scores):
    return scores - np.logaddexp.reduce(scores)


def pairs_loss(policy, ref, beta, reduction="mean"):
    """dpo_loss over all ordered pairs of the responses."""
    return swiftdpo.dpo_loss(
        policy[CHOSEN], policy[REJECTED], ref[CHOSEN], ref[REJECTED], beta=beta, reduction=reduction
    )


worlds = pytest.mark.parametrize(
    "world", [world(0, 0.1), world(1, 0.5), world(2, 1.0), world(3, 5.0)], ids=lambda w: f"beta={w.beta}"
)


# (e) Bradley-Terry on implicit rewards loses Z; the loss is -log sigma(r_w - r_l)


@worlds
def test_e_preferences_of_the_optimal_policy_are_bradley_terry_of_the_rewards(world):
    out = pairs_loss(world.optimal, world.ref, world.beta, "none")
    preference = 1 / (1 + np.exp(world.rewards[REJECTED] - world.rewards[CHOSEN]))
    np.testing.assert_allclose(np.exp(-out.losses), preference, rtol=1e-12)
    implicit = np.stack([out.chosen_rewards, out.rejected_rewards]) + world.beta * world.log_partition
    np.testing.assert_allclose(implicit, world.rewards[PAIRS.T], atol=1e-12)


@worlds
def test_e_the_two_orders_of_a_pair_are_all_there_is(world):
    probability = np.zeros((RESPONSES, RESPONSES))
    probability[CHOSEN, REJECTED] = np.exp(-pairs_loss(world.optimal, world.ref, world.beta, "none").losses)
    np.testing.assert_allclose((probability + probability.T)[CHOSEN, REJECTED], 1, rtol=1e-14)


@worlds
@pytest.mark.parametrize("log_partition", [0.5, -3.0, 40.0, 1e4])
def test_e_any_partition_function_cancels(world, log_partition):
    """An unnormalised policy, off by any log Z(x), has the same loss and gradient."""
    out = pairs_loss(world.optimal, world.ref, world.beta)
    moved = pairs_loss(world.optimal + log_partition, world.ref, world.beta)
    np.testing.assert_allclose(moved.losses, out.losses, rtol=1e-10)
    np.testing.assert_allclose(moved.grad_policy_chosen_logps, out.grad_policy_chosen_logps, rtol=1e-10)
    np.testing.assert_allclose(
        moved.chosen_rewards, out.chosen_rewards + world.beta * log_partition, rtol=1e-10
    )


@worlds
def test_e_the_optimal_policy_minimises_the_expected_loss(world):
    """With pairs labelled as often as Bradley-Terry says, the gradient is zero at pi* alone."""
    first, second = np.array(list(itertools.combinations(range(RESPONSES), 2))).T
    p = 1 / (1 + np.exp(world.rewards[second] - world.rewards[first]))

    def expected(policy):
        return swiftdpo.dpo_loss(
            policy[first], policy[second], world.ref[first], world.ref[second], beta=world.beta, soft_labels=p
        )

    at_optimum = expected(world.optimal)
    np.testing.assert_allclose(at_optimum.grad_policy_chosen_logps, 0, atol=1e-15)
    rng = np.random.default_rng(9)
    for _ in range(20):
        elsewhere = log_softmax(world.optimal + rng.normal(0, 1, RESPONSES))
        assert expected(elsewhere).loss > at_optimum.loss


# (f) the gradient is beta sigma(r_l - r_w) (grad log pi(y_l) - grad log pi(y_w))


def gradient_by_parameters(theta, ref, beta, reduction="mean"):
    """Of the loss of the softmax policy with these parameters, through the gradients of its log pi."""
    policy = log_softmax(theta)
    grad_log_policy = np.eye(RESPONSES) - np.exp(policy)  # row y: d log pi(y) / d theta
    out = pairs_loss(policy, ref, beta, reduction)
    return (
        (
            out.grad_policy_chosen_logps @ grad_log_policy[CHOSEN]
            + out.grad_policy_rejected_logps @ grad_log_policy[REJECTED]
        ),
        out,
        grad_log_policy,
    )


@worlds
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_f_gradient_is_weight_times_difference_of_scores(world, reduction):
    theta = np.random.default_rng(4).normal(0, 2, RESPONSES)
    gradient, out, grad_log_policy = gradient_by_parameters(theta, world.ref, world.beta, reduction)
    implicit = world.beta * (log_softmax(theta) - world.ref)
    weight = 1 / (1 + np.exp(implicit[CHOSEN] - implicit[REJECTED]))
    np.testing.assert_allclose(out.gradient_weights, weight, rtol=1e-12)
    stated = world.beta * weight[:, None] * (grad_log_policy[REJECTED] - grad_log_policy[CHOSEN])
    stated = stated.mean(axis=0) if reduction == "mean" else stated.sum(axis=0)
    np.testing.assert_allclose(gradient, stated, rtol=1e-11, atol=1e-13)


@worlds
def test_f_gradient_is_the_derivative_of_the_loss(world):
    """Central differences of the library's loss, and autograd on the textbook formula."""
    theta = np.random.default_rng(5).normal(0, 1, RESPONSES)
    subset = slice(0, None, 4)  # over all ordered pairs much would cancel
    chosen, rejected = CHOSEN[subset], REJECTED[subset]

    def out(parameters):
        policy = log_softmax(parameters)
        return swiftdpo.dpo_loss(
            policy[chosen], policy[rejected], world.ref[chosen], world.ref[rejected], beta=world.beta
        )

    result, scores = out(theta), np.eye(RESPONSES) - np.exp(log_softmax(theta))
    gradient = (
        result.grad_policy_chosen_logps @ scores[chosen]
        + result.grad_policy_rejected_logps @ scores[rejected]
    )
    differences = central_difference(lambda x: out(x).loss, theta, 1e-3)
    np.testing.assert_allclose(gradient, differences, rtol=1e-8, atol=1e-11)

    leaf, ref = torch_oracles.tensor(theta), torch.tensor(world.ref)
    policy = torch.log_softmax(leaf, 0)
    torch_oracles.dpo(
        policy[chosen], policy[rejected], ref[chosen], ref[rejected], beta=world.beta
    ).mean().backward()
    np.testing.assert_allclose(gradient, leaf.grad, rtol=1e-10, atol=1e-13)


def test_f_the_weight_is_small_where_right_and_sure_and_near_one_where_wrong():
    implicit = np.array([50.0, 10.0, 2.0, 0.0, -2.0, -10.0, -50.0])
    out = swiftdpo.dpo_loss(implicit, np.zeros(7), np.zeros(7), np.zeros(7), beta=1.0, reduction="sum")
    weight = out.gradient_weights
    assert (np.diff(weight) > 0).all()
    assert (
        weight[0] < 1e-20
        and weight[1] < 1e-4
        and weight[3] == 0.5
        and weight[-2] > 0.9999
        and weight[-1] == 1
    )
    np.testing.assert_array_equal(out.grad_policy_rejected_logps, weight)
    np.testing.assert_array_equal(out.grad_policy_chosen_logps, -weight)


@worlds
def test_f_a_small_step_against_the_gradient_prefers_the_chosen_more(world):
    """Downhill the loss falls, and of a single pair the chosen response gains on the rejected one."""
    theta = np.random.default_rng(6).normal(0, 1, RESPONSES)
    for chosen, rejected in PAIRS:

        def out(parameters, chosen=chosen, rejected=rejected):
            policy = log_softmax(parameters)
            return swiftdpo.dpo_loss(
                policy[[chosen]],
                policy[[rejected]],
                world.ref[[chosen]],
                world.ref[[rejected]],
                beta=world.beta,
            )

        before = out(theta)
        scores = np.eye(RESPONSES) - np.exp(log_softmax(theta))
        gradient = (
            before.grad_policy_chosen_logps[0] * scores[chosen]
            + before.grad_policy_rejected_logps[0] * scores[rejected]
        )
        after = out(theta - 1e-4 * gradient / np.linalg.norm(gradient))
        assert after.loss < before.loss
        assert (after.chosen_rewards - after.rejected_rewards) > (
            before.chosen_rewards - before.rejected_rewards
        )


# (g) Plackett-Luce on implicit rewards loses Z^beta in every factor


@worlds
@pytest.mark.parametrize("size", [2, 3, 4, 5])
def test_g_rankings_of_the_optimal_policy_are_plackett_luce_of_the_rewards(world, size):
    rankings = all_rankings(size)
    policy, ref = (np.tile(values[:size], (len(rankings), 1)) for values in (world.optimal, world.ref))
    out = swiftdpo.plackett_luce_loss(policy, ref, beta=world.beta, rankings=rankings, reduction="none")
    worth = np.exp(world.rewards[:size])[rankings]
    stages = worth / worth[:, ::-1].cumsum(axis=1)[:, ::-1]
    np.testing.assert_allclose(np.exp(-out.losses), stages.prod(axis=1), rtol=1e-11)
    assert math.fsum(np.exp(-out.losses)) == pytest.approx(1, abs=1e-14)
    np.testing.assert_allclose(
        out.rewards + world.beta * world.log_partition,
        np.tile(world.rewards[:size], (len(rankings), 1)),
        atol=1e-11,
    )


@worlds
@pytest.mark.parametrize("log_partition", [0.5, -3.0, 40.0, 1e4])
def test_g_any_partition_function_cancels(world, log_partition):
    ranking = np.random.default_rng(7).permutation(RESPONSES)[None]
    out = swiftdpo.plackett_luce_loss(world.optimal[None], world.ref[None], beta=world.beta, rankings=ranking)
    moved = swiftdpo.plackett_luce_loss(
        world.optimal[None] + log_partition, world.ref[None], beta=world.beta, rankings=ranking
    )
    assert moved.loss == pytest.approx(out.loss, rel=1e-10)
    np.testing.assert_allclose(moved.grad_policy_logps, out.grad_policy_logps, rtol=1e-9, atol=1e-12)


@worlds
def test_g_two_responses_are_bradley_terry(world):
    """Part (e) is part (g) with K = 2, to the last bit."""
    pair = pairs_loss(world.optimal, world.ref, world.beta)
    ranking = swiftdpo.plackett_luce_loss(world.optimal[PAIRS], world.ref[PAIRS], beta=world.beta)
    assert ranking.loss == pair.loss
    np.testing.assert_array_equal(ranking.losses, pair.losses)
    np.testing.assert_array_equal(
        ranking.grad_policy_logps,
        np.stack([pair.grad_policy_chosen_logps, pair.grad_policy_rejected_logps], axis=1),
    )


@worlds
def test_g_the_optimal_policy_minimises_the_expected_loss(world):
    """With each ranking seen as often as Plackett-Luce says, the gradient by log pi is zero at pi*."""
    rankings = all_rankings(4)
    worth = np.exp(world.rewards[:4])[rankings]
    chance = (worth / worth[:, ::-1].cumsum(axis=1)[:, ::-1]).prod(axis=1)
    policy, ref = (np.tile(values[:4], (len(rankings), 1)) for values in (world.optimal, world.ref))
    out = swiftdpo.plackett_luce_loss(
        policy, ref, beta=world.beta, rankings=rankings, weights=chance, reduction="sum"
    )
    np.testing.assert_allclose(out.grad_policy_logps.sum(axis=0), 0, atol=1e-13 * world.beta)
