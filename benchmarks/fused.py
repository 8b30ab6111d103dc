"""DPO from hidden states, with the head's gradients and the logits of a reference: beside the products alone.

The limit is the four matrix products over the rows that score a label, by the BLAS of the contestant. Extra
memory is what a process grows by during its first step, less the gradients. Each loss is compared with that
of its inputs in double precision.
"""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from figures import LIMIT, Figure, Point
from memory import first_step
from turns import WARM_MALLOC, Calls, Contestant, Spread, stop, take_turns, taking_part

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


def products(pairs: int, threads: int) -> Calls:
    """By the OpenBLAS of the package scipy-openblas32, as `swiftdpo` has it.

    Results lie in memory that is there and touched before; a step has that of its gradients to take.
    """
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


def torch_products(pairs: int, threads: int, dtype: str = "bfloat16") -> Calls:
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


def swiftdpo_call(pairs: int, threads: int, memory: Callable[[Any], dict[str, Any]] | None = None) -> Calls:
    import swiftdpo

    swiftdpo.set_num_threads(threads)
    swiftdpo.blas_info()  # which loads the BLAS
    heads = Heads.make(pairs)
    kept = memory(heads) if memory else {}

    def step() -> float:
        if kept:
            kept["grad_weight"].fill(0)
        out = swiftdpo.fused_linear_dpo_loss(
            heads.hidden,
            heads.weight,
            heads.labels,
            ref_hidden=heads.ref_hidden,
            ref_weight=heads.ref_weight,
            beta=BETA,
            **kept,
        )
        return float(out.loss)

    return {"": step}


def swiftdpo_kept_call(pairs: int, threads: int) -> Calls:
    """In memory that the caller keeps from step to step, as the products alone have it.

    The weight's is added to, so each step sets it to 0 first, as `zero_grad(set_to_none=False)` does.
    """
    import numpy as np

    def memory(heads: Heads) -> dict[str, Any]:
        return {
            "grad_hidden": np.zeros_like(heads.hidden),
            "grad_weight": np.zeros_like(heads.weight),
            "workspace": np.ones(64 << 20, np.uint8),
        }

    return swiftdpo_call(pairs, threads, memory)


def _autograd(heads: Heads, loss: Callable[[], Any]) -> Calls:
    """A step that leaves its gradients, as an optimiser would find them, until the next."""

    def step() -> float:
        heads.hidden.grad = heads.weight.grad = None
        value = loss()
        value.backward()
        return float(value.detach())

    return {"": step}


def _dpo(heads: Heads, logps: Callable[[Any, Any], Any]) -> Calls:
    """Of a function from hidden states and weight to the log-probabilities of the responses."""
    import torch

    def loss() -> Any:
        with torch.no_grad():
            ref = logps(heads.ref_hidden, heads.ref_weight)
        chosen, rejected = (logps(heads.hidden, heads.weight) - ref).chunk(2)
        return -torch.nn.functional.logsigmoid(BETA * (chosen - rejected)).mean()

    return _autograd(heads, loss)


def swiftdpo_torch_call(pairs: int, threads: int, dtype: str = "float32", **options: Any) -> Calls:
    import swiftdpo
    import swiftdpo.torch as sdt
    import torch

    torch.set_num_threads(threads)
    swiftdpo.set_num_threads(threads)
    heads = Heads.make(pairs).tensors(dtype)
    options |= {"beta": BETA, "ref_hidden": heads.ref_hidden, "ref_weight": heads.ref_weight}
    return _autograd(
        heads,
        lambda: sdt.fused_linear_dpo_loss(heads.hidden, heads.weight, heads.labels, **options).loss,
    )


def swiftdpo_torch_float32_logits(pairs: int, threads: int, dtype: str) -> Calls:
    import torch

    return swiftdpo_torch_call(pairs, threads, dtype, logits_dtype=torch.float32)


def torch_call(pairs: int, threads: int, dtype: str = "float32") -> Calls:
    """Only rows that score a label are multiplied, which few programs do."""
    import torch
    import torch.nn.functional as F

    torch.set_num_threads(threads)
    heads = Heads.make(pairs).tensors(dtype)
    labels = heads.next_labels()
    counts = labels != IGNORED

    def logps(hidden: Any, weight: Any) -> Any:
        logits = F.linear(hidden[counts], weight)
        return (
            -F.cross_entropy(logits, labels[counts], reduction="none").float().view(2 * pairs, SCORED).sum(-1)
        )

    return _dpo(heads, logps)


def liger_call(pairs: int, threads: int) -> Calls:
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


def trl_call(pairs: int, threads: int) -> Calls:
    """The projection and the log-probabilities in tiles, as TRL's trainer has it."""
    import torch
    from trl.trainer.utils import _CHUNKED_LOGPROB_CHUNK_SIZE, _ChunkedLogProbFunction

    torch.set_num_threads(threads)
    heads = Heads.make(pairs).tensors("float32")
    labels = heads.next_labels()
    counts = labels != IGNORED
    logged = ("log_probs", "entropy", "mean_logits", "is_top1")  # what its trainer asks for

    def logps(hidden: Any, weight: Any) -> Any:
        rows, targets = hidden.reshape(-1, WIDTH), labels.clamp(min=0).reshape(-1)
        chunk = _CHUNKED_LOGPROB_CHUNK_SIZE
        found = _ChunkedLogProbFunction.apply(rows, weight, None, targets, 1.0, chunk, None, 1.0, logged)
        return (found[0].view(counts.shape) * counts).sum(-1)

    return _dpo(heads, logps)


