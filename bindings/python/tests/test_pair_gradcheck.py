"""Every loss through torch.autograd.gradcheck: central differences of the loss itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import swiftdpo
import torch
from swiftdpo.dpo import LOSS_TYPES
from torch.autograd import gradcheck

PAIRS = 6
LENGTHS = {"chosen_lengths": np.arange(3, 3 + PAIRS), "rejected_lengths": np.arange(9, 9 - PAIRS, -1)}
DIVERGENCES = ["forward_kl", "js_divergence", "alpha_divergence"]


class Pairs(torch.autograd.Function):
    """dpo_loss by its two policy and two reference log-probabilities, beta and margin."""

    @staticmethod
    def forward(ctx, chosen, rejected, ref_chosen, ref_rejected, beta, margin, options):
        out = swiftdpo.dpo_loss(
            *(
                None if x is None else x.detach().numpy()
                for x in (chosen, rejected, ref_chosen, ref_rejected)
            ),
            beta.detach().numpy(),
            margin=margin.detach().numpy(),
            more=True,
            **options,
        )
        ctx.gradients = [
            out.grad_policy_chosen_logps,
            out.grad_policy_rejected_logps,
            None if ref_chosen is None else out.grad_ref_chosen_logps,
            None if ref_rejected is None else out.grad_ref_rejected_logps,
            out.grad_beta,
            out.grad_margin,
        ]
        return torch.tensor(out.loss, dtype=torch.float64)

    @staticmethod
    def backward(ctx, incoming):
        return *(None if x is None else incoming * torch.tensor(x) for x in ctx.gradients), None


class Responses(torch.autograd.Function):
    """kto_loss or bco_loss by the policy's and the reference's log-probabilities, beta and the baseline."""

    @staticmethod
    def forward(ctx, policy, reference, beta, baseline, call):
        out = call(
            policy.detach().numpy(), reference.detach().numpy(), beta.detach().numpy(), baseline.item()
        )
        ctx.gradients = out.grad_policy_logps, -out.grad_policy_logps, out.grad_beta
        ctx.by_baseline = out.grad_baseline
        return torch.tensor(out.loss, dtype=torch.float64)

    @staticmethod
    def backward(ctx, incoming):
        by_baseline = incoming * torch.tensor(ctx.by_baseline, dtype=torch.float64)
        return *(incoming * torch.tensor(x) for x in ctx.gradients), by_baseline, None


def leaf(values) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def check(name: str, **options: Any) -> None:
    rng = np.random.default_rng(len(name))
    # No margin at a kink, no rank within a step of another.
    logps = [leaf(rng.permutation(PAIRS) * 0.37 - rng.uniform(3, 3.2, PAIRS)) for _ in range(4)]
    if name == "odds_ratio":
        logps[2:] = [None, None]
    parameters = leaf(rng.uniform(0.4, 0.9, PAIRS)), leaf(rng.normal(0, 0.3, PAIRS))
    options = {"loss_type": name, "tie_strength": 1.7, "discopop_tau": 0.4, **LENGTHS, **options}
    if name in ("exo_pair", "robust"):
        options["label_smoothing"] = 0.2
    if name.startswith("rpo"):
        options["reward_gaps"] = rng.normal(0, 1, PAIRS)
    if name in ("rao_kupper", "davidson"):
        options["ties"] = np.arange(PAIRS) % 2 == 0
    if name == "alphapo":
        options["alphapo_alpha"] = 0.3
    given = (*logps, *parameters)
    assert gradcheck(lambda *x: Pairs.apply(*x, options), given)


@pytest.mark.parametrize("name", list(LOSS_TYPES))
def test_every_loss(name):
    check(name)


@pytest.mark.parametrize("name", [name for name in LOSS_TYPES if name not in ("exo_pair", "robust", "sft")])
def test_every_loss_of_a_label_in_doubt(name):
    check(name, soft_labels=np.linspace(0.1, 0.9, PAIRS), weights=np.linspace(0.5, 2, PAIRS))


@pytest.mark.parametrize("divergence", DIVERGENCES)
@pytest.mark.parametrize(
    "name",
    ["sigmoid", "robust", "hinge", "ipo", "ipo_norm", "exo_pair", "discopop", "sigmoid_norm", "davidson"],
)
def test_f_divergences(name, divergence):
    check(name, f_divergence_type=divergence)


def test_a_mixture():
    names = ["sigmoid", "ipo_norm", "nca_pair", "sppo_hard", "sft", "davidson"]
    check("mixture", loss_type=names, loss_weights=[1, 0.5, 2, 0.1, 1, 0.3], label_smoothing=0.1)


@pytest.mark.parametrize("name", ["kto", "apo_zero_unpaired", "bco"])
def test_single_responses(name):
    rng = np.random.default_rng(1)
    desirable = np.arange(PAIRS) % 3 > 0

    def call(policy, reference, beta, baseline):
        options = {"desirable_weight": 1.5, "weights": np.linspace(0.5, 2, PAIRS)}
        if name == "bco":
            return swiftdpo.bco_loss(policy, reference, desirable, beta, delta=baseline, **options)
        return swiftdpo.kto_loss(policy, reference, desirable, beta, kl=baseline, loss_type=name, **options)

    given = [leaf(rng.normal(-5, 1, PAIRS)) for _ in range(2)]
    assert gradcheck(
        lambda *x: Responses.apply(*x, call), (*given, leaf(rng.uniform(0.3, 1, PAIRS)), leaf(0.4))
    )
