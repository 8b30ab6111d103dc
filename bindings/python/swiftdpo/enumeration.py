"""Exact partition functions over the tokens of a small reference: why Z is hard, made visible."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from . import _core
from ._typing import ArrayLike


class ResponseCount(NamedTuple):
    """What `count_responses` returns."""

    total: int | None
    """The number itself; None where it has more than 64 bits."""
    log_total: float
    """Its natural logarithm."""


class TokenPartition(NamedTuple):
    """What `token_partition` returns."""

    log_partition: float
    """log Z over all responses."""
    objective: float
    """beta log Z, the value of the initial state."""
    values: npt.NDArray[np.float64]
    """(T, S): beta log Z of what is left of the response at each step and state."""
    policy_logps: npt.NDArray[np.float64]
    """(T, S, V): log pi* of each token: the optimal policy, token by token."""


class EnumeratedPartition(NamedTuple):
    """What `enumerate_partition` returns."""

    log_partition: float
    """log Z over all responses."""
    objective: float
    """beta log Z."""
    num_terms: int
    """How many responses the reward was asked for."""


def count_responses(vocab_size: int, horizon: int, has_end_token: bool = False) -> ResponseCount:
    """How many responses of up to `horizon` tokens there are: the terms of Z.

    Without an end token V^T; with one, which may come sooner, (V - 1)^T + sum over t < T of (V - 1)^t.

    >>> import swiftdpo
    >>> swiftdpo.count_responses(2, 10)
    ResponseCount(total=1024, log_total=6.931471805599453)
    >>> swiftdpo.count_responses(50_000, 1000).total is None
    True
    """
    count, log_count = _core.count_responses(vocab_size, horizon, has_end_token)
    return ResponseCount(count if count < 2**64 - 1 else None, log_count)


def token_partition(
    logps: ArrayLike,
    rewards: ArrayLike,
    beta: float,
    horizon: int,
    *,
    next_states: ArrayLike | None = None,
    initial_state: int = 0,
    end_token: int | None = None,
    max_terms: int = 10_000_000,
) -> TokenPartition:
    """log Z where reference and rewards look at a state alone: T S V terms, not V^T, by dynamic programming.

    Parameters
    ----------
    logps : (S, V) float64
        log ref(token | state); -inf is legal, but not for all tokens of a state.
    rewards : (S, V)
        The reward of taking the token in the state. A response's reward is their sum.
    beta : float
        Above 0.
    horizon : int
        T: a response ends after so many tokens.
    next_states : (S, V) int64, optional
        Where the token leads. None, with S = V: the state is the last token, as in a bigram model.
    initial_state : int
        Before the first token.
    end_token : int, optional
        Ends a response sooner.
    max_terms : int
        More terms than this are refused before the first is computed.

    Returns
    -------
    TokenPartition
    """
    end = -1 if end_token is None else end_token
    log_partition, values, policy = _core.token_partition(
        logps, rewards, next_states, beta, horizon, end, initial_state, max_terms
    )
    return TokenPartition(log_partition, float(values[0, initial_state]), values, policy)


def enumerate_partition(
    next_logps: Callable[[tuple[int, ...]], ArrayLike],
    reward: Callable[[tuple[int, ...]], float],
    beta: float,
    vocab_size: int,
    horizon: int,
    *,
    end_token: int | None = None,
    max_terms: int = 10_000_000,
) -> EnumeratedPartition:
    """log Z by enumeration, for rewards that look at whole responses: one term for each of them.

    Parameters
    ----------
    next_logps : callable
        Of a prefix, a tuple of tokens: log ref of each of the V tokens that may follow. -inf prunes.
    reward : callable
        Of a whole response, its end token included.
    beta, horizon, end_token
        As for `token_partition`.
    vocab_size : int
        V.
    max_terms : int
        If there are more responses, as `count_responses` says, none is asked for.

    Returns
    -------
    EnumeratedPartition
    """
    end = -1 if end_token is None else end_token
    log_partition, num_terms = _core.enumerate_partition(
        next_logps, reward, beta, vocab_size, horizon, end, max_terms
    )
    return EnumeratedPartition(log_partition, beta * log_partition, num_terms)
