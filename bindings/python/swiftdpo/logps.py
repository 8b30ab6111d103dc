"""Log-probabilities of sequences from a language model's logits, and the gradient back to the logits."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from . import _core
from ._typing import ArrayLike, Nonfinite


class LogpsOptions(NamedTuple):
    """How `sequence_logps` read its arguments."""

    ignore_index: int = -100
    shift: bool = True
    average: bool = False
    nonfinite: Nonfinite = "error"


class SequenceLogps(NamedTuple):
    """What `sequence_logps` returns. L is T - 1 with `shift`, T without."""

    logps: npt.NDArray[np.float64]
    """(B,): log pi of each sequence; 0 for one without tokens that count."""
    num_tokens: npt.NDArray[np.int64]
    """(B,): how many tokens count."""
    token_logps: npt.NDArray[np.float64]
    """(B, L): log-probability of each label; 0 where it does not count."""
    log_normalizers: npt.NDArray[np.float64]
    """(B, T): log-sum-exp of each row, which spares the backward pass a reading; 0 where it was not read."""
    options: LogpsOptions
    """The options of the call, so that the backward pass has the same."""


def sequence_logps(
    logits: ArrayLike,
    labels: ArrayLike,
    ignore_index: int = -100,
    *,
    shift: bool = True,
    average: bool = False,
    nonfinite: Nonfinite = "error",
) -> SequenceLogps:
    """Log-probabilities of whole sequences, from logits over a vocabulary.

    ::

        log pi(y_t | x, y_<t) = logits[t, y_t] - log sum over v of exp(logits[t, v])

    summed over the tokens of each sequence whose label counts.

    Parameters
    ----------
    logits : (B, T, V) float32
        Read where they lie, never copied, and only in rows whose label counts. They may be a slice of a
        larger array, as long as the last axis is contiguous and one stride leads from row to row across B and
        T. -inf (a masked entry) has probability 0.
    labels : (B, T) int64 or int32
        Token ids in [0, V), or `ignore_index` where a token does not count (prompt, padding).
    ignore_index : int
        Label of the tokens that do not count.
    shift : bool
        Whether the logits at t score the label at t + 1, as causal language models give them. Then the first
        label and the last position's logits play no part, and results for tokens have shape (B, T - 1).
    average : bool
        Whether `logps` are means over the tokens that count, instead of sums.
    nonfinite : "error" or "propagate"
        Whether NaN, +inf or a row of nothing but -inf is an error, or goes through to the results.

    Returns
    -------
    SequenceLogps
        `logps` and `token_logps` in nats.

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
    """
    options = LogpsOptions(ignore_index, shift, average, nonfinite)
    logps, num_tokens, token_logps, log_normalizers = _core.sequence_logps(logits, labels, *options)
    if shift:  # The last position scores nothing.
        token_logps = token_logps[:, :-1]
    return SequenceLogps(logps, num_tokens, token_logps, log_normalizers, options)


def sequence_logps_backward(
    logits: ArrayLike,
    labels: ArrayLike,
    grad_logps: ArrayLike,
    forward: SequenceLogps | None = None,
    *,
    out: ArrayLike | None = None,
    ignore_index: int | None = None,
    shift: bool | None = None,
    average: bool | None = None,
    nonfinite: Nonfinite | None = None,
) -> npt.NDArray[np.float32]:
    """The gradient by the logits, given the gradient g by each sequence's log-probability.

    ::

        grad_logits[b, t, v] = g_b (1[v = y_t] - exp(logits[b, t, v] - log_normalizers[b, t]))

    divided by the sequence's token count with `average`, and 0 in every row whose label does not count.

    Parameters
    ----------
    logits, labels
        As given to `sequence_logps`, unchanged since.
    grad_logps : (B,) float64 or float32
        d loss / d logps, such as `DPOLoss.grad_policy_chosen_logps`.
    forward : SequenceLogps, optional
        What `sequence_logps` returned for the same logits and labels. It supplies the options, and spares a
        reading of the logits.
    out : (B, T, V) float32, optional
        Where the gradient is written: an array or CPU tensor of the same row stride as `logits`.
        ``out=logits`` overwrites them in place. None: a new array.
    ignore_index, shift, average, nonfinite
        As for `sequence_logps`. Where left out they are those of `forward`, or the defaults without it; they
        may not differ from those of `forward`.

    Returns
    -------
    (B, T, V) float32
        `out` as a NumPy array, or the new array.

    Raises
    ------
    ValueError, TypeError
        Naming the argument, the index and the rule; `out` is untouched then.
    """
    choices = {"ignore_index": ignore_index, "shift": shift, "average": average, "nonfinite": nonfinite}
    given: dict[str, Any] = {name: value for name, value in choices.items() if value is not None}
    if forward is None:
        options, log_normalizers = LogpsOptions(**given), None
    elif isinstance(forward, SequenceLogps):
        options, log_normalizers = forward.options, forward.log_normalizers
        for name, value in given.items():
            if value != getattr(options, name):
                raise ValueError(f"{name} is {value!r}, but forward has {getattr(options, name)!r}")
    else:
        raise TypeError(f"forward is a {type(forward).__name__}; expected what sequence_logps returned")
    return _core.sequence_logps_backward(logits, labels, grad_logps, log_normalizers, out, *options)
