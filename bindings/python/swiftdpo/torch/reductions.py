"""Sums and counts of all processes, in one all-reduce."""

from typing import TypeVar

import torch
import torch.distributed as dist

from ..dpo import PairMetrics
from ..unpaired import BCODelta, KTOBaseline, UnpairedMetrics

State = TypeVar("State", PairMetrics, UnpairedMetrics, KTOBaseline, BCODelta)
AnyState = PairMetrics | UnpairedMetrics | KTOBaseline | BCODelta


def all_reduce_states(
    states: list[AnyState], group: dist.ProcessGroup | None = None, device: torch.device | str = "cpu"
) -> list[AnyState]:
    """The sums of all processes' metrics and baselines: several states, one all-reduce.

    Counts are exact up to 2^53; sums are added in the order of the group's backend. `device` is where that
    backend wants its tensors: "cuda" for NCCL.
    """
    numbers = torch.tensor([float(x) for state in states for x in state], dtype=torch.float64, device=device)
    dist.all_reduce(numbers, dist.ReduceOp.SUM, group)
    sums = iter(numbers.tolist())
    # Counts stay integers: fields have the type of their defaults.
    return [
        type(state)._make(type(state._field_defaults[name])(next(sums)) for name in state._fields)
        for state in states
    ]


def all_reduce_state(
    state: State, group: dist.ProcessGroup | None = None, device: torch.device | str = "cpu"
) -> State:
    """As `all_reduce_states`, of one: `PairMetrics`, `UnpairedMetrics`, `KTOBaseline` or `BCODelta`."""
    [total] = all_reduce_states([state], group, device)
    assert isinstance(total, type(state))
    return total


__all__ = ["all_reduce_state", "all_reduce_states"]
