"""What the library weighs beside the peers: bytes on disk, and the time to load or import it."""

import importlib.metadata
import subprocess
import sys
import tempfile
from pathlib import Path

from figures import Figure, Point
from machine import version
from turns import Spread

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = ROOT / ".build" / "release" / "libswiftdpo.so"
# The module of each package.
PACKAGES = {
    "swiftdpo": "swiftdpo",
    "numpy": "numpy",
    "torch": "torch",
    "jax": "jax",
    "trl": "trl",
    "liger-kernel": "liger_kernel",
    "choix": "choix",
}
SHARED_OBJECT = "swiftdpo: the library"


def stripped_size() -> int:
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / LIBRARY.name
        subprocess.run(["strip", "-o", copy, LIBRARY], check=True)
        return copy.stat().st_size


def installed_size(package: str) -> int:
    """Without what it depends on; bytecode does not count."""
    files = importlib.metadata.files(package) or []
    paths = [Path(str(file.locate())) for file in files if file.suffix != ".pyc"]
    return sum(path.stat().st_size for path in paths if path.is_file())


def seconds_of(before: str, statement: str) -> float:
    """In a fresh interpreter."""
    lines = [
        before,
        "import time",
        "start = time.perf_counter()",
        statement,
        "print(time.perf_counter() - start)",
    ]
    command = [sys.executable, "-c", "\n".join(lines)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(printed.splitlines()[-1])


def run(quick: bool) -> Figure:
    present = {package: module for package, module in PACKAGES.items() if version(package)}
    sizes = {SHARED_OBJECT: stripped_size()} | {package: installed_size(package) for package in present}
    # dlopen in a fresh process, which has libc and libm already.
    statements = {SHARED_OBJECT: ("import ctypes", f"ctypes.CDLL({str(LIBRARY)!r})")}
    statements |= {package: ("", f"import {module}") for package, module in present.items()}
    seconds: dict[str, list[float]] = {}
    for _ in range(1 if quick else 5):
        for who, statement in statements.items():
            seconds.setdefault(who, []).append(seconds_of(*statement))
    found = [
        Point(who, Spread.of([float(size)]), "bytes on disk", unit="bytes") for who, size in sizes.items()
    ]
    found += [Point(who, Spread.of(values), "time to load or import") for who, values in seconds.items()]
    left_out = {package: "not installed" for package in PACKAGES if package not in present}
    note = "Sizes are those of a package's own files, without what it depends on."
    return Figure("footprint", "Size and start", "", found, left_out, note)
