"""The fused linear head in PyTorch: against Liger Kernel's own modules, and autograd in double precision."""

import functools
import subprocess
import sys
from collections.abc import Callable
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
from swiftdpo.torch import _head
from torch import Tensor

SHAPE = (3, 47, 31, 123)  # Liger's own
LARGER = (4, 128, 256, 1000)


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


@pytest.mark.parametrize(
    ("ours", "theirs", "options", "reference", "shape"),
    [(*module, SHAPE) for module in MODULES] + [(*MODULES[index], LARGER) for index in (0, 2, -1)],
)
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


def test_kto_in_the_place_of_liger() -> None:
    shape = SHAPE
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


def made_logits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The rows of each product that makes logits."""
    made: list[int] = []
    logits = _head._Head.logits

    def counting(head: Any, rows: Any) -> Tensor:
        made.append(len(rows.places))
        return logits(head, rows)

    monkeypatch.setattr(_head._Head, "logits", counting)
    return made


DESIRABLE = torch.tensor([True, False, False, True, False, True])
REF = torch.linspace(-60, -40, 6, dtype=torch.float64)
RANKINGS = torch.tensor([[2, 0, 1], [0, 1, 2]])
PAIRS = (REF[:3], REF[3:])


def pairs(logps: Tensor, tokens: Tensor, **options: Any) -> Tensor:
    lengths = {"chosen_lengths": tokens[:3], "rejected_lengths": tokens[3:]}
    return sdt.dpo_loss(logps[:3], logps[3:], *PAIRS, **(lengths | options)).loss


# A fused loss of (hidden, weight, labels), and the same of log-probabilities and counts of tokens.
LOSSES: dict[str, tuple[Callable[..., Any], Callable[[Tensor, Tensor], Tensor]]] = {
    name: (
        functools.partial(
            sdt.fused_linear_dpo_loss, ref_chosen_logps=PAIRS[0], ref_rejected_logps=PAIRS[1], **options
        ),
        functools.partial(pairs, **options),
    )
    for name, options in {
        "sigmoid": {},
        "ipo": {"loss_type": "ipo_norm", "label_smoothing": 0.2},
        "aot": {"loss_type": "aot"},
        "mixture": {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.3]},
        "not reduced": {"reduction": "none", "beta": torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64)},
    }.items()
} | {
    "orpo": (
        functools.partial(sdt.fused_linear_dpo_loss, loss_type="odds_ratio", average=True),
        lambda x, n: (
            sdt.dpo_loss(
                *(x / n).split(3),
                None,
                None,
                loss_type="odds_ratio",
                chosen_lengths=n[:3],
                rejected_lengths=n[3:],
            ).loss
        ),
    ),
    "kto": (
        functools.partial(sdt.fused_linear_kto_loss, desirable=DESIRABLE, ref_logps=REF, kl=0.3),
        lambda x, _: sdt.kto_loss(x, REF, DESIRABLE, kl=0.3).loss,
    ),
    "bco": (
        functools.partial(sdt.fused_linear_bco_loss, desirable=DESIRABLE, ref_logps=REF, delta=0.2),
        lambda x, _: sdt.bco_loss(x, REF, DESIRABLE, delta=0.2).loss,
    ),
    "rankings": (
        functools.partial(
            sdt.fused_linear_plackett_luce_loss, group_size=3, ref_logps=REF.view(2, 3), rankings=RANKINGS
        ),
        lambda x, _: sdt.plackett_luce_loss(x.view(2, 3), REF.view(2, 3), rankings=RANKINGS).loss,
    ),
    "ragged": (
        functools.partial(sdt.fused_linear_plackett_luce_loss, group_offsets=torch.tensor([0, 2, 2, 6])),
        lambda x, _: sdt.plackett_luce_loss(x, offsets=torch.tensor([0, 2, 2, 6])).loss,
    ),
}
ROW = 50 * 4  # bytes of a row of logits


@pytest.mark.parametrize(("workspace_size", "products"), [(1, 2), (60 * ROW, 1), (64 << 20, 1)])
@pytest.mark.parametrize("name", LOSSES)
def test_losses_against_autograd(
    name: str, workspace_size: int, products: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a workspace of one row, over whole groups, to all at once: where groups fit, logits are made once,
    except for a loss that couples them all."""
    fused, plain = LOSSES[name]
    made = made_logits(monkeypatch)
    hidden, weight, bias, labels = head((3, 20, 7, 50), 0)
    loss = fused(hidden, weight, labels, bias=bias, workspace_size=workspace_size).loss
    scale = torch.linspace(1, 1.5, loss.numel(), dtype=torch.float64).reshape(loss.shape)
    if name == "not reduced":
        scale = torch.tensor(-3.0)  # a multiple of what was foreseen
    (loss * scale).sum().backward()
    rows = int((labels[:, 1:] != -100).sum())
    if name == "aot" and workspace_size == 60 * ROW:
        products = 2
    assert sum(made) == products * rows
    assert max(made) <= max(1, workspace_size // ROW)
    doubles = [x.detach().double().requires_grad_() for x in (hidden, weight, bias)]
    expected = plain(exact(*doubles, labels), (labels[:, 1:] != -100).sum(1))
    (expected * scale).sum().backward()
    close(loss.detach(), expected.detach())
    for found, double in zip((hidden, weight, bias), doubles, strict=True):
        close(found.grad, double.grad)


def test_what_was_not_foreseen() -> None:
    """Other functions of the log-probabilities and losses, and further backward passes, are right as well."""
    hidden, weight, bias, labels = head((3, 20, 7, 50), 0)

    def objective(workspace_size: int) -> Tensor:
        out = sdt.fused_linear_dpo_loss(
            hidden, weight, labels, bias=bias, workspace_size=workspace_size, reduction="none"
        )
        return (out.loss * torch.tensor([1.0, 0.0, -2.0])).sum() + 0.01 * out.policy_logps[1]

    found, again, expected = [], [], []
    for size, into in ((60 * ROW, found), (64 << 20, expected)):
        value = objective(size)
        into += torch.autograd.grad(value, (hidden, weight, bias), retain_graph=size == 60 * ROW)
        if size == 60 * ROW:
            again += torch.autograd.grad(value, (hidden, weight, bias))
    for values in (found, again):
        for ours, whole in zip(values, expected, strict=True):
            close(ours, whole)
    # The other gradients of a loss don't come from the head.
    beta = torch.tensor(0.1, requires_grad=True, dtype=torch.float64)
    sdt.fused_linear_dpo_loss(hidden, weight, labels, beta=beta, workspace_size=60 * ROW).loss.backward()
    assert beta.grad is not None and float(beta.grad) != 0
    (first,) = torch.autograd.grad(objective(60 * ROW), hidden, create_graph=True)
    with pytest.raises(RuntimeError, match="second derivatives"):
        first.sum().backward()


@pytest.mark.parametrize("average", [True, False])
def test_under_torch_compile(average: bool) -> None:
    """One operator in one graph; and what PyTorch checks of operators."""
    hidden, weight, bias, labels = head((3, 20, 7, 50), 0)

    def loss(hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        out = sdt.fused_linear_dpo_loss(hidden, weight, labels, bias=bias, average=average, workspace_size=9)
        return out.loss * 2

    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    results = []
    for function in (loss, compiled):
        value = function(hidden, weight, bias)
        results.append((value.detach(), *torch.autograd.grad(value, (hidden, weight, bias))))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected)


def test_the_operator() -> None:
    hidden, weight, bias, labels = head((2, 8, 5, 30), 0)
    options = (-100, True, 0.3, 0.7, 20.0, "propagate", 500, False)
    operator: Any = torch.ops.swiftdpo.fused_linear_logps.default
    weights = torch.linspace(-1, 1, 32).view(4, 8), torch.tensor([2, 0, 9, 1])
    torch.library.opcheck(operator, (hidden, weight, bias, labels, labels != 3, None, *weights, *options))
    packed = (hidden.detach().reshape(32, 5), weight, None, labels.reshape(32), None)
    torch.library.opcheck(operator, (*packed, torch.tensor([0, 3, 3, 32]), None, None, *options))


LD_LENGTHS = torch.tensor([3, 0, 5, 40, 1, 7])


def weighted(shape: tuple[int, ...]) -> dict[str, dict[str, Any]]:
    """What weighs tokens: factors, some negative and some 0; the tokens beyond some; both."""
    weights = torch.linspace(-0.5, 1.5, 120, dtype=torch.float64).view(shape)
    weights = weights.masked_fill(torch.arange(120).view(shape) % 7 == 0, 0.0)
    lengths = {"ld_lengths": LD_LENGTHS, "ld_alpha": 0.3}
    return {
        "weights": {"token_weights": weights},
        "LD": lengths,
        "both": {"token_weights": weights} | lengths,
    }


@pytest.mark.parametrize("workspace_size", [1, 60 * ROW, 64 << 20])
@pytest.mark.parametrize("kind", ["weights", "LD", "both"])
def test_weighted_tokens_against_autograd(kind: str, workspace_size: int) -> None:
    hidden, weight, bias, labels = head((3, 20, 7, 50), 0)
    options: Any = weighted((6, 20))[kind]
    ref = dict(zip(("ref_chosen_logps", "ref_rejected_logps"), PAIRS, strict=True))
    out = sdt.fused_linear_dpo_loss(
        hidden, weight, labels, bias=bias, workspace_size=workspace_size, **ref, **options
    )
    out.loss.backward()

    doubles = [x.detach().double().requires_grad_() for x in (hidden, weight, bias)]
    targets = labels[:, 1:]
    factors = (targets != -100).double()
    places = factors.cumsum(1) - 1
    if "ld_lengths" in options:
        factors = torch.where(places >= LD_LENGTHS[:, None], 0.3 * factors, factors)
    factors = factors * options.get("token_weights", torch.ones(6, 20))[:, 1:]
    tokens = F.log_softmax(doubles[0] @ doubles[1].T + doubles[2], -1)[:, :-1]
    logps = (tokens.gather(-1, targets.clamp(min=0)[..., None])[..., 0] * factors).sum(1)
    expected = pairs(logps, (targets != -100).sum(1))
    expected.backward()
    close(out.loss.detach(), expected.detach())
    close(out.policy_logps.detach(), logps.detach())
    for found, double in zip((hidden, weight, bias), doubles, strict=True):
        close(found.grad, double.grad)


@pytest.mark.parametrize("average", [False, True])
@pytest.mark.parametrize("kind", ["weights", "LD", "both"])
def test_weighted_tokens_as_those_of_logits(kind: str, average: bool) -> None:
    """Packed and padded, a masked label among them, and a logit of -inf whose token has no weight."""
    hidden, weight, bias, labels = (x.detach() for x in head((3, 20, 7, 50), 0))
    options: Any = weighted((6, 20))[kind] | {"average": average, "mask": labels != 3}
    bias[labels[0, 7]] = -torch.inf
    labels[0, 7 + 1 :][labels[0, 8:] == labels[0, 7]] = -100
    logits = hidden @ weight.T + bias
    expected = sdt.sequence_logps(logits, labels, **options).logps
    found, _ = sdt.fused_linear_logps(hidden, weight, labels, bias=bias, workspace_size=9 * ROW, **options)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)
    flat = {name: x.flatten() if name in ("token_weights", "mask") else x for name, x in options.items()}
    offsets = torch.arange(7) * 20
    packed, _ = sdt.fused_linear_logps(
        hidden.flatten(0, 1), weight, labels.flatten(), bias=bias, offsets=offsets, **flat
    )
    torch.testing.assert_close(packed, expected, rtol=1e-6, atol=0)


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


