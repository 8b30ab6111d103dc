"""A figure: what was measured, for whom, at which size. It prints itself, and is what report.py draws."""

from typing import Any, NamedTuple

from turns import Time


class Point(NamedTuple):
    who: str
    """The contestant."""
    x: float
    """The size at which it was measured."""
    threads: int
    time: Time
    """Seconds; of a limit, the seconds that the machine needs at the least."""


class Figure(NamedTuple):
    name: str
    title: str
    x_label: str
    y_label: str
    points: list[Point]
    notes: dict[str, Any] = {}  # noqa: RUF012 (never changed)
    """Figures that are no times: megabytes, bytes, ratios."""

    def print(self) -> None:
        print(f"\n{self.title}")
        for threads in sorted({point.threads for point in self.points}):
            for x in sorted({point.x for point in self.points}):
                here = [point for point in self.points if (point.threads, point.x) == (threads, x)]
                if not here:
                    continue
                ours = here[0].time.median
                print(f"  {self.x_label} {x:g}, {threads} thread{'s' * (threads != 1)}")
                for point in here:
                    print(f"    {point.who:52s} {duration(point.time)}  {point.time.median / ours:8.2f}x")
        for name, value in self.notes.items():
            print(f"  {name}: {value}")


def points(times: dict[str, Time], x: float, threads: int) -> list[Point]:
    return [Point(who, x, threads, time) for who, time in times.items()]


def duration(time: Time) -> str:
    """The median, and the middle half of the runs."""
    for unit, size in (("s ", 1.0), ("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9)):
        if time.median >= size or unit == "ns":
            break
    median, low, high = (value / size for value in time)
    return f"{median:8.2f} {unit} ({low:.2f} to {high:.2f})"
