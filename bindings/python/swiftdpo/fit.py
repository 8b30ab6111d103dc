"""Worths of items from rankings alone: maximum likelihood and maximum a posteriori under Plackett-Luce."""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from . import _core
from ._typing import FirstChoice, Ties, Unlisted

_Vector = npt.NDArray[np.float64]
_Indices = npt.NDArray[np.int64]


class Progress(NamedTuple):
    """Where a fit stands after a step of Newton's method."""

    iteration: int
    objective: float
    """Negative log-likelihood plus the prior's penalty."""
    gradient_norm: float
    """The largest element of its gradient, in size."""
    seconds: float
    """Since the fit began."""


class PlackettLuceFit(NamedTuple):
    """What `fit_plackett_luce` returns."""

    log_worths: _Vector
    """(n,): the log-worth of each item; their mean is 0."""
    log_likelihood: float
    """Of the rankings, without the prior."""
    standard_errors: _Vector | None
    """(n,): of the log-worths, from the inverse of the Hessian where their mean is held at 0."""
    tie_strengths: _Vector
    """(D - 1,): the strengths of Davidson's ties; empty for other ties."""
    converged: bool
    """Whether the gradient fell below the tolerance; else `message` says why not."""
    gradient_norm: float
    """The largest element of the objective's gradient, in size."""
    iterations: int
    """Steps of Newton's method."""
    evaluations: int
    """Of the loss and its gradient, and of products with the Hessian."""
    message: str


def fit_plackett_luce(
    rankings: Iterable[Sequence[int]],
    num_items: int | None = None,
    *,
    ranks: Iterable[Sequence[int]] | None = None,
    unlisted: Unlisted = "absent",
    first_choice: FirstChoice = "best",
    top: int | None = None,
    weights: npt.ArrayLike | None = None,
    prior_variance: float | None = None,
    ties: Ties = "breslow",
    max_tie: int = 2,
    tolerance: float = 1e-8,
    max_iterations: int = 100,
    standard_errors: bool = True,
    progress: Callable[[Progress], object] | None = None,
) -> PlackettLuceFit:
    """Log-worths of items under which rankings of them are most likely.

    A ranking is drawn from the best item on, each choice falling on one of the items that are left with a
    probability proportional to exp(log-worth). The worths maximise the likelihood of all rankings, or, with a
    prior, the posterior. By Newton's method, each step solved by conjugate gradients on products with the
    Hessian [1]_, which cost as much as a gradient.

    Parameters
    ----------
    rankings : sequence of sequences of int
        Items 0..n-1, best first.
    num_items : int, optional
        n. None: one more than the largest index.
    ranks : sequence of sequences of int, optional
        For each entry of `rankings` its rank, from 1; equal ranks are ties, 0 is unranked, behind all others.
    unlisted : "absent" or "remain"
        What items that a ranking does not list did: they did not take part (the starters of a race), or they
        remained behind those listed (the candidates whom a ballot does not name). Results differ much.
    first_choice, top
        As in `plackett_luce_loss`.
    weights : (B,), optional
        How often each ranking was seen: a factor of its loss.
    prior_variance : float, optional
        Variance of a normal prior with mean 0 on each log-worth. None: maximum likelihood.
    ties : "breslow", "efron", "average" or "davidson"
        As in `plackett_luce_loss`; the strengths of Davidson's ties are fitted, too.
    max_tie : int
        The largest number of items that a set may tie under ``ties="davidson"``.
    tolerance : float
        The fit has converged where no element of the gradient is larger than this times the total weight of
        the rankings or 1, whichever is more.
    max_iterations : int
        Limit of Newton's steps.
    standard_errors : bool
        Whether to compute them: they take a product with the Hessian for each item, and its inverse.
    progress : callable, optional
        Called with a `Progress` after each step.

    Returns
    -------
    PlackettLuceFit

    Raises
    ------
    ValueError
        Without a prior, if some items never win against others: then the likelihood rises forever as their
        worth falls. The message names them. (The comparisons must be strongly connected [2]_.)

    References
    ----------
    .. [1] Nocedal and Wright, "Numerical Optimization", 2006, algorithm 7.1.
    .. [2] Hunter, "MM Algorithms for Generalized Bradley-Terry Models", Annals of Statistics 32(1), 2004.

    Examples
    --------
    >>> import swiftdpo
    >>> fit = swiftdpo.fit_plackett_luce([[0, 1, 2], [3, 2, 0], [1, 3]])
    >>> fit.log_worths.round(4)
    array([-0.4433,  0.6951, -0.6706,  0.4189])
    """
    problem = _Problem(
        rankings, num_items, ranks, unlisted, first_choice, top, weights, prior_variance, ties, max_tie
    )
    if prior_variance is None:
        problem.check_connected()
    return _minimise(problem, tolerance, max_iterations, standard_errors, progress)


