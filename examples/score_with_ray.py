"""Scores a data set of stored log-probabilities on many machines: a Ray Data map over its Parquet files.

    pip install './bindings/python[arrow]' 'ray[data]'
    python examples/score_with_ray.py SCORES PARTS... --loss ipo --beta 0.1

Each task streams one file and writes its scores beside the others in the folder SCORES; what comes back are
sums and counts, one set for each batch. They are folded in the files' order, so that the summary has the same
bits for any number of workers, and those of `python -m swiftdpo score` in one process.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from swiftdpo.scoring import FileScores, Job, score_file, summary


def score_with_ray(
    paths: list[Path], job: Job, out: Path, concurrency: int | None = None
) -> list[FileScores]:
    """The files' scores, in the order of `paths`. Ray must be able to see the files from every worker."""
    import ray.data

    job.check()
    out.mkdir(parents=True, exist_ok=True)

    def score(row: dict[str, Any]) -> dict[str, Any]:
        path = Path(row["path"])
        return {
            "number": row["number"],
            "scores": score_file(path, job, out / f"{row['number']:05}-{path.name}"),
        }

    rows = [{"number": number, "path": str(path.resolve())} for number, path in enumerate(paths)]
    partitions = ray.data.from_items(rows, override_num_blocks=len(rows))
    results = partitions.map(score, concurrency=concurrency).take_all()
    return [result["scores"] for result in sorted(results, key=lambda result: int(result["number"]))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="a folder for the scores")
    parser.add_argument("paths", type=Path, nargs="+", help="Parquet files")
    parser.add_argument("--loss", default="sigmoid")
    parser.add_argument("--beta", type=float, default=0.1)
    parser.add_argument(
        "--workers", type=int, help="tasks at once; default: as many as Ray has processors for"
    )
    arguments = parser.parse_args()
    job = Job((arguments.loss,), {"beta": arguments.beta})
    files = score_with_ray(arguments.paths, job, arguments.out, arguments.workers)
    print(json.dumps(summary(files)))


if __name__ == "__main__":
    main()
