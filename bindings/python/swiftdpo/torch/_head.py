"""A linear head and the log-probabilities behind it: chunks of logits that are read, and multiplied away.

The products are PyTorch's, so that bf16 has its speed; what lies between them is this library's. Only rows
whose label counts are multiplied.
"""

from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .. import _core
from ._backward import apply, differentiable_once
from ._operators import Operator
from ._tensors import lend


class HeadInputs(NamedTuple):
    """The tensors of a call, all on the host."""

    hidden: Tensor
    weight: Tensor
    bias: Tensor | None
    labels: Tensor
    mask: Tensor | None = None
    offsets: Tensor | None = None
    token_weights: Tensor | None = None
    ld_lengths: Tensor | None = None


class HeadOptions(NamedTuple):
    """What is no tensor."""

    ignore_index: int
    shift: bool
    ld_alpha: float
    temperature: float
    softcap: float | None
    nonfinite: str
    workspace_size: int
    """Bytes for logits; those of one row at least."""
    widens: bool
    """Whether halves are multiplied to logits in single precision."""


class LossSlopes(NamedTuple):
    """What is known of a loss before its backward pass: its gradient, if the log-probabilities were these."""

    groups: Tensor
    """(S,): the group of each sequence, from 0. The gradients of groups don't depend on one another."""
    of: Callable[[Tensor, Tensor], Tensor]
    """d loss / d logps, given these and the counts of tokens, (S,) each."""


class _Rows(NamedTuple):
    """The rows that score a label."""

    places: Tensor
    """Of each in the batch's rows."""
    labels: Tensor
    sequences: Tensor
    num_tokens: Tensor
    """(S,): how many rows each sequence has."""
    weights: Tensor | None
    """Of each row's log-probability in the sequence's sum, in double precision; None: 1."""

    @classmethod
    def of(cls, inputs: HeadInputs, options: HeadOptions) -> "_Rows":
        """In the order in which they lie."""
        labels, offsets = inputs.labels, inputs.offsets
        counts = labels != options.ignore_index
        if inputs.mask is not None:
            counts = counts & inputs.mask
        if offsets is None:
            size, length = labels.shape
            offsets = torch.arange(size + 1) * length
        labels, counts = labels.reshape(-1), counts.reshape(-1)
        sizes = offsets.diff()
        sequences = torch.repeat_interleave(torch.arange(len(sizes)), sizes)
        if options.shift:
            counts = counts.clone()
            counts[offsets[:-1][sizes > 0]] = False
        index = counts.nonzero()[:, 0]
        sequences = sequences[index]
        num_tokens = torch.bincount(sequences, minlength=len(sizes))
        return cls(
            index - 1 if options.shift else index,
            labels[index].contiguous(),
            sequences,
            num_tokens,
            _weights(inputs, options, index, sequences, num_tokens),
        )

    def some(self, part: slice | Tensor) -> "_Rows":
        """Some of them, of all sequences."""
        return _Rows(
            self.places[part].contiguous(),
            self.labels[part].contiguous(),
            self.sequences[part].contiguous(),
            self.num_tokens,
            None if self.weights is None else self.weights[part].contiguous(),
        )

    def sums(self, token_logps: Tensor) -> Tensor:
        """(S,): of the rows' log-probabilities, weighted. One without weight is left out, infinite as it may
        be."""
        if self.weights is not None:
            token_logps = torch.where(self.weights == 0, 0.0, self.weights * token_logps)
        sums = torch.zeros(len(self.num_tokens), dtype=torch.float64)
        return sums.index_add_(0, self.sequences, token_logps)

    def slopes(self, of_sequences: Tensor) -> Tensor:
        """d loss / d log-probability of each row, given those by the sums."""
        slopes = of_sequences[self.sequences]
        return slopes if self.weights is None else slopes * self.weights


def _weights(
    inputs: HeadInputs, options: HeadOptions, index: Tensor, sequences: Tensor, num_tokens: Tensor
) -> Tensor | None:
    """Weights of the labels at `index`, all that count, in the order in which they lie."""
    weights = None
    if inputs.token_weights is not None:
        weights = inputs.token_weights.reshape(-1)[index].to(torch.float64)
        if not bool(weights.isfinite().all()):
            raise ValueError("token_weights has a number that is not finite")
    if inputs.ld_lengths is not None:
        # Which token of its sequence each one is, from 0.
        place = torch.arange(len(index)) - (num_tokens.cumsum(0) - num_tokens)[sequences]
        is_beyond = place >= inputs.ld_lengths[sequences]
        factors = torch.where(is_beyond, options.ld_alpha, 1.0).to(torch.float64)
        weights = factors if weights is None else weights * factors
    return weights