class _Problem:
    """The objective: negative log-likelihood and penalty, of log-worths and the logs of tie strengths."""

    def __init__(
        self,
        rankings: Iterable[Sequence[int]],
        num_items: int | None,
        ranks: Iterable[Sequence[int]] | None,
        unlisted: Unlisted,
        first_choice: FirstChoice,
        top: int | None,
        weights: npt.ArrayLike | None,
        prior_variance: float | None,
        ties: Ties,
        max_tie: int,
    ) -> None:
        if unlisted not in ("absent", "remain"):
            raise ValueError(f"unlisted is {unlisted!r}; expected 'absent' or 'remain'")
        if prior_variance is not None and not 0 < prior_variance < np.inf:
            raise ValueError(f"prior_variance is {prior_variance!r}; expected a finite number above 0")
        if ties == "davidson" and not 2 <= max_tie <= 8:
            raise ValueError(f"max_tie is {max_tie!r}; expected 2 to 8")
        self.items, self.offsets = _flatten(rankings, "rankings")
        self.ranks = None
        if ranks is not None:
            self.ranks, offsets = _flatten(ranks, "ranks")
            if not np.array_equal(offsets, self.offsets):
                raise ValueError("ranks must have an element for each element of rankings")
        largest = int(self.items.max(initial=-1)) + 1
        self.num_items = largest if num_items is None else num_items
        if self.num_items < max(largest, 1):
            raise ValueError(f"num_items is {num_items!r}; expected at least {max(largest, 1)}")
        if self.items.size and self.items.min() < 0:
            raise ValueError("rankings: an item must be at least 0")
        count = len(self.offsets) - 1
        self.weights = None if weights is None else np.array(weights, np.float64)
        if self.weights is not None and self.weights.shape != (count,):
            raise ValueError(f"weights has shape {self.weights.shape}; expected ({count},)")
        self.scale = max(1.0, float(count if self.weights is None else self.weights.sum()))
        self.unlisted, self.first_choice, self.top, self.ties = unlisted, first_choice, top, ties
        self.num_strengths = max_tie - 1 if ties == "davidson" else 0
        self.precision = 0.0 if prior_variance is None else 1 / prior_variance
        self.evaluations = 0
        repeats = None if self.weights is None else np.repeat(self.weights, np.diff(self.offsets))
        self.choices = np.bincount(self.items, repeats, self.num_items).astype(np.float64)

    def call(self, log_worths: _Vector, direction: _Vector | None, strengths: _Vector) -> tuple[Any, ...]:
        self.evaluations += 1
        return _core.plackett_luce_loss(
            log_worths,
            None,
            1.0,
            self.weights,
            None,
            direction,
            self.items,
            self.ranks,
            self.offsets,
            strengths if self.num_strengths else None,
            "sum",
            "error",
            self.unlisted,
            self.first_choice,
            self.top,
            self.ties,
            True,
        )

    def split(self, x: _Vector) -> tuple[_Vector, _Vector]:
        """Log-worths, and tie strengths."""
        return x[: self.num_items], np.exp(x[self.num_items :])

    def evaluate(self, x: _Vector) -> tuple[float, _Vector]:
        log_worths, strengths = self.split(x)
        results = self.call(log_worths, None, strengths)
        gradient = results[3] + self.precision * log_worths
        if self.num_strengths:
            gradient = np.concatenate([gradient, results[6] * strengths])
        return results[0] + 0.5 * self.precision * float(log_worths @ log_worths), gradient

    def hessian_product(self, x: _Vector, gradient: _Vector, direction: _Vector) -> _Vector:
        log_worths, strengths = self.split(x)
        if not self.num_strengths:
            product: _Vector = self.call(log_worths, direction, strengths)[5]
            return product + self.precision * direction
        # Davidson's strengths are fitted, too, and have gradients only: a central difference of two.
        step = 1e-5 / max(1e-300, float(np.abs(direction).max()))
        above, below = self.evaluate(x + step * direction)[1], self.evaluate(x - step * direction)[1]
        difference: _Vector = (above - below) / (2 * step)
        return difference

    def curvatures(self, gradient: _Vector) -> _Vector:
        """The Hessian's diagonal, estimated from above: the number of times that the stages expect each item,
        without what the squares of its probabilities take off."""
        estimate = np.ones_like(gradient)
        estimate[: self.num_items] = self.choices + gradient[: self.num_items] + self.precision
        return np.maximum(estimate, 1e-12 * self.scale)

    def check_connected(self) -> None:
        """Each item must be connected with each other by a chain of wins; ties win both ways."""
        losing = _never_winning(self)
        if losing is not None:
            shown = ", ".join(map(str, losing[:10])) + (", ..." if len(losing) > 10 else "")
            never = f"item {shown} never wins" if len(losing) == 1 else f"items {shown} never win"
            raise ValueError(
                f"rankings: {never} against any other item, so that no worths are most likely: leave "
                f"{'it' if len(losing) == 1 else 'them'} out, or give a prior_variance"
            )


