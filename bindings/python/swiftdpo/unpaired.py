"""KTO and BCO: losses of single responses, each desirable or not."""

import math
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

from . import _core
from ._typing import ArrayLike, FloatArray, Nonfinite, Reduction, as_mask

KTOEstimator: TypeAlias = Literal["global", "batch_means", "clamped_means", "nonzero"]
_ESTIMATORS = {
    name: number for number, name in enumerate(get_args(KTOEstimator))
}  # as swiftdpo_kto_estimator counts
LOSS_TYPES = {"kto": 0, "apo_zero_unpaired": 1, "bco": 2}  # as swiftdpo_unpaired_loss_type counts


class KTOBaseline(NamedTuple):
    """KTO's estimate of KL(pi || ref), as sums over mismatched pairs of prompt and response.

    A tuple of numbers: store it as such, and add those of several processes.

    >>> half, other = KTOBaseline().add([-1.0, -2.0], [-2.0, -2.0]), KTOBaseline().add([-5.0], [-4.0])
    >>> half.value(), (half + other).value()
    (0.5, 0.0)
    """

    num_samples: int = 0
    num_nonzero: int = 0
    num_batches: int = 0
    sum: float = 0.0
    sum_means: float = 0.0
    sum_clamped_means: float = 0.0

    def add(self, policy_kl_logps: ArrayLike, ref_kl_logps: ArrayLike | None) -> "KTOBaseline":
        """This state and a batch of mismatched pairs, given log pi and log ref of their responses."""
        return self + KTOBaseline(*_core.kto_baseline_add(policy_kl_logps, ref_kl_logps))

    def __add__(self, other: object) -> "KTOBaseline":
        """The sums of both."""
        if not isinstance(other, KTOBaseline):
            return NotImplemented
        return KTOBaseline._make(x + y for x, y in zip(self, other, strict=True))

    def value(self, estimator: KTOEstimator = "global") -> float:
        """The estimate in nats, never below 0, and 0 without data.

        - "global": max(0, sum / num_samples), however the data were cut into batches.
        - "batch_means": max(0, mean of the batches' means), as TRL over its processes.
        - "clamped_means": mean of max(0, mean), as NeMo-Aligner over its processes: biased upwards.
        - "nonzero": max(0, sum / number of log-ratios that are not 0), as HALOs.

        A batch is what one call of `add` was given.
        """
        if estimator not in _ESTIMATORS:
            raise ValueError(
                f"estimator is {estimator!r}; expected one of {', '.join(map(repr, _ESTIMATORS))}"
            )
        return _core.kto_baseline_value(self, _ESTIMATORS[estimator])


class BCODelta(NamedTuple):
    """BCO's running mean of rewards over all responses seen in training, of both classes together.

    A tuple of numbers, as `KTOBaseline` is. Add a batch before its loss, and nothing in evaluation.

    >>> BCODelta().add([-1.0, -2.0], [-2.0, -2.0], beta=0.5).value
    0.25
    """

    num_samples: int = 0
    sum: float = 0.0

    def add(self, policy_logps: ArrayLike, ref_logps: ArrayLike | None, beta: float = 0.1) -> "BCODelta":
        """This state and the rewards beta (log pi - log ref) of a batch."""
        return self + BCODelta(*_core.bco_delta_add(policy_logps, ref_logps, beta))

    def __add__(self, other: object) -> "BCODelta":
        """The sums of both."""
        if not isinstance(other, BCODelta):
            return NotImplemented
        return BCODelta(self.num_samples + other.num_samples, self.sum + other.sum)

    @property
    def value(self) -> float:
        """The mean, and 0 without data."""
        return self.sum / self.num_samples if self.num_samples else 0.0


class UnpairedMetrics(NamedTuple):
    """Sums and counts over single responses: add those of micro-batches or processes, then divide."""

    num_desirable: int = 0
    num_undesirable: int = 0
    losses: float = 0.0
    desirable_rewards: float = 0.0
    undesirable_rewards: float = 0.0
    desirable_logps: float = 0.0
    undesirable_logps: float = 0.0

    def __add__(self, other: object) -> "UnpairedMetrics":
        """The sums of both."""
        if not isinstance(other, UnpairedMetrics):
            return NotImplemented
        return UnpairedMetrics._make(x + y for x, y in zip(self, other, strict=True))

    @property
    def reward_margin(self) -> float:
        """Mean reward of desirable responses minus that of the others; NaN where a class is empty."""
        if not self.num_desirable or not self.num_undesirable:
            return math.nan
        return self.desirable_rewards / self.num_desirable - self.undesirable_rewards / self.num_undesirable


class UnpairedLoss(NamedTuple):
    """What `kto_loss` and `bco_loss` return. Arrays have the shape and dtype of `policy_logps`."""

    loss: float | FloatArray
    """The reduced loss; with ``reduction="none"`` the array `losses`."""
    losses: FloatArray
    """Loss of each response, its weights included, before reduction."""
    grad_policy_logps: FloatArray
    """d loss / d log pi(y|x); that by log ref(y|x) is the negative of it."""
    rewards: FloatArray
    """beta * (log pi(y|x) - log ref(y|x))."""
    grad_beta: FloatArray
    """d loss / d beta of each response."""
    curvatures: FloatArray
    """d^2 loss / dx^2 of each response."""
    grad_baseline: float
    """d loss / d kl, or d loss / d delta."""
    metrics: UnpairedMetrics
    """Sums and counts that merge over batches."""


