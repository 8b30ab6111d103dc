"""Plackett-Luce, forward and gradient, against the number of items; and worths of items beside choix.

The stable PyTorch version is flip, logcumsumexp, flip; the unstable one exponentiates scores less their
largest and adds them up, which is wrong where scores are far apart. ListMLE after allRank adds an epsilon.
"""

import argparse
import json
from pathlib import Path

from figures import Figure, Point, points
from turns import Call, Contestant, take_turns

BETA = 0.1
RACES = Path(__file__).parents[1] / "examples" / "data" / "nascar2002.json"


def _scores(groups: int, items: int):
    import numpy as np

    return np.random.default_rng(0).normal(size=(2, groups, items)).astype(np.float32)


def swiftdpo_call(groups: int, items: int, threads: int) -> dict[str, Call]:
    import swiftdpo

    swiftdpo.set_num_threads(threads)
    policy, ref = _scores(groups, items)
    return {"": lambda: swiftdpo.plackett_luce_loss(policy, ref, BETA)}


def torch_calls(groups: int, items: int, threads: int) -> dict[str, Call]:
    import torch

    torch.set_num_threads(threads)
    policy, ref = map(torch.from_numpy, _scores(groups, items))

    def stable(scores):
        return (scores.flip(-1).logcumsumexp(-1).flip(-1) - scores).sum(-1).mean()

    def unstable(scores, epsilon=0.0):
        largest = scores.max(-1, keepdim=True).values
        sums = (scores - largest).exp().flip(-1).cumsum(-1).flip(-1)
        return ((sums + epsilon).log() + largest - scores).sum(-1).mean()

    def call(loss):
        leaf = policy.detach().requires_grad_()
        loss(BETA * (leaf - ref)).backward()
        return leaf.grad

    return {
        "logcumsumexp (stable)": lambda: call(stable),
        "cumsum (unstable)": lambda: call(unstable),
        "ListMLE as allRank has it": lambda: call(lambda scores: unstable(scores, 1e-10)),
    }


def jax_call(groups: int, items: int, threads: int) -> dict[str, Call]:
    """JAX takes the threads that the process may use."""
    import jax
    import jax.numpy as jnp

    policy, ref = map(jnp.asarray, _scores(groups, items))

    def loss(policy):
        scores = BETA * (policy - ref)
        return (jax.lax.cumlogsumexp(scores, axis=1, reverse=True) - scores).sum(-1).mean()

    both = jax.jit(jax.value_and_grad(loss))
    return {"cumlogsumexp": lambda: jax.block_until_ready(both(policy))}


def _races() -> list[list[int]]:
    """Without the drivers who only ever came last in their races: their worth has no maximum."""
    return [[driver for driver in race if driver < 83] for race in json.loads(RACES.read_text())["races"]]


def swiftdpo_fit() -> dict[str, Call]:
    import swiftdpo

    races = _races()
    return {"": lambda: swiftdpo.fit_plackett_luce(races, tolerance=1e-12, standard_errors=False)}


def choix_fit() -> dict[str, Call]:
    import choix

    races = _races()
    return {"": lambda: choix.ilsr_rankings(83, races, tol=1e-12, max_iter=1000)}


def run(quick: bool) -> Figure:
    """Sizes with about the same number of scores, but for the first."""
    shapes = [(64, 8), (1024, 64), (16, 4096)]
    if not quick:
        shapes += [(16384, 4), (1, 65536), (1, 1_000_000)]
    found: list[Point] = []
    for threads in [2] if quick else [1, 2]:
        for groups, items in sorted(shapes, key=lambda shape: shape[1]):
            sizes = {"groups": groups, "items": items, "threads": threads}
            contestants = {
                "swiftdpo": Contestant(swiftdpo_call, **sizes),
                "PyTorch": Contestant(torch_calls, **sizes),
            }
            if threads > 1 and items < 10_000:
                contestants["JAX jit"] = Contestant(jax_call, **sizes)
            repeats = max(1, 20_000 // (groups * items // 10 + 100))
            times = take_turns(contestants, rounds=7 if quick else 15, repeats=repeats)
            found += points(times, x=items, threads=threads)
    fits = take_turns({"swiftdpo": Contestant(swiftdpo_fit), "choix": Contestant(choix_fit)}, rounds=5)
    notes = {}
    if "choix" in fits:
        notes["NASCAR 2002, 36 races of 43 drivers, worths to 1e-12"] = {
            "swiftdpo_ms": round(fits["swiftdpo"].median * 1e3, 3),
            "choix_ms": round(fits["choix"].median * 1e3, 1),
            "ratio": round(fits["choix"].median / fits["swiftdpo"].median, 1),
        }
    title = "Plackett-Luce loss and gradient, float32"
    return Figure("rankings", title, "items per group", "seconds per call", found, notes)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    run(parser.parse_args().quick).print()
