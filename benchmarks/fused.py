"""DPO from hidden states, with the head's gradients and the logits of a reference: beside the products alone.

The limit is the four matrix products over the rows that score a label, by the BLAS that the contestant uses:
The limit is the four matrix products over the rows that score a label, by the BLAS of the contestant:
grows by during its first step, less the gradients. Each loss is compared with that of its inputs in double
precision.
"""

import argparse
import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from figures import Figure, points
from turns import WARM_MALLOC, Call, Contestant, take_turns

BETA = 0.1
TOKENS, SCORED = 256, 192
WIDTH, VOCABULARY = 1024, 32_000
IGNORED = -100
# They would have OpenBLAS take other kernels than those it has for this processor.
BLAS_OVERRIDES = ["OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"]


class Heads(NamedTuple):
    """Policy and reference in single precision, for sequences of TOKENS, the last SCORED of which count."""

    hidden: Any
    weight: Any
    ref_hidden: Any
    ref_weight: Any
    labels: Any

    @classmethod
    def make(cls, pairs: int) -> "Heads":
        import numpy as np

        random = np.random.default_rng(0)

        def normal(*shape: int, scale: float = 1.0) -> Any:
            return random.standard_normal(shape, np.float32) * np.float32(scale)

        hidden, weight = normal(2 * pairs, TOKENS, WIDTH), normal(VOCABULARY, WIDTH, scale=WIDTH**-0.5)
        labels = random.integers(0, VOCABULARY, size=(2 * pairs, TOKENS))
        labels[:, : TOKENS - SCORED] = IGNORED
        ref_hidden, ref_weight = (x + normal(*x.shape, scale=0.1 * float(x.std())) for x in (hidden, weight))
        return cls(hidden, weight, ref_hidden, ref_weight, labels)

    def tensors(self, dtype: str) -> "Heads":
        """In PyTorch; the policy's are leaves."""
        import torch

        matrices = [torch.from_numpy(x).to(getattr(torch, dtype)) for x in self[:4]]
        for leaf in matrices[:2]:
            leaf.requires_grad_()
        return Heads(*matrices, torch.from_numpy(self.labels))

    def next_labels(self) -> Any:
        """The label that each row's logits are to predict."""
        following = self.labels.roll(-1, 1)
        following[:, -1] = IGNORED
        return following


def products(pairs: int, threads: int) -> dict[str, Call]:
    """By the OpenBLAS of the package scipy-openblas32, as `swiftdpo` has it."""
    import ctypes

    import numpy as np
    import scipy_openblas32

    library = ctypes.CDLL(str(Path(scipy_openblas32.get_lib_dir()) / "libscipy_openblas.so"))
    library.scipy_openblas_set_num_threads(threads)
    gemm = library.scipy_cblas_sgemm
    size, real, matrix = ctypes.c_int, ctypes.c_float, ctypes.c_void_p
    gemm.argtypes = [*[size] * 6, real, matrix, size, matrix, size, real, matrix, size]
    gemm.restype = None

    heads = Heads.make(pairs)
    hidden, ref_hidden = (x[:, -SCORED:].reshape(-1, WIDTH).copy() for x in (heads.hidden, heads.ref_hidden))
    logits = np.zeros((len(hidden), VOCABULARY), np.float32)
    grad_hidden, grad_weight = np.zeros_like(hidden), np.zeros_like(heads.weight)

    def multiply(a: Any, b: Any, out: Any) -> None:
        row_major, plain, transposed = 101, 111, 112
        operands: list[Any] = []
        layouts = []
        for x in (a, b):
            as_it_lies = bool(x.flags.c_contiguous)
            layouts.append(plain if as_it_lies else transposed)
            operands += [x.ctypes.data, x.shape[1] if as_it_lies else x.shape[0]]
        shape = (*out.shape, a.shape[1])
        gemm(row_major, *layouts, *shape, 1, *operands, 0, out.ctypes.data, out.shape[1])

    def step() -> None:
        multiply(ref_hidden, heads.ref_weight.T, logits)
        multiply(hidden, heads.weight.T, logits)
        multiply(logits, heads.weight, grad_hidden)
        multiply(logits.T, hidden, grad_weight)

    return {"": step}


