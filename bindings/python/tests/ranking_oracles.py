"""What a group's ranking says, and its exact loss: one softmax for each choice, by definition."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np
from oracles import exp
from ulps import exactly, mp


class Observation(NamedTuple):
    """One group as it was ranked: sets of tied items, best first, and the items that remained behind them."""

    blocks: list[list[int]]
    remaining: list[int]


def from_list(ranking, size: int, unlisted: str) -> Observation:
    """A list of items, best first, that -1 fills up."""
    listed = [int(item) for item in ranking if item >= 0]
    rest = [item for item in range(size) if item not in listed]
    return Observation([[item] for item in listed], rest if unlisted == "remain" else [])


def from_ranks(ranks) -> Observation:
    """A rank for each item; 0: unranked, -1: absent."""
    ranks = np.asarray(ranks)
    blocks = [list(np.flatnonzero(ranks == rank)) for rank in sorted(set(ranks[ranks > 0]))]
    return Observation(blocks, list(np.flatnonzero(ranks == 0)))


def log(x):
    return mp.log(x)


def breslow(worths, block, left):
    """-log of the probability that each of a set of ties is chosen from all that are left."""
    return sum((log(sum(worths[left], mp.mpf(0)) / worths[item]) for item in block), mp.mpf(0))


def exact_loss(
    scores, observation: Observation, *, top=None, first_choice="best", position_weights=None, ties=breslow
):
    """-log P of what was observed, an mpmath number; `scores` are mpmath numbers, or floats taken exactly."""
    scores = np.array(
        [score if isinstance(score, mp.mpf) else mp.mpf(float(score)) for score in scores], dtype=object
    )
    worths = exp(scores if first_choice == "best" else -scores)
    left = [item for block in observation.blocks for item in block] + observation.remaining
    place, loss = 0, mp.mpf(0)
    for block in observation.blocks:
        if top is not None and place >= top:
            break
        weight = 1 if position_weights is None else exactly(position_weights)[place]
        loss += weight * ties(worths, block, left)
        left = [item for item in left if item not in block]
        place += len(block)
    return loss


def exact_gradient(scores, *arguments, **options) -> np.ndarray:
    """d loss / d scores by a central difference in 50 digits, good to some 30."""
    scores = exactly(scores)
    step = mp.mpf(10) ** -16
    gradient = np.empty(len(scores), dtype=object)
    for item in range(len(scores)):
        above, below = scores.copy(), scores.copy()
        above[item] += step
        below[item] -= step
        difference = exact_loss(above, *arguments, **options) - exact_loss(below, *arguments, **options)
        gradient[item] = difference / (2 * step)
    return gradient


def efron(worths, block, left):
    """As Breslow's, but the l-th of d choices finds a share l / d of the ties' own sum gone."""
    others = sum((worths[item] for item in left if item not in block), mp.mpf(0))
    own, size = sum(worths[block], mp.mpf(0)), len(block)
    shares = (log(others + own * (size - chosen) / size) for chosen in range(size))
    return sum(shares, mp.mpf(0)) - sum((log(worths[item]) for item in block), mp.mpf(0))


def average(worths, block, left):
    """-log of the mean, over all orders of the ties, of the product of one softmax for each choice."""
    total = mp.mpf(0)
    for order in itertools.permutations(block):
        remaining, probability = list(left), mp.mpf(1)
        for item in order:
            probability *= worths[item] / sum(worths[remaining], mp.mpf(0))
            remaining.remove(item)
        total += probability
    return -log(total / math.factorial(len(block)))


def davidson(strengths):
    """The tie of a set among all sets of at most len(strengths) + 1 items."""
    delta = [
        None,
        mp.mpf(1),
        *(strength if isinstance(strength, mp.mpf) else mp.mpf(float(strength)) for strength in strengths),
    ]

    def strength(chosen, worths):
        product = mp.mpf(1)
        for item in chosen:
            product *= worths[item]
        return delta[len(chosen)] * mp.root(product, len(chosen))

    def ties(worths, block, left):
        sets = (chosen for size in range(1, len(delta)) for chosen in itertools.combinations(left, size))
        return -log(strength(block, worths) / sum((strength(chosen, worths) for chosen in sets), mp.mpf(0)))

    return ties
