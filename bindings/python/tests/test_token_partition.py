"""Exact log Z over tokens: brute force, dynamic programming against enumeration, and what is refused."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import swiftdpo
from ulps import exactly, mp


def log_softmax(scores):
    return scores - np.logaddexp.reduce(scores, axis=-1, keepdims=True)


def model(seed, states, vocabulary):
    rng = np.random.default_rng(seed)
    logps = log_softmax(rng.normal(0, 1.5, (states, vocabulary)))
    return logps, rng.normal(0, 1, (states, vocabulary)), rng.integers(0, states, (states, vocabulary))


def all_responses(vocabulary, horizon, end_token):
    """Every response, by filtering all strings: ends at the first end token or at the horizon."""
    for length in range(1, horizon + 1):
        for tokens in itertools.product(range(vocabulary), repeat=length):
            if end_token not in tokens[:-1] and (length == horizon or tokens[-1] == end_token):
                yield tokens


def walk(tokens, table, next_states, state=0):
    total = mp.mpf(0)
    for token in tokens:
        total += exactly(table[state, token])
        state = next_states[state, token]
    return total


CASES = [
    (1, 2, 1, None),
    (3, 2, 5, None),
    (4, 3, 4, None),
    (2, 3, 4, 1),
    (5, 4, 3, 0),
    (3, 1, 3, None),
    (2, 2, 6, 0),
]


@pytest.mark.parametrize("states, vocabulary, horizon, end_token", CASES)
@pytest.mark.parametrize("beta", [0.1, 1.0, 30.0])
def test_both_ways_match_the_sum_over_all_responses(states, vocabulary, horizon, end_token, beta):
    logps, rewards, following = model(states, states, vocabulary)
    responses = list(all_responses(vocabulary, horizon, end_token))
    count = swiftdpo.count_responses(vocabulary, horizon, end_token is not None)
    assert count.total == len(responses)
    assert count.log_total == pytest.approx(math.log(len(responses)), rel=1e-15)
    total = sum(
        mp.exp(walk(y, logps, following) + walk(y, rewards, following) / mp.mpf(beta)) for y in responses
    )
    expected = float(mp.log(total))

    table = swiftdpo.token_partition(
        logps, rewards, beta, horizon, next_states=following, end_token=end_token
    )
    assert table.log_partition == pytest.approx(expected, rel=1e-13, abs=1e-13)
    assert table.objective == pytest.approx(beta * expected, rel=1e-13, abs=1e-13 * beta)

    def state_after(prefix):
        state = 0
        for token in prefix:
            state = following[state, token]
        return state

    out = swiftdpo.enumerate_partition(
        lambda prefix: logps[state_after(prefix)],
        lambda response: float(walk(response, rewards, following)),
        beta,
        vocabulary,
        horizon,
        end_token=end_token,
    )
    assert out.num_terms == len(responses)
    assert out.log_partition == pytest.approx(table.log_partition, rel=1e-13, abs=1e-13)


def test_the_policy_of_tokens_is_the_optimal_policy_of_responses():
    logps, rewards, following = model(7, 3, 3)
    beta, horizon = 0.4, 4
    table = swiftdpo.token_partition(logps, rewards, beta, horizon, next_states=following)
    np.testing.assert_allclose(np.exp(table.policy_logps).sum(axis=-1), 1, rtol=1e-14)
    responses = list(itertools.product(range(3), repeat=horizon))
    ref = np.array([float(walk(y, logps, following)) for y in responses])
    listed = swiftdpo.optimal_policy(ref, [float(walk(y, rewards, following)) for y in responses], beta)
    assert table.log_partition == pytest.approx(listed.log_partition, rel=1e-13)
    for response, expected in zip(responses, listed.logps, strict=True):
        state, logp = 0, 0.0
        for step, token in enumerate(response):
            logp += table.policy_logps[step, state, token]
            state = following[state, token]
        assert logp == pytest.approx(expected, abs=1e-12)


def test_a_bigram_model_needs_no_table_of_states():
    logps, rewards, _ = model(8, 4, 4)
    explicit = np.tile(np.arange(4), (4, 1))
    out = swiftdpo.token_partition(logps, rewards, 1.0, 50, initial_state=2)
    same = swiftdpo.token_partition(logps, rewards, 1.0, 50, next_states=explicit, initial_state=2)
    np.testing.assert_array_equal(out.policy_logps, same.policy_logps)
    matrix = np.exp(logps + rewards)  # Z is a power of a matrix
    vector = np.ones(4)
    for _ in range(50):
        vector = matrix @ vector
    assert out.log_partition == pytest.approx(math.log(vector[2]), rel=1e-13)


def test_no_reward_no_partition():
    logps, _, following = model(9, 3, 5)
    out = swiftdpo.token_partition(logps, np.zeros((3, 5)), 0.1, 20, next_states=following)
    assert out.log_partition == pytest.approx(0, abs=1e-14)


def test_impossible_tokens_are_pruned():
    half = math.log(0.5)
    asked = []

    def reward(response):
        asked.append(response)
        return float(sum(response))

    out = swiftdpo.enumerate_partition(lambda prefix: [half, half, -math.inf], reward, 1.0, 3, 4)
    assert out.num_terms == 16 == len(set(asked)) and all(2 not in response for response in asked)
    assert out.log_partition == pytest.approx(4 * math.log((1 + math.e) / 2), rel=1e-14)


def test_the_terms_are_counted_before_the_first():
    calls = []
    with pytest.raises(ValueError, match="max_terms: the sum must not have more terms"):
        swiftdpo.enumerate_partition(calls.append, calls.append, 1.0, 50_000, 1000)
    with pytest.raises(ValueError, match="max_terms"):
        swiftdpo.enumerate_partition(calls.append, calls.append, 1.0, 2, 5, max_terms=31)
    assert calls == []
    with pytest.raises(ValueError, match="max_terms"):
        swiftdpo.token_partition(np.log([[0.5, 0.5]] * 2), np.zeros((2, 2)), 1.0, 10**9)
    count = swiftdpo.count_responses(50_000, 1000)
    assert count.total is None and count.log_total == pytest.approx(1000 * math.log(50_000), rel=1e-15)
    assert swiftdpo.count_responses(3, 100, True).log_total == pytest.approx(
        float(mp.log(mp.mpf(2) ** 100 + mp.mpf(2) ** 100 - 1)), rel=1e-15
    )
    assert swiftdpo.count_responses(2, 63).total == 2**63 and swiftdpo.count_responses(2, 64).total is None
    assert swiftdpo.count_responses(2, 10**12, True).total == 10**12 + 1


def test_an_exception_in_a_callback_comes_out():
    def fails(prefix):
        if len(prefix) == 2:
            raise KeyError("no such prefix")
        return np.log([0.5, 0.5])

    with pytest.raises(KeyError, match="no such prefix"):
        swiftdpo.enumerate_partition(fails, len, 1.0, 2, 4)
    good = lambda prefix: np.log([0.5, 0.5])  # noqa: E731
    with pytest.raises(ZeroDivisionError):
        swiftdpo.enumerate_partition(good, lambda response: 1 / 0, 1.0, 2, 4)
    with pytest.raises(TypeError, match="the result of reward"):
        swiftdpo.enumerate_partition(good, lambda response: "much", 1.0, 2, 4)
    with pytest.raises(ValueError, match="the result of next_logps has shape"):
        swiftdpo.enumerate_partition(lambda prefix: [0.0], len, 1.0, 2, 4)


def test_bad_input():
    logps, rewards, following = model(1, 2, 3)
    good = lambda prefix: np.log([0.5, 0.5])  # noqa: E731

    def broken(array, index, value):
        array = array.copy()
        array[index] = value
        return array

    cases = [
        (r"beta: beta must", lambda: swiftdpo.token_partition(logps, rewards, 0.0, 3, next_states=following)),
        (r"horizon is 0", lambda: swiftdpo.token_partition(logps, rewards, 1.0, 0, next_states=following)),
        (r"next_states", lambda: swiftdpo.token_partition(logps, rewards, 1.0, 3)),
        (
            r"next_states\[1, 2\]: a state",
            lambda: swiftdpo.token_partition(
                logps, rewards, 1.0, 3, next_states=broken(following, (1, 2), 2)
            ),
        ),
        (
            r"initial_state: a state",
            lambda: swiftdpo.token_partition(logps, rewards, 1.0, 3, next_states=following, initial_state=-1),
        ),
        (
            r"end_token",
            lambda: swiftdpo.token_partition(logps, rewards, 1.0, 3, next_states=following, end_token=3),
        ),
        (
            r"rewards\[0, 1\]: values",
            lambda: swiftdpo.token_partition(
                logps, broken(rewards, (0, 1), math.inf), 1.0, 3, next_states=following
            ),
        ),
        (
            r"logps\[1, 0\]: at least one",
            lambda: swiftdpo.token_partition(
                broken(logps, 1, -math.inf), rewards, 1.0, 3, next_states=following
            ),
        ),
        (
            r"next_logps: values",
            lambda: swiftdpo.enumerate_partition(lambda p: [math.nan, 0.0], len, 1.0, 2, 2),
        ),
        (
            r"next_logps: a log-prob",
            lambda: swiftdpo.enumerate_partition(lambda p: [0.5, 0.5], len, 1.0, 2, 2),
        ),
        (r"reward: values", lambda: swiftdpo.enumerate_partition(good, lambda r: math.inf, 1.0, 2, 2)),
        (r"end_token", lambda: swiftdpo.enumerate_partition(good, len, 1.0, 2, 2, end_token=2)),
        (r"vocab_size is 0", lambda: swiftdpo.count_responses(0, 2)),
    ]
    for message, call in cases:
        with pytest.raises(ValueError, match=message):
            call()
