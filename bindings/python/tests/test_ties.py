"""Ties other than Breslow's, against sums over all orders and all sets."""

from __future__ import annotations

import numpy as np
import pytest
import ranking_oracles
import swiftdpo
from hypothesis import given
from hypothesis import strategies as st
from ranking_oracles import davidson, exact_gradient, exact_loss, from_ranks
from ulps import error_in_ulps, exactly, mp

BETA = 0.5
STRENGTHS = np.array([0.7, 1.25, 0.3, 2.0])
KINDS = {
    "efron": (ranking_oracles.efron, None),
    "average": (ranking_oracles.average, None),
    "davidson": (davidson(STRENGTHS), STRENGTHS),
}


def some_ranks(rng, groups, size):
    """Ranks with ties of up to five items, unranked and absent ones."""
    ranks = rng.integers(-1, 3, (groups, size))
    ranks[:, 5:] = rng.integers(-1, 1, (groups, size - 5))
    return ranks


@pytest.mark.parametrize("spread", [1, 30, 1000])
@pytest.mark.parametrize("options", [dict(), dict(top=1), dict(first_choice="worst")])
@pytest.mark.parametrize("kind", KINDS)
def test_exact(kind, options, spread):
    """Losses within 16 ulps, gradients within 16 ulps of their group's largest, or of the beta of one choice;
    averages go through logarithms, whose own size costs digits."""
    rng = np.random.default_rng(1)
    scores = np.round(rng.normal(size=(9, 6)) * spread * 64) / 64
    ranks = some_ranks(rng, 9, 6)
    ties, strengths = KINDS[kind]
    ulps = 16 * (1 + (np.ptp(scores) if kind == "average" else 0))
    out = swiftdpo.plackett_luce_loss(
        scores, beta=BETA, ranks=ranks, ties=kind, tie_strengths=strengths, reduction="none", **options
    )
    for group in range(9):
        observation = from_ranks(ranks[group])
        loss = exact_loss(BETA * scores[group], observation, ties=ties, **options)
        gradient = BETA * exact_gradient(BETA * scores[group], observation, ties=ties, **options)
        assert error_in_ulps(out.losses[group], loss, scale=max(loss, 1)) <= ulps
        scale = max(BETA, *abs(gradient))
        for actual, exact in zip(out.grad_policy_logps[group], gradient, strict=True):
            assert error_in_ulps(actual, exact, scale=scale) <= ulps


@pytest.mark.parametrize("options", [dict(), dict(top=1), dict(first_choice="worst")])
@pytest.mark.parametrize("spread", [1, 30])
@pytest.mark.parametrize("kind", ["breslow", *KINDS])
def test_hessian_product(kind, spread, options):
    """Within 1e-13 of its group's largest element, or that of one choice."""
    rng = np.random.default_rng(4)
    scores = np.round(rng.normal(size=(6, 6)) * spread * 64) / 64
    direction = rng.normal(size=(6, 6))
    ranks = some_ranks(rng, 6, 6)
    ties, strengths = (ranking_oracles.breslow, None) if kind == "breslow" else KINDS[kind]
    product = swiftdpo.plackett_luce_hessian_product(
        direction,
        scores,
        beta=BETA,
        ranks=ranks,
        ties=kind,
        tie_strengths=strengths,
        reduction="sum",
        **options,
    )
    step = mp.mpf(10) ** -12
    for group in range(6):
        observation = from_ranks(ranks[group])

        def loss(shift, group=group, observation=observation):
            return exact_loss(BETA * (exactly(scores[group]) + shift), observation, ties=ties, **options)

        along = step * exactly(direction[group])
        exact = []
        for item in range(6):
            own = np.array([step if i == item else mp.mpf(0) for i in range(6)], dtype=object)
            crossed = loss(along + own) - loss(along - own) - loss(own - along) + loss(-along - own)
            exact.append(crossed / (4 * step**2))
        scale = max(BETA**2, *map(abs, exact))
        for actual, value in zip(product[group], exact, strict=True):
            assert abs(actual - value) <= 1e-13 * scale * (1 + (spread if kind == "average" else 0))


def test_hessian_product_in_linear_time():
    """Of one group of a hundred thousand items with ties: any quadratic time would take minutes."""
    rng = np.random.default_rng(5)
    scores, direction = rng.normal(size=(2, 100_000))
    ranks = np.arange(100_000) // 4 + 1
    for kind in ("breslow", "efron", "davidson"):
        strengths = [0.5, 0.4, 0.3] if kind == "davidson" else None
        product = swiftdpo.plackett_luce_hessian_product(
            direction, scores, beta=1.0, ranks=ranks, ties=kind, tie_strengths=strengths
        )
        assert np.isfinite(product).all() and abs(product.sum()) <= 1e-10 * abs(product).sum()
        assert product @ direction > 0


