"""TRL's trainer for CPO, SimPO and AlphaPO, with log-probabilities and losses of this package."""

from typing import Any

import torch
from torch import Tensor
from trl.experimental import cpo

from .. import torch as sdt
from ._pairs import batch_logps, forward, negative_log_likelihood
from ._scores import may_overwrite


class CPOTrainer(cpo.CPOTrainer):  # type: ignore[misc]
    """`trl.experimental.cpo.CPOTrainer`, whose log-probabilities, loss and gradients are computed here.

    It takes the same `CPOConfig`, and does what TRL does: "simpo" and "ipo" take means of log-probabilities,
    "hinge" and "ipo" know no label smoothing, the likelihood is that of the chosen response's tokens, and
    rewards are beta times what the loss compares. AlphaPO's rewards come from exponents here, where TRL's
    underflow. Its combinations with "hinge" and "ipo", which the library does not have, are TRL's own code.
    """

    get_batch_logps = staticmethod(batch_logps)

    def concatenated_forward(self, model: Any, batch: dict[str, Any]) -> tuple[Any, ...]:
        """Log-probabilities and logits of chosen and rejected responses, and the likelihood of the chosen."""
        together, outputs = forward(self, model, batch, self.pad_token_id)
        logits, labels = outputs.logits, together["concatenated_labels"]
        num_chosen = len(batch["chosen_labels"])
        if not logits.is_cpu:
            return super().concatenated_forward(model, batch)  # type: ignore[no-any-return]
        found = sdt.sequence_logps(
            logits, labels, shift=not self.is_encoder_decoder, inplace=may_overwrite(logits)
        )
        nll_loss = found.logps.new_zeros(())
        if self.cpo_alpha != 0:
            nll_loss = negative_log_likelihood(found.logps[:num_chosen], found.num_tokens[:num_chosen])
        averaged = self.loss_type in ("ipo", "simpo")
        logps = found.logps / found.num_tokens if averaged else found.logps
        more = (outputs.aux_loss,) if self.aux_loss_enabled else ()
        pairs = (logps[:num_chosen], logps[num_chosen:], logits[:num_chosen], logits[num_chosen:])
        return *pairs, nll_loss, *more

    def cpo_loss(self, policy_chosen_logps: Tensor, policy_rejected_logps: Tensor) -> tuple[Tensor, ...]:
        """Losses (B,) and rewards."""
        known = self.loss_type in ("sigmoid", "simpo")
        if self.alpha != 0 and not known:
            return super().cpo_loss(policy_chosen_logps, policy_rejected_logps)  # type: ignore[no-any-return]
        options: dict[str, Any] = {"beta": self.beta, "reduction": "none"}
        if known:
            options["label_smoothing"] = self.label_smoothing
        if self.loss_type == "simpo":
            options["margin"] = self.simpo_gamma
        if self.alpha == 0:
            name: Any = "sigmoid" if known else self.loss_type
            return sdt.dpo_loss(
                policy_chosen_logps, policy_rejected_logps, None, None, loss_type=name, **options
            )
        # What TRL transforms are these log-probabilities, whatever they are sums or means over.
        ones = torch.ones_like(policy_chosen_logps, dtype=torch.int64)
        options |= {"chosen_lengths": ones, "rejected_lengths": ones, "alphapo_alpha": self.alpha}
        losses = sdt.dpo_loss(
            policy_chosen_logps, policy_rejected_logps, None, None, loss_type="alphapo", **options
        ).loss
        with torch.no_grad():
            chosen, rejected = (
                -self.beta * torch.expm1(-self.alpha * logps) / self.alpha
                for logps in (policy_chosen_logps, policy_rejected_logps)
            )
        return losses, chosen, rejected


__all__ = ["CPOTrainer"]
