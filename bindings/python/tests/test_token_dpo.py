"""tdpo_loss and sequential_kl by the paper's equations: through torch's autograd, and exactly (mpmath)."""

from __future__ import annotations

import numpy as np
import pytest
import swiftdpo
import torch
import torch.nn.functional as F
from oracles import larger_term, reduce, sigmoid, softplus
from ulps import PAIR_SINGLES, assert_ulps, exactly, mp

PAIRS, LENGTH, VOCAB = 5, 7, 11


@pytest.fixture
def batch():
    """Logits of both models for both responses of each pair, the tokens, and which of them count."""
    rng = np.random.default_rng(4)
    logits = [torch.tensor(rng.normal(0, 2, (PAIRS, LENGTH, VOCAB))) for _ in range(4)]
    labels = [torch.tensor(rng.integers(0, VOCAB, (PAIRS, LENGTH))) for _ in range(2)]
    masks = [torch.tensor(np.arange(LENGTH) < rng.integers(1, LENGTH + 1, (PAIRS, 1))) for _ in range(2)]
    return logits, labels, masks


def parts(policy, reference, labels, mask):
    """log pi, log ref and D of each response: equations 9 and 12 of the paper."""
    policy, reference = policy.log_softmax(-1), reference.log_softmax(-1)
    logps, ref = ((x.gather(-1, labels[..., None])[..., 0] * mask).sum(1) for x in (policy, reference))
    kl = ((reference.exp() * (reference - policy)).sum(-1) * mask).sum(1)
    return logps, ref, kl


@pytest.mark.parametrize("loss_type", ["tdpo1", "tdpo2"])
def test_the_gradient_by_the_logits(batch, loss_type):
    (chosen, rejected, ref_chosen, ref_rejected), labels, masks = batch
    beta, alpha = 0.3, 0.7
    chosen.requires_grad_()
    rejected.requires_grad_()
    c, ref_c, kl_c = parts(chosen, ref_chosen, labels[0], masks[0])
    r, ref_r, kl_r = parts(rejected, ref_rejected, labels[1], masks[1])
    for leaf in (c, r):
        leaf.retain_grad()
    delta = kl_r - kl_c if loss_type == "tdpo1" else alpha * (kl_r - kl_c.detach())
    loss = -F.logsigmoid(beta * ((c - ref_c) - (r - ref_r)) - beta * delta).mean()
    loss.backward()

    kls = [
        swiftdpo.sequential_kl(x.log_softmax(-1).numpy(), y.detach().log_softmax(-1).numpy(), mask.numpy())
        for x, y, mask in zip((ref_chosen, ref_rejected), (chosen, rejected), masks, strict=True)
    ]
    np.testing.assert_allclose(kls[0].kl, kl_c.detach(), rtol=1e-12)
    np.testing.assert_allclose(kls[1].kl, kl_r.detach(), rtol=1e-12)
    np.testing.assert_allclose(kls[0].token_kl.sum(1), kls[0].kl, rtol=1e-14)
    out = swiftdpo.tdpo_loss(
        *(x.detach().numpy() for x in (c, r, ref_c, ref_r)),
        kls[0].kl,
        kls[1].kl,
        beta,
        alpha,
        loss_type=loss_type,
    )
    assert out.loss == pytest.approx(loss.item(), rel=1e-13)
    np.testing.assert_allclose(out.grad_policy_chosen_logps, c.grad, rtol=1e-11)
    np.testing.assert_allclose(out.grad_policy_rejected_logps, r.grad, rtol=1e-11)
    for leaf, kl, by_logps, by_kl, tokens, mask in (
        (chosen, kls[0], out.grad_policy_chosen_logps, out.grad_chosen_kl, labels[0], masks[0]),
        (rejected, kls[1], out.grad_policy_rejected_logps, out.grad_rejected_kl, labels[1], masks[1]),
    ):
        token = F.one_hot(tokens, VOCAB).double() - leaf.detach().softmax(-1)
        by_token = by_logps[:, None, None] * (token * mask[..., None]).numpy()
        whole = by_token + by_kl[:, None, None] * kl.grad_policy_logits
        np.testing.assert_allclose(whole, leaf.grad, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, "soft"])
