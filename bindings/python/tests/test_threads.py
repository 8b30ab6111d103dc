"""The GIL is let go around long work, and only then; many threads may call at once."""

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import swiftdpo
from calls import arguments, call, results_equal


@pytest.fixture
def ticks():
    """A list that another thread lengthens whenever it gets the GIL, which nobody is made to give up."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(3600)
    ticks, stop = [], threading.Event()

    def tick():
        while not stop.is_set():
            ticks.append(None)
            time.sleep(0)

    thread = threading.Thread(target=tick)
    thread.start()
    yield ticks
    stop.set()
    thread.join()
    sys.setswitchinterval(interval)


def lets_others_run(ticks, work, tries=1000):
    for _ in range(tries):
        before = len(ticks)
        work()
        if len(ticks) != before:
            return True
    return False


def long_work():
    logps = np.zeros((4, 1 << 18))
    logits = np.zeros((1, 1 << 10, 1 << 10), np.float32)
    labels = np.zeros((1, 1 << 10), np.int64)
    return {
        "dpo_loss": lambda: swiftdpo.dpo_loss(*logps),
        "plackett_luce_loss": lambda: swiftdpo.plackett_luce_loss(logps.reshape(-1, 8)),
        "sequence_logps": lambda: swiftdpo.sequence_logps(logits, labels),
        "sequence_logps_backward": lambda: swiftdpo.sequence_logps_backward(
            logits, labels, [1.0], out=logits
        ),
    }


@pytest.mark.parametrize("function", long_work())
def test_other_threads_run_during_long_work(function, ticks):
    assert lets_others_run(ticks, long_work()[function])


@pytest.mark.parametrize("function", long_work())
def test_short_work_keeps_the_gil(function, ticks):
    given = arguments(function)
    assert not lets_others_run(ticks, lambda: getattr(swiftdpo, function)(**given))


@pytest.mark.parametrize("function", long_work())
def test_threads_that_call_at_once_get_the_same_bits(function):
    long, short = long_work()[function], call(function)
    with ThreadPoolExecutor(8) as pool:
        assert all(results_equal(result, short) for result in pool.map(lambda _: call(function), range(200)))
        if function != "sequence_logps_backward":  # which writes to its logits
            expected = long()
            assert all(results_equal(result, expected) for result in pool.map(lambda _: long(), range(8)))
