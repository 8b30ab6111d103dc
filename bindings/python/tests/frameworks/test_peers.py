"""The losses beside the code of TRL, Liger, torchtune and OpenRLHF: equal, or different as listed.

What TRL trains with, KTO among it, is compared over whole trainings in test_trl.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import swiftdpo
import torch
from liger_kernel.chunked_loss.cpo_loss import LigerFusedLinearCPOFunction
from liger_kernel.chunked_loss.dpo_loss import LigerFusedLinearDPOFunction
from liger_kernel.chunked_loss.kto_loss import LigerFusedLinearKTOFunction
from liger_kernel.chunked_loss.orpo_loss import LigerFusedLinearORPOFunction
from liger_kernel.chunked_loss.simpo_loss import LigerFusedLinearSimPOFunction
from peers import TRL_LOSS_TYPES, module_of, trl_dpo
from trl.experimental.cpo import CPOTrainer
from trl.experimental.orpo import ORPOTrainer

PAIRS, LENGTH = 24, 9
BETA = 0.3

torchtune = module_of("torchtune", "rlhf/loss/dpo.py")
openrlhf = module_of("openrlhf", "models/loss.py", masked_mean=None)


def same(loss: torch.Tensor, leaves: Any, out: Any, *, tolerance: float = 1e-11) -> None:
    """The loss and its gradients by the two log-probabilities."""
    gradients = torch.autograd.grad(loss, leaves, allow_unused=True)
    assert out.loss == pytest.approx(loss.item(), rel=tolerance)
    for gradient, ours in zip(
        gradients, (out.grad_policy_chosen_logps, out.grad_policy_rejected_logps), strict=True
    ):
        theirs = np.zeros_like(ours) if gradient is None else gradient.numpy()
        np.testing.assert_allclose(ours, theirs, rtol=100 * tolerance, atol=1e-15)


def pairs(seed: int = 0, scale: float = 10.0) -> list[torch.Tensor]:
    rng = np.random.default_rng(seed)
    return [torch.tensor(x, requires_grad=i < 2) for i, x in enumerate(rng.normal(-50, scale, (4, PAIRS)))]


def arrays(tensors: Any) -> list[Any]:
    return [tensor.detach().numpy() for tensor in tensors]


class Tokens:
    """Log-probabilities of tokens, for TRL: of B chosen responses, then of B rejected ones."""

    def __init__(self, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.mask = torch.tensor(np.arange(LENGTH) < rng.integers(1, LENGTH + 1, (2 * PAIRS, 1)))
        logps = torch.tensor(-rng.exponential(4, (2 * PAIRS, LENGTH))) * self.mask
        self.logps = logps.requires_grad_()
        self.ref = torch.tensor(-rng.exponential(4, (2 * PAIRS, LENGTH)) * self.mask.numpy()).sum(1)
        counts = self.mask.sum(1).numpy()
        self.lengths = {"chosen_lengths": counts[:PAIRS], "rejected_lengths": counts[PAIRS:]}

    def arrays(self) -> list[Any]:
        sums = self.logps.detach().sum(1)
        return [x.numpy() for x in (*sums.chunk(2), *self.ref.chunk(2))]

    def same(self, loss: torch.Tensor, out: Any, *, tolerance: float = 1e-11) -> None:
        """A sequence's gradient is that of each of its tokens."""
        (gradient,) = torch.autograd.grad(loss, self.logps)
        assert out.loss == pytest.approx(loss.item(), rel=tolerance)
        ours = np.concatenate([out.grad_policy_chosen_logps, out.grad_policy_rejected_logps])
        np.testing.assert_allclose(
            ours[:, None] * self.mask.numpy(), gradient * self.mask, rtol=100 * tolerance, atol=1e-15
        )


# TRL

# Under TRL's names, whose ipo is the length-normalised one.
TRL_NAMES = {"ipo": "ipo_norm"}


