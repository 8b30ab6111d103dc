"""Large results lie in memory kept for the next call, each elsewhere in its page, and are like others."""

import pickle
import resource
import threading

import numpy as np
import pytest
import swiftdpo

RNG = np.random.default_rng(11)
COUNT = 65_536
PAGE = 4096


def pairs(count=COUNT):
    return [RNG.uniform(-300, -1, count).astype(np.float32) for _ in range(4)]


def arrays_of(results):
    return [value for value in results if isinstance(value, np.ndarray)]


def start_of(array):
    return array.__array_interface__["data"][0]


def handler_of(array):
    multiarray = getattr(np, "_core", None) or np.core
    return multiarray.multiarray.get_handler_name(array)


def test_each_begins_elsewhere_in_its_page():
    starts = [start_of(array) for array in arrays_of(swiftdpo.dpo_loss(*pairs()))]
    assert len(starts) == 6
    assert all(start % 64 == 0 for start in starts)
    assert len({start % PAGE for start in starts}) == 6


def test_memory_comes_back_without_asking_the_system():
    batch = pairs()
    results = swiftdpo.dpo_loss(*batch)
    for _ in range(3):
        results = swiftdpo.dpo_loss(*batch)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(50):
        results = swiftdpo.dpo_loss(*batch)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    # The results have 6 * 64 pages.
    assert faults < 50 * 6 * 64 / 10
    assert np.isfinite(results.losses).all()


def test_only_some_of_it_is_kept():
    batch = pairs()
    held = [swiftdpo.dpo_loss(*batch) for _ in range(8)]
    starts = {start_of(array) for results in held for array in arrays_of(results)}
    assert len(starts) == 48
    others = pairs(20_000)
    del held
    # Blocks of more than twice the size are not for these.
    assert not starts & {start_of(array) for array in arrays_of(swiftdpo.dpo_loss(*others))}


@pytest.mark.parametrize("count", [4096, COUNT, 262_144])
def test_they_are_arrays_like_others(count):
    batch = pairs(count)
    losses = swiftdpo.dpo_loss(*batch).losses
    assert handler_of(losses) == "swiftdpo"
    assert losses.flags.owndata and losses.flags.c_contiguous
    expected = losses.copy()
    assert handler_of(expected) == handler_of(np.empty(count))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(losses)), expected)
    losses.resize(2 * count, refcheck=False)
    np.testing.assert_array_equal(losses[:count], expected)
    assert not losses[count:].any()
    losses.resize(5, refcheck=False)
    np.testing.assert_array_equal(losses, expected[:5])


@pytest.mark.parametrize("count", [1, 4095, 262_145])
def test_small_and_huge_ones_lie_where_numpy_wants(count):
    losses = swiftdpo.dpo_loss(*pairs(count)).losses
    assert handler_of(losses) == handler_of(np.empty(count))


def test_threads_never_share_a_block():
    batches = [pairs(9000) for _ in range(4)]
    expected = [swiftdpo.dpo_loss(*batch).losses.copy() for batch in batches]
    wrong = []

    def work(number):
        held = []
        for turn in range(200):
            held.append(swiftdpo.dpo_loss(*batches[number]).losses)
            if turn % 3 == 2:
                wrong.extend(x for x in held if x.tobytes() != expected[number].tobytes())
                held = held[turn % 2 :]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_refused_call_leaves_nothing_behind():
    batch = pairs()
    batch[3][-1] = np.inf
    with pytest.raises(ValueError, match=r"ref_rejected_logps\[65535\]"):
        swiftdpo.dpo_loss(*batch)
    batch[3][-1] = -1
    assert np.isfinite(swiftdpo.dpo_loss(*batch).losses).all()
