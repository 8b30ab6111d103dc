"""sequence_logps and its backward call against a double-precision log-softmax with exact sums, and torch."""

from __future__ import annotations

import math

import numpy as np
import pytest
import swiftdpo
import torch
import torch_oracles
from oracles import dpo, logits_gradient, probabilities, sequence_logps
from ulps import exactly, mp

VOCABULARIES = [1, 2, 7, 16, 17, 1000, 32000, 151936]
TOKEN_TOLERANCE = 1e-6
NAN, INF = math.nan, math.inf


def batch(vocab_size, sequences=3, length=4, seed=0):
    """Logits of a batch, and labels with a prompt, padding and one sequence without any token that counts."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 4, (sequences, length, vocab_size)).astype(np.float32)
    labels = rng.integers(0, vocab_size, (sequences, length))
    labels[0, :2] = -100
    labels[1, -1] = -100
    labels[-1] = -100
    return logits, labels


def assert_matches(logits, labels, **options):
    out, exact = swiftdpo.sequence_logps(logits, labels, **options), sequence_logps(logits, labels, **options)
    np.testing.assert_allclose(out.token_logps, exact.token_logps, rtol=0, atol=TOKEN_TOLERANCE)
    np.testing.assert_allclose(out.log_normalizers, exact.log_normalizers, rtol=2**-52, atol=TOKEN_TOLERANCE)
    np.testing.assert_array_equal(out.num_tokens, exact.num_tokens)
    tokens = 1 if options.get("average") else np.maximum(exact.num_tokens, 1)
    assert (abs(out.logps - exact.logps) <= TOKEN_TOLERANCE * tokens).all()
    assert out.logps.dtype == out.token_logps.dtype == out.log_normalizers.dtype == np.float64
    return out


def assert_gradient_matches(gradient, logits, labels, grad_logps, *, shift=True, average=False):
    """g * (1[v = y] - p) in single precision: log p is rounded before it becomes p, and so is the result."""
    exact = logits_gradient(logits, labels, grad_logps, shift=shift, average=average)
    p = probabilities(logits, labels, shift=shift)[1]
    log_p = np.log(p, out=np.zeros_like(p), where=p > 0)
    units = abs(grad_logps)[:, None, None] * p * (abs(log_p) + 8) + abs(exact)
    assert gradient.dtype == np.float32
    excess = abs(gradient - exact) - 2.0**-24 * units
    worst = np.unravel_index(excess.argmax(), excess.shape)
    assert excess[worst] <= np.finfo(np.float32).tiny, (
        f"{worst}: {gradient[worst]}, exact {exact[worst]}, p {p[worst]}"
    )


# Forward


@pytest.mark.parametrize("vocab_size", VOCABULARIES)
@pytest.mark.parametrize("shift", [True, False])
def test_log_softmax(vocab_size, shift):
    logits, labels = batch(vocab_size, seed=vocab_size)
    out = assert_matches(logits, labels, shift=shift)
    assert out.token_logps.shape == (3, 3 if shift else 4)
    assert out.logps[-1] == 0 and out.num_tokens[-1] == 0


@pytest.mark.parametrize("vocab_size", [2, 17, 1000])
def test_average(vocab_size):
    logits, labels = batch(vocab_size, seed=1)
    out, sums = assert_matches(logits, labels, average=True), swiftdpo.sequence_logps(logits, labels)
    np.testing.assert_allclose(out.logps, sums.logps / np.maximum(sums.num_tokens, 1), rtol=1e-15)
    assert out.logps[-1] == 0


@pytest.mark.parametrize("vocab_size", [2, 3, 17, 40])
def test_mpmath(vocab_size):
    """The exact value of the given logits, without any floating-point sum."""
    logits = np.random.default_rng(2).normal(0, 4, (1, 4, vocab_size)).astype(np.float32)
    labels = np.array([[0, 1, vocab_size - 1, 0]])
    out = swiftdpo.sequence_logps(logits, labels, shift=False)
    for t in range(4):
        row = exactly(logits[0, t])
        exact = row[labels[0, t]] - mp.log(sum(mp.exp(x) for x in row))
        assert out.token_logps[0, t] == pytest.approx(float(exact), abs=TOKEN_TOLERANCE)


def test_one_vocabulary_entry_is_certain():
    out = swiftdpo.sequence_logps(np.full((1, 3, 1), 5.5, np.float32), np.zeros((1, 3), np.int64))
    assert out.logps[0] == 0 and not out.token_logps.any()


@pytest.mark.parametrize("offset", [-1e4, -87.0, 88.0, 1e4, 1e30])
def test_logits_of_any_size(offset):
    """Far beyond where exp overflows, and equal logits where adding anything to them does nothing."""
    logits, labels = batch(1000, seed=3)
    assert_matches(logits + np.float32(offset), labels)


@pytest.mark.parametrize("vocab_size", [17, 32000, 151936])
def test_a_systematic_rounding_does_not_add_up(vocab_size):
    """All other logits equal: every exponential has the same error, in the same direction."""
    rng = np.random.default_rng(4)
    for _ in range(20):
        gap = math.log(vocab_size) + rng.normal(0, 1)
        logits = np.full((1, 2, vocab_size), rng.normal(0, 10) - gap, np.float32)
        logits[:, :, 3] += np.float32(gap)
        assert_matches(logits, np.array([[3, 5]]), shift=False)


def test_confident_rows():
    """Probabilities near 1, and as small as exp(-200)."""
    logits, labels = batch(1000, seed=5)
    logits[:, :, 7] += 60
    labels[1] = 7
    assert_matches(logits, labels)
    assert_matches(10 * logits, labels)


def test_maximum_anywhere_in_the_row():
    """The running maximum rises at the first, the last or any entry, or at every one."""
    for vocab_size in (15, 16, 17, 31, 32, 33, 200):
        rows = np.tile(np.random.default_rng(6).normal(0, 1, vocab_size), (vocab_size + 2, 1))
        rows[np.arange(vocab_size), np.arange(vocab_size)] += 90
        rows[-1], rows[-2] = np.linspace(-500, 500, vocab_size), np.linspace(500, -500, vocab_size)
        labels = np.zeros((1, vocab_size + 2), np.int64)
        assert_matches(rows[None].astype(np.float32), labels, shift=False)


def test_extreme_finite_logits():
    top = np.finfo(np.float32).max
    logits = np.array([[[top, -top, 0, top], [-top] * 4, [1e-45, 0, -1e-45, 1e-40]]], np.float32)
    out = swiftdpo.sequence_logps(logits, np.array([[0, 2, 3]]), shift=False)
    np.testing.assert_allclose(
        out.token_logps, [[-math.log(2), -math.log(4), -math.log(4)]], atol=TOKEN_TOLERANCE
    )
    out = swiftdpo.sequence_logps(logits, np.array([[1, 2, 3]]), shift=False)
    assert out.token_logps[0, 0] == pytest.approx(-2 * float(top))


def test_long_sequences_lose_nothing():
    """A sum over 3000 tokens is as good as its terms: it runs in double precision."""
    rng = np.random.default_rng(7)
    logits = rng.normal(0, 3, (1, 3000, 17)).astype(np.float32)
    labels = rng.integers(0, 17, (1, 3000))
    out = swiftdpo.sequence_logps(logits, labels, shift=False)
    assert out.logps[0] == pytest.approx(math.fsum(out.token_logps[0]), rel=1e-14)
    exact = sequence_logps(logits, labels, shift=False)
    assert out.logps[0] == pytest.approx(exact.logps[0], abs=3000 * TOKEN_TOLERANCE / 10)


@pytest.mark.parametrize("shape", [(0, 4, 5), (2, 0, 5), (2, 1, 5)])
def test_nothing_to_score(shape):
    out = swiftdpo.sequence_logps(np.zeros(shape, np.float32), np.zeros(shape[:2], np.int64))
    assert out.logps.shape == (shape[0],) and not out.logps.any() and not out.num_tokens.any()
    assert out.token_logps.shape == (shape[0], max(shape[1] - 1, 0))


def test_ignore_index():
    logits, labels = batch(17, seed=8)
    other = np.where(labels == -100, 3, np.where(labels == 3, 4, labels))
    assert_matches(logits, other, ignore_index=3)
    assert_matches(logits, np.where(labels == -100, -1, labels), ignore_index=-1)


# Infinite and missing logits


def test_masked_vocabulary():
    """-inf entries have probability 0 wherever they stand; the label's gives log-probability -inf."""
    logits, labels = batch(40, seed=9)
    rng = np.random.default_rng(9)
    logits[rng.random(logits.shape) < 0.5] = -INF
    logits[:, :, :20] = -INF
    np.put_along_axis(logits[:, :-1], np.maximum(labels[:, 1:, None], 0), np.float32(1.5), axis=2)
    assert_matches(logits, labels)

    logits[1, 0, labels[1, 1]] = -INF
    out = swiftdpo.sequence_logps(logits, labels)
    assert out.token_logps[1, 0] == -INF and out.logps[1] == -INF
    assert np.isfinite(out.logps[[0, 2]]).all() and np.isfinite(out.log_normalizers).all()


