"""Values that others published, or that were computed elsewhere from published inputs."""

from __future__ import annotations

import math

import numpy as np
import pytest
import swiftdpo
from samples import golden, nascar_races

DPO = golden("dpo_reference.json")
PLACKETT_LUCE = golden("pl_reference.json")
LISTMLE = golden("listmle_published.json")

#: The inputs are decimals; feeding the nearest doubles moves the results by this much.
DECIMAL = dict(rtol=1e-13, atol=1e-15)


# DPO: torchtune, tunix, LLaMA-Factory, TRL, NeMo RL


@pytest.mark.parametrize(
    "source, name",
    [(source, name) for source, case in DPO.items() for name in case if name.startswith(("eps=", "beta="))],
)
def test_dpo_reference(source, name):
    case, pairs = DPO[source], DPO[source][name]
    option, value = name.split("=")
    beta = float(value) if option == "beta" else case["beta"]
    eps = float(value) if option == "eps" else 0.0
    policy, ref = [np.array(case[key]) for key in ("pc", "pr")], [np.array(case[key]) for key in ("rc", "rr")]

    def loss(*inputs, reduction):
        """A coin toss for a label (eps = 0.5) is no smoothing any more: it is given as a soft label."""
        smoothing = dict(soft_labels=np.full(len(pairs), 0.5)) if eps == 0.5 else dict(label_smoothing=eps)
        return swiftdpo.dpo_loss(*inputs, beta=beta, reduction=reduction, **smoothing)

    def column(key):
        return np.array([float(pair[key]) for pair in pairs])

    out = loss(*policy, *ref, reduction="none")
    np.testing.assert_allclose(out.losses, column("loss"), **DECIMAL)
    np.testing.assert_allclose(out.grad_policy_chosen_logps, column("dL_dpc"), **DECIMAL)
    np.testing.assert_allclose(out.grad_policy_rejected_logps, column("dL_dpr"), **DECIMAL)
    np.testing.assert_allclose(out.chosen_rewards, column("chosen_reward"), **DECIMAL)
    np.testing.assert_allclose(out.rejected_rewards, column("rejected_reward"), **DECIMAL)
    np.testing.assert_allclose(out.gradient_weights, 1 / (1 + np.exp(column("z"))), **DECIMAL)
    np.testing.assert_allclose(
        loss(*policy, None, None, reduction="none").losses, column("reffree"), **DECIMAL
    )
    mean = loss(*policy, *ref, reduction="mean")
    assert mean.loss == pytest.approx(float(case.get(f"mean_{name}", column("loss").mean())), rel=1e-14)
    np.testing.assert_allclose(mean.grad_policy_chosen_logps, column("dL_dpc") / len(pairs), **DECIMAL)


@pytest.mark.parametrize("eps, published", [(0.0, 0.753059), (0.3, 0.925447)])
def test_numbers_printed_by_tunix(eps, published):
    inputs = [np.array(DPO["tunix"][key]) for key in ("pc", "pr", "rc", "rr")]
    assert swiftdpo.dpo_loss(*inputs, label_smoothing=eps).loss == pytest.approx(published, abs=1e-6)


def test_label_smoothing_of_one_half_is_refused():
    inputs = [np.array(DPO["tunix"][key]) for key in ("pc", "pr", "rc", "rr")]
    with pytest.raises(ValueError, match="label_smoothing"):
        swiftdpo.dpo_loss(*inputs, label_smoothing=0.5)


def test_nemo_rl():
    """From logits on, all zero, 16 entries: each of two tokens costs ln 16, and the pair's loss is ln 2."""
    labels = np.array([[0, 5, 7], [0, 1, 15]])
    labels[:, 0] = -100
    out = swiftdpo.sequence_logps(np.zeros((2, 3, 16), np.float32), labels)
    np.testing.assert_allclose(out.logps, -2 * math.log(16), rtol=1e-7)
    chosen, rejected = out.logps[:1], out.logps[1:]
    preference = swiftdpo.dpo_loss(chosen, rejected, np.zeros(1), np.zeros(1)).loss
    assert preference == pytest.approx(0.6931471805599453, rel=1e-15)
    assert preference - 0.5 * chosen[0] == pytest.approx(3.4657359027997265, rel=1e-7)


