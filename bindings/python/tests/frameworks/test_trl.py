"""swiftdpo.trl trains as TRL does: the same losses step by step, and the same metrics by the same names.

TRL rounds each log-probability to single precision, and each step starts from parameters that the steps
before it have brought about: losses are compared to 1e-5.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import swiftdpo.trl as ours
import trl
from peers import TRL_LOSS_TYPES
from peft import LoraConfig
from trainers import judgements, metrics, mixtral, preferences, train
from trl.experimental.cpo import CPOConfig, CPOTrainer
from trl.experimental.orpo import ORPOConfig, ORPOTrainer

STEPS = 4
# Losses that one training has together; each of the others is trained with.
TOGETHER = ["hinge", "nca_pair", "sppo_hard", "aot_unpaired", "apo_zero", "apo_down"]
VARIANTS: dict[str, dict[str, Any]] = {
    "smoothing that sigmoid ignores": {"label_smoothing": 0.2},
    "forward KL": {"f_divergence_type": "forward_kl"},
    "Jensen-Shannon": {"f_divergence_type": "js_divergence", "loss_type": ["sigmoid", "ipo"]},
    "alpha": {"f_divergence_type": "alpha_divergence", "f_alpha_divergence_coef": 0.3},
    "LD-DPO": {"ld_alpha": 0.3},
    "LD-DPO and likelihood": {"ld_alpha": 0.3, "loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.2]},
    "WPO": {"use_weighting": True, "learning_rate": 3e-3},
    "WPO of a mixture": {"use_weighting": True, "loss_type": ["ipo", "nca_pair"], "loss_weights": [0.5, 0.2]},
    "precomputed reference": {"precompute_ref_log_probs": True},
    "mixture": {
        "loss_type": ["sigmoid", "robust", "bco_pair", "sft", "aot"],
        "loss_weights": [0.8, 0.5, 0.2, 1.0, 0.3],
        "label_smoothing": 0.1,
    },
    "the other losses": {
        "loss_type": TOGETHER,
        "loss_weights": [1.0, 0.9, 0.02, 0.8, 0.7, 0.6],
    },
    "accumulation": {"gradient_accumulation_steps": 2, "per_device_train_batch_size": 2},
    "checkpointing": {"activation_checkpointing": True},
}


def compare(
    theirs: type, mine: type, config: type, data: Any, folder: Path, options: dict[str, Any], **more: Any
) -> Any:
    """Trains with both, and returns the trainer of `mine`."""
    expected, found = (
        train(trainer, config, data, folder, STEPS, **more, **options) for trainer in (theirs, mine)
    )
    assert type(found).__mro__[2] is theirs or issubclass(type(found), theirs)
    np.testing.assert_allclose(found.losses, expected.losses, rtol=1e-5, atol=1e-7)
    assert len(set(found.losses)) > 1  # training changed something
    logged, wanted = metrics(found), metrics(expected)
    assert len(logged) == len(wanted) == STEPS
    for mine_now, theirs_now in zip(logged, wanted, strict=True):
        assert mine_now.keys() == theirs_now.keys()
        for name, value in theirs_now.items():
            if name == "rewards/accuracies" and abs(theirs_now["rewards/margins"]) < 1e-5:
                continue  # Policy and reference agree: rounding decides.
            # Differences of log-probabilities near -100 have an error of 1e-5 in TRL.
            assert mine_now[name] == pytest.approx(value, rel=2e-4, abs=2e-5), name
    return found


@pytest.mark.parametrize("loss_type", [name for name in TRL_LOSS_TYPES if name not in TOGETHER])
def test_dpo(loss_type: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {"loss_type": [loss_type]}
    if loss_type in ("exo_pair", "robust", "aot"):
        options["label_smoothing"] = 0.1
    compare(trl.DPOTrainer, ours.DPOTrainer, trl.DPOConfig, preferences(40), tmp_path, options)


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS.keys())
def test_dpo_variants(options: dict[str, Any], tmp_path: Path) -> None:
    compare(trl.DPOTrainer, ours.DPOTrainer, trl.DPOConfig, preferences(40), tmp_path, options)


def test_dpo_of_an_adapter(tmp_path: Path) -> None:
    """PEFT's model: the reference is the same without its adapter."""
    adapter = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    options: dict[str, Any] = {"learning_rate": 3e-2}
    compare(
        trl.DPOTrainer,
        ours.DPOTrainer,
        trl.DPOConfig,
        preferences(40),
        tmp_path,
        options,
        adapter=adapter,
    )


