"""A training step's loss part, TRL's and swiftdpo's: 8 sequences of 512 tokens, 32,000 entries, float32.

Two parts are timed, each in processes of its own that take turns:

- from logits: log-probabilities of responses, DPO, and the gradient by the logits
- from hidden states: the same with the projection before it, as TRL 1.16 has it in one piece

Memory is the peak of what the process holds during the step, beyond what it held before there were any
inputs. It counts the inputs, and with them the logits where they are given.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

B, T, V, H = 8, 512, 32000, 256
BETA = 0.1
Part = Callable[[], Callable[[], object]]


def inputs():
    import torch

    torch.manual_seed(0)
    labels = torch.randint(0, V, (B, T))
    labels[:, : T // 4] = -100
    reference = torch.full((B,), -4000.0)
    return labels, reference


def torch_dpo(logps, reference):
    import torch.nn.functional as F

    chosen, rejected = (logps - reference).chunk(2)
    return -F.logsigmoid(BETA * (chosen - rejected)).mean()


def swiftdpo_dpo(logits, labels, reference):
    import swiftdpo.torch as sdt

    logps = sdt.sequence_logps(logits, labels, inplace=True).logps
    return sdt.dpo_loss(*logps.chunk(2), *reference.chunk(2), beta=BETA).loss


def from_logits(loss: Callable) -> Callable[[], object]:
    import torch

    labels, reference = inputs()
    start = torch.randn(B, T, V)

    def step():
        # Logits come fresh out of a model, and are nobody's leaf.
        logits = start.requires_grad_().view(B, T, V)
        return torch.autograd.grad(loss(logits, labels, reference), logits)[0].data_ptr()

    return step


def trl_from_logits() -> Callable[[], object]:
    from trl.trainer.utils import selective_log_softmax

    def loss(logits, labels, reference):
        shifted = labels[:, 1:]
        mask = shifted != -100
        token_logps = selective_log_softmax(logits[:, :-1], shifted.clamp(min=0))
        return torch_dpo((token_logps * mask).sum(1), reference)

    return from_logits(loss)


def swiftdpo_from_logits() -> Callable[[], object]:
    return from_logits(swiftdpo_dpo)


def from_hidden_states(loss: Callable) -> Callable[[], object]:
    import torch

    labels, reference = inputs()
    hidden = torch.randn(B, T, H, requires_grad=True)
    weight = (torch.randn(V, H) / H**0.5).requires_grad_()
    return lambda: torch.autograd.grad(loss(hidden, weight, labels, reference), (hidden, weight))


def trl_from_hidden_states() -> Callable[[], object]:
    from trl.trainer.utils import _CHUNKED_LOGPROB_CHUNK_SIZE, _ChunkedLogProbFunction

    def loss(hidden, weight, labels, reference):
        shifted = labels[:, 1:]
        mask = shifted != -100
        rows = hidden[:, :-1].reshape(-1, H)
        targets = shifted.clamp(min=0).reshape(-1)
        logged = ("log_probs", "entropy", "mean_logits", "is_top1")  # what DPOTrainer asks for
        per_token = _ChunkedLogProbFunction.apply(
            rows, weight, None, targets, 1.0, _CHUNKED_LOGPROB_CHUNK_SIZE, None, 1.0, logged
        )[0]
        return torch_dpo((per_token.view(mask.shape) * mask).sum(1), reference)

    return from_hidden_states(loss)


def swiftdpo_from_hidden_states() -> Callable[[], object]:
    import swiftdpo.torch as sdt

    def loss(hidden, weight, labels, reference):
        found = sdt.sequence_logps(hidden @ weight.T, labels, by_products=True, inplace=True)
        return sdt.dpo_loss(*found.logps.chunk(2), *reference.chunk(2), beta=BETA).loss

    return from_hidden_states(loss)


PARTS: dict[str, Part] = {
    "TRL, from logits": trl_from_logits,
    "swiftdpo, from logits": swiftdpo_from_logits,
    "TRL, from hidden states": trl_from_hidden_states,
    "swiftdpo, from hidden states": swiftdpo_from_hidden_states,
}


def resident(peak: bool) -> int:
    """Bytes that this process holds, now or at most since the peak was reset."""
    name = "VmHWM" if peak else "VmRSS"
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def measure(part: str, threads: int, repeats: int) -> dict[str, float]:
    import swiftdpo
    import torch

    torch.set_num_threads(threads)
    swiftdpo.set_num_threads(threads)
    make = PARTS[part]
    make.__globals__["B"], whole = 2, B  # a small step first, so that code and threads are there
    make()()
    make.__globals__["B"] = whole
    before = resident(peak=False)
    step = make()
    Path("/proc/self/clear_refs").write_text("5")
    step()
    peak = resident(peak=True) - before
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    return {"seconds": statistics.median(seconds), "bytes": peak}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--part", choices=PARTS, help="measure one in this process")
    options = parser.parse_args()
    if options.part:
        print(json.dumps(measure(options.part, options.threads, options.repeats)))
        return
    found: dict[str, list[dict[str, float]]] = {name: [] for name in PARTS}
    for _ in range(options.rounds):
        for name, results in found.items():
            command = [sys.executable, __file__, "--part", name, "--threads", str(options.threads)]
            output = subprocess.check_output([*command, "--repeats", str(options.repeats)], text=True)
            results.append(json.loads(output.splitlines()[-1]))
    medians = {
        name: {key: statistics.median(result[key] for result in results) for key in ("seconds", "bytes")}
        for name, results in found.items()
    }
    print(f"{B} sequences x {T} tokens x {V} entries, float32, {options.threads} threads; H = {H}")
    for name, median in medians.items():
        print(f"{name:30s} {median['seconds'] * 1e3:8.1f} ms {median['bytes'] / 1e6:8.0f} MB")
    for start in ("from logits", "from hidden states"):
        theirs, ours = medians[f"TRL, {start}"], medians[f"swiftdpo, {start}"]
        share = ours["bytes"] / theirs["bytes"]
        print(f"{start}: {theirs['seconds'] / ours['seconds']:.1f} times as fast, {share:.0%} of the memory")


if __name__ == "__main__":
    main()