@pytest.mark.parametrize("name", TRL_LOSS_TYPES)
def test_trl(name: str) -> None:
    tokens = Tokens(seed=len(name))
    smoothing = 0.15 if name in ("exo_pair", "robust", "aot", "aot_unpaired") else 0.0
    loss = trl_dpo(tokens.logps, tokens.ref, tokens.mask, name, beta=BETA, label_smoothing=smoothing)
    out = swiftdpo.dpo_loss(
        *tokens.arrays(), BETA, TRL_NAMES.get(name, name), label_smoothing=smoothing, **tokens.lengths
    )
    # TRL takes exo_pair's label smoothing in single precision.
    tokens.same(loss, out, tolerance=1e-7 if name == "exo_pair" else 1e-11)


@pytest.mark.parametrize("divergence", ["forward_kl", "js_divergence"])
@pytest.mark.parametrize(
    "name", ["sigmoid", "hinge", "ipo", "exo_pair", "robust", "discopop", "sigmoid_norm"]
)
def test_trl_with_f_divergences(name: str, divergence: str) -> None:
    tokens = Tokens(seed=7)
    tokens.ref = tokens.logps.detach().sum(1) - torch.linspace(-2, 2, 2 * PAIRS, dtype=torch.float64)
    smoothing = 0.15 if name in ("exo_pair", "robust") else 0.0
    options: dict[str, Any] = {"label_smoothing": smoothing, "f_divergence_type": divergence}
    loss = trl_dpo(tokens.logps, tokens.ref, tokens.mask, name, beta=BETA, **options)
    out = swiftdpo.dpo_loss(*tokens.arrays(), BETA, TRL_NAMES.get(name, name), **options, **tokens.lengths)
    tokens.same(loss, out, tolerance=1e-7 if name == "exo_pair" else 1e-11)


def test_trl_mixture_with_wpo() -> None:
    tokens = Tokens(seed=3)
    squares = torch.tensor(-np.random.default_rng(8).exponential(2, (2 * PAIRS, LENGTH))) * tokens.mask
    names, weights = ["sigmoid", "bco_pair", "apo_zero"], [1.0, 0.25, 2.0]
    loss = trl_dpo(tokens.logps, tokens.ref, tokens.mask, names, weights, beta=BETA, log_sum_squares=squares)
    counts = np.concatenate(list(tokens.lengths.values()))
    wpo = swiftdpo.wpo_weights(tokens.logps.detach().numpy(), counts, squares.numpy())
    out = swiftdpo.dpo_loss(
        *tokens.arrays(), BETA, names, weights, weights=wpo[:PAIRS] * wpo[PAIRS:], **tokens.lengths
    )
    tokens.same(loss, out)


@pytest.mark.parametrize("name", ["sigmoid", "hinge", "ipo", "simpo", "alphapo"])
def test_trl_cpo(name: str) -> None:
    c, r, *_ = pairs(1)
    n = np.full(PAIRS, 40)
    per_token = name in ("simpo", "alphapo")
    trainer = type("", (), {})()
    trainer.accelerator = type("", (), {"device": "cpu"})
    trainer.alpha = 0.3 if name == "alphapo" else 0.0
    trainer.loss_type = "simpo" if per_token else name
    trainer.beta, trainer.simpo_gamma, trainer.label_smoothing = BETA, 0.5, 0.1 if per_token else 0.0
    losses = CPOTrainer.cpo_loss(trainer, *((c / 40, r / 40) if per_token else (c, r)))[0]
    if name == "simpo":
        out = swiftdpo.simpo_loss(*arrays([c, r]), n, n, BETA, 0.5, label_smoothing=0.1)
    elif name == "alphapo":
        out = swiftdpo.alphapo_loss(*arrays([c, r]), n, n, BETA, 0.5, 0.3, label_smoothing=0.1)
    else:
        loss_type: Any = name
        out = swiftdpo.cpo_loss(*arrays([c, r]), BETA, loss_type=loss_type, cpo_alpha=0.0)
    same(losses.mean(), (c, r), out, tolerance=1e-10)


