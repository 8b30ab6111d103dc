"""The fused linear head in PyTorch: against Liger Kernel's own modules, and autograd in double precision."""

from typing import Any

import pytest
import swiftdpo.torch as sdt
import torch
import torch.nn.functional as F
from liger_kernel.chunked_loss import (
    LigerFusedLinearCPOLoss,
    LigerFusedLinearDPOLoss,
    LigerFusedLinearKTOLoss,
    LigerFusedLinearORPOLoss,
    LigerFusedLinearSimPOLoss,
)
from torch import Tensor

SHAPES = [(3, 47, 31, 123), (4, 128, 256, 1000)]  # Liger's own, and a larger one


def head(shape: Any, seed: int, rows: int | None = None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Leaves: hidden states, weight and bias; and labels, of which some don't count."""
    size, length, width, vocabulary = shape
    random = torch.Generator().manual_seed(seed)
    count = 2 * size if rows is None else rows
    hidden = torch.randn(count, length, width, generator=random)
    weight = torch.randn(vocabulary, width, generator=random) / width**0.5
    bias = torch.randn(vocabulary, generator=random)
    labels = torch.randint(0, vocabulary, (count, length), generator=random)
    labels[torch.rand(count, length, generator=random) < 0.3] = -100
    return hidden.requires_grad_(), weight.requires_grad_(), bias.requires_grad_(), labels


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(
        found.double(), expected.double(), rtol=1e-4, atol=2e-5 * float(expected.abs().max())
    )


MODULES: list[tuple[Any, Any, dict[str, Any], bool]] = [
    *(
        (
            sdt.FusedLinearDPOLoss,
            LigerFusedLinearDPOLoss,
            {"loss_type": loss, "average_log_prob": average} | more,
            True,
        )
        for loss, more in [
            ("sigmoid", {}),
            ("sigmoid", {"compute_nll_loss": True, "alpha": 0.5}),
            ("hinge", {}),
            ("robust", {"label_smoothing": 0.1}),
            ("exo_pair", {"label_smoothing": 1e-3}),
            ("nca_pair", {}),
            ("bco_pair", {}),
            ("sppo_hard", {}),
            ("apo_zero", {}),
            ("apo_down", {}),
            ("discopop", {}),
        ]
        for average in (True, False)
        if average or loss not in ("discopop", "sppo_hard", "hinge")
    ),
    (
        sdt.FusedLinearCPOLoss,
        LigerFusedLinearCPOLoss,
        {"label_smoothing": 0.1, "average_log_prob": True},
        False,
    ),
    (sdt.FusedLinearSimPOLoss, LigerFusedLinearSimPOLoss, {"gamma": 0.3}, False),
    (sdt.FusedLinearORPOLoss, LigerFusedLinearORPOLoss, {}, False),
]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("ours", "theirs", "options", "reference"), MODULES)
def test_in_the_place_of_liger(shape: Any, ours: Any, theirs: Any, options: Any, reference: bool) -> None:
    """Within 1e-4, and 2e-5 of the largest of a gradient, where Liger's own tests allow 5e-4 and 1e-5."""
    results = []
    for module in (ours(**options), theirs(**options, compiled=False)):
        hidden, weight, bias, labels = head(shape, 0)
        ref = [x.detach() for x in head(shape, 1)[:3]] if reference else []
        loss, others = module(weight, hidden, labels, bias, *ref)
        loss.backward()
        results.append(
            [loss.detach(), hidden.grad, weight.grad, bias.grad, *(others[i].detach() for i in range(7))]
        )
    for found, expected in zip(*results, strict=True):
        close(found, expected)