def test_gradient_by_the_strengths():
    rng = np.random.default_rng(2)
    scores, ranks, weights = rng.normal(size=(9, 6)), some_ranks(rng, 9, 6), rng.uniform(0, 2, 9)
    out = swiftdpo.plackett_luce_loss(
        scores, beta=1.0, ranks=ranks, ties="davidson", tie_strengths=STRENGTHS, weights=weights
    )
    step = mp.mpf(10) ** -16

    def loss(strengths):
        return sum(
            exactly(weight) * exact_loss(group, from_ranks(rank), ties=davidson(strengths))
            for group, rank, weight in zip(scores, ranks, weights, strict=True)
        )

    for size in range(len(STRENGTHS)):
        above, below = exactly(STRENGTHS), exactly(STRENGTHS)
        above[size] += step
        below[size] -= step
        exact = (loss(above) - loss(below)) / (2 * step) / 9
        assert error_in_ulps(out.grad_tie_strengths[size], exact, scale=mp.mpf(1)) <= 16


@pytest.mark.parametrize("kind", KINDS)
def test_without_ties_they_are_all_plackett_luce(kind):
    """For Davidson's, that needs that no tie can be."""
    rng = np.random.default_rng(3)
    scores = rng.normal(size=(7, 6))
    ranks = rng.permuted(np.tile(np.arange(1, 7), (7, 1)), axis=1)
    plain = swiftdpo.plackett_luce_loss(scores, ranks=ranks)
    out = swiftdpo.plackett_luce_loss(scores, ranks=ranks, ties=kind)
    np.testing.assert_allclose(out.losses, plain.losses, rtol=1e-14)
    np.testing.assert_allclose(out.grad_policy_logps, plain.grad_policy_logps, atol=1e-15)


def test_outcomes_of_a_pair_sum_to_one():
    """Davidson (1970): a win, a loss or a tie, the last with delta / (2 + delta) between equals."""
    scores = np.array([[0.3, -0.9]] * 3)
    out = swiftdpo.plackett_luce_loss(
        scores,
        beta=1.0,
        ranks=[[1, 2], [2, 1], [1, 1]],
        ties="davidson",
        tie_strengths=[0.7],
        reduction="none",
    )
    assert np.exp(-out.losses).sum() == pytest.approx(1, rel=1e-15)
    even = swiftdpo.plackett_luce_loss([[5.0, 5.0]], ranks=[[1, 1]], ties="davidson", tie_strengths=[0.7])
    assert np.exp(-even.loss) == pytest.approx(0.7 / 2.7, rel=1e-15)


def test_all_orders_of_everything_average_to_one_in_factorial():
    out = swiftdpo.plackett_luce_loss([[1.0, -3.0, 0.5, 2.0]], beta=1.0, ranks=[[1, 1, 1, 1]], ties="average")
    assert np.exp(-out.loss) == pytest.approx(1 / 24, rel=1e-14)
    np.testing.assert_allclose(out.grad_policy_logps, 0, atol=1e-15)


@given(st.sampled_from(list(KINDS)), st.integers(0, 2**32), st.sampled_from([1.0, 1e3, 1e6, 1e300]))
def test_far_scores_are_finite_and_sum_to_zero(kind, seed, spread):
    rng = np.random.default_rng(seed)
    scores, ranks = rng.normal(size=(4, 7)) * spread, some_ranks(rng, 4, 7)
    out = swiftdpo.plackett_luce_loss(scores, beta=1.0, ranks=ranks, ties=kind, tie_strengths=KINDS[kind][1])
    assert np.isfinite(out.losses).all() and (out.losses >= 0).all()
    assert abs(out.grad_policy_logps.sum(axis=1)).max() < 1e-12


@pytest.mark.parametrize(
    "kind, ranks, strengths, message",
    [
        ("average", [1] * 11, None, "ranks"),
        ("davidson", [1, 1, 1] + [0] * 8, [1.0], "ranks"),
        ("davidson", [1, 1] + [0] * 9, [1.0, 0.0], r"tie_strengths\[1\]"),
        ("davidson", [1, 1] + [0] * 9, [np.inf], r"tie_strengths\[0\]"),
        ("davidson", [1, 1] + [0] * 9, [1.0] * 8, "tie_strengths.shape"),
        ("cox", [1, 1] + [0] * 9, None, "ties is 'cox'"),
    ],
)
def test_bad_input(kind, ranks, strengths, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        swiftdpo.plackett_luce_loss(np.zeros(11), ranks=ranks, ties=kind, tie_strengths=strengths)
