"""Worths of items fitted to rankings, beside choix: the 2002 season of NASCAR, 36 races of 43 drivers."""

import json
from pathlib import Path

from figures import Figure, Point
from turns import Calls, Contestant, stop, take_turns

RACES = Path(__file__).parents[1] / "examples" / "data" / "nascar2002.json"
DRIVERS = 83


def _races() -> list[list[int]]:
    """Without the drivers who only ever came last in their races: their worth has no maximum."""
    return [
        [driver for driver in race if driver < DRIVERS] for race in json.loads(RACES.read_text())["races"]
    ]


def swiftdpo_fit() -> Calls:
    import swiftdpo

    races = _races()
    return {"": lambda: swiftdpo.fit_plackett_luce(races, tolerance=1e-12, standard_errors=False)}


def choix_ilsr() -> Calls:
    import choix

    races = _races()
    return {"": lambda: choix.ilsr_rankings(DRIVERS, races, tol=1e-12, max_iter=1000)}


def choix_mm() -> Calls:
    import choix

    races = _races()
    return {"": lambda: choix.mm_rankings(DRIVERS, races, tol=1e-12, max_iter=10_000)}


def run(quick: bool) -> Figure:
    makes = {"swiftdpo": swiftdpo_fit, "choix, I-LSR": choix_ilsr, "choix, MM": choix_mm}
    contestants = {who: Contestant(make) for who, make in makes.items()}
    times = take_turns(contestants, {}, rounds=5 if quick else 9, seconds=15, warm_up=1)
    title = "Worths of 83 drivers from 36 races (NASCAR 2002), to 1e-12"
    return Figure("fit", title, "", [Point(who, time) for (who, _), time in times.items()], stop(contestants))
