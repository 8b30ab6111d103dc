"""Log-probabilities of sequences from a language model's logits, and the gradient back to the logits."""

from enum import IntEnum
from typing import Any, NamedTuple, TypeVar, Unpack, overload

import numpy as np
import numpy.typing as npt

from . import _core
from ._typing import ArrayLike, LogpsOptions, Nonfinite, known_options

Output = TypeVar("Output", bound=ArrayLike)


class RowFlag(IntEnum):
    """What `SequenceLogps.row_flags` says of a row of logits."""

    SOUND = 0
    IMPOSSIBLE = 1
    """The label's probability is 0: its logit is -inf."""
    NONFINITE = 2
    """A logit is NaN or +inf, or all are -inf, with ``nonfinite="propagate"``."""


class SequenceLogps(NamedTuple):
    """What `sequence_logps` returns.

    Arrays of tokens have shape (B, L), where L is T - 1 with `shift` and T without; of packed sequences,
    (N,). Each result stands at the row of logits that it comes from, and is 0 where that row scores no label
    that counts.
    """

    logps: npt.NDArray[np.float64]
    """(B,): log pi of each sequence; 0 for one without tokens that count."""
    num_tokens: npt.NDArray[np.int64]
    """(B,): how many tokens count."""
    token_logps: npt.NDArray[np.float64]
    """(B, L): log-probability of each label, without its weight."""
    log_normalizers: npt.NDArray[np.float64]
    """(B, T) or (N,): log-sum-exp of each row, which spares the backward pass a reading."""
    row_flags: npt.NDArray[np.uint8]
    """(B, L): `RowFlag` of each row."""
    entropies: npt.NDArray[np.float64] | None
    """(B, L), with `by_products`: the entropy - sum p log p of each row's distribution p, in nats."""
    log_sum_squares: npt.NDArray[np.float64] | None
    """(B, L), with `by_products`: log sum p^2, by which WPO weighs tokens (Zhou et al. 2024)."""
    mean_logits: npt.NDArray[np.float64] | None
    """(B, L), with `by_products`: the mean of a row's logits."""
    top_1: npt.NDArray[np.bool_] | None
    """(B, L), with `by_products`: whether no vocabulary entry has a larger logit than the label."""
    options: LogpsOptions
    """The options of the call, so that the backward pass has the same."""


def sequence_logps(
    logits: ArrayLike,
    labels: ArrayLike,
    ignore_index: int = -100,
    *,
    shift: bool = True,
    average: bool = False,
    mask: ArrayLike | None = None,
    offsets: ArrayLike | None = None,
    token_weights: ArrayLike | None = None,
    ld_lengths: ArrayLike | None = None,
    ld_alpha: float = 1.0,
    temperature: float = 1.0,
    softcap: float | None = None,
    nonfinite: Nonfinite = "error",
    by_products: bool = False,
) -> SequenceLogps:
    """Log-probabilities of whole sequences, from logits over a vocabulary.

    ::

        l[t, v] = c tanh(logits[t, v] / c) / temperature,    c: the softcap; without it, logits / temperature
        log pi(y_t | x, y_<t) = l[t, y_t] - log sum over v of exp(l[t, v])

    summed over the tokens of each sequence whose label counts. Each row of logits is read once.

    Parameters
    ----------
    logits : (B, T, V), or (N, V) with `offsets`
        float32, float64, float16 or bfloat16 (tensors through DLPack, or arrays of the package ml_dtypes).
        Read where they lie, never copied, only in rows whose label counts. They may be a slice of a larger
        array, as long as the last axis is contiguous and one stride leads from row to row across all others.
        -inf (a masked entry) has probability 0.
    labels : (B, T), or (N,) with `offsets`; int64 or int32
        Token ids in [0, V), or `ignore_index` where a token does not count (prompt, padding).
    ignore_index : int
        Label of the tokens that do not count.
    shift : bool
        Whether the logits at t score the label at t + 1 of the same sequence, as causal language models give
        them. Then a sequence's first label and its last logits play no part.
    average : bool
        Whether `logps` are means over the tokens that count, instead of sums.
    mask : as labels, bool or uint8, optional
        False where a token does not count, besides those labelled `ignore_index`.
    offsets : (B + 1,) int64, optional
        For packed sequences: sequence b is the rows offsets[b] to offsets[b + 1]. They rise from 0 to N.
    token_weights : as labels, float64 or float32, optional
        Finite factor of each token's log-probability in `logps`, standing where its label does.
    ld_lengths : (B,) int64, optional
        For LD-DPO (Liu et al. 2024): how many tokens that count weigh 1; those after them weigh `ld_alpha`.
        For a pair, the smaller of the `num_tokens` of both responses.
    ld_alpha : float
        In [0, 1]. Needs `ld_lengths`, unless it is 1.
    temperature : float
        > 0: logits are divided by it.
    softcap : float, optional
        c > 0 of the soft cap above. None or 0: no cap.
    nonfinite : "error" or "propagate"
        Whether NaN, +inf or a row of nothing but -inf is an error, or goes through to the results.
    by_products : bool
        Whether to give `entropies`, `log_sum_squares`, `mean_logits` and `top_1`, too, from the same reading.
        The other results are the same.

    Returns
    -------
    SequenceLogps
        In double precision, whatever the type of the logits.

    Raises
    ------
    ValueError, TypeError
        Naming the argument, the index and the rule.

    Examples
    --------
    >>> import numpy as np, swiftdpo
    >>> out = swiftdpo.sequence_logps(np.zeros((1, 3, 4), np.float32), [[-100, 2, 1]])
    >>> out.logps.round(4), out.num_tokens
    (array([-2.7726]), array([2]))

    The same two sequences, padded and packed:

    >>> logits = np.arange(32, dtype=np.float32).reshape(2, 4, 4) % 7
    >>> labels = np.array([[0, 1, 2, 3], [0, 3, -100, -100]])
    >>> padded = swiftdpo.sequence_logps(logits, labels)
    >>> rows = [0, 1, 2, 3, 4, 5]
    >>> packed = swiftdpo.sequence_logps(logits.reshape(-1, 4)[rows], labels.ravel()[rows], offsets=[0, 4, 6])
    >>> packed.logps == padded.logps
    array([ True,  True])
    """
    options = LogpsOptions(
        ignore_index=ignore_index,
        shift=shift,
        average=average,
        mask=mask,
        offsets=offsets,
        token_weights=token_weights,
        ld_lengths=ld_lengths,
        ld_alpha=ld_alpha,
        temperature=temperature,
        softcap=softcap,
        nonfinite=nonfinite,
    )
    return results_of(_core.sequence_logps(logits, labels, options, by_products), options)


