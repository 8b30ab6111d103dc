"""Logits and their gradient as they lie in memory: rows at a stride, in place, and nothing copied."""

import tracemalloc

import numpy as np
import pytest
import swiftdpo
from calls import B, T, V, arguments, call, results_equal
from numpy.lib.stride_tricks import as_strided

LOGITS = arguments("sequence_logps")["logits"]


def wide(values, padding=3):
    """The values as a slice of rows that are longer, with NaN in the gaps."""
    buffer = np.full((*values.shape[:2], values.shape[2] + padding), np.nan, values.dtype)
    buffer[..., : values.shape[2]] = values
    return buffer, buffer[..., : values.shape[2]]


def sliced(values):
    """The values as every other sequence of a batch of one position each, and as a batch of one sequence."""
    yield np.repeat(values[:, :1], 2, axis=0)[::2], (slice(None), slice(0, 1))
    yield np.repeat(values[:1], 2, axis=1)[:, ::2], (slice(0, 1), slice(None))


def test_rows_at_a_stride_are_read_as_they_lie():
    assert results_equal(call("sequence_logps", logits=wide(LOGITS)[1]), call("sequence_logps"))


def test_axes_of_length_one_have_any_stride():
    for logits, (sequences, positions) in sliced(LOGITS):
        labels = arguments("sequence_logps")["labels"][sequences, positions]
        expected = swiftdpo.sequence_logps(logits.copy(), labels, shift=False)
        assert results_equal(swiftdpo.sequence_logps(logits, labels, shift=False), expected)


def test_a_vocabulary_of_one():
    logits = np.zeros((B, T, 2), np.float32)[..., :1]
    assert not swiftdpo.sequence_logps(logits, np.zeros((B, T), np.int64)).logps.any()


def test_in_place_the_gradient_replaces_the_logits():
    logits = LOGITS.copy()
    assert call("sequence_logps_backward", logits=logits, out=logits) is logits
    assert results_equal(logits, call("sequence_logps_backward"))


def test_in_place_between_strided_rows_nothing_is_touched():
    buffer, logits = wide(LOGITS)
    call("sequence_logps_backward", logits=logits, out=logits)
    assert results_equal(logits.copy(), call("sequence_logps_backward"))
    assert np.isnan(buffer[..., V:]).all()


def test_into_another_array_of_the_same_stride():
    out = wide(np.zeros_like(LOGITS))[1]
    assert call("sequence_logps_backward", logits=wide(LOGITS)[1], out=out) is out
    assert results_equal(out.copy(), call("sequence_logps_backward"))


def test_a_new_array_is_contiguous_and_leaves_the_logits_alone():
    for logits in (LOGITS.copy(), wide(LOGITS)[1]):
        gradient = call("sequence_logps_backward", logits=logits, out=None)
        assert gradient.flags.c_contiguous
        assert results_equal(gradient, call("sequence_logps_backward"))
        assert results_equal(logits.copy(), LOGITS)


def test_the_backward_pass_takes_its_options_from_the_forward_pass():
    labels = np.where(
        arguments("sequence_logps")["labels"] == -100, -1, arguments("sequence_logps")["labels"]
    )
    options = {"ignore_index": -1, "shift": False, "average": True, "nonfinite": "propagate"}
    forward = swiftdpo.sequence_logps(LOGITS, labels, **options)
    given = (LOGITS, labels, [1.0, 2.0, 3.0])
    gradient = swiftdpo.sequence_logps_backward(*given, forward)
    assert results_equal(gradient, swiftdpo.sequence_logps_backward(*given, **options))


def test_options_beside_a_forward_pass_are_refused():
    with pytest.raises(
        TypeError, match=r"^forward has its options; shift, average cannot be given beside it"
    ):
        call("sequence_logps_backward", shift=True, average=True)


@pytest.mark.parametrize("function", ["sequence_logps_backward", "vocab_shard"])
def test_unknown_options_are_refused(function):
    with pytest.raises(TypeError, match=r"^unexpected keyword argument 'padding'"):
        call(function, padding=0, **({"forward": None} if function == "sequence_logps_backward" else {}))


UNEVEN = {
    "all but the last position": lambda values: np.repeat(values, 2, axis=1)[:, :T],
    "every other entry": lambda values: np.repeat(values, 2, axis=2)[..., ::2],
    "entries backwards": lambda values: values[..., ::-1],
    "rows backwards": lambda values: values[:, ::-1],
    "sequences backwards": lambda values: values[::-1],
    "one row for all": lambda values: as_strided(values, strides=(0, 0, values.itemsize)),
    "Fortran order": np.asfortranarray,
}


@pytest.mark.parametrize("layout", UNEVEN)
def test_logits_without_even_rows_are_refused(layout):
    with pytest.raises(ValueError, match=r"^logits is not laid out in rows: .*shift=True"):
        call("sequence_logps", logits=UNEVEN[layout](LOGITS.copy()))


@pytest.mark.parametrize("layout", UNEVEN)
def test_an_output_without_even_rows_is_refused_and_untouched(layout):
    out = UNEVEN[layout](np.full_like(LOGITS, 7.0))
    with pytest.raises(ValueError, match=r"^out is not laid out in rows: "):
        call("sequence_logps_backward", out=out)
    assert (out == 7.0).all()


def test_large_logits_are_not_copied():
    logits = np.zeros((2, 64, 4096), np.float32)[..., :4000]
    labels = np.ones((2, 64), np.int64)
    tracemalloc.start()
    forward = swiftdpo.sequence_logps(logits, labels)
    swiftdpo.sequence_logps_backward(logits, labels, [1.0, 1.0], forward, out=logits)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < logits.nbytes / 16
