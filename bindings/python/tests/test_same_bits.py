"""The same bits for every number of threads, instruction set and split of a batch; threads beside fork."""

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import same_bits
import swiftdpo
from calls import results_equal
from logits_oracle import TYPES, bits, empty_like

THREADS = [1, 2, 3, 8]


@pytest.fixture(autouse=True)
def default_threads():
    yield
    swiftdpo.set_num_threads(0)


def large_batch(dtype=np.float32):
    """Enough rows for every one of many threads."""
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 4, (16, 24, 2048)).astype(dtype)
    return logits, rng.integers(0, 2048, (16, 24))


def forward_and_backward(logits, labels, **options):
    out = swiftdpo.sequence_logps(logits, labels, **options)
    gradient = swiftdpo.sequence_logps_backward(logits, labels, np.linspace(-1, 1, len(labels)), out)
    return (*out[:5], gradient)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_numbers_of_threads(dtype):
    logits, labels = large_batch(dtype)
    swiftdpo.set_num_threads(1)
    expected = forward_and_backward(logits, labels)
    digest = same_bits.digest()
    for threads in THREADS[1:]:
        swiftdpo.set_num_threads(threads)
        assert swiftdpo.num_threads() == threads == swiftdpo.build_info().num_threads
        assert results_equal(forward_and_backward(logits, labels), expected)
        assert same_bits.digest() == digest


def run(*, wanted, **environment):
    """What same_bits.py says in another process."""
    here = Path(same_bits.__file__)
    script = [sys.executable, here]
    process = subprocess.run(
        script, env=os.environ | environment, capture_output=True, text=True, check=True, cwd=here.parent
    )
    isa, threads, digest = process.stdout.split()
    assert (isa, threads) == wanted
    return digest


BEST = swiftdpo.build_info().instruction_set
SETS = ["neon"] if BEST == "neon" else ["baseline", "avx2", "avx512"]


@pytest.mark.parametrize("isa", SETS[: SETS.index(BEST) + 1])
def test_instruction_sets(isa):
    assert run(SWIFTDPO_ISA=isa, SWIFTDPO_NUM_THREADS="3", wanted=(isa, "3")) == same_bits.digest()


PASSED_OVER = {
    "": BEST,
    "avx": f"{BEST} (SWIFTDPO_ISA=avx unknown)",
    **{isa: f"{BEST} (SWIFTDPO_ISA={isa} not on this machine)" for isa in SETS[SETS.index(BEST) + 1 :]},
}


@pytest.mark.parametrize("wish, told", PASSED_OVER.items())
def test_instruction_sets_that_are_passed_over_are_told(wish, told):
    program = "import swiftdpo; print(swiftdpo.build_info().instruction_set)"
    process = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"SWIFTDPO_ISA": wish},
        capture_output=True,
        text=True,
        check=True,
    )
    assert process.stdout == told + "\n"


@pytest.mark.parametrize("options", same_bits.OPTIONS)
@pytest.mark.parametrize("dtype", TYPES)
def test_a_batch_split_by_sequences(dtype, options):
    logits, labels = same_bits.batch(dtype)
    whole = swiftdpo.sequence_logps(logits, labels, **options)
    grad_logps = np.array([1.5, -0.25, 3.0])
    gradient = swiftdpo.sequence_logps_backward(logits, labels, grad_logps, whole, out=empty_like(logits))
    for rows in (slice(0, 1), slice(1, 2), slice(1, 3), slice(0, 2)):
        part = swiftdpo.sequence_logps(logits[rows], labels[rows], **options)
        expected = tuple(x if x is None else x[rows] for x in whole[:-1])
        assert all(x is y is None or results_equal(x, y) for x, y in zip(part[:-1], expected, strict=True))
        partial = swiftdpo.sequence_logps_backward(
            logits[rows], labels[rows], grad_logps[rows], part, out=empty_like(logits[rows])
        )
        assert bits(partial) == bits(gradient[rows])