class _Head:
    """A head at work on some rows at a time, with one place for logits."""

    def __init__(self, inputs: HeadInputs, options: HeadOptions) -> None:
        self.hidden = inputs.hidden.detach().reshape(-1, inputs.hidden.shape[-1])
        self.weight = inputs.weight.detach()
        self.bias = None if inputs.bias is None else inputs.bias.detach()
        self.options = options
        self.rows = _Rows.of(inputs, options)
        widens = options.widens and self.weight.dtype is not torch.float32
        self.dtype = torch.float32 if widens else self.weight.dtype
        # Widened logits turn into gradients in the type of the weight.
        entry = self.weight.element_size() + (4 if widens else 0)
        self.most_rows = max(1, options.workspace_size // max(1, self.weight.shape[0] * entry))
        self._place = torch.empty(
            min(self.most_rows, len(self.rows.places)), len(self.weight), dtype=self.dtype
        )

    @property
    def fits(self) -> bool:
        """Whether the logits of all rows have room."""
        return len(self.rows.places) <= self.most_rows

    def chunks(self) -> Iterator[slice]:
        """Rows whose logits fit the workspace, even if there are none."""
        for start in range(0, max(len(self.rows.places), 1), self.most_rows):
            yield slice(start, start + self.most_rows)

    def logits(self, rows: _Rows) -> Tensor:
        """Where those of other rows were."""
        hidden, logits = self.hidden[rows.places], self._place[: len(rows.places)]
        if self.dtype is self.weight.dtype:
            if self.bias is None:
                return torch.mm(hidden, self.weight.T, out=logits)
            return torch.addmm(self.bias, hidden, self.weight.T, out=logits)
        hidden = hidden.float()
        for entries in self._tiles():
            torch.mm(hidden, self.weight[entries].float().T, out=logits[:, entries])
        return logits if self.bias is None else logits.add_(self.bias)

    def _given(self, rows: int) -> Any:
        """Options for rows that are sequences of their own."""
        return {
            "shift": False,
            "temperature": self.options.temperature,
            "softcap": self.options.softcap,
            "nonfinite": self.options.nonfinite,
            "offsets": lend(torch.arange(rows + 1)),
        }

    def score(self, rows: _Rows, logits: Tensor) -> tuple[Tensor, Tensor]:
        """The log-probability of each row's label, and each row's log-normalizer."""
        given = self._given(len(rows.labels))
        arrays = _core.sequence_logps(logits, lend(rows.labels), given, False)  # type: ignore[arg-type]
        logps, normalizers = torch.from_numpy(arrays[0]), torch.from_numpy(arrays[3])
        if logits.dtype is torch.float32:
            return logps, normalizers
        return self._with_labels_unrounded(rows, logits, logps, normalizers)

    def _with_labels_unrounded(
        self, rows: _Rows, logits: Tensor, logps: Tensor, normalizers: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The same where the label's logit, whose rounding is most of a log-probability's error, has none."""
        labels = rows.labels
        exact = (self.hidden[rows.places].float() * self.weight[labels].float()).sum(1).double()
        if self.bias is not None:
            exact += self.bias[labels]
        seen = logits.gather(1, labels[:, None])[:, 0].double()
        if (cap := self.options.softcap) is not None:
            exact, seen = (cap * torch.tanh(x / cap) for x in (exact, seen))
        moved = torch.where(seen.isfinite(), (exact - seen) / self.options.temperature, 0.0)
        growth = torch.log1p(torch.exp(logps) * torch.expm1(moved))
        return logps + moved - growth, normalizers + growth

    def differentiate(
        self, rows: _Rows, logits: Tensor, normalizers: Tensor, slopes: Tensor, sums: "_Sums", is_first: bool
    ) -> None:
        """Adds to the gradients, given d loss / d log-probability of each row. Overwrites the logits."""
        labels: Any = lend(rows.labels)
        given = self._given(len(rows.labels))
        _core.sequence_logps_backward(
            logits,
            labels,
            given,
            lend(slopes),  # type: ignore[arg-type]
            lend(normalizers),
            logits,
            0,
        )
        if sums.bias is not None:
            total = logits.sum(0, dtype=torch.float32)
            sums.bias.copy_(total) if is_first else sums.bias.add_(total)
        gradient = logits.to(self.weight.dtype)
        if sums.hidden is not None:
            sums.hidden[rows.places] = gradient @ self.weight
        if sums.weight is not None:
            hidden = self.hidden[rows.places]
            if sums.weight.dtype is gradient.dtype:
                sums.weight.addmm_(gradient.T, hidden, beta=0 if is_first else 1)
                return
            for entries in self._tiles():
                share = gradient[:, entries].T @ hidden
                if is_first:
                    sums.weight[entries] = share
                else:
                    sums.weight[entries] += share

    def _tiles(self) -> Iterator[slice]:
        """Entries of the vocabulary whose weights take 16 MiB in single precision."""
        step = max(1, (4 << 20) // max(1, self.weight.shape[1]))
        for start in range(0, len(self.weight), step):
            yield slice(start, start + step)


class _Sums(NamedTuple):
    """Gradients as they add up: in single precision where there is something to add. Rows of hidden states
    come once each, and so does all of a weight's where all logits have room."""

    hidden: Tensor | None
    weight: Tensor | None
    bias: Tensor | None

    @classmethod
    def of(cls, head: _Head, wanted: Any) -> "_Sums":
        return cls(
            torch.zeros_like(head.hidden, memory_format=torch.contiguous_format) if wanted[0] else None,
            torch.empty(head.weight.shape, dtype=head.weight.dtype if head.fits else torch.float32)
            if wanted[1]
            else None,
            torch.empty(len(head.weight), dtype=torch.float32) if wanted[2] else None,
        )

    def times(self, scale: float) -> "_Sums":
        return self if scale == 1 else _Sums(*(None if x is None else x.mul_(scale) for x in self))

    def like(self, inputs: HeadInputs) -> list[Tensor | None]:
        """In the shapes and types of the inputs."""
        return [
            None if x is None else x.reshape(y.shape).to(y.dtype)  # type: ignore[union-attr]
            for x, y in zip(self, inputs, strict=False)
        ]


def _score(head: _Head) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probabilities of sequences, normalizers of rows, and the last logits."""
    found, normalizers = [], []
    for part in head.chunks():
        rows = head.rows.some(part)
        logits = head.logits(rows)
        logps, log_sums = head.score(rows, logits)
        found.append(logps)
        normalizers.append(log_sums)
    return head.rows.sums(torch.cat(found)), torch.cat(normalizers), logits


def _gradients(
    head: _Head, normalizers: Tensor, kept: Tensor | None, grad_logps: Tensor, wanted: Any
) -> _Sums:
    sums = _Sums.of(head, wanted)
    slopes = head.rows.slopes(grad_logps)
    for number, part in enumerate(head.chunks()):
        rows = head.rows.some(part)
        logits = head.logits(rows) if kept is None else kept
        head.differentiate(rows, logits, normalizers[part], slopes[part], sums, number == 0)
    return sums


class _Foreseen(NamedTuple):
    """The gradients of a loss, before anybody asked for them."""

    slopes: Tensor
    sums: _Sums

    def scaled_to(self, grad_logps: Tensor) -> _Sums | None:
        """The gradients for `grad_logps`, where that is a multiple of what was foreseen."""
        place = self.slopes.abs().argmax()
        scale = grad_logps[place] / self.slopes[place] if self.slopes[place] != 0 else torch.ones(())
        expected = self.slopes * scale
        if bool(((grad_logps - expected).abs() <= 1e-12 * expected.abs()).all()):
            return self.sums.times(float(scale))
        return None


def _blocks(head: _Head, groups: Tensor) -> list[Tensor] | None:
    """The rows of as many whole groups as fit the workspace, again and again; None if one is too large."""
    of_rows = groups[head.rows.sequences]
    sizes = torch.bincount(of_rows).tolist()
    if max(sizes, default=0) > head.most_rows:
        return None
    lengths: list[int] = []
    for size in sizes:
        if lengths and lengths[-1] + size <= head.most_rows:
            lengths[-1] += size
        else:
            lengths.append(size)
    order = torch.argsort(of_rows, stable=True)
    return [order[end - length : end] for length, end in zip(lengths, accumulate(lengths), strict=True)]


def _foresee(
    head: _Head, blocks: list[Tensor], slopes_of: Callable[[Tensor, Tensor], Tensor], wanted: Any
) -> tuple[Tensor, Tensor, _Foreseen]:
    """Log-probabilities, normalizers of rows, and gradients, from logits that are made once."""
    num_tokens = head.rows.num_tokens
    # What is not known yet is one nat a token, which suits every loss.
    logps = -num_tokens.to(torch.float64)
    slopes = torch.zeros_like(logps)
    normalizers = torch.empty(len(head.rows.places), dtype=torch.float64)
    sums = _Sums.of(head, wanted)
    for number, block in enumerate(blocks):
        rows = head.rows.some(block)
        logits = head.logits(rows)
        token_logps, normalizers[block] = head.score(rows, logits)
        here = torch.unique(rows.sequences)
        logps[here] = rows.sums(token_logps)[here]
        slopes[here] = slopes_of(logps, num_tokens)[here]
        head.differentiate(rows, logits, normalizers[block], rows.slopes(slopes), sums, number == 0)
    return logps, normalizers, _Foreseen(slopes, sums)


class _Logps(torch.autograd.Function):
    """Inputs, options, perhaps slopes of a loss, and an empty list to log-probabilities; the counts of tokens
    go into the list."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensor:
        *tensors, options, slopes, num_tokens = arguments
        inputs = HeadInputs._make(tensors)
        head, wanted = _Head(inputs, options), ctx.needs_input_grad
        num_tokens.append(head.rows.num_tokens)
        blocks = None
        # Halves of IEEE wait for the factor of a scaler of losses, or small gradients would be lost.
        if slopes and any(wanted) and not head.fits and inputs.hidden.dtype is not torch.float16:
            blocks = _blocks(head, slopes.groups)
        ctx.foreseen = ctx.kept = None
        if blocks is None:
            logps, normalizers, logits = _score(head)
            ctx.kept = logits if head.fits and any(wanted) else None
        else:
            logps, normalizers, ctx.foreseen = _foresee(head, blocks, slopes.of, wanted)
        ctx.options = options
        ctx.save_for_backward(*inputs, normalizers)
        return logps

    @staticmethod
    def backward(ctx: Any, grad_logps: Tensor) -> Any:
        *tensors, normalizers = ctx.saved_tensors
        inputs = HeadInputs._make(tensors)
        # Both are used up: whoever goes backward again has the logits made again.
        foreseen, kept = ctx.foreseen, ctx.kept
        ctx.foreseen = ctx.kept = None
        grad_logps = grad_logps.detach()
        sums = foreseen.scaled_to(grad_logps) if foreseen else None
        if sums is None:
            del foreseen
            head = _Head(inputs, ctx.options)
            sums = _gradients(head, normalizers, kept, grad_logps, ctx.needs_input_grad)
        return *differentiable_once(sums.like(inputs)), *_CONSTANTS


_NUM_DIFFERENTIABLE = HeadInputs._fields.index("bias") + 1
_CONSTANTS = (None,) * (len(HeadInputs._fields) - _NUM_DIFFERENTIABLE + 3)


def _forward(inputs: HeadInputs, options: HeadOptions) -> list[Tensor]:
    head = _Head(inputs, options)
    logps, of_rows, _ = _score(head)
    normalizers = torch.zeros(inputs.labels.numel(), dtype=torch.float64)
    normalizers[head.rows.places] = of_rows
    return [logps, normalizers, head.rows.num_tokens]


def _fake(inputs: HeadInputs, options: HeadOptions) -> list[Tensor]:
    labels, offsets = inputs.labels, inputs.offsets
    count = labels.shape[0] if offsets is None else offsets.shape[0] - 1
    double = torch.float64
    return [
        labels.new_empty(count, dtype=double),
        labels.new_empty(labels.numel(), dtype=double),
        labels.new_empty(count, dtype=torch.int64),
    ]


def _operator_gradients(
    inputs: HeadInputs, options: HeadOptions, grad_logps: Tensor, log_normalizers: Tensor
) -> list[Tensor]:
    head = _Head(inputs, options)
    wanted = [x is not None for x in inputs[:3]]
    sums = _gradients(head, log_normalizers[head.rows.places], None, grad_logps, wanted)
    return [grad_logps.new_empty(0) if x is None else x for x in sums.like(inputs)]


_operator = Operator(
    "fused_linear_logps",
    HeadInputs,
    HeadOptions,
    forward=_forward,
    fake=_fake,
    gradients=_operator_gradients,
    differentiable=_NUM_DIFFERENTIABLE,
    num_kept=1,
)


def head_logps(inputs: HeadInputs, options: HeadOptions, slopes: LossSlopes | None) -> tuple[Tensor, Tensor]:
    """(S,) sums of log-probabilities, differentiable, and (S,) counts of tokens.

    With the slopes of a loss the gradients are made in the forward pass, group by group, while the logits are
    at hand: three products instead of four. The backward pass looks whether the loss that came is a multiple
    of it, and begins anew if not.
    """
    if torch.compiler.is_compiling():
        logps, _, num_tokens = _operator(inputs, options)
        return logps, num_tokens
    counts: list[Tensor] = []
    return apply(_Logps, *inputs, options, slopes, counts), *counts
