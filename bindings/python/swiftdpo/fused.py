"""The fused linear head: log-probabilities and losses of hidden states, without the logits.

The matrix products are a BLAS's: see `swiftdpo.blas_info`.
"""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple, Unpack

import numpy as np
import numpy.typing as npt

from . import _core
from ._typing import ArrayLike, FloatArray, LogpsOptions, known_options
from .blas import REMEDY, prepare
from .dpo import DPOLoss, dpo_loss, mixture, with_named_metrics
from .logps import SequenceLogps, results_of
from .rankings import PlackettLuceLoss, plackett_luce_loss
from .shards import VocabShard
from .unpaired import UnpairedLoss, UnpairedMetrics, bco_loss, kto_loss, unpaired_arguments


class FusedGradients(NamedTuple):
    """The gradients of a linear head; None for what was not asked for."""

    grad_hidden: Any
    """As hidden, in its type; 0 in rows that score nothing."""
    grad_weight: npt.NDArray[np.float32] | None
    """(V, H), in single precision whatever the type of the weight."""
    grad_bias: npt.NDArray[np.float32] | None
    """(V,), likewise; None without a bias."""


class FusedDPOLoss(NamedTuple):
    """What `fused_linear_dpo_loss` returns."""

    loss: float | FloatArray
    """The reduced loss; with ``reduction="none"`` the losses of the pairs."""
    gradients: FusedGradients
    """Of `loss`, by the policy's head."""
    pairs: DPOLoss
    """What `dpo_loss` gives for the log-probabilities, in double precision."""
    policy: SequenceLogps
    """What `fused_linear_logps` gives for the policy."""
    ref_logps: npt.NDArray[np.float64] | None
    """(2B,): the reference's log-probabilities, if its hidden states were given."""


class FusedUnpairedLoss(NamedTuple):
    """What `fused_linear_kto_loss` and `fused_linear_bco_loss` return, as `FusedDPOLoss` has it."""

    loss: float | FloatArray
    gradients: FusedGradients
    responses: UnpairedLoss
    policy: SequenceLogps
    ref_logps: npt.NDArray[np.float64] | None


class FusedPlackettLuceLoss(NamedTuple):
    """What `fused_linear_plackett_luce_loss` returns, as `FusedDPOLoss` has it."""

    loss: float | FloatArray
    gradients: FusedGradients
    rankings: PlackettLuceLoss
    policy: SequenceLogps
    ref_logps: npt.NDArray[np.float64] | None


def _head(
    hidden: ArrayLike,
    weight: ArrayLike,
    labels: ArrayLike,
    options: LogpsOptions,
    *,
    bias: ArrayLike | None = None,
    reference: tuple[ArrayLike | None, ArrayLike | None, ArrayLike | None] = (None, None, None),
    workspace_size: int | None = None,
    workspace: Any = None,
    vocab_start: int = 0,
    gradients: tuple[Any, ...] | None = None,
) -> tuple[Any, ...]:
    """A head as the extension takes it, once there is a BLAS."""
    if workspace_size is not None and workspace is not None:
        raise TypeError("workspace has its size; workspace_size cannot be given beside it")
    prepare()
    if _core.blas_info() is None:
        raise RuntimeError(REMEDY)
    return (
        hidden,
        weight,
        bias,
        *reference,
        labels,
        options,
        workspace_size,
        workspace,
        vocab_start,
        gradients,
    )


def _wanted(grad_hidden: Any, grad_weight: Any, grad_bias: Any, bias: ArrayLike | None) -> tuple[Any, ...]:
    """Which gradients a call writes, and whether it adds to what is there."""

    def target(given: Any) -> Any:
        return True if given is None else None if given is False else given

    def is_array(given: Any) -> bool:
        return given is not None and given is not False

    sums = [grad_weight] if bias is None else [grad_weight, grad_bias]
    if any(map(is_array, sums)) and any(x is None for x in sums):
        raise ValueError("grad_weight and grad_bias are added to alike: give arrays, or False, for both")
    return (target(grad_hidden), target(grad_weight), target(grad_bias), any(map(is_array, sums)))