def test_dpo_on_two_processes(tmp_path: Path) -> None:
    """Each process has half of the batch: losses and gathered metrics are TRL's."""
    program = Path(__file__).with_name("two_trainers.py")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "1"}
    done = subprocess.run(
        [*command, str(program), str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    for rank in range(2):
        expected, found = (
            json.loads((tmp_path / f"{name}-{rank}.json").read_text()) for name in ("theirs", "ours")
        )
        assert expected["processes"] == found["processes"] == 2
        np.testing.assert_allclose(found["losses"], expected["losses"], rtol=1e-5, atol=1e-7)
        assert [entry.keys() for entry in found["metrics"]] == [entry.keys() for entry in expected["metrics"]]
        for mine, theirs in zip(found["metrics"], expected["metrics"], strict=True):
            for name in ("loss", "logps/chosen", "logps/rejected", "entropy", "num_tokens"):
                assert mine[name] == pytest.approx(theirs[name], rel=2e-4), name
    shares = [json.loads((tmp_path / f"ours-{rank}.json").read_text())["losses"] for rank in range(2)]
    assert shares[0][1:] != shares[1][1:]  # halves of the batch, not the same one twice


def test_wpo_of_likelihood_which_trl_cannot_do(tmp_path: Path) -> None:
    options = {"use_weighting": True, "loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.2]}
    with pytest.raises(RuntimeError, match="single memory location"):
        train(trl.DPOTrainer, trl.DPOConfig, preferences(40), tmp_path, STEPS, **options)
    trainer = train(ours.DPOTrainer, trl.DPOConfig, preferences(40), tmp_path, STEPS, **options)
    assert np.isfinite(trainer.losses).all() and len(set(trainer.losses)) == STEPS


@pytest.mark.parametrize("loss_type", ["kto", "apo_zero_unpaired"])
def test_kto(loss_type: str, tmp_path: Path) -> None:
    options = {"loss_type": loss_type, "desirable_weight": 1.3, "undesirable_weight": 0.7}
    compare(trl.KTOTrainer, ours.KTOTrainer, trl.KTOConfig, judgements(40), tmp_path, options)


CPO_OPTIONS: dict[str, dict[str, Any]] = {
    "sigmoid": {"loss_type": "sigmoid", "label_smoothing": 0.1},
    "hinge": {"loss_type": "hinge"},
    "ipo": {"loss_type": "ipo"},
    "simpo": {"loss_type": "simpo", "cpo_alpha": 0.0, "simpo_gamma": 0.7, "beta": 2.0},
    "alphapo": {"loss_type": "simpo", "alpha": 0.25, "simpo_gamma": 0.1},
}


@pytest.mark.parametrize("options", CPO_OPTIONS.values(), ids=CPO_OPTIONS.keys())
def test_cpo(options: dict[str, Any], tmp_path: Path) -> None:
    compare(CPOTrainer, ours.CPOTrainer, CPOConfig, preferences(40), tmp_path, options, reference=False)


def test_orpo(tmp_path: Path) -> None:
    compare(ORPOTrainer, ours.ORPOTrainer, ORPOConfig, preferences(40), tmp_path, {}, reference=False)


EXPERTS: dict[str, tuple[type, type, type, bool]] = {
    "dpo": (trl.DPOTrainer, ours.DPOTrainer, trl.DPOConfig, True),
    "kto": (trl.KTOTrainer, ours.KTOTrainer, trl.KTOConfig, True),
    "cpo": (CPOTrainer, ours.CPOTrainer, CPOConfig, False),
    "orpo": (ORPOTrainer, ours.ORPOTrainer, ORPOConfig, False),
}


@pytest.mark.parametrize("name", EXPERTS)
def test_mixture_of_experts(name: str, tmp_path: Path) -> None:
    """The loss has the router's in it, as TRL's has."""
    theirs, mine, config, reference = EXPERTS[name]
    data = judgements(40) if name == "kto" else preferences(40)
    found = compare(theirs, mine, config, data, tmp_path, {}, reference=reference, model=mixtral)
    assert found.aux_loss_enabled
    if name in ("dpo", "kto"):  # The others' loss is logged as a whole.
        for entry, loss in zip(metrics(found), found.losses, strict=True):
            assert entry["aux_loss"] > 1 and loss > 2 * entry["aux_loss"]


def test_evaluation(tmp_path: Path) -> None:
    data = preferences(40)
    found = []
    for trainer_class in (trl.DPOTrainer, ours.DPOTrainer):
        trainer = train(trainer_class, trl.DPOConfig, data, tmp_path, 2)
        found.append(
            trainer.evaluate(trainer._prepare_dataset(data, trainer.processing_class, trainer.args, "eval"))
        )
    theirs, mine = found
    assert mine.keys() == theirs.keys()
    assert mine["eval_loss"] == pytest.approx(theirs["eval_loss"], rel=1e-5)
    assert mine["eval_rewards/margins"] == pytest.approx(theirs["eval_rewards/margins"], rel=2e-4, abs=2e-5)
