"""Every loss of dpo_loss against its definition at 160 digits: values and all derivatives."""

from __future__ import annotations

import numpy as np
import pytest
import swiftdpo
from pair_losses import ALL, Pair, derivative, fine, gradients, loss
from samples import MARGINS, realistic_pairs
from ulps import PAIR_SINGLES, mp, ulp

FLOATS = [np.float64, np.float32]
DIFFERENCES = [
    "sigmoid",
    "robust",
    "hinge",
    "ipo",
    "exo_pair",
    "discopop",
    "sigmoid_norm",
    "ipo_norm",
    "rpo_bwd_kl",
    "rpo_fwd_kl",
    "rpo_sq",
    "rao_kupper",
    "davidson",
    "slic",
]
KINKED = {"hinge", "slic"}


def close(actual, terms, *, ulps, dtype, name, in_single=False):
    """Within `ulps` of the sum of the terms, or of the largest where they cancel; a float32 is that, rounded,
    or computed `in_single` precision. Beyond the type, infinite.
    """
    exact, info = terms.sum, np.finfo(dtype)
    if abs(exact) > info.max and abs(exact) * (1 - 1e-12) > info.max:
        assert np.isinf(actual) and np.sign(actual) == mp.sign(mp.mpf(exact)), (name, actual, exact)
        return
    signs = {fine.sign(term) for term in terms.terms} - {0}
    ruler = abs(exact) if len(signs) <= 1 else max(terms.largest, abs(exact))
    allowed = ulps * ulp(mp.mpf(ruler))
    if dtype == np.float32:
        allowed += (
            PAIR_SINGLES * ulp(mp.mpf(ruler), np.float32) if in_single else ulp(mp.mpf(exact), np.float32) / 2
        )
    error = abs(mp.mpf(float(actual)) - mp.mpf(exact))
    assert error <= allowed, (
        f"{name}: {actual!r} is {error / ulp(mp.mpf(ruler))} ulps from {mp.nstr(mp.mpf(exact), 20)}"
    )


def check(name, arrays, *, dtype, ulps=4, more=True, **parameters):
    """Values and derivatives of each pair; `arrays` and `parameters` are dpo_loss's."""
    count = len(arrays[0])
    references = arrays[2:] if name != "odds_ratio" else [None, None]
    kwargs = {key: value for key, value in parameters.items() if value is not None}
    out = swiftdpo.dpo_loss(*arrays[:2], *references, loss_type=name, reduction="sum", more=more, **kwargs)

    def given(key, default, i):
        value = parameters.get(key)
        if value is None:
            return fine.mpf(default)
        return fine.mpf(float(value[i])) if np.ndim(value) else fine.mpf(float(value))

    for i in range(count):
        smoothing = given("label_smoothing", 0.0, i)
        p = (
            given("soft_labels", 1.0, i)
            if name == "robust" or parameters.get("soft_labels") is not None
            else 1 - smoothing
        )
        reference = [
            fine.mpf(float(values[i])) if name != "odds_ratio" else fine.mpf(0) for values in arrays[2:]
        ]
        pair = Pair(
            fine.mpf(float(arrays[0][i])),
            fine.mpf(float(arrays[1][i])),
            *reference,
            beta=given("beta", 0.1, i),
            margin=given("margin", 0, i),
            p=p,
            chosen_length=int(given("chosen_lengths", 1, i)),
            rejected_length=int(given("rejected_lengths", 1, i)),
            tied=bool(given("ties", 0, i)),
            target=given("reward_scale", 1, i) * given("reward_gaps", 0, i),
            flip_rate=smoothing,
            tau=given("discopop_tau", 0.05, i),
            nu=given("tie_strength", 2, i),
            alpha=given("alphapo_alpha", 0, i),
            divergence=parameters.get("f_divergence_type", "reverse_kl"),
            c=given("f_alpha_divergence_coef", 0.5, i),
        )
        where = f"{name}[{i}] of {pair}"
        close(
            out.losses[i], loss(name, pair), ulps=ulps, dtype=dtype, name=where, in_single=name == "sigmoid"
        )
        exact = gradients(name, pair)
        fields = {
            "grad_policy_chosen_logps": "policy_chosen",
            "grad_policy_rejected_logps": "policy_rejected",
        }
        if more and dtype == np.float64:
            fields |= {"grad_margin": "margin", "grad_beta": "beta"}
        for field, variable in fields.items():
            close(
                getattr(out, field)[i],
                exact[variable],
                ulps=ulps,
                dtype=dtype,
                name=f"{field}, {where}",
                in_single=name == "sigmoid",
            )
    return out


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", ALL)
def test_every_margin(name, dtype):
    """z from denormals to a million, either sign, through each response."""
    z, zero = MARGINS.astype(dtype), np.zeros_like(MARGINS, dtype)
    if name in KINKED:
        z = np.where((np.abs(z) < 1e-3) | (np.abs(z) == 1), z + dtype(0.25), z)
    if name == "odds_ratio":
        x = -np.maximum(np.abs(z), dtype(1e-20))
        check(
            name,
            [x, np.full_like(x, -1), zero, zero],
            dtype=dtype,
            beta=0.5,
            chosen_lengths=np.ones(len(z), np.int64),
            rejected_lengths=np.ones(len(z), np.int64),
            margin=0.0,
            more=False,
        )
        return
    lengths = np.ones(len(z), np.int64) if name.endswith("_norm") or name == "alphapo" else None
    gaps = np.full_like(z, 0.7) if name.startswith("rpo") else None
    smoothing = 0.2 if name in ("exo_pair", "robust") else 0.0
    for arrays in ([z, zero, zero, zero], [zero, -z, zero, zero]):
        check(
            name,
            arrays,
            dtype=dtype,
            beta=1.0,
            chosen_lengths=lengths,
            rejected_lengths=lengths,
            reward_gaps=gaps,
            label_smoothing=smoothing,
            more=False,
        )


