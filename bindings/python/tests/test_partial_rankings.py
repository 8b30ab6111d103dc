"""plackett_luce_loss over what is less, or more, than full rankings of groups of one size."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import swiftdpo
from hypothesis import given
from hypothesis import strategies as st
from oracles import all_rankings
from ranking_oracles import exact_gradient, exact_loss, from_list, from_ranks
from ulps import assert_ulps, exactly

BETA = 0.5  # exact, and so are scores that are products with it

OPTIONS = [
    dict(),
    dict(top=1),
    dict(top=2),
    dict(first_choice="worst"),
    dict(first_choice="worst", top=1),
    dict(position_weights=np.array([4.0, 2.0, 1.0, 0.5, 0.25, 0.0])),
    dict(position_weights=np.array([1.0, 0.0, 3.0, 0.5, 0.25, 7.0]), top=3, first_choice="worst"),
]


def batch(rng, groups):
    """Groups of 1 to 6 items: offsets, and log-probabilities whose differences are exact."""
    offsets = np.concatenate([[0], np.cumsum(rng.integers(1, 7, groups))])
    policy, ref = np.round(rng.normal(-100, 8, (2, offsets[-1])) * 1024) / 1024
    return offsets, policy, ref


def slices(offsets):
    return [slice(start, end) for start, end in itertools.pairwise(offsets)]


def check(policy, ref, offsets, observations, options, **given):
    """Losses within 8 ulps, gradients within 8 ulps of the largest of their group's."""
    weights = given.pop("weights", np.ones(len(observations)))
    out = swiftdpo.plackett_luce_loss(
        policy, ref, BETA, offsets=offsets, weights=weights, reduction="none", **given, **options
    )
    for group, (part, observation) in enumerate(zip(slices(offsets), observations, strict=True)):
        scores, weight = BETA * (policy - ref)[part], exactly(weights[group])
        loss = weight * exact_loss(scores, observation, **options)
        gradient = weight * BETA * exact_gradient(scores, observation, **options)
        assert_ulps(out.losses[group], loss, 8, name=f"losses[{group}]")
        scale = np.full(len(gradient), max(1e-300, *abs(gradient), weight * BETA * 1e-3))
        assert_ulps(out.grad_policy_logps[part], gradient, 8, scale=scale, name=f"gradient of group {group}")
    np.testing.assert_array_equal(out.grad_ref_logps, -out.grad_policy_logps)
    np.testing.assert_array_equal(out.rewards, BETA * (policy - ref))


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("unlisted", ["absent", "remain"])
def test_lists_that_end_early(options, unlisted):
    rng = np.random.default_rng(1)
    offsets, policy, ref = batch(rng, 21)
    lists = []
    for part in slices(offsets):
        size = part.stop - part.start
        ranking = rng.permutation(size)
        ranking[rng.integers(0, size + 1) :] = -1
        lists.append(ranking)
    observations = [from_list(ranking, len(ranking), unlisted) for ranking in lists]
    rankings = np.concatenate(lists)
    weights = rng.uniform(0, 2, len(lists))
    check(policy, ref, offsets, observations, options, rankings=rankings, unlisted=unlisted, weights=weights)


@pytest.mark.parametrize("options", OPTIONS)
def test_ranks_with_ties_unranked_and_absent_items(options):
    rng = np.random.default_rng(2)
    offsets, policy, ref = batch(rng, 21)
    ranks = [rng.integers(-1, part.stop - part.start + 1, part.stop - part.start) for part in slices(offsets)]
    observations = [from_ranks(group) for group in ranks]
    check(policy, ref, offsets, observations, options, ranks=np.concatenate(ranks))


def test_one_observed_choice_is_softmax_dpo():
    """S-DPO: -log sigma(-log sum over j of exp(s_j - s_w)) (arXiv:2406.09215, equation 12)."""
    rng = np.random.default_rng(3)
    scores = rng.normal(size=(9, 5))
    out = swiftdpo.plackett_luce_loss(scores, beta=1.0, top=1, reduction="none")
    margin = -np.log(np.exp(scores[:, 1:] - scores[:, :1]).sum(axis=1))
    np.testing.assert_allclose(out.losses, np.log1p(np.exp(-margin)), rtol=1e-14)


def test_the_last_choice_says_nothing():
    scores = np.random.default_rng(4).normal(size=(3, 5))
    full = swiftdpo.plackett_luce_loss(scores, reduction="none")
    for options in (dict(top=4), dict(top=5), dict(top=2**62)):
        top = swiftdpo.plackett_luce_loss(scores, reduction="none", **options)
        np.testing.assert_array_equal(top.losses, full.losses)
        np.testing.assert_array_equal(top.grad_policy_logps, full.grad_policy_logps)