def fused_linear_workspace(
    hidden: ArrayLike,
    weight: ArrayLike,
    labels: ArrayLike,
    *,
    bias: ArrayLike | None = None,
    **options: Unpack[LogpsOptions],
) -> tuple[int, int]:
    """The bytes of `workspace_size` that calls over this head need, and those that suffice for all logits."""
    return _core.fused_linear_workspace(_head(hidden, weight, labels, known_options(options), bias=bias))


def fused_linear_logps(
    hidden: ArrayLike,
    weight: ArrayLike,
    labels: ArrayLike,
    *,
    bias: ArrayLike | None = None,
    workspace_size: int | None = None,
    workspace: Any = None,
    by_products: bool = False,
    **options: Unpack[LogpsOptions],
) -> SequenceLogps:
    """Log-probabilities of sequences from hidden states: `sequence_logps` of ``hidden @ weight.T + bias``.

    Parameters
    ----------
    hidden : (B, T, H), or (N, H) with `offsets`
        float32, float16 or bfloat16 (through DLPack, or of the package ml_dtypes). Only rows that score a
        label that counts are read; one stride may lead from row to row.
    weight : (V, H)
        In the type of `hidden`, contiguous.
    labels : (B, T), or (N,) with `offsets`
        As for `sequence_logps`.
    bias : (V,), optional
        -inf masks an entry of the vocabulary.
    workspace_size : int, optional
        Bytes of temporary memory, 64 MiB by default. Results are the same for every size.
    workspace : writable buffer, optional
        Temporary memory that the caller keeps from call to call instead, such as
        ``numpy.empty(64 << 20, numpy.uint8)``; 63 bytes of it may be lost to alignment. Memory that a call
        takes and gives back has to be made by the system each time.
    by_products : bool
        As for `sequence_logps`, like all further options.

    Raises
    ------
    ValueError, TypeError
        Naming the argument, the index and the rule.
    RuntimeError
        If there is no BLAS, with the remedy.

    Examples
    --------
    >>> import numpy as np, swiftdpo
    >>> hidden, weight = np.ones((1, 3, 2), np.float32), np.eye(2, dtype=np.float32)
    >>> swiftdpo.fused_linear_logps(hidden, weight, [[-100, 0, 1]]).logps.round(4)
    array([-1.3863])
    """
    given = known_options(options)
    head = _head(hidden, weight, labels, given, bias=bias, workspace_size=workspace_size, workspace=workspace)
    return results_of(_core.fused_linear_logps(head, by_products), given)


def fused_linear_logps_backward(
    hidden: ArrayLike,
    weight: ArrayLike,
    labels: ArrayLike,
    grad_logps: ArrayLike,
    forward: SequenceLogps | None = None,
    *,
    bias: ArrayLike | None = None,
    grad_hidden: Any = None,
    grad_weight: Any = None,
    grad_bias: Any = None,
    vocab_start: int = 0,
    workspace_size: int | None = None,
    workspace: Any = None,
    **options: Unpack[LogpsOptions],
) -> FusedGradients:
    """The gradients of a linear head, given d loss / d logps of each sequence.

    Parameters
    ----------
    hidden, weight, labels, bias, workspace_size, workspace
        As given to `fused_linear_logps`, unchanged since.
    grad_logps : (B,) float64 or float32
        d loss / d logps.
    forward : SequenceLogps, optional
        What `fused_linear_logps` returned. It has the options, and spares one matrix product. Required for a
        shard of the vocabulary: what `vocab_shard_logps` returned.
    grad_hidden : as hidden, or False, optional
        Where that gradient is written; False: it isn't made. None: a new array.
    grad_weight, grad_bias : float32 arrays as weight and bias, or False, optional
        These gradients are added to the arrays given, as for micro-batches; False: not made. None: new ones.
    vocab_start : int
        First token id of the rows of `weight`, for a shard of the vocabulary.
    **options
        Those of `sequence_logps`, if `forward` is left out.
    """
    if forward is None:
        given, log_normalizers = known_options(options), None
    elif options:
        raise TypeError(f"forward has its options; {', '.join(options)} cannot be given beside it")
    else:
        given, log_normalizers = forward.options, forward.log_normalizers
    head = _head(
        hidden,
        weight,
        labels,
        given,
        bias=bias,
        workspace_size=workspace_size,
        workspace=workspace,
        vocab_start=vocab_start,
        gradients=_wanted(grad_hidden, grad_weight, grad_bias, bias),
    )
    return FusedGradients(*_core.fused_linear_logps_backward(head, grad_logps, log_normalizers))


