"""What the library at hand is, and how many threads it uses."""

from typing import NamedTuple

from . import _core


class BuildInfo(NamedTuple):
    """See `build_info`."""

    version: str
    """Version of the library: "major.minor.patch"."""
    compiler: str
    """Name and version of the compiler that built it."""
    instruction_set: str
    """Kernels that it chose on this machine: "baseline", "avx2", "avx512" or "neon"."""
    num_threads: int
    """See `num_threads`."""


def build_info() -> BuildInfo:
    """The library's version and compiler, and what it chose on this machine."""
    return BuildInfo(*_core.build_info())


def num_threads() -> int:
    """How many threads one call may use, its caller's among them.

    The default is the environment's SWIFTDPO_NUM_THREADS, or the processors that this process may run on.
    """
    return _core.num_threads()


def set_num_threads(threads: int) -> None:
    """Chooses how many threads one call may use: 1 to 1024, or 0 for the default.

    Results are the same bits for every number.
    """
    _core.set_num_threads(threads)