def test_two_items_from_the_worst_are_the_pair():
    rng = np.random.default_rng(5)
    policy, ref = rng.normal(-50, 20, (2, 40, 2))
    pairs = swiftdpo.dpo_loss(*policy.T.copy(), *ref.T.copy(), reduction="none")
    worst = swiftdpo.plackett_luce_loss(
        policy, ref, rankings=np.full((40, 2), [1, 0]), first_choice="worst", reduction="none"
    )
    np.testing.assert_array_equal(worst.losses, pairs.losses)
    np.testing.assert_array_equal(worst.grad_policy_logps[:, 0], pairs.grad_policy_chosen_logps)
    np.testing.assert_array_equal(worst.grad_policy_logps[:, 1], pairs.grad_policy_rejected_logps)


@pytest.mark.parametrize("unlisted", ["absent", "remain"])
def test_probabilities_of_all_short_lists_sum_to_one(unlisted):
    """The first two of four: with the others behind, one of 12 lists is certain; among two, one of two."""
    scores = np.random.default_rng(6).normal(size=4)
    lists = np.array([[*pair, -1, -1] for pair in {tuple(order[:2]) for order in all_rankings(4).tolist()}])
    out = swiftdpo.plackett_luce_loss(
        np.tile(scores, (12, 1)), beta=1.0, rankings=lists, unlisted=unlisted, reduction="none"
    )
    assert np.exp(-out.losses).sum() == pytest.approx(1 if unlisted == "remain" else 6, rel=1e-14)


def test_a_group_does_not_feel_its_batch():
    """The bits of a group are its own, whatever the sizes of those that lie beside it."""
    rng = np.random.default_rng(7)
    offsets, policy, ref = batch(rng, 40)
    ranks = np.concatenate(
        [rng.integers(0, part.stop - part.start + 1, part.stop - part.start) for part in slices(offsets)]
    )
    direction = rng.normal(size=policy.shape)
    out = swiftdpo.plackett_luce_loss(policy, ref, ranks=ranks, offsets=offsets, reduction="none")
    product = swiftdpo.plackett_luce_hessian_product(
        direction, policy, ref, ranks=ranks, offsets=offsets, reduction="sum"
    )
    for group, part in enumerate(slices(offsets)):
        alone = swiftdpo.plackett_luce_loss(policy[part], ref[part], ranks=ranks[part], reduction="none")
        assert alone.losses == out.losses[group]
        np.testing.assert_array_equal(alone.grad_policy_logps, out.grad_policy_logps[part])
        np.testing.assert_array_equal(alone.gradient_weights, out.gradient_weights[part])
        np.testing.assert_array_equal(
            swiftdpo.plackett_luce_hessian_product(
                direction[part], policy[part], ref[part], ranks=ranks[part]
            ),
            product[part],
        )


def test_groups_of_one_size_are_groups_with_offsets():
    rng = np.random.default_rng(8)
    policy, ref = rng.normal(-50, 20, (2, 11, 6))
    rankings = rng.permuted(np.tile(np.arange(6), (11, 1)), axis=1)
    table = swiftdpo.plackett_luce_loss(policy, ref, rankings=rankings)
    flat = swiftdpo.plackett_luce_loss(
        policy.ravel(), ref.ravel(), rankings=rankings.ravel(), offsets=np.arange(0, 67, 6)
    )
    ranks = np.argsort(rankings, axis=1) + 1
    ranked = swiftdpo.plackett_luce_loss(policy, ref, ranks=ranks)
    assert flat.loss == table.loss
    np.testing.assert_array_equal(flat.grad_policy_logps, table.grad_policy_logps.ravel())
    np.testing.assert_allclose(ranked.losses, table.losses, rtol=1e-15)
    np.testing.assert_allclose(ranked.grad_policy_logps, table.grad_policy_logps, atol=1e-16)


def test_empty_groups_and_batches():
    out = swiftdpo.plackett_luce_loss([1.0, 2.0], offsets=[0, 0, 2, 2], reduction="none")
    assert out.losses.tolist()[::2] == [0, 0] and out.losses[1] > 0
    assert swiftdpo.plackett_luce_loss(np.empty(0), offsets=[0]).losses.shape == (0,)
    nobody = swiftdpo.plackett_luce_loss([[1.0, 2.0]], ranks=[[-1, -1]])
    assert nobody.loss == 0 and nobody.grad_policy_logps.tolist() == [[0, 0]]


