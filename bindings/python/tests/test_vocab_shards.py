"""A vocabulary cut into shards gives the results of the whole."""

import functools
import itertools

import numpy as np
import pytest
import swiftdpo
from calls import results_equal
from logits_oracle import TYPES, bits, empty_like, numbers, rounded
from swiftdpo import VocabShard, merge_vocab_shards, vocab_shard, vocab_shard_logps

B, T, V = 3, 5, 101
CUTS = [[], [40], [1, 100], [10, 20, 90], [3, 50, 51, 77], [16, 32, 48, 64, 80], [1, 2, 30, 31, 60, 99]]


def batch(dtype, seed=0):
    rng = np.random.default_rng(seed)
    given, exact = rounded(rng.normal(0, 6, (B, T, V)), dtype)
    labels = rng.integers(0, V, (B, T))
    labels[0, 1] = labels[2, 3:] = -100
    return given, exact, labels


def shards_of(logits, labels, cuts, **options):
    bounds = itertools.pairwise([0, *cuts, V])
    return [vocab_shard(logits[..., start:end], labels, start, **options) for start, end in bounds]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"shift": False, "average": True},
        {"softcap": 4.0, "temperature": 0.7},
        {
            "token_weights": np.linspace(-1, 2, B * T).reshape(B, T),
            "mask": np.arange(B * T).reshape(B, T) % 4 > 0,
        },
        {"ld_lengths": [1, 2, 0], "ld_alpha": 0.5},
    ],
)
@pytest.mark.parametrize("cuts", CUTS, ids=lambda cuts: f"{len(cuts) + 1} shards")
@pytest.mark.parametrize("dtype", TYPES)
def test_shards_give_the_results_of_the_whole(dtype, cuts, options):
    logits, _, labels = batch(dtype)
    whole = swiftdpo.sequence_logps(logits, labels, **options)
    # average, weights and lengths don't matter to a shard
    merged = merge_vocab_shards(*shards_of(logits, labels, cuts, **options))
    out = vocab_shard_logps(merged, labels, **options)
    tolerance = 1e-14 if dtype == "float64" else 2e-7
    for field in ("logps", "token_logps", "log_normalizers"):
        np.testing.assert_allclose(
            getattr(out, field), getattr(whole, field), rtol=tolerance, atol=20 * tolerance
        )
    assert results_equal(out.num_tokens, whole.num_tokens) and results_equal(out.row_flags, whole.row_flags)
    assert out[5:9] == (None,) * 4

    grad_logps = [1.0, -2.0, 0.25]
    expected = numbers(
        swiftdpo.sequence_logps_backward(logits, labels, grad_logps, whole, out=empty_like(logits))
    )
    rounding = {"float64": 1e-13, "float32": 1e-6, "float16": 2.0**-10, "bfloat16": 2.0**-7}[dtype]
    for start, end in itertools.pairwise([0, *cuts, V]):
        mine = logits[..., start:end]
        gradient = swiftdpo.sequence_logps_backward(
            mine, labels, grad_logps, out, out=mine, vocab_start=start
        )
        assert gradient is mine
    np.testing.assert_allclose(numbers(logits), expected, rtol=rounding, atol=1e-7)


def test_one_shard_is_the_whole():
    logits, _, labels = batch("float32", seed=1)
    out = vocab_shard_logps(vocab_shard(logits, labels, 0), labels)
    np.testing.assert_allclose(out.logps, swiftdpo.sequence_logps(logits, labels).logps, rtol=1e-15)


def test_what_a_shard_knows():
    logits = np.log(np.arange(1.0, 13.0)).reshape(1, 2, 6)
    shard = vocab_shard(logits[..., 2:5], [[3, 0]], 2, shift=False)
    np.testing.assert_allclose(
        shard.maxima + np.log(shard.sums), np.log([[3 + 4 + 5, 9 + 10 + 11]]), rtol=1e-15
    )
    np.testing.assert_array_equal(shard.label_logits, [[np.log(4.0), np.nan]])


@pytest.mark.parametrize("dtype", TYPES)
def test_rows_that_score_nothing_are_empty(dtype):
    logits, _, labels = batch(dtype, seed=2)
    labels[:] = -100
    shard = vocab_shard(logits, labels, 0)
    assert (shard.maxima == -np.inf).all() and not shard.sums.any() and np.isnan(shard.label_logits).all()
    out = vocab_shard_logps(merge_vocab_shards(shard, shard), labels)
    assert not out.logps.any() and not out.log_normalizers.any()


@pytest.mark.parametrize("softcap", [None, 10.0])
@pytest.mark.parametrize("dtype", TYPES)
def test_a_shard_of_masked_entries_adds_nothing(dtype, softcap):
    logits, _, labels = batch(dtype, seed=3)
    labels = np.where(labels < 0, labels, labels % 50)
    logits[..., 50:] = -np.inf
    first, empty = (
        vocab_shard(part, labels, start, softcap=softcap)
        for part, start in ((logits[..., :50], 0), (logits[..., 50:], 50))
    )
    assert (empty.maxima == -np.inf).all() and not empty.sums.any()
    for merged in (merge_vocab_shards(first, empty), merge_vocab_shards(empty, first)):
        assert results_equal(tuple(merged), tuple(first))
    merged = merge_vocab_shards(empty, empty)
    with pytest.raises(ValueError, match=r"^merged\.label_logits\[0, 1\]: a label must be"):
        vocab_shard_logps(merged, labels, softcap=softcap)


