"""One good call of each function, for tests that change one argument of it."""

import numpy as np
import swiftdpo

B, T, V, K = 3, 4, 5, 4


def arguments(function: str, dtype=np.float64) -> dict:
    """New arguments by name, every one of them given."""
    rng = np.random.default_rng(1)

    def logps(*shape):
        return rng.uniform(-30, -10, shape).astype(dtype)

    labels = np.array([[-100, 2, 0, 4], [1, 3, -100, -100], [0, 0, 4, 1]])
    logits = rng.normal(size=(B, T, V)).astype(np.float32)
    options = dict(
        mask=np.array([[1, 1, 1, 1], [1, 1, 0, 1], [1, 1, 1, 1]], np.uint8),
        token_weights=rng.uniform(-1, 2, (B, T)),
        ld_lengths=np.array([1, 5, 0]),
        ld_alpha=0.5,
        temperature=0.8,
        softcap=30.0,
        nonfinite="error",
    )
    return {
        "dpo_loss": lambda: dict(
            policy_chosen_logps=logps(B),
            policy_rejected_logps=logps(B),
            ref_chosen_logps=logps(B),
            ref_rejected_logps=logps(B),
            beta=np.array([0.1, 0.5, 2.0], dtype),
            label_smoothing=0.0,
            margin=np.array([0.0, 1.0, -1.0], dtype),
            weights=np.array([1.0, 0.0, 2.0], dtype),
            soft_labels=np.array([1.0, 0.5, 0.75], dtype),
            reduction="mean",
            nonfinite="error",
        ),
        "plackett_luce_loss": lambda: dict(
            policy_logps=logps(B, K),
            ref_logps=logps(B, K),
            beta=np.array([0.1, 0.5, 2.0], dtype),
            rankings=np.array([[0, 1, 2, 3], [3, 1, 2, 0], [2, 3, 0, 1]]),
            weights=np.array([1.0, 0.0, 2.0], dtype),
            reduction="mean",
            nonfinite="error",
        ),
        "sequence_logps": lambda: dict(
            logits=logits, labels=labels, ignore_index=-100, shift=True, average=False, **options
        ),
        "vocab_shard": lambda: dict(logits=logits, labels=labels, vocab_start=0, **options),
        "sequence_logps_backward": lambda: dict(
            logits=logits,
            labels=labels,
            grad_logps=np.array([1.0, -2.0, 0.5]),
            forward=swiftdpo.sequence_logps(logits, labels, **options),
            out=np.full_like(logits, 7.0),
        ),
    }[function]()


def call(function: str, dtype=np.float64, **changed):
    """The function's result on its good arguments, some of them changed."""
    return getattr(swiftdpo, function)(**(arguments(function, dtype) | changed))


def results_equal(result, expected) -> bool:
    """Whether two results hold the same bits, types and shapes."""
    if isinstance(expected, np.ndarray):
        return (
            result.dtype == expected.dtype
            and result.shape == expected.shape
            and result.tobytes() == expected.tobytes()
        )
    if isinstance(expected, dict):  # options, which are not results
        return result.keys() == expected.keys()
    if isinstance(expected, tuple):
        return len(result) == len(expected) and all(map(results_equal, result, expected))
    return result == expected