def fused_linear_vocab_shard(
    hidden: ArrayLike,
    weight: ArrayLike,
    labels: ArrayLike,
    vocab_start: int,
    *,
    bias: ArrayLike | None = None,
    workspace_size: int | None = None,
    workspace: Any = None,
    **options: Unpack[LogpsOptions],
) -> VocabShard:
    """`vocab_shard` of ``hidden @ weight.T + bias``, `weight` and `bias` being the shard's rows.

    Merge the shards' statistics, take `vocab_shard_logps` of them, and give that as `forward` to
    `fused_linear_logps_backward` over each shard: the sum of their grad_hidden is the gradient.
    """
    given = known_options(options)
    head = _head(
        hidden,
        weight,
        labels,
        given,
        bias=bias,
        workspace_size=workspace_size,
        workspace=workspace,
        vocab_start=vocab_start,
    )
    return VocabShard(*_core.fused_linear_vocab_shard(head))


def fused_linear_dpo_loss(
    hidden: ArrayLike,
    weight: ArrayLike,
    labels: ArrayLike,
    *,
    bias: ArrayLike | None = None,
    ref_hidden: ArrayLike | None = None,
    ref_weight: ArrayLike | None = None,
    ref_bias: ArrayLike | None = None,
    ref_chosen_logps: ArrayLike | None = None,
    ref_rejected_logps: ArrayLike | None = None,
    grad_hidden: Any = None,
    grad_weight: Any = None,
    grad_bias: Any = None,
    workspace_size: int | None = None,
    workspace: Any = None,
    **options: Any,
) -> FusedDPOLoss:
    """`dpo_loss` of hidden states, with the gradients of the head, in one call.

    The logits of a pair wait in the workspace for the pair's loss where they fit, so that they are made once.

    Parameters
    ----------
    hidden, weight, labels, bias, workspace_size, workspace
        As for `fused_linear_logps`, for 2B sequences: all chosen responses, then all rejected ones.
    ref_hidden, ref_weight, ref_bias : optional
        The reference's head over the same labels; its H may differ.
    ref_chosen_logps, ref_rejected_logps : (B,), optional
        The reference's log-probabilities instead, float64. Neither: reference-free.
    grad_hidden, grad_weight, grad_bias
        As for `fused_linear_logps_backward`.
    **options
        Those of `sequence_logps` and of `dpo_loss`. Lengths left out are the numbers of tokens that count.

    Examples
    --------
    >>> import numpy as np, swiftdpo
    >>> hidden, weight = np.ones((2, 3, 2), np.float32), np.eye(2, dtype=np.float32)
    >>> out = swiftdpo.fused_linear_dpo_loss(hidden, weight, [[-100, 0, 1], [-100, 1, 1]], beta=0.5)
    >>> round(out.loss, 4), out.gradients.grad_weight.shape
    (0.6931, (2, 2))
    """
    logps_options, loss_options = _split(options)
    pairs = _count(labels, logps_options) // 2
    nothing = np.zeros(pairs)
    given = _bind(dpo_loss, loss_options, nothing, nothing, ref_chosen_logps, ref_rejected_logps)
    names = list(inspect.signature(mixture).parameters)
    head = _head(
        hidden,
        weight,
        labels,
        logps_options,
        bias=bias,
        reference=(ref_hidden, ref_weight, ref_bias),
        workspace_size=workspace_size,
        workspace=workspace,
        gradients=_wanted(grad_hidden, grad_weight, grad_bias, bias),
    )
    result, logps, ref_logps, gradients = _core.fused_linear_dpo_loss(
        head,
        *(given[name] for name in _PAIR_ARGUMENTS),
        mixture(*(given[name] for name in names)),
        DPOLoss,
    )
    loss: DPOLoss = with_named_metrics(result) if given["more"] else result
    policy = results_of(logps, logps_options)
    return FusedDPOLoss(loss.loss, FusedGradients(*gradients), loss, policy, ref_logps)


