"""TRL's trainer and ours, one after the other, in a process of a group: what each saw, as files."""

import gc
import json
import os
import sys
from pathlib import Path

import swiftdpo.trl as ours
import torch.distributed as dist
import trl
from trainers import metrics, preferences, train

STEPS = 3


def main(folder: Path) -> None:
    rank = int(os.environ["RANK"])
    for name, trainer_class in (("theirs", trl.DPOTrainer), ("ours", ours.DPOTrainer)):
        trainer = train(
            trainer_class, trl.DPOConfig, preferences(40), folder, STEPS, per_device_train_batch_size=2
        )
        seen = {
            "processes": trainer.accelerator.num_processes,
            "losses": trainer.losses,
            "metrics": metrics(trainer),
        }
        (folder / f"{name}-{rank}.json").write_text(json.dumps(seen))
    # As in examples/ddp_dpo.py: DDP goes before the group that it holds.
    del trainer
    gc.collect()
    dist.destroy_process_group()


main(Path(sys.argv[1]))
