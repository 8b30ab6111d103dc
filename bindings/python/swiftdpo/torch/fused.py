"""The fused linear head for autograd: hidden states to log-probabilities and losses, without the logits."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .._typing import Nonfinite
from ._head import HeadInputs, HeadOptions, LossSlopes, head_logps
from ._tensors import refuse_gradient, require_tensor
from .dpo import PairLoss, dpo_loss
from .rankings import PlackettLuceLoss, plackett_luce_loss
from .unpaired import UnpairedLoss, bco_loss, kto_loss


class FusedPairLoss(NamedTuple):
    """What `fused_linear_dpo_loss` returns. Loss and log-probabilities are differentiable by the head."""

    loss: Tensor
    chosen_rewards: Tensor
    rejected_rewards: Tensor
    policy_logps: Tensor
    """(2B,) float64: chosen, then rejected."""
    num_tokens: Tensor
    """(2B,): how many tokens count."""


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
    token_weights: Tensor | None = None,
    ld_lengths: Tensor | None = None,
    ld_alpha: float = 1.0,
    temperature: float = 1.0,
    softcap: float | None = None,
    nonfinite: Nonfinite = "propagate",
    workspace_size: int = 64 << 20,
    logits_dtype: torch.dtype | None = None,
) -> tuple[Tensor, Tensor]:
    """(B,) log-probabilities of sequences in double precision, differentiable, and (B,) counts of tokens.

    Parameters
    ----------
    hidden : (B, T, H), or (N, H) with `offsets`
        float32, bfloat16 or float16, on the host.
    weight : (V, H)
        In the type of `hidden`, as is `bias`; under `torch.autocast` all are cast to its type. Whatever loss
        is made of the log-probabilities, the gradient by the weight is added up over chunks of rows in
        float32, and rounded once to its type.
    workspace_size : int
        Bytes for logits; those of one row at least. If all fit, they are kept for the backward pass, and made
        again if not.
    logits_dtype : torch.dtype, optional
        None: that of `hidden`, as a model's own head has it. Each logit of bfloat16 is then off by up to 2^-9
        of itself, but for the label's, which is multiplied again on its own. torch.float32: halves are
        multiplied to logits in single precision, at its speed; log-probabilities are then as exact as those
        of float32.
    others
        As for `swiftdpo.fused_linear_logps`.
    """
    options = {
        "ignore_index": ignore_index,
        "shift": shift,
        "average": average,
        "mask": mask,
        "offsets": offsets,
        "token_weights": token_weights,
        "ld_lengths": ld_lengths,
        "ld_alpha": ld_alpha,
        "temperature": temperature,
        "softcap": softcap,
        "nonfinite": nonfinite,
        "workspace_size": workspace_size,
        "logits_dtype": logits_dtype,
    }
    return Head(hidden, weight, labels, bias, options).logps()


_DEFAULTS: dict[str, Any] = {
    name: parameter.default
    for name, parameter in inspect.signature(fused_linear_logps).parameters.items()
    if name not in ("hidden", "weight", "labels", "bias")
}


class Head(NamedTuple):
    """What the losses here begin with: a policy's head, and its options."""

    hidden: Tensor
    weight: Tensor
    labels: Tensor
    bias: Tensor | None
    options: dict[str, Any]

    @classmethod
    def of(
        cls, hidden: Tensor, weight: Tensor, labels: Tensor, bias: Tensor | None, options: dict[str, Any]
    ) -> "Head":
        """Takes the head's options out of those of a loss. Both ask what a number that isn't finite is."""
        ours = {name: options[name] for name in _DEFAULTS.keys() & options.keys()}
        for name in ours.keys() - {"nonfinite"}:
            del options[name]
        return cls(hidden, weight, labels, bias, ours)

    @property
    def num_sequences(self) -> int:
        """The number of sequences."""
        offsets = self.options.get("offsets")
        return len(self.labels) if offsets is None else len(offsets) - 1

    def reference(
        self, hidden: Tensor | None, weight: Tensor | None, bias: Tensor | None, *given: Tensor | None
    ) -> Tensor | None:
        """The log-probabilities of a reference that has a head of its own; None without one."""
        if (hidden is None) != (weight is None):
            raise TypeError("ref_hidden and ref_weight are given together, or neither")
        if hidden is None or weight is None:
            return None
        if any(x is not None for x in given):
            raise ValueError("the reference is hidden states, or else log-probabilities")
        with torch.no_grad():
            return fused_linear_logps(hidden, weight, self.labels, bias=bias, **self.options)[0]

    def _check_weights(self, inputs: HeadInputs, ld_alpha: float) -> None:
        """Shapes and types of what weighs tokens."""
        expected = {
            "token_weights": (inputs.token_weights, (torch.float64, torch.float32), self.labels.shape),
            "ld_lengths": (inputs.ld_lengths, (torch.int64, torch.int32), (self.num_sequences,)),
        }
        for name, (tensor, dtypes, shape) in expected.items():
            if tensor is None:
                continue
            if require_tensor(tensor, name).dtype not in dtypes:
                raise TypeError(f"{name} has dtype {tensor.dtype}; expected {dtypes[0]}")
            if tensor.shape != shape:
                raise ValueError(f"{name} has shape {tuple(tensor.shape)}; expected {tuple(shape)}")
            if not tensor.is_cpu:
                raise ValueError(f"{name} is on {tensor.device}; expected the host")
        refuse_gradient(inputs.token_weights, "token_weights")
        if not 0 <= ld_alpha <= 1:
            raise ValueError(f"ld_alpha is {ld_alpha}; expected a number in [0, 1]")
        if ld_alpha != 1 and inputs.ld_lengths is None:
            raise ValueError("ld_alpha needs ld_lengths")

    def logps(
        self, groups: Tensor | None = None, loss: Callable[[Tensor, Tensor], Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Log-probabilities and counts of tokens, given the loss of them, if that is known.

        `groups` are those of `LossSlopes`; None: the loss couples the whole batch.
        """
        if torch.is_autocast_enabled("cpu"):
            dtype = torch.get_autocast_dtype("cpu")
            bias = None if self.bias is None else self.bias.to(dtype)
            cast = self._replace(hidden=self.hidden.to(dtype), weight=self.weight.to(dtype), bias=bias)
            with torch.autocast("cpu", enabled=False):
                return cast.logps(groups, loss)
        given = _DEFAULTS | self.options
        tensors = {"hidden": self.hidden, "weight": self.weight, "labels": self.labels, "bias": self.bias}
        dtype = require_tensor(self.hidden, "hidden").dtype
        for name, tensor in tensors.items():
            if tensor is None:
                continue
            if not require_tensor(tensor, name).is_cpu:
                raise ValueError(f"{name} is on {tensor.device}; expected the host")
            if tensor is not self.labels and tensor.dtype is not dtype:
                raise TypeError(f"{name} is of {tensor.dtype}; expected {dtype}, as hidden is")
        if (logits_dtype := given.pop("logits_dtype")) not in (None, dtype, torch.float32):
            raise TypeError(f"logits_dtype is {logits_dtype}; expected None or torch.float32")
        inputs = HeadInputs(
            **tensors,  # type: ignore[arg-type]
            **{name: given.pop(name) for name in ("mask", "offsets", "token_weights", "ld_lengths")},
        )
        self._check_weights(inputs, given["ld_alpha"])
        average = given.pop("average")
        options = HeadOptions(**given, widens=logits_dtype is torch.float32)

        def slopes_of(sums: Tensor, num_tokens: Tensor) -> Tensor:
            assert loss is not None
            with torch.enable_grad():
                leaf = sums.detach().requires_grad_()
                value = loss(leaf / num_tokens.clamp(min=1) if average else leaf, num_tokens)
                return torch.autograd.grad(value.sum(), leaf)[0]

        slopes = None if groups is None or loss is None else LossSlopes(groups, slopes_of)
        logps, num_tokens = head_logps(inputs, options, slopes)
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

    Where the logits of a pair fit the workspace, its gradients are made in the forward pass, while the logits
    are there: nothing is multiplied twice. They wait for the backward pass, which takes them times its
    gradient by the loss; if something else was made of the log-probabilities, it makes the logits again.
    (float16 is not made in advance: a scaler's factor comes too late for numbers that small.)
    """
    head = Head.of(hidden, weight, labels, bias, options)
    half = head.num_sequences // 2
    ref = head.reference(ref_hidden, ref_weight, ref_bias, ref_chosen_logps, ref_rejected_logps)
    if ref is not None:
        ref_chosen_logps, ref_rejected_logps = ref[:half], ref[half:]

    def loss(logps: Tensor, num_tokens: Tensor) -> PairLoss:
        lengths = {"chosen_lengths": num_tokens[:half], "rejected_lengths": num_tokens[half:]}
        given = lengths | options
        return dpo_loss(logps[:half], logps[half:], ref_chosen_logps, ref_rejected_logps, **given)

    groups = None if couples(options.get("loss_type", "sigmoid")) else torch.arange(half).repeat(2)
    logps, num_tokens = head.logps(groups, lambda *known: loss(*known).loss)
    return FusedPairLoss(*loss(logps, num_tokens), logps, num_tokens)


def couples(loss_type: str | Sequence[str]) -> bool:
    """Whether a pair's gradient depends on the other pairs."""
    names = [loss_type] if isinstance(loss_type, str) else loss_type
    return not {"aot", "aot_unpaired"}.isdisjoint(names)


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
    head = Head.of(hidden, weight, labels, bias, options)
    return _unpaired(kto_loss, head, (ref_hidden, ref_weight, ref_bias, ref_logps), desirable, options)


def fused_linear_bco_loss(
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
    """`bco_loss` of hidden states of B responses, as `fused_linear_dpo_loss` is that of pairs."""
    head = Head.of(hidden, weight, labels, bias, options)
    return _unpaired(bco_loss, head, (ref_hidden, ref_weight, ref_bias, ref_logps), desirable, options)


def _unpaired(
    function: Callable[..., UnpairedLoss],
    head: Head,
    reference: tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None],
    desirable: Tensor,
    options: dict[str, Any],
) -> UnpairedLoss:
    ref = head.reference(*reference)
    ref_logps = reference[-1] if ref is None else ref

    def loss(logps: Tensor, _: Tensor) -> UnpairedLoss:
        return function(logps, ref_logps, desirable, **options)

    logps, num_tokens = head.logps(torch.arange(head.num_sequences), lambda *known: loss(*known).loss)
    return loss(logps, num_tokens)


def fused_linear_plackett_luce_loss(
    hidden: Tensor,
    weight: Tensor,
    labels: Tensor,
    group_size: int | None = None,
    *,
    group_offsets: Tensor | None = None,
    bias: Tensor | None = None,
    ref_hidden: Tensor | None = None,
    ref_weight: Tensor | None = None,
    ref_bias: Tensor | None = None,
    ref_logps: Tensor | None = None,
    **options: Any,
) -> PlackettLuceLoss:
    """`plackett_luce_loss` of hidden states, as `fused_linear_dpo_loss` is that of pairs.

    The responses of each group follow one another: groups of `group_size`, or group g from `group_offsets`[g]
    up to `group_offsets`[g + 1]. Tensors of items are (B, K), or flat with `group_offsets`.
    """
    head = Head.of(hidden, weight, labels, bias, options)
    if (group_size is None) == (group_offsets is None):
        raise TypeError("groups have one group_size, or else group_offsets")
    if group_offsets is not None:
        sizes = group_offsets.diff()
        shape: tuple[int, ...] = (head.num_sequences,)
        groups = torch.repeat_interleave(torch.arange(len(sizes)), sizes)
        options["offsets"] = group_offsets
    else:
        assert group_size is not None
        if group_size < 1 or head.num_sequences % group_size:
            raise ValueError(f"{head.num_sequences} sequences are no groups of group_size = {group_size}")
        groups = torch.arange(head.num_sequences) // group_size
        shape = (head.num_sequences // group_size, group_size)
    ref = head.reference(ref_hidden, ref_weight, ref_bias, ref_logps)
    ref_items = ref_logps if ref is None else ref.reshape(shape)

    def loss(logps: Tensor, _: Tensor) -> PlackettLuceLoss:
        return plackett_luce_loss(logps.reshape(shape), ref_items, **options)

    logps, num_tokens = head.logps(groups, lambda *known: loss(*known).loss)
    return loss(logps, num_tokens)


__all__ = [
    "FusedPairLoss",
    "fused_linear_bco_loss",
    "fused_linear_dpo_loss",
    "fused_linear_kto_loss",
    "fused_linear_logps",
    "fused_linear_plackett_luce_loss",
]