def torch_products(pairs: int, threads: int, dtype: str) -> dict[str, Call]:
    import torch

    torch.set_num_threads(threads)
    hidden, weight, ref_hidden, ref_weight = (x.detach() for x in Heads.make(pairs).tensors(dtype)[:4])
    hidden, ref_hidden = (x[:, -SCORED:].reshape(-1, WIDTH) for x in (hidden, ref_hidden))
    logits = hidden.new_zeros(len(hidden), VOCABULARY)
    grad_hidden, grad_weight = torch.zeros_like(hidden), torch.zeros_like(weight)

    def step() -> None:
        torch.mm(ref_hidden, ref_weight.T, out=logits)
        torch.mm(hidden, weight.T, out=logits)
        torch.mm(logits, weight, out=grad_hidden)
        torch.mm(logits.T, hidden, out=grad_weight)

    return {"": step}


def swiftdpo_call(pairs: int, threads: int) -> dict[str, Call]:
    import swiftdpo

    swiftdpo.set_num_threads(threads)
    swiftdpo.blas_info()  # which loads the BLAS
    heads = Heads.make(pairs)

    def step() -> float:
        out = swiftdpo.fused_linear_dpo_loss(
            heads.hidden,
            heads.weight,
            heads.labels,
            ref_hidden=heads.ref_hidden,
            ref_weight=heads.ref_weight,
            beta=BETA,
        )
        return float(out.loss)

    return {"": step}


def _autograd(heads: Heads, loss: Callable[[], Any]) -> dict[str, Call]:
    """A step that leaves its gradients, as an optimiser would find them, until the next."""

    def step() -> float:
        heads.hidden.grad = heads.weight.grad = None
        value = loss()
        value.backward()
        return float(value.detach())

    return {"": step}


def swiftdpo_torch_call(pairs: int, threads: int, dtype: str) -> dict[str, Call]:
    import swiftdpo
    import swiftdpo.torch as sdt
    import torch

    torch.set_num_threads(threads)
    swiftdpo.set_num_threads(threads)
    heads = Heads.make(pairs).tensors(dtype)
    reference = {"ref_hidden": heads.ref_hidden, "ref_weight": heads.ref_weight}
    return _autograd(
        heads,
        lambda: (
            sdt.fused_linear_dpo_loss(heads.hidden, heads.weight, heads.labels, beta=BETA, **reference).loss
        ),
    )


def torch_call(pairs: int, threads: int) -> dict[str, Call]:
    """Only rows that score a label are multiplied, which few programs do."""
    import torch
    import torch.nn.functional as F

    torch.set_num_threads(threads)
    heads = Heads.make(pairs).tensors("float32")
    labels = heads.next_labels()
    counts = labels != IGNORED

    def logps(hidden: Any, weight: Any) -> Any:
        logits = F.linear(hidden[counts], weight)
        return -F.cross_entropy(logits, labels[counts], reduction="none").view(2 * pairs, SCORED).sum(-1)

    def loss() -> Any:
        with torch.no_grad():
            ref = logps(heads.ref_hidden, heads.ref_weight)
        ratios = logps(heads.hidden, heads.weight) - ref
        return -F.logsigmoid(BETA * (ratios[:pairs] - ratios[pairs:])).mean()

    return _autograd(heads, loss)


def liger_call(pairs: int, threads: int) -> dict[str, Call]:
    import torch
    from liger_kernel.chunked_loss import LigerFusedLinearDPOLoss

    torch.set_num_threads(threads)
    heads = Heads.make(pairs).tensors("float32")
    labels = heads.next_labels()
    module = LigerFusedLinearDPOLoss(beta=BETA, compiled=False)

    def loss() -> Any:
        out = module(
            heads.weight, heads.hidden, labels, ref_input=heads.ref_hidden, ref_weight=heads.ref_weight
        )
        return out[0] if isinstance(out, tuple) else out

    return _autograd(heads, loss)