@pytest.mark.parametrize("nonfinite", ["error", "propagate"])
def test_a_label_that_no_shard_has_is_refused(nonfinite):
    logits, labels = np.zeros((1, 2, 6)), np.array([[-100, 5]])
    shards = [
        vocab_shard(logits[..., start : start + 2], labels, start, nonfinite=nonfinite) for start in (0, 2)
    ]
    with pytest.raises(ValueError, match=r"^merged\.label_logits\[0, 0\]: a label must be"):
        vocab_shard_logps(merge_vocab_shards(*shards), labels, nonfinite=nonfinite)
    logits[0, 0, 1] = np.nan
    shards = [
        vocab_shard(logits[..., start : start + 2], labels, start, nonfinite="propagate")
        for start in (0, 2, 4)
    ]
    assert np.isnan(vocab_shard_logps(merge_vocab_shards(*shards), labels, nonfinite="propagate").logps).all()


def test_merging_is_commutative_to_the_bit_and_associative_up_to_rounding():
    logits, _, labels = batch("float64", seed=4)
    shards = shards_of(logits, labels, CUTS[-1])
    for a, b in itertools.combinations(shards, 2):
        assert results_equal(tuple(merge_vocab_shards(a, b)), tuple(merge_vocab_shards(b, a)))
    expected = vocab_shard_logps(merge_vocab_shards(*shards), labels).token_logps
    for order in list(itertools.permutations(shards))[::500]:
        from_the_right = functools.reduce(lambda x, y: merge_vocab_shards(y, x), reversed(order))
        for merged in (merge_vocab_shards(*order), from_the_right):
            np.testing.assert_allclose(vocab_shard_logps(merged, labels).token_logps, expected, rtol=1e-14)


def test_extreme_shards():
    """Maxima far apart, and sums whose terms vanish."""
    logits = np.array([[[1e300, -1e300, 0.0, 700.0]]])
    for label, expected in ((0, 0.0), (1, -2e300), (3, -1e300)):
        shards = [vocab_shard(logits[..., i : i + 1], [[label]], i, shift=False) for i in range(4)]
        assert vocab_shard_logps(merge_vocab_shards(*shards), [[label]], shift=False).logps[0] == expected


def test_merging_leaves_its_arguments_alone():
    logits, _, labels = batch("float32", seed=5)
    shards = shards_of(logits, labels, [50])
    before = [np.copy(array) for shard in shards for array in shard]
    merge_vocab_shards(*shards)
    assert all(map(results_equal, (array for shard in shards for array in shard), before))
    assert merge_vocab_shards(shards[0]) is shards[0]


def test_packed_shards():
    logits, _, labels = batch("bfloat16", seed=6)
    flat, flat_labels, offsets = logits.reshape(-1, V), labels.ravel(), [0, 5, 10, 15]
    merged = merge_vocab_shards(*shards_of(flat, flat_labels, [30, 31], offsets=offsets))
    out = vocab_shard_logps(merged, flat_labels, offsets=offsets)
    expected = vocab_shard_logps(merge_vocab_shards(*shards_of(logits, labels, [30, 31])), labels)
    assert results_equal(out.logps, expected.logps) and out.log_normalizers.shape == (15,)


# Refusals


def refuse(error, message, call, *args, **options):
    with pytest.raises(error, match=message):
        call(*args, **options)


def test_refusals():
    logits, _, labels = batch("float32", seed=7)
    shard = vocab_shard(logits, labels, 0)
    refuse(ValueError, r"^vocab_start is -1; expected", vocab_shard, logits, labels, -1)
    refuse(ValueError, r"^vocab_start: the bytes", vocab_shard, logits, labels, 2**63 - 1)
    refuse(TypeError, r"^vocab_start: ", vocab_shard, logits, labels, 0.5)
    refuse(
        ValueError,
        r"^labels\[1, 2\]: a label",
        vocab_shard,
        logits,
        np.where(labels == labels[1, 2], -7, labels),
        0,
    )
    refuse(ValueError, r"^merged\.maxima has shape", vocab_shard_logps, shard, labels[:, 1:])
    refuse(ValueError, r"^labels has 1 dimensions; expected 2", vocab_shard_logps, shard, labels[0])
    refuse(
        ValueError, r"^labels has 2 dimensions; expected 1", vocab_shard_logps, shard, labels, offsets=[0, 15]
    )
    other = VocabShard(*(array[:, 1:] for array in shard))
    refuse(ValueError, r"^maxima has shape \(3, 4\); expected \(3, 5\)", merge_vocab_shards, shard, other)
    refuse(TypeError, "unexpected keyword argument 'padding'", vocab_shard_logps, shard, labels, padding=0)


def test_a_gradient_of_a_shard_needs_the_normalizers_of_all():
    logits, _, labels = batch("float32", seed=8)
    with pytest.raises(ValueError, match=r"^log_normalizers: a required pointer is NULL"):
        swiftdpo.sequence_logps_backward(logits, labels, [1.0] * 3, vocab_start=50)


def test_an_absent_label_leaves_its_shard_the_softmax_alone():
    logits, _, labels = batch("float64", seed=9)
    labels[:] = 100
    whole = swiftdpo.sequence_logps(logits, labels)
    gradient = swiftdpo.sequence_logps_backward(logits[..., :50].copy(), labels, [1.0] * 3, whole)
    assert bits(gradient) == bits(
        swiftdpo.sequence_logps_backward(logits, labels, [1.0] * 3, whole)[..., :50].copy()
    )
