"""What the library at hand is."""

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


def build_info() -> BuildInfo:
    """The library's version and compiler, and the instruction set that it chose on this machine."""
    return BuildInfo(*_core.build_info())
