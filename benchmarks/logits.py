"""Logits to log-probabilities and back: this library beside PyTorch, TRL and the memory itself.

Each contestant is a process of its own, so that PyTorch can run twice: as users run it, and with an allocator
that keeps its temporaries mapped (its best setting on a CPU). The processes take turns, one call each, round
after round; medians are reported, and ratios within the run. Usage:

    python benchmarks/logits.py [--shapes 2048x32000,512x151936] [--threads 1,2] [--rounds 9] [--json FILE]
"""

import argparse
import ctypes
import json
import multiprocessing as mp
import os
import platform
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
WARM_MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(1 << 33), "MALLOC_TRIM_THRESHOLD_": str(1 << 34)}
SEQUENCES = 8


def make_logits(rows: int, vocab: int):
    import numpy as np

    generator = np.random.Generator(np.random.Philox(7))
    logits = generator.standard_normal((rows, vocab), dtype=np.float32)
    logits *= 4
    labels = generator.integers(0, vocab, rows)
    return logits, labels


# -- Contestants: each returns {name: function of no arguments}


def memory(rows: int, vocab: int, threads: int):
    import numpy as np

    folder = tempfile.mkdtemp()
    library = f"{folder}/bandwidth.so"
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


def swiftdpo_calls(rows: int, vocab: int, threads: int):
    import numpy as np
    import swiftdpo

    swiftdpo.set_num_threads(threads)
    logits, labels = make_logits(rows, vocab)
    shape = (SEQUENCES, rows // SEQUENCES)
    labels = labels.reshape(shape)
    grad = np.full(SEQUENCES, 1e-3)
    f32 = logits.reshape(*shape, vocab)
    work = np.empty_like(f32)

    def forward_backward(source, target):
        forward = swiftdpo.sequence_logps(source, labels, shift=False)
        swiftdpo.sequence_logps_backward(source, labels, grad, forward, out=target)

    calls = {
        "f32 forward": lambda: swiftdpo.sequence_logps(f32, labels, shift=False),
        # In place: the values change from call to call, the work does not.
        "f32 forward + backward": (lambda: np.copyto(work, f32), lambda: forward_backward(work, work)),
    }
    half = as_bf16(logits).reshape(*shape, vocab)
    half_work = half.copy()
    calls["bf16 forward"] = lambda: swiftdpo.sequence_logps(half, labels, shift=False)
    calls["bf16 forward + backward"] = (
        lambda: np.copyto(half_work, half),
        lambda: forward_backward(half_work, half_work),
    )
    return calls


def as_bf16(logits):
    import ml_dtypes

    return logits.astype(ml_dtypes.bfloat16)


def torch_calls(rows: int, vocab: int, threads: int):
    import torch
    import torch.nn.functional as F

    torch.set_num_threads(threads)
    logits, labels = make_logits(rows, vocab)
    labels = torch.from_numpy(labels)
    grad = torch.full((rows,), 1e-3)
    calls = {}

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

    def log_softmax(x):
        return F.log_softmax(x, -1).gather(-1, labels[:, None]).squeeze(-1)

    def cross_entropy(x):
        return -F.cross_entropy(x, labels, reduction="none")

    for dtype in (torch.float32, torch.bfloat16):
        add("log_softmax + gather", dtype, log_softmax)
        add("cross_entropy", dtype, cross_entropy)
        try:
            from trl.trainer.utils import selective_log_softmax
        except ImportError:
            continue
        add("TRL selective_log_softmax", dtype, lambda x: selective_log_softmax(x, labels))
    return calls


# -- Taking turns


def serve(contestant, arguments, environment, pipe):
    calls = contestant(*arguments)
    pipe.send(list(calls))
    while (name := pipe.recv()) is not None:
        prepare, call = calls[name] if isinstance(calls[name], tuple) else (None, calls[name])
        if prepare:
            prepare()
        start = time.perf_counter()
        call()
        pipe.send(time.perf_counter() - start)


class Contestant:
    def __init__(self, contestant, arguments, environment=None):
        before = dict(os.environ)
        os.environ.update(environment or {})
        context = mp.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(
            target=serve, args=(contestant, arguments, environment, theirs), daemon=True
        )
        self.process.start()
        self.names = self.pipe.recv()
        os.environ.clear()
        os.environ.update(before)

    def time(self, name):
        self.pipe.send(name)
        return self.pipe.recv()

    def stop(self):
        self.pipe.send(None)
        self.process.join()


def run(shape, threads, rounds):
    rows, vocab = shape
    arguments = (rows, vocab, threads)
    contestants = {
        "memory": Contestant(memory, arguments),
        "swiftdpo": Contestant(swiftdpo_calls, arguments),
        "PyTorch": Contestant(torch_calls, arguments),
        "PyTorch, warm malloc": Contestant(torch_calls, arguments, WARM_MALLOC),
    }
    times: dict[str, list[float]] = {}
    warm_up = 2
    for turn in range(rounds + warm_up):
        for who, contestant in contestants.items():
            for name in contestant.names:
                seconds = contestant.time(name)
                if turn >= warm_up:
                    times.setdefault(f"{who}: {name}", []).append(seconds)
    for contestant in contestants.values():
        contestant.stop()
    return {
        name: {
            "median_ms": 1e3 * statistics.median(values),
            "min_ms": 1e3 * min(values),
            "max_ms": 1e3 * max(values),
        }
        for name, values in times.items()
    }


def report(shape, threads, results):
    rows, vocab = shape
    megabytes = rows * vocab * 4 / 1e6
    print(f"\n[{rows}, {vocab}], {threads} thread{'s' * (threads > 1)}: {megabytes:.0f} MB of f32 logits")
    for name, value in results.items():
        median, low, high = value["median_ms"], value["min_ms"], value["max_ms"]
        print(f"  {name:62s} {median:9.2f} ms   ({low:.2f} to {high:.2f})")
    read, write = (results[f"memory: {name}"]["median_ms"] for name in ("read", "read + write"))

    def share(limit, name):
        return 100 * limit / results[f"swiftdpo: {name}"]["median_ms"]

    print(f"  forward reaches {share(read, 'f32 forward'):.0f}% of the read bandwidth,")
    both = share(read + write, "f32 forward + backward")
    print(f"  forward + backward {both:.0f}% of a read and a read-write pass")
    for kind in ("f32 forward", "f32 forward + backward", "bf16 forward", "bf16 forward + backward"):
        own = results[f"swiftdpo: {kind}"]["median_ms"]
        for who in ("PyTorch", "PyTorch, warm malloc"):
            peers = {
                name: value["median_ms"]
                for name, value in results.items()
                if name.startswith(f"{who}: {kind}: ")
            }
            best = min(peers, key=peers.__getitem__)
            print(f"  {kind}: {peers[best] / own:.1f} times {best}")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shapes", default="2048x32000,512x151936")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    everything = {}
    for shape in options.shapes.split(","):
        for threads in map(int, options.threads.split(",")):
            size = tuple(map(int, shape.split("x")))
            results = run(size, threads, options.rounds)
            report(size, threads, results)
            everything[f"{shape}, {threads} threads"] = results
    if options.json:
        machine = {"machine": platform.machine(), "python": platform.python_version(), "results": everything}
        options.json.write_text(json.dumps(machine, indent=2) + "\n")


if __name__ == "__main__":
    main()
