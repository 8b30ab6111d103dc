"""What weighs or bounds the tokens of responses before they are summed, for autograd."""

from typing import Any

import torch
from torch import Tensor

from ..tokens import humanline_clamp as _humanline_clamp
from ..tokens import wpo_weights as _wpo_weights
from ._backward import apply, differentiable_once


def wpo_weights(token_logps: Tensor, num_tokens: Tensor, log_sum_squares: Tensor | None = None) -> Tensor:
    """`swiftdpo.wpo_weights`: (B,) weights of responses, which take no part in gradients, as doubles."""
    squares = None if log_sum_squares is None else log_sum_squares.detach().double().cpu().numpy()
    weights = _wpo_weights(
        token_logps.detach().double().cpu().numpy(), num_tokens.detach().cpu().numpy(), squares
    )
    return torch.from_numpy(weights).to(token_logps.device)


class _HumanlineClamp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, policy: Tensor, reference: Tensor, low: float, high: float) -> Tensor:
        clamped = _humanline_clamp(
            policy.detach().double().cpu().numpy(), reference.detach().double().cpu().numpy(), low, high
        )
        ctx.passes = torch.from_numpy(clamped.passes).to(policy.device)
        ctx.dtypes = policy.dtype, reference.dtype
        return torch.from_numpy(clamped.log_ratios).to(policy.device)

    @staticmethod
    def backward(ctx: Any, grad_log_ratios: Tensor) -> Any:
        by_token = ctx.passes * grad_log_ratios.unsqueeze(-1)
        by_policy, by_reference = ctx.dtypes
        return *differentiable_once([by_token.to(by_policy), -by_token.to(by_reference)]), None, None


@torch.compiler.disable  # type: ignore[untyped-decorator]
def humanline_clamp(policy_token_logps: Tensor, ref_token_logps: Tensor, low: float, high: float) -> Tensor:
    """`swiftdpo.humanline_clamp`: (B,) sums of log-ratios of tokens held to [low, high], differentiable.

    They take the place of log pi - log ref in any loss: pass them as log-probabilities of the policy, with no
    reference. torch.compile leaves this function out of its graphs.
    """
    result: Tensor = apply(_HumanlineClamp, policy_token_logps, ref_token_logps, low, high)
    return result


__all__ = ["humanline_clamp", "wpo_weights"]
