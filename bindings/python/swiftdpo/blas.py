"""The BLAS that the fused linear head multiplies with: which one, and where it comes from."""

import importlib.util
import os
from pathlib import Path
from typing import NamedTuple

from . import _core

REMEDY = (
    "matrix products need a BLAS: pip install 'swiftdpo[fused]', or name a library with cblas_sgemm in the "
    "environment's SWIFTDPO_BLAS or to swiftdpo.use_blas"
)


class BLASInfo(NamedTuple):
    """See `blas_info`."""

    path: str
    """The file that was loaded."""
    function: str
    """Its matrix product, such as "cblas_sgemm"."""
    integer_bits: int
    """Of its sizes: 32 or 64."""
    has_bf16_gemm: bool
    """Whether it multiplies bf16 by itself; where not, bf16 is widened tile by tile."""


def use_blas(path: str | os.PathLike[str] | None) -> None:
    """Takes matrix products from a shared library with cblas_sgemm from now on; None: looks for one again."""
    global _ready
    _core.use_blas(path)
    _ready = True


def blas_info() -> BLASInfo | None:
    """The BLAS of the fused linear head; None if there is none.

    It is what `use_blas` named; else what the environment's SWIFTDPO_BLAS names; else the OpenBLAS of the
    package scipy-openblas32, which `pip install swiftdpo[fused]` brings; else one that the system's loader
    finds; else the one in NumPy's own wheel.
    """
    prepare()
    found = _core.blas_info()
    return None if found is None else BLASInfo(*found[:3], bool(found[3]))


def prepare() -> None:
    """Names the library's BLAS, before the first call that needs one."""
    global _ready
    if _ready or os.environ.get("SWIFTDPO_BLAS"):
        return
    _ready = any(_works(path) for path in _wheel()) or _core.blas_info() is not None
    _ready = _ready or any(_works(path) for path in _inside_numpy())


_ready = False


def _works(path: Path) -> bool:
    try:
        _core.use_blas(path)
    except ValueError:
        return False
    return True


def _wheel() -> list[Path]:
    """scipy-openblas32, or its sibling for 64-bit integers, without importing either."""
    found = []
    for name in ("scipy_openblas32", "scipy_openblas64"):
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin is not None:
            found += sorted((Path(spec.origin).parent / "lib").glob("libscipy_openblas*"))
    return found


def _inside_numpy() -> list[Path]:
    spec = importlib.util.find_spec("numpy")
    if spec is None or spec.origin is None:
        return []
    return sorted((Path(spec.origin).parent.parent / "numpy.libs").glob("libscipy_openblas*"))
