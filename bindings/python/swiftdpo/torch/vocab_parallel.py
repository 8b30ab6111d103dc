"""Log-probabilities where each process has some columns of the logits: tensor parallelism over a vocabulary.

Each process reads its own columns once. Of each row it knows the largest logit, the sum of exponentials below
it, and the label's logit if that is its own. Two all-reduces of those make the log-probabilities, the same on
all processes. The gradient of a process's columns then needs nothing from the others: backward is local.

(To differentiate *through* an all-reduce instead is a trap. Autograd does not see an in-place collective, and
the processes that don't own a label get wrong gradients, without any error.)
"""

from typing import Any, NamedTuple, Unpack, cast

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from .. import _core
from .._typing import LogpsOptions, Nonfinite
from ..fused import fused_linear_logps_backward, fused_linear_vocab_shard
from ..shards import VocabShard, merge_vocab_shards, vocab_shard, vocab_shard_logps
from ._backward import apply, differentiable_once
from ._tensors import lend, refuse_gradient, require_tensor


class VocabParallelLogps(NamedTuple):
    """What `vocab_parallel_logps` returns, in double precision, the same on all processes of the group."""

    logps: Tensor
    """(B,): log pi of each sequence. The one that is differentiable."""
    num_tokens: Tensor
    """(B,): how many tokens count."""
    token_logps: Tensor
    """(B, T - 1) with `shift`, (B, T) without, (N,) of packed sequences: log-probability of each label."""


def all_reduce_shards(shard: VocabShard, group: dist.ProcessGroup | None = None) -> VocabShard:
    """The statistics of all processes' shards together: one all-reduce of maxima and one of sums."""
    maxima = torch.from_numpy(shard.maxima.copy())
    dist.all_reduce(maxima, dist.ReduceOp.MAX, group)
    # Merged with a shard that has the largest logit and no sum, this one's sum is relative to that.
    nothing = VocabShard(maxima.numpy(), torch.zeros_like(maxima).numpy(), shard.label_logits)
    sums = torch.from_numpy(merge_vocab_shards(shard, nothing).sums)
    labels = torch.from_numpy(shard.label_logits)
    given = ~labels.isnan()
    # In a row that is not finite a label cannot be told from none: the row's sum says enough.
    parts = torch.stack([sums, torch.where(given, labels, 0.0), (given | sums.isnan()).to(torch.float64)])
    dist.all_reduce(parts, dist.ReduceOp.SUM, group)
    sums, labels, owners = parts
    return VocabShard(maxima.numpy(), sums.numpy(), torch.where(owners > 0, labels, torch.nan).numpy())


def _refuse_labels_of_no_shard(merged: VocabShard, labels: Any, options: LogpsOptions) -> None:
    """Even where what is not finite goes through, a label that no process owns is an error."""
    owned = np.where(np.isnan(merged.label_logits), np.nan, 0.0)
    finite = VocabShard(np.zeros_like(owned), np.ones_like(owned), owned)
    vocab_shard_logps(finite, labels, **(options | {"nonfinite": "error"}))


