"""No finite input gives NaN: every loss, score and result, alone and in mixtures, for numbers of any size."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import swiftdpo
from swiftdpo.dpo import F_DIVERGENCES, LOSS_TYPES

COUNT = 4096
BY_RESPONSE = {"nca_pair", "bco_pair", "sppo_hard", "apo_zero", "apo_down", "aot", "aot_unpaired"}
NO_DIVERGENCES = BY_RESPONSE | {"alphapo", "odds_ratio"}


def extremes(dtype):
    """Numbers at and beyond every threshold of exponentials, and at the ends of the type."""
    info = np.finfo(dtype)
    sizes = [0.0, 0.5, 1.0, 40.0, 89.0, 745.0, 1e5, float(info.tiny), float(info.smallest_subnormal)]
    sizes += [float(info.max) * share for share in (1e-200 if dtype == np.float64 else 1e-19, 0.3, 1.0)]
    return np.array([sign * size for size in sizes for sign in (1, -1)], dtype)


def positive(dtype):
    values = extremes(dtype)
    return values[values > 0]


def draws(dtype, seed):
    """Arrays whose elements are extremes, in no order: log-probabilities, then every parameter of a pair."""
    rng = np.random.default_rng(seed)
    arrays = [rng.choice(extremes(dtype), COUNT) for _ in range(4)]
    parameters = {
        "beta": rng.choice(positive(dtype), COUNT),
        "margin": rng.choice(extremes(dtype), COUNT),
        "weights": rng.choice(np.append(positive(dtype), dtype(0)), COUNT),
        "soft_labels": rng.choice(np.array([0.0, 1e-30, 0.25, 0.5, 1.0], dtype), COUNT),
        "reward_gaps": rng.choice(extremes(dtype), COUNT),
        "ties": rng.random(COUNT) < 0.3,
        "chosen_lengths": rng.choice([0, 1, 7, 2**62], COUNT),
        "rejected_lengths": rng.choice([0, 1, 3, 2**62], COUNT),
    }
    return arrays, parameters


#: Parameters of a batch: each set goes to the ends of their ranges.
BATCHES = [
    {},
    {
        "discopop_tau": 5e-324,
        "tie_strength": np.nextafter(1, 2),
        "alphapo_alpha": 5e-324,
        "reward_scale": 1e300,
    },
    {"discopop_tau": 1.7e308, "tie_strength": 1e300, "alphapo_alpha": -1.7e308, "reward_scale": -1e-300},
    {"discopop_tau": 1.0, "tie_strength": 2.0, "alphapo_alpha": 1.0, "reward_scale": 0.0},
]


def assert_no_nan(out, what):
    for field, value in out._asdict().items():
        values = np.asarray(value if value is not None else 0.0, np.float64)
        assert not np.isnan(values).any(), (what, field, np.flatnonzero(np.isnan(np.atleast_1d(values)))[:3])


def evaluate(names, dtype, seed, **options):
    arrays, parameters = draws(dtype, seed)
    if "odds_ratio" in names:
        arrays = [-np.abs(arrays[0]), -np.abs(arrays[1]), None, None]
    if "exo_pair" in names:
        parameters["soft_labels"] = np.clip(parameters["soft_labels"], dtype(1e-30), dtype(0.5))
    if seed % 2:
        parameters = {key: values for key, values in parameters.items() if key not in ("weights", "margin")}
    out = swiftdpo.dpo_loss(*arrays, loss_type=names, more=True, **(parameters | options))
    assert_no_nan(out, (names, dtype, seed, options))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", sorted(LOSS_TYPES))
def test_each_loss(name, dtype):
    divergences = list(F_DIVERGENCES) if name not in NO_DIVERGENCES else ["reverse_kl"]
    for seed, (divergence, options) in enumerate(itertools.product(divergences, BATCHES)):
        coefficients = (-1e300, 0.5, 1.5, 1e300) if divergence == "alpha_divergence" else (0.5,)
        for coefficient in coefficients:
            evaluate(
                [name],
                dtype,
                seed,
                f_divergence_type=divergence,
                f_alpha_divergence_coef=coefficient,
                label_smoothing=0.1 if name in ("robust", "exo_pair") else 0.0,
                reduction="mean" if seed % 3 else "sum",
                **options,
            )


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_short_path(dtype):
    """Plain DPO, which has a kernel of its own."""
    for seed in range(8):
        arrays, parameters = draws(dtype, seed)
        for label in ("weights", "soft_labels", "margin"):
            given = {key: parameters[key] for key in ("beta", "margin", "weights", "soft_labels")}
            if seed % 2:
                del given[label]
            out = swiftdpo.dpo_loss(*arrays, reduction="sum", **given)
            assert_no_nan(out, (dtype, seed, label))


@pytest.mark.parametrize("divergence", list(F_DIVERGENCES))
def test_mixtures(divergence):
    """Any losses together, with weights of any size: overflowing terms of opposite sign meet in them."""
    rng = np.random.default_rng(len(divergence))
    names = sorted(LOSS_TYPES if divergence == "reverse_kl" else set(LOSS_TYPES) - NO_DIVERGENCES)
    for seed in range(40):
        chosen = list(
            rng.choice([name for name in names if name != "odds_ratio" or seed % 4 == 0], rng.integers(2, 9))
        )
        evaluate(
            chosen,
            np.float64 if seed % 3 else np.float32,
            seed,
            f_divergence_type=divergence,
            loss_weights=rng.choice([0.0, 1e-300, 0.5, 1.0, 1e300], len(chosen)),
            label_smoothing=0.2,
            **BATCHES[seed % len(BATCHES)],
        )


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", ["kto", "apo_zero_unpaired", "bco"])
def test_single_responses(name, dtype):
    for seed, baseline in enumerate((0.0, 1.5, -1e300, 1.7e308)):
        (policy, reference, *_), parameters = draws(dtype, seed)
        options = {
            "beta": parameters["beta"],
            "weights": parameters["weights"],
            "desirable_weight": (0.0, 1.0, 1e300, 1.7e308)[seed],
            "reduction": "sum" if seed % 2 else "mean",
        }
        if name == "bco":
            out = swiftdpo.bco_loss(policy, reference, parameters["ties"], delta=baseline, **options)
        else:
            out = swiftdpo.kto_loss(
                policy, reference, parameters["ties"], kl=baseline, loss_type=name, **options
            )
        assert_no_nan(out, (name, dtype, seed))
        assert_no_nan(out.metrics, (name, dtype, seed))
