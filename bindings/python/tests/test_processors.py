"""A worker that is woken is kept away from its caller's processor, and has all of its own again soon after.

Each test is a process of its own, since its workers are.
"""

import ctypes
import os
import platform
import struct
import subprocess
import sys
import time

import numpy as np
import pytest
import swiftdpo
from calls import results_equal

THREADS = 4
CALLS = 20
ONE_BLAS_THREAD = {"OPENBLAS_NUM_THREADS": "1"}  # so that there are no other threads than workers
PATIENCE = 60.0  # seconds after which a worker's processors count as lost


def call_after_pauses(calls=CALLS):
    """Workers have fallen asleep before each call; the results are those of one thread."""
    logps = np.random.default_rng(3).normal(-100, 10, (4, 1 << 16)).astype(np.float32)
    swiftdpo.set_num_threads(1)
    expected = swiftdpo.dpo_loss(*logps)
    swiftdpo.set_num_threads(THREADS)
    for _ in range(calls):
        time.sleep(0.01)
        found = swiftdpo.dpo_loss(*logps)
        assert results_equal(found, expected)


def workers():
    return [int(thread) for thread in os.listdir("/proc/self/task") if int(thread) != os.getpid()]


def await_processors(processors):
    """A worker that comes too late for its call has its processors back some time after it."""
    threads = workers()
    assert len(threads) >= THREADS - 1
    end = time.monotonic() + PATIENCE
    while any(os.sched_getaffinity(thread) != processors for thread in threads):
        assert time.monotonic() < end, [os.sched_getaffinity(thread) for thread in threads]
        time.sleep(0.001)


def workers_keep_the_processors_of_their_process():
    own = os.sched_getaffinity(0)
    call_after_pauses()
    await_processors(own)
    assert os.sched_getaffinity(0) == own


def one_processor_is_enough():
    one = {min(os.sched_getaffinity(0))}
    os.sched_setaffinity(0, one)
    call_after_pauses()
    await_processors(one)


def a_choice_of_processors_from_outside_stays():
    own = os.sched_getaffinity(0)
    call_after_pauses()
    await_processors(own)
    for processor in own:
        for thread in workers():
            os.sched_setaffinity(thread, {processor})
        call_after_pauses()
        await_processors({processor})


def works_where_a_choice_of_processors_is_refused():
    """As in a sandbox: a filter of system calls, which the workers inherit."""
    number = {"x86_64": 203, "aarch64": 122}[platform.machine()]  # of sched_setaffinity
    no_new_privileges, set_filter, filter_mode = 38, 22, 2
    load_number, equal, give = 0x20, 0x15, 0x06  # of the filter's machine
    refuse, allow = 0x00050001, 0x7FFF0000  # EPERM
    code = [(load_number, 0, 0, 0), (equal, 0, 1, number), (give, 0, 0, refuse), (give, 0, 0, allow)]
    steps = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in code))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code), ctypes.addressof(steps)))
    libc = ctypes.CDLL(None)
    if libc.prctl(no_new_privileges, 1, 0, 0, 0) or libc.prctl(set_filter, filter_mode, program, 0, 0):
        print("no filters here")
        return
    own = os.sched_getaffinity(0)
    with pytest.raises(PermissionError):
        os.sched_setaffinity(0, own)
    call_after_pauses()
    await_processors(own)


CASES = [
    workers_keep_the_processors_of_their_process,
    one_processor_is_enough,
    a_choice_of_processors_from_outside_stays,
    works_where_a_choice_of_processors_is_refused,
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_processors_of_workers(case):
    subprocess.run([sys.executable, __file__, case.__name__], check=True, env=os.environ | ONE_BLAS_THREAD)


if __name__ == "__main__":
    globals()[sys.argv[1]]()
