"""Draws and averages of Plackett-Luce against its definition; the generator against its authors' vectors."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import pytest
import swiftdpo
from oracles import all_rankings, ranking_probabilities

LIBRARY = ctypes.CDLL(str(next(Path(swiftdpo.__file__).parent.glob("libswiftdpo.so.*"))))
SCORES = np.array([0.3, -1.2, 1.0, 0.0])


def philox(counter, key):
    words = (ctypes.c_uint32 * 4)()
    LIBRARY.swiftdpo_philox4x32_10((ctypes.c_uint32 * 4)(*counter), (ctypes.c_uint32 * 2)(*key), words)
    return list(words)


@pytest.mark.parametrize(
    "counter, key, words",
    [
        ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ],
)
def test_known_answers(counter, key, words):
    """Random123's kat_vectors for philox4x32 with 10 rounds."""
    assert philox(counter, key) == words


def test_samples_by_their_definition():
    """Scores and Gumbel noise in falling order, the noise by hand from the generator."""
    rewards = np.array([SCORES, SCORES[::-1] * 2])
    seed = 0x0123456789ABCDEF
    drawn = swiftdpo.sample_rankings(rewards, 5, seed)
    for group in range(2):
        for sample in range(5):
            noise = []
            for item in range(4):
                words = philox([sample, 0, item // 2, group], [seed & 0xFFFFFFFF, seed >> 32])
                low, high = words[2 * (item % 2) : 2 * (item % 2) + 2]
                uniform = (((high << 32 | low) >> 11) + 0.5) * 2.0**-53
                noise.append(-np.log(-np.log(uniform)))
            expected = np.argsort(-(rewards[group] + noise))
            assert drawn[group, sample].tolist() == expected.tolist()


def test_frequencies():
    """Of all 24 rankings in 200,000 draws: a chi-squared statistic below the 1e-6 quantile for 23 degrees."""
    count = 200_000
    drawn = swiftdpo.sample_rankings(SCORES, count, seed=7)
    codes, seen = np.unique(drawn @ [1000, 100, 10, 1], return_counts=True)
    observed = dict(zip(codes.tolist(), seen.tolist(), strict=True))
    statistic = 0.0
    for ranking, probability in ranking_probabilities(SCORES).items():
        expected = count * probability
        statistic += (observed.get(int(np.dot(ranking, [1000, 100, 10, 1])), 0) - expected) ** 2 / expected
    assert statistic < 73


def test_a_longer_run_begins_with_a_shorter_one():
    long = swiftdpo.sample_rankings(np.tile(SCORES, (3, 1)), 4000, seed=1)
    short = swiftdpo.sample_rankings(np.tile(SCORES, (2, 1)), 1500, seed=1)
    np.testing.assert_array_equal(long[:2, :1500], short)
    np.testing.assert_array_equal(swiftdpo.sample_rankings(SCORES, 1500, seed=1), short[0])
    assert (swiftdpo.sample_rankings(SCORES, 1500, seed=2) != short[0]).any()
    assert not np.array_equal(short[0], short[1])


def test_the_same_rankings_for_any_number_of_threads():
    before = swiftdpo.num_threads()
    draws = []
    for threads in (1, 2, 5):
        swiftdpo.set_num_threads(threads)
        draws.append(swiftdpo.sample_rankings(np.linspace(0, 3, 50), 3000, seed=3))
    swiftdpo.set_num_threads(before)
    np.testing.assert_array_equal(draws[0], draws[1])
    np.testing.assert_array_equal(draws[0], draws[2])
    np.testing.assert_array_equal(np.sort(draws[0], axis=1), np.tile(np.arange(50), (3000, 1)))


def test_log_probabilities():
    rankings = all_rankings(4)
    logs = swiftdpo.ranking_log_probability(np.tile(SCORES, (24, 1)), rankings)
    expected = ranking_probabilities(SCORES)
    np.testing.assert_allclose(np.exp(logs), [expected[tuple(row)] for row in rankings.tolist()], rtol=1e-14)
    assert swiftdpo.ranking_log_probability([1.0]) == 0
    best = swiftdpo.ranking_log_probability(SCORES, ranks=[0, 0, 1, 0])
    assert np.exp(best) == pytest.approx(
        swiftdpo.ranking_marginals(SCORES).top_one_probabilities[2], rel=1e-14
    )


def test_marginals():
    out = swiftdpo.ranking_marginals(SCORES)
    first, ranks = np.zeros(4), np.zeros(4)
    for ranking, probability in ranking_probabilities(SCORES).items():
        first[ranking[0]] += probability
        ranks[list(ranking)] += probability * np.arange(1, 5)
    np.testing.assert_allclose(out.top_one_probabilities, first, rtol=1e-14)
    np.testing.assert_allclose(out.expected_ranks, ranks, rtol=1e-14)
    far = swiftdpo.ranking_marginals([[1e300, -1e300, 0.0]])
    assert far.expected_ranks.tolist() == [[1, 3, 2]] and far.top_one_probabilities.tolist() == [[1, 0, 0]]


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ((SCORES, 0, 1), ValueError, "num_samples is 0"),
        ((SCORES, 2, -1), (ValueError, OverflowError), "seed"),
        ((SCORES, 2, 2**64), (ValueError, OverflowError), "seed"),
        (([0.0, np.nan], 2, 1), ValueError, r"rewards\[1\]"),
        ((np.zeros((2, 2, 2)), 2, 1), ValueError, "rewards has 3 dimensions"),
    ],
)
def test_bad_input(arguments, error, message):
    with pytest.raises(error, match=f"^{message}"):
        swiftdpo.sample_rankings(*arguments)
