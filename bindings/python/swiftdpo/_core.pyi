"""The extension module. Its functions take every argument by position, and return plain tuples."""

import os
from collections.abc import Callable
from typing import Any, Self, TypeVar, final

import numpy as np
import numpy.typing as npt

from ._typing import (
    ArrayLike,
    DivergenceKind,
    FirstChoice,
    FloatArray,
    ListwiseLossType,
    LogpsOptions,
    Nonfinite,
    Reduction,
    RowValue,
    Ties,
    Unlisted,
)

_Doubles = npt.NDArray[np.float64]
_Result = TypeVar("_Result", bound=tuple[Any, ...])

__version__: str

def build_info() -> tuple[str, str, str, int]: ...
def num_threads() -> int: ...
def set_num_threads(threads: int, /) -> None: ...
def dpo_loss(
    policy_chosen_logps: ArrayLike,
    policy_rejected_logps: ArrayLike,
    ref_chosen_logps: ArrayLike | None,
    ref_rejected_logps: ArrayLike | None,
    beta: float | ArrayLike,
    margin: float | ArrayLike | None,
    weights: ArrayLike | None,
    soft_labels: ArrayLike | None,
    label_smoothing: float,
    reduction: Reduction,
    nonfinite: Nonfinite,
    mixture: tuple[Any, ...] | None,
    result_type: type[_Result],
    /,
) -> _Result: ...
def tdpo_loss(tdpo: tuple[ArrayLike, ArrayLike, float, int], /, *dpo_loss: Any) -> tuple[Any, ...]: ...

@final
class shortened:
    def __new__(
        cls, dpo_loss: Callable[..., Any], names: tuple[str, ...], defaults: tuple[Any, ...], /
    ) -> Self: ...
    def __call__(self, /, *args: Any, **kwargs: Any) -> Any: ...
    def __get__(self, instance: object, owner: type | None = None, /) -> Self: ...

