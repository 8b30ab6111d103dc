"""kto_loss and bco_loss by their definitions, their baselines, and what empty classes do."""

from __future__ import annotations

import numpy as np
import pytest
import swiftdpo
from hypothesis import given
from hypothesis import strategies as st
from oracles import sigmoid, softplus
from samples import MARGINS, realistic_pairs
from ulps import assert_ulps, exactly, mp

FLOATS = [np.float64, np.float32]


def definition(name, policy, reference, desirable, beta, baseline, weights, classes):
    a = exactly(policy) - (0 if reference is None else exactly(reference))
    beta, baseline = exactly(beta), mp.mpf(baseline)
    x = beta * a - baseline if name == "bco" else beta * (a - (baseline if name == "kto" else 0))
    sign = np.where(desirable, 1, -1)
    factor = exactly(weights) * np.where(desirable, mp.mpf(classes[0]), mp.mpf(classes[1]))
    y = sign * x
    losses = factor * (softplus(-y) if name == "bco" else sigmoid(-y))
    slopes = -factor * sign * (sigmoid(-y) if name == "bco" else sigmoid(y) * sigmoid(-y))
    by_beta = slopes * (a - (baseline if name == "kto" else 0))
    by_baseline = -sum(slopes * (1 if name == "bco" else beta if name == "kto" else 0))
    return losses, slopes * beta, beta * a, by_beta, by_baseline


def call(name, policy, reference, desirable, beta, baseline, **options):
    if name == "bco":
        return swiftdpo.bco_loss(policy, reference, desirable, beta, delta=baseline, **options)
    return swiftdpo.kto_loss(policy, reference, desirable, beta, kl=baseline, loss_type=name, **options)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", ["kto", "apo_zero_unpaired", "bco"])
def test_definition(name, dtype):
    policy, reference = realistic_pairs(60, dtype)[0], realistic_pairs(60, dtype)[2]
    policy, reference = (
        np.concatenate([policy, MARGINS.astype(dtype)]),
        np.concatenate([reference, 0 * MARGINS.astype(dtype)]),
    )
    count = len(policy)
    rng = np.random.default_rng(1)
    desirable = rng.integers(0, 2, count).astype(bool)
    beta = (10 ** rng.uniform(-2, 0, count)).astype(dtype)
    weights = rng.exponential(1, count).astype(dtype)
    for baseline in (0.0, 1.75):
        out = call(
            name,
            policy,
            reference,
            desirable,
            beta,
            baseline,
            weights=weights,
            reduction="sum",
            desirable_weight=1.5,
            undesirable_weight=0.5,
        )
        losses, gradient, rewards, by_beta, by_baseline = definition(
            name, policy, reference, desirable, beta, baseline, weights, (1.5, 0.5)
        )
        assert_ulps(out.losses, losses, name="losses")
        assert_ulps(out.grad_policy_logps, gradient, name="gradient")
        assert_ulps(out.rewards, rewards, name="rewards")
        # A denormal slope has fewer digits, and a log-ratio that is one loses two in its quarter.
        tiny = np.finfo(np.float64).tiny
        normal = (abs(gradient / exactly(beta)) > tiny) & (abs(by_beta) > tiny)
        assert_ulps(out.grad_beta[normal], by_beta[normal], name="grad_beta")
        np.testing.assert_allclose(
            out.grad_beta[~normal].astype(float), by_beta[~normal].astype(float), rtol=0, atol=1e-300
        )
        assert out.loss == pytest.approx(float(sum(losses)), rel=1e-14)
        # float32 results are rounded, their sums are not
        assert out.grad_baseline == pytest.approx(float(by_baseline), rel=1e-12, abs=1e-12)
        metrics = out.metrics
        assert metrics.num_desirable == desirable.sum() and metrics.num_undesirable == (~desirable).sum()
        assert metrics.desirable_rewards == pytest.approx(float(sum(rewards[desirable])), rel=1e-12)
        assert metrics.undesirable_logps == pytest.approx(
            float(policy[~desirable].astype(float).sum()), rel=1e-12
        )


@pytest.mark.parametrize("name", ["kto", "apo_zero_unpaired", "bco"])
def test_an_empty_class_contributes_nothing(name):
    for desirable in ([True, True], [False, False], []):
        values = [-1.0, -2.0][: len(desirable)]
        out = call(name, np.array(values), np.array(values), np.array(desirable, bool), 0.1, 0.0)
        assert np.isfinite(out.loss)
    assert out.loss == 0.0


def test_curvature_is_the_slope_of_the_slope():
    policy = np.linspace(-30, 30, 41)
    desirable = np.arange(41) % 2 == 0
    for name in ("kto", "bco"):

        def slopes(x, name=name):
            return call(name, x, None, desirable, 1.0, 0.0, reduction="sum").grad_policy_logps

        step = 1e-5
        expected = (slopes(policy + step) - slopes(policy - step)) / (2 * step)
        curvatures = call(name, policy, None, desirable, 1.0, 0.0, reduction="sum").curvatures
        np.testing.assert_allclose(curvatures, expected, rtol=1e-7, atol=1e-10)


