"""`python -m swiftdpo`: what the library at hand is, and scores of stored log-probabilities."""

import argparse
import importlib.metadata
import json
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from ._typing import FirstChoice, Ties, Unlisted
from .blas import blas_info
from .build import build_info
from .dpo import FDivergence

if TYPE_CHECKING:
    from .scoring import FileScores, Job

FRAMEWORKS = ("numpy", "torch", "trl", "jax", "pyarrow", "scipy-openblas32")

NUMBERS = {
    "beta": "strength of the KL regularisation (default 0.1)",
    "label_smoothing": "probability that a label is flipped",
    "margin": "subtracted from the difference of rewards",
    "f_alpha_divergence_coef": "of alpha_divergence",
    "discopop_tau": "temperature of discopop",
    "tie_strength": "of rao_kupper and davidson",
    "reward_scale": "factor of reward_gaps",
    "alphapo_alpha": "of alphapo",
    "kl": "estimate of KL(pi || ref), of kto",
    "delta": "mean of rewards, of bco",
    "desirable_weight": "factor of desirable responses, of kto and bco",
    "undesirable_weight": "factor of the others",
}
CHOICES: dict[str, Any] = {
    "f_divergence_type": FDivergence,
    "unlisted": Unlisted,
    "first_choice": FirstChoice,
    "ties": Ties,
}
OF_RANKINGS = {"beta", "top", "unlisted", "first_choice", "ties"}
OF_RESPONSES = {"beta", "desirable_weight", "undesirable_weight", "reference_free"}
OF_PAIRS = {*NUMBERS, "f_divergence_type", "reference_free", "loss_weights"} - {
    "kl",
    "delta",
    "desirable_weight",
    "undesirable_weight",
}
ALLOWED = {
    "plackett_luce": OF_RANKINGS,
    "kto": OF_RESPONSES | {"kl"},
    "apo_zero_unpaired": OF_RESPONSES | {"kl"},
    "bco": OF_RESPONSES | {"delta"},
}
"""The options of losses that stand alone; all others are of pairs."""


