"""Draws docs/losses.svg with the library: each loss over pairs, and its gradient, against the margin z."""

from pathlib import Path
from typing import get_args

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import swiftdpo
from swiftdpo.dpo import LossType

MARGINS = np.linspace(-6, 6, 73)
# Where the loss at a sure label, or at the default, would be refused or show nothing.
OPTIONS: dict[str, dict[str, object]] = {
    "robust": {"label_smoothing": 0.1},
    "exo_pair": {"label_smoothing": 0.1},
    "rao_kupper": {"tie_strength": 2.0},
    "davidson": {"tie_strength": 1.0},
    "discopop": {"discopop_tau": 1.0},
}
DIVIDE_BY_BETA = {"ipo", "ipo_norm", "sppo_hard"}


def curve(loss_type: str) -> tuple[np.ndarray, np.ndarray]:
    """Loss and d loss / dz of pairs whose rewards are z / 2 and -z / 2."""
    beta = 0.5 if loss_type in DIVIDE_BY_BETA else 1.0
    half = MARGINS / 2 / beta
    zero = np.zeros_like(half)
    reference = None if loss_type == "odds_ratio" else zero
    ones = np.ones(len(half), np.int64)
    # Odds need probabilities below 1.
    shift = -3.5 if loss_type == "odds_ratio" else 0.0
    out = swiftdpo.dpo_loss(
        shift + half,
        shift - half,
        reference,
        reference,
        beta=beta,
        loss_type=loss_type,  # type: ignore[arg-type]
        chosen_lengths=ones,
        rejected_lengths=ones,
        reward_gaps=zero + 1.0,
        reduction="none",
        **OPTIONS.get(loss_type, {}),  # type: ignore[arg-type]
    )
    slope = (out.grad_policy_chosen_logps - out.grad_policy_rejected_logps) / 2 / beta
    return out.losses, slope


def lowest(axes: np.ndarray, count: int) -> list[plt.Axes]:
    """The last axis of each column, where `count` are in use."""
    return list(axes.flat[max(0, count - axes.shape[1]) : count])


def main() -> None:
    # Losses that sort the batch have no curve of a single pair.
    names = [name for name in get_args(LossType) if not name.startswith("aot")]
    plt.rcParams |= {"svg.hashsalt": "swiftdpo", "svg.fonttype": "none", "font.size": 8}
    plt.rcParams |= {"axes.spines.top": False, "axes.spines.right": False}
    columns = 4
    rows = -(-len(names) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(10, 1.9 * rows), sharex=True, layout="constrained")
    for axis in axes.flat:
        axis.axis("off")
    for name, axis in zip(names, axes.flat, strict=False):
        losses, slope = curve(name)
        axis.axis("on")
        axis.axhline(0, color="0.8", linewidth=0.6)
        axis.axvline(0, color="0.8", linewidth=0.6)
        axis.plot(MARGINS, losses, color="#1f5fa8", linewidth=1.4, label="loss")
        axis.plot(MARGINS, slope, color="#c4461f", linewidth=1.2, linestyle="--", label="d loss / dz")
        axis.set_title(name, fontsize=9)
        axis.set_ylim(max(-3.0, min(losses.min(), slope.min()) - 0.2), min(6.0, losses.max() + 0.3))
        axis.set_xticks([-6, -3, 0, 3, 6])
    axes.flat[0].legend(frameon=False, loc="upper right")
    for axis in lowest(axes, len(names)):
        axis.set_xlabel("z")
        axis.tick_params(labelbottom=True)
    figure.savefig(Path(__file__).with_name("losses.svg"), metadata={"Date": None})


if __name__ == "__main__":
    main()