batches = st.lists(
    st.lists(st.floats(-50, 50).map(lambda x: round(x, 3)), min_size=1, max_size=6), min_size=1, max_size=5
)


@given(batches)
def test_estimators_of_the_baseline(ratios):
    """The known estimators, by their definitions over batches; the global one sees no batches."""
    state = swiftdpo.KTOBaseline()
    for batch in ratios:
        state = state + swiftdpo.KTOBaseline().add(np.array(batch), None)
    everything = np.concatenate(ratios)
    means = np.array([np.mean(batch) for batch in ratios])
    nonzero = np.count_nonzero(everything)
    tolerance = {"rel": 1e-9, "abs": 1e-9}
    assert state.value() == pytest.approx(max(0, everything.mean()), **tolerance)
    assert state.value("batch_means") == pytest.approx(max(0, means.mean()), **tolerance)
    assert state.value("clamped_means") == pytest.approx(np.maximum(means, 0).mean(), **tolerance)
    assert state.value("nonzero") == pytest.approx(max(0, everything.sum() / max(nonzero, 1)), **tolerance)
    assert swiftdpo.KTOBaseline().add(everything, None).value() == pytest.approx(state.value(), **tolerance)


def test_the_three_estimators_of_the_peers_disagree():
    """TRL clamps the mean of means, NeMo-Aligner the means, HALOs drops zeros."""
    state = swiftdpo.KTOBaseline().add([4.0, 0.0, 0.0, 0.0], None).add([-2.0], None)
    assert state.value() == pytest.approx(2 / 5)
    assert state.value("batch_means") == 0.0
    assert state.value("clamped_means") == pytest.approx(0.5)
    assert state.value("nonzero") == pytest.approx(1.0)


def test_delta_merges_and_survives_storage():
    policy, reference = realistic_pairs(30)[0], realistic_pairs(30)[2]
    whole = swiftdpo.BCODelta().add(policy, reference, 0.2)
    parts = sum(
        (swiftdpo.BCODelta().add(policy[i::3], reference[i::3], 0.2) for i in range(3)), swiftdpo.BCODelta()
    )
    assert parts.num_samples == whole.num_samples == 30
    assert parts.value == pytest.approx(whole.value, rel=1e-14)
    assert swiftdpo.BCODelta(*tuple(whole)) == whole
    assert whole.value == pytest.approx(float(np.mean(0.2 * (policy - reference))), rel=1e-12)
    assert swiftdpo.BCODelta().value == 0.0


def test_udm_weights():
    p = np.array([0.0, 0.2, 0.5, 0.8, 1.0])
    np.testing.assert_allclose(swiftdpo.udm_weights(p), np.clip(p / (1 - p + 1e-8), 0.5, 10), rtol=1e-15)
    with pytest.raises(ValueError, match=r"probabilities\[1\]"):
        swiftdpo.udm_weights([0.5, 1.5])


def test_bad_input():
    with pytest.raises(TypeError, match="desirable has dtype"):
        swiftdpo.kto_loss([-1.0], None, [1])
    with pytest.raises(ValueError, match="desirable has shape"):
        swiftdpo.kto_loss([-1.0], None, [True, False])
    with pytest.raises(ValueError, match=r"beta: beta must"):
        swiftdpo.bco_loss([-1.0], None, [True], 0.0)
    with pytest.raises(ValueError, match="baseline"):
        swiftdpo.kto_loss([-1.0], None, [True], kl=float("nan"))
    with pytest.raises(ValueError, match="desirable_weight"):
        swiftdpo.kto_loss([-1.0], None, [True], desirable_weight=-1.0)
    with pytest.raises(ValueError, match=r"policy_logps\[1\]"):
        swiftdpo.kto_loss([-1.0, np.nan], None, [True, False])
    with pytest.raises(ValueError, match="loss_type"):
        swiftdpo.kto_loss([-1.0], None, [True], loss_type="bco")
    with pytest.raises(ValueError, match="estimator"):
        swiftdpo.KTOBaseline().value("median")
    with pytest.raises(ValueError, match=r"policy_kl_logps\[0\]"):
        swiftdpo.KTOBaseline().add([np.inf], None)


def test_no_finite_input_gives_nan():
    extremes = np.array([-1.7e308, -1e30, -800.0, 0.0, 800.0, 1e30, 1.7e308])
    policy, reference = (values.ravel() for values in np.meshgrid(extremes, extremes))
    for name in ("kto", "apo_zero_unpaired", "bco"):
        for desirable in (True, False):
            out = call(name, policy, reference, np.full(len(policy), desirable), 10.0, 3.0)
            for values in (out.losses, out.grad_policy_logps, out.rewards, out.curvatures):
                assert not np.isnan(values).any()