def linear_cross_entropy_call(pairs: int, threads: int) -> Calls:
    """PyTorch's own head in tiles, over the rows that score a label."""
    import torch
    import torch.nn.functional as F
    from torch.nn.modules.linear_cross_entropy_options import LinearCrossEntropyOptions

    torch.set_num_threads(threads)
    heads = Heads.make(pairs).tensors("float32")
    labels = heads.next_labels()
    counts = labels != IGNORED

    def logps(hidden: Any, weight: Any) -> Any:
        found = F.linear_cross_entropy(
            hidden[counts], weight, labels[counts], reduction="none", options=LinearCrossEntropyOptions()
        )
        return -found.view(2 * pairs, SCORED).sum(-1)

    return _dpo(heads, logps)


def exact_loss(pairs: int, dtype: str) -> Calls:
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


def _in_bfloat16(make: Callable[..., Calls]) -> Callable[..., Calls]:
    return functools.partial(make, dtype="bfloat16")


KEPT = "swiftdpo, in the caller's memory"

# By the type of the inputs.
CONTESTANTS = {
    "float32": {
        "swiftdpo": swiftdpo_call,
        KEPT: swiftdpo_kept_call,
        "swiftdpo.torch": swiftdpo_torch_call,
        "PyTorch, scored rows only": torch_call,
        "Liger Kernel": liger_call,
        "TRL, in tiles": trl_call,
        "PyTorch's linear_cross_entropy, in tiles": linear_cross_entropy_call,
        f"{LIMIT}the products alone": products,
    },
    "bfloat16": {
        "swiftdpo.torch": _in_bfloat16(swiftdpo_torch_call),
        "swiftdpo.torch, logits in float32": _in_bfloat16(swiftdpo_torch_float32_logits),
        "PyTorch, scored rows only": _in_bfloat16(torch_call),
        f"{LIMIT}the products alone": _in_bfloat16(torch_products),
    },
}
NOTE = (
    "The limit is the four matrix products over the rows that score a label: by OpenBLAS for float32, by "
    "PyTorch for bfloat16, into memory that is there before; so has one row of ours its gradients and tiles, "
    "which the others take anew in each step. Extra memory is what a process grows by during its first step, "
    "less the gradients. PyTorch's steps are timed with an allocator that keeps temporaries mapped, which is "
    "their best; their memory is that of the default, which is less."
)


def _times(dtype: str, size: dict[str, int], quick: bool) -> tuple[list[Point], dict[str, str]]:
    contestants = {
        who: Contestant(make, WARM_MALLOC if who.startswith("PyTorch") else None)
        for who, make in taking_part(CONTESTANTS[dtype], quick).items()
    }
    # Those that take a quarter of a minute have a turn of their own behind the others.
    slow = {who: contestant for who, contestant in contestants.items() if "in tiles" in who}
    others = {who: contestant for who, contestant in contestants.items() if who not in slow}
    times = take_turns(others, size, rounds=1 if quick else 4, seconds=120, warm_up=1)
    times |= take_turns(slow, size, rounds=1, seconds=60, warm_up=1)
    found = [
        Point(who, time, f"{dtype}: time of a step", threads=size["threads"])
        for (who, _), time in times.items()
    ]
    return found, stop(contestants)


def _first_steps(dtype: str, size: dict[str, int], quick: bool) -> list[Point]:
    """Memory, and the error of the loss."""
    gradients = WIDTH * (2 * size["pairs"] * TOKENS + VOCABULARY) * (2 if dtype == "bfloat16" else 4)
    exact = first_step(exact_loss, {"pairs": size["pairs"], "dtype": dtype})
    found = []
    for who, make in taking_part(CONTESTANTS[dtype], quick).items():
        if who.startswith(LIMIT) or who == KEPT or exact is None or not (step := first_step(make, size)):
            continue
        loss, grown = step
        for what, value, unit in [
            ("extra memory", float(grown - gradients), "bytes"),
            ("error of the loss", abs(loss - exact[0]), "nats"),
        ]:
            found.append(
                Point(who, Spread.of([value]), f"{dtype}: {what}", threads=size["threads"], unit=unit)
            )
    return found


def run(quick: bool) -> Figure:
    for name in BLAS_OVERRIDES:
        os.environ.pop(name, None)
    size = {"pairs": 1 if quick else 8, "threads": 2}
    found: list[Point] = []
    left_out: dict[str, str] = {}
    for dtype in ["float32"] if quick else CONTESTANTS:
        times, failed = _times(dtype, size, quick)
        found += times + _first_steps(dtype, size, quick)
        left_out |= failed
    title = (
        f"DPO from hidden states: {2 * size['pairs']} responses of {TOKENS} tokens, {SCORED} of them scored, "
        f"{WIDTH:,} wide, vocabulary {VOCABULARY:,}"
    )
    return Figure("fused", title, "", found, left_out, NOTE)
