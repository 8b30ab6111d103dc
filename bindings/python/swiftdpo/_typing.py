"""The types of arguments and results."""

from typing import Any, Literal, Protocol, TypeAlias, TypedDict

import numpy as np
import numpy.typing as npt


class SupportsDLPack(Protocol):
    """A tensor of another library, such as PyTorch."""

    def __dlpack__(self) -> Any: ...
    def __dlpack_device__(self) -> Any: ...


#: Results: float32 or float64, as the log-probabilities that were given.
FloatArray: TypeAlias = npt.NDArray[np.float32] | npt.NDArray[np.float64]
#: Arguments: whatever exports the buffer protocol, or DLPack from CPU memory; or nested sequences of numbers.
ArrayLike: TypeAlias = npt.ArrayLike | SupportsDLPack

#: What there is one of for each row, in double precision: a number where there is a single row.
RowValue: TypeAlias = np.float64 | npt.NDArray[np.float64]

Reduction: TypeAlias = Literal["mean", "sum", "none"]
Nonfinite: TypeAlias = Literal["error", "propagate"]
Unlisted: TypeAlias = Literal["error", "absent", "remain"]
FirstChoice: TypeAlias = Literal["best", "worst"]
Ties: TypeAlias = Literal["breslow", "efron", "average", "davidson"]
ListwiseLossType: TypeAlias = Literal["cross_entropy", "lambda", "pro"]
DivergenceKind: TypeAlias = Literal["kl", "reverse_kl", "generalized_kl", "jensen_shannon"]


class LogpsOptions(TypedDict, total=False):
    """Which tokens of logits count, and how: keyword arguments of `sequence_logps`, which explains them."""

    ignore_index: int
    shift: bool
    average: bool
    mask: ArrayLike | None
    offsets: ArrayLike | None
    token_weights: ArrayLike | None
    ld_lengths: ArrayLike | None
    ld_alpha: float
    temperature: float
    softcap: float | None
    nonfinite: Nonfinite


def known_options(options: LogpsOptions) -> LogpsOptions:
    """The options, all of which must be known."""
    if unknown := options.keys() - LogpsOptions.__annotations__.keys():
        raise TypeError(f"unexpected keyword argument {min(unknown)!r}")
    return options


def as_mask(values: ArrayLike, name: str) -> npt.NDArray[np.uint8]:
    """Booleans, as the extension takes them. Numbers are refused: more likely another array."""
    array = np.asarray(values)
    if array.dtype != np.bool_:
        raise TypeError(f"{name} has dtype {array.dtype}; expected bool")
    return array.view(np.uint8)
