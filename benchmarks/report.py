"""results.json, a Markdown table and plots of what the benchmarks found, lost comparisons like won ones."""

import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from figures import Figure, Point, duration

OURS = "#1f5fa8"
LIMIT = "0.45"
OTHERS = ["#c4461f", "#d99a00", "#3c8a4e", "#7a4fa3", "#a0522d", "#008b8b", "#b0307a", "#6b6b00"]


def to_json(figures: list[Figure], machine: dict[str, object]) -> str:
    content: dict[str, Any] = {"machine": machine, "figures": {}}
    for figure in figures:
        content["figures"][figure.name] = {
            "title": figure.title,
            "x": figure.x_label,
            "points": [
                {"who": point.who, "x": point.x, "threads": point.threads, **point.time._asdict()}
                for point in figure.points
            ],
            "notes": figure.notes,
        }
    return json.dumps(content, indent=1) + "\n"


def to_markdown(figures: list[Figure], machine: dict[str, object]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in dict(machine["versions"]).items())  # type: ignore[call-overload]
    lines = [
        "# Benchmarks",
        "",
        "Medians of alternating runs, in brackets the middle half of them. The last column says how many "
        "times our time a contestant takes: below 1 it is faster. `make bench` writes this file, "
        "`results.json` and the plots.",
        "",
        f"{machine['processor']}, {machine['processors']} processors, {machine['memory_gib']} GiB; "
        f"{machine['system']}; load average {machine['load_average']} at the start. "
        f"swiftdpo {machine['swiftdpo']}, Python {machine['python']}, {versions}.",
    ]
    for figure in figures:
        lines += ["", f"## {figure.title}", ""]
        if figure.points:
            lines += [
                f"| {figure.x_label or 'what'} | threads | who | time | of ours |",
                "|---|---|---|---|---|",
            ]
        for group in groups(figure):
            ours = next((point.time.median for point in group if point.who.startswith("swiftdpo")), None)
            for point in group:
                size = f"{point.x:,.0f}" if figure.x_label else ""
                ratio = f"{point.time.median / ours:.2f}x" if ours else ""
                time = " ".join(duration(point.time).split())
                lines.append(f"| {size} | {point.threads} | {point.who} | {time} | {ratio} |")
        if figure.notes:
            lines += ["", *(f"- {name}: {value}" for name, value in figure.notes.items())]
    return "\n".join(lines) + "\n"


def groups(figure: Figure) -> list[list[Point]]:
    found: dict[tuple[int, float], list[Point]] = {}
    for point in figure.points:
        found.setdefault((point.threads, point.x), []).append(point)
    return list(found.values())


def style(who: str, index: int) -> dict[str, Any]:
    if who.startswith("swiftdpo"):
        dashes = "-" if who in {"swiftdpo", "swiftdpo: f32 forward"} else "--"
        return {"color": OURS, "linewidth": 2.2, "linestyle": dashes, "zorder": 3}
    if who.startswith(("memory", "GEMM")):
        return {"color": LIMIT, "linewidth": 1.2, "linestyle": ":"}
    return {"color": OTHERS[index % len(OTHERS)], "linewidth": 1.2}


def draw(figure: Figure, folder: Path) -> None:
    """Lines against the size where there are several sizes, else bars."""
    plt.rcParams |= {
        "svg.hashsalt": "swiftdpo",
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    threads = max(point.threads for point in figure.points)
    points = [point for point in figure.points if point.threads == threads]
    names = list(dict.fromkeys(point.who for point in points))
    sizes = sorted({point.x for point in points})
    suffix = f", {threads} thread{'s' * (threads > 1)}"
    if len(sizes) > 2:
        canvas, axis = plt.subplots(figsize=(7.5, 4.5), layout="constrained")
        for index, who in enumerate(names):
            line = sorted((point for point in points if point.who == who), key=lambda point: point.x)
            xs = [point.x for point in line]
            axis.plot(
                xs,
                [point.time.median for point in line],
                marker="o",
                markersize=3,
                label=who,
                **style(who, index),
            )
            low, high = [point.time.low for point in line], [point.time.high for point in line]
            axis.fill_between(xs, low, high, alpha=0.12, color=style(who, index)["color"], linewidth=0)
        axis.set(xscale="log", yscale="log", xlabel=figure.x_label, ylabel=figure.y_label)
        axis.legend(frameon=False, fontsize=8)
        axis.grid(True, color="0.92")
        axis.set_title(figure.title + suffix)
    else:
        canvas, axes = plt.subplots(
            1,
            len(sizes),
            figsize=(5.2 * len(sizes) + 2, 0.26 * len(names) + 1.4),
            layout="constrained",
            squeeze=False,
        )
        for x, axis in zip(sizes, axes[0], strict=True):
            here = sorted((point for point in points if point.x == x), key=lambda point: -point.time.median)
            colours = [style(point.who, 0)["color"] for point in here]
            axis.barh([point.who for point in here], [point.time.median for point in here], color=colours)
            axis.set(
                xscale="log",
                xlabel=figure.y_label,
                title=f"{figure.x_label} {x:,.0f}" if figure.x_label else "",
            )
        canvas.suptitle(figure.title + suffix)
    for kind in ("svg", "png"):
        metadata = {"Date": None} if kind == "svg" else {"Software": None}
        canvas.savefig(folder / f"{figure.name}.{kind}", dpi=110, metadata=metadata)
    plt.close(canvas)


def write(figures: list[Figure], machine: dict[str, object], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(to_json(figures, machine))
    (folder / "RESULTS.md").write_text(to_markdown(figures, machine))
    plots = folder / "plots"
    plots.mkdir(exist_ok=True)
    for figure in figures:
        if figure.points:
            draw(figure, plots)
