"""What holds for losses over pairs: mixtures, coupled losses, symmetries, extremes, peers."""

from __future__ import annotations

import numpy as np
import pytest
import swiftdpo
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from pair_losses import ALL
from samples import realistic_pairs
from swiftdpo.dpo import LOSS_TYPES

LENGTHS = {"chosen_lengths": np.arange(1, 41), "rejected_lengths": np.arange(41, 1, -1)}
PARAMETERS = LENGTHS | {"reward_gaps": np.linspace(-3, 3, 40), "label_smoothing": 0.1, "tie_strength": 1.5}
DIFFERENCE = [
    name
    for name in LOSS_TYPES
    if name
    not in (
        "nca_pair",
        "bco_pair",
        "sppo_hard",
        "apo_zero",
        "apo_down",
        "sft",
        "alphapo",
        "odds_ratio",
        "sigmoid_norm",
        "ipo_norm",
        "aot_unpaired",
    )
]


def fields(out):
    return {
        name: np.asarray(value)
        for name, value in out._asdict().items()
        if name != "metrics" and value is not None
    }


def test_sigmoid_is_the_same_in_a_mixture():
    """The short path and the long one, to the last bit."""
    for dtype in (np.float32, np.float64):
        arrays = realistic_pairs(100, dtype)
        plain = swiftdpo.dpo_loss(*arrays, 0.3, label_smoothing=0.1)
        general = swiftdpo.dpo_loss(*arrays, 0.3, label_smoothing=0.1, more=True)
        for name, value in fields(plain).items():
            np.testing.assert_array_equal(value, getattr(general, name), err_msg=name)


