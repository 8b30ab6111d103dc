"""A plot of each figure, as PNG and as SVG: lines where there are sizes to compare, else bars."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from figures import LIMIT, Figure, Point, count_of_threads, plain
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import EngFormatter, FuncFormatter, NullFormatter
from PIL import Image

OURS, OURS_TOO = "#1f5fa8", "#6fa3da"
INK, FAINT = "#333333", "#8a8a8a"
BAR = "#c9ccd1"
# A library has one colour in all plots.
LINES = {
    "PyTorch, autograd, with rewards": "#a8325c",
    "PyTorch, autograd": "#d9541e",
    "PyTorch, compiled": "#f0a36b",
    "PyTorch, logcumsumexp": "#d9541e",
    "PyTorch, cumsum (": "#f0a36b",
    "PyTorch, cumsum, compiled": "#b58900",
    "ListMLE": "#8a6fb8",
    "NumPy": "#3a9a8f",
    "JAX": "#4c9a2a",
}
UNITS = {"s": "s", "bytes": "B", "nats": ""}
STYLE = {
    "svg.hashsalt": "swiftdpo",
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#bbbbbb",
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.titlesize": 9.5,
    "figure.titlesize": 11.5,
}
NARROWEST_FOR_LOGARITHMS = 200
"""From which ratio on the shortest bar would not be seen beside the longest."""


def line_colour(who: str, ours: list[str]) -> str:
    if who in ours:
        return OURS if who == ours[0] else OURS_TOO
    return next((colour for beginning, colour in LINES.items() if who.startswith(beginning)), FAINT)


def draw_lines(figure: Figure) -> Canvas:
    """A panel for each number of threads."""
    counts = sorted({point.threads for point in figure.points})
    names = list(dict.fromkeys(point.who for point in figure.points))
    ours = [name for name in names if name.startswith("swiftdpo")]
    canvas, axes = plt.subplots(
        1,
        len(counts),
        figsize=(3.7 * len(counts) + 2.6, 3.7),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for threads, axis in zip(counts, axes[0], strict=True):
        for who in reversed(names):  # ours last, on top of the others
            line = sorted(
                (point for point in figure.points if (point.who, point.threads) == (who, threads)),
                key=lambda point: point.x,
            )
            xs = [point.x for point in line]
            colour = line_colour(who, ours)
            width = 2.4 if who in ours else 1.4
            medians = [point.value.median for point in line]
            axis.plot(xs, medians, color=colour, linewidth=width, marker="o", markersize=2 + width, label=who)
            low, high = [point.value.low for point in line], [point.value.high for point in line]
            axis.fill_between(xs, low, high, alpha=0.15, color=colour, linewidth=0)
        axis.set(xscale="log", yscale="log", xlabel=figure.x_label, title=count_of_threads(threads))
        axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
        axis.yaxis.set_major_formatter(EngFormatter("s", places=0))
        axis.yaxis.set_minor_formatter(NullFormatter())
        axis.grid(True, color="0.93")
        axis.set_axisbelow(True)
    axes[0][0].set_ylabel("time of a call")
    handles, labels = axes[0][0].get_legend_handles_labels()
    canvas.legend(handles[::-1], labels[::-1], loc="outside right center", frameon=False, fontsize=8.5)
    return canvas


def _bars(axis: Axes, points: list[Point], names: list[str], ours: str) -> None:
    """At the places of `names`, from above; the limit is a line across."""
    here = {point.who: point for point in points if not point.who.startswith(LIMIT)}
    values = [point.value.median for point in points]
    logarithmic = min(values) > 0 and max(values) / min(values) > NARROWEST_FOR_LOGARITHMS
    if logarithmic:
        axis.set_xscale("log")
        axis.set_xlim(min(values) / 3, max(values) * 12)
    else:
        widest = min(max(point.value.high for point in points), 1.5 * max(values))
        axis.set_xlim(0, 1.28 * widest)
    for place, who in enumerate(names):
        if who not in here:
            continue
        point = here[who]
        colour = OURS if who == ours else OURS_TOO if who.startswith("swiftdpo") else BAR
        axis.barh(place, point.value.median, height=0.7, color=colour)
        if point.value.low != point.value.high:
            axis.plot(point.value[1:], [place, place], color=INK, linewidth=0.9, alpha=0.7)
        axis.annotate(
            plain(point).replace(" us", " µs"),
            (min(point.value.high, axis.get_xlim()[1] / 1.28), place),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8.5,
            fontweight="bold" if who.startswith("swiftdpo") else "normal",
        )
    for point in points:
        if point.who.startswith(LIMIT):
            axis.axvline(point.value.median, color=INK, linewidth=1.1, linestyle=(0, (3, 2)), zorder=4)
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.set_yticks(range(len(names)), names)
    axis.tick_params(axis="y", length=0)
    axis.tick_params(axis="x", labelbottom=False, length=0)
    axis.tick_params(axis="x", which="minor", length=0)
    axis.spines["bottom"].set_visible(False)


def draw_bars(figure: Figure) -> Canvas:
    """A panel for each quantity, at the first size and with the most threads; a row for each type."""
    first = figure.points[0].x
    threads = max(point.threads for point in figure.points)
    points = [point for point in figure.points if (point.x, point.threads) == (first, threads)]
    rows: dict[str, dict[str, list[Point]]] = {}
    for point in points:
        kind, colon, quantity = point.what.partition(": ")
        row, column = (kind, quantity) if colon else ("", kind)
        rows.setdefault(row, {}).setdefault(column, []).append(point)
    names = [
        list(dict.fromkeys(p.who for panel in row.values() for p in panel if not p.who.startswith(LIMIT)))
        for row in rows.values()
    ]
    columns = max(len(row) for row in rows.values())
    heights = [len(found) + 1.4 for found in names]
    canvas, axes = plt.subplots(
        len(rows),
        columns,
        figsize=(max(7.4, 2.6 + 2.9 * columns), 0.24 * sum(heights) + 0.9),
        squeeze=False,
        layout="constrained",
        height_ratios=heights,
    )
    limits = list(dict.fromkeys(p.who.removeprefix(LIMIT) for p in points if p.who.startswith(LIMIT)))
    for (kind, row), row_axes, found in zip(rows.items(), axes, names, strict=True):
        for axis in row_axes[len(row) :]:
            axis.axis("off")
        for (quantity, panel), axis in zip(row.items(), row_axes, strict=False):
            _bars(axis, panel, found, ours=points[0].who)
            heading = f"{kind}: {quantity}" if kind else quantity
            logarithmic = " (logarithmic)" * (axis.get_xscale() == "log")
            axis.set_title(heading + logarithmic, loc="left")
            if axis is not row_axes[0]:
                axis.tick_params(labelleft=False)
    if limits:
        handle = plt.Line2D([], [], color=INK, linewidth=1.1, linestyle=(0, (3, 2)))
        canvas.legend(
            [handle], [f"limit: {', '.join(limits)}"], loc="outside lower right", frameon=False, fontsize=8.5
        )
    return canvas


def has_sizes(figure: Figure) -> bool:
    return len({point.x for point in figure.points}) > 2


def title(figure: Figure) -> str:
    """Bars are of one number of threads, which panels of lines tell themselves."""
    threads = max(point.threads for point in figure.points)
    counts = threads > 1 and not has_sizes(figure) and "thread" not in figure.title
    return figure.title + f", {count_of_threads(threads)}" * counts


def footer(figure: Figure) -> str:
    """On what, in short: RESULTS.md has all versions."""
    versions = figure.measured_on["versions"]
    named = [f"{name} {versions[name]}" for name in ("swiftdpo", "torch", "jax", "trl") if name in versions]
    return f"{figure.measured_on['processor']}, {figure.measured_on['instruction_set']}; {', '.join(named)}"


def draw(figure: Figure, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with plt.rc_context(STYLE):
        canvas = draw_lines(figure) if has_sizes(figure) else draw_bars(figure)
        canvas.suptitle(title(figure), x=0.01, ha="left", fontweight="bold")
        canvas.supxlabel(footer(figure), x=0.01, ha="left", fontsize=7.5, color=FAINT)
        metadata: dict[str, dict[str, Any]] = {
            "svg": {"Date": None, "Creator": None},
            "png": {"Software": None},
        }
        for kind, facts in metadata.items():
            canvas.savefig(folder / f"{figure.name}.{kind}", dpi=120, metadata=facts)
        plt.close(canvas)
    png = folder / f"{figure.name}.png"
    Image.open(png).convert("RGB").quantize(96).save(png, optimize=True)  # a third of the bytes
