"""Contestants that take turns: the fair way to time things on a machine that is shared and noisy.

Each contestant is a process of its own, so that one's idle threads, allocator or settings don't touch
another's. Round after round each is called once (or some hundred times, for calls of microseconds) in the
same order. Medians are reported, with the range of the middle half.
"""

import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

# PyTorch at its best on a CPU: an allocator that keeps its temporaries mapped.
WARM_MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(1 << 33), "MALLOC_TRIM_THRESHOLD_": str(1 << 34)}
WARM_UP = 2

Call = Callable[[], object]


class Prepared(NamedTuple):
    """A call that changes its input: `prepare` is not timed."""

    prepare: Call
    call: Call


class Time(NamedTuple):
    """Seconds for one call."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, seconds: list[float]) -> "Time":
        if len(seconds) < 2:
            return cls(*seconds * 3)
        quarter, median, three_quarters = statistics.quantiles(seconds, n=4, method="inclusive")
        return cls(median, quarter, three_quarters)


def _serve(
    make: Callable[..., dict[str, Call | Prepared]], arguments: dict[str, Any], pipe: Connection
) -> None:
    try:
        calls = make(**arguments)
    except ImportError as error:  # a peer that is not installed is left out, and the report says so
        pipe.send(error)
        return
    pipe.send(list(calls))
    while (request := pipe.recv()) is not None:
        name, repeats = request
        entry = calls[name]
        prepare, call = entry if isinstance(entry, Prepared) else (None, entry)
        if prepare:
            prepare()
        start = time.perf_counter()
        for _ in range(repeats):
            call()
        pipe.send((time.perf_counter() - start) / repeats)


class Contestant:
    """`make(**arguments)` gives the calls by name, in a process with `environment` added to this one's."""

    def __init__(
        self,
        make: Callable[..., dict[str, Call | Prepared]],
        environment: dict[str, str] | None = None,
        **arguments: Any,
    ) -> None:
        before = dict(os.environ)
        os.environ.update(environment or {})
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(make, arguments, theirs), daemon=True)
        self.process.start()
        os.environ.clear()
        os.environ.update(before)
        answer = self.pipe.recv()
        self.missing = str(answer) if isinstance(answer, ImportError) else None
        self.names: list[str] = [] if self.missing else answer

    def time(self, name: str, repeats: int) -> float:
        self.pipe.send((name, repeats))
        seconds: float = self.pipe.recv()
        return seconds

    def stop(self) -> None:
        if not self.missing:
            self.pipe.send(None)
        self.process.join()


def take_turns(contestants: dict[str, Contestant], rounds: int, repeats: int = 1) -> dict[str, Time]:
    """The time of each call, by the names of contestant and call. Stops the contestants."""
    seconds: dict[str, list[float]] = {}
    for turn in range(rounds + WARM_UP):
        for who, contestant in contestants.items():
            for name in contestant.names:
                taken = contestant.time(name, repeats)
                if turn >= WARM_UP:
                    seconds.setdefault(f"{who}: {name}" if name else who, []).append(taken)
    for who, contestant in contestants.items():
        contestant.stop()
        if contestant.missing:
            print(f"  left out: {who} ({contestant.missing})")
    return {name: Time.of(values) for name, values in seconds.items()}
