"""What a preference step costs beyond the model itself, on 1 to 4,096 workers.

Bytes, operations, messages and seconds. The seconds need six constants, measured here for a core that is
alone with the memory and for one whose neighbours are as busy as it is, and two of a network, which you give.
With `--measure` the script measures them, runs one step on one and on two processes of this machine to say
how far the model is off, and writes cost_model.json and what docs/distributed.md prints of it. Two minutes.

    python benchmarks/cost_model.py --measure
    python benchmarks/cost_model.py --pairs 1e9 --tokens 256 --vocab 128000
"""

import argparse
import dataclasses
import json
import math
import multiprocessing
import os
import re
import statistics
import time
from pathlib import Path
from typing import Any

from machine import describe

CONSTANTS = Path(__file__).with_name("cost_model.json")
PAGE = Path(__file__).parents[1] / "docs" / "distributed.md"
TRIPLE = 3 * 8  # max, sum and label logit of a row
METRICS = 16 * 8  # swiftdpo_pair_metrics without its size
# Operations on one logit, a multiply-add counting as two: ten multiply-adds of the exponential, scaling,
# adding; the same again and a product in the backward pass.
FLOPS_FORWARD = 24
FLOPS_BACKWARD = 26


@dataclasses.dataclass(frozen=True)
class Machine:
    """Seconds, for a worker of one core."""

    forward: float  # one f32 logit
    backward: float  # one f32 logit, in place
    row: float  # one row, whatever its width
    merge: float  # one triple into another
    pair: float  # one pair's loss and gradient
    call: float  # all of a step's calls together


@dataclasses.dataclass(frozen=True)
class Network:
    latency: float = 5e-6  # seconds for a message
    bandwidth: float = 25e9  # bytes a second, each way


@dataclasses.dataclass(frozen=True)
class Step:
    """A step of `pairs` preference pairs, all workers together; `tokens` are those scored of one response."""

    pairs: float
    tokens: int
    vocab: int

    @property
    def rows(self) -> float:
        return 2 * self.pairs * self.tokens


@dataclasses.dataclass(frozen=True)
class Cost:
    """Of one worker."""

    logits_bytes: float
    flops: float
    messages: float
    message_bytes: float
    seconds: float


def all_reduce(size: float, workers: int, network: Network) -> tuple[float, float, float]:
    """Messages, bytes and seconds of a ring for what is large, of a tree for what is small."""
    if workers == 1:
        return 0, 0, 0
    ring = 2 * (workers - 1), 2 * size * (workers - 1) / workers
    tree = 2 * math.ceil(math.log2(workers)), 2 * size * math.ceil(math.log2(workers))
    priced = [(m * network.latency + b / network.bandwidth, m, b) for m, b in (ring, tree)]
    seconds, messages, size = min(priced)
    return messages, size, seconds


def data_parallel(step: Step, workers: int, machine: Machine, network: Network) -> Cost:
    """Each worker has its share of the pairs. Metrics are exchanged; the model's gradients are its affair."""
    rows, pairs = step.rows / workers, step.pairs / workers
    logits = rows * step.vocab
    messages, size, waiting = all_reduce(METRICS, workers, network)
    compute = (
        logits * (machine.forward + machine.backward)
        + rows * machine.row
        + pairs * machine.pair
        + machine.call
    )
    return Cost(3 * 4 * logits, logits * (FLOPS_FORWARD + FLOPS_BACKWARD), messages, size, compute + waiting)


def vocabulary_parallel(step: Step, workers: int, machine: Machine, network: Network) -> Cost:
    """Each worker has its share of every row. All triples are reduced, and every worker has every loss."""
    logits = step.rows * step.vocab / workers
    messages, size, waiting = all_reduce(TRIPLE * step.rows, workers, network)
    merges = step.rows * math.ceil(math.log2(workers)) if workers > 1 else 0
    compute = (
        logits * (machine.forward + machine.backward)
        + step.rows * machine.row
        + merges * machine.merge
        + step.pairs * machine.pair
        + machine.call
    )
    return Cost(3 * 4 * logits, logits * (FLOPS_FORWARD + FLOPS_BACKWARD), messages, size, compute + waiting)


# -- The constants, measured


def _median(function, rounds: int = 7) -> float:
    seconds = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


