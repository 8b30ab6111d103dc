"""Logits to log-probabilities and back: this library beside PyTorch, TRL, JAX and the memory itself.

PyTorch runs twice: as users run it, and with an allocator that keeps its temporaries mapped. A claim has to
hold against both. The memory's part is the plainest loops that read an array, or read and write it in place:
no kernel over logits can be faster.
"""

import argparse
import ctypes
import subprocess
import tempfile
from pathlib import Path

from figures import Figure, Point, points
from turns import WARM_MALLOC, Call, Contestant, Prepared, take_turns

HERE = Path(__file__).resolve().parent
SEQUENCES = 8


def make_logits(rows: int, vocab: int):
    import numpy as np

    generator = np.random.Generator(np.random.Philox(7))
    logits = generator.standard_normal((rows, vocab), dtype=np.float32)
    logits *= 4
    labels = generator.integers(0, vocab, rows)
    return logits, labels


def memory(rows: int, vocab: int, threads: int) -> dict[str, Call | Prepared]:
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


def swiftdpo_calls(rows: int, vocab: int, threads: int) -> dict[str, Call | Prepared]:
    import ml_dtypes
    import numpy as np
    import swiftdpo

    swiftdpo.set_num_threads(threads)
    logits, labels = make_logits(rows, vocab)
    shape = (SEQUENCES, rows // SEQUENCES)
    labels = labels.reshape(shape)
    grad = np.full(SEQUENCES, 1e-3)
    calls: dict[str, Call | Prepared] = {}

    def add(name: str, source) -> None:
        work = source.copy()

        def both() -> None:
            forward = swiftdpo.sequence_logps(work, labels, shift=False)
            swiftdpo.sequence_logps_backward(work, labels, grad, forward, out=work)

        calls[f"{name} forward"] = lambda: swiftdpo.sequence_logps(source, labels, shift=False)
        # In place: the values change from call to call, the work does not.
        calls[f"{name} forward + backward"] = Prepared(lambda: np.copyto(work, source), both)

    f32 = logits.reshape(*shape, vocab)
    add("f32", f32)
    add("bf16", f32.astype(ml_dtypes.bfloat16))
    return calls


def torch_calls(rows: int, vocab: int, threads: int) -> dict[str, Call | Prepared]:
    import torch
    import torch.nn.functional as F

    torch.set_num_threads(threads)
    logits, labels = make_logits(rows, vocab)
    labels = torch.from_numpy(labels)
    grad = torch.full((rows,), 1e-3)
    calls: dict[str, Call | Prepared] = {}

    def add(name, dtype, method):
        source = torch.from_numpy(logits).to(dtype)

        def forward():
            with torch.no_grad():
                method(source)

        def forward_backward():
            leaf = source.detach().requires_grad_()
            method(leaf).backward(grad.to(dtype))

        label = "f32" if dtype == torch.float32 else "bf16"
        calls[f"{label} forward: {name}"] = forward
        calls[f"{label} forward + backward: {name}"] = forward_backward

    methods = {
        "log_softmax + gather": lambda x: F.log_softmax(x, -1).gather(-1, labels[:, None]).squeeze(-1),
        "cross_entropy": lambda x: -F.cross_entropy(x, labels, reduction="none"),
    }
    try:
        from trl.trainer.utils import selective_log_softmax
    except ImportError:
        print("  left out: TRL selective_log_softmax (not installed)")
    else:
        methods["TRL selective_log_softmax"] = lambda x: selective_log_softmax(x, labels)
    for dtype in (torch.float32, torch.bfloat16):
        for name, method in methods.items():
            add(name, dtype, method)
    return calls


def jax_calls(rows: int, vocab: int, threads: int) -> dict[str, Call | Prepared]:
    """JAX takes the threads that the process may use."""
    import jax
    import jax.numpy as jnp

    logits, labels = map(jnp.asarray, make_logits(rows, vocab))
    grad = jnp.full(rows, 1e-3)

    def logps(x):
        return jnp.take_along_axis(jax.nn.log_softmax(x), labels[:, None], axis=-1)[:, 0]

    forward = jax.jit(logps)
    both = jax.jit(lambda x: jax.vjp(logps, x)[1](grad))
    return {
        "f32 forward: log_softmax": lambda: jax.block_until_ready(forward(logits)),
        "f32 forward + backward: log_softmax": lambda: jax.block_until_ready(both(logits)),
    }


def run(quick: bool) -> Figure:
    shapes = [(2048, 32000)] if quick else [(2048, 32000), (512, 151936)]
    found: list[Point] = []
    notes = {}
    for rows, vocab in shapes:
        for threads in [2] if quick else [1, 2]:
            sizes = {"rows": rows, "vocab": vocab, "threads": threads}
            contestants = {
                "swiftdpo": Contestant(swiftdpo_calls, **sizes),
                "memory": Contestant(memory, **sizes),
                "PyTorch": Contestant(torch_calls, **sizes),
                "PyTorch, warm malloc": Contestant(torch_calls, WARM_MALLOC, **sizes),
            }
            if threads > 1:
                contestants["JAX jit"] = Contestant(jax_calls, **sizes)
            times = take_turns(contestants, rounds=5 if quick else 9)
            found += points(times, x=vocab, threads=threads)
            read = times["memory: read"].median
            both = read + times["memory: read + write"].median
            where = f"[{rows}, {vocab}], {threads} thread{'s' * (threads > 1)}"
            forward = times["swiftdpo: f32 forward"].median
            whole = times["swiftdpo: f32 forward + backward"].median
            notes[f"{where}: share of the bandwidth"] = {
                "forward": round(read / forward, 3),
                "forward + backward": round(both / whole, 3),
            }
    return Figure("logits", "Logits to log-probabilities and back", "vocabulary", "seconds", found, notes)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    run(parser.parse_args().quick).print()
