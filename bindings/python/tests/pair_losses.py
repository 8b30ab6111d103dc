"""Every loss over pairs by its definition, on exact numbers; derivatives numerically, at 160 digits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import mpmath

Real = Any

fine = mpmath.MPContext()
fine.dps = 160


def s(x: Real) -> Real:
    return 1 / (1 + fine.exp(-x))


def sp(x: Real) -> Real:
    return max(x, fine.mpf(0)) + fine.log1p(fine.exp(-abs(x)))


class Pair(NamedTuple):
    """One pair with its parameters, as exact numbers."""

    policy_chosen: Real
    policy_rejected: Real
    ref_chosen: Real = 0
    ref_rejected: Real = 0
    beta: Real = 1
    margin: Real = 0
    p: Real = 1
    chosen_length: int = 1
    rejected_length: int = 1
    tied: bool = False
    target: Real = 0
    flip_rate: Real = 0
    tau: Real = 0.05
    nu: Real = 2
    alpha: Real = 0
    divergence: str = "reverse_kl"
    c: Real = 0.5


class Terms(NamedTuple):
    """A loss as its terms, whose largest is the ruler of rounding."""

    terms: tuple[Real, ...]

    @property
    def sum(self) -> Real:
        return fine.fsum(self.terms)

    @property
    def largest(self) -> Real:
        return max(abs(term) for term in self.terms)


def discopop(z: Real, tau: Real) -> tuple[Real, ...]:
    m = s(z / tau)
    return (1 - m) * sp(-z), m * fine.exp(-z)


def davidson(z: Real, nu: Real, tied: bool) -> tuple[Real, ...]:
    total = fine.log1p(2 * nu * fine.exp(-z / 2) + fine.exp(-z))
    return (total, z / 2, -fine.log(2 * nu)) if tied else (total,)


def rao_kupper(z: Real, nu: Real, tied: bool) -> tuple[Real, ...]:
    a = fine.log(nu)
    return (sp(a - z), sp(a + z), -fine.log(nu**2 - 1)) if tied else (sp(a - z),)


# L(z, u, v) for a label that is surely right.
SURE: dict[str, Callable[[Real, Real, Real, Pair], tuple[Real, ...]]] = {
    "sigmoid": lambda z, u, v, x: (sp(-z),),
    "robust": lambda z, u, v, x: (
        (1 - x.flip_rate) / (1 - 2 * x.flip_rate) * sp(-z),
        -x.flip_rate / (1 - 2 * x.flip_rate) * sp(z),
    ),
    "hinge": lambda z, u, v, x: (max(fine.mpf(0), 1 - z),),
    "slic": lambda z, u, v, x: (max(fine.mpf(0), -z),),
    "ipo": lambda z, u, v, x: (((z - fine.mpf(1) / 2) / x.beta) ** 2,),
    "nca_pair": lambda z, u, v, x: (sp(-u), sp(u) / 2, sp(v) / 2),
    "bco_pair": lambda z, u, v, x: (sp(-u), sp(v)),
    "sppo_hard": lambda z, u, v, x: (
        ((u - fine.mpf(1) / 2) / x.beta) ** 2,
        ((v + fine.mpf(1) / 2) / x.beta) ** 2,
    ),
    "apo_zero": lambda z, u, v, x: (s(-u), s(v)),
    "apo_down": lambda z, u, v, x: (s(u), s(-z)),
    "discopop": lambda z, u, v, x: discopop(z, x.tau),
    "rpo_sq": lambda z, u, v, x: ((z - x.target) ** 2,),
    "rao_kupper": lambda z, u, v, x: rao_kupper(z, x.nu, x.tied),
    "davidson": lambda z, u, v, x: davidson(z, x.nu, x.tied),
    "odds_ratio": lambda z, u, v, x: (x.beta * sp(-z),),
}
SAME = {"ipo_norm": "ipo", "sigmoid_norm": "sigmoid", "alphapo": "sigmoid"}
ALL = sorted({*SURE, *SAME, "exo_pair", "rpo_bwd_kl", "rpo_fwd_kl"})


def bend(x: Real) -> Real:
    """s'(x)"""
    return s(x) * s(-x)


def of_margin(*terms: Real) -> tuple[tuple[Real, ...], tuple[Real, ...]]:
    """dL/du and dL/dv of a function of z = u - v, given the terms of dL/dz."""
    return terms, tuple(-term for term in terms)