class _VocabParallelLogps(torch.autograd.Function):
    """Logits, labels, options and the rest to log-probabilities; the other results go into the list."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, *arguments: Any) -> Tensor:
        labels, options, vocab_start, group, inplace, others = arguments
        lent = labels.numpy()
        # What is not finite goes through to the merged statistics, so that all processes raise or none does.
        shard = vocab_shard(logits.detach(), lent, vocab_start, **(options | {"nonfinite": "propagate"}))
        merged = all_reduce_shards(shard, group)
        _refuse_labels_of_no_shard(merged, lent, options)
        forward = vocab_shard_logps(merged, lent, **options)
        others += (torch.from_numpy(forward.num_tokens), torch.from_numpy(forward.token_logps))
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward(logits)
            ctx.rest = lent, options, vocab_start, inplace, forward.log_normalizers
        return torch.from_numpy(forward.logps)

    @staticmethod
    def backward(ctx: Any, grad_logps: Tensor) -> Any:
        (logits,) = ctx.saved_tensors
        labels, options, vocab_start, inplace, normalizers = ctx.rest
        logits = logits.detach()
        out = logits if inplace else torch.empty_strided(logits.shape, logits.stride(), dtype=logits.dtype)
        weights = grad_logps.detach().to(torch.float64).numpy()
        _core.sequence_logps_backward(logits, labels, options, weights, normalizers, out, vocab_start)
        if inplace:
            torch.autograd.graph.increment_version(logits)
        return *differentiable_once([out]), *(None,) * 6


def vocab_parallel_logps(
    logits: Tensor,
    labels: Tensor,
    vocab_start: int,
    group: dist.ProcessGroup | None = None,
    ignore_index: int = -100,
    *,
    shift: bool = True,
    average: bool = False,
    mask: Tensor | None = None,
    offsets: Tensor | None = None,
    token_weights: Tensor | None = None,
    ld_lengths: Tensor | None = None,
    ld_alpha: float = 1.0,
    temperature: float = 1.0,
    softcap: float | None = None,
    nonfinite: Nonfinite = "propagate",
    inplace: bool = False,
) -> VocabParallelLogps:
    """`swiftdpo.torch.sequence_logps` of logits whose vocabulary is cut over the processes of a group.

    Parameters
    ----------
    logits : (B, T, V_r), or (N, V_r) with `offsets`
        This process's columns, of token ids vocab_start to vocab_start + V_r - 1. The processes' shards may
        differ in size; together they must cover every label.
    labels : (B, T), or (N,) with `offsets`
        Token ids of the whole vocabulary. They and all options are the same on every process.
    vocab_start : int
        First token id of the columns.
    group : ProcessGroup, optional
        None: all processes.
    inplace : bool
        Whether the gradient may overwrite the logits.
    others
        As for `swiftdpo.sequence_logps`.

    Returns
    -------
    VocabParallelLogps
        Backward expects the same gradient by `logps` on every process, which it has where each computes the
        same loss of them.
    """
    require_tensor(labels, "labels")
    if not require_tensor(logits, "logits").is_cpu:
        raise ValueError(f"logits are on {logits.device}: swiftdpo reads logits in CPU memory")
    refuse_gradient(token_weights, "token_weights")
    options = cast(
        LogpsOptions,
        {
            "ignore_index": ignore_index,
            "shift": shift,
            "average": average,
            "mask": lend(mask),
            "offsets": lend(offsets),
            "token_weights": lend(token_weights),
            "ld_lengths": lend(ld_lengths),
            "ld_alpha": ld_alpha,
            "temperature": temperature,
            "softcap": softcap,
            "nonfinite": nonfinite,
        },
    )
    others: list[Tensor] = []
    logps = apply(_VocabParallelLogps, logits, labels, options, vocab_start, group, inplace, others)
    return VocabParallelLogps(logps, *others)


class _FusedVocabParallelLogps(torch.autograd.Function):
    """As `_VocabParallelLogps`, from hidden states and this process's rows of a head."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, *arguments: Any) -> Tensor:
        labels, options, vocab_start, group, workspace_size, others = arguments
        lent = labels.numpy()
        head = {"bias": None if bias is None else bias.detach(), "workspace_size": workspace_size}
        every = {**options, "nonfinite": "propagate"}
        shard = fused_linear_vocab_shard(hidden.detach(), weight.detach(), lent, vocab_start, **head, **every)
        merged = all_reduce_shards(shard, group)
        _refuse_labels_of_no_shard(merged, lent, options)
        forward = vocab_shard_logps(merged, lent, **options)
        others += (torch.from_numpy(forward.num_tokens), torch.from_numpy(forward.token_logps))
        ctx.save_for_backward(hidden, weight, bias)
        ctx.rest = lent, vocab_start, group, workspace_size, forward
        return torch.from_numpy(forward.logps)

    @staticmethod
    def backward(ctx: Any, grad_logps: Tensor) -> Any:
        hidden, weight, bias = ctx.saved_tensors
        labels, vocab_start, group, workspace_size, forward = ctx.rest
        wanted = ctx.needs_input_grad
        grad_hidden = torch.empty_like(hidden, memory_format=torch.contiguous_format)
        found = fused_linear_logps_backward(
            hidden.detach(),
            weight.detach(),
            labels,
            grad_logps.detach().to(torch.float64).numpy(),
            forward,
            bias=None if bias is None else bias.detach(),
            grad_hidden=grad_hidden if wanted[0] else False,
            vocab_start=vocab_start,
            workspace_size=workspace_size,
        )
        shares: list[Tensor | None] = [
            None if array is None else torch.from_numpy(array).to(weight.dtype) for array in found[1:]
        ]
        if wanted[0]:
            # Each process has its own columns' share of the gradient by what all of them were given.
            total = grad_hidden.to(torch.float32)
            dist.all_reduce(total, dist.ReduceOp.SUM, group)
            grad_hidden = total.to(hidden.dtype)
        gradients = differentiable_once([grad_hidden if wanted[0] else None, *shares])
        return *gradients, *(None,) * 6


def fused_vocab_parallel_logps(
    hidden: Tensor,
    weight: Tensor,
    labels: Tensor,
    vocab_start: int,
    group: dist.ProcessGroup | None = None,
    *,
    bias: Tensor | None = None,
    workspace_size: int | None = None,
    **options: Unpack[LogpsOptions],
) -> VocabParallelLogps:
    """`vocab_parallel_logps` of ``hidden @ weight.T + bias``, without the logits.

    Parameters
    ----------
    hidden : (B, T, H), or (N, H) with `offsets`
        float32, bfloat16 or float16, the same on every process.
    weight, bias : (V_r, H) and (V_r,)
        This process's rows of the head, in the type of `hidden`.
    workspace_size : int, optional
        Bytes of temporary memory, 64 MiB by default. Products are those of `swiftdpo.blas_info`.
    others
        As for `vocab_parallel_logps`.

    Returns
    -------
    VocabParallelLogps
        Backward makes the gradients by this process's weight and bias, and that by `hidden` summed over all
        processes with one more all-reduce: it is whole on each of them.
    """
    for name, tensor in (("hidden", hidden), ("weight", weight), ("labels", labels)):
        if not require_tensor(tensor, name).is_cpu:
            raise ValueError(f"{name} is on {tensor.device}; expected the host")
    given = {"nonfinite": "propagate", **options}
    for name, value in given.items():
        given[name] = lend(value) if isinstance(value, Tensor) else value
    others: list[Tensor] = []
    logps = apply(
        _FusedVocabParallelLogps,
        hidden,
        weight,
        bias,
        labels,
        given,
        vocab_start,
        group,
        workspace_size,
        others,
    )
    return VocabParallelLogps(logps, *others)


__all__ = ["VocabParallelLogps", "all_reduce_shards", "fused_vocab_parallel_logps", "vocab_parallel_logps"]
