"""What a second thread is worth: computed of the other figures' times with one and with two."""

from figures import LIMIT, Figure, Point
from turns import Spread


def run(figures: list[Figure]) -> Figure:
    """At each figure's largest size."""
    found = []
    for figure in figures:
        times = {(point.who, point.what, point.x, point.threads): point for point in figure.points}
        pairs = [
            (point, times[key])
            for point in figure.points
            if point.threads == 1 and (key := (point.who, point.what, point.x, 2)) in times
        ]
        largest = max((one.x for one, _ in pairs), default=0)
        for one, two in pairs:
            if one.x != largest or one.unit != "s" or one.who.startswith(LIMIT):
                continue
            what = one.what or figure.title.partition(",")[0]
            gain = one.value.median / two.value.median
            found.append(Point(one.who, Spread.of([gain]), what, threads=2, unit="times as fast"))
    return Figure(
        "scaling", "How many times as fast two threads are as one, at the largest size", "", found, {}
    )