def measure(cores: int) -> Machine:
    """With so many cores at work, which share the memory as workers on one machine do."""
    import numpy as np
    import swiftdpo

    swiftdpo.set_num_threads(cores)
    rng = np.random.default_rng(0)

    def passes(rows: int, vocab: int) -> tuple[float, float]:
        logits = rng.standard_normal((1, rows, vocab), np.float32)
        labels = rng.integers(0, vocab, (1, rows))
        forward = swiftdpo.sequence_logps(logits, labels, shift=False)
        ahead = _median(lambda: swiftdpo.sequence_logps(logits, labels, shift=False))
        # The gradient is 0, so that the logits written in place stay what they are worth.
        grad = np.zeros(1)
        work = logits.copy()
        back = _median(lambda: swiftdpo.sequence_logps_backward(work, labels, grad + 1e-6, forward, out=work))
        return ahead * cores / rows, back * cores / rows

    wide, narrow = passes(1024, 32000), passes(8192, 256)
    forward, backward = ((w - n) / (32000 - 256) for w, n in zip(wide, narrow, strict=True))
    row = sum(narrow) - 256 * (forward + backward)

    swiftdpo.set_num_threads(1)
    rows = 4096
    shard = swiftdpo.vocab_shard(
        np.zeros((1, rows, 8), np.float32), np.zeros((1, rows), np.int64), 0, shift=False
    )
    merge = _median(lambda: swiftdpo.merge_vocab_shards(shard, shard)) / rows
    many, few = (rng.normal(-300, 20, (4, count)).astype(np.float32) for count in (65536, 1))
    call = _median(lambda: swiftdpo.dpo_loss(*few), 50)
    pair = (_median(lambda: swiftdpo.dpo_loss(*many)) - call) / 65536
    return Machine(forward, backward, row, merge, pair, 3 * call)


# -- The check: one step on one and two processes


def _worker(rank: int, workers: int, split: str, step: Step, port: int, results) -> None:
    import numpy as np
    import swiftdpo
    import torch
    import torch.distributed as dist

    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    dist.init_process_group("gloo", rank=rank, world_size=workers)
    swiftdpo.set_num_threads(1)
    torch.set_num_threads(1)
    rng = np.random.default_rng(rank)
    pairs = int(step.pairs) if split == "vocabulary" else int(step.pairs) // workers
    vocab = step.vocab // workers if split == "vocabulary" else step.vocab
    logits = rng.standard_normal((2 * pairs, step.tokens, vocab), np.float32)
    labels = np.random.default_rng(7).integers(0, step.vocab, (2 * pairs, step.tokens))
    if split == "pairs":
        labels %= vocab
    ref = np.full(pairs, -700.0)

    def once() -> None:
        if split == "vocabulary":
            shard = swiftdpo.vocab_shard(logits, labels, rank * vocab, shift=False)
            packed = torch.from_numpy(np.stack(shard))
            gathered = [torch.empty_like(packed) for _ in range(workers)]
            dist.all_gather(gathered, packed)
            shards = [swiftdpo.VocabShard(*part.numpy()) for part in gathered]
            forward = swiftdpo.vocab_shard_logps(swiftdpo.merge_vocab_shards(*shards), labels, shift=False)
        else:
            forward = swiftdpo.sequence_logps(logits, labels, shift=False)
        out = swiftdpo.dpo_loss(forward.logps[:pairs], forward.logps[pairs:], ref, ref, more=True)
        grad = np.concatenate([out.grad_policy_chosen_logps, out.grad_policy_rejected_logps])
        start = rank * vocab if split == "vocabulary" else 0
        swiftdpo.sequence_logps_backward(logits, labels, grad, forward, out=logits, vocab_start=start)
        if split == "pairs":
            dist.all_reduce(torch.tensor(list(out.metrics), dtype=torch.float64))

    seconds = []
    for _ in range(7):
        dist.barrier()
        begin = time.perf_counter()
        once()
        dist.barrier()
        seconds.append(time.perf_counter() - begin)
    if rank == 0:
        results.put(statistics.median(seconds[1:]))
    dist.destroy_process_group()


def timed(split: str, workers: int, step: Step) -> float:
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    port = 29500 + os.getpid() % 500 + workers
    processes = [
        context.Process(target=_worker, args=(rank, workers, split, step, port, results))
        for rank in range(workers)
    ]
    for process in processes:
        process.start()
    seconds: float = results.get(timeout=300)
    for process in processes:
        process.join()
    return seconds


