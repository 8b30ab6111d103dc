"""Direct Preference Optimization: losses over pairs of responses, one preferred."""

import functools
import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar, cast, get_args

from . import _core
from ._typing import ArrayLike, FloatArray, Nonfinite, Reduction, as_mask

LossType: TypeAlias = Literal[
    "sigmoid",
    "robust",
    "hinge",
    "ipo",
    "exo_pair",
    "nca_pair",
    "bco_pair",
    "sppo_hard",
    "aot",
    "aot_unpaired",
    "apo_zero",
    "apo_down",
    "discopop",
    "sigmoid_norm",
    "sft",
    "ipo_norm",
    "rpo_bwd_kl",
    "rpo_fwd_kl",
    "rpo_sq",
    "rao_kupper",
    "davidson",
    "alphapo",
    "odds_ratio",
    "slic",
]
FDivergence: TypeAlias = Literal["reverse_kl", "forward_kl", "js_divergence", "alpha_divergence"]

# As swiftdpo_loss_type and swiftdpo_f_divergence count.
LOSS_TYPES = {name: number for number, name in enumerate(get_args(LossType))}
F_DIVERGENCES = {name: number for number, name in enumerate(get_args(FDivergence))}


class PairMetrics(NamedTuple):
    """Sums and counts over pairs: add those of micro-batches or processes, then divide.

    >>> a, b = PairMetrics(num_pairs=2, num_correct=1), PairMetrics(num_pairs=2, num_correct=2)
    >>> (a + b).accuracy
    0.75
    """

    num_pairs: int = 0
    """Number of pairs."""
    num_correct: int = 0
    """Pairs whose log-ratio is larger for the chosen response."""
    num_tied: int = 0
    """Pairs with equal log-ratios, as at the first step: neither right nor wrong."""
    losses: float = 0.0
    chosen_rewards: float = 0.0
    rejected_rewards: float = 0.0
    chosen_logps: float = 0.0
    rejected_logps: float = 0.0
    gradient_weights: float = 0.0
    chosen_kl_k1: float = 0.0
    """Log-ratios a; with responses drawn from the policy, the estimate k1 of KL(pi || ref)."""
    chosen_kl_k2: float = 0.0
    """a**2 / 2"""
    chosen_kl_k3: float = 0.0
    """exp(-a) - 1 + a, never negative"""
    rejected_kl_k1: float = 0.0
    rejected_kl_k2: float = 0.0
    rejected_kl_k3: float = 0.0

    def __add__(self, other: object) -> "PairMetrics":
        """The sums of both."""
        if not isinstance(other, PairMetrics):
            return NotImplemented
        return PairMetrics._make(x + y for x, y in zip(self, other, strict=True))

    def mean(self, field: str) -> float:
        """A field divided by the number of pairs; NaN without pairs."""
        return float(getattr(self, field)) / self.num_pairs if self.num_pairs else math.nan

    @property
    def accuracy(self) -> float:
        """The share of pairs that are right, a tie counting as half a pair; NaN without pairs."""
        return (self.num_correct + 0.5 * self.num_tied) / self.num_pairs if self.num_pairs else math.nan

    @property
    def reward_margin(self) -> float:
        """The mean difference of rewards."""
        return self.mean("chosen_rewards") - self.mean("rejected_rewards")