def tensors_dpo_loss(
    policy_chosen_logps: Any,
    policy_rejected_logps: Any,
    ref_chosen_logps: Any,
    ref_rejected_logps: Any,
    beta: float,
    label_smoothing: float,
    reduction: Reduction,
    nonfinite: Nonfinite,
    apply: Callable[[Any, Any, tuple[Any, tuple[FloatArray, FloatArray]]], Any],
    result_type: type[_Result],
    /,
) -> _Result | None: ...
def tensors_scaled(
    by_chosen: FloatArray, by_rejected: FloatArray, grad_loss: Any, /
) -> tuple[Any, Any, None] | None: ...
def unpaired_loss(
    policy_logps: ArrayLike,
    ref_logps: ArrayLike | None,
    beta: float | ArrayLike,
    weights: ArrayLike | None,
    desirable: ArrayLike,
    loss_type: int,
    reduction: Reduction,
    nonfinite: Nonfinite,
    desirable_weight: float,
    undesirable_weight: float,
    baseline: float,
    /,
) -> tuple[tuple[Any, ...], float, tuple[Any, ...]]: ...
def kto_baseline_add(
    policy_kl_logps: ArrayLike, ref_kl_logps: ArrayLike | None, /
) -> tuple[int, int, int, float, float, float]: ...
def kto_baseline_value(state: tuple[int, int, int, float, float, float], estimator: int, /) -> float: ...
def bco_delta_add(
    policy_logps: ArrayLike, ref_logps: ArrayLike | None, beta: float, /
) -> tuple[int, float]: ...
def udm_weights(probabilities: ArrayLike, /) -> FloatArray: ...
def wpo_weights(
    token_logps: ArrayLike, log_sum_squares: ArrayLike | None, num_tokens: ArrayLike, /
) -> npt.NDArray[np.float64]: ...
def humanline_clamp(
    policy_token_logps: ArrayLike, ref_token_logps: ArrayLike, low: float, high: float, /
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]: ...
def plackett_luce_loss(
    policy_logps: ArrayLike,
    ref_logps: ArrayLike | None,
    beta: float | ArrayLike,
    weights: ArrayLike | None,
    position_weights: ArrayLike | None,
    direction: ArrayLike | None,
    rankings: ArrayLike | None,
    ranks: ArrayLike | None,
    offsets: ArrayLike | None,
    tie_strengths: ArrayLike | None,
    reduction: Reduction,
    nonfinite: Nonfinite,
    unlisted: Unlisted,
    first_choice: FirstChoice,
    top: int | None,
    ties: Ties,
    shared: bool,
    /,
) -> tuple[Any, ...]: ...
def listwise_loss(
    policy_logps: ArrayLike,
    ref_logps: ArrayLike | None,
    targets: ArrayLike,
    beta: float | ArrayLike,
    weights: ArrayLike | None,
    offsets: ArrayLike | None,
    loss_type: ListwiseLossType,
    reduction: Reduction,
    nonfinite: Nonfinite,
    /,
) -> tuple[Any, ...]: ...
def sample_rankings(rewards: ArrayLike, num_samples: int, seed: int, /) -> npt.NDArray[np.int64]: ...
def ranking_marginals(rewards: ArrayLike, /) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]: ...
def sequence_logps(
    logits: ArrayLike, labels: ArrayLike, options: LogpsOptions, by_products: bool, /
) -> tuple[Any, ...]: ...
def sequence_logps_backward(
    logits: ArrayLike,
    labels: ArrayLike,
    options: LogpsOptions,
    grad_logps: ArrayLike,
    log_normalizers: ArrayLike | None,
    out: ArrayLike | None,
    vocab_start: int,
    /,
) -> Any: ...
def vocab_shard(
    logits: ArrayLike, labels: ArrayLike, options: LogpsOptions, vocab_start: int, /
) -> tuple[_Doubles, _Doubles, _Doubles]: ...
def vocab_shard_merge(
    maxima: ArrayLike,
    sums: ArrayLike,
    label_logits: ArrayLike,
    other_maxima: ArrayLike,
    other_sums: ArrayLike,
    other_label_logits: ArrayLike,
    /,
) -> tuple[_Doubles, _Doubles, _Doubles]: ...
def vocab_shard_logps(
    maxima: ArrayLike,
    sums: ArrayLike,
    label_logits: ArrayLike,
    labels: ArrayLike,
    options: LogpsOptions,
    /,
) -> tuple[Any, ...]: ...
def divergence(
    logp: ArrayLike, logq: ArrayLike, kind: DivergenceKind, gradients: bool, nonfinite: Nonfinite, /
) -> tuple[RowValue, FloatArray | None, FloatArray | None]: ...
def kl_estimates(
    policy_logps: ArrayLike, ref_logps: ArrayLike, nonfinite: Nonfinite, /
) -> tuple[FloatArray, FloatArray, FloatArray]: ...
def preference_probability(
    chosen_rewards: ArrayLike, rejected_rewards: ArrayLike, nonfinite: Nonfinite, /
) -> tuple[FloatArray, FloatArray]: ...
def optimal_policy(
    rewards: ArrayLike,
    ref_logps: ArrayLike | None,
    beta: float | ArrayLike,
    policy_logps: ArrayLike | None,
    nonfinite: Nonfinite,
    /,
) -> tuple[Any, ...]: ...
def implicit_rewards(
    policy_logps: ArrayLike,
    ref_logps: ArrayLike | None,
    beta: float | ArrayLike,
    log_partition: float | ArrayLike,
    nonfinite: Nonfinite,
    /,
) -> FloatArray: ...
def count_responses(vocab_size: int, horizon: int, has_end_token: bool, /) -> tuple[int, float]: ...
def token_partition(
    logps: ArrayLike,
    rewards: ArrayLike,
    next_states: ArrayLike | None,
    beta: float,
    horizon: int,
    end_token: int,
    initial_state: int,
    max_terms: int,
    /,
) -> tuple[float, npt.NDArray[np.float64], npt.NDArray[np.float64]]: ...
def enumerate_partition(
    next_logps: Callable[[tuple[int, ...]], ArrayLike],
    reward: Callable[[tuple[int, ...]], float],
    beta: float,
    vocab_size: int,
    horizon: int,
    end_token: int,
    max_terms: int,
    /,
) -> tuple[float, int]: ...
def rejection_sample(
    rewards: ArrayLike, beta: float | ArrayLike, bound: ArrayLike | None, seed: int, /
) -> tuple[npt.NDArray[np.uint8], RowValue]: ...
def importance_resample(
    rewards: ArrayLike, beta: float | ArrayLike, num_draws: int, seed: int, /
) -> npt.NDArray[np.int64]: ...
def best_of_n_kl_bound(n: int, /) -> float: ...
def best_of_n(
    ref_logps: ArrayLike, rewards: ArrayLike, n: int, /
) -> tuple[npt.NDArray[np.float64], RowValue, RowValue]: ...
def partition_add(
    accumulators: ArrayLike, rewards: ArrayLike, beta: float | ArrayLike, /
) -> npt.NDArray[np.float64]: ...
def partition_merge(accumulators: ArrayLike, other: ArrayLike, /) -> npt.NDArray[np.float64]: ...
def partition_estimate(accumulators: ArrayLike, /) -> tuple[Any, ...]: ...
def policy_from_rewards(
    rewards: ArrayLike,
    ref_logps: ArrayLike | None,
    beta: float | ArrayLike,
    log_partition: float | ArrayLike,
    nonfinite: Nonfinite,
    /,
) -> FloatArray: ...
def fused_linear_workspace(head: tuple[Any, ...], /) -> tuple[int, int]: ...
def fused_linear_logps(head: tuple[Any, ...], by_products: bool, /) -> tuple[Any, ...]: ...
def fused_linear_logps_backward(
    head: tuple[Any, ...], grad_logps: ArrayLike, log_normalizers: ArrayLike | None, /
) -> tuple[Any, Any, Any]: ...
def fused_linear_vocab_shard(head: tuple[Any, ...], /) -> tuple[_Doubles, _Doubles, _Doubles]: ...
def fused_linear_dpo_loss(head: tuple[Any, ...], /, *dpo_loss: Any) -> tuple[Any, Any, Any, Any]: ...
def fused_linear_unpaired_loss(
    head: tuple[Any, ...], /, *unpaired_loss: Any
) -> tuple[Any, Any, Any, Any]: ...
def fused_linear_plackett_luce_loss(
    head: tuple[Any, ...], /, *plackett_luce_loss: Any
) -> tuple[Any, Any, Any, Any]: ...
def use_blas(path: str | os.PathLike[str] | None, /) -> None: ...
def blas_info() -> tuple[str, str, int, int] | None: ...
