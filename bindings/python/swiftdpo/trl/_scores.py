"""What a model's logits say of labels: log-probabilities, and what TRL logs beside them."""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import torch as sdt

# Nodes whose backward pass does not need what they gave: a projection, and views or casts of one.
_DO_NOT_NEED_THEIR_RESULT = {
    "AddmmBackward0",
    "MmBackward0",
    "BmmBackward0",
    "LinearBackward0",
    "ViewBackward0",
    "UnsafeViewBackward0",
    "ReshapeAliasBackward0",
    "ToCopyBackward0",
    "SliceBackward0",
}


class Scores(NamedTuple):
    """Of each sequence and token; tensors of tokens are (B, T - 1), 0 where none counts."""

    logps: Tensor
    """(B,), differentiable: weighted sums over tokens, if LD-DPO weighs them."""
    mask: Tensor
    """(B, T - 1): which tokens count."""
    token_logps: Tensor
    entropies: Tensor | None
    log_sum_squares: Tensor | None
    mean_logits: Tensor | None
    top_1: Tensor | None
    outputs: Any
    """What the model returned."""


def may_overwrite(logits: Tensor) -> bool:
    """Whether nothing but a loss needs these logits: they are the fresh result of a projection."""
    return logits.grad_fn is None or type(logits.grad_fn).__name__ in _DO_NOT_NEED_THEIR_RESULT


def shared_lengths(counts: Tensor) -> Tensor:
    """LD-DPO: of both responses of a pair, rows i and B / 2 + i, the length of the shorter one."""
    chosen, rejected = counts.chunk(2)
    return torch.minimum(chosen, rejected).repeat(2)


def score(
    model: Any,
    labels: Tensor,
    inputs: dict[str, Any],
    ld_alpha: float | None = None,
    by_products: bool = True,
    tokens: bool = False,
) -> Scores:
    """Runs a model, and reads the log-probabilities of labels (B, T), where -100 does not count.

    With `by_products` it also reads what is logged, and with `tokens` its `token_logps` are differentiable.
    Logits in CPU memory are read where they lie, and their gradient is written over them. On an accelerator
    TRL's own head, which is made for those, computes the log-probabilities.
    """
    mask = labels[:, 1:] != -100
    if labels.is_cpu:
        found = _from_logits(model(**inputs), labels, mask, ld_alpha, by_products, tokens)
    else:
        found = _from_trl(model(**inputs, labels=labels, fused_lm_head=True), mask)
    if ld_alpha is not None and (tokens or not labels.is_cpu):
        beyond = mask.cumsum(1) > shared_lengths(mask.sum(1)).unsqueeze(1)
        token_logps = torch.where(beyond, ld_alpha * found.token_logps, found.token_logps)
        found = found._replace(logps=token_logps.sum(1))
    return found


def _from_logits(
    outputs: Any,
    labels: Tensor,
    mask: Tensor,
    ld_alpha: float | None,
    by_products: bool,
    tokens: bool,
) -> Scores:
    logits, length = outputs.logits, mask.size(1)
    # Prompt learning puts virtual tokens in front, which have logits but no labels.
    aligned = F.pad(labels, (logits.size(1) - labels.size(1), 0), value=-100)
    inplace = may_overwrite(logits)
    found = sdt.sequence_logps(
        logits.detach() if tokens else logits,
        aligned,
        ld_lengths=None if ld_alpha is None else shared_lengths(mask.sum(1)),
        ld_alpha=1.0 if ld_alpha is None else ld_alpha,
        by_products=by_products,
        inplace=inplace,
    )
    token_logps = sdt.token_logps(logits, aligned, inplace=inplace) if tokens else found.token_logps
    rows = (token_logps, found.entropies, found.log_sum_squares, found.mean_logits, found.top_1)
    kept = (None if x is None else x[:, -length:] for x in rows)
    return Scores._make((found.logps, mask, *kept, outputs))


def _from_trl(outputs: Any, mask: Tensor) -> Scores:
    length = mask.size(1)
    token_logps = outputs.log_probs[:, -length:]
    others = (outputs.entropy, outputs.log_sum_sq_probs, outputs.mean_logits, outputs.is_top1)
    kept = (None if x is None else x[:, -length:].detach() for x in others)
    return Scores._make((token_logps.sum(1), mask, token_logps, *kept, outputs))