class DPOLoss(NamedTuple):
    """What `dpo_loss` returns. Arrays have the shape and dtype of `policy_chosen_logps`.

    Gradients are those of `loss`; with ``reduction="none"`` of the sum of the losses.
    """

    loss: float | FloatArray
    """The reduced loss; with ``reduction="none"`` the array `losses`."""
    losses: FloatArray
    """Loss of each pair, its weight included, before reduction."""
    grad_policy_chosen_logps: FloatArray
    """d loss / d log pi(y_w|x)."""
    grad_policy_rejected_logps: FloatArray
    """d loss / d log pi(y_l|x)."""
    chosen_rewards: FloatArray
    """beta * (log pi(y_w|x) - log ref(y_w|x)), whatever the loss."""
    rejected_rewards: FloatArray
    """beta * (log pi(y_l|x) - log ref(y_l|x))."""
    gradient_weights: FloatArray
    """sigma(-z) of the first loss: near 0 where the policy is right and sure, near 1 where wrong."""
    grad_ref_chosen_logps: FloatArray | None = None
    """d loss / d log ref(y_w|x). This field and those below are None without ``more=True``."""
    grad_ref_rejected_logps: FloatArray | None = None
    """d loss / d log ref(y_l|x)."""
    grad_beta: FloatArray | None = None
    """d loss / d beta of each pair; where all share one beta, the sum is its gradient."""
    grad_margin: FloatArray | None = None
    """d loss / d margin of each pair."""
    grad_sft_logps: FloatArray | None = None
    """d loss / d sft_logps; 0 where they are not given."""
    curvatures: FloatArray | None = None
    """d^2 loss / dz^2 of each pair, u + v held."""
    grad_tie_strength: float | None = None
    """d loss / d tie_strength."""
    metrics: PairMetrics | None = None
    """Sums and counts that merge over batches."""


def with_named_metrics(result: DPOLoss) -> DPOLoss:
    """The extension's results, whose metrics are a plain tuple."""
    return result._replace(metrics=PairMetrics._make(result.metrics))  # type: ignore[arg-type]


def mixture(
    loss_type: LossType | Sequence[LossType],
    loss_weights: Sequence[float] | None,
    f_divergence_type: FDivergence,
    reference_free: bool,
    f_alpha_divergence_coef: float,
    discopop_tau: float,
    tie_strength: float,
    reward_scale: float,
    alphapo_alpha: float,
    reward_gaps: ArrayLike | None,
    sft_logps: ArrayLike | None,
    chosen_lengths: ArrayLike | None,
    rejected_lengths: ArrayLike | None,
    sft_lengths: ArrayLike | None,
    ties: ArrayLike | None,
    more: bool,
) -> tuple[Any, ...]:
    """What a call asks beyond plain DPO, as the extension takes it."""
    if not isinstance(loss_type, str | Sequence):
        raise TypeError(f"loss_type is a {type(loss_type).__name__}; expected the name of a loss, or several")
    names = (loss_type,) if isinstance(loss_type, str) else tuple(loss_type)
    if not names:
        raise ValueError("loss_type is empty; expected at least one loss")
    for name in names:
        if name not in LOSS_TYPES:
            raise ValueError(f"loss_type is {name!r}; expected one of {', '.join(map(repr, LOSS_TYPES))}")
    if f_divergence_type not in F_DIVERGENCES:
        raise ValueError(
            f"f_divergence_type is {f_divergence_type!r}; "
            f"expected one of {', '.join(map(repr, F_DIVERGENCES))}"
        )
    return (
        tuple(LOSS_TYPES[name] for name in names),
        None if loss_weights is None else tuple(loss_weights),
        F_DIVERGENCES[f_divergence_type],
        bool(reference_free),
        f_alpha_divergence_coef,
        discopop_tau,
        tie_strength,
        reward_scale,
        alphapo_alpha,
        reward_gaps,
        sft_logps,
        chosen_lengths,
        rejected_lengths,
        sft_lengths,
        None if ties is None else as_mask(ties, "ties"),
        more,
    )


_Function = TypeVar("_Function", bound=Callable[..., Any])


def _shortened(function: _Function) -> _Function:
    """The same function, of which plain calls go to the extension at once."""
    parameters = inspect.signature(function).parameters
    names = ("beta", "margin", "weights", "soft_labels", "label_smoothing", "reduction", "nonfinite")
    defaults = (*(parameters[name].default for name in names), None, DPOLoss)
    short = _core.shortened(function, names, defaults)
    functools.update_wrapper(short, function)
    return cast(_Function, short)


