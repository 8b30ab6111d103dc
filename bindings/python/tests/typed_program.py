"""What a type checker has to accept of the package's users, and to refuse. test_package.py runs one."""

from array import array
from typing import Any, assert_type

import numpy as np
import numpy.typing as npt
import swiftdpo
from swiftdpo import DPOLoss, PlackettLuceLoss, SequenceLogps

Doubles = npt.NDArray[np.float64]


class Tensor:
    """Another library's tensor."""

    def __dlpack__(self, *, max_version: tuple[int, int] | None = None) -> object:
        return np.ones(1).__dlpack__()

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)


def train(logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], reference: Doubles) -> float:
    forward = swiftdpo.sequence_logps(logits, labels)
    assert_type(forward, SequenceLogps)
    assert_type(forward.logps, Doubles)
    chosen, rejected = np.split(forward.logps, 2)
    ref_chosen, ref_rejected = np.split(reference, 2)
    out = swiftdpo.dpo_loss(chosen, rejected, ref_chosen, ref_rejected, beta=0.1, label_smoothing=0.1)
    assert_type(out, DPOLoss)
    grad_logps = np.concatenate([out.grad_policy_chosen_logps, out.grad_policy_rejected_logps])
    gradient = swiftdpo.sequence_logps_backward(logits, labels, grad_logps, forward, out=logits)
    assert_type(gradient, npt.NDArray[np.float32])
    new = swiftdpo.sequence_logps_backward(logits, labels, grad_logps, shift=True, softcap=30.0)
    assert_type(new, npt.NDArray[Any])
    return float(out.loss)


def rank(scores: Tensor) -> PlackettLuceLoss:
    return swiftdpo.plackett_luce_loss(scores, beta=[1.0, 2.0], rankings=[[0, 1], [1, 0]], reduction="none")


swiftdpo.dpo_loss(array("d", [1.0]), [2.0], None, None, np.float32(0.1), weights=Tensor())
print(swiftdpo.__version__.split("."), swiftdpo.build_info().instruction_set.upper())

# Each of these must be an error, or the comment on it is one.
swiftdpo.dpo_loss([1.0], [2.0])  # type: ignore[call-arg]
swiftdpo.dpo_loss([1.0], [2.0], None, None, reduction="max")  # type: ignore[arg-type]
swiftdpo.dpo_loss([1.0], [2.0], None, None, loss_type="hinges")  # type: ignore[arg-type]
swiftdpo.plackett_luce_loss(object())  # type: ignore[arg-type]
swiftdpo.sequence_logps_backward([1.0], [2], [3.0], padding=0)  # type: ignore[call-overload]
swiftdpo.build_info().version = "1"  # type: ignore[misc]