def test_bfloat16_with_logits_of_singles() -> None:
    """Log-probabilities of 140 tokens are off by 0.05 at most; with logits in float32, by 1e-6 a token."""
    hidden, weight, bias, labels = (x.detach() for x in head((2, 200, 64, 300), 0))
    matrices = hidden.bfloat16(), weight.bfloat16(), bias.bfloat16()
    doubles = [x.double().requires_grad_() for x in matrices]
    logps = exact(*doubles, labels)
    F.softplus(-0.1 * (logps[:2] - logps[2:])).mean().backward()
    bounds = {None: (0.05, 2**-6), torch.float32: (1e-6 * 140, 2**-7)}
    for dtype, (bound, gradient_bound) in bounds.items():
        for size in (300 * 6 * 300, 64 << 20):
            leaves = [x.clone().requires_grad_() for x in matrices]
            out = sdt.fused_linear_dpo_loss(
                *leaves[:2], labels, bias=leaves[2], logits_dtype=dtype, workspace_size=size
            )
            out.loss.backward()
            assert (out.policy_logps - logps).detach().abs().max() <= bound
            for found, expected in zip(leaves, doubles, strict=True):
                assert found.grad is not None and expected.grad is not None
                error = (found.grad.double() - expected.grad).abs().max() / expected.grad.abs().max()
                assert error <= gradient_bound


