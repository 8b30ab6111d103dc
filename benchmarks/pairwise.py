"""DPO over pairs, loss and gradients: this library beside PyTorch's autograd, in alternating rounds.

python benchmarks/pairwise.py [--batches 1,32,1024,65536] [--threads 1,2] [--rounds 15] [--json FILE]
"""

import argparse
import json
import statistics
import time

import numpy as np
import swiftdpo
import torch
import torch.nn.functional as F


def per_call(function, calls: int) -> float:
    """Seconds."""
    start = time.perf_counter()
    for _ in range(calls):
        function()
    return (time.perf_counter() - start) / calls


def contestants(batch: int, beta: float = 0.1):
    arrays = list(np.random.default_rng(7).normal(-300, 20, (4, batch)).astype(np.float32))
    tensors = [torch.from_numpy(array) for array in arrays]

    def autograd():
        chosen, rejected = (tensor.detach().requires_grad_() for tensor in tensors[:2])
        log_ratios = (chosen - tensors[2]) - (rejected - tensors[3])
        F.softplus(-beta * log_ratios).mean().backward()
        return chosen.grad, rejected.grad

    def closed_form():
        z = beta * ((arrays[0] - arrays[2]) - (arrays[1] - arrays[3]))
        gradient = -beta / batch / (1 + np.exp(z))
        return np.logaddexp(0, -z).mean(), gradient, -gradient

    return {"swiftdpo": lambda: swiftdpo.dpo_loss(*arrays, beta), "torch": autograd, "numpy": closed_form}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batches", default="1,32,1024,65536")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json")
    options = parser.parse_args()

    rows = []
    print(f"{'batch':>8} {'threads':>7} {'swiftdpo':>12} {'torch':>12} {'numpy':>12} {'torch / ours':>13}")
    for threads in map(int, options.threads.split(",")):
        torch.set_num_threads(threads)
        swiftdpo.set_num_threads(threads)
        for batch in map(int, options.batches.split(",")):
            functions = contestants(batch)
            calls = max(1, 20_000 // (batch + 100))
            times = {name: [] for name in functions}
            for _ in range(options.rounds):
                for name, function in functions.items():
                    times[name].append(per_call(function, calls))
            median = {name: statistics.median(values) for name, values in times.items()}
            columns = " ".join(f"{median[name] * 1e6:>9.1f} us" for name in functions)
            print(f"{batch:>8} {threads:>7} {columns} {median['torch'] / median['swiftdpo']:>12.1f}x")
            rows.append({"batch": batch, "threads": threads, **median})
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(rows, file, indent=1)


if __name__ == "__main__":
    main()