def _flatten(lists: Iterable[Sequence[int]], name: str) -> tuple[_Indices, _Indices]:
    rows = [np.asarray(row) for row in lists]
    for index, row in enumerate(rows):
        if row.ndim != 1 or (row.size and row.dtype.kind not in "iu"):
            raise ValueError(f"{name}[{index}]: expected a sequence of integers")
    offsets = np.zeros(len(rows) + 1, np.int64)
    np.cumsum([len(row) for row in rows], out=offsets[1:])
    flat = np.concatenate(rows).astype(np.int64) if rows else np.empty(0, np.int64)
    return flat, offsets


def _never_winning(problem: _Problem) -> list[int] | None:
    """A strongly connected set of items that never win against others; None if that is all items."""
    wins, loses = _strict_edges(problem) if problem.ranks is None else _ranked_edges(problem)
    if problem.first_choice == "worst":
        wins, loses = loses, wins
    # Each edge once. np.unique, which hashes, takes three times as long.
    edges = np.sort(wins * problem.num_items + loses)
    edges = edges[np.append(True, edges[1:] != edges[:-1])[: len(edges)]]
    wins, loses = edges // problem.num_items, edges % problem.num_items
    # From item to item, on to one that is beaten and can't beat back: what is left wins against none outside.
    item = 0
    while True:
        beaten = _reachable(wins, loses, problem.num_items, item)
        stuck = beaten & ~_reachable(loses, wins, problem.num_items, item)
        if not stuck.any():
            break
        item = int(np.flatnonzero(stuck)[0])
    return None if beaten.all() else [int(item) for item in np.flatnonzero(beaten)]


