"""fit_plackett_luce against published and recomputed maxima, and what it refuses."""

from __future__ import annotations

import csv

import choix
import numpy as np
import pytest
import swiftdpo
from samples import ROOT, golden, nascar_races

REFERENCE = golden("pl_reference.json")
SHIRTS, BALLOTS = golden("tshirts.json"), golden("glasgow_calton.json")


def races():
    """The season without the four drivers who only ever came last."""
    field = REFERENCE["nascar83"]["n_items"]
    return [[driver for driver in race if driver < field] for race in nascar_races()]


def data_sets():
    yield "nascar83", races(), {}
    yield "tshirt", SHIRTS["orders"], {}
    yield "glasgow", BALLOTS["orders"], dict(weights=BALLOTS["counts"], unlisted="remain")
    yield "glasgow_sub", BALLOTS["orders"], dict(weights=BALLOTS["counts"], unlisted="absent")
    yield "choix-rankings-1", [[0, 1, 2], [1, 2, 0], [2, 0, 1]], {}
    yield "choix-rankings-2", [[0, 1, 2], [3, 2, 0], [1, 3]], {}


DATA = [pytest.param(*data, id=data[0]) for data in data_sets()]


@pytest.mark.parametrize("name, rankings, options", DATA)
def test_maximum_likelihood(name, rankings, options):
    expected = REFERENCE[name]
    fit = swiftdpo.fit_plackett_luce(rankings, expected["n_items"], tolerance=1e-12, **options)
    assert fit.converged, fit.message
    np.testing.assert_allclose(fit.log_worths, expected["theta_mle_zero_mean"], atol=1e-11)
    assert fit.log_likelihood == pytest.approx(float(expected["loglik_mle"]), rel=1e-13)
    assert abs(fit.log_worths.mean()) < 1e-15


def test_choix():
    """Its spectral iteration, run to the end, on the season and on rankings drawn at random."""
    drawn = swiftdpo.sample_rankings(np.linspace(-2, 2, 12), 40, seed=1)
    for rankings, count in ((races(), 83), (drawn.tolist(), 12)):
        theirs = choix.ilsr_rankings(count, rankings, tol=1e-12, max_iter=1000)
        fit = swiftdpo.fit_plackett_luce(rankings, count, tolerance=1e-12)
        np.testing.assert_allclose(fit.log_worths, theirs - theirs.mean(), atol=1e-10)
        assert fit.log_likelihood == pytest.approx(choix.log_likelihood_rankings(rankings, theirs), rel=1e-13)


def test_pseudo_rankings_connect_the_whole_season():
    """The R package's: half a win and half a loss of each driver against a ghost of log-worth 0."""
    expected = REFERENCE["nascar87_npseudo0.5"]
    whole, ghost = nascar_races(), 87
    pairs = [pair for driver in range(ghost) for pair in ([driver, ghost], [ghost, driver])]
    weights = [1.0] * len(whole) + [0.5] * len(pairs)
    fit = swiftdpo.fit_plackett_luce([*whole, *pairs], weights=weights, tolerance=1e-12)
    worths = fit.log_worths - fit.log_worths[ghost]
    np.testing.assert_allclose(worths[:ghost], expected["theta_ghost0"], atol=1e-10)


@pytest.mark.parametrize("ties", ["efron", "average"])
def test_ties_are_fitted_on_exact_products(ties):
    """At the maximum the gradient vanishes, and the errors are those of the Hessian's differences."""
    rng = np.random.default_rng(3)
    rankings = [rng.permutation(6) for _ in range(30)]
    ranks = [np.sort(rng.integers(1, 5, 6)) for _ in range(30)]
    fit = swiftdpo.fit_plackett_luce(rankings, ranks=ranks, ties=ties, tolerance=1e-12)
    assert fit.converged and fit.gradient_norm <= 1e-12 * 30

    def gradient(log_worths):
        scores = np.array([log_worths[ranking] for ranking in rankings])
        slopes = swiftdpo.plackett_luce_loss(scores, beta=1.0, ranks=ranks, ties=ties, reduction="sum")
        return np.bincount(np.concatenate(rankings), slopes.grad_policy_logps.ravel(), 6)

    np.testing.assert_allclose(gradient(fit.log_worths), 0, atol=1e-11)
    columns = [
        (gradient(fit.log_worths + step) - gradient(fit.log_worths - step)) / 2e-4
        for step in 1e-4 * np.eye(6)
    ]
    covariance = np.linalg.pinv(np.array(columns), rcond=1e-6)
    np.testing.assert_allclose(fit.standard_errors, np.sqrt(np.diag(covariance)), rtol=1e-6)


@pytest.mark.parametrize("name, rankings, options", DATA)
def test_prior(name, rankings, options):
    """A normal prior of variance 5 takes off 0.1 sum of squares."""
    expected = REFERENCE[name]["l2"]
    fit = swiftdpo.fit_plackett_luce(
        rankings, REFERENCE[name]["n_items"], prior_variance=5, tolerance=1e-12, **options
    )
    np.testing.assert_allclose(fit.log_worths, expected["theta"], atol=1e-11)
    assert fit.log_likelihood == pytest.approx(float(expected["loglik"]), rel=1e-13)


def test_published_season():
    """The vignette of the R package PlackettLuce, after Hunter (2004): log-worths above Austin Cameron's."""
    fit = swiftdpo.fit_plackett_luce(races())
    above = {driver: fit.log_worths[driver] - fit.log_worths[0] for driver in (57, 67, 50, 14, 16, 39)}
    published = {57: 4.15, 67: 3.62, 50: 2.08, 14: 0.03, 16: -0.31, 39: -0.15}
    assert {driver: round(value, 2) for driver, value in above.items()} == published


