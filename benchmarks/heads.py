"""DPO over pairs, forward and gradient, against the batch: from the call's overhead to the memory's speed."""

from figures import Figure, Point
from machine import pin
from turns import Calls, Contestant, stop, take_turns, taking_part

BETA = 0.1


def _arrays(batch: int):
    import numpy as np

    return list(np.random.default_rng(7).normal(-300, 20, (4, batch)).astype(np.float32))


def swiftdpo_call(batch: int, threads: int) -> Calls:
    import swiftdpo

    swiftdpo.set_num_threads(threads)
    arrays = _arrays(batch)
    return {"": lambda: swiftdpo.dpo_loss(*arrays, BETA)}


def numpy_call(batch: int, threads: int) -> Calls:
    """The closed form, as a careful user writes it. NumPy has one thread."""
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


def _torch_loss_and_rewards(chosen, rejected, ref_chosen, ref_rejected):
    """As TRL and the authors of DPO write it: with the rewards, which swiftdpo.torch returns too."""
    import torch.nn.functional as F

    chosen_logratios, rejected_logratios = chosen - ref_chosen, rejected - ref_rejected
    losses = -F.logsigmoid(BETA * (chosen_logratios - rejected_logratios))
    return losses.mean(), BETA * chosen_logratios.detach(), BETA * rejected_logratios.detach()


def _with_autograd(batch: int, threads: int, loss) -> Calls:
    import torch

    torch.set_num_threads(threads)
    tensors = [torch.from_numpy(array) for array in _arrays(batch)]

    def call():
        chosen, rejected = (tensor.detach().requires_grad_() for tensor in tensors[:2])
        loss(chosen, rejected, *tensors[2:]).backward()
        return chosen.grad, rejected.grad

    return {"": call}


def torch_call(batch: int, threads: int) -> Calls:
    return _with_autograd(batch, threads, _torch_loss)


def torch_with_rewards_call(batch: int, threads: int) -> Calls:
    return _with_autograd(batch, threads, lambda *tensors: _torch_loss_and_rewards(*tensors)[0])


def torch_compiled_call(batch: int, threads: int) -> Calls:
    """Compiled anew for each size, which is PyTorch's best."""
    import torch

    torch.set_num_threads(threads)
    torch._dynamo.reset()
    return _with_autograd(batch, threads, torch.compile(_torch_loss, dynamic=False))


def swiftdpo_torch_call(batch: int, threads: int) -> Calls:
    import swiftdpo
    import swiftdpo.torch as sdt

    swiftdpo.set_num_threads(threads)
    return _with_autograd(batch, threads, lambda *tensors: sdt.dpo_loss(*tensors, beta=BETA)[0])


def jax_call(batch: int, threads: int) -> Calls:
    pin(threads)
    import jax
    import jax.numpy as jnp

    arrays = [jnp.asarray(array) for array in _arrays(batch)]

    def loss(chosen, rejected, ref_chosen, ref_rejected):
        return jax.nn.softplus(-BETA * ((chosen - ref_chosen) - (rejected - ref_rejected))).mean()

    both = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
    return {"": lambda: jax.block_until_ready(both(*arrays))}


CONTESTANTS = {
    "swiftdpo, NumPy arrays": swiftdpo_call,
    "swiftdpo.torch, autograd": swiftdpo_torch_call,
    "NumPy, closed form": numpy_call,
    "PyTorch, autograd": torch_call,
    "PyTorch, autograd, with rewards": torch_with_rewards_call,
    "PyTorch, compiled": torch_compiled_call,
    "JAX, jit": jax_call,
}


def run(quick: bool) -> Figure:
    batches = [1, 512, 65536] if quick else [1, 8, 64, 512, 4096, 16384, 65536]
    found: list[Point] = []
    left_out: dict[str, str] = {}
    for threads in [2] if quick else [1, 2]:
        contestants = {who: Contestant(make) for who, make in taking_part(CONTESTANTS, quick).items()}
        for batch in batches:
            size = {"batch": batch, "threads": threads}
            times = take_turns(contestants, size, rounds=5 if quick else 15, seconds=4)
            found += [Point(who, time, x=batch, threads=threads) for (who, _), time in times.items()]
        left_out |= stop(contestants)
    return Figure("heads", "DPO loss and gradient, float32", "pairs", found, left_out)