@pytest.mark.parametrize("shape", SHAPES)
def test_kto_in_the_place_of_liger(shape: Any) -> None:
    desirable = torch.arange(2 * shape[0]) % 2 == 0
    results = []
    for module in (
        sdt.FusedLinearKTOLoss(use_ref_model=True),
        LigerFusedLinearKTOLoss(use_ref_model=True, compiled=False),
    ):
        hidden, weight, bias, labels = head(shape, 0)
        ref = [x.detach() for x in head(shape, 1)[:3]]
        loss, _ = module(hidden, weight, labels, bias, desirable, *ref, kl=torch.tensor(0.2))
        loss.backward()
        results.append([loss.detach(), hidden.grad, weight.grad, bias.grad])
    for found, expected in zip(*results, strict=True):
        close(found, expected)


def exact(hidden: Tensor, weight: Tensor, bias: Tensor, labels: Tensor) -> Tensor:
    logps = F.log_softmax(hidden @ weight.T + bias, -1)[:, :-1]
    targets = labels[:, 1:]
    return (logps.gather(-1, targets.clamp(min=0)[..., None])[..., 0] * (targets != -100)).sum(1)


@pytest.mark.parametrize("workspace_size", [1, 40_000, 64 << 20])
@pytest.mark.parametrize(
    "options", [{}, {"loss_type": "ipo"}, {"label_smoothing": 0.2}, {"loss_type": "aot"}]
)
def test_gradients_with_what_liger_refuses(workspace_size: int, options: Any) -> None:
    """IPO, label smoothing and reference log-probabilities, from chunks of one row to all at once."""
    hidden, weight, bias, labels = head((3, 20, 7, 50), 0)
    ref = torch.linspace(-60, -40, 6, dtype=torch.float64)
    out = sdt.fused_linear_dpo_loss(
        hidden,
        weight,
        labels,
        bias=bias,
        ref_chosen_logps=ref[:3],
        ref_rejected_logps=ref[3:],
        workspace_size=workspace_size,
        **options,
    )
    out.loss.backward()
    doubles = [x.detach().double().requires_grad_() for x in (hidden, weight, bias)]
    logps = exact(*doubles, labels)
    loss = sdt.dpo_loss(logps[:3], logps[3:], ref[:3], ref[3:], **options).loss
    loss.backward()
    close(out.loss.detach(), loss.detach())
    for found, expected in zip((hidden, weight, bias), doubles, strict=True):
        close(found.grad, expected.grad)


def test_packed_is_padded() -> None:
    hidden, weight, bias, labels = head((2, 10, 5, 30), 0)
    padded, counts = sdt.fused_linear_logps(hidden, weight, labels, bias=bias)
    packed, same = sdt.fused_linear_logps(
        hidden.reshape(40, 5), weight, labels.reshape(40), bias=bias, offsets=torch.arange(5) * 10
    )
    torch.testing.assert_close(packed, padded)
    assert counts.tolist() == same.tolist()


def test_bfloat16_gradients() -> None:
    """Products of bf16: gradients are within 2^-6 of their largest element, from 9 chunks of rows."""
    hidden, weight, bias, labels = head((2, 200, 64, 300), 0)
    leaves = [x.detach().bfloat16().requires_grad_() for x in (hidden, weight, bias)]
    out = sdt.fused_linear_dpo_loss(leaves[0], leaves[1], labels, bias=leaves[2], workspace_size=40_000)
    out.loss.backward()
    doubles = [x.detach().double().requires_grad_() for x in leaves]
    logps = exact(*doubles, labels)
    F.softplus(-0.1 * (logps[:2] - logps[2:])).mean().backward()
    for found, expected in zip(leaves, doubles, strict=True):
        assert found.grad.dtype is torch.bfloat16
        error = (found.grad.double() - expected.grad).abs().max() / expected.grad.abs().max()
        assert error <= 2**-6


def test_nothing_counts() -> None:
    hidden, weight, bias, labels = head((1, 5, 3, 8), 0)
    out = sdt.fused_linear_dpo_loss(hidden, weight, torch.full_like(labels, -100), bias=bias)
    out.loss.backward()
    assert out.loss.item() == pytest.approx(0.6931471805599453)
    assert not hidden.grad.any()  # type: ignore[union-attr]
