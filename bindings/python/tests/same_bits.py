"""Prints a hash of the results of calls over logits. test_same_bits.py runs it for each instruction set."""

import hashlib
import sys

import numpy as np
import swiftdpo
from logits_oracle import TYPES, bits, empty_like, rounded

B, T, V = 3, 7, 1531
#: Every kernel: one pass for the sum, one for by-products, both in single and double precision.
OPTIONS = [
    {},
    {"by_products": True},
    {"temperature": 0.7, "shift": False},
    {"softcap": 20.0, "by_products": True, "average": True},
]


def batch(dtype):
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 6, (B, T, V))
    logits[0, 2, 100:] -= 300  # most terms vanish
    logits[1, 3] += np.linspace(-80, 80, V)  # the largest logit rises all the way
    logits[2, :, ::7] = -np.inf
    labels = rng.integers(0, V // 7, (B, T)) * 7 + 1
    labels[0, 0] = -100
    return rounded(logits, dtype)[0], labels


def results(dtype, options, rows=slice(None)):
    """The bytes of the results of a forward and a backward call over some of the sequences."""
    logits, labels = batch(dtype)
    logits, labels = logits[rows], labels[rows]
    out = swiftdpo.sequence_logps(logits, labels, **options)
    grad_logps = np.array([1.5, -0.25, 3.0])[rows]
    gradient = swiftdpo.sequence_logps_backward(logits, labels, grad_logps, out, out=empty_like(logits))
    arrays = [array for array in out[:-1] if array is not None]
    return [array.tobytes() for array in arrays] + [bits(gradient)]


def shard(dtype):
    logits, labels = batch(dtype)
    return [array.tobytes() for array in swiftdpo.vocab_shard(logits[..., 700:], labels, 700)]


def digest():
    sha = hashlib.sha256()
    for dtype in TYPES:
        for options in OPTIONS:
            sha.update(b"".join(results(dtype, options)))
        sha.update(b"".join(shard(dtype)))
    return sha.hexdigest()


if __name__ == "__main__":
    print(swiftdpo.build_info().instruction_set, swiftdpo.num_threads(), digest(), file=sys.stdout)