@pytest.mark.parametrize("workspace_size", [60 * ROW, 64 << 20])
def test_under_autocast(workspace_size: int) -> None:
    """As `nn.Linear`, all goes to its type; gradients come back in that of the weights."""
    hidden, weight, bias, labels = head((3, 20, 7, 50), 0)
    halves = [x.detach().bfloat16().requires_grad_() for x in (hidden, weight, bias)]
    size = {"workspace_size": workspace_size}
    expected = sdt.fused_linear_dpo_loss(*halves[:2], labels, bias=halves[2], **size).loss
    expected.backward()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = sdt.fused_linear_dpo_loss(halves[0].detach(), weight, labels, bias=bias, **size).loss
        assert sdt.fused_linear_kto_loss(hidden, weight, labels, DESIRABLE, **size).loss > 0
    loss.backward()
    assert torch.equal(loss, expected)
    for found, half in ((weight.grad, halves[1].grad), (bias.grad, halves[2].grad)):
        assert found is not None and half is not None
        assert torch.equal(found, half.float())


MEMORY = """
import torch, swiftdpo.torch as sdt
def high_water():
    return int(next(x for x in open("/proc/self/status") if x.startswith("VmHWM")).split()[1]) / 1024
hidden = torch.randn(6, 65, 16, requires_grad=True)
weight = torch.randn(151936, 16, requires_grad=True)
labels = torch.randint(0, 151936, (6, 65))
few = labels.masked_fill(torch.arange(65) > 2, -100)
sdt.fused_linear_dpo_loss(hidden, weight, few).loss.backward()
before = high_water()
hidden.grad = weight.grad = None
sdt.fused_linear_dpo_loss(hidden, weight, labels, workspace_size=80 << 20).loss.backward()
print(high_water() - before)
"""


