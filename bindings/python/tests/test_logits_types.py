"""Logits of every type: how exact results are, what stays uncopied, and where gradients may be written."""

import tracemalloc

import ml_dtypes
import mpmath
import numpy as np
import pytest
import swiftdpo
import torch
from calls import results_equal
from logits_oracle import TYPES, bits, empty_like, exact_gradient, exact_logps, exact_rows, numbers, rounded

#: Absolute error of a log-probability of a token; for double precision relative to the largest number in it.
TOKEN_TOLERANCE = {"float32": 1e-6, "float16": 1e-6, "bfloat16": 1e-6, "float64": 1e-14}
#: Half the distance of neighbours, relative to them, and the smallest number's half.
ROUNDING = {
    "float32": (2.0**-24, 2.0**-150),
    "float64": (2.0**-53, 2.0**-1075),
    "float16": (2.0**-11, 2.0**-25),
    "bfloat16": (2.0**-8, 2.0**-134),
}


def batch(dtype, vocab_size, sequences=2, length=4, spread=4.0, seed=0):
    """Logits, their exact values, and labels with a prompt."""
    rng = np.random.default_rng(seed)
    given, exact = rounded(rng.normal(0, spread, (sequences, length, vocab_size)), dtype)
    labels = rng.integers(0, vocab_size, (sequences, length))
    labels[0, :2] = -100
    return given, exact, labels


def assert_logps(out, exact, labels, dtype, **options):
    """Every row's and every sequence's result against the exact rows."""
    shape = out.log_normalizers.shape
    size = 1 if dtype != "float64" else np.maximum(1, abs(exact.log_normalizers) + abs(exact.token_logps))
    tolerance = TOKEN_TOLERANCE[dtype] * size
    token_logps = np.zeros(shape)
    token_logps[tuple(map(slice, out.token_logps.shape))] = out.token_logps
    assert (abs(token_logps.ravel() - exact.token_logps) <= tolerance).all()
    assert (abs(out.log_normalizers.ravel() - exact.log_normalizers) <= tolerance).all()
    logps, counts = exact_logps(exact, labels, **options)
    np.testing.assert_array_equal(out.num_tokens, counts)
    np.testing.assert_allclose(out.logps, logps, rtol=1e-15, atol=np.sum(tolerance * np.ones(labels.size)))


def assert_gradient(gradient, exact, labels, grad_logps, dtype, **options):
    """Exact but for the rounding of the result, and of p, whose logarithm is that of a number near 1.

    In single precision probabilities below 2^-124 may be taken for 0.
    """
    expected, terms = exact_gradient(exact, labels, grad_logps, **options)
    relative, absolute = ROUNDING[dtype]
    double = dtype == "float64"
    with np.errstate(divide="ignore"):
        log_p = np.where(exact.softmax > 0, np.log(exact.softmax), 0)
    factors = abs(log_p) + 8 + (abs(exact.log_normalizers)[:, None] if double else 0)
    slack = 2.0 ** (-53 if double else -24) * terms * factors
    underflow = 0 if double else 2.0**-124 * terms.max(axis=1, keepdims=True, initial=0)
    error = abs(numbers(gradient).reshape(expected.shape) - expected)
    assert (error <= 1.001 * relative * abs(expected) + slack + underflow + absolute).all()


@pytest.mark.parametrize("vocab_size", [1, 2, 7, 15, 16, 17, 31, 33, 64, 65, 257, 32003])
@pytest.mark.parametrize("dtype", TYPES)
def test_log_probabilities_and_gradients(dtype, vocab_size):
    given, exact, labels = batch(dtype, vocab_size, seed=vocab_size)
    rows = exact_rows(exact, labels)
    out = swiftdpo.sequence_logps(given, labels)
    assert_logps(out, rows, labels, dtype)
    grad_logps = [1.5, -0.25]
    gradient = swiftdpo.sequence_logps_backward(given, labels, grad_logps, out, out=empty_like(given))
    assert_gradient(gradient, rows, labels, grad_logps, dtype)


@pytest.mark.parametrize("dtype", TYPES)
def test_wide_rows(dtype):
    """256k entries in +-50: the accuracy that the header promises."""
    rng = np.random.default_rng(1)
    logits = rng.uniform(-50, 50, (1, 3, 1 << 18))
    logits[0, 2] = (logits[0, 2] - 50) / 2  # a row with a peak, as models have them
    logits[0, 2, 77] = 50
    given, exact = rounded(logits, dtype)
    labels = np.array([[5, exact[0, 1].argmax(), 77]])
    out = swiftdpo.sequence_logps(given, labels, shift=False)
    assert_logps(out, exact_rows(exact, labels, shift=False), labels, dtype)