def _strict_edges(problem: _Problem) -> tuple[_Indices, _Indices]:
    """Winners and losers. Each item of a list beats the next, and by way of it all that follow."""
    sizes = np.diff(problem.offsets)
    lists = np.repeat(np.arange(len(sizes)), sizes)
    places = np.arange(len(lists)) - np.repeat(problem.offsets[:-1], sizes)
    counted = np.ones(len(sizes), np.bool_) if problem.weights is None else problem.weights > 0
    chooses = counted[lists] & (places < (len(lists) if problem.top is None else problem.top))
    follows = chooses[:-1] & (lists[1:] == lists[:-1])
    wins, loses = [problem.items[:-1][follows]], [problem.items[1:][follows]]
    # The last choice beats all that remained: none, if all were chosen.
    if problem.unlisted == "remain":
        remains = sizes > 0
    else:
        remains = sizes > (len(lists) if problem.top is None else problem.top)
    for index in np.flatnonzero(counted & remains):
        items = problem.items[problem.offsets[index] : problem.offsets[index + 1]]
        listed = items if problem.top is None else items[: problem.top]
        mask = np.full(problem.num_items, problem.unlisted == "remain")
        mask[items] = True
        mask[listed] = False
        rest = np.flatnonzero(mask)
        wins.append(np.full(len(rest), listed[-1]))
        loses.append(rest)
    return np.concatenate(wins), np.concatenate(loses)


def _ranked_edges(problem: _Problem) -> tuple[_Indices, _Indices]:
    """Winners and losers. Items that are tied beat each other, and all of the next rank."""
    assert problem.ranks is not None
    wins, loses = [np.empty(0, np.int64)], [np.empty(0, np.int64)]

    def beats(winners: _Indices, losers: _Indices) -> None:
        wins.append(np.repeat(winners, len(losers)))
        loses.append(np.tile(losers, len(winners)))

    for index, (start, end) in enumerate(zip(problem.offsets[:-1], problem.offsets[1:], strict=True)):
        if problem.weights is not None and problem.weights[index] == 0:
            continue
        items, ranks = problem.items[start:end], problem.ranks[start:end]
        blocks = [items[ranks == rank] for rank in np.unique(ranks[ranks > 0])]
        places = np.cumsum([0, *map(len, blocks)])
        chosen = sum(place < (len(items) if problem.top is None else problem.top) for place in places[:-1])
        rest = np.concatenate([items[:0], *blocks[chosen:], items[ranks == 0]])
        if problem.unlisted == "remain":
            rest = np.concatenate([rest, np.setdiff1d(np.arange(problem.num_items), items)])
        for number, block in enumerate(blocks[:chosen]):
            beats(block[:-1], block[1:])
            beats(block[1:], block[:-1])
            beats(block[-1:], blocks[number + 1] if number + 1 < chosen else rest)
    return np.concatenate(wins), np.concatenate(loses)


def _reachable(sources: _Indices, targets: _Indices, nodes: int, start: int) -> npt.NDArray[np.bool_]:
    """The nodes that edges lead to from one of them, itself among them."""
    order = np.argsort(sources, kind="stable")
    begins = np.searchsorted(sources[order], np.arange(nodes + 1)).tolist()
    following = targets[order].tolist()
    seen = {start}
    stack = [start]
    while stack and len(seen) < nodes:
        node = stack.pop()
        found = set(following[begins[node] : begins[node + 1]]) - seen
        seen |= found
        stack.extend(found)
    mask = np.zeros(nodes, np.bool_)
    mask[list(seen)] = True
    return mask


