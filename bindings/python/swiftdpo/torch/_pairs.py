"""Losses over pairs: the extension's call as an autograd function, and as an operator for torch.compile."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, from_numpy, is_grad_enabled

from .. import _core
from ..dpo import LOSS_TYPES
from ._backward import apply, differentiable_once
from ._operators import Operator
from ._tensors import lend, lend_mask, loss_tensor, number_or_array

_AOT = {LOSS_TYPES["aot"], LOSS_TYPES["aot_unpaired"]}


class PairInputs(NamedTuple):
    """The tensors of a call, on the host; fractions in one type. Gradients are had up to `rejected_kl`."""

    policy_chosen_logps: Tensor
    policy_rejected_logps: Tensor
    ref_chosen_logps: Tensor | None
    ref_rejected_logps: Tensor | None
    beta: Tensor | None = None
    margin: Tensor | None = None
    sft_logps: Tensor | None = None
    tie_strength: Tensor | None = None
    chosen_kl: Tensor | None = None
    rejected_kl: Tensor | None = None
    weights: Tensor | None = None
    soft_labels: Tensor | None = None
    reward_gaps: Tensor | None = None
    chosen_lengths: Tensor | None = None
    rejected_lengths: Tensor | None = None
    sft_lengths: Tensor | None = None
    ties: Tensor | None = None


class PairOptions(NamedTuple):
    """What is no tensor, in the order of the operator's arguments."""

    beta: float
    margin: float | None
    label_smoothing: float
    reduction: str
    nonfinite: str
    loss_types: tuple[int, ...]
    loss_weights: tuple[float, ...] | None
    f_divergence: int
    reference_free: bool
    f_alpha_divergence_coef: float
    discopop_tau: float
    tie_strength: float
    reward_scale: float
    alphapo_alpha: float
    tdpo_alpha: float = 0.0
    tdpo_loss_type: int = 0


def evaluate(inputs: PairInputs, options: PairOptions, more: bool) -> tuple[Any, ...]:
    """The extension's results, as `swiftdpo.dpo_loss` has them."""
    mixture = None
    if more or options[5:9] != ((0,), None, 0, False) or inputs.tie_strength is not None:
        mixture = (
            *options[5:11],
            options.tie_strength if inputs.tie_strength is None else inputs.tie_strength.item(),
            *options[12:14],
            lend(inputs.reward_gaps),
            lend(inputs.sft_logps),
            lend(inputs.chosen_lengths),
            lend(inputs.rejected_lengths),
            lend(inputs.sft_lengths),
            lend_mask(inputs.ties, "ties"),
            more,
        )
    arguments: Any = (
        lend(inputs[0]),
        lend(inputs[1]),
        lend(inputs[2]),
        lend(inputs[3]),
        number_or_array(inputs.beta, options.beta),
        number_or_array(inputs.margin, options.margin),
        lend(inputs.weights),
        lend(inputs.soft_labels),
        options.label_smoothing,
        options.reduction,
        options.nonfinite,
        mixture,
        tuple,
    )
    if inputs.chosen_kl is None:
        return _core.dpo_loss(*arguments)
    divergences: Any = (lend(inputs.chosen_kl), lend(inputs.rejected_kl))
    return _core.tdpo_loss((*divergences, options.tdpo_alpha, options.tdpo_loss_type), *arguments)


def _couples(inputs: PairInputs, options: PairOptions) -> bool:
    """Whether a pair's loss has a part in other pairs' gradients, or in one that all share."""
    if options.reduction != "none":
        return False
    return not _AOT.isdisjoint(options.loss_types) or inputs.tie_strength is not None


def _all_gradients(inputs: PairInputs, options: PairOptions) -> list[Tensor]:
    """By the differentiable inputs, in their order; by divergences where there are any."""
    results = evaluate(inputs, options, True)
    places = (2, 3, 7, 8, 9, 10, 11, 13) if inputs.chosen_kl is None else (2, 3, 7, 8, 9, 10, 11, 13, 15, 16)
    return [torch.as_tensor(results[i]) for i in places]


def _reweighted(inputs: PairInputs, options: PairOptions, grad_loss: Tensor) -> list[Tensor]:
    """Gradients of the sum of losses times `grad_loss`: its positive and negative part are pairs' weights."""
    if not bool(torch.isfinite(grad_loss).all()):
        gradients = _all_gradients(inputs, options)
        return [torch.full_like(gradient, torch.nan) for gradient in gradients]
    parts = []
    for sign in (1, -1):
        weights = (sign * grad_loss).clamp(min=0).to(inputs.policy_chosen_logps.dtype)
        weights = weights if inputs.weights is None else weights * inputs.weights
        parts.append(_all_gradients(inputs._replace(weights=weights), options._replace(reduction="sum")))
    return [positive - negative for positive, negative in zip(*parts, strict=True)]


