"""Losses over pairs that need no reference model: CPO, SimPO, AlphaPO, ORPO, SLiC and TPO.

Each is a mixture of losses that `dpo_loss` has, under the names and with the parameters of its paper.
"""

from collections.abc import Callable
from typing import Any, Literal

from ._typing import ArrayLike
from .dpo import DPOLoss, dpo_loss


def _mixture(
    chosen: ArrayLike,
    rejected: ArrayLike,
    beta: float | ArrayLike,
    losses: dict[Any, float],
    options: dict[str, Any],
) -> DPOLoss:
    """The losses whose weight is not 0, weighted; by `dpo_loss`, or another framework's function like it."""
    kept = {name: weight for name, weight in losses.items() if weight != 0}
    head: Callable[..., DPOLoss] = options.pop("_head", dpo_loss)
    return head(
        chosen,
        rejected,
        None,
        None,
        beta,
        loss_type=tuple(kept),
        loss_weights=tuple(kept.values()),
        **options,
    )


def cpo_loss(
    policy_chosen_logps: ArrayLike,
    policy_rejected_logps: ArrayLike,
    beta: float | ArrayLike = 0.1,
    *,
    loss_type: Literal["sigmoid", "hinge", "ipo", "ipo_norm"] = "sigmoid",
    cpo_alpha: float = 1.0,
    chosen_lengths: ArrayLike | None = None,
    rejected_lengths: ArrayLike | None = None,
    **options: Any,
) -> DPOLoss:
    """Contrastive preference optimization [1]_: DPO without its reference, and a likelihood term.

    With z = beta (log pi(y_w) - log pi(y_l))::

        loss = -log sigma(z) + cpo_alpha * (mean negative log-likelihood of the chosen tokens)

    or, by `loss_type`, another of `dpo_loss`'s losses of z in the first place. d loss / dz = -sigma(-z); the
    second term adds -cpo_alpha / tokens to the gradient by each chosen log-probability. In [0, inf).
    `chosen_lengths` are needed unless cpo_alpha = 0. `options` are further arguments of `dpo_loss`, such as
    label_smoothing, margin, weights or reduction.

    References
    ----------
    .. [1] Xu et al., "Contrastive Preference Optimization", 2024, arXiv:2401.08417.
    """
    options |= {"chosen_lengths": chosen_lengths, "rejected_lengths": rejected_lengths}
    return _mixture(
        policy_chosen_logps, policy_rejected_logps, beta, {loss_type: 1.0, "sft": cpo_alpha}, options
    )


def simpo_loss(
    policy_chosen_logps: ArrayLike,
    policy_rejected_logps: ArrayLike,
    chosen_lengths: ArrayLike,
    rejected_lengths: ArrayLike,
    beta: float | ArrayLike = 2.0,
    gamma: float | ArrayLike = 1.0,
    *,
    sft_weight: float = 0.0,
    **options: Any,
) -> DPOLoss:
    """SimPO [1]_: mean log-probabilities instead of log-ratios, and a target margin.

    ::

        z = beta (log pi(y_w) / n_w - log pi(y_l) / n_l) - gamma          loss = -log sigma(z)

    plus `sft_weight` times the token mean of the chosen negative log-likelihood. d loss / dz = -sigma(-z).
    In [0, inf). `gamma` is gamma itself, where some libraries take its ratio to beta. `options` are further
    arguments of `dpo_loss`. The rewards returned are beta log pi(y), not divided by lengths.

    References
    ----------
    .. [1] Meng et al., "SimPO: Simple Preference Optimization with a Reference-Free Reward", 2024,
       arXiv:2405.14734.
    """
    options |= {"chosen_lengths": chosen_lengths, "rejected_lengths": rejected_lengths, "margin": gamma}
    losses = {"sigmoid_norm": 1.0, "sft": sft_weight}
    return _mixture(policy_chosen_logps, policy_rejected_logps, beta, losses, options)


def alphapo_loss(
    policy_chosen_logps: ArrayLike,
    policy_rejected_logps: ArrayLike,
    chosen_lengths: ArrayLike,
    rejected_lengths: ArrayLike,
    beta: float | ArrayLike = 2.0,
    gamma: float | ArrayLike = 1.0,
    alpha: float = 0.25,
    *,
    sft_weight: float = 0.0,
    **options: Any,
) -> DPOLoss:
    """AlphaPO [1]_: SimPO with another shape of reward.

    ::

        R(x) = (1 - exp(-alpha x)) / alpha,   x = log pi(y) / n           z = beta (R(x_w) - R(x_l)) - gamma

    and loss = -log sigma(z); dR/dx = exp(-alpha x). alpha = 0 is SimPO. Rewards are computed from exponents,
    never from probabilities, which would underflow: z is infinite, with the right sign, only where it exceeds
    the largest double.

    References
    ----------
    .. [1] Gupta et al., "AlphaPO: Reward Shape Matters for LLM Alignment", 2025, arXiv:2501.03884.
    """
    options |= {"chosen_lengths": chosen_lengths, "rejected_lengths": rejected_lengths, "margin": gamma}
    options["alphapo_alpha"] = alpha
    losses = {"alphapo": 1.0, "sft": sft_weight}
    return _mixture(policy_chosen_logps, policy_rejected_logps, beta, losses, options)


