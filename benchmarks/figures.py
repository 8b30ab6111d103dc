"""A figure: what was measured, of whom, at which size. It prints itself, and is what results.py writes."""

import dataclasses
from typing import Any, NamedTuple

from turns import Spread

LIMIT = "limit: "
"""The beginning of a name that is no contestant's, but what the machine allows."""


class Point(NamedTuple):
    who: str
    """The contestant."""
    value: Spread
    what: str = ""
    """Which of the figure's quantities; before a colon the type of the numbers."""
    x: float = 1
    """The size at which it was measured."""
    threads: int = 1
    unit: str = "s"
    """Seconds, bytes, nats or times."""


@dataclasses.dataclass
class Figure:
    name: str
    title: str
    x_label: str
    """Empty where there is one size."""
    points: list[Point]
    left_out: dict[str, str]
    """Contestants that could not take part, and why."""
    note: str = ""
    """What a reader has to know to compare."""
    measured_on: dict[str, Any] = dataclasses.field(default_factory=dict)

    def groups(self) -> list[list[Point]]:
        """What is to be compared: the points of one quantity, size and number of threads."""
        found: dict[tuple[str, float, int], list[Point]] = {}
        for point in self.points:
            found.setdefault((point.what, point.x, point.threads), []).append(point)
        return [
            found[key] for key in sorted(found, key=lambda key: (self.quantities().index(key[0]), *key[1:]))
        ]

    def quantities(self) -> list[str]:
        return list(dict.fromkeys(point.what for point in self.points))

    def print(self) -> None:
        print(f"\n{self.title}")
        for group in self.groups():
            first = group[0]
            size = f"{self.x_label} {first.x:,g}, " if self.x_label else ""
            print(f"  {first.what}{', ' * bool(first.what)}{size}{count_of_threads(first.threads)}")
            for point in group:
                print(f"    {point.who:44s} {with_spread(point):42s} {share_of_ours(point, group):>8s}")
        for who, why in self.left_out.items():
            print(f"  left out: {who} ({why})")


def count_of_threads(threads: int) -> str:
    return f"{threads} thread{'s' * (threads != 1)}"


def share_of_ours(point: Point, group: list[Point]) -> str:
    """How many times our value: ours is the group's first."""
    ours = next((other.value.median for other in group if other.who.startswith("swiftdpo")), 0.0)
    return f"{point.value.median / ours:.2f}x" if ours else ""


SCALES = {
    "s": [("s", 1.0), ("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9)],
    "bytes": [("GB", 1e9), ("MB", 1e6), ("KB", 1e3), ("bytes", 1.0)],
}


def scale(value: float, unit: str) -> tuple[str, float]:
    """The unit in which a value reads best."""
    scales = SCALES.get(unit, [(unit, 1.0)])
    return next((found for found in scales if abs(value) >= found[1]), scales[-1])


def digits(value: float) -> str:
    """Three of them."""
    if value and abs(value) < 0.01:
        return f"{value:.1e}"
    return f"{value:.{max(0, 2 - (len(str(int(abs(value)))) - 1))}f}" if value else "0"


def plain(point: Point) -> str:
    unit, size = scale(point.value.median, point.unit)
    return f"{digits(point.value.median / size)} {unit}"


def with_spread(point: Point) -> str:
    """The median, and the middle half of the runs where there were several."""
    _, size = scale(point.value.median, point.unit)
    low, high = (digits(bound / size) for bound in point.value[1:])
    return plain(point) + (f" ({low} to {high})" if point.value.low != point.value.high else "")