_PAIR_ARGUMENTS = (
    "policy_chosen_logps",
    "policy_rejected_logps",
    "ref_chosen_logps",
    "ref_rejected_logps",
    "beta",
    "margin",
    "weights",
    "soft_labels",
    "label_smoothing",
    "reduction",
    "nonfinite",
)


def fused_linear_kto_loss(
    hidden: ArrayLike,
    weight: ArrayLike,
    labels: ArrayLike,
    desirable: ArrayLike,
    *,
    bias: ArrayLike | None = None,
    ref_hidden: ArrayLike | None = None,
    ref_weight: ArrayLike | None = None,
    ref_bias: ArrayLike | None = None,
    ref_logps: ArrayLike | None = None,
    grad_hidden: Any = None,
    grad_weight: Any = None,
    grad_bias: Any = None,
    workspace_size: int | None = None,
    workspace: Any = None,
    **options: Any,
) -> FusedUnpairedLoss:
    """`kto_loss` of hidden states of B responses, as `fused_linear_dpo_loss` is that of pairs."""
    return _unpaired(
        kto_loss,
        hidden,
        weight,
        labels,
        desirable,
        ref_logps,
        options,
        bias=bias,
        reference=(ref_hidden, ref_weight, ref_bias),
        workspace_size=workspace_size,
        workspace=workspace,
        gradients=_wanted(grad_hidden, grad_weight, grad_bias, bias),
    )


def fused_linear_bco_loss(
    hidden: ArrayLike,
    weight: ArrayLike,
    labels: ArrayLike,
    desirable: ArrayLike,
    *,
    bias: ArrayLike | None = None,
    ref_hidden: ArrayLike | None = None,
    ref_weight: ArrayLike | None = None,
    ref_bias: ArrayLike | None = None,
    ref_logps: ArrayLike | None = None,
    grad_hidden: Any = None,
    grad_weight: Any = None,
    grad_bias: Any = None,
    workspace_size: int | None = None,
    workspace: Any = None,
    **options: Any,
) -> FusedUnpairedLoss:
    """`bco_loss` of hidden states of B responses, as `fused_linear_dpo_loss` is that of pairs."""
    return _unpaired(
        bco_loss,
        hidden,
        weight,
        labels,
        desirable,
        ref_logps,
        options,
        bias=bias,
        reference=(ref_hidden, ref_weight, ref_bias),
        workspace_size=workspace_size,
        workspace=workspace,
        gradients=_wanted(grad_hidden, grad_weight, grad_bias, bias),
    )


