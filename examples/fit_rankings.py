"""Who drove best in the 2002 NASCAR season? Plackett-Luce worths, fitted with SciPy on the library's loss.

The model: each race is a lottery without replacement, in which a driver of log-worth s is drawn next with
probability proportional to exp(s). `swiftdpo.plackett_luce_loss` gives minus the log-likelihood and its
gradient; SciPy climbs. Hunter (2004), "MM algorithms for generalized Bradley-Terry models", made this season
the standard example.
"""

import argparse
import json
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import swiftdpo
from scipy.optimize import minimize

mpl.use("Agg")
import matplotlib.pyplot as plt

DATA = Path(__file__).parent / "data"
MAXIMUM = -4191.0972845972577  # of the log-likelihood, by Newton's method, checked in 40-digit arithmetic
TOLERANCE = 1e-9  # relative


def drop_hopeless(
    drivers: list[str], races: list[list[int]]
) -> tuple[list[str], list[np.ndarray], list[str]]:
    """Drivers and races without those who came last wherever they started, and their names.

    The likelihood is highest where their worth is 0, which no log-worth reaches.
    """
    hopeful = sorted({driver for race in races for driver in race[:-1]})
    number = {old: new for new, old in enumerate(hopeful)}
    races = [np.array([number[i] for i in race if i in number]) for race in races]
    return [drivers[i] for i in hopeful], races, [drivers[i] for i in range(len(drivers)) if i not in number]


def fit(num_drivers: int, races: list[np.ndarray]) -> tuple[np.ndarray, float, int]:
    """Log-worths at the maximum, the log-likelihood there, and how often it was evaluated.

    A constant added to all log-worths changes no probability: the objective is flat in one direction. So
    driver 0 stays at 0, which leaves one maximum; the caller may shift the result as it likes.
    """
    starters = np.concatenate(races)
    offsets = np.cumsum([0, *map(len, races)])

    def negative_log_likelihood(free: np.ndarray) -> tuple[float, np.ndarray]:
        log_worths = np.concatenate([[0.0], free])
        out = swiftdpo.plackett_luce_loss(log_worths[starters], offsets=offsets, beta=1.0, reduction="sum")
        gradient = np.bincount(starters, out.grad_policy_logps, minlength=num_drivers)
        return out.loss, gradient[1:]

    start = np.zeros(num_drivers - 1)
    found = minimize(negative_log_likelihood, start, jac=True, method="BFGS", options={"gtol": 1e-7})
    return np.concatenate([[0.0], found.x]), -found.fun, found.nfev


def draw(
    path: Path, drivers: list[str], worths: np.ndarray, published: np.ndarray, starts: np.ndarray
) -> None:
    order, rows = np.argsort(worths), np.arange(len(drivers))
    left = 0.8 * worths.min()
    figure, axes = plt.subplots(figsize=(7.5, 14), layout="constrained")
    axes.hlines(rows, left, worths[order], color="0.9", linewidth=0.8, zorder=0)
    axes.scatter(published[order], rows, s=60, facecolors="none", edgecolors="0.55", label="published")
    dots = axes.scatter(worths[order], rows, s=14, c=starts[order], cmap="viridis_r", label="fitted")
    axes.set(xscale="log", ylim=(-1, len(rows)), title="Plackett–Luce worths, NASCAR 2002")
    axes.set(xlabel="worth: the chance to win a race against all others")
    axes.set_xlim(left=left)
    axes.set_yticks(rows, [drivers[i] for i in order], fontsize=7)
    axes.legend(loc="lower right")
    figure.colorbar(dots, label="races entered", shrink=0.3, aspect=30)
    figure.savefig(path, dpi=120, metadata={"Software": None})
    plt.close(figure)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output-dir", type=Path, default="build/demo", help="default: %(default)s")
    output_dir = parser.parse_args().output_dir
    output_dir.mkdir(parents=True, exist_ok=True)

    season = json.loads((DATA / "nascar2002.json").read_text(encoding="utf-8"))
    known = json.loads((DATA / "nascar2002_published.json").read_text(encoding="utf-8"))
    drivers, races, dropped = drop_hopeless(season["drivers"], season["races"])
    fewest, most = min(map(len, races)), max(map(len, races))
    print(f"NASCAR 2002: {len(races)} races of {fewest} to {most} starters, {len(drivers)} drivers")
    print(f"left out, last wherever they started: {', '.join(dropped)}\n")

    log_worths, log_likelihood, evaluations = fit(len(drivers), races)
    log_worths -= log_worths.mean()
    worths = np.exp(log_worths) / np.exp(log_worths).sum()
    published = np.array([known["worths"][name] for name in drivers])
    starters = np.concatenate(races)
    starts = np.bincount(starters)
    mean_places = np.bincount(starters, np.concatenate([np.arange(len(race)) + 1 for race in races])) / starts

    print(f"    {'driver':<22}{'races':>5}{'mean place':>12}{'log-worth':>11}{'worth':>12}{'published':>12}")
    for rank, i in enumerate(np.argsort(-worths), 1):
        numbers = f"{starts[i]:>5}{mean_places[i]:>12.2f}{log_worths[i]:>11.4f}{worths[i]:>12.8f}"
        print(f"{rank:>2}  {drivers[i]:<22}{numbers}{published[i]:>12.8f}")

    reference = known["reference_driver"]
    print(f"\n{'log-worth above that of ' + reference:<40}{'fitted':>9}{'published':>12}")
    above = {}
    for name, value in known["log_worth_above_reference"].items():
        above[name] = log_worths[drivers.index(name)] - log_worths[drivers.index(reference)]
        print(f"  {name:<38}{above[name]:>9.4f}{value:>12.2f}")

    error = abs(log_likelihood / MAXIMUM - 1)
    furthest = np.abs(worths - published).max()
    differ = max(abs(above[name] - value) for name, value in known["log_worth_above_reference"].items())
    checks = [
        (
            error <= TOLERANCE,
            f"log-likelihood {log_likelihood:.10f}: {error:.0e} from the maximum, relatively",
        ),
        (furthest <= 5.01e-9, f"worths within {furthest:.2e} of the published ones: rounding to 8 decimals"),
        (differ <= 0.00501, f"differences within {differ:.4f} of the published ones: rounding to 2 decimals"),
    ]
    print(f"\nBFGS took {evaluations} evaluations of the loss and its gradient")
    for passed, text in checks:
        print(f"  {'ok    ' if passed else 'FAILED'}  {text}")

    plot, result = output_dir / "nascar2002.png", output_dir / "nascar2002.json"
    draw(plot, drivers, worths, published, starts)
    record = {"log_likelihood": log_likelihood, "worths": dict(zip(drivers, worths.tolist(), strict=True))}
    result.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(f"\nwrote {plot} and {result}")
    return 0 if all(passed for passed, _ in checks) else 1


if __name__ == "__main__":
    sys.exit(main())