CHECKED = Step(pairs=8, tokens=128, vocab=32000)
LOOPBACK = Network(latency=60e-6, bandwidth=2e9)  # gloo on one machine
MODELS = {"pairs": data_parallel, "vocabulary": vocabulary_parallel}


def check(alone: Machine, shared: Machine) -> list[dict[str, Any]]:
    found = []
    for split, model in MODELS.items():
        for workers in (1, 2):
            predicted = model(CHECKED, workers, alone if workers == 1 else shared, LOOPBACK).seconds
            measured = timed(split, workers, CHECKED)
            print(
                f"  split by {split}, {workers} of 2: {1e3 * predicted:.1f} ms, {1e3 * measured:.1f} measured"
            )
            found.append({"split": split, "workers": workers, "predicted": predicted, "measured": measured})
    return found


# -- The tables


def load() -> Machine:
    """A core whose neighbours are busy, too."""
    return Machine(**json.loads(CONSTANTS.read_text())["shared"])


def check_table() -> str:
    """One step on this many processes: as the model has it, and as it was."""
    lines = [f"{'split by':10} {'processes':>9} {'model':>9} {'measured':>9} {'ratio':>6}"]
    for row in json.loads(CONSTANTS.read_text())["check"]:
        predicted, measured = (1e3 * row[key] for key in ("predicted", "measured"))
        lines.append(
            f"{row['split']:10} {row['workers']:9} {predicted:6.1f} ms {measured:6.1f} ms "
            f"{measured / predicted:6.2f}"
        )
    return "\n".join(lines)


def table(step: Step, total_pairs: float, machine: Machine, network: Network, most: int = 4096) -> str:
    """A step's cost for each number of workers, and the hours that `total_pairs` take."""
    lines = [
        f"{'workers':>7}  {'split by':10} {'GB moved':>9} {'Gflop':>10} {'messages':>8} {'MB sent':>9} "
        f"{'ms a step':>10} {'hours':>8}"
    ]
    workers = 1
    while workers <= most:
        for split, model in MODELS.items():
            cost = model(step, workers, machine, network)
            hours = cost.seconds * total_pairs / step.pairs / 3600
            lines.append(
                f"{workers:7}  {split:10} {cost.logits_bytes / 1e9:9.3f} {cost.flops / 1e9:10.2f} "
                f"{cost.messages:8.0f} {cost.message_bytes / 1e6:9.3f} {1e3 * cost.seconds:10.2f} "
                f"{hours:8.1f}"
            )
        workers *= 4
    return "\n".join(lines)


def write_page() -> None:
    """Each block of the page that prints a table is followed by one with the table as it is now."""
    default = table(Step(4096, 256, 128_000), 1e9, load(), Network())
    page = PAGE.read_text()
    for call, text in {"print(check_table())": check_table(), "print(table(": default}.items():
        pattern = rf"(^```python\n(?:(?!```).)*?^{re.escape(call)}.*?^```\n\n```text\n).*?(^```$)"
        found = re.search(pattern, page, re.MULTILINE | re.DOTALL)
        assert found is not None, call
        page = page[: found.end(1)] + text + "\n" + page[found.start(2) :]
    PAGE.write_text(page)


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    """Four digits: more are noise."""
    return {
        name: float(f"{value:.4g}") if isinstance(value, float) else value for name, value in values.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--measure", action="store_true", help="measure the constants, check the model, write both"
    )
    parser.add_argument("--pairs", type=float, default=1e9, help="pairs of the whole run")
    parser.add_argument("--batch", type=float, default=4096, help="pairs of a step")
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--vocab", type=int, default=128_000)
    parser.add_argument("--latency", type=float, default=Network.latency)
    parser.add_argument("--bandwidth", type=float, default=Network.bandwidth)
    options = parser.parse_args()
    if options.measure:
        measured_on = describe()
        alone, shared = measure(1), measure(len(os.sched_getaffinity(0)))
        content = {
            "measured_on": measured_on,
            "alone": _rounded(dataclasses.asdict(alone)),
            "shared": _rounded(dataclasses.asdict(shared)),
            "check": [_rounded(row) for row in check(alone, shared)],
        }
        CONSTANTS.write_text(json.dumps(content, indent=1) + "\n")
        write_page()
    network = Network(options.latency, options.bandwidth)
    print(table(Step(options.batch, options.tokens, options.vocab), options.pairs, load(), network))


if __name__ == "__main__":
    main()
