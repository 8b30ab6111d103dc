"""listwise_loss against its definition in 50 digits, autograd, and its own symmetries."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import swiftdpo
import torch
from oracles import exp
from ulps import error_in_ulps, exactly, mp

KINDS = ["cross_entropy", "lambda", "pro"]
FLOATS = [np.float64, np.float32]
SIZES = [1, 2, 7, 8, 9, 0, 17, 3]
OFFSETS = np.cumsum([0, *SIZES])


def log(x):
    return mp.log(x)


def softplus(x):
    return mp.log1p(mp.exp(x))


def exact(kind, scores, targets):
    """The loss, its gradient by the scores, and the sum of the sizes of what the gradients add up."""
    count = len(scores)
    gradient = np.array([mp.mpf(0)] * count, dtype=object)
    sizes = mp.mpf(0)
    if kind == "cross_entropy":
        worths = exp(scores)
        total = sum(worths, mp.mpf(0))
        loss = sum((t * (log(total) - s) for s, t in zip(scores, targets, strict=True)), mp.mpf(0))
        return loss, worths * sum(targets, mp.mpf(0)) / total - targets, mp.mpf(1)
    loss = mp.mpf(0)
    if kind == "lambda":
        places = np.empty(count, dtype=int)
        places[sorted(range(count), key=lambda i: -scores[i])] = np.arange(1, count + 1)
        for i in range(count):
            for j in range(count):
                if targets[i] > targets[j]:
                    weight = mp.mpf(2) ** targets[i] - mp.mpf(2) ** targets[j]
                    weight *= abs(1 / log(1 + mp.mpf(int(places[i]))) - 1 / log(1 + mp.mpf(int(places[j]))))
                    loss += weight * softplus(scores[j] - scores[i])
                    slope = weight / (1 + mp.exp(scores[i] - scores[j]))
                    gradient[i] -= slope
                    gradient[j] += slope
                    sizes += slope
        return loss, gradient, sizes
    order = sorted(range(count), key=lambda i: -targets[i])
    for place in range(count - 1):
        own, left = order[place], order[place:]
        factors = {i: targets[own] - targets[i] for i in left}
        factors[own] = targets[own] - targets[order[-1]]
        worths = {i: mp.exp(factors[i] * scores[i]) for i in left}
        total = sum(worths.values(), mp.mpf(0))
        loss += log(total) - factors[own] * scores[own]
        for i in left:
            slope = factors[i] * (worths[i] / total - (i == own))
            gradient[i] += slope
            sizes += abs(slope)
    return loss, gradient, sizes


def some_targets(kind, rng, dtype):
    if kind == "lambda":
        return rng.integers(0, 4, OFFSETS[-1]).astype(dtype)
    if kind == "pro":
        return np.round(4 * rng.normal(size=OFFSETS[-1])).astype(dtype) / 4
    targets = rng.exponential(1, OFFSETS[-1]).astype(dtype)
    for start, end in itertools.pairwise(OFFSETS):
        targets[start:end] /= targets[start:end].sum()
    return targets


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("spread", [1, 30, 1000])
@pytest.mark.parametrize("kind", KINDS)
def test_exact(kind, spread, dtype):
    rng = np.random.default_rng(0)
    policy, ref = (spread * rng.normal(size=(2, OFFSETS[-1]))).astype(dtype)
    targets, weights = some_targets(kind, rng, dtype), rng.uniform(0.1, 2, len(SIZES)).astype(dtype)
    betas = rng.uniform(0.1, 1, len(SIZES)).astype(dtype)
    out = swiftdpo.listwise_loss(
        policy, ref, targets, betas, loss_type=kind, weights=weights, offsets=OFFSETS, reduction="sum"
    )
    assert out.losses.dtype == out.grad_policy_logps.dtype == dtype
    total = mp.mpf(0)
    for group, (start, end) in enumerate(itertools.pairwise(OFFSETS)):
        beta, weight = exactly(betas[group]), exactly(weights[group])
        scores = beta * (exactly(policy[start:end]) - exactly(ref[start:end]))
        loss, gradient, sizes = exact(kind, scores, exactly(targets[start:end]))
        total += weight * loss
        # What rounding an exponent of PRO changes a loss by.
        ulps = 16 + (64 * float(abs(scores).max()) if kind == "pro" and end > start else 0)
        double = 1e-3 if dtype == np.float32 else 1
        assert error_in_ulps(
            out.losses[group], weight * loss, dtype, scale=max(loss, mp.mpf(1e-30)) * weight
        ) <= max(ulps * double, 0.51 if dtype == np.float32 else 0)
        for actual, slope in zip(out.grad_policy_logps[start:end], beta * weight * gradient, strict=True):
            scale = max(beta * weight * sizes, mp.mpf(1e-300))
            assert error_in_ulps(actual, slope, dtype, scale=scale) <= max(ulps * double, 1)
    assert out.loss == pytest.approx(float(total), rel=1e-13 * (1 + 100 * spread * (kind == "pro")))
    np.testing.assert_array_equal(out.grad_ref_logps, -out.grad_policy_logps)


@pytest.mark.parametrize("kind", KINDS)
def test_autograd(kind):
    """The formulas as tensors, for groups of one size."""
    rng = np.random.default_rng(1)
    values, targets = rng.normal(size=(5, 6)), rng.dirichlet(np.ones(6), 5)
    leaf = torch.tensor(values, requires_grad=True)
    scores, goals = 0.5 * leaf, torch.tensor(targets)
    if kind == "cross_entropy":
        losses = torch.nn.functional.cross_entropy(scores, goals, reduction="none")
    elif kind == "lambda":
        places = scores.detach().argsort(1, descending=True).argsort(1) + 1
        discounts = 1 / torch.log1p(places.double())
        weights = (2 ** goals[:, :, None] - 2 ** goals[:, None]) * (
            discounts[:, :, None] - discounts[:, None]
        ).abs()
        pairs = weights.clamp(min=0) * torch.nn.functional.softplus(scores[:, None] - scores[:, :, None])
        losses = pairs.sum((1, 2))
    else:
        order = goals.argsort(1, descending=True)
        scores, goals = scores.gather(1, order), goals.gather(1, order)
        losses = torch.zeros(5, dtype=torch.float64)
        for k in range(5):
            factors = goals[:, k, None] - goals[:, k:]
            factors[:, 0] = factors.max(1).values
            exponents = factors * scores[:, k:]
            losses = losses + exponents.logsumexp(1) - exponents[:, 0]
    losses.mean().backward()
    out = swiftdpo.listwise_loss(values, None, targets, beta=0.5, loss_type=kind)
    np.testing.assert_allclose(out.losses, losses.detach(), rtol=1e-13)
    np.testing.assert_allclose(out.grad_policy_logps, leaf.grad, rtol=1e-12, atol=1e-15)


def test_a_single_target_is_the_best_of_k():
    values = np.random.default_rng(2).normal(0, 3, (6, 5))
    best = swiftdpo.plackett_luce_loss(values, beta=1.0, top=1)
    out = swiftdpo.listwise_loss(values, None, np.tile([1.0, 0, 0, 0, 0], (6, 1)), beta=1.0)
    np.testing.assert_allclose(out.losses, best.losses, rtol=1e-14)
    np.testing.assert_allclose(out.grad_policy_logps, best.grad_policy_logps, rtol=1e-14, atol=1e-16)


def test_cross_entropy_at_the_target_is_its_entropy():
    target = np.array([[0.5, 0.3, 0.2, 0.0]])
    values = np.log([[0.5, 0.3, 0.2, 1e-300]])
    out = swiftdpo.listwise_loss(values, None, target, beta=1.0)
    assert out.loss == pytest.approx(-np.sum(target[0, :3] * np.log(target[0, :3])), rel=1e-15)
    np.testing.assert_allclose(out.grad_policy_logps, 0, atol=1e-15)


@pytest.mark.parametrize("kind", ["cross_entropy", "lambda"])
def test_a_constant_added_to_a_group_changes_nothing(kind):
    values = np.round(64 * np.random.default_rng(3).normal(0, 5, (4, 9))) / 64
    targets = np.random.default_rng(3).dirichlet(np.ones(9), 4)
    out = swiftdpo.listwise_loss(values, None, targets, loss_type=kind)
    moved = swiftdpo.listwise_loss(values + 1024, None, targets, loss_type=kind)
    np.testing.assert_array_equal(moved.losses, out.losses)
    np.testing.assert_allclose(out.grad_policy_logps.sum(1), 0, atol=1e-15)


@pytest.mark.parametrize("kind", KINDS)
def test_a_group_does_not_depend_on_its_batch(kind):
    rng = np.random.default_rng(4)
    values, targets = rng.normal(size=(300, 20)), rng.dirichlet(np.ones(20), 300)
    whole = swiftdpo.listwise_loss(values, None, targets, loss_type=kind, reduction="sum")
    for group in (0, 7, 299):
        one = swiftdpo.listwise_loss(values[group], None, targets[group], loss_type=kind, reduction="sum")
        assert one.losses == whole.losses[group]
        np.testing.assert_array_equal(one.grad_policy_logps, whole.grad_policy_logps[group])


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(targets=[[0.5, 0.6]]), r"targets\[0, 0\]"),
        (dict(targets=[[1.5, -0.5]]), r"targets\[0, 1\]"),
        (dict(targets=[[np.nan, 0.5]]), r"targets\[0, 0\]"),
        (dict(targets=[[1.0, 600.0]], loss_type="lambda"), r"targets\[0, 1\]"),
        (dict(targets=[[np.inf, 600.0]], loss_type="pro"), r"targets\[0, 0\]"),
        (dict(targets=[[1.0, 0.0, 0.0]]), "targets has shape"),
        (dict(loss_type="ndcg"), "loss_type is 'ndcg'"),
        (dict(beta=0.0), "beta"),
        (dict(weights=[-1.0]), r"weights\[0\]"),
        (dict(policy_logps=[[np.nan, 0.0]]), r"policy_logps\[0, 0\]"),
    ],
)
def test_bad_input(arguments, message):
    complete = dict(policy_logps=[[0.5, 0.25]], ref_logps=None, targets=[[1.0, 0.0]]) | arguments
    with pytest.raises(ValueError, match=f"^{message}"):
        swiftdpo.listwise_loss(**complete)


@pytest.mark.parametrize("kind", KINDS)
def test_propagated_nan(kind):
    values = [[0.1, np.nan, 0.3], [0.1, 0.2, 0.3]]
    out = swiftdpo.listwise_loss(values, None, [[0.2, 0.5, 0.3]] * 2, loss_type=kind, nonfinite="propagate")
    assert np.isnan(out.losses[0]) and np.isnan(out.grad_policy_logps[0]).all()
    assert np.isfinite(out.losses[1]) and np.isfinite(out.grad_policy_logps[1]).all()


def test_targets_are_required():
    with pytest.raises(TypeError, match=r"^targets is required"):
        swiftdpo.listwise_loss([[0.5, 0.25]], None, None)
