"""Which tokens of a batch count, how much, and how they lie: packed, masked, weighted, at any address."""

import numpy as np
import pytest
import swiftdpo
import torch
from calls import results_equal
from logits_oracle import TYPES, bits, empty_like, exact_rows, rounded
from numpy.lib.stride_tricks import as_strided
from test_logits_types import assert_gradient, assert_logps

B, T, V = 4, 6, 37
LENGTHS = [4, 0, 6, 1]
OFFSETS = np.concatenate([[0], np.cumsum(LENGTHS)])
GRAD = np.array([1.0, -0.5, 2.0, 0.75])


def batch(dtype="float32", seed=0):
    rng = np.random.default_rng(seed)
    given, exact = rounded(rng.normal(0, 5, (B, T, V)), dtype)
    labels = rng.integers(0, V, (B, T))
    labels[rng.random((B, T)) < 0.2] = -100
    return given, exact, labels


def packed(values):
    """The sequences' first LENGTHS rows, one after another."""
    parts = [values[b, :length] for b, length in enumerate(LENGTHS)]
    return torch.cat(parts) if isinstance(values, torch.Tensor) else np.concatenate(parts)


OPTIONS = {
    "plain": {},
    "average": {"average": True},
    "capped": {"softcap": 3.0, "temperature": 1.5},
    "weighted": {"token_weights": np.random.default_rng(1).normal(0, 2, (B, T))},
    "weighted in single": {"token_weights": np.random.default_rng(1).normal(0, 2, (B, T)).astype(np.float32)},
    "masked": {"mask": np.random.default_rng(2).random((B, T)) < 0.6, "average": True},
    "LD-DPO": {"ld_lengths": np.array([2, 0, 3, 9]), "ld_alpha": 0.3},
    "LD-DPO, masked": {
        "ld_lengths": np.array([1, 5, 2, 0]),
        "ld_alpha": 0.0,
        "mask": np.random.default_rng(3).random((B, T)) < 0.8,
    },
}


def of_rows(name):
    return name in ("mask", "token_weights")


@pytest.mark.parametrize("shift", [True, False])
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("dtype", TYPES)
def test_every_option_against_its_definition(dtype, options, shift):
    given, exact, labels = batch(dtype)
    options = OPTIONS[options] | {"shift": shift}
    average = options.get("average", False)
    rows = exact_rows(exact, labels, **{name: value for name, value in options.items() if name != "average"})
    out = swiftdpo.sequence_logps(given, labels, **options)
    assert_logps(out, rows, labels, dtype, average=average)
    for choice in ({"forward": out}, options):
        gradient = swiftdpo.sequence_logps_backward(given, labels, GRAD, out=empty_like(given), **choice)
        assert_gradient(gradient, rows, labels, GRAD, dtype, average=average)


@pytest.mark.parametrize("shift", [True, False])
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("dtype", TYPES)
def test_packed_sequences_give_the_bits_of_padded_ones(dtype, options, shift):
    given, _, labels = batch(dtype, seed=4)
    for b, length in enumerate(LENGTHS):
        labels[b, length:] = -100
    options = OPTIONS[options] | {"shift": shift, "by_products": True}
    flat = {name: packed(value) if of_rows(name) else value for name, value in options.items()}
    padded = swiftdpo.sequence_logps(given, labels, **options)
    out = swiftdpo.sequence_logps(packed(given), packed(labels), offsets=OFFSETS, **flat)
    for name, expected in padded._asdict().items():
        if name in ("logps", "num_tokens"):
            assert results_equal(getattr(out, name), expected)
        elif name != "options":
            whole = np.zeros((B, T), expected.dtype)
            whole[:, : expected.shape[1]] = expected
            assert results_equal(getattr(out, name), packed(whole)), name

    expected = swiftdpo.sequence_logps_backward(given, labels, GRAD, padded, out=empty_like(given))
    gradient = swiftdpo.sequence_logps_backward(
        packed(given), packed(labels), GRAD, out, out=empty_like(packed(given))
    )
    assert bits(gradient) == bits(packed(expected))


@pytest.mark.parametrize("kind", [np.bool_, np.uint8])
def test_a_mask_is_as_good_as_ignored_labels(kind):
    given, _, labels = batch(seed=5)
    mask = np.random.default_rng(5).random((B, T)) < 0.5
    expected = swiftdpo.sequence_logps(given, np.where(mask, labels, -100))
    labels[~mask & (labels != -100)] = V + 7  # labels that are masked are not looked at
    assert results_equal(swiftdpo.sequence_logps(given, labels, mask=mask.astype(kind)), expected)