@_shortened
def dpo_loss(
    policy_chosen_logps: ArrayLike,
    policy_rejected_logps: ArrayLike,
    ref_chosen_logps: ArrayLike | None,
    ref_rejected_logps: ArrayLike | None,
    beta: float | ArrayLike = 0.1,
    loss_type: LossType | Sequence[LossType] = "sigmoid",
    loss_weights: Sequence[float] | None = None,
    label_smoothing: float = 0.0,
    f_divergence_type: FDivergence = "reverse_kl",
    f_alpha_divergence_coef: float = 0.5,
    discopop_tau: float = 0.05,
    margin: float | ArrayLike | None = None,
    weights: ArrayLike | None = None,
    chosen_lengths: ArrayLike | None = None,
    rejected_lengths: ArrayLike | None = None,
    reduction: Reduction = "mean",
    *,
    soft_labels: ArrayLike | None = None,
    ties: ArrayLike | None = None,
    tie_strength: float = 2.0,
    reward_gaps: ArrayLike | None = None,
    reward_scale: float = 1.0,
    sft_logps: ArrayLike | None = None,
    sft_lengths: ArrayLike | None = None,
    alphapo_alpha: float = 0.0,
    reference_free: bool = False,
    nonfinite: Nonfinite = "error",
    more: bool = False,
) -> DPOLoss:
    """Loss of a batch of preference pairs, with its gradient.

    With a = log pi(y_w) - log ref(y_w), b = log pi(y_l) - log ref(y_l), z = beta (a - b) - margin,
    u = beta a - margin / 2 and v = beta b + margin / 2, so that z = u - v, and by default::

        loss = - p log sigma(z) - (1 - p) log sigma(-z)          d loss / dz = sigma(z) - p

    where p is the probability that the chosen response is the better one: 1 - `label_smoothing`, or the
    pair's own soft label. p = 1 is DPO [1]_, p < 1 is cDPO [2]_. `loss_type` names others (see Notes), or
    several, whose sum weighted by `loss_weights` is the loss.

    Parameters
    ----------
    policy_chosen_logps, policy_rejected_logps : (B,) float32 or float64
        log pi(y|x) in nats, summed over the response's tokens, of the preferred response y_w and of the
        other, y_l. All floating-point arrays of one call share one dtype. Contiguous arrays and CPU tensors
        are read where they lie; lists become float64. Scalars are one pair: results then have shape ().
    ref_chosen_logps, ref_rejected_logps : (B,) or None
        The same under the frozen reference. None for both: reference-free, a = log pi(y_w), b = log pi(y_l).
    beta : float or (B,)
        Strength of the KL regularisation, above 0; one for the batch or one for each pair.
    loss_type : str or sequence of str
        The loss by name, or several.
    loss_weights : sequence of float, optional
        Factors, at least 0, of the losses. None: 1 for each.
    label_smoothing : float
        Probability that a label is flipped, in [0, 0.5). "robust" takes it as the known rate of flips.
    f_divergence_type : str
        What stands for the log-ratio x in z [3]_: "reverse_kl": x, "forward_kl": 1 - exp(-x),
        "js_divergence": log(2 sigma(x)), "alpha_divergence": (exp((c - 1) x) - 1) / (c - 1) with
        c = `f_alpha_divergence_coef`. Losses that are no function of z take the first alone.
    f_alpha_divergence_coef : float
        c above.
    discopop_tau : float
        Temperature of "discopop", above 0.
    margin : float or (B,), optional
        Subtracted from z, in nats.
    weights : (B,), optional
        Factor, at least 0, of each pair's loss. The mean still divides by B.
    chosen_lengths, rejected_lengths : (B,) int64, optional
        Tokens of each response, for "sft", "sigmoid_norm", "ipo_norm", "alphapo" and "odds_ratio".
    reduction : "mean", "sum" or "none"
        What `loss` is. Gradients are those of `loss`; for "none", of the sum.
    soft_labels : (B,), optional
        p of each pair, in [0, 1], instead of `label_smoothing`.
    ties : (B,) bool, optional
        Pairs of which neither response is better, for "rao_kupper" and "davidson".
    tie_strength : float
        nu of these two: above 1 for "rao_kupper", above 0 for "davidson".
    reward_gaps : (B,), optional
        Reward of y_w minus reward of y_l, for the "rpo_" losses.
    reward_scale : float
        Factor of `reward_gaps`.
    sft_logps, sft_lengths : (B,), optional
        log pi and tokens of a further response to each prompt, which "sft" is about instead of y_w.
    alphapo_alpha : float
        alpha of "alphapo".
    reference_free : bool
        Leave the reference out, even where it is given.
    nonfinite : "error" or "propagate"
        Whether NaN or an infinity in a log-probability is an error, or goes through to the results that
        depend on it.
    more : bool
        Whether to compute all fields of `DPOLoss`.

    Returns
    -------
    DPOLoss

    Raises
    ------
    ValueError, TypeError
        Naming the argument, the index and the rule.

    Notes
    -----
    Computed in double precision whatever the dtype; plain DPO of float32 in single precision, from margins in
    double, within 4 units in the last place. No finite input gives NaN: a loss or gradient beyond the dtype's
    range is an infinity of the right sign. An empty batch has loss 0.

    The losses, with s = sigma and sp(x) = log(1 + exp(x)), for p = 1 where p is not in them; for a label in
    doubt, the expected value p L(z, u, v) + (1 - p) L(-z, v, u):

    ============== ============================================== ============================== ============
    loss_type      loss                                           d loss / dz, or / du and / dv  range
    ============== ============================================== ============================== ============
    sigmoid        p sp(-z) + (1 - p) sp(z) [1]_ [2]_             s(z) - p                       >= 0, convex
    robust         ((1 - e) sp(-z) - e sp(z)) / (1 - 2 e),        s(z) - (1 - e) / (1 - 2 e)     unbounded
                   e = label_smoothing [4]_                                                      for e > 0
    hinge          max(0, 1 - z) [5]_ [6]_                        -1 for z < 1, else 0           >= 0, convex
    ipo            ((z - 1/2) / beta)**2 [7]_                     2 (z - 1/2) / beta**2          >= 0, convex
    ipo_norm       ipo with a, b per token (TRL's ipo)            the same                       the same
    exo_pair       KL(s(z) || p), 0 < p < 1 [8]_                  s'(z) (z - logit(p))           bounded
    nca_pair       sp(-u) + sp(u)/2 + sp(v)/2 [9]_                3/2 s(u) - 1; s(v)/2           above 0.95
    bco_pair       sp(-u) + sp(v) [10]_                           -s(-u); s(v)                   >= 0, convex
    sppo_hard      ((u - 1/2)**2 + (v + 1/2)**2) / beta**2 [11]_  2 (u - 1/2) / beta**2;         >= 0, convex
                                                                  2 (v + 1/2) / beta**2
    aot            sigmoid of quantiles: the policy's margin of   as sigmoid                     [0, inf)
                   rank k against the reference's [12]_
    aot_unpaired   sigmoid: a of rank k against b of rank k [12]_ as sigmoid                     [0, inf)
    apo_zero       s(-u) + s(v) [13]_                             -s'(u); s'(v)                  [0, 2]
    apo_down       s(u) + s(-z) [13]_                             s'(u) - s'(z); s'(z)           [0, 2]
    discopop       (1 - m) sp(-z) + m exp(-z),                    see swiftdpo.h                 [0, inf)
                   m = s(z / discopop_tau) [14]_
    sigmoid_norm   sigmoid with a, b per token                    as sigmoid                     as sigmoid
    sft            negative log-likelihood of y_w, mean over the  -1 / tokens, by log pi(y_w)    [0, inf)
                   batch's tokens
    rpo_bwd_kl     KL(s(t) || s(z)), t = reward_scale             s(z) - s(t)                    >= 0, convex
                   reward_gap [15]_
    rpo_fwd_kl     KL(s(z) || s(t)) [15]_                         s'(z) (z - t)                  [0, inf)
    rpo_sq         (z - t)**2 [15]_                               2 (z - t)                      >= 0, convex
    rao_kupper     sp(A - z), A = log(tie_strength); tied:        -s(A - z); tied:               >= 0, convex
                   sp(A - z) + sp(A + z) - log(nu**2 - 1) [16]_   s(A + z) - s(A - z)
    davidson       log E, E = 1 + 2 nu exp(-z/2) + exp(-z); tied: -(exp(-z) + nu exp(-z/2)) / E; >= 0, convex
                   log E + z/2 - log(2 nu) [16]_                  tied: 1/2 more
    alphapo        sigmoid of (1 - exp(-alpha x)) / alpha, x      as sigmoid, by the score       as sigmoid
                   being a log-ratio per token [17]_
    odds_ratio     beta sp(-z), z a difference of log-odds of     -beta s(-z)                    [0, inf)
                   the mean log-probabilities, no beta [18]_
    slic           max(0, -z) [5]_                                -1 for z < 0, else 0           >= 0, convex
    ============== ============================================== ============================== ============

    aot and aot_unpaired couple the pairs of a batch, and with them its micro-batches; among equal margins the
    order of the pairs decides. Flipping a label flips the reward gap as well: soft labels make no difference
    to the rpo losses.

    References
    ----------
    .. [1] Rafailov et al., "Direct Preference Optimization: Your Language Model is Secretly a Reward Model",
       2023, arXiv:2305.18290.
    .. [2] Mitchell, "A note on DPO with noisy preferences and relationship to IPO", 2023.
    .. [3] Wang et al., "Beyond Reverse KL", 2023, arXiv:2309.16240.
    .. [4] Chowdhury et al., "Provably Robust DPO", 2024, arXiv:2403.00409.
    .. [5] Zhao et al., "SLiC-HF", 2023, arXiv:2305.10425.
    .. [6] Liu et al., "Statistical Rejection Sampling Improves Preference Optimization", 2023,
       arXiv:2309.06657.
    .. [7] Azar et al., "A General Theoretical Paradigm to Understand Learning from Human Preferences", 2023,
       arXiv:2310.12036.
    .. [8] Ji et al., "Towards Efficient Exact Optimization of Language Model Alignment", 2024,
       arXiv:2402.00856.
    .. [9] Chen et al., "Noise Contrastive Alignment of Language Models with Explicit Rewards", 2024,
       arXiv:2402.05369.
    .. [10] Jung et al., "Binary Classifier Optimization for Large Language Model Alignment", 2024,
       arXiv:2404.04656.
    .. [11] Wu et al., "Self-Play Preference Optimization", 2024, arXiv:2405.00675.
    .. [12] Melnyk et al., "Distributional Preference Alignment of LLMs via Optimal Transport", 2024,
       arXiv:2406.05882.
    .. [13] D'Oosterlinck et al., "Anchored Preference Optimization", 2024, arXiv:2408.06266.
    .. [14] Lu et al., "Discovering Preference Optimization Algorithms with and for LLMs", 2024,
       arXiv:2406.08414.
    .. [15] Sun et al., "Reward-aware Preference Optimization", 2025, arXiv:2502.00203.
    .. [16] Chen et al., "On Extending DPO to Accommodate Ties", 2024, arXiv:2409.17431; Rao and Kupper, 1967;
       Davidson, 1970.
    .. [17] Gupta et al., "AlphaPO", 2025, arXiv:2501.03884.
    .. [18] Hong et al., "ORPO: Monolithic Preference Optimization without Reference Model", 2024,
       arXiv:2403.07691.

    Examples
    --------
    >>> import swiftdpo
    >>> out = swiftdpo.dpo_loss([-10.0, -12.0], [-11.0, -9.0], [-10.5, -11.0], [-10.5, -10.0], beta=0.5)
    >>> round(out.loss, 4)
    0.8937
    >>> out.grad_policy_chosen_logps.round(4)
    array([-0.0944, -0.1828])
    """
    plain = (
        loss_type == "sigmoid"
        and loss_weights is None
        and f_divergence_type == "reverse_kl"
        and not reference_free
        and not more
    )
    result: DPOLoss = _core.dpo_loss(
        policy_chosen_logps,
        policy_rejected_logps,
        ref_chosen_logps,
        ref_rejected_logps,
        beta,
        margin,
        weights,
        soft_labels,
        label_smoothing,
        reduction,
        nonfinite,
        None
        if plain
        else mixture(
            loss_type,
            loss_weights,
            f_divergence_type,
            reference_free,
            f_alpha_divergence_coef,
            discopop_tau,
            tie_strength,
            reward_scale,
            alphapo_alpha,
            reward_gaps,
            sft_logps,
            chosen_lengths,
            rejected_lengths,
            sft_lengths,
            ties,
            more,
        ),
        DPOLoss,
    )
    return with_named_metrics(result) if more else result
