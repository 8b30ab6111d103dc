"""Small trainers that need no network: a Llama from a configuration, bytes as tokens, the bundled pairs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from datasets import Dataset
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    PreTrainedTokenizerFast,
)

# For models this small, threads that wait for one another take longer than the work.
torch.set_num_threads(1)

PAIRS = Path(__file__).resolve().parents[4] / "examples" / "data" / "pairs_dev.jsonl"
SPECIAL = ("<pad>", "<s>", "</s>")


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """Bytes, after three special tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([*SPECIAL, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    pad, begin, end = SPECIAL
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=pad,
        bos_token=begin,
        eos_token=end,
        clean_up_tokenization_spaces=False,
    )


def architecture(size: int, layers: int) -> dict[str, Any]:
    """What the configurations of all models here say."""
    return dict(
        vocab_size=len(SPECIAL) + 256,
        hidden_size=size,
        intermediate_size=2 * size,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=512,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )


def llama(size: int = 32, layers: int = 2, seed: int = 0) -> LlamaForCausalLM:
    """A policy that has learned nothing yet."""
    torch.manual_seed(seed)
    return LlamaForCausalLM(LlamaConfig(**architecture(size, layers)))


def mixtral() -> MixtralForCausalLM:
    """The same with a mixture of experts, whose router has a loss of its own that outweighs the rest."""
    torch.manual_seed(0)
    experts = dict(num_local_experts=4, num_experts_per_tok=2, output_router_logits=True)
    return MixtralForCausalLM(MixtralConfig(**architecture(32, 2), **experts, router_aux_loss_coef=2.0))


def preferences(count: int, longest: int = 120) -> Dataset:
    """The shortest of the bundled pairs, in the order of the file."""
    rows: list[dict[str, Any]] = [json.loads(line) for line in PAIRS.open()]
    rows = [row for row in rows if sum(len(row[key].encode()) for key in ("prompt", "chosen")) < longest]
    rows = [row for row in rows if len(row["rejected"].encode()) < longest]
    assert len(rows) >= count, len(rows)
    return Dataset.from_list(
        [{key: row[key] for key in ("prompt", "chosen", "rejected")} for row in rows[:count]]
    )


def judgements(count: int) -> Dataset:
    """The same as single responses, each desirable or not."""
    pairs = preferences((count + 1) // 2)
    rows = [
        {"prompt": pair["prompt"], "completion": pair[key], "label": key == "chosen"}
        for pair in pairs
        for key in ("chosen", "rejected")
    ]
    return Dataset.from_list(rows[:count])


def recording(trainer_class: type) -> type:
    """The class, keeping the loss of each step before it is rounded."""

    class Recording(trainer_class):  # type: ignore[misc]
        losses: list[float]

        def compute_loss(self, *arguments: Any, **more: Any) -> Any:
            result = super().compute_loss(*arguments, **more)
            loss = result[0] if isinstance(result, tuple) else result
            self.__dict__.setdefault("losses", []).append(float(loss.detach()))
            return result

    Recording.__name__ = trainer_class.__name__
    return Recording


def train(
    trainer_class: type,
    config_class: type,
    data: Dataset,
    folder: Path,
    steps: int,
    reference: bool = True,
    adapter: Any = None,
    model: Callable[[], Any] = llama,
    **options: Any,
) -> Any:
    """The trainer, after so many steps. With an adapter of PEFT's, the model without it is the reference."""
    settings = dict(
        output_dir=str(folder),
        max_steps=steps,
        per_device_train_batch_size=4,
        learning_rate=1e-3,
        lr_scheduler_type="constant",
        optim="adamw_torch",
        logging_steps=1,
        report_to="none",
        save_strategy="no",
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        disable_tqdm=True,
        seed=3,
        data_seed=3,
        max_length=256,
    )
    models: dict[str, Any] = {"model": model()}
    if adapter is not None:
        models["peft_config"] = adapter
    elif reference and not options.get("precompute_ref_log_probs"):
        models["ref_model"] = model()
    trainer = recording(trainer_class)(
        **models,
        args=config_class(**(settings | options)),
        train_dataset=data,
        processing_class=byte_tokenizer(),
    )
    trainer.train()
    return trainer


def metrics(trainer: Any) -> list[dict[str, float]]:
    """What was logged at each step, but for times."""
    timed = ("runtime", "per_second", "step_time", "total_flos")
    return [
        {name: value for name, value in entry.items() if not any(part in name for part in timed)}
        for entry in trainer.state.log_history
        if "loss" in entry
    ]
