"""One step in a process of its own: what it returns, and the bytes by which the process grew during it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from turns import PATIENCE, Calls, Prepared, start


def _resident(peak: bool) -> int:
    name = "VmHWM" if peak else "VmRSS"
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def _step(make: Callable[..., Calls], size: dict[str, Any], pipe: Any) -> None:
    (call,) = make(**size).values()
    assert not isinstance(call, Prepared)
    before = _resident(peak=False)
    Path("/proc/self/clear_refs").write_text("5")  # sets the peak to what there is now
    answer = call()
    pipe.send((answer, _resident(peak=True) - before))


def first_step(
    make: Callable[..., Calls], size: dict[str, Any], environment: dict[str, str] | None = None
) -> tuple[Any, int] | None:
    """Nothing if it failed."""
    process, pipe = start(_step, (make, size), environment)
    try:
        answer: tuple[Any, int] | None = pipe.recv() if pipe.poll(PATIENCE) else None
    except EOFError:
        answer = None
    process.kill()
    process.join()
    return answer