def test_drivers_who_never_win_are_named():
    with pytest.raises(ValueError, match="item 83 never wins against any other item"):
        swiftdpo.fit_plackett_luce(nascar_races())
    fit = swiftdpo.fit_plackett_luce(nascar_races(), prior_variance=1.0)
    assert fit.converged and set(np.argsort(fit.log_worths)[:4]) & {83, 84, 85, 86}


@pytest.mark.parametrize(
    "rankings, options, named",
    [
        ([[0, 1], [1, 2]], {}, "item 2 never"),
        ([[0, 1], [1, 0], [2, 3], [3, 2]], {}, "items 0, 1 never win"),
        ([[0, 1], [1, 0], [2, 0]], {}, "items 0, 1 never"),
        ([[0, 1], [1, 0]], dict(num_items=3), "items 0, 1 never"),
        ([[0, 1], [1, 0]], dict(num_items=3, unlisted="remain"), "item 2 never"),
        ([[0, 1], [1, 0]], dict(weights=[1.0, 0.0]), "item 1 never"),
        ([[0, 1, 2], [1, 0, 2], [2, 0, 1]], dict(top=1, weights=[1.0, 1.0, 0.0]), "item 2 never"),
        ([[0, 1], [0, 1]], dict(ranks=[[1, 2], [1, 2]]), "item 1 never"),
    ],
)
def test_not_connected(rankings, options, named):
    with pytest.raises(ValueError, match=named):
        swiftdpo.fit_plackett_luce(rankings, **options)


def test_a_tie_connects_both_ways():
    fit = swiftdpo.fit_plackett_luce([[0, 1], [0, 1]], ranks=[[1, 2], [1, 1]], ties="davidson")
    assert fit.converged and fit.log_worths[0] > fit.log_worths[1]


def test_puddings():
    """Davidson (1970), converged: worths, strength of ties, log-likelihood. He printed those of 7 steps."""
    with (ROOT / "Tests" / "Golden" / "pudding.csv").open(newline="") as file:
        pairs = [{key: int(value) for key, value in row.items()} for row in csv.DictReader(file)]
    rankings, ranks, weights = [], [], []
    for pair in pairs:
        for order, count in (([1, 2], "w_ij"), ([2, 1], "w_ji"), ([1, 1], "t_ij")):
            rankings.append([pair["i"] - 1, pair["j"] - 1])
            ranks.append(order)
            weights.append(pair[count])
    fit = swiftdpo.fit_plackett_luce(rankings, ranks=ranks, weights=weights, ties="davidson")
    assert fit.converged
    worths = np.exp(fit.log_worths) / np.exp(fit.log_worths).sum()
    converged = [0.138803, 0.173001, 0.161747, 0.165373, 0.158685, 0.202389]
    np.testing.assert_allclose(worths, converged, atol=2e-6)
    assert fit.tie_strengths == pytest.approx([0.746823], abs=3e-6)
    assert fit.log_likelihood == pytest.approx(-809.70951009, abs=1e-8)


def test_standard_errors_are_those_of_the_inverse_information():
    """Two items: log-worths x and -x, whose difference has the variance 1 / (n p (1 - p))."""
    fit = swiftdpo.fit_plackett_luce([[0, 1], [1, 0]], weights=[30.0, 10.0])
    assert fit.log_worths[0] - fit.log_worths[1] == pytest.approx(np.log(3), rel=1e-9)
    of_difference = 1 / np.sqrt(40 * 0.75 * 0.25)
    np.testing.assert_allclose(fit.standard_errors, of_difference / 2, rtol=1e-9)
    prior = swiftdpo.fit_plackett_luce([[0], [0]], 2, prior_variance=4.0)
    np.testing.assert_allclose(prior.standard_errors, 2.0, rtol=1e-9)


def test_worst_first_mirrors_best_first():
    best = swiftdpo.fit_plackett_luce(SHIRTS["orders"])
    worst = swiftdpo.fit_plackett_luce(SHIRTS["orders"], first_choice="worst")
    np.testing.assert_allclose(worst.log_worths, -best.log_worths, atol=1e-9)


def test_progress_and_what_stops_a_fit():
    seen = []
    fit = swiftdpo.fit_plackett_luce(races(), progress=seen.append)
    assert [step.iteration for step in seen] == list(range(1, fit.iterations + 1))
    assert seen[-1].gradient_norm == fit.gradient_norm
    assert [step.objective for step in seen] == sorted((step.objective for step in seen), reverse=True)
    short = swiftdpo.fit_plackett_luce(races(), max_iterations=2)
    assert not short.converged and "max_iterations" in short.message


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(rankings=[[0, 1], [1.5, 0]]), r"rankings\[1\]"),
        (dict(rankings=[[0, -1]]), "rankings"),
        (dict(rankings=[[0, 1, 0]]), r"rankings\[2\]"),
        (dict(rankings=[[0, 5]], num_items=4), "num_items is 4"),
        (dict(rankings=[[0, 1]], ranks=[[1]]), "ranks"),
        (dict(rankings=[[0, 1]], ranks=[[1, 3]]), r"ranks\[1\]"),
        (dict(rankings=[[0, 1]], weights=[1.0, 2.0]), "weights has shape"),
        (dict(rankings=[[0, 1]], prior_variance=0), "prior_variance is 0"),
        (dict(rankings=[[0, 1]], unlisted="error"), "unlisted is 'error'"),
        (dict(rankings=[[0, 1]], ties="davidson", max_tie=9), "max_tie is 9"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        swiftdpo.fit_plackett_luce(**({"prior_variance": 1.0} | arguments))
