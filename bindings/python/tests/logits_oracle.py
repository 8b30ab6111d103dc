"""sequence_logps a second time, for every option: row by row in extended precision (80 bits on x86-64).

Slow and obvious. Logits come in each of the library's types, beside the exact values of what was rounded to
them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

TYPES = ["float32", "float64", "float16", "bfloat16"]


def rounded(values, dtype):
    """Values rounded to a type of logits, and what they are then, exactly. bfloat16 comes as a tensor."""
    if dtype == "bfloat16":
        given = torch.from_numpy(np.asarray(values, np.float64)).to(torch.bfloat16)
        return given, given.double().numpy()
    with np.errstate(over="ignore"):
        given = np.asarray(values).astype(dtype)
    return given, given.astype(np.float64)


def numbers(values):
    """An array's or a tensor's values in double precision."""
    return values.double().numpy() if isinstance(values, torch.Tensor) else np.asarray(values, np.float64)


def bits(values):
    """The bytes of an array or a tensor."""
    if isinstance(values, torch.Tensor):
        return values.contiguous().view(torch.int16).numpy().tobytes()
    return values.tobytes()


def empty_like(given):
    return torch.empty_like(given) if isinstance(given, torch.Tensor) else np.empty_like(given)


class Rows(NamedTuple):
    """Exact results of rows, in one long list; 0 in rows that score nothing."""

    token_logps: np.ndarray
    log_normalizers: np.ndarray
    entropies: np.ndarray
    log_sum_squares: np.ndarray
    mean_logits: np.ndarray
    top_1: np.ndarray
    softmax: np.ndarray
    slopes: np.ndarray  # d l / d logits: the difference of scale and scale * tanh^2
    slope_terms: np.ndarray  # their sum
    labels: np.ndarray  # the label that each row scores, or -1
    weights: np.ndarray  # of the label's log-probability in its sequence's


def sequences(labels, offsets=None):
    """The rows of each sequence."""
    rows = np.arange(labels.size)
    return list(rows.reshape(labels.shape)) if offsets is None else np.split(rows, offsets[1:-1])


def exact_rows(
    logits,
    labels,
    *,
    ignore_index=-100,
    shift=True,
    mask=None,
    offsets=None,
    token_weights=None,
    ld_lengths=None,
    ld_alpha=1.0,
    temperature=1.0,
    softcap=None,
) -> Rows:
    """What every row scores, by definition."""
    x = np.asarray(logits, np.longdouble).reshape(labels.size, -1)
    flat_labels = np.ravel(labels)
    counts = flat_labels != ignore_index
    if mask is not None:
        counts &= np.ravel(mask) != 0
    given_weights = np.ones(labels.size) if token_weights is None else np.ravel(token_weights)
    rows = Rows(
        *np.zeros((5, labels.size)),
        np.zeros(labels.size, bool),
        *np.zeros((3, *x.shape)),
        np.full(labels.size, -1),
        np.zeros(labels.size),
    )
    for b, positions in enumerate(sequences(labels, offsets)):
        counted = [position for position in positions[shift:] if counts[position]]
        for place, position in enumerate(counted):
            row, label = position - shift, flat_labels[position]
            beyond = ld_lengths is not None and place >= ld_lengths[b]
            rows.labels[row] = label
            rows.weights[row] = given_weights[position] * (ld_alpha if beyond else 1)
            with np.errstate(invalid="ignore", divide="ignore"):
                score_row(rows, row, x[row], label, temperature, softcap)
    return rows


def score_row(rows, row, x, label, temperature, softcap):
    scale = np.longdouble(1 / temperature)
    tanh = np.tanh(x / softcap) if softcap else np.zeros_like(x)
    scores = np.where(np.isinf(x), x, softcap * tanh) * scale if softcap else x * scale
    largest = scores.max()
    e = np.exp(scores - largest)
    p = e / e.sum()
    log_normalizer = largest + np.log(e.sum())
    log_p = np.where(p > 0, (scores - largest) - np.log(e.sum()), 0)
    rows.token_logps[row] = (scores[label] - largest) - np.log(e.sum())
    rows.log_normalizers[row] = log_normalizer
    rows.entropies[row] = -(p * log_p).sum()
    rows.log_sum_squares[row] = np.log((p * p).sum())
    rows.mean_logits[row] = scores.mean()
    rows.top_1[row] = scores[label] >= largest
    rows.softmax[row] = p
    rows.slopes[row] = np.where(softcap and np.isinf(x), 0, scale * (1 - tanh**2))
    rows.slope_terms[row] = scale * (1 + tanh**2)


def exact_logps(rows: Rows, labels, *, offsets=None, average=False):
    """Weighted sums over the rows of each sequence, and how many of them count."""
    groups = sequences(labels, offsets)
    counts = np.array([np.count_nonzero(rows.labels[list(group)] >= 0) for group in groups])
    terms = np.multiply(rows.weights, rows.token_logps, where=rows.weights != 0, out=np.zeros(labels.size))
    sums = np.array([terms[list(group)].sum() for group in groups])
    return sums / np.maximum(counts, 1) if average else sums, counts


def exact_gradient(rows: Rows, labels, grad_logps, *, offsets=None, average=False):
    """g w (1[v = y] - p) dl/dx, and its terms without signs: the ruler for its rounding."""
    factors = np.zeros(labels.size)
    for g, group in zip(grad_logps, sequences(labels, offsets), strict=True):
        count = np.count_nonzero(rows.labels[list(group)] >= 0)
        factors[list(group)] = g / max(count, 1) if average else g
    hot = np.zeros_like(rows.softmax)
    scoring = rows.labels >= 0
    hot[scoring, rows.labels[scoring]] = 1
    factors = (factors * rows.weights)[:, None]
    gradient = factors * (hot - rows.softmax) * rows.slopes
    return gradient, abs(factors) * (hot + rows.softmax) * rows.slope_terms