def test_gradient_with_masked_vocabulary():
    logits, labels = batch(40, seed=10)
    logits[:, :, 20:] = -INF
    labels[labels >= 20] -= 20
    grad_logps = np.array([1.5, -0.25, 2.0])
    gradient = swiftdpo.sequence_logps_backward(logits, labels, grad_logps)
    assert_gradient_matches(gradient, logits, labels, grad_logps)
    assert not gradient[:, :, 20:].any()


@pytest.mark.parametrize("bad", [NAN, INF])
@pytest.mark.parametrize("place", [(0, 0, 0), (1, 2, 16), (1, 1, 5)])
def test_nan_and_infinity_are_refused_by_index(bad, place):
    logits, labels = np.zeros((2, 4, 17), np.float32), np.ones((2, 4), np.int64)
    logits[place] = bad
    flat = np.ravel_multi_index(place, logits.shape)
    with pytest.raises(ValueError, match=index_of("logits", place, flat)):
        swiftdpo.sequence_logps(logits, labels)


def test_a_row_without_any_finite_logit_is_refused():
    logits, labels = np.zeros((2, 3, 5), np.float32), np.ones((2, 3), np.int64)
    logits[1, 1] = -INF
    with pytest.raises(ValueError, match=index_of("logits", (1, 1, 0), 20)):
        swiftdpo.sequence_logps(logits, labels)


