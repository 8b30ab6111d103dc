"""TRL's trainer for ORPO, with log-probabilities and losses of this package."""

from typing import Any

import torch
from torch import Tensor
from trl.experimental import orpo
from trl.experimental.orpo.orpo_trainer import log1mexp

from .. import torch as sdt
from ._pairs import batch_logps, forward, negative_log_likelihood
from ._scores import may_overwrite


class ORPOTrainer(orpo.ORPOTrainer):  # type: ignore[misc]
    """`trl.experimental.orpo.ORPOTrainer`, whose log-probabilities, loss and gradients are computed here.

    It takes the same `ORPOConfig`, and does what TRL does: the likelihood is that of prompt and chosen
    response together, where the paper has the response's. Logits are read once for both.
    """

    get_batch_logps = staticmethod(batch_logps)

    def concatenated_forward(self, model: Any, batch: dict[str, Any]) -> tuple[Any, ...]:
        """Mean log-probabilities and logits of chosen and rejected responses, and the likelihood."""
        together, outputs = forward(self, model, batch, self.padding_value)
        logits, labels = outputs.logits, together["concatenated_labels"]
        num_chosen = len(batch["chosen_labels"])
        if not logits.is_cpu:
            return super().concatenated_forward(model, batch)  # type: ignore[no-any-return]
        shift, inplace = not self.is_encoder_decoder, may_overwrite(logits)
        scored = labels
        if shift:
            attended = together["concatenated_attention_mask"] == 1
            scored = torch.where(attended, together["concatenated_input_ids"], -100)
        token_logps = sdt.token_logps(logits, scored, shift=shift, inplace=inplace)
        first = 1 if shift else 0
        in_response, counted = labels[:, first:] != -100, scored[:, first:] != -100
        logps = (token_logps * in_response).sum(1) / in_response.sum(1)
        nll_loss = negative_log_likelihood(token_logps.sum(1)[:num_chosen], counted.sum(1)[:num_chosen])
        more = (outputs.aux_loss,) if self.aux_loss_enabled else ()
        shown = logits[:, :-1] if shift else logits
        pairs = (logps[:num_chosen], logps[num_chosen:], shown[:num_chosen], shown[num_chosen:])
        return *pairs, nll_loss, *more

    def odds_ratio_loss(
        self, policy_chosen_logps: Tensor, policy_rejected_logps: Tensor
    ) -> tuple[Tensor, ...]:
        """Losses (B,) with TRL's sign, rewards, and the means of log sigma(log odds ratio) and of the
        latter."""
        ones = torch.ones_like(policy_chosen_logps, dtype=torch.int64)
        losses, chosen_rewards, rejected_rewards = sdt.orpo_loss(
            policy_chosen_logps,
            policy_rejected_logps,
            ones,
            ones,
            self.beta,
            sft_weight=0.0,
            reduction="none",
        )
        with torch.no_grad():  # for TRL's logs alone
            log_odds = policy_chosen_logps - policy_rejected_logps
            log_odds -= log1mexp(policy_chosen_logps) - log1mexp(policy_rejected_logps)
        ratio = -losses.detach() / self.beta
        return -losses, chosen_rewards, rejected_rewards, ratio.mean(), log_odds.mean()


__all__ = ["ORPOTrainer"]
