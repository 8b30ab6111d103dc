"""What a second thread is worth to us: computed of the other figures' times with one and with two."""

from figures import Figure, Point
from turns import Spread


def run(figures: list[Figure]) -> Figure:
    """At each figure's largest size."""
    found = []
    for figure in figures:
        times = {(point.who, point.what, point.x, point.threads): point.value for point in figure.points}
        both = [
            key for key in times if key[3] == 1 and (*key[:3], 2) in times and key[0].startswith("swiftdpo")
        ]
        for who, what, x, _ in both:
            if x == max(key[2] for key in both):
                gain = times[who, what, x, 1].median / times[who, what, x, 2].median
                name = f"{who}: {what or figure.title.partition(',')[0]}"
                found.append(Point(name, Spread.of([gain]), threads=2, unit="times"))
    return Figure("scaling", "Two threads: how many times as fast as one, at the largest size", "", found, {})
