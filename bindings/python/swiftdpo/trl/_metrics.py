"""TRL's metrics, under its names."""

from typing import Any

from torch import Tensor

from ._scores import Scores


class Metrics:
    """Adds to the metrics of a trainer of TRL, which it averages when it logs them."""

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer
        self.mode = "train" if trainer.model.training else "eval"

    def add(self, name: str, value: float) -> None:
        """One more value of a metric."""
        self.trainer._metrics[self.mode][name].append(value)

    def gathered(self, values: Tensor) -> Tensor:
        """The values of all processes."""
        gathered: Tensor = self.trainer.accelerator.gather_for_metrics(values.detach())
        return gathered

    def add_mean(self, name: str, values: Tensor) -> None:
        """The mean over the samples of all processes, padded ones of a last batch among them, as TRL has
        it."""
        self.add(name, self.trainer.accelerator.gather(values.detach()).mean().item())

    def ratio(self, total: Tensor, count: Tensor) -> float | None:
        """A sum over all processes by a count; None if that is 0."""
        total, count = self.gathered(total).sum(), self.gathered(count).sum()
        return (total / count).item() if count > 0 else None

    def add_ratio(self, name: str, total: Tensor, count: Tensor, empty: float | None = 0.0) -> None:
        """The same as a metric; without a count `empty`, unless that is None."""
        value = self.ratio(total, count)
        if value is not None or empty is not None:
            self.add(name, empty if value is None else value)  # type: ignore[arg-type]

    def add_num_tokens(self, attention_mask: Tensor) -> None:
        """Tokens seen in training so far."""
        trainer = self.trainer
        if self.mode == "train":
            count = self.gathered(attention_mask.sum()).sum().item()
            trainer._total_train_tokens += count // trainer._tp_size
        trainer._metrics[self.mode]["num_tokens"] = [trainer._total_train_tokens]

    def add_entropy(self, scores: Scores) -> None:
        """Mean entropy of the next token's distribution."""
        assert scores.entropies is not None
        self.add_ratio("entropy", (scores.entropies * scores.mask).sum(), scores.mask.sum())

    def add_aux_loss(self, aux_loss: Tensor) -> None:
        """Load balancing of a mixture of experts."""
        self.add("aux_loss", self.gathered(aux_loss).mean().item())

    def add_mean_logits(self, name: str, scores: Scores, rows: Any, empty: float | None) -> None:
        """Mean logit of the whole vocabulary, over the tokens of some sequences."""
        assert scores.mean_logits is not None
        mask = scores.mask[rows]
        self.add_ratio(name, (scores.mean_logits[rows] * mask).sum(), mask.sum(), empty)
