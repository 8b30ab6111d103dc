"""The optimal policy for a reward over listed responses, and the reward that a policy is optimal for."""

from typing import NamedTuple

from . import _core
from ._typing import ArrayLike, FloatArray, Nonfinite, RowValue


class OptimalPolicy(NamedTuple):
    """What `optimal_policy` returns. What is one number for each prompt is float64."""

    logps: FloatArray
    """log pi*, in the shape and dtype of `rewards`."""
    log_partition: RowValue
    """log Z."""
    objective: RowValue
    """J(pi*) = beta log Z."""
    expected_reward: RowValue
    """E[r] under pi*."""
    kl: RowValue
    """KL(pi* || ref)."""
    grad_rewards: FloatArray
    """d log Z / d r = pi* / beta; so beta times it is the gradient of `objective`."""
    grad_beta: RowValue
    """d log Z / d beta = - E[r] / beta^2."""
    policy_objective: RowValue | None
    """J(policy) = E[r] - beta KL(policy || ref), if `policy_logps` were given."""
    policy_gap: RowValue | None
    """beta KL(policy || pi*), which J(pi*) - J(policy) equals; never negative."""


def optimal_policy(
    ref_logps: ArrayLike | None,
    rewards: ArrayLike,
    beta: float | ArrayLike,
    *,
    policy_logps: ArrayLike | None = None,
    nonfinite: Nonfinite = "error",
) -> OptimalPolicy:
    """The policy that maximises J(pi) = E_pi[r] - beta KL(pi || ref) over listed responses [1]_.

    ::

        pi*(y) = ref(y) exp(r(y) / beta) / Z          Z = sum over y of ref(y) exp(r(y) / beta)
        J(pi*) = beta log Z                           J(pi*) - J(pi) = beta KL(pi || pi*)

    Parameters
    ----------
    ref_logps : (..., N) float32 or float64, or None
        Log-probabilities of the reference; -inf is a response that it cannot give. None: 0 for each. All
        floating-point arrays of one call share one dtype.
    rewards : (..., N)
        The last axis is that of a prompt's responses.
    beta : float or (...)
        Strength of the KL regularisation, above 0; one for all, or one for each prompt.
    policy_logps : (..., N), optional
        Another policy, whose objective is asked for.
    nonfinite : "error" or "propagate"
        Whether NaN or an infinity is an error, or goes through to the results that depend on it.

    Returns
    -------
    OptimalPolicy

    References
    ----------
    .. [1] Rafailov et al., 2023, arXiv:2305.18290, section 4 and appendix A.1.

    Examples
    --------
    >>> import numpy as np, swiftdpo
    >>> out = swiftdpo.optimal_policy(np.log([0.5, 0.25, 0.25]), [1.0, 2.0, 0.0], beta=1.0)
    >>> np.exp(out.logps).round(4), round(float(out.objective), 4)
    (array([0.3932, 0.5344, 0.0723]), 1.2402)
    """
    logps, grad_rewards, *values = _core.optimal_policy(rewards, ref_logps, beta, policy_logps, nonfinite)
    log_partition, objective, expected_reward, kl, *rest = values
    return OptimalPolicy(logps, log_partition, objective, expected_reward, kl, grad_rewards, *rest)


def implicit_rewards(
    policy_logps: ArrayLike,
    ref_logps: ArrayLike | None,
    beta: float | ArrayLike,
    log_partition: float | ArrayLike = 0.0,
    *,
    nonfinite: Nonfinite = "error",
) -> FloatArray:
    """The reward that a policy is optimal for: beta (log pi(y|x) - log ref(y|x)) + beta log Z(x).

    Parameters
    ----------
    policy_logps, ref_logps : (B, N) or (B,), float32 or float64
        Log-probabilities of N responses to each of B prompts, or of one response to each.
        `ref_logps` may be None: 0.
    beta : float or (B,)
        Above 0; one for all, or one for each prompt.
    log_partition : float or (B,)
        log Z(x). The default leaves the term out, which every comparison of responses to one prompt cancels.
    nonfinite : "error" or "propagate"
        Whether NaN or an infinity is an error, or goes through.

    Returns
    -------
    numpy.ndarray
        In the shape and dtype of `policy_logps`, within 1 ulp.
    """
    return _core.implicit_rewards(policy_logps, ref_logps, beta, log_partition, nonfinite)


def policy_from_rewards(
    rewards: ArrayLike,
    ref_logps: ArrayLike | None,
    beta: float | ArrayLike,
    log_partition: float | ArrayLike = 0.0,
    *,
    nonfinite: Nonfinite = "error",
) -> FloatArray:
    """The way back from `implicit_rewards`: log pi(y|x) = log ref(y|x) + r(x, y) / beta - log Z(x).

    With the log Z of `optimal_policy` this is the optimal policy. Arguments are as for `implicit_rewards`.
    """
    return _core.policy_from_rewards(rewards, ref_logps, beta, log_partition, nonfinite)


def preference_probability(
    chosen_rewards: ArrayLike, rejected_rewards: ArrayLike, *, nonfinite: Nonfinite = "error"
) -> FloatArray:
    """P(y_w preferred to y_l) = sigma(r_w - r_l) (Bradley and Terry 1952).

    A constant in both rewards cancels.

    Parameters
    ----------
    chosen_rewards, rejected_rewards : float32 or float64 of one shape
        Rewards, implicit or not.
    nonfinite : "error" or "propagate"
        Whether NaN or an infinity is an error, or goes through.

    Returns
    -------
    numpy.ndarray
        In the shape and dtype of `chosen_rewards`.

    Examples
    --------
    >>> import swiftdpo
    >>> swiftdpo.preference_probability([1.0, 0.0], [0.0, 0.0]).round(4)
    array([0.7311, 0.5   ])
    """
    return _core.preference_probability(chosen_rewards, rejected_rewards, nonfinite)[0]


def log_preference_probability(
    chosen_rewards: ArrayLike, rejected_rewards: ArrayLike, *, nonfinite: Nonfinite = "error"
) -> FloatArray:
    """The logarithm of `preference_probability`: finite where the probability is too small for a number."""
    return _core.preference_probability(chosen_rewards, rejected_rewards, nonfinite)[1]
