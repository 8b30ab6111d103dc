"""Fused losses with the arguments of Liger Kernel's chunked losses, to stand in their place.

They take labels that are shifted already, as Liger's do. What Liger refuses or lacks is here as well: every
loss of `dpo_loss`, label smoothing in each, log-probabilities of the reference in place of its hidden states
(`ref_chosen_logps`, `ref_rejected_logps`), packed sequences (`offsets`). `compiled` and `chunk_size` have no
meaning here, and are taken for the sake of the call.
"""

from typing import Any

import torch
from torch import Tensor, nn

from .dpo import PairLoss, dpo_loss
from .fused import Head, couples, fused_linear_kto_loss, fused_linear_logps


def _logits_sum(hidden: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The sum of all logits, without the logits: (sum of hidden) (sum of weight) + rows * (sum of bias)."""
    with torch.no_grad():
        rows = hidden.reshape(-1, hidden.shape[-1])
        total = rows.sum(0, dtype=torch.float64) @ weight.sum(0, dtype=torch.float64)
        return total if bias is None else total + len(rows) * bias.sum(dtype=torch.float64)


class _Pairs(nn.Module):
    """What the losses over pairs share: (loss, (logps, mean logits, likelihood, rewards))."""

    def __init__(
        self, ignore_index: int, alpha: float, compute_nll_loss: bool, average_log_prob: bool, **options: Any
    ) -> None:
        super().__init__()
        self.ignore_index, self.alpha, self.compute_nll_loss = ignore_index, alpha, compute_nll_loss
        self.average_log_prob, self.options = average_log_prob, options

    def forward(
        self,
        lin_weight: Tensor,
        _input: Tensor,
        target: Tensor,
        bias: Tensor | None = None,
        ref_input: Tensor | None = None,
        ref_weight: Tensor | None = None,
        ref_bias: Tensor | None = None,
        *,
        nll_target: Tensor | None = None,
        ref_chosen_logps: Tensor | None = None,
        ref_rejected_logps: Tensor | None = None,
        offsets: Tensor | None = None,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Loss and by-products, as Liger has them."""
        common: dict[str, Any] = {"ignore_index": self.ignore_index, "shift": False, "offsets": offsets}
        head = Head(_input, lin_weight, target, bias, common)
        half = head.num_sequences // 2
        ref = head.reference(ref_input, ref_weight, ref_bias)

        def averaged(sums: Tensor, num_tokens: Tensor) -> Tensor:
            return sums / num_tokens.clamp(min=1) if self.average_log_prob else sums

        def likelihood(sums: Tensor, num_tokens: Tensor) -> Tensor:
            return -sums[:half].sum() / num_tokens[:half].sum()

        own_nll = self.compute_nll_loss and nll_target is None

        def pairs(sums: Tensor, num_tokens: Tensor) -> PairLoss:
            policy = averaged(sums, num_tokens)
            chosen, rejected = ref_chosen_logps, ref_rejected_logps
            if ref is not None:
                known = averaged(ref, num_tokens)
                chosen, rejected = known[:half], known[half:]
            counted = torch.ones_like(num_tokens) if self.average_log_prob else num_tokens
            lengths: dict[str, Any] = {"chosen_lengths": counted[:half], "rejected_lengths": counted[half:]}
            found = dpo_loss(policy[:half], policy[half:], chosen, rejected, **lengths, **self.options)
            if own_nll:
                found = found._replace(loss=found.loss + self.alpha * likelihood(sums, num_tokens))
            return found

        groups = None if couples(self.options.get("loss_type", "sigmoid")) else torch.arange(half).repeat(2)
        sums, num_tokens = head.logps(groups, lambda *known: pairs(*known).loss)
        logps = averaged(sums, num_tokens)
        loss, chosen_rewards, rejected_rewards = pairs(sums, num_tokens)
        nll = torch.zeros((), dtype=torch.float64)
        if own_nll:
            nll = likelihood(sums, num_tokens)
        elif self.compute_nll_loss and nll_target is not None:
            nll = likelihood(
                *fused_linear_logps(_input[:half], lin_weight, nll_target[:half], bias=bias, **common)
            )
            loss = loss + self.alpha * nll
        rows = target.numel() // 2 if offsets is None else int(offsets[half])
        flat = _input.reshape(-1, _input.shape[-1])
        means = [
            _logits_sum(part, lin_weight, bias) / (len(part) * lin_weight.shape[0])
            for part in (flat[:rows], flat[rows:])
        ]
        outputs = (logps[:half], logps[half:], *means, nll, chosen_rewards, rejected_rewards)
        dtype = _input.dtype
        return loss.to(dtype), tuple(x.detach().to(dtype) for x in outputs)


class FusedLinearDPOLoss(_Pairs):
    """In the place of LigerFusedLinearDPOLoss; `loss_type` is any of `dpo_loss`, or several."""

    def __init__(
        self,
        ignore_index: int = -100,
        beta: float = 0.1,
        alpha: float = 1.0,
        compute_nll_loss: bool = False,
        compiled: bool = True,
        use_ref_model: bool = True,
        average_log_prob: bool = False,
        chunk_size: int = 1,
        loss_type: Any = "sigmoid",
        label_smoothing: float = 0.0,
        discopop_tau: float = 0.05,
    ) -> None:
        super().__init__(
            ignore_index,
            alpha,
            compute_nll_loss,
            average_log_prob,
            beta=beta,
            loss_type=loss_type,
            label_smoothing=label_smoothing,
            discopop_tau=discopop_tau,
            reference_free=not use_ref_model,
        )


class FusedLinearCPOLoss(_Pairs):
    """In the place of LigerFusedLinearCPOLoss."""

    def __init__(
        self,
        ignore_index: int = -100,
        beta: float = 0.1,
        alpha: float = 1.0,
        label_smoothing: float = 0.0,
        compute_nll_loss: bool = True,
        compiled: bool = True,
        average_log_prob: bool = False,
        chunk_size: int = 1,
    ) -> None:
        super().__init__(
            ignore_index,
            alpha,
            compute_nll_loss,
            average_log_prob,
            beta=beta,
            label_smoothing=label_smoothing,
        )


class FusedLinearSimPOLoss(_Pairs):
    """In the place of LigerFusedLinearSimPOLoss: the margin is gamma."""

    def __init__(
        self,
        ignore_index: int = -100,
        beta: float = 0.1,
        alpha: float = 1.0,
        label_smoothing: float = 0.0,
        compute_nll_loss: bool = True,
        compiled: bool = True,
        gamma: float = 0.5,
        chunk_size: int = 1,
    ) -> None:
        super().__init__(
            ignore_index,
            alpha,
            compute_nll_loss,
            True,
            beta=beta,
            margin=gamma,
            label_smoothing=label_smoothing,
        )


class FusedLinearORPOLoss(_Pairs):
    """In the place of LigerFusedLinearORPOLoss, whose two means of log-odds it does not give."""

    def __init__(
        self,
        ignore_index: int = -100,
        beta: float = 0.1,
        compute_nll_loss: bool = True,
        compiled: bool = True,
        chunk_size: int = 1,
    ) -> None:
        super().__init__(ignore_index, 1.0, compute_nll_loss, True, beta=beta, loss_type="odds_ratio")


class FusedLinearKTOLoss(nn.Module):
    """In the place of LigerFusedLinearKTOLoss: (loss, sums of rewards of both classes)."""

    def __init__(
        self,
        ignore_index: int = -100,
        beta: float = 0.1,
        compiled: bool = True,
        use_ref_model: bool = False,
        average_log_prob: bool = False,
        chunk_size: int = 1,
    ) -> None:
        super().__init__()
        self.ignore_index, self.beta, self.use_ref_model = ignore_index, beta, use_ref_model
        self.average_log_prob = average_log_prob

    def forward(
        self,
        _input: Tensor,
        lin_weight: Tensor,
        target: Tensor,
        bias: Tensor | None = None,
        preference_labels: Tensor | None = None,
        ref_input: Tensor | None = None,
        ref_weight: Tensor | None = None,
        ref_bias: Tensor | None = None,
        kl: Tensor | float | None = None,
        *,
        ref_logps: Tensor | None = None,
        offsets: Tensor | None = None,
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Loss and sums of rewards."""
        if preference_labels is None:
            raise TypeError("preference_labels is required")
        common: dict[str, Any] = {"ignore_index": self.ignore_index, "shift": False, "offsets": offsets}
        loss, rewards = fused_linear_kto_loss(
            _input,
            lin_weight,
            target,
            preference_labels,
            bias=bias,
            ref_hidden=ref_input if self.use_ref_model else None,
            ref_weight=ref_weight if self.use_ref_model else None,
            ref_bias=ref_bias,
            ref_logps=ref_logps,
            beta=self.beta,
            kl=0.0 if kl is None else float(kl),
            average=self.average_log_prob,
            **common,
        )
        rewards = rewards.detach()
        sums = (rewards[preference_labels].sum(), rewards[~preference_labels].sum())
        return loss.to(_input.dtype), (sums[0].to(_input.dtype), sums[1].to(_input.dtype))