def varied(name, count, dtype, seed=0):
    """An own value of every parameter for each pair."""
    rng = np.random.default_rng(seed)
    parameters = {
        "beta": (10 ** rng.uniform(-2, 0.5, count)).astype(dtype),
        "margin": rng.normal(0, 2, count).astype(dtype),
        "soft_labels": rng.uniform(0.05, 0.95, count).astype(dtype),
        "label_smoothing": 0.15 if name == "robust" else 0.0,
        "chosen_lengths": rng.integers(1, 400, count),
        "rejected_lengths": rng.integers(1, 400, count),
        "tie_strength": 1.75,
        "discopop_tau": 0.3,
        "alphapo_alpha": 0.25,
        "reward_scale": 0.5,
    }
    if name in ("rao_kupper", "davidson"):
        parameters["ties"] = rng.integers(0, 2, count).astype(bool)
    if name.startswith("rpo"):
        parameters["reward_gaps"] = rng.normal(0, 3, count).astype(dtype)
    return parameters


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", ALL)
def test_realistic_pairs_with_their_own_parameters(name, dtype):
    arrays = realistic_pairs(40, dtype, seed=len(name))
    if name == "odds_ratio":
        arrays = [values * dtype(0.02) for values in arrays]
    check(name, arrays, dtype=dtype, **varied(name, 40, dtype))


@pytest.mark.parametrize("name", ALL)
def test_random_margins_to_a_million(name):
    """Of either sign and any size, by both responses; the same of labels in doubt."""
    rng = np.random.default_rng(len(name))
    for largest in (6.0, 2.8):
        z = rng.choice([-1, 1], 24) * 10 ** rng.uniform(-3, largest, 24)
        zero = np.zeros(24)
        arrays = [z, rng.permutation(z) * rng.uniform(0, 1, 24), zero, zero]
        if name == "odds_ratio":
            # Mean log-probabilities, to within 1e-300 of certainty.
            arrays = [-(10 ** rng.uniform(-300, 2, 24)), -(10 ** rng.uniform(-30, 2, 24)), zero, zero]
        if name == "alphapo":
            arrays = [np.maximum(-abs(x), -2000) for x in arrays]
        for labels in (None, rng.uniform(0.05, 0.95, 24)):
            check(
                name,
                arrays,
                dtype=np.float64,
                beta=1.0,
                label_smoothing=0.2 if name in ("exo_pair", "robust") else 0.0,
                soft_labels=labels,
                chosen_lengths=np.ones(24, np.int64),
                rejected_lengths=np.full(24, 3),
                reward_gaps=rng.normal(0, 3, 24),
                tie_strength=7.5,
                ties=np.arange(24) % 2 == 0 if name in ("rao_kupper", "davidson") else None,
                alphapo_alpha=0.25,
            )


