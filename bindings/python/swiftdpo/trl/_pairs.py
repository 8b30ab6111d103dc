"""What CPO's and ORPO's trainers share: one forward pass over chosen and rejected responses."""

from typing import Any

from torch import Tensor

from .. import torch as sdt


def forward(
    trainer: Any, model: Any, batch: dict[str, Any], padding_value: int
) -> tuple[dict[str, Tensor], Any]:
    """The batch with chosen and rejected responses in one, and what the model returns for it."""
    together = trainer.concatenated_inputs(
        batch,
        is_encoder_decoder=trainer.is_encoder_decoder,
        padding_value=padding_value,
        device=trainer.accelerator.device,
    )
    more: dict[str, Any] = {}
    if trainer.is_encoder_decoder:
        more["decoder_input_ids"] = trainer._shift_right(together["concatenated_labels"])
    if trainer.aux_loss_enabled:
        more["output_router_logits"] = True
    mask = together["concatenated_attention_mask"]
    return together, model(together["concatenated_input_ids"], attention_mask=mask, use_cache=False, **more)


def batch_logps(
    logits: Tensor, labels: Tensor, average_log_prob: bool = False, is_encoder_decoder: bool = False
) -> Tensor:
    """(B,) sums or means of the labels' log-probabilities; the mean of no token is NaN, as TRL has it."""
    found = sdt.sequence_logps(logits, labels, shift=not is_encoder_decoder)
    return found.logps / found.num_tokens if average_log_prob else found.logps


def negative_log_likelihood(logps: Tensor, num_tokens: Tensor) -> Tensor:
    """Mean over all tokens."""
    lengths = num_tokens.to(logps.device)
    return sdt.dpo_loss(logps, logps.detach(), None, None, loss_type="sft", chosen_lengths=lengths).loss
