"""Contestants that take turns: the fair way to time things on a machine that is shared and noisy.

Each contestant is a process of its own, so that one's idle threads, allocator or settings don't touch
another's. Round after round each call is timed once, in the same order; calls of microseconds are repeated
until there is something to time. Medians are reported, with the range of the middle half.
"""

import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

# PyTorch at its best on a CPU: an allocator that keeps its temporaries mapped.
WARM_MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(1 << 33), "MALLOC_TRIM_THRESHOLD_": str(1 << 34)}
WARM_UP = 2
FEWEST_ROUNDS = 3
SAMPLE = 20e-3  # seconds that one timing takes at the least, most of them with a clock that has risen
PAUSE = 20e-3  # seconds for the threads of the one before to fall asleep; OpenMP's spin for a while
PATIENCE = 300.0  # seconds after which a contestant is given up

Call = Callable[[], object]


class Prepared(NamedTuple):
    """A call that changes its input: `prepare` is not timed, and there is one call for each."""

    prepare: Call
    call: Call


Calls = dict[str, Call | Prepared]


class Spread(NamedTuple):
    """A median, and the middle half of what was measured."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> "Spread":
        if len(values) < 2:
            return cls(*values * 3)
        quarter, median, three_quarters = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, quarter, three_quarters)


def _seconds(entry: Call | Prepared, repeats: int) -> float:
    prepare, call = entry if isinstance(entry, Prepared) else (None, entry)
    if prepare:
        prepare()
        repeats = 1
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def _serve(make: Callable[..., Calls], pipe: Any) -> None:
    """A dict of arguments asks for calls of that size, a name and a number for a time."""
    calls: Calls = {}
    while (request := pipe.recv()) is not None:
        try:
            if isinstance(request, dict):
                calls = {}  # the last size's arrays go before the next one's come
                calls = make(**request)
                pipe.send(list(calls))
            else:
                name, repeats = request
                pipe.send(_seconds(calls[name], repeats))
        except Exception as error:  # told in the results: a peer that fails must not take the rest along
            pipe.send(RuntimeError(f"{type(error).__name__}: {error}"))


def start(
    target: Callable[..., None], arguments: tuple[Any, ...], environment: dict[str, str] | None
) -> tuple[Any, Any]:
    """A process with `environment` added to this one's, and a pipe to it, whose other end it gets last."""
    context = multiprocessing.get_context("spawn")
    pipe, theirs = context.Pipe()
    process = context.Process(target=target, args=(*arguments, theirs), daemon=True)
    before = dict(os.environ)
    os.environ.update(environment or {})
    process.start()
    os.environ.clear()
    os.environ.update(before)
    theirs.close()
    return process, pipe


class Contestant:
    """`make(**size)` gives the calls by name."""

    def __init__(self, make: Callable[..., Calls], environment: dict[str, str] | None = None) -> None:
        self.process, self.pipe = start(_serve, (make,), environment)
        self.failure: str | None = None

    def send(self, request: object) -> None:
        if self.failure is None:
            try:
                self.pipe.send(request)
            except OSError:
                self.failure = "its process ended"

    def answer(self) -> Any:
        """What the process sends, or nothing if it failed, which `failure` then tells."""
        if self.failure is not None:
            return None
        try:
            found = self.pipe.recv() if self.pipe.poll(PATIENCE) else RuntimeError("no answer in time")
        except EOFError:
            found = RuntimeError("its process ended")
        if isinstance(found, Exception):
            self.failure = (str(found).strip().splitlines() or [type(found).__name__])[0]
            return None
        return found

    def time(self, name: str, repeats: int) -> float | None:
        self.send((name, repeats))
        seconds: float | None = self.answer()
        return seconds

    def stop(self) -> None:
        if self.failure is None:
            self.send(None)
            self.process.join(10)
        if self.process.is_alive():
            self.process.kill()
        self.process.join()


SLOW = ("compiled", "warm malloc", "in tiles")
"""What the names of contestants have in them that take long to begin or to run."""


def taking_part(makes: dict[str, Any], quick: bool) -> dict[str, Any]:
    """In a quick run the slow ones sit out."""
    return {who: make for who, make in makes.items() if not (quick and any(mark in who for mark in SLOW))}


def take_turns(
    contestants: dict[str, Contestant],
    size: dict[str, Any],
    rounds: int,
    seconds: float,
    warm_up: int = WARM_UP,
) -> dict[tuple[str, str], Spread]:
    """The time of each call, by the names of contestant and call.

    After `seconds` there is no further round, if there were FEWEST_ROUNDS. Contestants that fail are left
    out from there on.
    """
    names: dict[str, list[str]] = {}
    for contestant in contestants.values():
        contestant.send(size)
    for who, contestant in contestants.items():
        names[who] = contestant.answer() or []
    repeats: dict[tuple[str, str], int] = {}
    found: dict[tuple[str, str], list[float]] = {}
    end = time.monotonic() + seconds
    for turn in range(warm_up + rounds):
        if turn >= warm_up + FEWEST_ROUNDS and time.monotonic() > end:
            break
        for who, contestant in contestants.items():
            time.sleep(PAUSE)
            for name in names[who]:
                key = who, name
                taken = contestant.time(name, repeats.get(key, 1))
                if taken is None:
                    break
                if turn < warm_up:
                    repeats[key] = max(1, round(SAMPLE / max(taken, 1e-9)))
                else:
                    found.setdefault(key, []).append(taken)
    return {key: Spread.of(values) for key, values in found.items()}


def stop(contestants: dict[str, Contestant]) -> dict[str, str]:
    """Ends their processes. Who failed, and why."""
    for contestant in contestants.values():
        contestant.stop()
    return {who: contestant.failure for who, contestant in contestants.items() if contestant.failure}
