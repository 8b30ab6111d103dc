"""The fused linear head for autograd: hidden states to log-probabilities and losses, without the logits.

The products are PyTorch's, in chunks of rows, so that bf16 has its speed; what lies between them is this
library's. Only rows whose label counts are multiplied.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from .. import _core
from .._typing import Nonfinite
from ._backward import apply, differentiable_once
from ._tensors import lend
from .dpo import dpo_loss
from .unpaired import UnpairedLoss, kto_loss


class FusedPairLoss(NamedTuple):
    """What `fused_linear_dpo_loss` returns. Loss and log-probabilities are differentiable by the head."""

    loss: Tensor
    chosen_rewards: Tensor
    rejected_rewards: Tensor
    policy_logps: Tensor
    """(2B,) float64: chosen, then rejected."""
    num_tokens: Tensor
    """(2B,): how many tokens count."""


class _Rows(NamedTuple):
    """The rows that score a label, all on the host."""

    places: Tensor
    """Of each in the batch's rows."""
    labels: Tensor
    sequences: Tensor
    num_sequences: int


class _Options(NamedTuple):
    temperature: float
    softcap: float | None
    nonfinite: str
    chunk_rows: int
    keeps: bool
    """Whether all logits fit, so that the backward pass need not make them again."""


class _Logps(torch.autograd.Function):
    """Rows of hidden states, weight and bias to each row's log-probability in double precision."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor, options: _Options
    ) -> Tensor:
        ctx.options, ctx.kept = options, []
        keeps = options.keeps and any(ctx.needs_input_grad)
        found, normalizers = [], []
        for start in range(0, max(len(labels), 1), options.chunk_rows):
            part = slice(start, start + options.chunk_rows)
            logits = _logits(hidden[part], weight, bias)
            given = _given(options, len(labels[part]))
            arrays = _core.sequence_logps(logits.detach(), lend(labels[part]), given, False)  # type: ignore[arg-type]
            found.append(torch.from_numpy(arrays[0]))
            normalizers.append(torch.from_numpy(arrays[3]))
            if keeps:
                ctx.kept.append(logits)
        ctx.save_for_backward(hidden, weight, bias, labels, torch.cat(normalizers))
        return torch.cat(found)

    @staticmethod
    def backward(ctx: Any, grad_logps: Tensor) -> Any:
        hidden, weight, bias, labels, normalizers = ctx.saved_tensors
        options, wanted = ctx.options, ctx.needs_input_grad
        grad_hidden = torch.empty_like(hidden) if wanted[0] else None
        grad_weight = torch.zeros(weight.shape, dtype=torch.float32) if wanted[1] else None
        grad_bias = torch.zeros(weight.shape[0], dtype=torch.float32) if wanted[2] else None
        for start in range(0, len(labels), options.chunk_rows):
            part = slice(start, start + options.chunk_rows)
            logits = (
                ctx.kept[start // options.chunk_rows] if ctx.kept else _logits(hidden[part], weight, bias)
            )
            given = _given(options, len(labels[part]))
            _core.sequence_logps_backward(
                logits,
                lend(labels[part]),  # type: ignore[arg-type]
                given,
                lend(grad_logps[part].contiguous()),  # type: ignore[arg-type]
                lend(normalizers[part]),
                logits,
                0,
            )
            if grad_hidden is not None:
                torch.mm(logits, weight, out=grad_hidden[part])
            if grad_weight is not None:
                if logits.dtype is torch.float32:
                    grad_weight.addmm_(logits.T, hidden[part])
                else:
                    grad_weight += logits.T @ hidden[part]
            if grad_bias is not None:
                grad_bias += logits.sum(0, dtype=torch.float32)
        ctx.kept = []
        wished = [(grad_hidden, hidden), (grad_weight, weight), (grad_bias, bias)]
        return *differentiable_once([None if x is None else x.to(y.dtype) for x, y in wished]), None, None


def _logits(hidden: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return hidden @ weight.T if bias is None else torch.addmm(bias, hidden, weight.T)


def _given(options: _Options, rows: int) -> Any:
    """Options for rows that are sequences of their own."""
    return {
        "shift": False,
        "temperature": options.temperature,
        "softcap": options.softcap,
        "nonfinite": options.nonfinite,
        "offsets": lend(torch.arange(rows + 1)),
    }


def _rows(
    labels: Tensor, ignore_index: int, shift: bool, mask: Tensor | None, offsets: Tensor | None
) -> _Rows:
    """Which rows count, in the order in which they lie."""
    counts = labels != ignore_index
    if mask is not None:
        counts &= mask
    if offsets is None:
        size, length = labels.shape
        offsets = torch.arange(size + 1) * length
        labels, counts = labels.reshape(-1), counts.reshape(-1)
    sizes = offsets.diff()
    sequences = torch.repeat_interleave(torch.arange(len(sizes)), sizes)
    if shift:
        first = offsets[:-1][sizes > 0]
        counts = counts.clone()
        counts[first] = False
    index = counts.nonzero()[:, 0]
    return _Rows(index - 1 if shift else index, labels[index].contiguous(), sequences[index], len(sizes))


def fused_linear_logps(
    hidden: Tensor,
    weight: Tensor,
    labels: Tensor,
    ignore_index: int = -100,
    *,
    bias: Tensor | None = None,
    shift: bool = True,
    average: bool = False,
    mask: Tensor | None = None,
    offsets: Tensor | None = None,
    temperature: float = 1.0,
    softcap: float | None = None,
    nonfinite: Nonfinite = "propagate",
    workspace_size: int = 64 << 20,
) -> tuple[Tensor, Tensor]:
    """(B,) log-probabilities of sequences in double precision, differentiable, and (B,) counts of tokens.

    `hidden` is (B, T, H), or (N, H) with `offsets`, and `weight` (V, H), both float32, bfloat16 or float16 on
    the host; arguments are otherwise those of `swiftdpo.fused_linear_logps`. Whatever loss is made of the
    log-probabilities, its backward pass gives the head's gradients: that by the weight is added up over
    chunks in float32, and rounded once to its type. Logits take `workspace_size` bytes, or those of one row.
    """
    if hidden.device.type != "cpu":
        raise ValueError(f"hidden is on {hidden.device}; expected the host")
    rows = _rows(labels, ignore_index, shift, mask, offsets)
    row_bytes = weight.shape[0] * weight.element_size()
    chunk = max(1, min(len(rows.places), workspace_size // row_bytes, 1024))
    keeps = len(rows.places) * row_bytes <= workspace_size
    options = _Options(temperature, softcap, nonfinite, chunk, keeps)
    gathered = hidden.reshape(-1, hidden.shape[-1])[rows.places]
    token_logps = apply(_Logps, gathered, weight, bias, rows.labels, options)
    logps = torch.zeros(rows.num_sequences, dtype=torch.float64).index_add(0, rows.sequences, token_logps)
    num_tokens = torch.bincount(rows.sequences, minlength=rows.num_sequences)
    return logps / num_tokens.clamp(min=1) if average else logps, num_tokens


def fused_linear_dpo_loss(
    hidden: Tensor,
    weight: Tensor,
    labels: Tensor,
    *,
    bias: Tensor | None = None,
    ref_hidden: Tensor | None = None,
    ref_weight: Tensor | None = None,
    ref_bias: Tensor | None = None,
    ref_chosen_logps: Tensor | None = None,
    ref_rejected_logps: Tensor | None = None,
    **options: Any,
) -> FusedPairLoss:
    """`dpo_loss` of hidden states of 2B sequences, all chosen responses, then all rejected ones.

    The reference is a head of its own, or its log-probabilities, (B,) each, or neither. `options` are those
    of `fused_linear_logps` and of `dpo_loss`; lengths left out are the numbers of tokens that count.
    """
    ours = {name: options.pop(name) for name in _LOGPS_OPTIONS & options.keys()}
    logps, num_tokens = fused_linear_logps(hidden, weight, labels, bias=bias, **ours)
    half = len(logps) // 2
    if ref_hidden is not None and ref_weight is not None:
        if ref_chosen_logps is not None or ref_rejected_logps is not None:
            raise ValueError("the reference is hidden states, or else log-probabilities")
        with torch.no_grad():
            ref, _ = fused_linear_logps(ref_hidden, ref_weight, labels, bias=ref_bias, **ours)
        ref_chosen_logps, ref_rejected_logps = ref[:half], ref[half:]
    lengths = {"chosen_lengths": num_tokens[:half], "rejected_lengths": num_tokens[half:]}
    loss = dpo_loss(logps[:half], logps[half:], ref_chosen_logps, ref_rejected_logps, **(lengths | options))
    return FusedPairLoss(*loss, logps, num_tokens)


_LOGPS_OPTIONS = {
    "ignore_index",
    "shift",
    "average",
    "mask",
    "offsets",
    "temperature",
    "softcap",
    "workspace_size",
}


def fused_linear_kto_loss(
    hidden: Tensor,
    weight: Tensor,
    labels: Tensor,
    desirable: Tensor,
    *,
    bias: Tensor | None = None,
    ref_hidden: Tensor | None = None,
    ref_weight: Tensor | None = None,
    ref_bias: Tensor | None = None,
    ref_logps: Tensor | None = None,
    **options: Any,
) -> UnpairedLoss:
    """`kto_loss` of hidden states of B responses, as `fused_linear_dpo_loss` is that of pairs."""
    ours = {name: options.pop(name) for name in _LOGPS_OPTIONS & options.keys()}
    logps, _ = fused_linear_logps(hidden, weight, labels, bias=bias, **ours)
    if ref_hidden is not None and ref_weight is not None:
        with torch.no_grad():
            ref_logps, _ = fused_linear_logps(ref_hidden, ref_weight, labels, bias=ref_bias, **ours)
    return kto_loss(logps, ref_logps, desirable, **options)


__all__ = ["FusedPairLoss", "fused_linear_dpo_loss", "fused_linear_kto_loss", "fused_linear_logps"]
