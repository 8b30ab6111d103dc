"""TRL's trainer for Kahneman-Tversky optimization, with log-probabilities and losses of this package."""

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

_NOT_FOR_THE_MODEL = {"completion_mask", "label", "ref_logps", "ref_KL_logps"}
_MISMATCHED = "KL_"  # TRL's prefix of a prompt with another prompt's completion


class KTOTrainer(trl.KTOTrainer):  # type: ignore[misc]
    """`trl.KTOTrainer`, of TRL 1.16, whose log-probabilities, loss and gradients are computed by this
    package.

    It takes the same `KTOConfig`, and does what TRL does: the estimate of KL(pi || ref) is the mean over
    processes of the means over their batches, and 0 at least; the loss is the mean over all samples but those
    whose loss is NaN. Log-probabilities are sums in double precision. For memory and accelerators see
    `DPOTrainer`.
    """

    def _score(self, model: Any, inputs: dict[str, Any], mismatched: bool, **more: Any) -> Scores:
        if mismatched:
            inputs = {
                name.removeprefix(_MISMATCHED): value
                for name, value in inputs.items()
                if name.startswith(_MISMATCHED)
            }
        given = {
            name: value
            for name, value in inputs.items()
            if name not in _NOT_FOR_THE_MODEL and not name.startswith(_MISMATCHED)
        }
        labels = inputs["input_ids"].masked_fill(inputs["completion_mask"] == 0, -100)
        by_products = more.pop("by_products", False)
        return score(model, labels, given | {"use_cache": False} | more, by_products=by_products)

    def _compute_kl_logps(self, model: Any, batch: dict[str, Any]) -> Tensor | None:
        """Log-probabilities of mismatched pairs, where the loss needs them."""
        if not self.calculate_KL:
            return None
        with torch.no_grad():
            return self._score(model, batch, mismatched=True).logps

    def compute_ref_log_probs(self, model: Any, inputs: dict[str, Any]) -> tuple[Tensor, Tensor | None]:
        """Log-probabilities of the completions, and of the mismatched pairs, under a reference."""
        adapter: Any = contextlib.nullcontext()
        unwrapped = self.accelerator.unwrap_model(self.model)
        if self.ref_model is None and hasattr(unwrapped, "peft_config"):
            adapter = use_adapter(unwrapped, adapter_name="ref" if "ref" in unwrapped.peft_config else None)
        quiet = disable_gradient_checkpointing(self.model, self.args.gradient_checkpointing_kwargs)
        with torch.no_grad(), quiet, adapter, self.accelerator.autocast():
            return self._score(model, inputs, mismatched=False).logps, self._compute_kl_logps(model, inputs)

    def _compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool) -> Any:
        more = {"output_router_logits": True} if self.aux_loss_enabled else {}
        kl_logps = self._compute_kl_logps(model, inputs)
        scores = self._score(model, inputs, mismatched=False, by_products=True, **more)
        if self.precompute_ref_logps:
            ref_logps, ref_kl_logps = inputs["ref_logps"], inputs.get("ref_KL_logps")
        else:
            ref_logps, ref_kl_logps = self.compute_ref_log_probs(self.ref_model or self.model, inputs)

        metrics = Metrics(self)
        desirable = torch.as_tensor(inputs["label"], dtype=torch.bool, device=scores.logps.device)
        kl = scores.logps.new_zeros(())
        if kl_logps is not None and ref_kl_logps is not None:
            kl = metrics.gathered((kl_logps - ref_kl_logps).mean()).mean().clamp(min=0)
        losses, rewards = sdt.kto_loss(
            scores.logps,
            ref_logps,
            desirable,
            self.beta,
            kl=kl,
            loss_type=self.loss_type,
            desirable_weight=self.desirable_weight,
            undesirable_weight=self.undesirable_weight,
            reduction="none",
        )
        loss = losses.nanmean()
        metrics.add("kl", kl.item())
        self._add_metrics(metrics, scores, rewards, desirable, inputs["attention_mask"])
        if self.aux_loss_enabled:
            loss = loss + self.router_aux_loss_coef * scores.outputs.aux_loss
            metrics.add_aux_loss(scores.outputs.aux_loss)
        if not return_outputs:
            return loss
        if not hasattr(scores.outputs, "logits"):  # An accelerator's head does not keep them.
            with torch.no_grad():
                return loss, model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"])
        return loss, scores.outputs

    def _add_metrics(
        self, metrics: Metrics, scores: Scores, rewards: Tensor, desirable: Tensor, attention_mask: Tensor
    ) -> None:
        metrics.add_entropy(scores)
        metrics.add_num_tokens(attention_mask)
        means = {}
        for name, rows in (("chosen", desirable), ("rejected", ~desirable)):
            metrics.add_mean_logits(f"logits/{name}", scores, rows, empty=None)
            metrics.add_ratio(f"logps/{name}", scores.logps[rows].nansum(), rows.sum(), empty=None)
            mean = metrics.ratio(rewards[rows].nansum(), rows.sum())
            if mean is not None:
                metrics.add(f"rewards/{name}", mean)
                means[name] = mean
        if len(means) == 2:
            metrics.add("rewards/margins", means["chosen"] - means["rejected"])


__all__ = ["KTOTrainer"]
