"""Polynomial coefficients of Sources/Elementary, by Remez exchange in 60-digit arithmetic.

Prints each polynomial as Swift literals, lowest power first, with its largest relative error before rounding.
Run it with mpmath installed: python tools/minimax.py
"""

from collections.abc import Callable

import mpmath as mp

mp.mp.dps = 60


def remez(target: Callable, weight: Callable, degree: int, low, high, rounds: int = 12):
    """The polynomial p of `degree` with the smallest max |weight(x) (p(x) - target(x))| on [low, high]."""
    count = degree + 2
    middle, half = (mp.mpf(low) + high) / 2, (mp.mpf(high) - low) / 2
    nodes = [middle - half * mp.cos(mp.pi * k / (count - 1)) for k in range(count)]
    for _ in range(rounds):
        system = mp.matrix(count, count)
        values = mp.matrix(count, 1)
        for row, x in enumerate(nodes):
            for power in range(degree + 1):
                system[row, power] = x**power
            system[row, degree + 1] = (-1) ** row / weight(x)
            values[row] = target(x)
        coefficients = list(mp.lu_solve(system, values))[: degree + 1]

        def error(x, coefficients=coefficients):
            return weight(x) * (mp.polyval(coefficients[::-1], x) - target(x))

        # The next nodes: the extremum of each sign run of the error on a fine grid.
        grid = [low + (mp.mpf(high) - low) * k / 4000 for k in range(4001)]
        errors = [error(x) for x in grid]
        extrema, best = [], 0
        for k in range(1, len(grid)):
            if mp.sign(errors[k]) != mp.sign(errors[best]):
                extrema.append(grid[best])
                best = k
            elif abs(errors[k]) > abs(errors[best]):
                best = k
        extrema.append(grid[best])
        if len(extrema) < count:
            break
        nodes = extrema[:count]
    return coefficients, max(abs(e) for e in errors)


def exp_tail(x):
    """(e^x - 1 - x) / x^2"""
    return mp.fsum(x**k / mp.factorial(k + 2) for k in range(40))


def exp_line(x):
    """(e^x - 1) / x: with e^0 exactly 1"""
    return mp.fsum(x**k / mp.factorial(k + 1) for k in range(40))


def exp2_tail(f):
    """(2^f - 1 - f ln 2) / f^2: the linear coefficient is ln 2 itself, which a float holds to 2e-9"""
    return mp.fsum(mp.log(2) ** (k + 2) * f**k / mp.factorial(k + 2) for k in range(40))


def exp2_line(f):
    """(2^f - 1) / f: with 2^0 exactly 1"""
    return mp.fsum(mp.log(2) ** (k + 1) * f**k / mp.factorial(k + 1) for k in range(40))


def log_tail(z):
    """(2 atanh(s) - 2 s) / (s z) at z = s^2: the odd series of log((1 + s) / (1 - s)) after its first term"""
    return mp.fsum(2 * z**k / (2 * k + 3) for k in range(40))


def log1p_tail(u):
    """(log(1 + u) - u) / u^2"""
    return (mp.log1p(u) - u) / u**2 if u > mp.mpf("1e-15") else -HALF + u / 3


def jensen_shannon_tail(z):
    """((1 + s) log(1 + s) + (1 - s) log(1 - s)) / z at z = s^2"""
    return mp.fsum(z**k / ((k + 1) * (2 * k + 1)) for k in range(80))


HALF = mp.mpf(1) / 2
HALF_LN2 = mp.log(2) / 2
TABLES = {
    "exp, f64: (e^r - 1 - r) / r^2": (
        exp_tail,
        lambda r: r**2 * mp.exp(-r) + mp.mpf(10) ** -30,
        9,
        -HALF_LN2,
        HALF_LN2,
    ),
    "exp for f32: (e^r - 1) / r": (
        exp_line,
        lambda r: abs(r) * mp.exp(-r) + mp.mpf(10) ** -30,
        6,
        -HALF_LN2,
        HALF_LN2,
    ),
    "exp, f32: (2^f - 1 - f ln 2) / f^2": (
        exp2_tail,
        lambda f: f**2 * 2**-f + mp.mpf(10) ** -30,
        4,
        -HALF,
        HALF,
    ),
    "exp, f32, for sums over 16 bits: (2^f - 1) / f": (
        exp2_line,
        lambda f: abs(f) * 2**-f + mp.mpf(10) ** -30,
        4,
        -HALF,
        HALF,
    ),
    "exp, f32, for results of 16 bits: (2^f - 1) / f": (
        exp2_line,
        lambda f: abs(f) * 2**-f + mp.mpf(10) ** -30,
        3,
        -HALF,
        HALF,
    ),
    "log, f64: (2 atanh(s) - 2 s) / s^3 in s^2": (
        log_tail,
        lambda z: z + mp.mpf("1e-4"),
        6,
        mp.mpf(0),
        (3 - 2 * mp.sqrt(2)) ** 2 + mp.mpf("1e-4"),
    ),
    "log1p, f32: (log(1 + u) - u) / u^2": (
        log1p_tail,
        lambda u: u**2 / mp.log1p(u) + mp.mpf(10) ** -12 if u > 0 else mp.mpf(10) ** -12,
        8,
        mp.mpf(0),
        mp.mpf(1),
    ),
    "expExcess, f64: (e^x - 1 - x) / x^2": (exp_tail, lambda x: 1 / exp_tail(x), 14, mp.mpf(-1), mp.mpf(1)),
    "Jensen-Shannon, f64, in s^2": (
        jensen_shannon_tail,
        lambda z: 1 / jensen_shannon_tail(z),
        13,
        mp.mpf(0),
        mp.mpf("0.25"),
    ),
}

if __name__ == "__main__":
    for title, (target, weight, degree, low, high) in TABLES.items():
        coefficients, error = remez(target, weight, degree, mp.mpf(low), mp.mpf(high))
        print(f"{title}: relative error {mp.nstr(error, 3)}")
        for c in coefficients:
            print(f"  {float(c)!r},")
