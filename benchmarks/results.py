"""results.json and a Markdown table of what the benchmarks found, lost comparisons like won ones."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import machine
from figures import Figure, Point, share_of_ours, with_spread
from turns import Spread

HEADING = """\
# Benchmarks

Medians of runs that take turns, in brackets the middle half of them. The last column says how many times our
value a contestant has: below 1 it is ahead of us. Limits are what the machine allows, whoever computes.
`make bench` writes this file, `results.json` and `plots/`.
"""


def _line(point: Point) -> str:
    """Four digits: more are noise."""
    fields = point._asdict() | {"value": [float(f"{value:.4g}") for value in point.value]}
    return json.dumps(fields)


def to_json(figures: list[Figure]) -> str:
    """A point is a line, so that a change of one is a change of one line."""
    parts = []
    for figure in figures:
        fields = dataclasses.asdict(figure)
        fields.pop("points")
        head = json.dumps(fields, indent=2).removesuffix("\n}")
        lines = ",\n    ".join(_line(point) for point in figure.points)
        parts.append(f'{head},\n  "points": [\n    {lines}\n  ]\n}}')
    return "[\n" + ",\n".join(parts) + "\n]\n"


def from_json(text: str) -> list[Figure]:
    figures = []
    for fields in json.loads(text):
        points = [Point(**point | {"value": Spread(*point["value"])}) for point in fields.pop("points")]
        figures.append(Figure(**fields, points=points))
    return figures


def _table(figure: Figure) -> list[str]:
    columns = ["quantity"] if any(figure.quantities()) else []
    columns += [figure.x_label] if figure.x_label else []
    columns += ["threads", "who", "median", "of ours"]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for group in figure.groups():
        for point in group:
            cells = [point.what] if any(figure.quantities()) else []
            cells += [f"{point.x:,g}"] if figure.x_label else []
            cells += [str(point.threads), point.who, with_spread(point), share_of_ours(point, group)]
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def _versions(measured_on: dict[str, Any]) -> str:
    return ", ".join(f"{name} {version}" for name, version in measured_on["versions"].items())


def to_markdown(figures: list[Figure]) -> str:
    lines = [HEADING.rstrip()]
    for figure in figures:
        lines += ["", f"## {figure.title}", "", f"![{figure.title}](plots/{figure.name}.png)", ""]
        lines += [figure.note, ""] if figure.note else []
        lines += _table(figure)
        lines += ["", f"{machine.sentence(figure.measured_on)}. {_versions(figure.measured_on)}."]
        if figure.left_out:
            lines += [
                "",
                "Left out: " + "; ".join(f"{who} ({why})" for who, why in figure.left_out.items()) + ".",
            ]
    return "\n".join(lines) + "\n"


def read(folder: Path) -> list[Figure]:
    """What an earlier run left there."""
    results = folder / "results.json"
    return from_json(results.read_text()) if results.exists() else []


def write(figures: list[Figure], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(to_json(figures))
    (folder / "RESULTS.md").write_text(to_markdown(from_json(to_json(figures))))