def discopop_slope(z: Real, tau: Real) -> tuple[Real, ...]:
    m, c = s(z / tau), s(-z / tau)
    return -c * s(-z), -m * fine.exp(-z), c * m / tau * fine.exp(-z), -c * m / tau * sp(-z)


def davidson_slope(z: Real, nu: Real, tied: bool) -> tuple[Real, ...]:
    total = 1 + 2 * nu * fine.exp(-z / 2) + fine.exp(-z)
    if tied:
        return 1 / total / 2, -fine.exp(-z) / total / 2
    return (-(fine.exp(-z) + nu * fine.exp(-z / 2)) / total,)


# dL/du and dL/dv of the same, each as its terms.
SLOPES: dict[str, Callable[[Real, Real, Real, Pair], tuple[tuple[Real, ...], tuple[Real, ...]]]] = {
    "sigmoid": lambda z, u, v, x: of_margin(-s(-z)),
    "robust": lambda z, u, v, x: of_margin(
        -(1 - x.flip_rate) / (1 - 2 * x.flip_rate) * s(-z), -x.flip_rate / (1 - 2 * x.flip_rate) * s(z)
    ),
    "hinge": lambda z, u, v, x: of_margin(fine.mpf(-1 if z < 1 else 0)),
    "slic": lambda z, u, v, x: of_margin(fine.mpf(-1 if z < 0 else 0)),
    "ipo": lambda z, u, v, x: of_margin(2 * (z - fine.mpf(1) / 2) / x.beta**2),
    "nca_pair": lambda z, u, v, x: ((-s(-u), s(u) / 2), (s(v) / 2,)),
    "bco_pair": lambda z, u, v, x: ((-s(-u),), (s(v),)),
    "sppo_hard": lambda z, u, v, x: (
        (2 * (u - fine.mpf(1) / 2) / x.beta**2,),
        (2 * (v + fine.mpf(1) / 2) / x.beta**2,),
    ),
    "apo_zero": lambda z, u, v, x: ((-bend(u),), (bend(v),)),
    "apo_down": lambda z, u, v, x: ((bend(u), -bend(z)), (bend(z),)),
    "discopop": lambda z, u, v, x: of_margin(*discopop_slope(z, x.tau)),
    "rpo_sq": lambda z, u, v, x: of_margin(2 * (z - x.target)),
    "rao_kupper": lambda z, u, v, x: of_margin(
        *((s(fine.log(x.nu) + z), -s(fine.log(x.nu) - z)) if x.tied else (-s(fine.log(x.nu) - z),))
    ),
    "davidson": lambda z, u, v, x: of_margin(*davidson_slope(z, x.nu, x.tied)),
    "odds_ratio": lambda z, u, v, x: of_margin(-x.beta * s(-z)),
}


class Score(NamedTuple):
    """What a loss compares, of one response: a number and its derivative by the log-probability."""

    value: Real
    slope: Real


def power_score(x: Real, gain: Real) -> Score:
    return Score(x, fine.mpf(1)) if gain == 0 else Score(fine.expm1(gain * x) / gain, fine.exp(gain * x))


def score(x: Real, divergence: str, c: Real) -> Score:
    if divergence == "js_divergence":
        return Score(fine.log(2 * s(x)), s(-x))
    gains = {"reverse_kl": 0, "forward_kl": -1, "alpha_divergence": c - 1}
    return power_score(x, gains[divergence])


class Point(NamedTuple):
    """Where a pair's loss is evaluated."""

    z: Real
    u: Real
    v: Real
    chosen: Score
    rejected: Score
    factor: Real
    """By which scores are multiplied: beta, but for odds ratios."""