def exact_loss(pairs: int, dtype: str = "float32") -> dict[str, Call]:
    """In double precision, of the inputs that a contestant of this type has."""
    import torch

    heads = Heads.make(pairs).tensors(dtype)
    labels = heads.next_labels()

    def logp(hidden: Any, weight: Any, sequence: int) -> Any:
        counts = labels[sequence] != IGNORED
        logits = hidden[sequence][counts].double() @ weight.T
        return logits.log_softmax(-1).gather(-1, labels[sequence][counts][:, None]).sum()

    @torch.no_grad()
    def loss() -> float:
        policy, ref = heads.weight.double(), heads.ref_weight.double()
        ratios = torch.stack(
            [
                logp(heads.hidden, policy, sequence) - logp(heads.ref_hidden, ref, sequence)
                for sequence in range(2 * pairs)
            ]
        )
        return float(-torch.nn.functional.logsigmoid(BETA * (ratios[:pairs] - ratios[pairs:])).mean())

    return {"": loss}


def _resident(peak: bool) -> int:
    name = "VmHWM" if peak else "VmRSS"
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def _step(make: Callable[..., dict[str, Call]], arguments: dict[str, Any], pipe: Connection) -> None:
    try:
        (call,) = make(**arguments).values()
    except ImportError:
        pipe.send(None)
        return
    before = _resident(peak=False)
    Path("/proc/self/clear_refs").write_text("5")
    loss = call()
    pipe.send((loss, _resident(peak=True) - before))


def _in_process(make: Callable[..., dict[str, Call]], arguments: dict[str, Any]) -> tuple[float, int] | None:
    """One step in a process of its own: its loss, and the bytes by which the process grew during it."""
    context = multiprocessing.get_context("spawn")
    pipe, theirs = context.Pipe()
    process = context.Process(target=_step, args=(make, arguments, theirs))
    process.start()
    theirs.close()
    answer: tuple[float, int] | None = pipe.recv()
    process.join()
    return answer


def _notes(entries: dict[str, tuple[Any, dict[str, Any]]], pairs: int) -> dict[str, Any]:
    exact: dict[str, float] = {}
    memory: dict[str, float] = {}
    errors: dict[str, float] = {}
    for who, (make, arguments) in entries.items():
        dtype = str(arguments.get("dtype", "float32"))
        if dtype not in exact and (found := _in_process(exact_loss, {"pairs": pairs, "dtype": dtype})):
            exact[dtype] = found[0]
        if not (step := _in_process(make, arguments)):
            continue
        loss, grown = step
        gradients = WIDTH * (2 * pairs * TOKENS + VOCABULARY) * (2 if dtype == "bfloat16" else 4)
        memory[who] = round((grown - gradients) / 2**20, 1)
        errors[who] = float(f"{abs(loss - exact[dtype]):.2g}")
    return {
        "peak memory beyond inputs and gradients, MiB": memory,
        "error of the loss against double precision": errors,
    }


def run(quick: bool) -> Figure:
    for name in BLAS_OVERRIDES:
        os.environ.pop(name, None)
    sizes = {"pairs": 2 if quick else 8, "threads": 2}
    limits: dict[str, tuple[Any, dict[str, Any]]] = {
        "GEMM limit (OpenBLAS)": (products, sizes),
        "GEMM limit (PyTorch, bf16)": (torch_products, sizes | {"dtype": "bfloat16"}),
    }
    losses: dict[str, tuple[Any, dict[str, Any]]] = {
        "swiftdpo": (swiftdpo_call, sizes),
        "swiftdpo.torch": (swiftdpo_torch_call, sizes | {"dtype": "float32"}),
        "swiftdpo.torch, bf16": (swiftdpo_torch_call, sizes | {"dtype": "bfloat16"}),
        "PyTorch, scored rows only": (torch_call, sizes),
        "Liger Kernel": (liger_call, sizes),
    }
    notes = _notes(losses, sizes["pairs"])
    warm = {"PyTorch, scored rows only"}
    contestants = {
        who: Contestant(make, WARM_MALLOC if who in warm else None, **arguments)
        for who, (make, arguments) in {**losses, **limits}.items()
    }
    times = take_turns(contestants, rounds=1 if quick else 5)
    for who, limit in [("swiftdpo", "GEMM limit (OpenBLAS)"), ("swiftdpo.torch, bf16", list(limits)[1])]:
        notes[f"{who}: times its GEMM limit"] = round(times[who].median / times[limit].median, 3)
    title = (
        f"DPO from hidden states of {TOKENS} tokens ({SCORED} scored) of {WIDTH}, vocabulary {VOCABULARY:,}"
    )
    return Figure("fused", title, "pairs", "seconds per step", points(times, sizes["pairs"], 2), notes)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    run(parser.parse_args().quick).print()
