"""Inputs that several tests share."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[3]

#: Margins z from nothing to far beyond where exp under- and overflows, of either sign.
MAGNITUDES = [
    0.0, 5e-324, 1e-310, 2.3e-308, 1e-160, 1e-20, 1.1e-16, 1e-8, 0.01, 0.1, 0.3, 0.6931471805599453, 1.0, 2.0,
    5.5, 10.0, 17.3, 30.0, 36.04, 36.75, 37.43, 40.0, 88.7, 100.1, 103.97, 300.3, 600.7, 707.9, 708.4, 709.79,
    720.2, 744.4, 745.13, 745.2, 746.0, 1e3, 1e4, 123456.789, 1e6,
]  # fmt: skip
MARGINS = np.array([sign * magnitude for magnitude in MAGNITUDES for sign in (1, -1)])


def golden(name: str):
    """Reference values, or the data that they are of, as the project's other test suites read them."""
    return json.loads((ROOT / "Tests" / "Golden" / name).read_text(encoding="utf-8"))


def nascar_races() -> list[list[int]]:
    """The season that the ranking demo fits: for each race its drivers, winner first."""
    return json.loads((ROOT / "examples" / "data" / "nascar2002.json").read_text(encoding="utf-8"))["races"]


def realistic_pairs(count: int, dtype=np.float64, seed: int = 0) -> list[np.ndarray]:
    """Policy chosen and rejected, reference chosen and rejected: sums over long responses, to -2500 and less.

    The policy has drifted far while its log-ratios differ by little: plain subtraction errs by 100 ulps.
    """
    rng = np.random.default_rng(seed)
    ref_chosen, ref_rejected = rng.uniform(-2500, -50, (2, count))
    drift = -rng.exponential(500, count)
    policy_chosen = ref_chosen + drift + rng.normal(0, 5, count)
    policy_rejected = ref_rejected + drift
    return [values.astype(dtype) for values in (policy_chosen, policy_rejected, ref_chosen, ref_rejected)]


def realistic_groups(groups: int, size: int, dtype=np.float64, seed: int = 0) -> list[np.ndarray]:
    """Policy and reference log-probabilities of groups of responses, as realistic_pairs has them."""
    rng = np.random.default_rng(seed)
    ref = rng.uniform(-2500, -50, (groups, size))
    policy = ref - rng.exponential(500, (groups, 1)) + rng.normal(0, 8, (groups, size))
    return [policy.astype(dtype), ref.astype(dtype)]


def random_rankings(groups: int, size: int, seed: int = 0) -> np.ndarray:
    """A random ranking for each group."""
    return np.random.default_rng(seed).permuted(np.tile(np.arange(size), (groups, 1)), axis=1)
