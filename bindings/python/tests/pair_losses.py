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
    total = fine.log(1 + 2 * nu * fine.exp(-z / 2) + fine.exp(-z))
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


def score(x: Real, divergence: str, c: Real) -> Real:
    if divergence == "forward_kl":
        return 1 - fine.exp(-x)
    if divergence == "js_divergence":
        return fine.log(2 * s(x))
    if divergence == "alpha_divergence" and c != 1:
        return (fine.exp((c - 1) * x) - 1) / (c - 1)
    return x


def loss(name: str, x: Pair) -> Terms:
    a, b = x.policy_chosen - x.ref_chosen, x.policy_rejected - x.ref_rejected
    n, m = max(x.chosen_length, 1), max(x.rejected_length, 1)
    beta = x.beta
    if name == "alphapo":
        a, b = (y if x.alpha == 0 else (1 - fine.exp(-x.alpha * y)) / x.alpha for y in (a / n, b / m))
    elif name == "odds_ratio":
        a, b = (y - fine.log(-fine.expm1(y)) for y in (a / n, b / m))
        beta = 1
    else:
        a, b = (score(y, x.divergence, x.c) for y in (a, b))
        if name.endswith("_norm"):
            a, b = a / n, b / m
    z = beta * (a - b) - x.margin
    u, v = beta * a - x.margin / 2, beta * b + x.margin / 2
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


def derivative(name: str, x: Pair, field: str) -> Real:
    """By one of the pair's numbers. The step is far below what a double can show."""

    def along(value: Real) -> Real:
        return loss(name, x._replace(**{field: value})).sum

    at = fine.mpf(getattr(x, field))
    step = fine.mpf(2) ** -160
    return (along(at + step) - along(at - step)) / (2 * step)
