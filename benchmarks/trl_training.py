"""100 steps of DPO on the bundled pairs with TRL's trainer and with swiftdpo's: the same losses? The time?

A small Llama made from a configuration, bytes as tokens, float32 on CPUs, nothing from the network.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bindings" / "python" / "tests" / "frameworks"))


def run(which: str, steps: int) -> dict[str, object]:
    import swiftdpo.trl
    import trl
    from trainers import preferences, train

    trainer_class = trl.DPOTrainer if which == "TRL" else swiftdpo.trl.DPOTrainer
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        options = {"learning_rate": 1e-4, "logging_steps": 50}
        trainer = train(trainer_class, trl.DPOConfig, preferences(120, 200), Path(folder), steps, **options)
        return {"losses": trainer.losses, "seconds": time.perf_counter() - start}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--trainer", choices=["TRL", "swiftdpo"], help="run one in this process")
    options = parser.parse_args()
    if options.trainer:
        print(json.dumps(run(options.trainer, options.steps)))
        return
    found = {}
    for which in ("TRL", "swiftdpo"):
        command = [sys.executable, __file__, "--trainer", which, "--steps", str(options.steps)]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found[which] = json.loads(output.splitlines()[-1])
    theirs, ours = found["TRL"]["losses"], found["swiftdpo"]["losses"]
    differences = [abs(a - b) / abs(a) for a, b in zip(theirs, ours, strict=True)]
    print(f"losses from {theirs[0]:.6f} to {theirs[-1]:.6f} (TRL), {ours[-1]:.6f} (swiftdpo)")
    print(f"largest relative difference of {len(differences)} steps: {max(differences):.1e}")
    for which, result in found.items():
        print(f"{which:10s} {result['seconds']:6.1f} s")
    if max(differences) > 1e-5:
        sys.exit("The losses differ by more than 1e-5.")


if __name__ == "__main__":
    main()