@pytest.mark.parametrize("loss_type", ["tdpo1", "tdpo2"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_exact_values(dtype, loss_type, smoothing):
    """Every field within 4 ulps, divergences from hardly any to far beyond the log-ratios."""
    count = 500
    rng = np.random.default_rng(6)
    arrays = [x.astype(dtype) for x in rng.normal(-60, 20, (4, count))]
    kls = [x.astype(dtype) for x in 10 ** rng.uniform(-6, 3, (2, count))]
    kls[0][::7] = kls[1][::7]
    beta = (10 ** rng.uniform(-3, 1, count)).astype(dtype)
    weights = rng.exponential(1, count).astype(dtype)
    options = {"weights": weights, "reduction": "sum", "loss_type": loss_type}
    p = exactly(np.full(count, 1.0 if smoothing == "soft" else 1 - smoothing))
    if smoothing == "soft":
        options["soft_labels"] = rng.uniform(0, 1, count).astype(dtype)
        p = exactly(options["soft_labels"])
    else:
        options["label_smoothing"] = smoothing
    out = swiftdpo.tdpo_loss(*arrays, *kls, beta, 0.3, **options)

    alpha = exactly(0.3 if loss_type == "tdpo2" else 1.0)
    a, b = exactly(arrays[0]) - exactly(arrays[2]), exactly(arrays[1]) - exactly(arrays[3])
    beta, weights, q = exactly(beta), exactly(weights), 1 - p
    if smoothing == 0.1:
        q = exactly(np.full(count, 0.1))
    margins = alpha * beta * (exactly(kls[1]) - exactly(kls[0]))
    z = beta * (a - b) - margins
    towards, away = weights * p * sigmoid(-z), weights * q * sigmoid(z)
    losses = weights * (p * softplus(-z) + q * softplus(z))
    assert_ulps(out.margins, margins, name="margins")
    assert_ulps(out.chosen_rewards, beta * a, name="chosen_rewards")
    assert_ulps(out.losses, losses, name="losses", singles=PAIR_SINGLES)
    loss, _ = reduce(losses, "sum")
    assert abs(out.loss - loss) <= abs(loss) * mp.mpf(2) ** (-22 if dtype == np.float32 else -50)
    for name, factor in (
        ("grad_policy_chosen_logps", beta),
        ("grad_policy_rejected_logps", -beta),
        ("grad_rejected_kl", -alpha * beta),
        ("grad_chosen_kl", alpha * beta),
    ):
        if (name, loss_type) == ("grad_chosen_kl", "tdpo2"):
            assert not out.grad_chosen_kl.any()
            continue
        scale = larger_term(abs(factor) * towards, abs(factor) * away)
        assert_ulps(
            getattr(out, name), factor * (away - towards), scale=scale, name=name, singles=PAIR_SINGLES
        )


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("count", [1, 9, 100, 20_000])
def test_without_divergence_it_is_dpo(dtype, count):
    """The same bits."""
    rng = np.random.default_rng(1)
    arrays = list(rng.normal(-20, 3, (4, count)).astype(dtype))
    own = {"weights": rng.exponential(1, count).astype(dtype), "soft_labels": np.full(count, 0.75, dtype)}
    kls = rng.exponential(1, (2, count)).astype(dtype)
    for shared in ({}, {"label_smoothing": 0.1, "reduction": "sum"}, own, {"reference_free": True}):
        plain = swiftdpo.dpo_loss(*arrays, 0.2, **shared)
        for given, options in ((kls, {"alpha": 0.0}), (kls[[0, 0]], {"loss_type": "tdpo1"})):
            out = swiftdpo.tdpo_loss(*arrays, *given, 0.2, **options, **shared)
            for name in TDPO_FIELDS_OF_DPO:
                np.testing.assert_array_equal(getattr(out, name), getattr(plain, name), err_msg=name)
            np.testing.assert_array_equal(out.margins, 0)


TDPO_FIELDS_OF_DPO = [name for name in swiftdpo.TDPOLoss._fields if name in swiftdpo.DPOLoss._fields]


def test_equal_models_have_no_divergence():
    logps = np.log(np.random.default_rng(2).dirichlet(np.ones(6), (3, 4)))
    out = swiftdpo.sequential_kl(logps, logps)
    assert not out.kl.any() and not out.grad_policy_logits.any()


def test_parameters_of_each_pair_and_single_precision():
    rng = np.random.default_rng(3)
    arrays = [x.astype(np.float32) for x in rng.normal(-20, 3, (4, 6))]
    kls = [x.astype(np.float32) for x in rng.exponential(1, (2, 6))]
    betas, weights = rng.uniform(0.1, 1, 6).astype(np.float32), rng.exponential(1, 6).astype(np.float32)
    out = swiftdpo.tdpo_loss(
        *arrays, *kls, betas, 0.25, weights=weights, reduction="sum", label_smoothing=0.1
    )
    wide = swiftdpo.tdpo_loss(
        *(x.astype(float) for x in arrays),
        *(x.astype(float) for x in kls),
        betas.astype(float),
        0.25,
        weights=weights.astype(float),
        reduction="sum",
        label_smoothing=0.1,
    )
    assert out.losses.dtype == np.float32 and out.margins.dtype == np.float32
    for name, value in wide._asdict().items():
        np.testing.assert_allclose(getattr(out, name), value, rtol=1e-5, atol=1e-7, err_msg=name)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"loss_type": "tdpo3"}, ValueError, "loss_type is 'tdpo3'"),
        ({"alpha": -0.5}, ValueError, "alpha: a parameter of the loss"),
        ({"alpha": np.nan}, ValueError, "alpha: a parameter of the loss"),
        ({"alpha": "much"}, TypeError, "must be real number"),
        ({"chosen_kl": [0.1, np.nan]}, ValueError, r"chosen_kl\[1\]"),
        ({"chosen_kl": None}, ValueError, "chosen_kl"),
        (
            {"chosen_kl": [0.1, 0.2], "nonfinite": "propagate", "rejected_kl": [0, np.nan]},
            ValueError,
            "rejected_kl",
        ),
        ({"rejected_kl": [np.inf, 0.0]}, ValueError, r"rejected_kl\[0\]"),
        ({"rejected_kl": [0.0]}, ValueError, "rejected_kl has shape"),
        ({"margin": 1.0}, TypeError, "'margin'"),
        ({"beta": 0.0}, ValueError, "beta"),
    ],
)
def test_bad_input(change, error, message):
    arguments = {
        "policy_chosen_logps": [-1.0, -2.0],
        "policy_rejected_logps": [-2.0, -2.0],
        "ref_chosen_logps": None,
        "ref_rejected_logps": None,
        "chosen_kl": [0.1, 0.2],
        "rejected_kl": [0.2, 0.1],
    }
    with pytest.raises(error, match=message):
        swiftdpo.tdpo_loss(**(arguments | change))


def test_bad_distributions():
    logps = np.log(np.full((2, 3, 4), 0.25))
    for call, message in [
        (lambda: swiftdpo.sequential_kl(logps[0], logps[0]), "2 dimensions"),
        (lambda: swiftdpo.sequential_kl(logps, logps, np.ones((2, 4), bool)), "mask has shape"),
        (lambda: swiftdpo.sequential_kl(logps, logps[:, :, :3]), "logq"),
        (lambda: swiftdpo.sequential_kl(logps + 2, logps), "logp"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
