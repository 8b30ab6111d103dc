"""TRL's trainer for Direct Preference Optimization, with log-probabilities and losses of this package."""

import contextlib
from typing import Any

import torch
import trl
from torch import Tensor
from trl.models.utils import disable_gradient_checkpointing
from trl.trainer.utils import use_adapter

from .. import torch as sdt
from ._metrics import Metrics
from ._scores import Scores, score

_NOT_FOR_THE_MODEL = {"completion_mask", "ref_chosen_logps", "ref_rejected_logps"}

# TRL's "ipo" divides by lengths, as its authors recommend; its other names are the library's.
_NAMES = {"ipo": "ipo_norm"}
# Of label_smoothing, TRL's other losses know nothing.
_SMOOTHED = {"robust", "exo_pair", "aot", "aot_unpaired"}


class DPOTrainer(trl.DPOTrainer):  # type: ignore[misc]
    """`trl.DPOTrainer`, of TRL 1.16, whose log-probabilities, loss and gradients are computed by this
    package.

    It takes the same `DPOConfig`, and does what TRL does, also where TRL differs from the papers:

    - `loss_type="ipo"` divides log-ratios by the lengths of responses; `dpo_loss` calls that "ipo_norm".
    - `label_smoothing` does nothing but for "robust", "exo_pair", "aot" and "aot_unpaired".
    - Lengths that "ipo" and "sigmoid_norm" divide by count all tokens of the completion, also a first one
      that no logits score.
    - "sft" is the mean over the chosen tokens of the batch; `use_weighting` (WPO) multiplies it by the mean
      weight.
    - Rewards that are logged are beta times log-ratios, whatever the divergence; a tie is no correct pair.

    Log-probabilities are sums in double precision, where TRL's are rounded to the type of the logits. Where
    TRL has NaN, the loss is finite: without a chosen token "sft" is 0, and no divergence overflows. On CPUs
    the model's logits are held as a whole, and their gradient is written over them; on accelerators TRL's own
    head computes the log-probabilities, and the losses come from here.
    """

    def compute_ref_log_probs(self, model: Any, inputs: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Log-probabilities of chosen and rejected responses under a reference."""
        adapter: Any = contextlib.nullcontext()
        unwrapped = self.accelerator.unwrap_model(self.model)
        if self.ref_model is None and hasattr(unwrapped, "peft_config"):
            adapter = use_adapter(unwrapped, adapter_name="ref" if "ref" in unwrapped.peft_config else None)
        quiet = disable_gradient_checkpointing(self.model, self.args.gradient_checkpointing_kwargs)
        with torch.no_grad(), quiet, adapter, self.accelerator.autocast():
            scores = self._score(model, inputs, by_products=False)
        chosen, rejected = scores.logps.chunk(2)
        return chosen, rejected

    def _score(self, model: Any, inputs: dict[str, Any], by_products: bool, **more: Any) -> Scores:
        labels = inputs["input_ids"].masked_fill(inputs["completion_mask"] == 0, -100)
        tokens = self.ld_alpha is not None and "sft" in self.loss_types
        return score(model, labels, self._for_model(inputs) | more, self.ld_alpha, by_products, tokens)

    def _for_model(self, inputs: dict[str, Any]) -> dict[str, Any]:
        given = {name: value for name, value in inputs.items() if name not in _NOT_FOR_THE_MODEL}
        return given | {"use_cache": False}

    def _compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool) -> Any:
        more = {"output_router_logits": True} if self.aux_loss_enabled else {}
        scores = self._score(model, inputs, True, **more)
        if self.precompute_ref_logps:
            reference = inputs["ref_chosen_logps"], inputs["ref_rejected_logps"]
        else:
            reference = self.compute_ref_log_probs(self.ref_model or self.model, inputs)

        loss, chosen_rewards, rejected_rewards = self._loss(scores, reference, inputs["completion_mask"])
        metrics = Metrics(self)
        if self.aux_loss_enabled:
            loss = loss + self.router_aux_loss_coef * scores.outputs.aux_loss
            metrics.add_aux_loss(scores.outputs.aux_loss)
        self._add_metrics(metrics, scores, chosen_rewards, rejected_rewards, inputs["attention_mask"])
        if not return_outputs:
            return loss
        if not hasattr(scores.outputs, "logits"):  # An accelerator's head does not keep them.
            with torch.no_grad():
                return loss, model(**self._for_model(inputs), **more)
        return loss, scores.outputs

    def _loss(
        self, scores: Scores, reference: tuple[Tensor, Tensor], completion_mask: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The sum of the losses, as TRL has each of them, and the rewards."""
        chosen, rejected = scores.logps.chunk(2)
        weights = self._weights(scores)
        chosen_lengths, rejected_lengths = completion_mask.sum(1).chunk(2)
        loss = chosen.new_zeros(())
        losses = list(zip(self.loss_types, self.loss_weights, strict=True))
        for smoothed in (False, True):
            part = [
                (_NAMES.get(name, name), weight)
                for name, weight in losses
                if name != "sft" and (name in _SMOOTHED) is smoothed
            ]
            if part:
                loss += sdt.dpo_loss(
                    chosen,
                    rejected,
                    *reference,
                    beta=self.beta,
                    loss_type=[name for name, _ in part],
                    loss_weights=[weight for _, weight in part],
                    label_smoothing=self.label_smoothing if smoothed else 0.0,
                    f_divergence_type=self.f_divergence_type,
                    f_alpha_divergence_coef=self.f_alpha_divergence_coef,
                    discopop_tau=self.args.discopop_tau,
                    weights=weights,
                    chosen_lengths=chosen_lengths,
                    rejected_lengths=rejected_lengths,
                ).loss
        likelihood_weight = sum(weight for name, weight in losses if name == "sft")
        if likelihood_weight:
            mean_weight = 1.0 if weights is None else weights.mean()
            loss += likelihood_weight * mean_weight * self._likelihood(scores)
        with torch.no_grad():
            rewards = sdt.dpo_loss(chosen, rejected, *reference, beta=self.beta)
        return loss, rewards.chosen_rewards, rewards.rejected_rewards

    def _weights(self, scores: Scores) -> Tensor | None:
        """WPO's weights of pairs."""
        if not self.use_weighting:
            return None
        of_responses = sdt.wpo_weights(scores.token_logps, scores.mask.sum(1), scores.log_sum_squares)
        chosen, rejected = of_responses.chunk(2)
        return chosen * rejected

    def _likelihood(self, scores: Scores) -> Tensor:
        """Mean negative log-likelihood of the chosen tokens."""
        logps = scores.logps if self.ld_alpha is None else scores.token_logps.sum(1)
        chosen, rejected = logps.chunk(2)
        lengths = scores.mask.sum(1).chunk(2)[0]
        return sdt.dpo_loss(chosen, rejected, None, None, loss_type="sft", chosen_lengths=lengths).loss

    def _add_metrics(
        self,
        metrics: Metrics,
        scores: Scores,
        chosen_rewards: Tensor,
        rejected_rewards: Tensor,
        attention_mask: Tensor,
    ) -> None:
        num_pairs = len(chosen_rewards)
        chosen, rejected = slice(None, num_pairs), slice(num_pairs, None)
        metrics.add_entropy(scores)
        metrics.add_num_tokens(attention_mask)
        metrics.add_mean_logits("logits/chosen", scores, chosen, empty=0.0)
        metrics.add_mean_logits("logits/rejected", scores, rejected, empty=0.0)
        mask = scores.mask[chosen]
        assert scores.top_1 is not None
        metrics.add_ratio("mean_token_accuracy", (scores.top_1[chosen] & mask).sum(), mask.sum())
        metrics.add_mean("rewards/chosen", chosen_rewards)
        metrics.add_mean("rewards/rejected", rejected_rewards)
        metrics.add_mean("rewards/accuracies", (chosen_rewards > rejected_rewards).float())
        metrics.add_mean("rewards/margins", chosen_rewards - rejected_rewards)
        metrics.add_mean("logps/chosen", scores.logps[chosen])
        metrics.add_mean("logps/rejected", scores.logps[rejected])


__all__ = ["DPOTrainer"]