def info() -> int:
    """Version, kernels, threads and BLAS, and the frameworks that are installed."""
    build, blas = build_info(), blas_info()
    lines = {
        "version": build.version,
        "compiler": build.compiler,
        "instruction set": build.instruction_set,
        "threads": build.num_threads,
        "library": Path(__file__).with_name("libswiftdpo.so.0"),
        "BLAS": f"{blas.function} of {blas.path}" if blas else "none found",
    }
    for name in FRAMEWORKS:
        try:
            lines[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            lines[name] = "not installed"
    for name, value in lines.items():
        print(f"{name:16} {value}")
    return 0


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(prog="python -m swiftdpo", description=__doc__)
    commands = result.add_subparsers(dest="command", required=True)
    commands.add_parser("info", help="version, instruction set, threads, BLAS, frameworks")
    score = commands.add_parser(
        "score",
        help="score Parquet files of log-probabilities",
        description="Losses, rewards and accuracy of every row, in bounded memory. Columns have the names of "
        "the arguments of swiftdpo.dpo_loss (policy_chosen_logps, ...), for kto, apo_zero_unpaired and bco "
        "those of single responses (policy_logps, ref_logps, desirable), or, as lists, those of "
        "swiftdpo.plackett_luce_loss. A column of lists where a number is asked for holds a response's "
        "tokens, and is summed.",
        epilog="Exit status: 0, or 1 if rows break a rule. These are named, and left out.",
    )
    score.add_argument(
        "paths", nargs="+", type=Path, metavar="FILE", help="Parquet files, or folders of them"
    )
    score.add_argument(
        "--loss", action="append", metavar="NAME", help="a loss_type, several times for a mixture"
    )
    score.add_argument("--loss-weights", type=float, nargs="+", metavar="W", help="of a mixture")
    score.add_argument(
        "--column", action="append", default=[], metavar="ARGUMENT=NAME", help="a column's name"
    )
    score.add_argument(
        "--out", type=Path, help="a Parquet file, or folder for several, for the scores of each row"
    )
    score.add_argument("--json", action="store_true", help="the summary as JSON")
    score.add_argument("--show", type=int, default=10, metavar="N", help="faulty rows to name (default 10)")
    score.add_argument("--reference-free", action="store_true", help="leave the reference out")
    score.add_argument("--top", type=int, help="only the first choices of a ranking were observed")
    for name, text in NUMBERS.items():
        score.add_argument(f"--{name.replace('_', '-')}", type=float, help=text)
    for name, kind in CHOICES.items():
        score.add_argument(f"--{name.replace('_', '-')}", choices=get_args(kind))
    return result


def job_of(arguments: argparse.Namespace) -> "Job":
    """What the command line asks for."""
    from .scoring import Job

    losses = tuple(arguments.loss or ["sigmoid"])
    allowed = ALLOWED.get(losses[0], OF_PAIRS) if len(losses) == 1 else OF_PAIRS
    given = {
        name: getattr(arguments, name)
        for name in sorted(OF_PAIRS.union(*ALLOWED.values()))
        if getattr(arguments, name) not in (None, False)
    }
    if unknown := given.keys() - allowed:
        raise ValueError(f"--{min(unknown).replace('_', '-')} is no option of {', '.join(losses)}")
    columns = {}
    for text in arguments.column:
        name, equals, column = text.partition("=")
        if not equals:
            raise ValueError(f"--column {text}: expected ARGUMENT=NAME")
        columns[name] = column
    job = Job(losses, given, columns)
    job.check()
    return job


def files_of(paths: Sequence[Path]) -> list[Path]:
    """The Parquet files, those of folders in the order of their names."""
    files = []
    for path in paths:
        found = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
        if not found:
            raise ValueError(f"{path}: no Parquet files")
        files += found
    return files


def report(files: "list[FileScores]", arguments: argparse.Namespace) -> None:
    from .scoring import summary

    faults = [(file.path, fault) for file in files for fault in file.faults]
    for path, fault in faults[: arguments.show]:
        print(f"{path}: row {fault.row}: {fault.reason}", file=sys.stderr)
    if (others := sum(file.num_faults for file in files) - len(faults[: arguments.show])) > 0:
        print(f"... and {others} more", file=sys.stderr)
    numbers = summary(files)
    if arguments.json:
        print(json.dumps(numbers))
    else:
        for name, value in numbers.items():
            print(f"{name:18} {value:.6g}" if isinstance(value, float) else f"{name:18} {value}")


def score(arguments: argparse.Namespace) -> int:
    """Scores files one after the other, and prints a summary."""
    import pyarrow.parquet as pq
    from tqdm import tqdm

    from .scoring import score_file

    job = job_of(arguments)
    paths = files_of(arguments.paths)
    out = arguments.out
    if out is not None and len(paths) > 1:
        out.mkdir(parents=True, exist_ok=True)
    rows = sum(pq.read_metadata(path).num_rows for path in paths)
    files = []
    # A bar for people at a terminal; nothing in logs.
    with tqdm(total=rows, unit="row", unit_scale=True, disable=None) if rows else nullcontext() as bar:
        for number, path in enumerate(paths):
            to = out / f"{number:05}-{path.name}" if out is not None and len(paths) > 1 else out
            files.append(score_file(path, job, to, bar.update if bar is not None else None))
    report(files, arguments)
    return 1 if any(file.num_faults for file in files) else 0


def main(argv: Sequence[str] | None = None) -> int:
    command_line = parser()
    arguments = command_line.parse_args(argv)
    if arguments.command == "info":
        return info()
    try:
        return score(arguments)
    except (ValueError, TypeError, OSError, ImportError) as error:
        command_line.exit(2, f"swiftdpo score: {error}\n")


if __name__ == "__main__":
    sys.exit(main())