@given(st.integers(0, 2**32), st.sampled_from([1.0, 1e3, 1e6]), st.booleans())
def test_ties_and_far_scores_are_finite_and_sum_to_zero(seed, spread, first_is_worst):
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 40))
    scores = rng.normal(size=(5, size)) * spread
    ranks = rng.integers(-1, size + 1, (5, size))
    out = swiftdpo.plackett_luce_loss(
        scores, beta=1.0, ranks=ranks, first_choice="worst" if first_is_worst else "best", reduction="none"
    )
    assert np.isfinite(out.losses).all() and (out.losses >= 0).all()
    assert abs(out.grad_policy_logps.sum(axis=1)).max() < 1e-12 * size
    assert (out.grad_policy_logps[ranks == -1] == 0).all()


@pytest.mark.parametrize("top", [None, 2])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_hessian_product_is_the_change_of_the_gradient(dtype, top):
    rng = np.random.default_rng(9)
    policy, ref, direction = rng.normal(size=(3, 13, 6)) * 3
    options = dict(beta=0.7, ranks=rng.integers(-1, 7, (13, 6)), weights=rng.uniform(0, 2, 13), top=top)
    step = 1e-5

    def gradient(at):
        return swiftdpo.plackett_luce_loss(at, ref, **options).grad_policy_logps

    change = (gradient(policy + step * direction) - gradient(policy - step * direction)) / (2 * step)
    single = {name: value.astype(dtype) if name == "weights" else value for name, value in options.items()}
    product = swiftdpo.plackett_luce_hessian_product(
        direction.astype(dtype), policy.astype(dtype), ref.astype(dtype), **single
    )
    assert product.dtype == dtype
    np.testing.assert_allclose(product, change, atol=1e-9 if dtype == np.float64 else 1e-6)


def test_hessian_product_of_a_constant_is_nothing():
    """And the Hessian that the products give is symmetric and positive semidefinite."""
    rng = np.random.default_rng(10)
    policy = rng.normal(size=(4, 9)) * 5
    constant = np.full((4, 9), 1e8)
    assert (swiftdpo.plackett_luce_hessian_product(constant, policy, beta=1.0) == 0).all()
    rows = [
        swiftdpo.plackett_luce_hessian_product(unit, policy[0], beta=1.0, reduction="sum")
        for unit in np.eye(9)
    ]
    hessian = np.array(rows)
    np.testing.assert_allclose(hessian, hessian.T, atol=1e-15)
    assert np.linalg.eigvalsh(hessian).min() > -1e-15


BAD = [
    (dict(offsets=[1, 2, 4]), r"offsets\[0\]"),
    (dict(offsets=[0, 3, 2, 4]), r"offsets\[2\]"),
    (dict(offsets=[0, 5]), r"offsets\[1\] is 5; expected 4, the length of policy_logps"),
    (dict(offsets=np.empty(0, np.int64)), "offsets has shape"),
    (dict(ranks=[1, 5, 2, 3]), r"ranks\[1\]"),
    (dict(ranks=[1, 2, -2, 3]), r"ranks\[2\]"),
    (dict(ranks=[1, 2, 3, 4], rankings=[0, 1, 2, 3]), "ranks"),
    (dict(rankings=[0, 1, 2, -1]), r"rankings\[3\]"),
    (dict(rankings=[0, -1, 2, -1], unlisted="absent"), r"rankings\[2\]"),
    (dict(rankings=[0, -2, -1, -1], unlisted="absent"), r"rankings\[1\]"),
    (dict(rankings=[0, 2, 0, -1], unlisted="remain"), r"rankings\[2\]"),
    (dict(position_weights=[1.0, 1.0, 1.0]), "position_weights"),
    (dict(position_weights=[1.0, 1.0, -1.0, 0.0]), r"position_weights\[2\]"),
    (dict(position_weights=[[1.0, 1.0, 1.0, 0.0]]), "position_weights has 2 dimensions"),
    (dict(top=0), "top is 0"),
    (dict(top=-3), "top is -3"),
    (dict(unlisted="below"), "unlisted is 'below'"),
    (dict(first_choice="last"), "first_choice is 'last'"),
]


@pytest.mark.parametrize("options, message", BAD)
def test_bad_input(options, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        swiftdpo.plackett_luce_loss([0.0, 1.0, 2.0, 3.0], **options)


@pytest.mark.parametrize("place", [2, 17_000, 39_999])
def test_an_item_that_a_long_list_names_twice(place):
    ranking = np.arange(40_000)[::-1].copy()
    ranking[place] = ranking[0]
    with pytest.raises(ValueError, match=rf"^rankings\[{place}\]"):
        swiftdpo.plackett_luce_loss(np.zeros(40_000), rankings=ranking)
