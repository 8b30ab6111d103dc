"""Log-probabilities from logits: the extension's calls as an autograd function, and as an operator."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from .. import _core
from .._typing import LogpsOptions
from ._backward import apply, differentiable_once
from ._operators import Operator
from ._tensors import lend


class LogitsInputs(NamedTuple):
    """The tensors of a call, all on the host."""

    logits: Tensor
    labels: Tensor
    mask: Tensor | None = None
    offsets: Tensor | None = None
    token_weights: Tensor | None = None
    ld_lengths: Tensor | None = None


class LogitsOptions(NamedTuple):
    """What is no tensor."""

    ignore_index: int
    shift: bool
    average: bool
    ld_alpha: float
    temperature: float
    softcap: float | None
    nonfinite: str
    by_products: bool
    per_token: bool
    """Whether each row is a sequence of its own."""


def _as_rows(logits: Tensor) -> Tensor:
    """(B, T, V) as (B T, V) over the same memory. The rows have to lie evenly."""
    size, length, vocab_size = logits.shape
    step = logits.stride(1) if length > 1 else logits.stride(0)
    if logits.stride(2) != 1 or (size > 1 and logits.stride(0) != length * step):
        raise ValueError(
            "logits is not laid out in rows: the last axis must be contiguous, and one stride must lead from "
            "row to row across all other axes. Copy it (contiguous)"
        )
    return logits.as_strided((size * length, vocab_size), (step, 1))


def _next(values: Tensor, last: int) -> Tensor:
    """Each row's values one place to the left, so that labels stand at the logits that score them."""
    shifted = torch.full_like(values, last)
    shifted[:, :-1] = values[:, 1:]
    return shifted


def _arguments(inputs: LogitsInputs, options: LogitsOptions) -> tuple[Tensor, Any, LogpsOptions]:
    """Logits, labels and options as the extension takes them."""
    given: dict[str, Any] = {**options._asdict(), **inputs._asdict()}
    for name in ("logits", "labels", "by_products", "per_token"):
        del given[name]
    logits, labels = inputs.logits.detach(), inputs.labels
    if options.per_token and logits.ndim == 3:
        if options.shift:
            labels = _next(labels, options.ignore_index)
            given["mask"] = None if inputs.mask is None else _next(inputs.mask, False).reshape(-1)
            given["shift"] = False
        elif inputs.mask is not None:
            given["mask"] = inputs.mask.reshape(-1)
        logits, labels = _as_rows(logits), labels.reshape(-1)
        given["offsets"] = torch.arange(labels.numel() + 1)
    for name, value in given.items():
        if isinstance(value, Tensor):
            given[name] = lend(value)
    return logits, lend(labels), given  # type: ignore[return-value]


def _forward(inputs: LogitsInputs, options: LogitsOptions) -> list[Tensor]:
    """Log-probabilities, normalizers, and the results that need no gradient; by-products not asked for have
    no elements."""
    arrays = _core.sequence_logps(*_arguments(inputs, options), options.by_products)
    logps, num_tokens, token_logps, log_normalizers, *others = (
        torch.empty(0) if array is None else torch.from_numpy(array) for array in arrays
    )
    return [logps, log_normalizers, num_tokens, token_logps, *others]


def _fake(inputs: LogitsInputs, options: LogitsOptions) -> list[Tensor]:
    labels = inputs.labels
    if options.per_token:
        sequences = rows = labels.new_empty(labels.numel())
    else:
        rows = labels
        sequences = labels.new_empty(
            labels.shape[0] if inputs.offsets is None else inputs.offsets.shape[0] - 1
        )

    def like(shape: Tensor, dtype: torch.dtype) -> Tensor:
        return torch.empty_like(shape, dtype=dtype)

    double = torch.float64
    results = [like(sequences, double), like(rows, double), like(sequences, torch.int64), like(rows, double)]
    results.append(like(rows, torch.uint8))
    by_products = [like(rows, dtype) for dtype in (double, double, double, torch.bool)]
    return results + (by_products if options.by_products else [torch.empty(0) for _ in by_products])


def _write_gradient(
    inputs: LogitsInputs, options: LogitsOptions, grad_logps: Tensor, log_normalizers: Tensor, out: Tensor
) -> None:
    logits, labels, given = _arguments(inputs, options)
    out = _as_rows(out) if options.per_token and out.ndim == 3 else out
    _core.sequence_logps_backward(
        logits, labels, given, grad_logps.detach().to(torch.float64), lend(log_normalizers), out, 0
    )


def _empty_gradient(logits: Tensor) -> Tensor:
    """Laid out as the logits, whose rows may be parts of longer ones: the extension writes as it reads."""
    return torch.empty_strided(logits.shape, logits.stride(), dtype=logits.dtype)


def _gradients(
    inputs: LogitsInputs, options: LogitsOptions, grad_logps: Tensor, log_normalizers: Tensor
) -> list[Tensor]:
    inputs = inputs._replace(logits=inputs.logits.contiguous())
    out = torch.empty_like(inputs.logits)
    _write_gradient(inputs, options, grad_logps, log_normalizers, out)
    return [out]


class _Logps(torch.autograd.Function):
    """Inputs, options, whether the gradient may overwrite the logits, and an empty list to
    log-probabilities; the other results go into the list."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensor:
        *tensors, options, inplace, others = arguments
        logps, log_normalizers, *rest = _forward(LogitsInputs._make(tensors), options)
        others += log_normalizers, *rest
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward(*tensors, log_normalizers)
            ctx.options, ctx.inplace = options, inplace
        return logps

    @staticmethod
    def backward(ctx: Any, grad_logps: Tensor) -> Any:
        *tensors, log_normalizers = ctx.saved_tensors
        inputs = LogitsInputs._make(tensors)
        logits = inputs.logits.detach()
        out = logits if ctx.inplace else _empty_gradient(logits)
        _write_gradient(inputs, ctx.options, grad_logps, log_normalizers, out)
        if ctx.inplace:
            # Whoever else needs the logits for a gradient is told that they are gone.
            torch.autograd.graph.increment_version(logits)
        found = differentiable_once([out])
        return *found, *(None,) * (len(LogitsInputs._fields) + 2)


_operator = Operator(
    "sequence_logps",
    LogitsInputs,
    LogitsOptions,
    forward=_forward,
    fake=_fake,
    gradients=_gradients,
    differentiable=1,
    num_kept=1,
)


def logps(inputs: LogitsInputs, options: LogitsOptions, inplace: bool) -> list[Tensor]:
    """As `_forward`, differentiable."""
    if torch.compiler.is_compiling():
        return list(_operator(inputs, options))
    others: list[Tensor] = []
    result = apply(_Logps, *inputs, options, inplace, others)
    return [result, *others]