OF_LOG_RATIOS = [
    "robust",
    "hinge",
    "ipo",
    "exo_pair",
    "discopop",
    "nca_pair",
    "bco_pair",
    "sppo_hard",
    "apo_zero",
    "apo_down",
    "slic",
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("loss_type", [*OF_LOG_RATIOS, OF_LOG_RATIOS])
def test_the_common_results_are_those_of_a_call_that_asks_for_all(loss_type, dtype):
    """The shorter way of losses of log-ratios, to the last bit: at extremes, with all parameters."""
    rng = np.random.default_rng(17)
    for count in (1, 7, 8, 9, 63, 64, 75, 3001):
        arrays = realistic_pairs(count, dtype)
        arrays[0][::7] *= 1e3
        arrays[1][::11] *= 1e5
        arrays[3][::13] = arrays[1][::13]
        each = {
            "beta": rng.uniform(0.01, 2, count).astype(dtype),
            "margin": rng.normal(0, 1, count).astype(dtype),
            "weights": rng.exponential(1, count).astype(dtype),
        }
        labels = rng.uniform(0.01, 0.99, count).astype(dtype)
        for options in (
            {"label_smoothing": 0.1},
            {"label_smoothing": 0.2, "margin": 0.5, "beta": 2.0, "reduction": "sum"},
            {"label_smoothing": 0.3, **each},
            {"soft_labels": labels, **each, "reduction": "none"},
            {"soft_labels": np.ones(count, dtype)},
            {"soft_labels": np.zeros(count, dtype)},
        ):
            if "exo_pair" in loss_type and "soft_labels" in options:
                options["soft_labels"] = labels
            short = swiftdpo.dpo_loss(*arrays, loss_type=loss_type, **options)
            general = swiftdpo.dpo_loss(*arrays, loss_type=loss_type, more=True, **options)
            for name, value in fields(short).items():
                np.testing.assert_array_equal(value, getattr(general, name), err_msg=f"{name}, {count}")


def test_threads_change_no_bits_of_mixtures_and_single_responses():
    count = 9001
    arrays = realistic_pairs(count)
    lengths = {f"{side}_lengths": np.arange(count) % 50 + 1 for side in ("chosen", "rejected")}
    desirable = np.arange(count) % 3 > 0

    def results():
        mixture = swiftdpo.dpo_loss(*arrays, loss_type=["sigmoid_norm", "hinge"], more=True, **lengths)
        coupled = swiftdpo.dpo_loss(*arrays, loss_type="aot", more=True)
        single = swiftdpo.kto_loss(arrays[0], arrays[2], desirable)
        return [
            value.tobytes() if isinstance(value, np.ndarray) else repr(value)
            for out in (mixture, coupled, single)
            for value in out
        ]

    expected = None
    try:
        for threads in (1, 2, 3, 8):
            swiftdpo.set_num_threads(threads)
            expected = expected or results()
            assert results() == expected
    finally:
        swiftdpo.set_num_threads(0)


def test_infinite_losses_of_opposite_sign_in_different_chunks():
    """The first stands, as within a chunk."""
    zeros = np.zeros(6000)
    for places, expected in (((5, 5005), -np.inf), ((5005, 5), np.inf)):
        chosen = zeros.copy()
        chosen[places[0]], chosen[places[1]] = 1e308, -1e308
        robust = swiftdpo.dpo_loss(
            chosen, zeros, zeros, zeros, 1e3, loss_type="robust", label_smoothing=0.25, reduction="sum"
        )
        assert robust.loss == expected


def test_a_mixture_is_the_weighted_sum_of_its_losses():
    arrays = realistic_pairs(40)
    names = [name for name in LOSS_TYPES if name != "odds_ratio"]
    weights = np.linspace(0.1, 2, 16)
    for first in range(0, len(names), 7):
        chosen = names[first : first + 16]
        w = weights[: len(chosen)]
        mixture = swiftdpo.dpo_loss(*arrays, loss_type=chosen, loss_weights=w, more=True, **PARAMETERS)
        parts = [swiftdpo.dpo_loss(*arrays, loss_type=name, more=True, **PARAMETERS) for name in chosen]
        for field in (
            "losses",
            "grad_policy_chosen_logps",
            "grad_policy_rejected_logps",
            "grad_ref_chosen_logps",
            "grad_ref_rejected_logps",
            "grad_beta",
            "grad_margin",
            "curvatures",
        ):
            expected = sum(x * getattr(part, field) for x, part in zip(w, parts, strict=True))
            np.testing.assert_allclose(
                getattr(mixture, field), expected, rtol=1e-12, atol=1e-12, err_msg=field
            )
        assert mixture.loss == pytest.approx(
            sum(x * part.loss for x, part in zip(w, parts, strict=True)), rel=1e-13
        )


@pytest.mark.parametrize("name", sorted(LOSS_TYPES))
def test_gradients_of_the_policy_and_the_reference(name):
    """Gradcheck: central differences of the loss in each of the four arrays."""
    arrays = realistic_pairs(40) if name != "odds_ratio" else [x * 0.02 for x in realistic_pairs(40)[:2]]
    if name in ("hinge", "slic"):
        arrays = [x + 0.123 * i for i, x in enumerate(arrays)]
    references = [None, None] if name == "odds_ratio" else []
    out = swiftdpo.dpo_loss(*arrays, *references, loss_type=name, more=True, **PARAMETERS)
    gradients = [
        out.grad_policy_chosen_logps,
        out.grad_policy_rejected_logps,
        out.grad_ref_chosen_logps,
        out.grad_ref_rejected_logps,
    ]
    step = 1e-4
    for position, gradient in enumerate(gradients[: len(arrays)]):
        for i in (0, 7, 39):

            def at(delta, position=position, i=i):
                moved = [x.copy() for x in arrays]
                moved[position][i] += delta
                return swiftdpo.dpo_loss(*moved, *references, loss_type=name, **PARAMETERS).loss

            assert gradient[i] == pytest.approx((at(step) - at(-step)) / (2 * step), rel=2e-5, abs=1e-8), (
                position,
                i,
            )


@pytest.mark.parametrize("name", sorted(LOSS_TYPES))
def test_no_finite_input_gives_nan(name):
    """Log-probabilities of any size in any combination, labels in doubt and hard ones, every score."""
    extremes = np.array([-1.7e308, -1e200, -1e5, -745.0, -1e-310, 0.0, 30.0, 1.7e308])
    grids = [grid.ravel() for grid in np.meshgrid(*[extremes] * (2 if name == "odds_ratio" else 4))]
    references = [None, None] if name == "odds_ratio" else []
    count = len(grids[0])
    lengths = {"chosen_lengths": np.full(count, 7), "rejected_lengths": np.full(count, 3)}
    divergences = ["reverse_kl"]
    if (name in DIFFERENCE and name != "aot") or name in ("sigmoid_norm", "ipo_norm"):
        divergences += ["forward_kl", "js_divergence", "alpha_divergence"]
    for divergence in divergences:
        for beta in (1e-3, 50.0):
            for labels in (np.full(count, 0.25), np.ones(count)):
                if name == "exo_pair" and labels[0] == 1:
                    continue
                for tau in (0.05, 3.0):
                    with np.errstate(all="ignore"):
                        out = swiftdpo.dpo_loss(
                            *grids,
                            *references,
                            beta,
                            name,
                            f_divergence_type=divergence,
                            more=True,
                            discopop_tau=tau,
                            soft_labels=labels,
                            reward_gaps=np.full(count, 0.5),
                            ties=np.arange(count) % 2 == 0,
                            alphapo_alpha=0.5,
                            margin=0.25,
                            **lengths,
                        )
                    for field in ("losses", "grad_policy_chosen_logps", "grad_policy_rejected_logps"):
                        bad = np.isnan(getattr(out, field))
                        assert not bad.any(), (field, divergence, beta, tau, [x[bad][:1] for x in grids])


@pytest.mark.parametrize("name", DIFFERENCE)
def test_a_constant_added_to_all_four_changes_nothing(name):
    arrays = [np.round(x * 64) / 64 for x in realistic_pairs(40)]
    out, moved = (
        swiftdpo.dpo_loss(*(x + shift for x in arrays), loss_type=name, **PARAMETERS) for shift in (0, 512)
    )
    np.testing.assert_array_equal(out.losses, moved.losses)
    if name not in ("aot", "aot_unpaired"):
        np.testing.assert_array_equal(out.grad_policy_chosen_logps, -out.grad_policy_rejected_logps)


@pytest.mark.parametrize(
    "name", sorted(set(ALL) - {"odds_ratio", "robust", "rpo_bwd_kl", "rpo_fwd_kl", "rpo_sq"})
)
def test_a_label_of_one_half_does_not_care_who_was_chosen(name):
    a, b, c, d = realistic_pairs(40)
    n, m = np.full(40, 5), np.full(40, 9)
    options = {"loss_type": name, "soft_labels": np.full(40, 0.5)}
    one = swiftdpo.dpo_loss(a, b, c, d, chosen_lengths=n, rejected_lengths=m, **options)
    other = swiftdpo.dpo_loss(b, a, d, c, chosen_lengths=m, rejected_lengths=n, **options)
    np.testing.assert_allclose(one.losses, other.losses, rtol=1e-14)
    np.testing.assert_allclose(
        one.grad_policy_chosen_logps, other.grad_policy_rejected_logps, rtol=1e-12, atol=1e-15
    )


def test_equal_log_ratios():
    """At the first step: ln 2, ties rather than errors, and half of the weight."""
    logps = realistic_pairs(8)[0]
    out = swiftdpo.dpo_loss(logps, logps - 3, logps, logps - 3, more=True)
    assert out.loss == pytest.approx(np.log(2), rel=1e-15)
    assert (out.metrics.num_correct, out.metrics.num_tied) == (0, 8)
    assert out.metrics.accuracy == 0.5
    assert out.metrics.mean("gradient_weights") == 0.5


def test_metrics_add_up():
    arrays = realistic_pairs(30)
    whole = swiftdpo.dpo_loss(*arrays, more=True).metrics
    parts = [swiftdpo.dpo_loss(*(x[i::3] for x in arrays), more=True).metrics for i in range(3)]
    np.testing.assert_allclose(parts[0] + parts[1] + parts[2], whole, rtol=1e-12)
    a = arrays[0] - arrays[2]
    assert whole.chosen_kl_k1 == pytest.approx(a.sum(), rel=1e-9)
    assert whole.chosen_kl_k2 == pytest.approx((a**2 / 2).sum(), rel=1e-9)
    small = swiftdpo.dpo_loss([-1.0], [-1.5], [-1.25], [-1.0], more=True).metrics
    assert small.chosen_kl_k3 == pytest.approx(np.exp(-0.25) - 1 + 0.25, rel=1e-14)
    assert small.rejected_kl_k3 == pytest.approx(np.exp(0.5) - 1 - 0.5, rel=1e-14)


# Optimal transport


def transported(a, b, c, d, beta, unpaired):
    """By sorting: each pair's loss stands at the pair that has the rank in the first list."""
    first, second = (a - c, b - d) if unpaired else (a - b, c - d)
    order, other = np.argsort(first, kind="stable"), np.argsort(second, kind="stable")
    z = beta * (first[order] - second[other])
    losses, chosen, rejected = np.empty(len(a)), np.empty(len(a)), np.empty(len(a))
    losses[order], chosen[order] = np.logaddexp(0, -z), -beta / (1 + np.exp(z))
    rejected[other if unpaired else order] = -(-beta / (1 + np.exp(z)))
    return losses, chosen, rejected


@pytest.mark.parametrize("name", ["aot", "aot_unpaired"])
@given(st.lists(st.tuples(*[st.integers(-4, 4)] * 4), max_size=40))
def test_transport_is_a_stable_sort(name, rows):
    """Small integers: most margins have equals, among which the order of the pairs decides."""
    arrays = np.array(rows, float).reshape(-1, 4).T
    out = swiftdpo.dpo_loss(*arrays, 0.5, name, reduction="sum")
    losses, chosen, rejected = transported(*arrays, 0.5, name == "aot_unpaired")
    np.testing.assert_allclose(out.losses, losses, rtol=1e-13)
    np.testing.assert_allclose(out.grad_policy_chosen_logps, chosen, rtol=1e-13)
    np.testing.assert_allclose(out.grad_policy_rejected_logps, rejected, rtol=1e-13)


@pytest.mark.parametrize("name", ["aot", "aot_unpaired"])
def test_transport_of_many_pairs(name):
    arrays = realistic_pairs(5000)
    out = swiftdpo.dpo_loss(*arrays, 0.1, name, reduction="sum")
    losses, _, rejected = transported(*arrays, 0.1, name == "aot_unpaired")
    np.testing.assert_allclose(out.losses, losses, rtol=1e-9)
    np.testing.assert_allclose(out.grad_policy_rejected_logps, rejected, rtol=1e-9)


# The peers' formulas, as torch expressions; where the library differs on purpose, the difference is tested.


def autograd(function, arrays):
    tensors = [torch.tensor(x, requires_grad=True) for x in arrays]
    function(*tensors).mean().backward()
    return [float(function(*tensors).mean().detach()), *(x.grad.numpy() for x in tensors[:2])]


TRL = {  # trl/trainer/dpo_trainer.py, DPOTrainer._compute_loss, with d = (c - rc) - (r - rr)
    "sigmoid": lambda c, r, rc, rr, beta: -F.logsigmoid(beta * (c - rc - r + rr)),
    "robust": lambda c, r, rc, rr, beta: (
        (-F.logsigmoid(beta * (c - rc - r + rr)) * 0.9 + F.logsigmoid(-beta * (c - rc - r + rr)) * 0.1) / 0.8
    ),
    "hinge": lambda c, r, rc, rr, beta: torch.relu(1 - beta * (c - rc - r + rr)),
    "ipo": lambda c, r, rc, rr, beta: (c - rc - r + rr - 1 / (2 * beta)) ** 2,
    "exo_pair": lambda c, r, rc, rr, beta: (
        torch.sigmoid(beta * (c - rc - r + rr)) * (F.logsigmoid(beta * (c - rc - r + rr)) - np.log(0.9))
        + torch.sigmoid(-beta * (c - rc - r + rr)) * (F.logsigmoid(-beta * (c - rc - r + rr)) - np.log(0.1))
    ),
    "nca_pair": lambda c, r, rc, rr, beta: (
        -F.logsigmoid(beta * (c - rc))
        - 0.5 * F.logsigmoid(-beta * (c - rc))
        - 0.5 * F.logsigmoid(-beta * (r - rr))
    ),
    "bco_pair": lambda c, r, rc, rr, beta: -F.logsigmoid(beta * (c - rc)) - F.logsigmoid(-beta * (r - rr)),
    "sppo_hard": lambda c, r, rc, rr, beta: (c - rc - 0.5 / beta) ** 2 + (r - rr + 0.5 / beta) ** 2,
    "apo_zero": lambda c, r, rc, rr, beta: (
        1 - torch.sigmoid(beta * (c - rc)) + torch.sigmoid(beta * (r - rr))
    ),
    "apo_down": lambda c, r, rc, rr, beta: (
        torch.sigmoid(beta * (c - rc)) + 1 - torch.sigmoid(beta * (c - rc - r + rr))
    ),
    "discopop": lambda c, r, rc, rr, beta: (
        -F.logsigmoid(beta * (c - rc - r + rr)) * (1 - torch.sigmoid(beta * (c - rc - r + rr) / 0.05))
        + torch.exp(-beta * (c - rc - r + rr)) * torch.sigmoid(beta * (c - rc - r + rr) / 0.05)
    ),
}


@pytest.mark.parametrize("name", sorted(TRL))
def test_formulas_of_trl(name):
    rng = np.random.default_rng(5)
    arrays = [rng.uniform(-20, 0, 64) for _ in range(4)]
    loss, chosen, rejected = autograd(lambda *x: TRL[name](*x, 0.3), arrays)
    smoothing = 0.1 if name in ("robust", "exo_pair") else 0.0
    out = swiftdpo.dpo_loss(*arrays, 0.3, name, label_smoothing=smoothing)
    assert out.loss == pytest.approx(loss, rel=1e-12)
    np.testing.assert_allclose(out.grad_policy_chosen_logps, chosen, rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(out.grad_policy_rejected_logps, rejected, rtol=1e-9, atol=1e-14)


def test_disagreement_label_smoothing_is_not_ignored():
    """TRL's "sigmoid", "hinge" and the like do not look at label_smoothing; here every loss does."""
    arrays = list(np.random.default_rng(6).uniform(-20, 0, (4, 16)))
    for name in ("sigmoid", "hinge", "ipo", "apo_zero"):
        loss = autograd(lambda *x, name=name: TRL[name](*x, 0.3), arrays)[0]
        assert swiftdpo.dpo_loss(*arrays, 0.3, name).loss == pytest.approx(loss, rel=1e-12)
        assert swiftdpo.dpo_loss(*arrays, 0.3, name, label_smoothing=0.1).loss != pytest.approx(
            loss, rel=1e-3
        )


def test_disagreement_trl_calls_the_normalised_loss_ipo():
    arrays = list(np.random.default_rng(6).uniform(-20, 0, (4, 16)))
    n, m = np.arange(1, 17), np.arange(17, 1, -1)
    c, r, rc, rr = arrays
    theirs = (((c - rc) / n - (r - rr) / m - 1 / 0.6) ** 2).mean()
    lengths = {"chosen_lengths": n, "rejected_lengths": m}
    assert swiftdpo.dpo_loss(*arrays, 0.3, "ipo_norm", **lengths).loss == pytest.approx(theirs, rel=1e-12)
    assert swiftdpo.dpo_loss(*arrays, 0.3, "ipo", **lengths).loss != pytest.approx(theirs, rel=1e-3)


def test_disagreement_constants_of_divergences_matter_once_lengths_divide_them():
    """TRL drops the constants of its scores; divided by different lengths they no longer cancel."""
    c, r = np.array([-3.0]), np.array([-2.5])
    zero = np.zeros(1)
    out = swiftdpo.dpo_loss(
        c,
        r,
        zero,
        zero,
        1.0,
        "sigmoid_norm",
        chosen_lengths=[2],
        rejected_lengths=[5],
        f_divergence_type="alpha_divergence",
    )
    dropped = np.exp(-0.5 * c) / -0.5 / 2 - np.exp(-0.5 * r) / -0.5 / 5
    kept = np.expm1(-0.5 * c) / -0.5 / 2 - np.expm1(-0.5 * r) / -0.5 / 5
    assert out.loss == pytest.approx(np.logaddexp(0, -kept)[0], rel=1e-12)
    assert out.loss != pytest.approx(np.logaddexp(0, -dropped)[0], rel=1e-3)


def test_disagreement_discopop_where_the_naive_form_is_nan():
    out = swiftdpo.dpo_loss([-800.0], [0.0], [0.0], [0.0], 1.0, "discopop")
    assert np.isnan(np.exp(np.float64(800.0)) * 0.0) and out.loss == pytest.approx(800.0)


# Losses without a reference


N, M = np.arange(2, 34), np.arange(40, 8, -1)


def free_pairs():
    rng = np.random.default_rng(8)
    return [torch.tensor(rng.uniform(-90, -10, 32), requires_grad=True) for _ in range(2)]


def same(out, function):
    c, r = free_pairs()
    loss = function(c, r)
    loss.backward()
    assert out.loss == pytest.approx(float(loss.detach()), rel=1e-12)
    np.testing.assert_allclose(out.grad_policy_chosen_logps, c.grad, rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(out.grad_policy_rejected_logps, r.grad, rtol=1e-9, atol=1e-14)


def test_reference_free_losses():
    c, r = (x.detach().numpy() for x in free_pairs())
    n, m = torch.tensor(N), torch.tensor(M)
    lengths = {"chosen_lengths": N, "rejected_lengths": M}

    def nll(c):
        return -c.sum() / n.sum()

    same(
        swiftdpo.cpo_loss(c, r, 0.2, label_smoothing=0.1, cpo_alpha=0.7, **lengths),
        lambda c, r: (
            (-0.9 * F.logsigmoid(0.2 * (c - r)) - 0.1 * F.logsigmoid(0.2 * (r - c))).mean() + 0.7 * nll(c)
        ),
    )
    same(
        swiftdpo.cpo_loss(c, r, 0.2, loss_type="hinge", cpo_alpha=0.0),
        lambda c, r: torch.relu(1 - 0.2 * (c - r)).mean(),
    )
    same(
        swiftdpo.simpo_loss(c, r, N, M, 2.0, 0.7),
        lambda c, r: -F.logsigmoid(2 * (c / n - r / m) - 0.7).mean(),
    )
    same(
        swiftdpo.alphapo_loss(c, r, N, M, 2.0, 0.7, 0.3),
        lambda c, r: (
            -F.logsigmoid(
                2 * (-torch.expm1(-0.3 * c / n) / 0.3 + torch.expm1(-0.3 * r / m) / 0.3) - 0.7
            ).mean()
        ),
    )

    def log_odds(x):
        return x - torch.log(-torch.expm1(x))

    same(
        swiftdpo.orpo_loss(c, r, N, M, 0.2),
        lambda c, r: nll(c) - 0.2 * F.logsigmoid(log_odds(c / n) - log_odds(r / m)).mean(),
    )
    same(
        swiftdpo.slic_loss(c, r, 5.0, sft_weight=0.5, chosen_lengths=N),
        lambda c, r: torch.relu(5.0 - c + r).mean() + 0.5 * nll(c),
    )


def test_tpo_is_about_a_third_response():
    c, r = (x.detach().numpy() for x in free_pairs())
    gold, lengths = c - 1.5, N + 3
    out = swiftdpo.tpo_loss(c, r, gold, lengths, 0.1, tpo_alpha=0.5, more=True)
    expected = np.logaddexp(0, -0.1 * (c - r)).mean() - 0.5 * gold.sum() / lengths.sum()
    assert out.loss == pytest.approx(expected, rel=1e-13)
    np.testing.assert_allclose(out.grad_sft_logps, -0.5 / lengths.sum(), rtol=1e-14)
    normalised = swiftdpo.tpo_loss(
        c,
        r,
        gold,
        lengths,
        2.0,
        loss_type="tpo-l",
        tpo_alpha=0.0,
        gamma=0.7,
        chosen_lengths=N,
        rejected_lengths=M,
    )
    assert normalised.loss == pytest.approx(swiftdpo.simpo_loss(c, r, N, M, 2.0, 0.7).loss, rel=1e-15)


def test_orpo_near_certainty():
    """log(1 - exp(x)) keeps its digits, and a log-probability of 0 gives no NaN."""
    x = -np.array([1e-300, 1e-20, 1e-10, 1e-3])
    out = swiftdpo.orpo_loss(x, np.full(4, -1.0), np.ones(4, int), np.ones(4, int), 1.0, sft_weight=0.0)
    odds = x - np.log(-x)  # log(-expm1(x)) to first order
    np.testing.assert_allclose(out.losses, np.log1p(np.exp(-(odds + 1 + np.log(-np.expm1(-1.0))))), rtol=1e-3)
    sure = swiftdpo.orpo_loss([0.0, -1.0, 0.0], [-1.0, 0.0, 0.0], [1, 1, 1], [1, 1, 1], 1.0)
    for values in sure[1:6]:
        assert not np.isnan(values).any()


def test_a_loss_over_a_batch_without_tokens_is_zero():
    out = swiftdpo.dpo_loss([0.0, 0.0], [-1.0, -1.0], None, None, loss_type="sft", chosen_lengths=[0, 0])
    assert out.loss == 0.0 and not out.grad_policy_chosen_logps.any()


def test_reference_free_leaves_the_reference_out():
    a, b, c, d = realistic_pairs(9)
    out, expected = swiftdpo.dpo_loss(a, b, c, d, reference_free=True), swiftdpo.dpo_loss(a, b, None, None)
    np.testing.assert_array_equal(out.losses, expected.losses)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss_type": "dpo"}, "loss_type is 'dpo'"),
        ({"loss_type": []}, "loss_type is empty"),
        ({"loss_type": ["sigmoid"] * 17}, "16 at most"),
        ({"loss_type": ["sigmoid"], "loss_weights": [1.0, 2.0]}, "loss_weights 2"),
        ({"loss_type": ["sigmoid", "ipo"], "loss_weights": [1.0, -2.0]}, "loss_weights"),
        ({"loss_type": "exo_pair"}, "label_smoothing"),
        ({"loss_type": "exo_pair", "soft_labels": [1.0, 0.5]}, r"soft_labels\[0\]"),
        ({"loss_type": "sigmoid_norm"}, "chosen_lengths"),
        ({"loss_type": "sft"}, "chosen_lengths"),
        (
            {"loss_type": "sigmoid_norm", "chosen_lengths": [1, -1], "rejected_lengths": [1, 1]},
            r"chosen_lengths\[1\]",
        ),
        ({"loss_type": "rpo_sq"}, "reward_gaps"),
        ({"loss_type": "rpo_sq", "reward_gaps": [0.0, np.inf]}, r"reward_gaps\[1\]"),
        ({"loss_type": "rao_kupper", "tie_strength": 1.0}, "tie_strength"),
        ({"loss_type": "davidson", "tie_strength": 0.0}, "tie_strength"),
        ({"loss_type": "discopop", "discopop_tau": 0.0}, "discopop_tau"),
        (
            {"loss_type": "odds_ratio", "chosen_lengths": [1, 1], "rejected_lengths": [1, 1]},
            "ref_chosen_logps",
        ),
        ({"f_divergence_type": "total_variation"}, "f_divergence_type is"),
        ({"loss_type": "nca_pair", "f_divergence_type": "forward_kl"}, "loss_types"),
        ({"margin": np.inf}, "margin"),
        ({"loss_type": "davidson", "ties": [True]}, "ties has shape"),
    ],
)
def test_bad_choices(options, message):
    with pytest.raises(ValueError, match=message):
        swiftdpo.dpo_loss([-1.0, -2.0], [-2.0, -3.0], [-1.0, -1.0], [-1.0, -1.0], **options)