def test_peak_memory_stays_within_the_workspace() -> None:
    """384 rows of 151,936 logits would be 223 MiB. 80 are asked for, and 16 more allowed."""
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    assert float(done.stdout) <= 96


REFUSED: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"ref_hidden": torch.zeros(2, 3, 4)}, TypeError, "ref_hidden and ref_weight"),
    ({"weight": torch.zeros(5, 4).half()}, TypeError, "weight is of torch.float16"),
    ({"hidden": torch.zeros(2, 3, 4, device="meta")}, ValueError, "hidden is on meta"),
    ({"logits_dtype": torch.float16}, TypeError, "logits_dtype"),
    ({"token_weights": torch.ones(2, 3).long()}, TypeError, "token_weights has dtype torch.int64"),
    ({"token_weights": torch.ones(2, 2)}, ValueError, r"token_weights has shape \(2, 2\)"),
    ({"token_weights": torch.full((2, 3), torch.nan)}, ValueError, "token_weights has a number"),
    (
        {"token_weights": torch.ones(2, 3, requires_grad=True)},
        ValueError,
        "token_weights requires a gradient",
    ),
    ({"ld_lengths": torch.ones(2)}, TypeError, "ld_lengths has dtype torch.float32"),
    ({"ld_lengths": torch.ones(3).long()}, ValueError, r"ld_lengths has shape \(3,\)"),
    ({"ld_lengths": torch.ones(2).long(), "ld_alpha": 1.5}, ValueError, "ld_alpha is 1.5"),
    ({"ld_alpha": 0.5}, ValueError, "ld_alpha needs ld_lengths"),
]


@pytest.mark.parametrize(("change", "error", "message"), REFUSED)
def test_what_is_refused(change: dict[str, Any], error: type[Exception], message: str) -> None:
    given = {"hidden": torch.zeros(2, 3, 4), "weight": torch.zeros(5, 4), "labels": torch.zeros(2, 3).long()}
    with pytest.raises(error, match=message):
        sdt.fused_linear_dpo_loss(**(given | change))


def test_nothing_counts() -> None:
    hidden, weight, bias, labels = head((1, 5, 3, 8), 0)
    out = sdt.fused_linear_dpo_loss(hidden, weight, torch.full_like(labels, -100), bias=bias)
    out.loss.backward()
    assert out.loss.item() == pytest.approx(0.6931471805599453)
    assert not hidden.grad.any()  # type: ignore[union-attr]