@pytest.mark.parametrize("name", ALL)
def test_the_terms_of_the_gradients_add_up(name):
    """The oracle's own: sums of terms against numerical derivatives of the loss."""
    for seed in range(4):
        rng = np.random.default_rng(seed)
        pair = Pair(
            *(fine.mpf(x) for x in -rng.uniform(0.1, 9, 4)),
            beta=fine.mpf(rng.uniform(0.1, 2)),
            margin=fine.mpf(rng.normal()),
            p=fine.mpf(rng.uniform(0.1, 0.9)),
            chosen_length=3,
            rejected_length=7,
            tied=bool(seed % 2),
            target=fine.mpf(rng.normal()),
            flip_rate=fine.mpf(0.1) if name == "robust" else fine.mpf(0),
            tau=fine.mpf(0.5),
            alpha=fine.mpf(0.25),
        )
        if name == "odds_ratio":
            pair = pair._replace(ref_chosen=fine.mpf(0), ref_rejected=fine.mpf(0))
        for field, terms in gradients(name, pair).items():
            assert abs(terms.sum - derivative(name, pair, field)) < fine.mpf(10) ** -60, field


@pytest.mark.parametrize("divergence", ["forward_kl", "js_divergence", "alpha_divergence"])
@pytest.mark.parametrize("name", DIFFERENCES)
def test_f_divergences(name, divergence):
    rng = np.random.default_rng(3)
    arrays = [rng.uniform(-6, 6, 30) for _ in range(4)]
    for c in (
        (0.5, -1.0, 2.0, 1.0 + 2**-40, 1.0)
        if divergence == "alpha_divergence" and name == "sigmoid"
        else (0.5,)
    ):
        check(
            name,
            arrays,
            dtype=np.float64,
            f_divergence_type=divergence,
            f_alpha_divergence_coef=c,
            **(varied(name, 30, np.float64) | {"beta": rng.uniform(0.1, 1, 30)}),
        )


@pytest.mark.parametrize("name", [name for name in ALL if name not in DIFFERENCES] + ["aot", "aot_unpaired"])
def test_f_divergences_where_they_have_no_meaning(name):
    lengths = {"chosen_lengths": [2], "rejected_lengths": [3]}
    for divergence in ("forward_kl", "js_divergence", "alpha_divergence"):
        with pytest.raises(ValueError, match=r"loss_types.*f_divergence"):
            swiftdpo.dpo_loss(
                [-1.0], [-2.0], None, None, loss_type=name, f_divergence_type=divergence, **lengths
            )


@pytest.mark.parametrize("name", ["rao_kupper", "davidson"])
def test_gradient_by_the_strength_of_ties(name):
    arrays = realistic_pairs(30)
    parameters = varied(name, 30, np.float64)
    out = swiftdpo.dpo_loss(*arrays, loss_type=name, reduction="mean", more=True, **parameters)

    def at(nu):
        return swiftdpo.dpo_loss(*arrays, loss_type=name, **(parameters | {"tie_strength": nu})).loss

    step = 1e-5
    slope = (at(1.75 + step) - at(1.75 - step)) / (2 * step)
    assert out.grad_tie_strength == pytest.approx(slope, rel=1e-8)


@pytest.mark.parametrize("name", [*ALL])
def test_curvature(name):
    """Along z at u + v fixed, from slopes by the margin: d loss / d margin = -d loss / dz."""
    if name in KINKED:
        arrays = [np.array([0.3, -4.0]), np.zeros(2), np.zeros(2), np.zeros(2)]
    else:
        arrays = realistic_pairs(20)
    if name == "odds_ratio":
        arrays = [values * 0.02 for values in arrays[:2]] + [None, None]
    parameters = varied(name, len(arrays[0]), np.float64)

    def slopes(step):
        changed = parameters | {"margin": parameters["margin"] + step}
        return swiftdpo.dpo_loss(*arrays, loss_type=name, more=True, reduction="sum", **changed)

    step = 1e-5
    expected = (slopes(step).grad_margin - slopes(-step).grad_margin) / (2 * step)
    np.testing.assert_allclose(slopes(0).curvatures, expected, rtol=1e-6, atol=1e-8)
