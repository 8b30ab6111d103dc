"""All benchmarks, one after the other: `make bench`, or with fewer sizes `make bench-quick`.

Each writes its results when it is done, so that a run that is cut loses nothing. `--only` measures some, and
leaves the others' results as they are; `--draw` measures nothing.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import fit
import footprint
import fused
import heads
import logits
import machine
import overhead
import plots
import rankings
import results
import scaling
import step
from figures import Figure

HERE = Path(__file__).resolve().parent


class Benchmark(NamedTuple):
    run: Callable[[bool], Figure]
    seconds: int
    """About how long it takes on two quiet cores."""
    quick_seconds: int


BENCHMARKS = {
    "fused": Benchmark(fused.run, 430, 40),
    "logits": Benchmark(logits.run, 290, 20),
    "heads": Benchmark(heads.run, 40, 10),
    "rankings": Benchmark(rankings.run, 105, 15),
    "rankings_few": Benchmark(rankings.run_few, 15, 10),
    "fit": Benchmark(fit.run, 5, 5),
    "step": Benchmark(step.run, 75, 30),
    "overhead": Benchmark(overhead.run, 15, 10),
    "footprint": Benchmark(footprint.run, 35, 10),
}


def measure(name: str, quick: bool) -> Figure:
    measured_on = machine.describe()
    figure = BENCHMARKS[name].run(quick)
    figure.measured_on = measured_on
    return figure


def write(figures: dict[str, Figure], folder: Path) -> list[Figure]:
    """In the order of BENCHMARKS, whatever was measured first; returns what was computed of them."""
    ordered = [figures[name] for name in BENCHMARKS if name in figures]
    two_threads = scaling.run(ordered)
    if two_threads.points:
        two_threads.measured_on = ordered[0].measured_on
        ordered.append(two_threads)
    results.write(ordered, folder)
    return ordered


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer sizes and rounds")
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, default=list(BENCHMARKS))
    parser.add_argument("--draw", action="store_true", help="draw what results.json has, and write the table")
    parser.add_argument(
        "--out", type=Path, default=HERE, help="folder for results.json, RESULTS.md and plots/"
    )
    options = parser.parse_args()
    figures = {figure.name: figure for figure in results.read(options.out) if figure.name in BENCHMARKS}
    names = [] if options.draw else options.only
    expected = [
        BENCHMARKS[name].quick_seconds if options.quick else BENCHMARKS[name].seconds for name in names
    ]
    for index, name in enumerate(names):
        left = sum(expected[index:]) / 60
        print(f"\n[{index + 1}/{len(names)}] {name}; about {left:.0f} minutes to the end", flush=True)
        begin = time.monotonic()
        figures[name] = measure(name, options.quick)
        figures[name].print()
        print(f"  {time.monotonic() - begin:.0f} s", flush=True)
        write(figures, options.out)
        plots.draw(figures[name], options.out / "plots")
    ordered = write(figures, options.out)
    for figure in ordered if options.draw else ordered[-1:]:
        plots.draw(figure, options.out / "plots")
    print(f"\nWritten: {options.out / 'results.json'}, {options.out / 'RESULTS.md'}, {options.out / 'plots'}")


if __name__ == "__main__":
    main()