def results_of(arrays: tuple[Any, ...], options: LogpsOptions) -> SequenceLogps:
    """The extension's arrays, those of tokens without the position that scores nothing."""
    logps, num_tokens, token_logps, log_normalizers, *of_tokens = arrays
    if options.get("shift", True) and options.get("offsets") is None:
        token_logps, *of_tokens = (x if x is None else x[:, :-1] for x in (token_logps, *of_tokens))
    return SequenceLogps._make((logps, num_tokens, token_logps, log_normalizers, *of_tokens, options))


@overload
def sequence_logps_backward(
    logits: ArrayLike,
    labels: ArrayLike,
    grad_logps: ArrayLike,
    forward: SequenceLogps | None = None,
    *,
    out: None = None,
    vocab_start: int = 0,
    **options: Unpack[LogpsOptions],
) -> npt.NDArray[Any]: ...
@overload
def sequence_logps_backward(
    logits: ArrayLike,
    labels: ArrayLike,
    grad_logps: ArrayLike,
    forward: SequenceLogps | None = None,
    *,
    out: Output,
    vocab_start: int = 0,
    **options: Unpack[LogpsOptions],
) -> Output: ...
def sequence_logps_backward(
    logits: ArrayLike,
    labels: ArrayLike,
    grad_logps: ArrayLike,
    forward: SequenceLogps | None = None,
    *,
    out: ArrayLike | None = None,
    vocab_start: int = 0,
    **options: Unpack[LogpsOptions],
) -> Any:
    """The gradient by the logits, given the gradient g by each sequence's log-probability.

    ::

        grad_logits[t, v] = g w_t (1[v = y_t] - exp(l[t, v] - log_normalizers[t])) d l[t, v] / d logits[t, v]

    where w_t is the token's weight (over the sequence's token count with `average`), and 0 in every row that
    scores no label that counts.

    Parameters
    ----------
    logits, labels
        As given to `sequence_logps`, unchanged since.
    grad_logps : (B,) float64 or float32
        d loss / d logps, such as `DPOLoss.grad_policy_chosen_logps`.
    forward : SequenceLogps, optional
        What `sequence_logps` returned for the same logits and labels. It has the options, and spares reading
        the logits again. Required for a shard of the vocabulary: what `vocab_shard_logps` returned.
    out : as logits, optional
        Where the gradient is written: an array or CPU tensor of the type and row stride of `logits`.
        ``out=logits`` overwrites them in place. None: a new array.
    vocab_start : int
        First token id of the logits' columns, for a shard of the vocabulary.
    **options
        Those of `sequence_logps`, if `forward` is left out.

    Returns
    -------
    as logits
        `out`, or the new array.

    Raises
    ------
    ValueError, TypeError
        Naming the argument, the index and the rule; `out` is untouched then.
    """
    if forward is None:
        given, log_normalizers = known_options(options), None
    elif not isinstance(forward, SequenceLogps):
        raise TypeError(f"forward is a {type(forward).__name__}; expected what sequence_logps returned")
    elif options:
        raise TypeError(f"forward has its options; {', '.join(options)} cannot be given beside it")
    else:
        given, log_normalizers = forward.options, forward.log_normalizers
    return _core.sequence_logps_backward(logits, labels, given, grad_logps, log_normalizers, out, vocab_start)