# Plackett-Luce: whole data sets


def log_likelihood(theta, rankings, counts=None):
    """Of rankings of some of the items each, with its gradient by theta: one call for each length."""
    theta, total, gradient = np.asarray(theta, dtype=np.float64), 0.0, np.zeros(len(theta))
    counts = np.ones(len(rankings)) if counts is None else np.asarray(counts, dtype=np.float64)
    for size in sorted({len(ranking) for ranking in rankings}):
        chosen = [i for i, ranking in enumerate(rankings) if len(ranking) == size]
        items = np.array([rankings[i] for i in chosen])
        out = swiftdpo.plackett_luce_loss(theta[items], beta=1.0, weights=counts[chosen], reduction="sum")
        total -= out.loss
        np.add.at(gradient, items, -out.grad_policy_logps)
    return total, gradient


def data_sets():
    """Name in pl_reference.json, rankings, how often each was seen."""
    field = PLACKETT_LUCE["nascar83"]["n_items"]  # without the four drivers who only ever came last
    yield "nascar83", [[driver for driver in race if driver < field] for race in nascar_races()], None
    shirts = golden("tshirts.json")
    yield "tshirt", shirts["orders"], shirts["counts"]
    ballots = golden("glasgow_calton.json")
    yield "glasgow_sub", ballots["orders"], ballots["counts"]
    yield "choix-rankings-1", [[0, 1, 2], [1, 2, 0], [2, 0, 1]], None
    yield "choix-rankings-2", [[0, 1, 2], [3, 2, 0], [1, 3]], None


@pytest.mark.parametrize("name, rankings, counts", [pytest.param(*data, id=data[0]) for data in data_sets()])
def test_plackett_luce_reference(name, rankings, counts):
    reference = PLACKETT_LUCE[name]
    assert sum(counts or [1] * len(rankings)) == reference["n_rankings"]
    size = reference["n_items"]

    value, _ = log_likelihood(np.zeros(size), rankings, counts)
    assert value == pytest.approx(reference["loglik_uniform(theta=0)"], rel=1e-14)

    theta = [0.5 * math.sin(i + 1) for i in range(size)]
    value, gradient = log_likelihood(theta, rankings, counts)
    assert value == pytest.approx(float(reference["fixed_theta"]["loglik"]), rel=1e-14)
    exact = np.array(reference["fixed_theta"]["grad"], dtype=np.float64)
    np.testing.assert_allclose(gradient, exact, rtol=1e-13, atol=1e-14 * reference["n_stages"])

    value, gradient = log_likelihood(reference["theta_mle_zero_mean"], rankings, counts)
    assert value == pytest.approx(float(reference["loglik_mle"]), rel=1e-14)
    assert abs(gradient).max() < 1e-15 * reference["n_stages"] + 1e-14

    penalised = reference["l2"]
    theta = np.array(penalised["theta"])
    value, gradient = log_likelihood(theta, rankings, counts)
    assert value == pytest.approx(float(penalised["loglik"]), rel=1e-14)
    assert value - penalised["alpha"] * (theta**2).sum() == pytest.approx(
        float(penalised["penalized"]), rel=1e-14
    )
    stationary = gradient - 2 * penalised["alpha"] * theta
    assert abs(stationary).max() < 1e-15 * reference["n_stages"] + 1e-14


def test_nascar_with_all_drivers_and_a_ghost():
    """hturner/PlackettLuce's fit of all 87: each driver ties half a race against a ghost of log-worth 0. The
    ghost's share is dpo_loss with soft labels, the races' plackett_luce_loss: at the optimum their gradients
    cancel."""
    reference, rankings = PLACKETT_LUCE["nascar87_npseudo0.5"], nascar_races()
    theta = np.array(reference["theta_ghost0"])
    value, gradient = log_likelihood(theta, rankings)
    assert value == pytest.approx(reference["loglik_realdata"], rel=1e-14)
    ghost = swiftdpo.dpo_loss(
        theta, np.zeros(87), None, None, beta=1.0, soft_labels=np.full(87, 0.5), reduction="sum"
    )
    np.testing.assert_allclose(gradient, ghost.grad_policy_chosen_logps, atol=1e-9)
    np.testing.assert_allclose(theta - theta[0], reference["theta_minus_ref0"], atol=1e-12)