def test_trl_orpo() -> None:
    """In single precision, as TRL computes it."""
    c, r, *_ = pairs(2)
    n = np.full(PAIRS, 40)
    trainer = type("", (), {"beta": BETA, "accelerator": type("", (), {"device": "cpu"})})()
    losses = ORPOTrainer.odds_ratio_loss(trainer, c / 40, r / 40)[0]
    out = swiftdpo.orpo_loss(*arrays([c, r]), n, n, BETA, sft_weight=0.0)
    same(-losses.mean(), (c, r), out, tolerance=1e-6)


# Liger: its losses of given log-probabilities, the functions behind its fused heads.


@pytest.mark.parametrize(
    "name",
    [
        "sigmoid",
        "hinge",
        "exo_pair",
        "nca_pair",
        "robust",
        "bco_pair",
        "sppo_hard",
        "apo_zero",
        "apo_down",
        "discopop",
    ],
)
def test_liger_dpo(name: str) -> None:
    c, r, ref_c, ref_r = pairs(3)
    smoothing = 0.15 if name in ("exo_pair", "robust") else 0.0
    loss = LigerFusedLinearDPOFunction.preference_loss_fn(
        c,
        r,
        torch.zeros(2 * PAIRS),
        ref_c,
        ref_r,
        beta=BETA,
        loss_type=name,
        label_smoothing=smoothing,
    )[0]
    out = swiftdpo.dpo_loss(*arrays([c, r, ref_c, ref_r]), BETA, name, label_smoothing=smoothing)
    same(loss, (c, r), out, tolerance=1e-7 if name == "exo_pair" else 1e-11)


def test_liger_without_a_reference() -> None:
    c, r, *_ = pairs(4)
    n = np.full(PAIRS, 40)
    target = torch.zeros(2 * PAIRS)
    cpo = LigerFusedLinearCPOFunction.preference_loss_fn(c, r, target, beta=BETA, label_smoothing=0.1)[0]
    out = swiftdpo.cpo_loss(*arrays([c, r]), BETA, cpo_alpha=0.0, label_smoothing=0.1)
    same(cpo, (c, r), out)
    simpo = LigerFusedLinearSimPOFunction.preference_loss_fn(c / 40, r / 40, target, BETA, 0.5)[0]
    same(simpo, (c, r), swiftdpo.simpo_loss(*arrays([c, r]), n, n, BETA, 0.5))
    orpo = LigerFusedLinearORPOFunction.preference_loss_fn(c / 40, r / 40, target, BETA)[0]
    same(orpo, (c, r), swiftdpo.orpo_loss(*arrays([c, r]), n, n, BETA, sft_weight=0.0), tolerance=1e-10)


def test_liger_kto() -> None:
    logps, _, ref, _ = pairs(5)
    desirable = np.arange(PAIRS) % 3 > 0
    loss = LigerFusedLinearKTOFunction.preference_loss_fn(
        logps, torch.tensor(desirable), torch.zeros(PAIRS), ref, beta=BETA, kl=torch.tensor(0.75)
    )[0]
    out = swiftdpo.kto_loss(*arrays([logps, ref]), desirable, BETA, kl=0.75)
    assert out.loss == pytest.approx(loss.item(), rel=1e-12)
    gradient = torch.autograd.grad(loss, logps)[0]
    np.testing.assert_allclose(out.grad_policy_logps, gradient, rtol=1e-9, atol=1e-15)


