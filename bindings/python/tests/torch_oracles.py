"""The library's losses written as a PyTorch user would, in double precision: autograd differentiates them."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F


def tensor(values) -> torch.Tensor:
    """A double-precision leaf that collects its gradient."""
    return torch.tensor(np.asarray(values, dtype=np.float64), requires_grad=True)


def dpo(
    policy_chosen, policy_rejected, ref_chosen, ref_rejected, *, beta=0.1, label_smoothing=0.0
) -> torch.Tensor:
    """The loss of each pair."""
    z = beta * ((policy_chosen - ref_chosen) - (policy_rejected - ref_rejected))
    return -(1 - label_smoothing) * F.logsigmoid(z) - label_smoothing * F.logsigmoid(-z)


def plackett_luce(scores: torch.Tensor, rankings) -> torch.Tensor:
    """The loss of each group, through a cumulative log-sum-exp from the last place to the first."""
    best_first = scores.gather(1, torch.as_tensor(np.asarray(rankings)))
    remaining = best_first.flip(1).logcumsumexp(1).flip(1)
    return (remaining - best_first).sum(1)


def sequence_logps(
    logits: torch.Tensor, labels, *, ignore_index=-100, shift=True, average=False
) -> torch.Tensor:
    """The log-probability of each sequence."""
    labels = torch.as_tensor(labels)
    if shift:
        logits, labels = logits[:, :-1], labels[:, 1:]
    token_logps = -F.cross_entropy(
        logits.transpose(1, 2), labels, ignore_index=ignore_index, reduction="none"
    )
    counts = (labels != ignore_index).sum(1)
    return token_logps.sum(1) / counts.clamp(min=1) if average else token_logps.sum(1)
