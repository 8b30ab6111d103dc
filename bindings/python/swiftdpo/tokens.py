"""What weighs or bounds the tokens of responses before they are summed."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from . import _core
from ._typing import ArrayLike


class HumanlineClamp(NamedTuple):
    """What `humanline_clamp` returns."""

    log_ratios: npt.NDArray[np.float64]
    """(B,): sums of the clamped log-ratios, which stand for log pi - log ref of a response."""
    passes: npt.NDArray[np.float64]
    """(B, L): 1 where the gradient passes, 0 where a token is clamped."""


def wpo_weights(
    token_logps: ArrayLike, num_tokens: ArrayLike, log_sum_squares: ArrayLike | None = None
) -> npt.NDArray[np.float64]:
    """WPO's weight of each response [1]_: how near it is to what the policy would write.

    ::

        weight = exp(mean over tokens of (log pi(y_t) - log sum over v of pi(v)**2))

    The weight of a pair is the product of its two, for `dpo_loss`'s `weights`; it takes no part in the
    gradient, and may exceed 1. A response without tokens has weight 1.

    Parameters
    ----------
    token_logps, log_sum_squares : (B, L) float64 or float32
        Of each token, 0 where it does not count, as `sequence_logps` gives them. None for the latter: 0.
    num_tokens : (B,) int64
        How many tokens count.

    References
    ----------
    .. [1] Zhou et al., "WPO: Enhancing RLHF with Weighted Preference Optimization", 2024, arXiv:2406.11827.

    Examples
    --------
    >>> import swiftdpo
    >>> swiftdpo.wpo_weights([[-1.0, -3.0, 0.0]], [2]).round(4)
    array([0.1353])
    """
    return _core.wpo_weights(token_logps, log_sum_squares, num_tokens)


def humanline_clamp(
    policy_token_logps: ArrayLike, ref_token_logps: ArrayLike, low: float, high: float
) -> HumanlineClamp:
    """Log-ratios of tokens, held to [low, high] before they are summed (Liu et al., 2025, "Humanline").

    `log_ratios` take the place of log pi - log ref in any loss: pass them as policy log-probabilities with no
    reference. The gradient by a token's log pi is that by the response's times `passes`.

    Parameters
    ----------
    policy_token_logps, ref_token_logps : (B, L) float64 or float32
        log pi and log ref of each token, 0 where it does not count.
    low, high : float
        Bounds in nats, low <= 0 <= high.
    """
    return HumanlineClamp(*_core.humanline_clamp(policy_token_logps, ref_token_logps, low, high))
