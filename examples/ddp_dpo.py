"""DPO on several processes with PyTorch's DistributedDataParallel: the loss and gradients of one process.

    pip install './bindings/python[torch]'
    torchrun --nproc-per-node 2 examples/ddp_dpo.py

The global batch is dealt to the processes, which need not get as many pairs each, and each goes through its
pairs in micro-batches. What makes all of that equal to one process with one batch is the divisor: losses are
summed, and divided by the number of pairs of the *global* batch. DDP averages gradients over processes, so
the sum is multiplied by their number first.
"""

import argparse
import gc
import json
import os
from contextlib import nullcontext
from pathlib import Path

import swiftdpo
import swiftdpo.torch as sdt
import torch
import torch.distributed as dist
from swiftdpo.torch.reductions import all_reduce_state
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

DATA = Path(__file__).parent / "data" / "pairs_dev.jsonl"
PAD, IGNORE, LONGEST = 0, -100, 160


class ByteGRU(nn.Module):
    """A model small enough for any machine: bytes in, logits of the next byte out."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(256, 32)
        self.recurrence = nn.GRU(32, 64, batch_first=True)
        self.head = nn.Linear(64, 256)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.recurrence(self.embedding(tokens))[0])


def read_pairs(count: int) -> list[tuple[bytes, bytes, bytes]]:
    """(prompt, chosen, rejected), cut to a few bytes each."""
    with DATA.open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line, _ in zip(lines, range(count), strict=False)]
    return [tuple(row[key].encode()[:60] for key in ("prompt", "chosen", "rejected")) for row in rows]


def batch_of(pairs: list[tuple[bytes, bytes, bytes]]) -> tuple[Tensor, Tensor]:
    """Tokens and labels [2 B, T]: the chosen responses, then the rejected ones."""
    texts = [(prompt, pair[side]) for side in (1, 2) for pair in pairs for prompt in pair[:1]]
    tokens = torch.full((len(texts), LONGEST), PAD)
    labels = torch.full((len(texts), LONGEST), IGNORE)
    for row, (prompt, response) in enumerate(texts):
        text = torch.tensor(list(prompt + response))
        tokens[row, : len(text)] = text
        labels[row, len(prompt) : len(text)] = text[len(prompt) :]
    return tokens, labels


def logps_of(model: nn.Module, pairs: list[tuple[bytes, bytes, bytes]]) -> tuple[Tensor, Tensor]:
    tokens, labels = batch_of(pairs)
    logps = sdt.sequence_logps(model(tokens), labels, inplace=True).logps
    return logps[: len(pairs)], logps[len(pairs) :]


def step(
    model: DistributedDataParallel,
    reference: nn.Module,
    pairs: list[tuple[bytes, bytes, bytes]],
    global_count: int,
    micro_batch: int,
    beta: float,
) -> swiftdpo.PairMetrics:
    """Gradients of the global batch's mean loss, and its metrics, from this process's share of the pairs."""
    metrics = swiftdpo.PairMetrics()
    starts = range(0, len(pairs), micro_batch)
    for start in starts:
        part = pairs[start : start + micro_batch]
        with torch.no_grad():
            reference_logps = logps_of(reference, part)
        # Gradients are exchanged once, with the last micro-batch.
        with nullcontext() if start == starts[-1] else model.no_sync():
            policy_logps = logps_of(model, part)
            loss = sdt.dpo_loss(*policy_logps, *reference_logps, beta, reduction="sum").loss
            (loss * dist.get_world_size() / global_count).backward()
        numbers = (x.detach().numpy() for x in (*policy_logps, *reference_logps))
        measured = swiftdpo.dpo_loss(*numbers, beta=beta, more=True).metrics
        assert measured is not None
        metrics += measured
    return all_reduce_state(metrics)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=13, help="of the global batch")
    parser.add_argument("--micro-batch", type=int, default=3)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--beta", type=float, default=0.1)
    parser.add_argument(
        "--out", type=Path, help="for gradients of the first step and metrics of all, by torch.save"
    )
    arguments = parser.parse_args()

    dist.init_process_group("gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    torch.manual_seed(0)
    model, reference = ByteGRU().double(), ByteGRU().double()
    reference.load_state_dict(model.state_dict())
    wrapped = DistributedDataParallel(model)
    exchanges = [0]

    def hook(state: object, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:
        """DDP's own exchange, counted: what a hook that compresses gradients would replace."""
        exchanges[0] += 1
        future = dist.all_reduce(bucket.buffer().div_(world), async_op=True).get_future()
        return future.then(lambda done: done.value()[0])

    wrapped.register_comm_hook(None, hook)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    pairs = read_pairs(arguments.pairs)
    mine = pairs[rank::world]
    first, history = None, []
    for number in range(arguments.steps):
        optimizer.zero_grad()
        metrics = step(wrapped, reference, mine, len(pairs), arguments.micro_batch, arguments.beta)
        first = first or {name: p.grad.clone() for name, p in model.named_parameters()}
        optimizer.step()
        history.append(metrics)
        if rank == 0:
            line = f"step {number}: loss {metrics.mean('losses'):.6f}, accuracy {metrics.accuracy:.3f}"
            print(f"{line}, margin {metrics.reward_margin:.4f}")
    if arguments.out is not None and rank == 0:
        saved = {"gradients": first, "metrics": [tuple(m) for m in history], "exchanges": exchanges[0]}
        torch.save(saved, arguments.out)
    # DDP goes first, with its cycles: were it the last to hold the group, it would wait for the group's
    # threads while they wait for Python's lock.
    del wrapped
    gc.collect()
    dist.destroy_process_group()


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
