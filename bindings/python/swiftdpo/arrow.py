"""Arrow's arrays for swiftdpo's calls: their numbers where they lie, their list offsets as our offsets.

An array is one of pyarrow, or of any library that speaks Arrow's PyCapsule interface (polars, DuckDB,
pandas). Nothing is copied, with four exceptions that the layouts force: 32-bit offsets, and those of a
slice, become 64-bit ones that begin at 0 (8 bytes for each list, none for its numbers); booleans, which
Arrow packs in bits, become bytes; and the chunks of a chunked array are put together. Nulls have no number,
and are refused by name and position.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

try:
    import pyarrow as pa
except ImportError as error:
    raise ImportError("swiftdpo.arrow needs pyarrow: pip install 'swiftdpo[arrow]'") from error

from .rankings import PlackettLuceLoss
from .rankings import plackett_luce_loss as _plackett_luce_loss


class Ragged(NamedTuple):
    """Lists of different sizes, as the `offsets` argument of a call wants them."""

    values: npt.NDArray[Any]
    """(N,): the numbers of all lists, one after the other."""
    offsets: npt.NDArray[np.int64]
    """(B + 1,): where each list begins, from 0."""


def as_array(array: Any, name: str = "array") -> Any:
    """A pyarrow array over the memory of whatever speaks Arrow's PyCapsule interface."""
    if hasattr(array, "__arrow_c_array__") and not isinstance(array, pa.Array):
        array = pa.array(array)
    elif hasattr(array, "__arrow_c_stream__") and not isinstance(array, pa.ChunkedArray):
        array = pa.chunked_array(array)
    if isinstance(array, pa.ChunkedArray):
        array = array.chunk(0) if array.num_chunks == 1 else array.combine_chunks()
    if not isinstance(array, pa.Array):
        raise TypeError(f"{name} is a {type(array).__name__}; expected an Arrow array")
    return array


def numbers(array: Any, name: str = "array") -> npt.NDArray[Any]:
    """The numbers of an array, which has no nulls."""
    array = as_array(array, name)
    _refuse_nulls(array, name)
    kind = array.type
    if pa.types.is_boolean(kind):
        unpacked: npt.NDArray[Any] = array.to_numpy(zero_copy_only=False)
        return unpacked
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
        raise TypeError(f"{name} has Arrow type {kind}; expected numbers")
    view: npt.NDArray[Any] = array.to_numpy(zero_copy_only=True)
    return view


def is_list(kind: Any) -> bool:
    """Whether an Arrow type is one of lists."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def ragged(array: Any, name: str = "array") -> Ragged:
    """The numbers of an array of lists, and where each list begins. Neither lists nor numbers may be null."""
    array = as_array(array, name)
    if not is_list(array.type):
        raise TypeError(f"{name} has Arrow type {array.type}; expected lists")
    _refuse_nulls(array, name)
    if pa.types.is_fixed_size_list(array.type):
        offsets = np.arange(len(array) + 1, dtype=np.int64) * array.type.list_size
        return Ragged(numbers(array.flatten(), name), offsets)
    bounds = array.offsets.to_numpy(zero_copy_only=True)
    values = numbers(array.values[int(bounds[0]) : int(bounds[-1])], name)
    if bounds[0] == 0:
        return Ragged(values, bounds.astype(np.int64, copy=False))
    return Ragged(values, bounds.astype(np.int64) - bounds[0])


def lists(values: npt.NDArray[Any], offsets: npt.NDArray[Any]) -> Any:
    """The way back: results for items, such as `PlackettLuceLoss.rewards`, as an Arrow array of lists."""
    kind = pa.large_list(pa.from_numpy_dtype(values.dtype))
    buffers = [None, pa.py_buffer(np.ascontiguousarray(offsets, np.int64))]
    return pa.Array.from_buffers(kind, len(offsets) - 1, buffers, children=[pa.array(values)])


def plackett_luce_loss(
    policy_logps: Any,
    ref_logps: Any | None = None,
    beta: Any = 0.1,
    rankings: Any | None = None,
    *,
    ranks: Any | None = None,
    **options: Any,
) -> PlackettLuceLoss:
    """`swiftdpo.plackett_luce_loss` for Arrow's arrays of lists, one list for each group.

    `policy_logps`, `ref_logps`, `rankings` and `ranks` are arrays of lists of the same lengths. Results for
    items are flat; `lists` makes arrays of lists of them. `options` are the other arguments.

    >>> import pyarrow as pa, swiftdpo.arrow
    >>> logps = pa.array([[-1.0, -2.0, -3.0], [-2.0, -1.5]])
    >>> out = swiftdpo.arrow.plackett_luce_loss(logps, beta=1.0)
    >>> out.losses.round(4)
    array([0.7209, 0.9741])
    >>> swiftdpo.arrow.lists(out.rewards, [0, 3, 5]).to_pylist()
    [[-1.0, -2.0, -3.0], [-2.0, -1.5]]
    """
    first = ragged(policy_logps, "policy_logps")
    others = {"ref_logps": ref_logps, "rankings": rankings, "ranks": ranks}
    for name, array in others.items():
        if array is None:
            continue
        values, offsets = ragged(array, name)
        if not np.array_equal(offsets, first.offsets):
            raise ValueError(f"the lists of {name} are not as long as those of policy_logps")
        options[name] = values
    return _plackett_luce_loss(first.values, beta=beta, offsets=first.offsets, **options)


def _refuse_nulls(array: Any, name: str) -> None:
    if array.null_count:
        position = int(np.argmax(array.is_null().to_numpy(zero_copy_only=False)))
        raise ValueError(f"{name}[{position}] is null")