@pytest.mark.parametrize("dtype", TYPES)
def test_mpmath(dtype):
    """Without any floating-point sum."""
    given, exact, labels = batch(dtype, 40, sequences=1, spread=20.0, seed=2)
    labels[labels < 0] = 3
    out = swiftdpo.sequence_logps(given, labels, shift=False)
    with mpmath.workdps(50):
        for t, label in enumerate(labels[0]):
            row = [mpmath.mpf(float(x)) for x in exact[0, t]]
            expected = row[label] - mpmath.log(mpmath.fsum(map(mpmath.exp, row)))
            allowed = TOKEN_TOLERANCE[dtype] * max(1, max(map(abs, row)) if dtype == "float64" else 1)
            assert abs(out.token_logps[0, t] - expected) <= allowed


@pytest.mark.parametrize("dtype", TYPES)
def test_in_place(dtype):
    given, _, labels = batch(dtype, 100, seed=3)
    separate = swiftdpo.sequence_logps_backward(given, labels, [1.0, 2.0], out=empty_like(given))
    in_place = swiftdpo.sequence_logps_backward(given, labels, [1.0, 2.0], out=given)
    assert in_place is given and bits(given) == bits(separate)


@pytest.mark.parametrize("dtype", TYPES[:3])
def test_a_new_gradient_has_the_type_of_the_logits(dtype):
    given, _, labels = batch(dtype, 20, seed=4)
    gradient = swiftdpo.sequence_logps_backward(given, labels, [1.0, 2.0])
    assert gradient.dtype == dtype
    assert bits(gradient) == bits(swiftdpo.sequence_logps_backward(given, labels, [1.0, 2.0], out=given))


# bfloat16


def test_bfloat16_of_ml_dtypes_is_that_of_tensors():
    tensor, exact, labels = batch("bfloat16", 100, seed=5)
    array = exact.astype(ml_dtypes.bfloat16)
    forward = swiftdpo.sequence_logps(array, labels)
    assert results_equal(forward, swiftdpo.sequence_logps(tensor, labels))
    new = swiftdpo.sequence_logps_backward(array, labels, [1.0, 2.0], forward)
    assert new.dtype == ml_dtypes.bfloat16
    assert swiftdpo.sequence_logps_backward(array, labels, [1.0, 2.0], forward, out=array) is array
    swiftdpo.sequence_logps_backward(tensor, labels, [1.0, 2.0], forward, out=tensor)
    assert bits(array) == bits(new) == bits(tensor)


def test_a_gradient_of_tensors_of_bfloat16_needs_an_output():
    tensor, _, labels = batch("bfloat16", 10)
    with pytest.raises(TypeError, match=r"^out is required for tensors of bfloat16"):
        swiftdpo.sequence_logps_backward(tensor, labels, [1.0, 2.0])


def test_outputs_of_another_type_are_refused():
    logits = {dtype: batch(dtype, 10)[0] for dtype in TYPES}
    labels = batch("float32", 10)[2]
    for dtype in TYPES:
        for other in set(TYPES) - {dtype}:
            with pytest.raises(TypeError, match=f"^out has dtype {other}; expected {dtype}, as logits"):
                swiftdpo.sequence_logps_backward(logits[dtype], labels, [1.0, 2.0], out=logits[other])


def test_tensors_of_bfloat16_are_no_weights():
    given, _, labels = batch("float32", 10)
    with pytest.raises(TypeError, match=r"^token_weights: bfloat16 is not taken here"):
        swiftdpo.sequence_logps(given, labels, token_weights=torch.ones(2, 4, dtype=torch.bfloat16))


# Labels


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
@pytest.mark.parametrize("dtype", [np.int64, np.int32])
def test_labels_of_both_widths(dtype, kind):
    given, _, labels = batch("float32", 50, seed=6)
    expected = swiftdpo.sequence_logps(given, labels)
    narrow = kind(labels.astype(dtype))
    assert results_equal(swiftdpo.sequence_logps(given, narrow), expected)
    gradient = swiftdpo.sequence_logps_backward(given, narrow, [1.0, 2.0])
    assert bits(gradient) == bits(swiftdpo.sequence_logps_backward(given, labels, [1.0, 2.0]))


@pytest.mark.parametrize("dtype", [np.int64, np.int32])
def test_labels_are_not_copied(dtype):
    logits, labels = np.zeros((1, 1 << 16, 2), np.float16), np.zeros((1, 1 << 16), dtype)
    tracemalloc.start()
    out = swiftdpo.sequence_logps(logits, labels)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    rows = (out.token_logps, out.log_normalizers, out.row_flags)
    assert peak < sum(array.nbytes for array in rows) + labels.nbytes / 2


@pytest.mark.parametrize("dtype", [np.int64, np.int32])
def test_a_label_out_of_range_is_named(dtype):
    labels = np.zeros((2, 3), dtype)
    labels[1, 2] = 5
    with pytest.raises(ValueError, match=r"^labels\[1, 2\]: a label must be"):
        swiftdpo.sequence_logps(np.zeros((2, 3, 5), np.float32), labels)