# torchtune and OpenRLHF


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_torchtune_and_openrlhf_dpo(smoothing: float) -> None:
    given = pairs(6)
    out = swiftdpo.dpo_loss(*arrays(given), BETA, label_smoothing=smoothing)
    losses, *rewards = torchtune.DPOLoss(BETA, smoothing)(*given)
    same(losses.mean(), given[:2], out)
    np.testing.assert_allclose(out.losses, losses.detach(), rtol=1e-11)
    loss, *other_rewards = openrlhf.DPOLoss(BETA, smoothing)(*given)
    same(loss, given[:2], out)
    for chosen, rejected in (rewards, other_rewards):
        np.testing.assert_allclose(out.chosen_rewards, chosen, rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(out.rejected_rewards, rejected, rtol=1e-11, atol=1e-13)


def test_torchtune_rso_is_hinge() -> None:
    given = pairs(7)
    losses = torchtune.RSOLoss(BETA)(*given)[0]
    same(losses.mean(), given[:2], swiftdpo.dpo_loss(*arrays(given), BETA, "hinge"))


def test_openrlhf_ipo_is_summed() -> None:
    given = pairs(8)
    loss = openrlhf.DPOLoss(BETA, ipo=True)(*given)[0]
    same(loss, given[:2], swiftdpo.dpo_loss(*arrays(given), BETA, "ipo"))


# Where they differ


def test_disagreement_trl_and_liger_ignore_label_smoothing() -> None:
    """The paper's cDPO is a sigmoid loss with smoothing; TRL's and Liger's "sigmoid" don't read it."""
    tokens = Tokens()
    smooth, plain = (
        trl_dpo(tokens.logps, tokens.ref, tokens.mask, beta=BETA, label_smoothing=eps).item()
        for eps in (0.2, 0.0)
    )
    assert smooth == plain
    assert swiftdpo.dpo_loss(*tokens.arrays(), BETA, label_smoothing=0.2).loss != pytest.approx(
        plain, rel=1e-3
    )
    given = pairs(9)
    losses = [
        LigerFusedLinearDPOFunction.preference_loss_fn(
            *given[:2], torch.zeros(2 * PAIRS), *given[2:], beta=BETA, label_smoothing=eps
        )[0].item()
        for eps in (0.2, 0.0)
    ]
    assert losses[0] == losses[1]
    assert swiftdpo.dpo_loss(*arrays(given), BETA, label_smoothing=0.2).loss != pytest.approx(
        losses[0], rel=1e-3
    )


def test_disagreement_two_losses_are_called_ipo() -> None:
    """OpenRLHF sums over tokens as the paper does, TRL divides by their number; here both have a name."""
    tokens = Tokens(seed=1)
    theirs = trl_dpo(tokens.logps, tokens.ref, tokens.mask, "ipo", beta=BETA).item()
    summed = swiftdpo.dpo_loss(*tokens.arrays(), BETA, "ipo").loss
    assert swiftdpo.dpo_loss(*tokens.arrays(), BETA, "ipo_norm", **tokens.lengths).loss == pytest.approx(
        theirs
    )
    assert summed != pytest.approx(theirs, rel=1e-2)
    with pytest.raises(NotImplementedError):
        LigerFusedLinearDPOFunction.preference_loss_fn(*pairs()[:2], torch.zeros(2 * PAIRS), loss_type="ipo")


def test_disagreement_robust_is_not_smoothing() -> None:
    """TRL's and Liger's "robust" is Chowdhury's; torchtune's and OpenRLHF's smoothing is cDPO."""
    given = pairs(10)
    smoothed = torchtune.DPOLoss(BETA, 0.2)(*given)[0].mean().item()
    robust = swiftdpo.dpo_loss(*arrays(given), BETA, "robust", label_smoothing=0.2).loss
    assert robust != pytest.approx(smoothed, rel=1e-2)


def test_disagreement_exo_needs_doubt() -> None:
    """Liger refuses as well; TRL returns an infinite loss."""
    tokens, given = Tokens(), pairs()
    assert torch.isinf(trl_dpo(tokens.logps, tokens.ref, tokens.mask, "exo_pair", beta=BETA))
    with pytest.raises(ValueError, match="label_smoothing"):
        LigerFusedLinearDPOFunction.preference_loss_fn(
            *given[:2], torch.zeros(2 * PAIRS), *given[2:], loss_type="exo_pair"
        )
    with pytest.raises(ValueError, match="label_smoothing"):
        swiftdpo.dpo_loss(*tokens.arrays(), BETA, "exo_pair")


def test_disagreement_losses_that_take_no_divergence() -> None:
    """TRL computes nca_pair and the like from log-ratios, whatever divergence is set; here it is an error."""
    tokens = Tokens(seed=2)
    for name in ("nca_pair", "bco_pair", "sppo_hard", "apo_zero", "apo_down", "aot", "aot_unpaired"):
        set_, plain = (
            trl_dpo(tokens.logps, tokens.ref, tokens.mask, name, beta=BETA, f_divergence_type=kind).item()
            for kind in ("js_divergence", "reverse_kl")
        )
        assert set_ == plain
        with pytest.raises(ValueError, match="f_divergence"):
            swiftdpo.dpo_loss(*tokens.arrays(), BETA, name, f_divergence_type="js_divergence")


def test_disagreement_alpha_divergence_in_double_precision() -> None:
    """TRL has no clamp for float64 and raises; nothing is clamped here."""
    tokens = Tokens(seed=4)
    with pytest.raises(KeyError):
        trl_dpo(tokens.logps, tokens.ref, tokens.mask, beta=BETA, f_divergence_type="alpha_divergence")
    out = swiftdpo.dpo_loss(*tokens.arrays(), BETA, f_divergence_type="alpha_divergence")
    assert np.isfinite(out.loss)


def test_disagreement_far_margins() -> None:
    """discopop far on the wrong side is 0 * inf = NaN there, and z here."""
    mask = torch.ones(2, 1, dtype=torch.bool)
    far = torch.tensor([[-8000.0], [0.0]], dtype=torch.float64)
    assert torch.isnan(trl_dpo(far, torch.zeros(2, dtype=torch.float64), mask, "discopop", beta=1.0))
    assert swiftdpo.dpo_loss([-8000.0], [0.0], [0.0], [0.0], 1.0, "discopop").loss == pytest.approx(8000)


def test_disagreement_a_batch_without_tokens() -> None:
    """The likelihood of no tokens is NaN in TRL, 0 here."""
    mask = torch.zeros(2, 3, dtype=torch.bool)
    assert torch.isnan(trl_dpo(torch.zeros(2, 3), torch.zeros(2), mask, "sft"))
    assert swiftdpo.dpo_loss([0.0], [0.0], None, None, loss_type="sft", chosen_lengths=[0]).loss == 0.0


def test_disagreement_alphapo_through_probabilities() -> None:
    """TRL takes exp(logp) and a power of it: with sums of 800 nats that is inf - inf; exponents are exact."""
    c, r = (torch.tensor([x], dtype=torch.float64) for x in (-1000.0, -1001.0))
    trainer = type("", (), {})()
    trainer.accelerator = type("", (), {"device": "cpu"})
    trainer.alpha, trainer.loss_type, trainer.beta = 0.3, "sigmoid", BETA
    trainer.simpo_gamma, trainer.label_smoothing = 0.5, 0.0
    assert torch.isnan(CPOTrainer.cpo_loss(trainer, c, r)[0])
    out = swiftdpo.alphapo_loss(c.numpy(), r.numpy(), [1], [1], BETA, 0.0, 0.3)
    assert out.loss == 0.0


def test_disagreement_orpo_at_certainty() -> None:
    """A log-probability of 0 has infinite odds in Liger, and the difference of two of them is NaN."""
    zero = torch.zeros(1, dtype=torch.float64)
    loss = LigerFusedLinearORPOFunction.preference_loss_fn(zero, zero, torch.zeros(2), BETA)[0]
    assert torch.isnan(loss)
    out = swiftdpo.orpo_loss([0.0], [0.0], [1], [1], BETA, sft_weight=0.0)
    assert out.loss == pytest.approx(BETA * np.log(2))