def unpaired_arguments(given: dict[str, Any]) -> tuple[Any, ...]:
    """The arguments of `kto_loss` or `bco_loss` by name, as the extension takes them."""
    if "delta" in given:
        loss_type, delta = "bco", given["delta"]
        baseline = delta.value if isinstance(delta, BCODelta) else delta
    else:
        loss_type, kl = given["loss_type"], given["kl"]
        if loss_type not in ("kto", "apo_zero_unpaired"):
            raise ValueError(f"loss_type is {loss_type!r}; expected 'kto' or 'apo_zero_unpaired'")
        baseline = kl.value() if isinstance(kl, KTOBaseline) else kl
    return (
        given["policy_logps"],
        given["ref_logps"],
        given["beta"],
        given["weights"],
        as_mask(given["desirable"], "desirable"),
        LOSS_TYPES[loss_type],
        given["reduction"],
        given["nonfinite"],
        given["desirable_weight"],
        given["undesirable_weight"],
        baseline,
    )


def _loss(given: dict[str, Any]) -> UnpairedLoss:
    heads, grad_baseline, metrics = _core.unpaired_loss(*unpaired_arguments(given))
    return UnpairedLoss._make((*heads, grad_baseline, UnpairedMetrics._make(metrics)))


def kto_loss(
    policy_logps: ArrayLike,
    ref_logps: ArrayLike | None,
    desirable: ArrayLike,
    beta: float | ArrayLike = 0.1,
    *,
    kl: float | KTOBaseline = 0.0,
    loss_type: Literal["kto", "apo_zero_unpaired"] = "kto",
    desirable_weight: float = 1.0,
    undesirable_weight: float = 1.0,
    weights: ArrayLike | None = None,
    reduction: Reduction = "mean",
    nonfinite: Nonfinite = "error",
) -> UnpairedLoss:
    """Kahneman-Tversky optimization [1]_: a loss of single responses, with its gradient.

    With a = log pi(y) - log ref(y) and x = beta (a - kl)::

        desirable:    desirable_weight   sigma(-x)      d loss / dx = -desirable_weight sigma'(x)
        undesirable:  undesirable_weight sigma(x)       d loss / dx =  undesirable_weight sigma'(x)

    "apo_zero_unpaired" [2]_ is the same with kl = 0.

    Parameters
    ----------
    policy_logps, ref_logps : (B,) float32 or float64
        log pi(y|x) and log ref(y|x) in nats, summed over the response's tokens. None for the latter:
        reference-free.
    desirable : (B,) bool
        The class of each response.
    beta : float or (B,)
        Strength of the KL regularisation, above 0.
    kl : float or KTOBaseline
        Estimate of KL(pi || ref); a state gives its "global" estimate. It has no part in the gradient by the
        policy.
    loss_type : "kto" or "apo_zero_unpaired"
    desirable_weight, undesirable_weight : float
        Factors, at least 0, of the two classes.
    weights : (B,), optional
        Factor, at least 0, of each response's loss.
    reduction : "mean", "sum" or "none"
        What `loss` is: the mean divides by B, all responses of both classes.
    nonfinite : "error" or "propagate"
        What NaN or an infinity in a log-probability is.

    Returns
    -------
    UnpairedLoss

    Notes
    -----
    Each loss is in [0, weight]; far away, on either side, its gradient vanishes. A class without responses
    contributes nothing.

    References
    ----------
    .. [1] Ethayarajh et al., "KTO: Model Alignment as Prospect Theoretic Optimization", 2024,
       arXiv:2402.01306.
    .. [2] D'Oosterlinck et al., "Anchored Preference Optimization", 2024, arXiv:2408.06266.
    """
    return _loss(locals())


def bco_loss(
    policy_logps: ArrayLike,
    ref_logps: ArrayLike | None,
    desirable: ArrayLike,
    beta: float | ArrayLike = 0.1,
    *,
    delta: float | BCODelta = 0.0,
    desirable_weight: float = 1.0,
    undesirable_weight: float = 1.0,
    weights: ArrayLike | None = None,
    reduction: Reduction = "mean",
    nonfinite: Nonfinite = "error",
) -> UnpairedLoss:
    """Binary classifier optimization [1]_: a loss of single responses, with its gradient.

    With x = beta (log pi(y) - log ref(y)) - delta and sp(x) = log(1 + exp(x))::

        desirable:    sp(-x)      d loss / dx = -sigma(-x)
        undesirable:  sp(x)       d loss / dx =  sigma(x)

    Parameters
    ----------
    policy_logps, ref_logps, desirable, beta, desirable_weight, undesirable_weight, reduction, nonfinite
        As for `kto_loss`.
    delta : float or BCODelta
        The running mean of rewards; it has no part in the gradient by the policy.
    weights : (B,), optional
        Factor, at least 0, of each response's loss: 1 for desirable responses and `udm_weights` for the
        others, where the prompts of the two differ.

    Returns
    -------
    UnpairedLoss

    Notes
    -----
    Each loss is in [0, inf), convex in x, and grows like abs(x) on the wrong side.

    References
    ----------
    .. [1] Jung et al., "Binary Classifier Optimization for Large Language Model Alignment", 2024,
       arXiv:2404.04656.
    """
    return _loss(locals())


def udm_weights(probabilities: ArrayLike) -> FloatArray:
    """BCO's weights of undesirable responses: p / (1 - p + 1e-8), clamped to [0.5, 10].

    p, in [0, 1], is the probability that a prompt is from the set of desirable responses, by a classifier of
    yours over prompts (Jung et al., 2024).
    """
    return _core.udm_weights(probabilities)