def index_of(name, place, flat):
    """The argument's name, then the index as Python writes it or the flat one."""
    return rf"{name}.*(\[{', '.join(map(str, place))}\]|\b{flat}\b)"


@pytest.mark.parametrize("shift", [True, False])
def test_rows_that_score_no_label_that_counts_are_never_read(shift):
    """NaN in every one of them goes unnoticed, forward and backward, and their gradient is 0."""
    logits, labels = batch(17, seed=11)
    grad_logps = np.array([1.0, -2.0, 0.5])
    scores = np.zeros(labels.shape, bool)
    if shift:
        scores[:, :-1] = labels[:, 1:] != -100
    else:
        scores[:] = labels != -100
    clean, clean_gradient = (
        call(logits, labels, *more, shift=shift)
        for call, more in ((swiftdpo.sequence_logps, ()), (swiftdpo.sequence_logps_backward, (grad_logps,)))
    )
    logits[~scores] = NAN
    out = assert_matches(logits, labels, shift=shift)
    np.testing.assert_array_equal(out.logps, clean.logps)
    for forward in (None, out):
        options = {} if forward else {"shift": shift}
        gradient = swiftdpo.sequence_logps_backward(logits, labels, grad_logps, forward, **options)
        np.testing.assert_array_equal(gradient, clean_gradient)
        assert not gradient[~scores].any()


# Backward


@pytest.mark.parametrize("vocab_size", VOCABULARIES)
@pytest.mark.parametrize("shift", [True, False])
@pytest.mark.parametrize("average", [True, False])
def test_gradient(vocab_size, shift, average):
    logits, labels = batch(vocab_size, 2, 3, seed=12)
    labels[1, 1] = 0
    grad_logps, options = np.array([0.75, -1e-3]), dict(shift=shift, average=average)
    forward = swiftdpo.sequence_logps(logits, labels, **options)
    gradient = swiftdpo.sequence_logps_backward(logits, labels, grad_logps, forward)
    assert_gradient_matches(gradient, logits, labels, grad_logps, **options)

    recomputed = swiftdpo.sequence_logps_backward(logits, labels, grad_logps, **options)
    np.testing.assert_array_equal(recomputed, gradient)

    for given in ({"forward": forward}, options):
        buffer = logits.copy()
        assert swiftdpo.sequence_logps_backward(buffer, labels, grad_logps, out=buffer, **given) is buffer
        np.testing.assert_array_equal(buffer, gradient)


