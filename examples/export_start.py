"""Writes what the demo draws at random before it trains: for cpp/dpo_train.cpp, which trains from there on.

Parameters (what begins at 0 is left out), the split of the pairs, and the order of batches.
"""

import argparse
import json
from pathlib import Path

from pairs import DEVELOPMENT, Preferences
from train_dpo import QUICK, Run, Settings


def start_of(data: Preferences, fold: int, settings: Settings) -> dict:
    run = Run(data, fold, settings, tick=lambda: None)
    drawn = {name: table for name, table in run.model.parameters.items() if table.any()}
    return {
        "beta": settings.beta,
        "supervised_rate": settings.supervised_rate,
        "preference_rate": settings.preference_rate,
        "ngram_rate": settings.ngram_rate,
        "control_rate": settings.control_rate,
        "parameters": {name: table.ravel().tolist() for name, table in drawn.items()},
        "evaluated": {side: pairs.tolist() for side, pairs in run.evaluated.items()},
        # In the order of training, which draws the epochs from one generator.
        "supervised_batches": [[batch.tolist() for batch in epoch] for epoch in run.supervised_batches()],
        "preference_batches": [[batch.tolist() for batch in epoch] for epoch in run.preference_batches()],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="of `train_dpo.py --quick`")
    parser.add_argument("--fold", type=int, default=DEVELOPMENT, help="which prompts validate")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    settings = Settings(**(QUICK if arguments.quick else {}))
    arguments.output.write_text(json.dumps(start_of(Preferences(), arguments.fold, settings)))


if __name__ == "__main__":
    main()
