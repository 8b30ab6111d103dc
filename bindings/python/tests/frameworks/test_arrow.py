"""swiftdpo.arrow: numbers where they lie, offsets as they are, and refusals by name."""

from __future__ import annotations

import doctest

import numpy as np
import pyarrow as pa
import pytest
import swiftdpo
import swiftdpo.arrow as sa

LISTS = [[-1.0, -2.5, -3.0], [], [-4.0], [-0.5, -7.0]]
FLAT = [x for row in LISTS for x in row]


def address(array):
    """Where an Arrow array's numbers lie."""
    return array.buffers()[-1].address


class Capsule:
    """What another library hands over: PyCapsules, and no class of pyarrow's."""

    def __init__(self, array):
        self.array = array

    def __arrow_c_array__(self, requested_schema=None):
        return self.array.__arrow_c_array__(requested_schema)


class Stream:
    def __init__(self, array):
        self.array = array

    def __arrow_c_stream__(self, requested_schema=None):
        return self.array.__arrow_c_stream__(requested_schema)


@pytest.mark.parametrize("kind", [pa.list_, pa.large_list])
@pytest.mark.parametrize("element", [pa.float32(), pa.float64()])
@pytest.mark.parametrize(
    "wrap", [lambda array: array, Capsule, lambda array: Stream(pa.chunked_array([array]))]
)
def test_lists_are_not_copied(kind, element, wrap):
    array = pa.array(LISTS, kind(element))
    values, offsets = sa.ragged(wrap(array))
    assert values.ctypes.data == address(array.values)
    assert offsets.tolist() == [0, 3, 3, 4, 6]
    if kind is pa.large_list:
        assert offsets.ctypes.data == address(array.offsets)


def test_slices_begin_at_zero_and_share_their_numbers():
    array = pa.array(LISTS, pa.large_list(pa.float64()))
    values, offsets = sa.ragged(array[2:])
    assert values.ctypes.data == address(array.values) + 3 * 8
    assert offsets.tolist() == [0, 1, 3]


def test_lists_of_one_size():
    array = pa.array([[1, 2], [3, 4], [5, 6]], pa.list_(pa.int64(), 2))
    values, offsets = sa.ragged(array[1:])
    assert values.tolist() == [3, 4, 5, 6] and offsets.tolist() == [0, 2, 4]
    assert values.ctypes.data == address(array.values) + 2 * 8


def test_chunks_are_put_together():
    array = pa.array(LISTS, pa.list_(pa.float64()))
    values, offsets = sa.ragged(pa.chunked_array([array, array[:1]]))
    assert offsets.tolist() == [0, 3, 3, 4, 6, 9]
    assert values.tolist() == [*FLAT, *LISTS[0]]


def test_numbers_are_not_copied():
    array = pa.array([1.0, 2.0, 3.0])
    assert sa.numbers(array[1:]).ctypes.data == address(array) + 8
    assert sa.numbers(pa.array([True, False])).dtype == np.bool_


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: sa.numbers(pa.array([1.0, None, 2.0]), "weights"), ValueError, r"weights\[1\] is null"),
        (lambda: sa.numbers(pa.array(["a"]), "weights"), TypeError, "weights has Arrow type string"),
        (lambda: sa.numbers([1.0], "weights"), TypeError, "weights is a list"),
        (
            lambda: sa.ragged(pa.array([1.0]), "ranks"),
            TypeError,
            "ranks has Arrow type double; expected lists",
        ),
        (lambda: sa.ragged(pa.array([[1.0], None]), "ranks"), ValueError, r"ranks\[1\] is null"),
        (lambda: sa.ragged(pa.array([[1.0, None]]), "ranks"), ValueError, r"ranks\[1\] is null"),
    ],
)
def test_what_has_no_number_is_refused_by_name(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_rankings_have_the_results_of_flat_arrays():
    logps, ref = pa.array(LISTS), pa.array([[2 * x for x in row] for row in LISTS])
    rankings = pa.array([[2, 0, 1], [], [0], [1, 0]], pa.list_(pa.int32()))
    out = sa.plackett_luce_loss(logps, ref, 0.3, rankings, reduction="none")
    flat = np.array(FLAT)
    expected = swiftdpo.plackett_luce_loss(
        flat, 2 * flat, 0.3, [2, 0, 1, 0, 1, 0], offsets=[0, 3, 3, 4, 6], reduction="none"
    )
    for ours, theirs in zip(out[:4], expected[:4], strict=True):
        assert np.array_equal(ours, theirs)
    rewards = sa.lists(out.rewards, sa.ragged(logps).offsets)
    assert rewards.flatten().to_numpy().ctypes.data == out.rewards.ctypes.data
    assert [len(row) for row in rewards.to_pylist()] == [3, 0, 1, 2]


def test_lists_of_other_lengths_are_refused():
    with pytest.raises(ValueError, match="the lists of ranks are not as long"):
        sa.plackett_luce_loss(pa.array([[1.0, 2.0]]), ranks=pa.array([[1]]))


def test_columns_go_into_every_call():
    """Arrow's arrays export themselves to NumPy: pairs need nothing of this module."""
    table = pa.table({name: np.random.default_rng(i).normal(size=5) for i, name in enumerate("abcd")})
    columns = [table[name].chunk(0) for name in "abcd"]
    expected = swiftdpo.dpo_loss(*(column.to_numpy() for column in columns))
    assert swiftdpo.dpo_loss(*columns).loss == expected.loss


def test_the_example():
    failed, tried = doctest.testmod(sa)
    assert tried and not failed
