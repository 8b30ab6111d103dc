"""Other libraries' own code, on log-probabilities of ours.

TRL 1.16 has its losses inside of a method of each trainer, which is called here with a stand-in for the
trainer and a model that answers with given log-probabilities. Of torchtune and OpenRLHF the file with the
losses is run by itself: their packages need torchao and deepspeed to import.
"""

from __future__ import annotations

import importlib.util
import sys
from collections import defaultdict
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from trl import DPOTrainer

# Of its DPO trainer.
TRL_LOSS_TYPES = [
    "sigmoid",
    "hinge",
    "ipo",
    "exo_pair",
    "nca_pair",
    "robust",
    "bco_pair",
    "sppo_hard",
    "aot",
    "aot_unpaired",
    "apo_zero",
    "apo_down",
    "discopop",
    "sft",
    "sigmoid_norm",
]


def module_of(package: str, path: str, **stand_ins: Any) -> ModuleType:
    """One file of an installed package, with stand-ins for the names that it imports from its siblings."""
    found = importlib.util.find_spec(package)
    assert found and found.submodule_search_locations, f"{package} is not installed"
    file = Path(found.submodule_search_locations[0]) / path
    name = "peer_" + package
    parent = ModuleType(name)
    parent.__path__ = []
    sibling = ModuleType(name + ".utils")
    vars(sibling).update(stand_ins)
    spec = importlib.util.spec_from_file_location(name + ".loss", file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules |= {name: parent, name + ".utils": sibling, name + ".loss": module}
    spec.loader.exec_module(module)
    return module


def trl_dpo(
    token_logps: torch.Tensor,
    ref_logps: torch.Tensor,
    mask: torch.Tensor,
    loss_type: str | list[str] = "sigmoid",
    loss_weights: list[float] | None = None,
    *,
    beta: float = 0.1,
    label_smoothing: float = 0.0,
    f_divergence_type: str = "reverse_kl",
    f_alpha_divergence_coef: float = 0.5,
    discopop_tau: float = 0.05,
    log_sum_squares: torch.Tensor | None = None,
) -> torch.Tensor:
    """DPOTrainer's loss of (2 B, T) tokens of chosen, then rejected responses, given ref's (2 B,) sums."""
    loss_types = [loss_type] if isinstance(loss_type, str) else loss_type
    accelerator = SimpleNamespace(
        device=torch.device("cpu"), gather=lambda x: x, gather_for_metrics=lambda x: x, num_processes=1
    )
    trainer = SimpleNamespace(
        model=torch.nn.Identity(),
        accelerator=accelerator,
        aux_loss_enabled=False,
        ld_alpha=None,
        precompute_ref_logps=True,
        f_divergence_type=f_divergence_type,
        f_alpha_divergence_coef=f_alpha_divergence_coef,
        loss_types=loss_types,
        loss_weights=loss_weights or [1.0] * len(loss_types),
        beta=beta,
        label_smoothing=label_smoothing,
        args=SimpleNamespace(discopop_tau=discopop_tau),
        use_weighting=log_sum_squares is not None,
        _metrics={"train": defaultdict(list), "eval": defaultdict(list)},
        _total_train_tokens=0,
        _tp_size=1,
    )
    zero = torch.zeros_like(token_logps)
    outputs = SimpleNamespace(
        log_probs=token_logps,
        log_sum_sq_probs=zero if log_sum_squares is None else log_sum_squares,
        entropy=zero,
        mean_logits=zero,
        is_top1=zero.bool(),
    )
    # A first token of the prompt, which is never scored.
    completion = torch.cat([torch.zeros(len(mask), 1, dtype=torch.long), mask.long()], dim=1)
    chosen, rejected = ref_logps.chunk(2)
    inputs = {
        "input_ids": torch.zeros_like(completion),
        "attention_mask": torch.ones_like(completion),
        "completion_mask": completion,
        "ref_chosen_logps": chosen,
        "ref_rejected_logps": rejected,
    }
    loss: torch.Tensor = DPOTrainer._compute_loss(trainer, lambda **_: outputs, inputs, False)
    return loss
