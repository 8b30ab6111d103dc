"""What training did: a table, an honest accuracy beside two baselines, curves, and all of it as JSON."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np

from pairs import DEVELOPMENT, PROMPT_BYTES, Preferences

mpl.use("Agg")
import matplotlib.pyplot as plt

if TYPE_CHECKING:
    from train_dpo import Settings

RESAMPLES = 10_000
METHODS = {
    "dpo": "DPO: the policy's implicit rewards",
    "supervised": "baseline: the supervised model's own log-probabilities",
    "longer": "baseline: the longer response wins",
}


@dataclass(frozen=True)
class Evaluation:
    """Of one model on one side of its split, at the end of an epoch."""

    pairs: np.ndarray
    losses: np.ndarray
    margins: np.ndarray  # reward of the chosen response minus that of the rejected one
    log_ratios: np.ndarray  # log pi - log ref of responses sampled from the policy

    def metrics(self, data: Preferences) -> dict[str, float]:
        decided = data.p_chosen[self.pairs] > 0.5
        # Over the policy's responses, ref / pi - 1 + log(pi / ref) has the same mean as log(pi / ref), the KL
        # divergence; but it is never negative, and its variance is far smaller (Schulman 2020).
        divergences = np.expm1(-self.log_ratios) + self.log_ratios
        return {
            "loss": float(self.losses.mean()),
            "margin": float(self.margins.mean()),
            "accuracy": float(wins(self.margins[decided]).mean()),
            "kl": float(divergences.mean()),
            "kl_standard_error": float(divergences.std() / np.sqrt(len(divergences))),
        }


@dataclass(frozen=True)
class Fold:
    history: list[dict[str, Evaluation]]  # before the first epoch and after each: "train" and "validation"
    reference_logps: np.ndarray


def wins(margins: np.ndarray) -> np.ndarray:
    """1 where the chosen response is ahead, one half where neither is."""
    return (np.sign(margins) + 1) / 2


def pooled(evaluations: list[Evaluation]) -> Evaluation:
    columns = ([getattr(e, name) for e in evaluations] for name in Evaluation.__dataclass_fields__)
    return Evaluation(*map(np.concatenate, columns))


def interval(wins: np.ndarray, prompts: list[bytes], seed: int) -> tuple[float, float]:
    """95% bootstrap interval of the mean. Whole prompts are resampled, for pairs of one prompt are alike."""
    _, prompt = np.unique(prompts, return_inverse=True)
    won, pairs = np.bincount(prompt, wins), np.bincount(prompt)
    drawn = np.random.default_rng(seed).multinomial(len(won), np.full(len(won), 1 / len(won)), RESAMPLES)
    low, high = np.quantile(drawn @ won / (drawn @ pairs), [0.025, 0.975])
    return float(low), float(high)


def compare(data: Preferences, settings: "Settings", folds: list[Fold]) -> dict:
    """Accuracies on the decided validation pairs, each scored by a model that never saw its prompt."""
    last = [fold.history[-1]["validation"] for fold in folds]
    pairs = np.concatenate([evaluation.pairs for evaluation in last])
    supervised = [
        f.reference_logps[2 * e.pairs] - f.reference_logps[2 * e.pairs + 1]
        for f, e in zip(folds, last, strict=True)
    ]
    margins = {
        "dpo": np.concatenate([evaluation.margins for evaluation in last]),
        "supervised": np.concatenate(supervised),
        "longer": data.lengths[pairs, 0] - data.lengths[pairs, 1],
    }
    decided = data.p_chosen[pairs] > 0.5
    won = {method: wins(margin[decided]) for method, margin in margins.items()}
    prompts = [data.prompts[i] for i in pairs[decided]]
    sources = data.sources[pairs[decided]]
    return {
        "decided_pairs": int(decided.sum()),
        "undecided_pairs": int((~decided).sum()),
        "prompts": len(set(prompts)),
        "accuracy": {method: float(won[method].mean()) for method in METHODS},
        "interval_95": {method: interval(won[method], prompts, settings.seed) for method in METHODS},
        "by_source": {
            str(source): {"decided_pairs": int((sources == source).sum())}
            | {method: float(won[method][sources == source].mean()) for method in METHODS}
            for source in sorted(set(sources))
        },
    }


def describe(data: Preferences) -> dict[str, int]:
    longest = {prompt: len(prompt) - PROMPT_BYTES for prompt in data.prompts if len(prompt) > PROMPT_BYTES}
    return {
        "pairs": len(data.prompts),
        "prompts": len(set(data.prompts)),
        "soft_labels": int(((data.p_chosen > 0.5) & (data.p_chosen < 1)).sum()),
        "undecided": int((data.p_chosen == 0.5).sum()),
        "response_bytes": int((data.lengths - 1).sum()),
        "longest_response": int(data.lengths.max() - 1),
        "empty_responses": int((data.lengths == 1).sum()),
        "cut_prompts": len(longest),
        "cut_bytes": sum(longest.values()),
    }


def print_data(data: Preferences, settings: "Settings") -> None:
    facts = describe(data)
    models = "one model, briefly" if settings.folds == (DEVELOPMENT,) else f"{len(settings.folds)} models"
    print(f"""
{facts["pairs"]:,} pairs of responses to {facts["prompts"]} prompts, {facts["response_bytes"]:,} bytes
  votes      {facts["soft_labels"]} pairs had split votes and {facts["undecided"]} were undecided: soft labels
  responses  are never cut (the longest has {facts["longest_response"]:,} bytes). Each ends with an END token,
             so that the {facts["empty_responses"]} empty ones have one token, too
  prompts    are read from their last {PROMPT_BYTES:,} bytes: of {facts["cut_prompts"]} longer ones
             {facts["cut_bytes"]:,} bytes go unread