def orpo_loss(
    policy_chosen_logps: ArrayLike,
    policy_rejected_logps: ArrayLike,
    chosen_lengths: ArrayLike,
    rejected_lengths: ArrayLike,
    beta: float | ArrayLike = 0.1,
    *,
    sft_weight: float = 1.0,
    **options: Any,
) -> DPOLoss:
    """ORPO [1]_: likelihood, and an odds ratio of mean log-probabilities x = log pi(y) / n.

    ::

        z = log odds(x_w) - log odds(x_l),   log odds(x) = x - log(1 - exp(x))
        loss = sft_weight * (mean negative log-likelihood) - beta log sigma(z)

    d loss / dx_w = -beta sigma(-z) / (1 - exp(x_w)), d loss / dx_l = beta sigma(-z) / (1 - exp(x_l)), which
    diverges as x_l nears 0. log(1 - exp(x)) keeps all its digits near x = 0; where x is not below -2**-1018
    that stands for it, so that nothing is NaN.

    The likelihood is that of the chosen response's tokens; give `sft_logps` and `sft_lengths` for another,
    such as prompt and response together, which TRL takes.

    References
    ----------
    .. [1] Hong et al., "ORPO: Monolithic Preference Optimization without Reference Model", 2024,
       arXiv:2403.07691.
    """
    options |= {"chosen_lengths": chosen_lengths, "rejected_lengths": rejected_lengths}
    losses = {"odds_ratio": 1.0, "sft": sft_weight}
    return _mixture(policy_chosen_logps, policy_rejected_logps, beta, losses, options)


def slic_loss(
    policy_chosen_logps: ArrayLike,
    policy_rejected_logps: ArrayLike,
    margin: float | ArrayLike = 1.0,
    *,
    sft_weight: float = 0.0,
    **options: Any,
) -> DPOLoss:
    """SLiC-HF [1]_: max(0, margin - log pi(y_w) + log pi(y_l)), and a likelihood term.

    The gradient is -1 by log pi(y_w) and 1 by log pi(y_l) inside the margin, else 0. In [0, inf). With
    `sft_weight` above 0, `chosen_lengths` are needed (or `sft_logps` and `sft_lengths`, of another response).

    References
    ----------
    .. [1] Zhao et al., "SLiC-HF: Sequence Likelihood Calibration with Human Feedback", 2023,
       arXiv:2305.10425.
    """
    options["margin"] = margin
    return _mixture(
        policy_chosen_logps, policy_rejected_logps, 1.0, {"slic": 1.0, "sft": sft_weight}, options
    )


def tpo_loss(
    policy_chosen_logps: ArrayLike,
    policy_rejected_logps: ArrayLike,
    gold_logps: ArrayLike,
    gold_lengths: ArrayLike,
    beta: float | ArrayLike = 0.01,
    *,
    loss_type: Literal["sigmoid", "hinge", "ipo", "tpo-l"] = "sigmoid",
    tpo_alpha: float = 1.0,
    gamma: float | ArrayLike = 0.5,
    **options: Any,
) -> DPOLoss:
    """Triple preference optimization [1]_: a loss over a pair, and the likelihood of a third, gold response.

    ::

        loss = L(beta (log pi(y_w) - log pi(y_l))) + tpo_alpha * (mean negative log-likelihood of gold tokens)

    L is -log sigma(z), or another by `loss_type`; "tpo-l" is the length-normalised one with the target margin
    gamma, and needs chosen_lengths and rejected_lengths. The gradient by `gold_logps` is
    `grad_sft_logps`, with ``more=True``: -tpo_alpha / tokens.

    References
    ----------
    .. [1] Saeidi et al., "Triple Preference Optimization", 2024, arXiv:2405.16681.
    """
    options |= {"sft_logps": gold_logps, "sft_lengths": gold_lengths}
    name = loss_type
    if loss_type == "tpo-l":
        name, options["margin"] = "sigmoid_norm", gamma  # type: ignore[assignment]
    return _mixture(policy_chosen_logps, policy_rejected_logps, beta, {name: 1.0, "sft": tpo_alpha}, options)
