"""DPO over pairs, forward and gradient, against the batch: from the call's overhead to the memory's speed."""

import argparse

from figures import Figure, Point, points
from turns import Call, Contestant, take_turns

BETA = 0.1


def _arrays(batch: int):
    import numpy as np

    return list(np.random.default_rng(7).normal(-300, 20, (4, batch)).astype(np.float32))


def swiftdpo_call(batch: int, threads: int) -> dict[str, Call]:
    import swiftdpo

    swiftdpo.set_num_threads(threads)
    arrays = _arrays(batch)
    return {"": lambda: swiftdpo.dpo_loss(*arrays, BETA)}


def numpy_call(batch: int, threads: int) -> dict[str, Call]:
    """The closed form, as a careful user writes it."""
    import numpy as np

    chosen, rejected, ref_chosen, ref_rejected = _arrays(batch)

    def call():
        z = BETA * ((chosen - ref_chosen) - (rejected - ref_rejected))
        gradient = -BETA / batch / (1 + np.exp(z))
        return np.logaddexp(0, -z).mean(), gradient, -gradient

    return {"": call}


def _torch_loss(chosen, rejected, ref_chosen, ref_rejected):
    import torch.nn.functional as F

    return F.softplus(-BETA * ((chosen - ref_chosen) - (rejected - ref_rejected))).mean()


def torch_call(batch: int, threads: int, compiled: bool) -> dict[str, Call]:
    import torch

    torch.set_num_threads(threads)
    tensors = [torch.from_numpy(array) for array in _arrays(batch)]
    loss = torch.compile(_torch_loss) if compiled else _torch_loss

    def call():
        chosen, rejected = (tensor.detach().requires_grad_() for tensor in tensors[:2])
        loss(chosen, rejected, *tensors[2:]).backward()
        return chosen.grad, rejected.grad

    call()
    return {"": call}


def swiftdpo_torch_call(batch: int, threads: int) -> dict[str, Call]:
    import swiftdpo
    import swiftdpo.torch as sdt
    import torch

    torch.set_num_threads(threads)
    swiftdpo.set_num_threads(threads)
    tensors = [torch.from_numpy(array) for array in _arrays(batch)]

    def call():
        chosen, rejected = (tensor.detach().requires_grad_() for tensor in tensors[:2])
        sdt.dpo_loss(chosen, rejected, *tensors[2:], beta=BETA)[0].backward()
        return chosen.grad, rejected.grad

    return {"": call}


def jax_call(batch: int, threads: int) -> dict[str, Call]:
    """JAX takes the threads that the process may use."""
    import jax
    import jax.numpy as jnp

    arrays = [jnp.asarray(array) for array in _arrays(batch)]

    def loss(chosen, rejected, ref_chosen, ref_rejected):
        return jax.nn.softplus(-BETA * ((chosen - ref_chosen) - (rejected - ref_rejected))).mean()

    both = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
    return {"": lambda: jax.block_until_ready(both(*arrays))}


def run(quick: bool) -> Figure:
    batches = [1, 64, 4096, 65536] if quick else [1, 8, 64, 512, 4096, 16384, 65536]
    found: list[Point] = []
    for threads in [2] if quick else [1, 2]:
        for batch in batches:
            sizes = {"batch": batch, "threads": threads}
            contestants = {
                "swiftdpo": Contestant(swiftdpo_call, **sizes),
                "swiftdpo.torch": Contestant(swiftdpo_torch_call, **sizes),
                "NumPy closed form": Contestant(numpy_call, **sizes),
                "PyTorch autograd": Contestant(torch_call, **sizes, compiled=False),
                "JAX jit": Contestant(jax_call, **sizes),
            }
            if not quick:
                contestants["PyTorch compiled"] = Contestant(torch_call, **sizes, compiled=True)
            repeats = max(1, 20_000 // (batch + 100))
            times = take_turns(contestants, rounds=7 if quick else 15, repeats=repeats)
            found += points(times, x=batch, threads=threads)
    return Figure("heads", "DPO loss and gradient over pairs, float32", "pairs", "seconds per call", found)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    run(parser.parse_args().quick).print()
