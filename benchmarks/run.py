"""All benchmarks, one after the other: `make bench`, or with fewer sizes `make bench-quick`."""

import argparse
from pathlib import Path

import footprint
import fused
import heads
import logits
import machine
import rankings
import report

HERE = Path(__file__).resolve().parent
BENCHMARKS = {
    "heads": heads.run,
    "logits": logits.run,
    "rankings": rankings.run,
    "fused": fused.run,
    "footprint": footprint.run,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer sizes and rounds")
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, default=list(BENCHMARKS))
    parser.add_argument(
        "--out", type=Path, default=HERE, help="folder for results.json, RESULTS.md and plots/"
    )
    options = parser.parse_args()
    described = machine.describe()
    found = []
    for name in options.only:
        figure = BENCHMARKS[name](options.quick)
        figure.print()
        found.append(figure)
    report.write(found, described, options.out)
    print(f"\nWritten: {options.out / 'results.json'}, {options.out / 'RESULTS.md'}, {options.out / 'plots'}")


if __name__ == "__main__":
    main()