Training {models}: {settings.supervised_epochs} epochs on chosen responses, then \
{settings.preference_epochs} of DPO
""")


def print_table(history: list[dict]) -> None:
    columns = f"{'loss':>8}{'margin':>9}{'accuracy':>10}{'KL':>9}"
    print(f"{'':7}{' train ':-^36}   {' validation ':-^36}")
    print(f"{'epoch':<7}{columns}   {columns}")
    for epoch in history:
        cells = (
            f"{m['loss']:>8.4f}{m['margin']:>9.3f}{m['accuracy']:>10.1%}{m['kl']:>9.4f}"
            for m in (epoch["train"], epoch["validation"])
        )
        print(f"{epoch['epoch']:<7}{'   '.join(cells)}")
    print("loss: 0.6931 is ln 2, that of a policy without an opinion; margin: of rewards, in nats;")
    print("KL: from the reference, estimated, in nats per sampled response")


def bits_per_byte(data: Preferences, folds: list[Fold]) -> float:
    """Of the supervised models, on chosen validation responses. Knowing nothing, it would be 8."""
    logps = tokens = 0
    for fold in folds:
        chosen = 2 * fold.history[0]["validation"].pairs
        logps += fold.reference_logps[chosen].sum()
        tokens += data.corpus.lengths[chosen].sum()
    return float(-logps / tokens / np.log(2))


def print_comparison(result: dict, settings: "Settings") -> None:
    if settings.folds == (DEVELOPMENT,):
        scored = (
            "scored by a brief training on the other prompts;\nsettings were chosen on these very prompts"
        )
    else:
        scored = "each scored by the model that never saw its prompt;\nsettings were chosen on other prompts"
    print(f"""
Which response do people prefer? {result["decided_pairs"]} pairs of {result["prompts"]} prompts, {scored}.
({result["undecided_pairs"]} undecided pairs do not count.)
""")
    print(f"{'':<56}{'accuracy':>8}   95% interval")
    for method, text in METHODS.items():
        low, high = result["interval_95"][method]
        print(f"  {text:<54}{result['accuracy'][method]:>8.1%}   {low:.1%} to {high:.1%}")
    print(f"\n  {'source':<24}{'pairs':>6}{'DPO':>9}{'supervised':>13}{'longer':>9}")
    for source, row in result["by_source"].items():
        cells = f"{row['dpo']:>9.1%}{row['supervised']:>13.1%}{row['longer']:>9.1%}"
        print(f"  {source:<24}{row['decided_pairs']:>6}{cells}")


def draw(path: Path, history: list[dict], by_fold: list[list[dict]], result: dict) -> None:
    figure, axes = plt.subplots(2, 3, figsize=(13, 7.5), layout="constrained")
    colors = {"train": "tab:blue", "validation": "tab:orange"}
    titles = {
        "loss": "DPO loss",
        "margin": "reward margin (nats)",
        "accuracy": "preference accuracy",
        "kl": "KL from the reference (nats per response)",
    }
    curves = (axes[0, 0], axes[0, 1], axes[1, 0], axes[1, 1])
    for (metric, title), panel in zip(titles.items(), curves, strict=True):
        for side, color in colors.items():
            for fold in by_fold:
                panel.plot([epoch[side][metric] for epoch in fold], color=color, alpha=0.3, linewidth=0.8)
            values = [epoch[side][metric] for epoch in history]
            panel.plot(values, color=color, marker="o", markersize=4, label=side)
        panel.set(title=title, xlabel="epoch", xticks=range(len(history)))
    curves[0].legend()

    panel = axes[0, 2]
    for row, method in enumerate(METHODS):
        value, ends = result["accuracy"][method], np.array(result["interval_95"][method])
        panel.errorbar(value, row, xerr=abs(ends - value)[:, None], fmt="o", capsize=4, color=f"C{row + 1}")
    panel.set(title="validation accuracy, 95% interval", ylim=(2.5, -0.5))
    panel.set_yticks(range(3), ["DPO", "supervised", "longer wins"])

    panel = axes[1, 2]
    for row, source in enumerate(result["by_source"].values()):
        panel.plot(source["dpo"], row, "o", color="C1")
        panel.plot(source["longer"], row, "|", color="C3", markersize=10)
    names = [f"{name} ({row['decided_pairs']})" for name, row in result["by_source"].items()]
    panel.set_yticks(range(len(names)), names, fontsize=8)
    panel.set(title="by source: DPO (dot), longer wins (bar)", xlim=(0, 1), ylim=(len(names) - 0.5, -0.5))
    for panel in axes[:, 2]:
        panel.axvline(0.5, color="0.7", linestyle=":", zorder=0)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)


def report(data: Preferences, settings: "Settings", folds: list[Fold], output_dir: Path) -> None:
    by_fold = [[{s: e.metrics(data) for s, e in epoch.items()} for epoch in fold.history] for fold in folds]
    history = [
        {"epoch": epoch}
        | {side: pooled([e[side] for e in epochs]).metrics(data) for side in ("train", "validation")}
        for epoch, epochs in enumerate(zip(*(fold.history for fold in folds), strict=True))
    ]
    result = compare(data, settings, folds)
    supervised = bits_per_byte(data, folds)
    print(f"\nphase 1 leaves {supervised:.2f} bits per byte of the chosen validation responses; phase 2:")
    print_table(history)
    print_comparison(result, settings)

    output_dir.mkdir(parents=True, exist_ok=True)
    plot, metrics = output_dir / "preferences.png", output_dir / "preferences.json"
    draw(plot, history, by_fold, result)
    record = {
        "settings": asdict(settings),
        "data": describe(data),
        "supervised_bits_per_byte": supervised,
        "history": history,
        "validation": result,
    }
    metrics.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(f"\nwrote {plot} and {metrics}")
