"""Plackett-Luce, forward and gradient, against the number of items; the same number of scores at each size.

The stable PyTorch version is flip, logcumsumexp, flip; the unstable one exponentiates scores less their
largest and adds them up, which is wrong where scores are far apart. ListMLE after allRank adds an epsilon.
"""

from figures import Figure, Point
from machine import pin
from turns import Calls, Contestant, stop, take_turns, taking_part

BETA = 0.1
SCORES = 65_536


def _scores(groups: int, items: int):
    import numpy as np

    return np.random.default_rng(0).normal(size=(2, groups, items)).astype(np.float32)


def swiftdpo_call(groups: int, items: int, threads: int) -> Calls:
    import swiftdpo

    swiftdpo.set_num_threads(threads)
    policy, ref = _scores(groups, items)
    return {"": lambda: swiftdpo.plackett_luce_loss(policy, ref, BETA)}


def _torch_call(groups: int, items: int, threads: int, loss) -> Calls:
    import torch

    torch.set_num_threads(threads)
    policy, ref = map(torch.from_numpy, _scores(groups, items))

    def call():
        leaf = policy.detach().requires_grad_()
        loss(BETA * (leaf - ref)).backward()
        return leaf.grad

    return {"": call}


def _stable(scores):
    return (scores.flip(-1).logcumsumexp(-1).flip(-1) - scores).sum(-1).mean()


def _unstable(scores, epsilon=0.0):
    largest = scores.max(-1, keepdim=True).values
    sums = (scores - largest).exp().flip(-1).cumsum(-1).flip(-1)
    return ((sums + epsilon).log() + largest - scores).sum(-1).mean()


def torch_stable_call(groups: int, items: int, threads: int) -> Calls:
    return _torch_call(groups, items, threads, _stable)


def torch_unstable_call(groups: int, items: int, threads: int) -> Calls:
    return _torch_call(groups, items, threads, _unstable)


def torch_compiled_call(groups: int, items: int, threads: int) -> Calls:
    """The unstable one: logcumsumexp is not compiled. Compiled anew for each size."""
    import torch

    torch._dynamo.reset()
    return _torch_call(groups, items, threads, torch.compile(_unstable, dynamic=False))


def list_mle_call(groups: int, items: int, threads: int) -> Calls:
    return _torch_call(groups, items, threads, lambda scores: _unstable(scores, 1e-10))


def jax_call(groups: int, items: int, threads: int) -> Calls:
    pin(threads)
    import jax
    import jax.numpy as jnp

    policy, ref = map(jnp.asarray, _scores(groups, items))

    def loss(policy):
        scores = BETA * (policy - ref)
        return (jax.lax.cumlogsumexp(scores, axis=1, reverse=True) - scores).sum(-1).mean()

    both = jax.jit(jax.value_and_grad(loss))
    return {"": lambda: jax.block_until_ready(both(policy))}


CONTESTANTS = {
    "swiftdpo": swiftdpo_call,
    "PyTorch, logcumsumexp (stable)": torch_stable_call,
    "PyTorch, cumsum (unstable)": torch_unstable_call,
    "PyTorch, cumsum, compiled": torch_compiled_call,
    "ListMLE after allRank": list_mle_call,
    "JAX, cumlogsumexp, jit": jax_call,
}


NOTE = (
    "Unstable: the sums of exponentials are those of scores less the largest, which underflow where scores "
    "are far apart; ListMLE after allRank adds 1e-10 to them."
)


def _measure(name: str, title: str, sizes: list[int], scores: int, threads: list[int], quick: bool) -> Figure:
    found: list[Point] = []
    left_out: dict[str, str] = {}
    for count in threads:
        contestants = {who: Contestant(make) for who, make in taking_part(CONTESTANTS, quick).items()}
        for items in sizes:
            size = {"groups": scores // items, "items": items, "threads": count}
            times = take_turns(contestants, size, rounds=5 if quick else 11, seconds=5)
            found += [Point(who, time, x=items, threads=count) for (who, _), time in times.items()]
        left_out |= stop(contestants)
    return Figure(name, title, "items per ranking", found, left_out, NOTE)


def run(quick: bool) -> Figure:
    sizes = [4, 64, 4096] if quick else [4, 16, 64, 256, 1024, 4096, 16384, 65536]
    title = f"Plackett-Luce loss and gradient, {SCORES:,} scores, float32"
    return _measure("rankings", title, sizes, SCORES, [2] if quick else [1, 2], quick)


def run_few(quick: bool) -> Figure:
    """64 rankings of 8: what a step of training has."""
    title = "Plackett-Luce loss and gradient, 64 rankings of 8, float32"
    return _measure("rankings_few", title, [8], 512, [1], quick)
