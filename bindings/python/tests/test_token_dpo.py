"""tdpo_loss and sequential_kl by the paper's equations, through torch's autograd."""

from __future__ import annotations

import numpy as np
import pytest
import swiftdpo
import torch
import torch.nn.functional as F

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


def test_without_divergence_it_is_dpo():
    rng = np.random.default_rng(1)
    arrays = list(rng.normal(-20, 3, (4, 9)))
    plain = swiftdpo.dpo_loss(*arrays, 0.2)
    for options in ({"alpha": 0.0}, {"loss_type": "tdpo1"}):
        kl = rng.exponential(1, 9)
        out = swiftdpo.tdpo_loss(*arrays, kl, kl, 0.2, **options)
        np.testing.assert_allclose(out.losses, plain.losses, rtol=1e-15)
        np.testing.assert_array_equal(out.margins, 0)


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
        ({"alpha": -0.5}, ValueError, "alpha is -0.5"),
        ({"alpha": np.nan}, ValueError, "alpha is nan"),
        ({"chosen_kl": [0.1, -1e-3]}, ValueError, r"chosen_kl\[1\]"),
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
