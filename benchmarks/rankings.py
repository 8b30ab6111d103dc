"""Plackett-Luce, forward and gradient, beside PyTorch; worths of items beside choix. Runs alternate.

    python benchmarks/rankings.py

The stable PyTorch version is flip, logcumsumexp, flip; the unstable one exponentiates scores less their
largest and adds them up, which is wrong where scores are far apart. Both differentiate by autograd.
Needs torch and choix.
"""

import json
import time
from pathlib import Path

import choix
import numpy as np
import swiftdpo
import torch

SHAPES = [(64, 8), (1024, 64), (16, 4096)]
ROUNDS = 60
BETA = 0.1


def stable(scores: torch.Tensor) -> torch.Tensor:
    return (scores.flip(-1).logcumsumexp(-1).flip(-1) - scores).sum(-1).mean()


def unstable(scores: torch.Tensor) -> torch.Tensor:
    largest = scores.max(-1, keepdim=True).values
    sums = (scores - largest).exp().flip(-1).cumsum(-1).flip(-1)
    return (sums.log() + largest - scores).sum(-1).mean()


def seconds(functions: dict, rounds: int = ROUNDS) -> dict[str, float]:
    """The shortest time of each, in alternating runs."""
    best = dict.fromkeys(functions, float("inf"))
    for _ in range(rounds):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            best[name] = min(best[name], time.perf_counter() - start)
    return best


def losses() -> None:
    print(f"forward and gradient, float32, {torch.get_num_threads()} threads of PyTorch, ", end="")
    print(f"{swiftdpo.num_threads()} of swiftdpo; microseconds")
    for shape in SHAPES:
        rng = np.random.default_rng(0)
        policy, ref = rng.normal(size=(2, *shape)).astype(np.float32)
        ours = torch.tensor(policy, requires_grad=True)
        reference = torch.tensor(ref)

        def theirs(loss, ours=ours, reference=reference):
            ours.grad = None
            loss(BETA * (ours - reference)).backward()

        best = seconds(
            {
                "swiftdpo": lambda policy=policy, ref=ref: swiftdpo.plackett_luce_loss(policy, ref, BETA),
                "stable": lambda theirs=theirs: theirs(stable),
                "unstable": lambda theirs=theirs: theirs(unstable),
            }
        )
        print(f"  {list(shape)!s:12}", end="")
        for name, time_ in best.items():
            print(f"  {name} {time_ * 1e6:8.1f} ({time_ / best['swiftdpo']:.1f} x)", end="")
        print()


def linearity() -> None:
    print("one group of K items, nanoseconds for each item")
    for size in (1_000, 10_000, 100_000, 1_000_000):
        scores = np.random.default_rng(0).normal(size=(1, size))
        best = seconds({"K": lambda scores=scores: swiftdpo.plackett_luce_loss(scores, beta=1.0)}, 5)
        print(f"  K = {size:9,}  {best['K'] / size * 1e9:6.1f}")


def fits() -> None:
    path = Path(__file__).parents[1] / "examples" / "data" / "nascar2002.json"
    races = [[driver for driver in race if driver < 83] for race in json.loads(path.read_text())["races"]]
    best = seconds(
        {
            "swiftdpo": lambda: swiftdpo.fit_plackett_luce(races, tolerance=1e-12, standard_errors=False),
            "choix": lambda: choix.ilsr_rankings(83, races, tol=1e-12, max_iter=1000),
        },
        10,
    )
    ours = swiftdpo.fit_plackett_luce(races, tolerance=1e-12, standard_errors=False).log_worths
    theirs = choix.ilsr_rankings(83, races, tol=1e-12, max_iter=1000)
    print(
        f"NASCAR 2002: swiftdpo {best['swiftdpo'] * 1e3:.2f} ms, choix {best['choix'] * 1e3:.1f} ms ", end=""
    )
    print(f"({best['choix'] / best['swiftdpo']:.0f} x); worths differ by {abs(ours - theirs).max():.1e}")


if __name__ == "__main__":
    losses()
    linearity()
    fits()