@pytest.mark.parametrize("dtype", TYPES)
def test_a_batch_split_into_rows(dtype):
    logits, labels = same_bits.batch(dtype)
    whole = swiftdpo.sequence_logps(logits, labels, shift=False, by_products=True)
    for b, t in np.ndindex(labels.shape):
        row = np.s_[b : b + 1, t : t + 1]
        part = swiftdpo.sequence_logps(logits[row], labels[row], shift=False, by_products=True)
        assert all(results_equal(part[i], whole[i][row]) for i in range(2, 9))


def test_sixty_four_threads_at_once():
    logits, labels = large_batch()
    expected = forward_and_backward(logits, labels)
    small = [(logits[b : b + 1, :3, :100], labels[b : b + 1, :3] % 100) for b in range(16)]
    expected_small = [forward_and_backward(*batch) for batch in small]
    barrier = threading.Barrier(64)

    def work(i):
        barrier.wait()
        if i % 4 == 0:
            return results_equal(forward_and_backward(logits, labels), expected)
        return all(
            results_equal(forward_and_backward(*small[i % 16]), expected_small[i % 16]) for _ in range(20)
        )

    with ThreadPoolExecutor(64) as pool:
        assert all(pool.map(work, range(64)))


def test_the_number_of_threads_may_change_during_calls():
    logits, labels = large_batch()
    expected = forward_and_backward(logits, labels)
    stop = threading.Event()

    def change():
        while not stop.is_set():
            for threads in THREADS:
                swiftdpo.set_num_threads(threads)

    changer = threading.Thread(target=change)
    changer.start()
    try:
        assert all(results_equal(forward_and_backward(logits, labels), expected) for _ in range(20))
    finally:
        stop.set()
        changer.join()


FORK = """
import os, threading, numpy as np, swiftdpo
logits, labels = np.random.default_rng(0).normal(size=(8, 32, 2048)).astype(np.float32), np.ones((8, 32), int)
swiftdpo.set_num_threads(4)
call = lambda: swiftdpo.sequence_logps(logits, labels).logps.tobytes()
expected = call()
stop = threading.Event()
def busy():
    while not stop.is_set():
        call()
threads = [threading.Thread(target=busy) for _ in range(3)]
for thread in threads:
    thread.start()
failures = 0
for _ in range(10):  # while the pool is at work
    child = os.fork()
    if child == 0:
        good = call() == expected == call()
        grandchild = os.fork()
        if grandchild == 0:
            os._exit(0 if call() == expected else 1)
        os._exit(0 if good and os.waitpid(grandchild, 0)[1] == 0 else 1)
    failures += os.waitpid(child, 0)[1] != 0
    failures += call() != expected
stop.set()
for thread in threads:
    thread.join()
print(failures)
"""


def test_children_of_fork_have_workers_of_their_own():
    """Python 3.12 and newer warn of threads beside fork, which is what this is about."""
    process = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK], capture_output=True, text=True, timeout=120, check=False
    )
    assert process.stdout == "0\n", process.stderr


@pytest.mark.parametrize("wish", ["", "0", "-3", "many", "1025", "99999999999999999999"])
def test_a_wish_for_threads_that_cannot_be(wish):
    run = subprocess.run(
        [sys.executable, "-c", "import swiftdpo; print(swiftdpo.num_threads())"],
        env=os.environ | {"SWIFTDPO_NUM_THREADS": wish},
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(run.stdout) == len(os.sched_getaffinity(0))


@pytest.mark.parametrize("threads", [-1, 1025, 2**31, -(2**31) - 1, 2**40])
def test_numbers_of_threads_that_are_refused(threads):
    before = swiftdpo.num_threads()
    with pytest.raises(ValueError, match=r"^threads: a number of threads must be in 0\.\.\.1024"):
        swiftdpo.set_num_threads(threads)
    assert swiftdpo.num_threads() == before
    for nonsense in (1.5, "2", None):
        with pytest.raises(TypeError, match=r"^threads: "):
            swiftdpo.set_num_threads(nonsense)