# Plackett-Luce: published toys


@pytest.mark.parametrize("case", LISTMLE, ids=lambda case: f"{case['source']}-{case['loss'][:6]}")
def test_listmle(case):
    scores, ranking = np.array([case["scores"]]), np.array([case["ranking"]])
    out = swiftdpo.plackett_luce_loss(scores, beta=1.0, rankings=ranking, reduction="none")
    np.testing.assert_allclose(out.losses, float(case["loss"]), rtol=1e-14)


def test_listmle_weights_and_mean():
    """tensorflow/ranking: the mean of two lists, and their sum with weights 2 and 1, halved."""
    scores = np.log([[1, 3, 2], [1, 2, 3]])
    lists = dict(beta=1.0, rankings=np.array([[1, 2, 0], [2, 0, 1]]))
    assert swiftdpo.plackett_luce_loss(scores, **lists).loss == pytest.approx(1.4451858789480823, rel=1e-15)
    weighted = swiftdpo.plackett_luce_loss(scores, **lists, weights=np.array([2.0, 1.0]))
    assert weighted.loss == pytest.approx(1.9944920232821371, rel=1e-15)


@pytest.mark.parametrize(
    "scores, ranking, published",
    [
        ([1.0, 3.0, 2.0], [2, 0, 1], 3.534534),
        ([1.0, 3.0, 2.0], [2, 1, 0], 1.534534),
        ([3.0, 2.0], [1, 0], 1.3132617),
    ],
)
def test_listmle_of_either_tie_order(scores, ranking, published):
    """tensorflow/ranking breaks ties at random, and publishes both outcomes."""
    out = swiftdpo.plackett_luce_loss(np.array([scores]), beta=1.0, rankings=np.array([ranking]))
    assert out.loss == pytest.approx(published, abs=1e-6)


def test_choix_log_likelihoods():
    """choix tests/test_utils.py: two rankings of four and three of the items, and pairs."""
    rankings = [(0, 1, 2, 3), (1, 3, 0)]
    zeros, log_linear, ramp = np.zeros(10), np.log(np.linspace(1, 2, 4)), np.arange(10.0)
    assert log_likelihood(zeros, rankings)[0] == pytest.approx(-4.9698132995760006, rel=1e-15)
    assert log_likelihood(log_linear, rankings)[0] == pytest.approx(-5.4860927740244551166, rel=1e-15)
    assert log_likelihood(zeros, [(0, 1)])[0] == pytest.approx(-math.log(2), rel=1e-15)
    assert log_likelihood(ramp, [(0, 1)])[0] == pytest.approx(-math.log(1 + math.e), rel=1e-15)


@pytest.mark.parametrize(
    "rankings, theta, deviance",
    [
        ([[0, 1], [2, 0], [1, 0], [1, 2]], [0.0, 0.83923527, 0.41961761], 5.13562726),
        (
            [[0, 1], [2, 0, 3], [0, 3], [1, 0, 3, 2], [1, 2, 3], [0, 1, 2]],
            [0.0, -0.109295, -1.921295, -2.644654],
            2 * 6.5470472049,
        ),
        (
            [[0, 1], [2, 0], [0, 3], [1, 0], [1, 2], [3, 2]],
            [0.0, 0.490778, -0.658728, -0.329364],
            2 * 3.8808418526,
        ),
    ],
    ids=["strict", "partial", "pairs"],
)
def test_r_package_plackett_luce(rankings, theta, deviance):
    """hturner/PlackettLuce: a fit printed in its vignette and two of its tests' data, to their digits."""
    value, gradient = log_likelihood(theta, rankings)
    assert -2 * value == pytest.approx(deviance, abs=1e-8)
    np.testing.assert_allclose(gradient, 0, atol=1e-6)