def gradients(inputs: PairInputs, options: PairOptions, grad_loss: Tensor) -> list[Tensor]:
    """d objective / d each differentiable input, given d objective / d loss; (0,) for one that is None."""
    if _couples(inputs, options):
        scaled = _reweighted(inputs, options, grad_loss)
    else:
        scaled = [gradient * grad_loss for gradient in _all_gradients(inputs, options)]
    none = inputs.policy_chosen_logps.new_empty(0)
    return [
        none.clone() if x is None else gradient.to(x.dtype).sum_to_size(x.shape)
        for x, gradient in zip(inputs[:_NUM_DIFFERENTIABLE], (*scaled, none, none), strict=False)
    ]


class _OfPolicy(torch.autograd.Function):
    """Log-probabilities of the policy, and the loss with its gradients by them, which are known, to the
    loss."""

    @staticmethod
    def forward(
        ctx: Any, _chosen: Tensor, _rejected: Tensor, known: tuple[Tensor, tuple[Any, Any]]
    ) -> Tensor:
        loss, ctx.gradients = known
        return loss

    @staticmethod
    def backward(ctx: Any, grad_loss: Tensor) -> Any:
        by_chosen, by_rejected = ctx.gradients
        if not is_grad_enabled():
            scaled = _core.tensors_scaled(by_chosen, by_rejected, grad_loss)
            if scaled is not None:
                return scaled
        # Differentiated again, or by tensors of another kind, such as a batch of gradients at once.
        found: list[Tensor | None] = [from_numpy(by_chosen) * grad_loss, from_numpy(by_rejected) * grad_loss]
        return *differentiable_once(found), None


# `_OfPolicy.apply` without what that does for function transforms, 3 us. Whoever calls it has looked whether
# one is active.
apply_of_policy: Any = super(torch.autograd.Function, _OfPolicy).apply

# What the engine calls is `apply` of the function's contexts, which looks for `backward` anew each time.
_context: Any = getattr(_OfPolicy, "_backward_cls", None)
if _context is not None:
    _context.apply = _OfPolicy.backward


class _OfAll(torch.autograd.Function):
    """Inputs, options and results of the extension to the loss: the other gradients are computed when
    wanted."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensor:
        *tensors, options, results = arguments
        ctx.save_for_backward(*tensors)
        ctx.options = options
        return loss_tensor(results)

    @staticmethod
    def backward(ctx: Any, grad_loss: Tensor) -> Any:
        found = gradients(PairInputs._make(ctx.saved_tensors), ctx.options, grad_loss)
        wanted = [
            gradient if needed else None
            for gradient, needed in zip(found, ctx.needs_input_grad, strict=False)
        ]
        return *differentiable_once(wanted), *_CONSTANTS


_NUM_DIFFERENTIABLE = PairInputs._fields.index("rejected_kl") + 1
NUM_FRACTIONS = PairInputs._fields.index("reward_gaps") + 1
_CONSTANTS = (None,) * (len(PairInputs._fields) - _NUM_DIFFERENTIABLE + 2)


def _forward(inputs: PairInputs, options: PairOptions) -> list[Tensor]:
    results = evaluate(inputs, options, False)
    return [loss_tensor(results).clone(), from_numpy(results[4]), from_numpy(results[5])]


def _fake(inputs: PairInputs, options: PairOptions) -> list[Tensor]:
    pairs = inputs.policy_chosen_logps
    loss = pairs.new_empty(pairs.shape) if options.reduction == "none" else pairs.new_empty(())
    return [loss, pairs.new_empty(pairs.shape), pairs.new_empty(pairs.shape)]


_operator = Operator(
    "pair_loss",
    PairInputs,
    PairOptions,
    forward=_forward,
    fake=_fake,
    gradients=gradients,
    differentiable=_NUM_DIFFERENTIABLE,
)


def pair_loss(inputs: PairInputs, options: PairOptions) -> tuple[Tensor, ...]:
    """Loss, and rewards of both responses."""
    if torch.compiler.is_compiling():
        return _operator(inputs, options)
    results = evaluate(inputs, options, False)
    others = inputs[2:_NUM_DIFFERENTIABLE]
    if _couples(inputs, options) or any(x is not None and x.requires_grad for x in others):
        loss = apply(_OfAll, *inputs, options, results)
    else:
        loss = apply(_OfPolicy, inputs[0], inputs[1], (loss_tensor(results), results[2:4]))
    return loss, from_numpy(results[4]), from_numpy(results[5])
