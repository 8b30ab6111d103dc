"""Log-probabilities where each worker has a shard of the vocabulary: some columns of all logits."""

from typing import NamedTuple, Unpack

import numpy as np
import numpy.typing as npt

from . import _core
from ._typing import ArrayLike, LogpsOptions, known_options
from .logps import SequenceLogps, results_of


class VocabShard(NamedTuple):
    """What shards of a vocabulary know of each row of logits: arrays (B, T), or (N,) of packed sequences.

    l are the logits after temperature and softcap. Rows that score no label that counts have -inf, 0 and NaN.
    """

    maxima: npt.NDArray[np.float64]
    """The largest l of the row; -inf if it has none but -inf."""
    sums: npt.NDArray[np.float64]
    """The sum of exp(l - maximum)."""
    label_logits: npt.NDArray[np.float64]
    """The label's l, or NaN where it lies in another shard."""


def vocab_shard(
    logits: ArrayLike, labels: ArrayLike, vocab_start: int, **options: Unpack[LogpsOptions]
) -> VocabShard:
    """Statistics of one shard of the vocabulary: columns vocab_start ... vocab_start + V - 1.

    Parameters
    ----------
    logits : (B, T, V), or (N, V) with `offsets`
        The shard's columns. As for `sequence_logps`, but a row may be -inf throughout.
    labels : (B, T), or (N,) with `offsets`
        Token ids of the whole vocabulary.
    vocab_start : int
        First token id of the shard.
    **options
        Those of `sequence_logps`, the same for all shards.

    Examples
    --------
    Three workers have two token ids each.

    >>> import numpy as np, swiftdpo
    >>> logits, labels = np.random.default_rng(0).normal(size=(1, 3, 6)), np.array([[-100, 2, 5]])
    >>> shards = [swiftdpo.vocab_shard(logits[..., v : v + 2], labels, v) for v in (0, 2, 4)]
    >>> forward = swiftdpo.vocab_shard_logps(swiftdpo.merge_vocab_shards(*shards), labels)
    >>> np.allclose(forward.logps, swiftdpo.sequence_logps(logits, labels).logps, rtol=1e-14)
    True

    Each of them then has the gradient of its own columns:

    >>> whole = swiftdpo.sequence_logps_backward(logits, labels, [1.0])
    >>> mine = swiftdpo.sequence_logps_backward(logits[..., 2:4], labels, [1.0], forward, vocab_start=2)
    >>> np.allclose(mine, whole[..., 2:4], rtol=1e-14)
    True
    """
    return VocabShard(*_core.vocab_shard(logits, labels, known_options(options), vocab_start))


def merge_vocab_shards(first: VocabShard, *others: VocabShard) -> VocabShard:
    """Statistics of several shards together, merged in the order given.

    Merging two is commutative to the bit, and associative up to the rounding of a double: the same order
    gives the same bits.
    """
    for other in others:
        first = VocabShard(*_core.vocab_shard_merge(*first, *other))
    return first


def vocab_shard_logps(
    merged: VocabShard, labels: ArrayLike, **options: Unpack[LogpsOptions]
) -> SequenceLogps:
    """Log-probabilities of sequences, from the statistics of all shards of the vocabulary.

    Parameters
    ----------
    merged : VocabShard
        From `merge_vocab_shards`.
    labels, **options
        As given to `vocab_shard`.

    Returns
    -------
    SequenceLogps
        Without by-products. Give it to `sequence_logps_backward`, with a shard's logits and vocab_start.
    """
    return results_of(_core.vocab_shard_logps(*merged, labels, known_options(options)), options)