def test_the_weights_of_ld_dpo_written_out():
    """alpha log pi(y) + (1 - alpha) log pi(y up to the shorter response's length) (Liu et al. 2024)."""
    given, _, labels = batch("float64", seed=6)
    full = swiftdpo.sequence_logps(given, labels)
    lengths, alpha = np.minimum(full.num_tokens, full.num_tokens[::-1]), 0.25
    out = swiftdpo.sequence_logps(given, labels, ld_lengths=lengths, ld_alpha=alpha)
    head = swiftdpo.sequence_logps(given, labels, ld_lengths=lengths, ld_alpha=0.0)
    np.testing.assert_allclose(out.logps, alpha * full.logps + (1 - alpha) * head.logps, rtol=1e-14)
    assert results_equal(out.token_logps, full.token_logps)
    np.testing.assert_array_equal(out.num_tokens, full.num_tokens)


def test_weights_of_one_change_nothing():
    given, _, labels = batch(seed=7)
    expected = swiftdpo.sequence_logps(given, labels)
    ones = np.ones((B, T))
    assert results_equal(swiftdpo.sequence_logps(given, labels, token_weights=ones, mask=ones > 0), expected)
    far = np.full(B, T)
    assert results_equal(swiftdpo.sequence_logps(given, labels, ld_lengths=far, ld_alpha=0.1), expected)


def test_a_weight_of_zero_hides_an_impossible_label():
    given, _, labels = batch(seed=8)
    labels[:] = 3
    given[2, 1, 3] = -np.inf
    weights = np.ones((B, T))
    weights[2, 2] = 0
    out = swiftdpo.sequence_logps(given, labels, token_weights=weights)
    assert out.token_logps[2, 1] == -np.inf and np.isfinite(out.logps).all()
    assert not swiftdpo.sequence_logps_backward(given, labels, GRAD, out)[2, 1].any()


@pytest.mark.parametrize("average", [True, False])
@pytest.mark.parametrize("offsets", [[0], [0, 0, 0]])
def test_batches_without_rows(offsets, average):
    sequences = len(offsets) - 1
    given = np.empty((0, 5), np.float16), np.empty(0, np.int64)
    out = swiftdpo.sequence_logps(*given, offsets=offsets, average=average)
    assert out.logps.tolist() == [0.0] * sequences and out.num_tokens.tolist() == [0] * sequences
    assert swiftdpo.sequence_logps_backward(*given, np.ones(sequences), out).shape == (0, 5)


def test_sequences_without_tokens_have_log_probability_0():
    given, _, labels = batch(seed=9)
    labels[1:3] = -100
    for options in OPTIONS.values():
        out = swiftdpo.sequence_logps(given, labels, **options)
        assert out.logps[[1, 2]].tolist() == [0.0, 0.0] and np.isfinite(out.logps).all()
        gradient = swiftdpo.sequence_logps_backward(given, labels, GRAD, out)
        assert not gradient[1:3].any() and np.isfinite(gradient).all()


# Layout


@pytest.mark.parametrize("dtype", TYPES)
def test_rows_at_any_address_and_stride(dtype):
    """Rows that begin at every alignment of their type within a cache line give the same bits."""
    vocab_size, rows = 150, 4
    given, _ = rounded(np.random.default_rng(10).normal(0, 5, (1, rows, vocab_size)), dtype)
    labels = np.array([[3, 149, 0, 77]])
    expected = swiftdpo.sequence_logps(given, labels, by_products=True)
    gradient = bits(swiftdpo.sequence_logps_backward(given, labels, [1.5], expected, out=empty_like(given)))
    for offset in (*range(17), 31):
        for stride in (vocab_size, vocab_size + 1, vocab_size + 29):
            buffer = empty_like(given).reshape(-1)[:1].repeat(offset + rows * stride)
            view = buffer[offset:].reshape(1, rows, stride)[:, :, :vocab_size]
            view[:] = given
            out = swiftdpo.sequence_logps(view, labels, by_products=True)
            assert results_equal(out, expected)
            assert swiftdpo.sequence_logps_backward(view, labels, [1.5], out, out=view) is view
            assert bits(view.clone() if isinstance(view, torch.Tensor) else view.copy()) == gradient


