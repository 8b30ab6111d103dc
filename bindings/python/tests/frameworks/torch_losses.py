"""Every loss of swiftdpo.torch, as a function of the tensors that it is differentiable by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, get_args

import swiftdpo.torch as sdt
import torch
from swiftdpo.dpo import LossType
from torch import Tensor

B, K = 4, 3
LENGTHS = torch.tensor([3, 1, 4, 2])
OTHER_LENGTHS = torch.tensor([2, 5, 1, 3])
TIES = torch.tensor([False, True, False, True])
GAPS = torch.tensor([0.5, -1.0, 2.0, 0.1], dtype=torch.float64)
WEIGHTS = torch.tensor([0.5, 2.0, 1.0, 0.0], dtype=torch.float64)
DESIRABLE = torch.tensor([True, False, False, True])


def logps(*shape: int, seed: int = 0, highest: float = -0.3) -> Tensor:
    """Far enough from 0 for odds, and from the kinks of hinges."""
    generator = torch.Generator().manual_seed(seed)
    return (highest - 3 * torch.rand(shape, generator=generator, dtype=torch.float64)).requires_grad_()


class Case(NamedTuple):
    """A loss of tensors that all want a gradient."""

    loss: Callable[..., Tensor]
    tensors: tuple[Tensor, ...]


def pair_options(loss_type: str) -> dict[str, Any]:
    """What a loss needs, or has use for."""
    options: dict[str, Any] = {
        "loss_type": loss_type,
        "chosen_lengths": LENGTHS,
        "rejected_lengths": OTHER_LENGTHS,
    }
    if loss_type in ("robust", "exo_pair", "sigmoid"):
        options["label_smoothing"] = 0.1
    if loss_type.startswith("rpo"):
        options |= {"reward_gaps": GAPS, "reward_scale": 1.5}
    if loss_type in ("rao_kupper", "davidson"):
        options["ties"] = TIES
    if loss_type == "alphapo":
        options["alphapo_alpha"] = 0.3
    return options


def pair_case(name: str, reduction: str, **more: Any) -> Case:
    reference_free = name == "odds_ratio"
    policy = logps(B, seed=1), logps(B, seed=2)
    reference = () if reference_free else (logps(B, seed=3), logps(B, seed=4))
    beta = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    options = pair_options(name) | {"reduction": reduction} | more

    def loss(*tensors: Tensor) -> Tensor:
        first, second, *others, beta = tensors
        return sdt.dpo_loss(first, second, *(others or (None, None)), beta, **options).loss

    return Case(loss, (*policy, *reference, beta))


def head_cases(reduction: str) -> dict[str, Case]:
    """Every head with that reduction."""
    beta = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    betas = torch.tensor([0.7, 0.2, 1.0, 0.4], dtype=torch.float64, requires_grad=True)
    nu = torch.tensor(2.5, dtype=torch.float64, requires_grad=True)
    pair = logps(B, seed=1), logps(B, seed=2), logps(B, seed=3), logps(B, seed=4)
    free, more = pair[:2], {"reduction": reduction}
    lengths = {"chosen_lengths": LENGTHS, "rejected_lengths": OTHER_LENGTHS}
    items, ref_items = logps(B, K, seed=5), logps(B, K, seed=6)
    strengths = torch.tensor([0.5, 0.3], dtype=torch.float64, requires_grad=True)
    ranks = torch.tensor([[1, 2, 2], [3, 1, 1], [1, 2, 3], [1, 1, 1]])
    offsets = torch.tensor([0, 3, 3, 8, 12])
    cases = {name: pair_case(name, reduction) for name in get_args(LossType)}
    for divergence in ("forward_kl", "js_divergence", "alpha_divergence"):
        cases[divergence] = pair_case("sigmoid", reduction, f_divergence_type=divergence, label_smoothing=0.0)
    cases["mixture"] = pair_case(
        "sigmoid",
        reduction,
        loss_type=("ipo", "aot", "sft"),
        loss_weights=(0.3, 1.0, 0.2),
        label_smoothing=0.0,
    )
    cases["plain"] = Case(lambda *x: sdt.dpo_loss(*x, beta=0.3, **more).loss, pair[:2] + pair[2:])
    cases["betas and margins"] = Case(
        lambda w, r, m, b: (
            sdt.dpo_loss(w, r, pair[2].detach(), pair[3].detach(), b, margin=m, weights=WEIGHTS, **more).loss
        ),
        (*free, logps(B, seed=8), betas),
    )
    cases["soft labels"] = Case(lambda *x: sdt.dpo_loss(*x, soft_labels=WEIGHTS / 2, **more).loss, pair)
    cases["tie strength"] = Case(
        lambda w, r, n: (
            sdt.dpo_loss(w, r, None, None, loss_type="davidson", ties=TIES, tie_strength=n, **more).loss
        ),
        (*free, nu),
    )
    cases["cpo"] = Case(lambda *x: sdt.cpo_loss(*x, **lengths, **more).loss, (*free, beta))
    cases["simpo"] = Case(
        lambda *x: sdt.simpo_loss(*x[:2], LENGTHS, OTHER_LENGTHS, x[2], **more).loss, (*free, beta)
    )
    cases["alphapo loss"] = Case(
        lambda *x: sdt.alphapo_loss(*x, LENGTHS, OTHER_LENGTHS, sft_weight=0.1, **more).loss, free
    )
    cases["orpo"] = Case(lambda *x: sdt.orpo_loss(*x, LENGTHS, OTHER_LENGTHS, **more).loss, free)
    cases["slic loss"] = Case(
        lambda *x: sdt.slic_loss(*x, sft_weight=0.1, chosen_lengths=LENGTHS, **more).loss, free
    )
    cases["tpo"] = Case(lambda *x: sdt.tpo_loss(*x, OTHER_LENGTHS, **more).loss, pair[:3])
    cases["kto"] = Case(
        lambda p, r, b: sdt.kto_loss(p, r, DESIRABLE, b, kl=0.2, undesirable_weight=0.7, **more).loss,
        (*free, beta),
    )
    cases["apo unpaired"] = Case(
        lambda p: (
            sdt.kto_loss(p, None, DESIRABLE, loss_type="apo_zero_unpaired", weights=WEIGHTS, **more).loss
        ),
        pair[:1],
    )
    cases["bco"] = Case(
        lambda p, r, b: sdt.bco_loss(p, r, DESIRABLE, b, delta=0.3, **more).loss, (*free, betas)
    )
    cases["rankings"] = Case(lambda *x: sdt.plackett_luce_loss(*x, **more).loss, (items, ref_items))
    cases["davidson ranks"] = Case(
        lambda p, n: sdt.plackett_luce_loss(p, ranks=ranks, ties="davidson", tie_strengths=n, **more).loss,
        (items, strengths),
    )
    cases["ragged"] = Case(
        lambda p: sdt.plackett_luce_loss(p, offsets=offsets, weights=WEIGHTS, top=2, **more).loss,
        (logps(12, seed=9),),
    )
    grades = torch.tensor([[0.2, 0.5, 0.3], [1.0, 0.0, 0.0], [0.1, 0.1, 0.8], [0.4, 0.3, 0.3]]).double()
    for loss_type in ("cross_entropy", "lambda", "pro"):
        cases[f"{loss_type} of lists"] = Case(
            lambda p, r, loss_type=loss_type: (
                sdt.listwise_loss(p, r, grades, 0.6, loss_type=loss_type, weights=WEIGHTS, **more).loss
            ),
            (items, ref_items),
        )
    cases["ragged lists"] = Case(
        lambda p: (
            sdt.listwise_loss(
                p, None, grades.flatten(), betas.detach(), loss_type="pro", offsets=offsets, **more
            ).loss
        ),
        (logps(12, seed=9),),
    )
    divergences = -logps(B, seed=11), -logps(B, seed=12)
    cases["tdpo1"] = Case(
        lambda *x: sdt.tdpo_loss(*x, loss_type="tdpo1", weights=WEIGHTS, **more).loss,
        (*pair, *(x.detach().requires_grad_() for x in divergences), beta),
    )
    cases["tdpo2"] = Case(
        lambda w, r, d: sdt.tdpo_loss(w, r, None, None, divergences[0].detach(), d, 0.4, 0.7, **more).loss,
        (*free, divergences[1].detach().requires_grad_()),
    )
    cases["humanline"] = Case(
        lambda p, r: sdt.humanline_clamp(p, r, -0.8, 0.9), (logps(B, K, seed=1), logps(B, K, seed=2))
    )
    return cases


MEAN, NONE = head_cases("mean"), head_cases("none")

LABELS = torch.tensor([[0, 1, 2, 3, 4], [-100, 4, 4, -100, 0]])
TOKEN_WEIGHTS = torch.tensor([[1.0, 0.5, 2.0, 0.0, 1.0], [1.0, -1.0, 1.0, 1.0, 0.3]], dtype=torch.float64)
MASK = LABELS != 4
LOGITS: dict[str, Callable[[Tensor], Tensor]] = {
    "sums": lambda x: sdt.sequence_logps(x, LABELS).logps,
    "means": lambda x: sdt.sequence_logps(x, LABELS, average=True).logps,
    "by-products": lambda x: sdt.sequence_logps(x, LABELS, by_products=True).logps,
    "not shifted": lambda x: sdt.sequence_logps(x, LABELS, shift=False, mask=MASK).logps,
    "scaled": lambda x: sdt.sequence_logps(x, LABELS, temperature=0.7, softcap=2.0).logps,
    "weighted": lambda x: sdt.sequence_logps(x, LABELS, token_weights=TOKEN_WEIGHTS).logps,
    "LD": lambda x: sdt.sequence_logps(x, LABELS, ld_lengths=torch.tensor([1, 2]), ld_alpha=0.3).logps,
    "packed": lambda x: (
        sdt.sequence_logps(x.flatten(0, 1), LABELS.flatten(), offsets=torch.tensor([0, 3, 10])).logps
    ),
    "tokens": lambda x: sdt.token_logps(x, LABELS),
    "tokens, not shifted": lambda x: sdt.token_logps(x, LABELS, shift=False, mask=MASK, softcap=2.0),
    "tokens, masked": lambda x: sdt.token_logps(x, LABELS, mask=MASK),
}


def some_logits(dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    return torch.randn(2, 5, 6, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()