@pytest.mark.parametrize("shift", [True, False])
@pytest.mark.parametrize("average", [True, False])
def test_autograd(shift, average):
    logits, labels = batch(1000, 4, 6, seed=13)
    grad_logps, options = np.array([1.0, -0.5, 2.0, 3.0]), dict(shift=shift, average=average)
    leaf = torch_oracles.tensor(logits)
    logps = torch_oracles.sequence_logps(leaf, labels, **options)
    logps.backward(torch.tensor(grad_logps))
    out = swiftdpo.sequence_logps(logits, labels, **options)
    np.testing.assert_allclose(out.logps, logps.detach(), atol=5 * TOKEN_TOLERANCE)
    gradient = swiftdpo.sequence_logps_backward(logits, labels, grad_logps, out)
    np.testing.assert_allclose(gradient, leaf.grad, rtol=1e-5, atol=1e-6)


def test_gradient_rows_sum_to_zero():
    logits, labels = batch(1000, seed=14)
    gradient = swiftdpo.sequence_logps_backward(logits, labels, np.ones(3))
    np.testing.assert_allclose(gradient.sum(axis=2, dtype=np.float64), 0, atol=2e-6)


def test_the_gradient_of_zero_is_zero():
    logits, labels = batch(17, seed=15)
    assert not swiftdpo.sequence_logps_backward(logits, labels, np.zeros(3)).any()


# Slices of larger tensors


@pytest.mark.parametrize("vocab_size, width", [(5, 8), (17, 32), (1000, 1001)])
def test_row_stride(vocab_size, width):
    """A vocabulary padded by the model: the padding is neither read nor written, and nothing is copied."""
    logits, labels = batch(vocab_size, seed=16)
    wide = np.full((3, 4, width), NAN, np.float32)
    view = wide[:, :, :vocab_size]
    view[:] = logits
    out, expected = swiftdpo.sequence_logps(view, labels), swiftdpo.sequence_logps(logits, labels)
    for name, value in expected._asdict().items():
        np.testing.assert_array_equal(getattr(out, name), value)
    grad_logps = np.array([1.0, 2.0, 3.0])
    gradient = swiftdpo.sequence_logps_backward(logits, labels, grad_logps)
    np.testing.assert_array_equal(swiftdpo.sequence_logps_backward(view, labels, grad_logps), gradient)
    swiftdpo.sequence_logps_backward(view, labels, grad_logps, forward=out, out=view)
    np.testing.assert_array_equal(view, gradient)
    assert np.isnan(wide[:, :, vocab_size:]).all()


# From logits to the loss and back


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("average", [True, False])
def test_chain_rule(label_smoothing, average):
    """logits -> logps -> loss -> gradient by logps -> gradient by logits, and autograd through it all."""
    rng = np.random.default_rng(17)
    logits = [rng.normal(0, 3, (5, 9, 97)).astype(np.float32) for _ in range(2)]
    labels = [rng.integers(0, 97, (5, 9)) for _ in range(2)]
    for responses, cut in zip(labels, (2, 4), strict=True):
        responses[:, :cut] = -100
        responses[2, 6:] = -100
    ref = [rng.normal(-4 if average else -25, 1, 5) for _ in range(2)]

    forwards = [swiftdpo.sequence_logps(*pair, average=average) for pair in zip(logits, labels, strict=True)]
    out = swiftdpo.dpo_loss(
        *(forward.logps for forward in forwards), *ref, beta=0.3, label_smoothing=label_smoothing
    )
    gradients = [
        swiftdpo.sequence_logps_backward(x, y, grad, forward)
        for x, y, grad, forward in zip(
            logits,
            labels,
            (out.grad_policy_chosen_logps, out.grad_policy_rejected_logps),
            forwards,
            strict=True,
        )
    ]

    leaves = [torch_oracles.tensor(values) for values in logits]
    logps = [torch_oracles.sequence_logps(x, y, average=average) for x, y in zip(leaves, labels, strict=True)]
    loss = torch_oracles.dpo(
        *logps, *map(torch.tensor, ref), beta=0.3, label_smoothing=label_smoothing
    ).mean()
    loss.backward()
    assert out.loss == pytest.approx(loss.item(), abs=5e-6)
    assert float(
        dpo(*(x.detach().numpy() for x in logps), *ref, beta=0.3, label_smoothing=label_smoothing).loss
    ) == pytest.approx(loss.item(), rel=1e-12)
    for gradient, leaf in zip(gradients, leaves, strict=True):
        np.testing.assert_allclose(gradient, leaf.grad, rtol=1e-5, atol=1e-7)