def point(name: str, x: Pair) -> Point:
    a, b = x.policy_chosen - x.ref_chosen, x.policy_rejected - x.ref_rejected
    n, m = max(x.chosen_length, 1), max(x.rejected_length, 1)
    factor = x.beta
    if name == "alphapo":
        scores = [power_score(y, -x.alpha) for y in (a / n, b / m)]
    elif name == "odds_ratio":
        scores = [Score(y - fine.log(-fine.expm1(y)), -1 / fine.expm1(y)) for y in (a / n, b / m)]
        factor = fine.mpf(1)
    else:
        scores = [score(y, x.divergence, x.c) for y in (a, b)]
        if name.endswith("_norm"):
            scores = [Score(y.value / k, y.slope) for y, k in zip(scores, (n, m), strict=True)]
    if name in ("alphapo", "odds_ratio") or name.endswith("_norm"):
        scores = [Score(y.value, y.slope / k) for y, k in zip(scores, (n, m), strict=True)]
    chosen, rejected = scores
    z = factor * (chosen.value - rejected.value) - x.margin
    u, v = factor * chosen.value - x.margin / 2, factor * rejected.value + x.margin / 2
    return Point(z, u, v, chosen, rejected, factor)


def loss(name: str, x: Pair) -> Terms:
    z, u, v, *_ = point(name, x)
    if name == "exo_pair":
        return Terms((-s(z) * sp(-z), -s(z) * fine.log(x.p), -s(-z) * sp(z), -s(-z) * fine.log(1 - x.p)))
    if name.startswith("rpo_") and name != "rpo_sq":
        first, second = (x.target, z) if name == "rpo_bwd_kl" else (z, x.target)
        return Terms(
            (s(first) * sp(-second), -s(first) * sp(-first), s(-first) * sp(second), -s(-first) * sp(first))
        )
    sure = SURE[SAME.get(name, name)]
    right, flipped = sure(z, u, v, x), sure(-z, v, u, x)
    if (name in ("rao_kupper", "davidson") and x.tied) or name == "rpo_sq":
        return Terms(right)
    return Terms((*(x.p * term for term in right), *((1 - x.p) * term for term in flipped)))


def slopes(name: str, at: Point, x: Pair) -> tuple[Terms, Terms]:
    """dL/du and dL/dv."""
    z, u, v, *_ = at
    if name == "exo_pair":
        by = of_margin(bend(z) * z, -bend(z) * fine.log(x.p), bend(z) * fine.log(1 - x.p))
    elif name == "rpo_bwd_kl":
        by = of_margin(s(-x.target) * s(z), -s(x.target) * s(-z))
    elif name == "rpo_fwd_kl":
        by = of_margin(bend(z) * z, -bend(z) * x.target)
    else:
        sure = SLOPES[SAME.get(name, name)]
        by = sure(z, u, v, x)
        if not ((name in ("rao_kupper", "davidson") and x.tied) or name == "rpo_sq"):
            flipped = sure(-z, v, u, x)
            by = tuple(
                (*(x.p * term for term in right), *((1 - x.p) * term for term in wrong))
                for right, wrong in zip(by, flipped[::-1], strict=True)
            )
    return Terms(by[0]), Terms(by[1])


def gradients(name: str, x: Pair) -> dict[str, Terms]:
    """By the two log-probabilities, the margin and beta, each as its terms."""
    at = point(name, x)
    u, v = slopes(name, at, x)
    by_beta = [term * at.chosen.value for term in u.terms] + [term * at.rejected.value for term in v.terms]
    value = loss(name, x)
    if name in ("ipo", "ipo_norm", "sppo_hard"):
        by_beta += [-2 * term / x.beta for term in value.terms]
    if name == "odds_ratio":
        by_beta = [term / x.beta for term in value.terms]
    # What u and v have in common enters once.
    by_margin = [-term / 2 for term in u.terms] + [term / 2 for term in v.terms]
    if v.terms == tuple(-term for term in u.terms):
        by_margin = [-term for term in u.terms]
    elif name == "apo_down":
        by_margin = [-x.p * bend(at.u) / 2, (1 - x.p) * bend(at.v) / 2, (2 * x.p - 1) * bend(at.z)]
    return {
        "policy_chosen": Terms(tuple(term * at.factor * at.chosen.slope for term in u.terms)),
        "policy_rejected": Terms(tuple(term * at.factor * at.rejected.slope for term in v.terms)),
        "margin": Terms(tuple(by_margin)),
        "beta": Terms(tuple(by_beta)),
    }


def derivative(name: str, x: Pair, field: str) -> Real:
    """By one of the pair's numbers. The step is far below what a double can show."""

    def along(value: Real) -> Real:
        return loss(name, x._replace(**{field: value})).sum

    at = fine.mpf(getattr(x, field))
    step = fine.mpf(2) ** -160
    return (along(at + step) - along(at - step)) / (2 * step)