def _minimise(
    problem: _Problem,
    tolerance: float,
    max_iterations: int,
    standard_errors: bool,
    progress: Callable[[Progress], object] | None,
) -> PlackettLuceFit:
    began = time.monotonic()
    x = np.zeros(problem.num_items + problem.num_strengths)
    value, gradient = problem.evaluate(x)
    x, value, gradient = _first_steps(problem, x, value, gradient)
    limit = tolerance * problem.scale
    iteration, message = 0, "the gradient is below the tolerance"
    while (norm := float(np.abs(gradient).max())) > limit:
        if iteration == max_iterations:
            message = f"max_iterations, {max_iterations}, were not enough"
            break
        step = _newton_step(problem, x, gradient, limit)
        slope = float(gradient @ step)
        length = 1.0
        for _ in range(50):
            next_value, next_gradient = problem.evaluate(x + length * step)
            # Near the minimum the value no longer tells: there a smaller gradient does.
            enough = next_value <= value + 1e-4 * length * slope
            close = next_value <= value + 1e-13 * abs(value) and np.abs(next_gradient).max() < norm
            if enough or close:
                break
            # The least point of the parabola through what is known, but no leap.
            excess = next_value - value - length * slope
            length *= min(0.5, max(0.1, -0.5 * length * slope / excess)) if excess > 0 else 0.5
        else:
            message = "rounding errors allow no further progress"
            break
        x, value, gradient = x + length * step, next_value, next_gradient
        iteration += 1
        if progress is not None:
            norm = float(np.abs(gradient).max())
            progress(Progress(iteration, value, norm, time.monotonic() - began))

    log_worths, strengths = problem.split(x)
    penalty = 0.5 * problem.precision * float(log_worths @ log_worths)
    errors = _standard_errors(problem, x, gradient) if standard_errors else None
    return PlackettLuceFit(
        log_worths - log_worths.mean() if problem.precision == 0 else log_worths.copy(),
        penalty - value,
        errors,
        strengths,
        norm <= limit,
        norm,
        iteration,
        problem.evaluations,
        message,
    )


def _first_steps(
    problem: _Problem, x: _Vector, value: float, gradient: _Vector
) -> tuple[_Vector, float, _Vector]:
    """From equal worths, where Newton's steps overshoot: each worth times how often its item was chosen, over
    how often the stages expected it (Hunter's step). A few of them, each as long as it gains something."""
    items = slice(0, problem.num_items)
    sign = -1 if problem.first_choice == "worst" else 1
    for _ in range(4):
        expected = problem.choices + sign * gradient[items]
        usable = (problem.choices > 0) & (expected > 0)
        ratio = np.log(np.divide(problem.choices, expected, out=np.ones_like(expected), where=usable))
        guess = x.copy()
        guess[items] += sign * ratio
        next_value, next_gradient = problem.evaluate(guess)
        if not next_value < value:
            break
        x, value, gradient = guess, next_value, next_gradient
    return x, value, gradient


def _newton_step(problem: _Problem, x: _Vector, gradient: _Vector, limit: float) -> _Vector:
    """The Newton equation by preconditioned conjugate gradients, the more exactly the smaller the gradient
    is: so that the steps converge faster than linearly. What it leaves need not be far below `limit`, which
    the gradient is to fall to."""
    preconditioner = 1 / problem.curvatures(gradient)
    step = np.zeros_like(x)
    residual = gradient
    scaled = preconditioner * residual
    direction = -scaled
    square = float(residual @ scaled)
    wanted = min(0.25, np.sqrt(square / problem.scale)) ** 2 * square
    for _ in range(20 * len(x)):
        product = problem.hessian_product(x, gradient, direction)
        curvature = float(direction @ product)
        if curvature <= 1e-14 * float(direction @ direction):
            return direction if not step.any() else step
        length = square / curvature
        step = step + length * direction
        residual = residual + length * product
        scaled = preconditioner * residual
        next_square = float(residual @ scaled)
        if next_square <= wanted or np.abs(residual).max() <= 0.1 * limit:
            break
        direction = (next_square / square) * direction - scaled
        square = next_square
    return step


def _standard_errors(problem: _Problem, x: _Vector, gradient: _Vector) -> _Vector:
    """Square roots of the diagonal of the inverse Hessian. Without a prior it is singular along the constant,
    which the pseudo-inverse leaves out: the covariance where the mean is held at 0."""
    hessian = np.array([problem.hessian_product(x, gradient, unit) for unit in np.eye(len(x))])
    hessian = (hessian + hessian.T) / 2
    if problem.precision == 0:
        constant = np.zeros(len(x))
        constant[: problem.num_items] = 1 / np.sqrt(problem.num_items)
        projection = np.outer(constant, constant)
        covariance = np.linalg.inv(hessian + projection) - projection
    else:
        covariance = np.linalg.inv(hessian)
    errors: _Vector = np.sqrt(np.diag(covariance)[: problem.num_items])
    return errors
