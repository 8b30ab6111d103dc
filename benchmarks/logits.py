"""Logits to log-probabilities and back: this library beside PyTorch, TRL, JAX and the memory itself.

PyTorch runs twice: as users run it, and with an allocator that keeps its temporaries mapped. A claim has to
hold against both. The limit is the plainest loop that reads an array, and for the gradient, which is written
over the logits, another that reads and writes it: no kernel over logits can be faster.
"""

import ctypes
import subprocess
import tempfile
from pathlib import Path

from figures import LIMIT, Figure, Point
from machine import pin
from turns import WARM_MALLOC, Calls, Contestant, Prepared, Spread, stop, take_turns, taking_part

HERE = Path(__file__).resolve().parent
SEQUENCES = 8


def make_logits(rows: int, vocab: int):
    import numpy as np

    generator = np.random.Generator(np.random.Philox(7))
    logits = generator.standard_normal((rows, vocab), dtype=np.float32)
    logits *= 4
    labels = generator.integers(0, vocab, rows)
    return logits, labels


def memory_calls(rows: int, vocab: int, threads: int) -> Calls:
    import numpy as np

    library = f"{tempfile.mkdtemp()}/bandwidth.so"
    command = ["cc", "-O3", "-march=native", "-ffast-math", "-shared", "-fPIC", "-pthread", "-o", library]
    subprocess.run([*command, HERE / "bandwidth.c"], check=True)
    kernels = ctypes.CDLL(library)
    array = np.ones(rows * vocab, np.float32)

    def run(kernel):
        kernel(ctypes.c_void_p(array.ctypes.data), ctypes.c_size_t(array.size), threads)

    return {
        "read": lambda: run(kernels.bandwidth_read),
        "read + write": lambda: run(kernels.bandwidth_scale),
    }


def swiftdpo_calls(rows: int, vocab: int, threads: int) -> Calls:
    import ml_dtypes
    import numpy as np
    import swiftdpo

    swiftdpo.set_num_threads(threads)
    logits, labels = make_logits(rows, vocab)
    shape = (SEQUENCES, rows // SEQUENCES)
    labels = labels.reshape(shape)
    grad = np.full(SEQUENCES, 1e-3)
    calls: Calls = {}

    def add(name: str, source) -> None:
        work = source.copy()

        def both() -> None:
            forward = swiftdpo.sequence_logps(work, labels, shift=False)
            swiftdpo.sequence_logps_backward(work, labels, grad, forward, out=work)

        calls[f"{name}: forward"] = lambda: swiftdpo.sequence_logps(source, labels, shift=False)
        # In place: the values change from call to call, the work does not.
        calls[f"{name}: forward and backward"] = Prepared(lambda: np.copyto(work, source), both)

    f32 = logits.reshape(*shape, vocab)
    add("float32", f32)
    add("bfloat16", f32.astype(ml_dtypes.bfloat16))
    return calls


def _torch_calls(rows: int, vocab: int, threads: int, method) -> Calls:
    """`method` gives the log-probabilities of labels."""
    import torch

    torch.set_num_threads(threads)
    logits, labels = make_logits(rows, vocab)
    labels = torch.from_numpy(labels)
    grad = torch.full((rows,), 1e-3)
    calls: Calls = {}

    def add(dtype):
        source = torch.from_numpy(logits).to(dtype)

        def forward():
            with torch.no_grad():
                method(source, labels)

        def forward_backward():
            leaf = source.detach().requires_grad_()
            method(leaf, labels).backward(grad.to(dtype))

        name = str(dtype).removeprefix("torch.")
        calls[f"{name}: forward"] = forward
        calls[f"{name}: forward and backward"] = forward_backward

    add(torch.float32)
    add(torch.bfloat16)
    return calls


def log_softmax_calls(rows: int, vocab: int, threads: int) -> Calls:
    import torch.nn.functional as F

    return _torch_calls(
        rows, vocab, threads, lambda x, labels: F.log_softmax(x, -1).gather(-1, labels[:, None]).squeeze(-1)
    )


def cross_entropy_calls(rows: int, vocab: int, threads: int) -> Calls:
    import torch.nn.functional as F

    return _torch_calls(rows, vocab, threads, lambda x, labels: -F.cross_entropy(x, labels, reduction="none"))


def trl_calls(rows: int, vocab: int, threads: int) -> Calls:
    from trl.trainer.utils import selective_log_softmax

    return _torch_calls(rows, vocab, threads, selective_log_softmax)


def jax_calls(rows: int, vocab: int, threads: int) -> Calls:
    pin(threads)
    import jax
    import jax.numpy as jnp

    logits, labels = map(jnp.asarray, make_logits(rows, vocab))
    grad = jnp.full(rows, 1e-3)

    def logps(x):
        return jnp.take_along_axis(jax.nn.log_softmax(x), labels[:, None], axis=-1)[:, 0]

    forward = jax.jit(logps)
    both = jax.jit(lambda x: jax.vjp(logps, x)[1](grad))
    return {
        "float32: forward": lambda: jax.block_until_ready(forward(logits)),
        "float32: forward and backward": lambda: jax.block_until_ready(both(logits)),
    }


CONTESTANTS = {
    "swiftdpo": (swiftdpo_calls, None),
    "memory": (memory_calls, None),
    "PyTorch log_softmax": (log_softmax_calls, None),
    "PyTorch log_softmax, warm malloc": (log_softmax_calls, WARM_MALLOC),
    "PyTorch cross_entropy": (cross_entropy_calls, None),
    "PyTorch cross_entropy, warm malloc": (cross_entropy_calls, WARM_MALLOC),
    "TRL selective_log_softmax": (trl_calls, None),
    "TRL selective_log_softmax, warm malloc": (trl_calls, WARM_MALLOC),
    "JAX log_softmax, jit": (jax_calls, None),
}


NOTE = (
    "Warm malloc: with an allocator that keeps temporaries mapped, which is PyTorch's best. The limit is a "
    "loop that reads the logits, and for the gradient another that reads and writes them."
)


def limits(read: Spread, read_write: Spread) -> dict[str, Spread]:
    """bfloat16 has half the bytes."""
    both = Spread(*(a + b for a, b in zip(read, read_write, strict=True)))
    return {
        "float32: forward": read,
        "float32: forward and backward": both,
        "bfloat16: forward": Spread(*(value / 2 for value in read)),
        "bfloat16: forward and backward": Spread(*(value / 2 for value in both)),
    }


def run(quick: bool) -> Figure:
    shapes = [(512, 32_000)] if quick else [(2048, 32_000), (512, 151_936)]
    found: list[Point] = []
    left_out: dict[str, str] = {}
    for threads in [2] if quick else [1, 2]:
        for rows, vocab in shapes:
            contestants = {who: Contestant(*made) for who, made in taking_part(CONTESTANTS, quick).items()}
            size = {"rows": rows, "vocab": vocab, "threads": threads}
            times = take_turns(contestants, size, rounds=3 if quick else 9, seconds=20)
            left_out |= stop(contestants)
            memory = [times.pop(("memory", name)) for name in ("read", "read + write")]
            for what, limit in limits(*memory).items():
                found += [
                    Point(who, time, what, vocab, threads)
                    for (who, name), time in times.items()
                    if name == what
                ]
                found.append(Point(f"{LIMIT}speed of the memory", limit, what, vocab, threads))
    sizes = " and ".join(f"[{rows}, {vocab:,}]" for rows, vocab in shapes)
    title = f"Logits {sizes} to log-probabilities and back"
    return Figure("logits", title, "vocabulary", found, left_out, NOTE)
