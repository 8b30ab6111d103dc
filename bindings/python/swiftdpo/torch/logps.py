"""Log-probabilities of responses from logits, for autograd."""

from typing import NamedTuple

from torch import Tensor

from .._typing import Nonfinite
from ._logps import LogitsInputs, LogitsOptions, logps
from ._tensors import refuse_gradient, require_tensor


class SequenceLogps(NamedTuple):
    """What `sequence_logps` returns, in double precision; of these `logps` is differentiable.

    Tensors of tokens have shape (B, L), where L is T - 1 with `shift` and T without; of packed sequences,
    (N,). They are 0 where a row of logits scores no label that counts.
    """

    logps: Tensor
    """(B,): log pi of each sequence; 0 for one without tokens that count."""
    num_tokens: Tensor
    """(B,): how many tokens count."""
    token_logps: Tensor
    """(B, L): log-probability of each label. See the function `token_logps` for its gradient."""
    row_flags: Tensor
    """(B, L): `swiftdpo.RowFlag` of each row."""
    entropies: Tensor | None
    """(B, L), as the fields below with `by_products`: entropy of each row's distribution p, in nats."""
    log_sum_squares: Tensor | None
    """(B, L): log sum p^2, by which WPO weighs tokens."""
    mean_logits: Tensor | None
    """(B, L): the mean of a row's logits."""
    top_1: Tensor | None
    """(B, L): whether no vocabulary entry has a larger logit than the label."""


def _on_host(logits: Tensor, labels: Tensor) -> None:
    require_tensor(labels, "labels")
    if not require_tensor(logits, "logits").is_cpu:
        raise ValueError(
            f"logits are on {logits.device}: swiftdpo reads logits in CPU memory. Let that device compute "
            "the log-probabilities; the losses take those from any device"
        )


def sequence_logps(
    logits: Tensor,
    labels: Tensor,
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
    by_products: bool = False,
    inplace: bool = False,
) -> SequenceLogps:
    """`swiftdpo.sequence_logps` for autograd: the same arguments, as tensors on the host.

    Logits are read once where they lie, strided if they are part of something larger, in float32, float64,
    bfloat16 or float16; results are doubles. The backward pass reads them once more and writes their
    gradient, in their type.

    ``inplace=True`` lets it write the gradient over the logits, which saves their size in memory: for logits
    that nobody needs afterwards, such as a model's last output. Whoever does need them for a gradient gets
    PyTorch's error about tensors modified in place. torch.compile, which lays out memory itself, ignores it.
    """
    _on_host(logits, labels)
    refuse_gradient(token_weights, "token_weights")
    options = LogitsOptions(
        ignore_index, shift, average, ld_alpha, temperature, softcap, nonfinite, by_products, False
    )
    inputs = LogitsInputs(logits, labels, mask, offsets, token_weights, ld_lengths)
    result, _, num_tokens, *rows = logps(inputs, options, inplace)
    if shift and offsets is None:
        rows = [row if row.ndim < 2 else row[:, :-1] for row in rows]
    token_logps, row_flags, *others = rows
    wanted = others if by_products else [None] * len(others)
    return SequenceLogps(result, num_tokens, token_logps, row_flags, *wanted)


def token_logps(
    logits: Tensor,
    labels: Tensor,
    ignore_index: int = -100,
    *,
    shift: bool = True,
    mask: Tensor | None = None,
    temperature: float = 1.0,
    softcap: float | None = None,
    nonfinite: Nonfinite = "propagate",
    inplace: bool = False,
) -> Tensor:
    """(B, T - 1) log-probabilities of labels, (B, T) without `shift`, differentiable; 0 where none counts.

    Arguments are those of `sequence_logps`. Prefer that where sums over sequences are all that is needed.
    """
    _on_host(logits, labels)
    if logits.ndim != 3:
        raise ValueError(f"logits has {logits.ndim} dimensions; expected 3, (B, T, V)")
    options = LogitsOptions(ignore_index, shift, False, 1.0, temperature, softcap, nonfinite, False, True)
    result = logps(LogitsInputs(logits, labels, mask), options, inplace)[0].reshape(labels.shape)
    return result[:, :-1] if shift else result


__all__ = ["SequenceLogps", "sequence_logps", "token_logps"]
