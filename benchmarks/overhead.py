"""What one call costs before it computes anything: from C, and from Python beside the peers."""

import subprocess
import tempfile
from pathlib import Path

import heads
from figures import Figure, Point
from turns import Contestant, Spread, stop, take_turns, taking_part

ROOT = Path(__file__).resolve().parents[1]
LIBRARY_FOLDER = ROOT / ".build" / "release"
WHATS = {1: "one pair", 8: "eight pairs"}
KINDS = {"reference": "", "free": ", no reference"}
TYPES = {"f32": "float32", "f64": "float64"}


def from_c() -> dict[int, dict[str, Spread]]:
    """By the number of pairs, and by who calls."""
    with tempfile.TemporaryDirectory() as folder:
        program = f"{folder}/call_overhead"
        flags = ["-O2", f"-I{ROOT / 'include'}", f"-L{LIBRARY_FOLDER}", f"-Wl,-rpath,{LIBRARY_FOLDER}"]
        source = ROOT / "benchmarks" / "call_overhead.c"
        subprocess.run(["cc", *flags, str(source), "-o", program, "-lswiftdpo"], check=True)
        printed = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    found: dict[int, dict[str, Spread]] = {}
    for line in printed.splitlines():
        dtype, kind, pairs, *nanoseconds = line.split()
        low, median, high = (1e-9 * float(value) for value in nanoseconds)
        who = f"swiftdpo, from C, {TYPES[dtype]}{KINDS[kind]}"
        found.setdefault(int(pairs), {})[who] = Spread(median, low, high)
    return found


def run(quick: bool) -> Figure:
    calls = from_c()
    contestants = {who: Contestant(make) for who, make in taking_part(heads.CONTESTANTS, quick).items()}
    found: list[Point] = []
    for pairs, what in WHATS.items():
        size = {"batch": pairs, "threads": 1}
        times = take_turns(contestants, size, rounds=5 if quick else 15, seconds=4)
        found += [Point(who, time, what) for (who, _), time in times.items()]
        found += [Point(who, time, what) for who, time in calls[pairs].items()]
    title = "One call: DPO loss and gradient"
    return Figure("overhead", title, "", found, stop(contestants))
