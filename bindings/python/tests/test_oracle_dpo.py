"""dpo_loss against exact values of the given numbers (mpmath, 50 digits), autograd and finite differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
import swiftdpo
import torch
import torch_oracles
from oracles import central_difference, dpo, sigmoid
from samples import MARGINS, realistic_pairs
from ulps import PAIR_SINGLES, assert_ulps, exactly, mp, reduced_ulps

FLOATS = [np.float64, np.float32]
REDUCTIONS = ["mean", "sum", "none"]


def assert_exact(inputs, **options):
    """Every field is within 4 ulps of its type of the exact value of the inputs as they are, a gradient whose
    two terms cancel (0 < p < 1) within 4 ulps of the larger one; rewards of singles are rounded doubles."""
    inputs = [None if values is None else np.asarray(values) for values in inputs]
    out, exact = swiftdpo.dpo_loss(*inputs, **options), dpo(*inputs, **options)
    for name in ("chosen_rewards", "rejected_rewards"):
        assert_ulps(getattr(out, name), getattr(exact, name), name=name)
    for name in ("losses", "gradient_weights"):
        assert_ulps(getattr(out, name), getattr(exact, name), name=name, singles=PAIR_SINGLES)
    for name in ("grad_policy_chosen_logps", "grad_policy_rejected_logps"):
        assert getattr(out, name).dtype == inputs[0].dtype
        assert_ulps(
            getattr(out, name),
            getattr(exact, name),
            scale=exact.gradient_scale,
            name=name,
            singles=PAIR_SINGLES,
        )
    if options.get("reduction") == "none":
        np.testing.assert_array_equal(out.loss, out.losses)
    else:
        # What is far below the smallest single does not count in the sum of singles.
        smallest = None if inputs[0].dtype == np.float64 else max(abs(exact.loss), mp.mpf("1e-290"))
        assert_ulps(
            np.float64(out.loss), exact.loss, reduced_ulps(inputs[0].dtype), scale=smallest, name="loss"
        )


def varied(count, dtype, seed=0):
    """An own beta, margin, weight and soft label for each of `count` pairs."""
    rng = np.random.default_rng(seed)
    return {
        "beta": (10 ** rng.uniform(-3, 1, count)).astype(dtype),
        "margin": rng.normal(0, 2, count).astype(dtype),
        "weights": rng.exponential(1, count).astype(dtype),
        "soft_labels": rng.uniform(0, 1, count).astype(dtype),
    }


# The whole range of margins


@pytest.mark.parametrize("dtype", FLOATS)
def test_every_margin(dtype):
    """z itself, from denormals to a million, either sign, in each of the four places."""
    z, zero = MARGINS.astype(dtype), np.zeros_like(MARGINS, dtype)
    for inputs in (
        [z, zero, zero, zero],
        [zero, -z, zero, zero],
        [zero, zero, -z, zero],
        [zero, zero, zero, z],
    ):
        assert_exact(inputs, beta=1.0, reduction="sum")


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    "p", [0.0, 1e-300, 1e-20, 1e-3, 0.25, 0.5, 0.6666666666666666, 0.9, 1 - 2**-20, 1 - 2**-53, 1.0]
)
def test_every_margin_with_soft_labels(dtype, p):
    z, zero = MARGINS.astype(dtype), np.zeros_like(MARGINS, dtype)
    assert_exact([z, zero, zero, zero], beta=1.0, soft_labels=np.full_like(z, p), reduction="sum")


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    "label_smoothing", [0.0, 1e-300, 1e-20, 1e-17, 1e-9, 0.1, 0.2, 0.3, 0.4999999999999999]
)
def test_every_margin_with_label_smoothing(dtype, label_smoothing):
    """A tiny label_smoothing counts too: it is not lost in 1 - label_smoothing."""
    z, zero = MARGINS.astype(dtype), np.zeros_like(MARGINS, dtype)
    assert_exact([z, zero, zero, zero], beta=1.0, label_smoothing=label_smoothing, reduction="sum")


@pytest.mark.parametrize("dtype", FLOATS)
def test_near_the_minimum(dtype):
    """Where z is close to logit(p) the gradient is a small difference; the loss is the entropy of p there."""
    p = np.linspace(0.51, 0.99, 25).astype(dtype)
    z = np.log(p / (1 - p)).astype(dtype)
    for step in (0.0, 1e-3, -1e-6):
        z_here = (z + dtype(step)).astype(dtype)
        zero = np.zeros_like(z)
        assert_exact([z_here, zero, zero, zero], beta=1.0, soft_labels=p, reduction="none")


# Log-probabilities of real size


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("beta", [0.01, 0.1, 0.5, 7.0])
def test_realistic(dtype, beta):
    assert_exact(realistic_pairs(200, dtype, seed=3), beta=beta, reduction="sum")


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1, 0.3])
def test_realistic_with_label_smoothing(dtype, reduction, label_smoothing):
    assert_exact(realistic_pairs(50, dtype, seed=4), label_smoothing=label_smoothing, reduction=reduction)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    "names",
    [("beta",), ("margin",), ("weights",), ("soft_labels",), ("beta", "margin", "weights", "soft_labels")],
    ids="+".join,
)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_realistic_with_values_for_each_pair(dtype, names, reduction):
    values = varied(61, dtype, seed=5)
    assert_exact(
        realistic_pairs(61, dtype, seed=6), **{name: values[name] for name in names}, reduction=reduction
    )


def test_many_pairs_with_all_factors_of_a_gradient():
    """sigma(-z) is rounded once, so that beta, weight and mean, which round a gradient again, leave it far
    within its bound: in many pairs, since errors that add up are rare."""
    count = 6007
    rng = np.random.default_rng(2)
    policy_chosen, policy_rejected, *ref = rng.normal(-60, 20, (4, count))
    beta, weights = 10 ** rng.uniform(-3, 1, count), rng.exponential(1, count)
    out = swiftdpo.dpo_loss(policy_chosen, policy_rejected, *ref, beta=beta, weights=weights)
    chosen, rejected = (
        exactly(policy) - exactly(of_ref)
        for policy, of_ref in zip((policy_chosen, policy_rejected), ref, strict=True)
    )
    z = exactly(beta) * (chosen - rejected)
    complement = sigmoid(-z)
    # Denormal numbers have fewer digits, and so do products with them.
    normal = z < 700
    assert_ulps(out.gradient_weights[normal], complement[normal], 1, name="sigma(-z)")
    gradient = -exactly(beta) * complement * exactly(weights) / count
    assert_ulps(out.grad_policy_chosen_logps[normal], gradient[normal], 3, name="gradient")


@pytest.mark.parametrize("dtype", FLOATS)
def test_margin_that_cancels(dtype):
    """A margin nearly equal to beta * (a - b) leaves a z made of rounding errors: they are carried."""
    policy_chosen, policy_rejected, ref_chosen, ref_rejected = inputs = realistic_pairs(50, dtype, seed=7)
    margin = (0.1 * ((policy_chosen - ref_chosen) - (policy_rejected - ref_rejected))).astype(dtype)
    assert_exact(inputs, margin=margin, reduction="sum")


@pytest.mark.parametrize("dtype", FLOATS)
def test_large_margins_of_either_sign(dtype):
    """Far out, the loss is exp(-z): each rounding of z would be an error of |z| ulps."""
    policy_chosen, *others = realistic_pairs(60, dtype, seed=8)
    shift = np.linspace(-7000, 7000, 60).astype(dtype)
    assert_exact([(policy_chosen + shift).astype(dtype), *others], beta=0.1, reduction="sum")


@pytest.mark.parametrize("dtype", FLOATS)
def test_without_a_reference(dtype):
    policy = realistic_pairs(33, dtype, seed=9)[:2]
    assert_exact([*policy, None, None], label_smoothing=0.1)


# Shapes and sizes


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 100])
def test_batch_sizes(dtype, count):
    for reduction in REDUCTIONS:
        assert_exact(realistic_pairs(count, dtype, seed=count), **varied(count, dtype), reduction=reduction)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_empty_batch(dtype, reduction):
    out = swiftdpo.dpo_loss(*np.empty((4, 0), dtype), reduction=reduction)
    assert out.loss == 0
    for name in (
        "losses",
        "grad_policy_chosen_logps",
        "grad_policy_rejected_logps",
        "chosen_rewards",
        "rejected_rewards",
        "gradient_weights",
    ):
        assert getattr(out, name).shape == (0,)


def test_reduced_loss_of_a_large_batch():
    """The sum of 5000 losses is within 4 ulps of the exact sum, in whatever order it was taken."""
    inputs = realistic_pairs(5000, seed=10)
    for reduction in ("mean", "sum"):
        out = swiftdpo.dpo_loss(*inputs, reduction=reduction)
        exact = mp.fsum(exactly(out.losses)) / (5000 if reduction == "mean" else 1)
        assert_ulps(np.float64(out.loss), exact, name=reduction)


@pytest.mark.parametrize("sure", [0, 1, 5000])
def test_sum_of_losses_in_single_precision_is_exact(sure):
    """To the last bit of a double, whether or not some pairs have next to no loss."""
    inputs = realistic_pairs(5000, np.float32, seed=12)
    inputs[0][:sure] += np.float32(300)
    out = swiftdpo.dpo_loss(*inputs, reduction="sum")
    assert (out.losses < 2.0**-19).sum() >= sure
    assert out.loss == math.fsum(out.losses.tolist())


@pytest.mark.parametrize("dtype", FLOATS)
def test_a_pair_does_not_depend_on_its_batch(dtype):
    inputs, options = realistic_pairs(37, dtype, seed=11), varied(37, dtype)
    whole = swiftdpo.dpo_loss(*inputs, **options, reduction="sum")
    for i in range(37):
        one = swiftdpo.dpo_loss(
            *(values[i : i + 1] for values in inputs),
            reduction="sum",
            **{name: values[i : i + 1] for name, values in options.items()},
        )
        for name in ("losses", "grad_policy_chosen_logps", "gradient_weights", "chosen_rewards"):
            assert getattr(one, name).tobytes() == getattr(whole, name)[i : i + 1].tobytes()


# Extremes


def test_overflow_inputs_of_trl():
    """Published inputs on which probability ratios overflow: exp(1020) is no number, in either dtype."""
    inputs = [410.0, 0.1], [810.5, 0.2], [-610.0, -0.1], [110.6, 0.5]
    for dtype in FLOATS:
        assert_exact([np.array(values, dtype) for values in inputs], reduction="none")
    loss = swiftdpo.dpo_loss(*map(np.array, inputs), reduction="none").losses
    np.testing.assert_allclose(loss, [1.2538154996452551628e-14, 0.66845964801328629415], rtol=1e-13)


@pytest.mark.parametrize("dtype", FLOATS)
def test_denormals(dtype):
    tiny = np.finfo(dtype).smallest_subnormal
    values = np.array([0, tiny, -tiny, 3 * tiny, np.finfo(dtype).tiny], dtype)
    zero = np.zeros_like(values)
    for inputs in ([values, zero, zero, zero], [zero, values, values, zero], [values, -values, zero, values]):
        assert_exact(inputs, beta=1.0)
        assert_exact(inputs, beta=0.1, weights=abs(values))
    assert_exact(realistic_pairs(5, dtype), beta=np.maximum(abs(values), tiny), reduction="sum")
    assert_exact(realistic_pairs(5, dtype), weights=abs(values), reduction="sum")
    assert_exact(realistic_pairs(5, dtype), soft_labels=abs(values), reduction="sum")


def test_denormal_results():
    """Losses and gradients that are themselves denormal are as good as any denormal can be."""
    z = np.linspace(700, 750, 101)
    assert_exact([z, np.zeros_like(z), None, None], beta=1.0, reduction="sum")
    z32 = np.linspace(80, 110, 101).astype(np.float32)
    assert_exact([z32, np.zeros_like(z32), None, None], beta=1.0, reduction="sum")


def test_large_finite_numbers_stay_finite():
    """|z| far beyond a million, up to where the loss itself is no float: it grows like |z|."""
    z = np.array([1e10, 1e100, 1e300, 1.7e308])
    zero = np.zeros_like(z)
    assert_exact([z, zero, zero, zero], beta=1.0, reduction="none")
    assert_exact([-z, zero, zero, zero], beta=1.0, reduction="none")
    assert_exact([-z / 8, z / 8, z / 8, -z / 8], beta=1.0, reduction="none")
    z32 = np.array([1e10, 1e30, 3e38], np.float32)
    assert_exact([z32 * 0, z32, z32, z32 * 0], beta=0.25, reduction="none")


def test_beta_of_any_size():
    inputs = realistic_pairs(8, seed=12)
    for beta in (1e-300, 1e-20, 1e-3, 1.0, 1e3, 1e5):
        assert_exact(inputs, beta=beta)


# Autograd and differences


@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_autograd(label_smoothing, reduction):
    inputs = realistic_pairs(64, seed=13)
    out = swiftdpo.dpo_loss(*inputs, beta=0.3, label_smoothing=label_smoothing, reduction=reduction)
    policy = [torch_oracles.tensor(values) for values in inputs[:2]]
    losses = torch_oracles.dpo(
        *policy, *map(torch.tensor, inputs[2:]), beta=0.3, label_smoothing=label_smoothing
    )
    loss = getattr(losses, reduction)()
    loss.backward()
    assert out.loss == pytest.approx(loss.item(), rel=1e-12)
    np.testing.assert_allclose(out.grad_policy_chosen_logps, policy[0].grad, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(out.grad_policy_rejected_logps, policy[1].grad, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_finite_differences(reduction):
    """The gradient is the loss's own: differences of the loss know nothing of the formula."""
    chosen, rejected = np.array([-3.0, -4.5, -2.0]), np.array([-3.5, -4.0, -9.0])
    options = dict(
        beta=np.array([0.5, 1.0, 0.2]),
        margin=np.array([0.1, -0.5, 0.0]),
        reduction=reduction,
        weights=np.array([1.0, 0.5, 2.0]),
        soft_labels=np.array([1.0, 0.75, 0.0]),
    )
    ref = np.array([-3.25, -4.0, -3.0]), np.array([-3.0, -4.25, -8.0])
    out = swiftdpo.dpo_loss(chosen, rejected, *ref, **options)
    by_chosen = central_difference(
        lambda x: swiftdpo.dpo_loss(x, rejected, *ref, **options).loss, chosen, 2e-3
    )
    by_rejected = central_difference(
        lambda x: swiftdpo.dpo_loss(chosen, x, *ref, **options).loss, rejected, 2e-3
    )
    np.testing.assert_allclose(out.grad_policy_chosen_logps, by_chosen, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(out.grad_policy_rejected_logps, by_rejected, rtol=1e-10, atol=1e-12)