def test_a_huge_stride():
    """Two rows that lie half a gigabyte apart in memory that is never touched in between."""
    far = 1 << 27
    buffer = np.zeros(far + 8, np.float32)  # fresh pages cost nothing
    rows = as_strided(buffer, (1, 2, 5), (0, 4 * far, 4))
    rows[0] = np.random.default_rng(11).normal(size=(2, 5))
    labels = np.array([[1, 4]])
    out = swiftdpo.sequence_logps(rows, labels, shift=False)
    assert results_equal(out, swiftdpo.sequence_logps(rows.copy(), labels, shift=False))
    expected = swiftdpo.sequence_logps_backward(rows.copy(), labels, [1.0], out)
    assert results_equal(
        swiftdpo.sequence_logps_backward(rows, labels, [1.0], out, out=rows).copy(), expected
    )


# Refusals


@pytest.mark.parametrize(
    ("offsets", "message"),
    [
        ([0, 2, 5], r"^offsets\[2\] is 5; expected 6, the number of rows"),
        ([0, 2, 7], r"^offsets\[2\] is 7; expected 6, the number of rows"),
        ([1, 2, 6], r"^offsets\[0\]: offsets must rise from 0"),
        ([0, 4, 2, 6], r"^offsets\[2\]: offsets must rise from 0"),
        ([0, 2**62, 6], r"^offsets\[2\]: offsets must rise from 0"),
        ([0, -(2**62), 6], r"^offsets\[1\]: offsets must rise from 0"),
        ([[0, 6]], r"^offsets must have one dimension"),
        ([], r"^offsets"),
    ],
)
def test_offsets_that_cut_no_batch(offsets, message):
    with pytest.raises((ValueError, TypeError), match=message):
        swiftdpo.sequence_logps(np.zeros((6, 5), np.float32), np.zeros(6, np.int64), offsets=offsets)


def test_packed_logits_have_two_dimensions():
    with pytest.raises(ValueError, match=r"^logits has 3 dimensions; expected 2, \(N, V\)"):
        swiftdpo.sequence_logps(np.zeros((2, 3, 5), np.float32), np.zeros((2, 3), np.int64), offsets=[0, 6])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"mask": np.full((2, 3), 2, np.uint8)}, ValueError, r"^mask\[0, 1\]: a yes-or-no value"),
        ({"mask": np.ones((2, 3), np.int64)}, TypeError, r"^mask has dtype int64; expected bool or uint8"),
        ({"mask": np.ones((2, 2), bool)}, ValueError, r"^mask has shape \(2, 2\); expected \(2, 3\)"),
        ({"token_weights": np.full((2, 3), np.nan)}, ValueError, r"^token_weights\[0, 1\]: values must be"),
        ({"token_weights": np.ones(3)}, ValueError, r"^token_weights has shape \(3,\); expected \(2, 3\)"),
        ({"ld_alpha": 0.5}, ValueError, r"^ld_alpha weighs the tokens beyond ld_lengths, which are missing"),
        ({"ld_alpha": 1.5, "ld_lengths": [1, 1]}, ValueError, r"^ld_alpha: ld_alpha must be in \[0, 1\]"),
        ({"ld_lengths": [1]}, ValueError, r"^ld_lengths has shape \(1,\); expected \(2,\)"),
        ({"ld_lengths": [1.0, 2.0]}, TypeError, r"^ld_lengths has dtype float64; expected int64"),
        *[
            ({"temperature": value}, ValueError, r"^1 / temperature: logit_scale must be")
            for value in (0.0, -1.0, np.nan, np.inf, 1e-320)
        ],
        *[({"softcap": value}, ValueError, r"^softcap: softcap must be") for value in (-1.0, np.nan, np.inf)],
        ({"softcap": "30"}, TypeError, r"^softcap: "),
    ],
)
@pytest.mark.parametrize("function", ["sequence_logps", "sequence_logps_backward", "vocab_shard"])
def test_options_that_mean_nothing(function, options, error, message):
    given = [np.zeros((2, 3, 5), np.float32), np.zeros((2, 3), np.int64)]
    given += {"sequence_logps": [], "sequence_logps_backward": [[1.0, 1.0]], "vocab_shard": [0]}[function]
    with pytest.raises(error, match=message):
        getattr(swiftdpo, function)(*given, **options)
