"""What the library weighs: bytes on disk, time to load and to import, beside the peers; and a call from C."""

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from figures import Figure, points
from turns import Time

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = ROOT / ".build" / "release" / "libswiftdpo.so"
PACKAGES = ["numpy", "swiftdpo", "torch", "jax", "choix"]


def stripped_size() -> int:
    with tempfile.TemporaryDirectory() as folder:
        copy = f"{folder}/libswiftdpo.so"
        subprocess.run(["strip", "-o", copy, LIBRARY], check=True)
        return os.path.getsize(copy)


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
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def load_seconds() -> float:
    """dlopen in a fresh process, which has libc and libm already."""
    return seconds_of("import ctypes", f"ctypes.CDLL({str(LIBRARY)!r})")


def import_seconds(package: str) -> float:
    return seconds_of("", f"import {package}")


def call_overhead() -> dict[str, float]:
    """Nanoseconds for one pair from C, as benchmarks/call_overhead.c prints them."""
    source = ROOT / "benchmarks" / "call_overhead.c"
    with tempfile.TemporaryDirectory() as folder:
        program = f"{folder}/call_overhead"
        flags = ["-O2", f"-I{ROOT / 'include'}", f"-L{LIBRARY.parent}", f"-Wl,-rpath,{LIBRARY.parent}"]
        subprocess.run(["cc", *flags, str(source), "-o", program, "-lswiftdpo"], check=True)
        printed = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    found = {}
    for line in printed.splitlines():
        name, _, value = line.rpartition(":")
        if value.strip().split()[0].replace(".", "", 1).isdigit():
            found[name.strip()] = float(value.split()[0])
    return found


def run(quick: bool) -> Figure:
    rounds = 3 if quick else 9
    present = [name for name in PACKAGES if importlib.util.find_spec(name)]
    seconds: dict[str, list[float]] = {}
    for _ in range(rounds):
        seconds.setdefault("dlopen libswiftdpo.so", []).append(load_seconds())
        for package in present:
            seconds.setdefault(f"import {package}", []).append(import_seconds(package))
    times = {name: Time.of(values) for name, values in seconds.items()}
    notes = {
        "library, stripped, bytes": stripped_size(),
        "one call from C, ns": call_overhead(),
    }
    return Figure("footprint", "Load and import time", "", "seconds", points(times, 1, 1), notes)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    run(parser.parse_args().quick).print()