def _unpaired(
    function: Callable[..., UnpairedLoss],
    hidden: ArrayLike,
    weight: ArrayLike,
    labels: ArrayLike,
    desirable: ArrayLike,
    ref_logps: ArrayLike | None,
    options: dict[str, Any],
    **of_head: Any,
) -> FusedUnpairedLoss:
    logps_options, loss_options = _split(options)
    head = _head(hidden, weight, labels, logps_options, **of_head)
    given = _bind(function, loss_options, np.zeros(_count(labels, logps_options)), ref_logps, desirable)
    result, logps, found, gradients = _core.fused_linear_unpaired_loss(head, *unpaired_arguments(given))
    heads, grad_baseline, metrics = result
    loss = UnpairedLoss._make((*heads, grad_baseline, UnpairedMetrics._make(metrics)))
    policy = results_of(logps, logps_options)
    return FusedUnpairedLoss(loss.loss, FusedGradients(*gradients), loss, policy, found)


def fused_linear_plackett_luce_loss(
    hidden: ArrayLike,
    weight: ArrayLike,
    labels: ArrayLike,
    group_size: int | None = None,
    *,
    group_offsets: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    ref_hidden: ArrayLike | None = None,
    ref_weight: ArrayLike | None = None,
    ref_bias: ArrayLike | None = None,
    ref_logps: ArrayLike | None = None,
    grad_hidden: Any = None,
    grad_weight: Any = None,
    grad_bias: Any = None,
    workspace_size: int | None = None,
    workspace: Any = None,
    **options: Any,
) -> FusedPlackettLuceLoss:
    """`plackett_luce_loss` of hidden states, as `fused_linear_dpo_loss` is that of pairs.

    The responses of each group follow one another: groups of `group_size`, or group g from `group_offsets`[g]
    up to `group_offsets`[g + 1]. Arrays of items are (B, K), or flat with `group_offsets`.
    """
    logps_options, loss_options = _split(options)
    count = _count(labels, logps_options)
    if (group_size is None) == (group_offsets is None):
        raise TypeError("groups have one group_size, or else group_offsets")
    shape: Any = count if group_size is None else (count // max(group_size, 1), group_size)
    given = _bind(plackett_luce_loss, loss_options, np.zeros(shape), ref_logps)
    given["offsets"] = group_offsets
    head = _head(
        hidden,
        weight,
        labels,
        logps_options,
        bias=bias,
        reference=(ref_hidden, ref_weight, ref_bias),
        workspace_size=workspace_size,
        workspace=workspace,
        gradients=_wanted(grad_hidden, grad_weight, grad_bias, bias),
    )
    arguments = (None if name is None else given[name] for name in _RANKING_ARGUMENTS)
    result, logps, found, gradients = _core.fused_linear_plackett_luce_loss(head, *arguments, False)
    loss = PlackettLuceLoss(*result)
    policy = results_of(logps, logps_options)
    return FusedPlackettLuceLoss(loss.loss, FusedGradients(*gradients), loss, policy, found)


_RANKING_ARGUMENTS = (
    "policy_logps",
    "ref_logps",
    "beta",
    "weights",
    "position_weights",
    None,  # no direction: gradients, but no product with the Hessian
    "rankings",
    "ranks",
    "offsets",
    "tie_strengths",
    "reduction",
    "nonfinite",
    "unlisted",
    "first_choice",
    "top",
    "ties",
)


def _split(options: dict[str, Any]) -> tuple[LogpsOptions, dict[str, Any]]:
    """Options of `sequence_logps`, and of a loss. Both ask what a number that isn't finite is."""
    ours: Any = {name: value for name, value in options.items() if name in LogpsOptions.__annotations__}
    others = {name: value for name, value in options.items() if name not in ours or name == "nonfinite"}
    return ours, others


def _bind(function: Callable[..., Any], options: dict[str, Any], *arguments: Any) -> dict[str, Any]:
    """All arguments of a loss by name, those that are left out with their defaults."""
    bound = inspect.signature(function).bind(*arguments, **options)
    bound.apply_defaults()
    return bound.arguments


def _count(labels: ArrayLike, options: LogpsOptions) -> int:
    """The number of sequences."""
    offsets = options.get("offsets")
    return len(np.asarray(labels if offsets is None else offsets)) - (offsets is not None)
