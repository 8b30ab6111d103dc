"""A training step's loss part from the logits: log-probabilities of responses, DPO, gradient by the logits.

TRL's functions, PyTorch's and ours. Extra memory is what a process grows by during its first step, its inputs
being there: the gradient, if it is not written over the logits, and temporaries.
"""

import math

from figures import Figure, Point
from memory import first_step
from turns import WARM_MALLOC, Calls, Contestant, Spread, stop, take_turns, taking_part

BETA = 0.1
TOKENS, VOCABULARY = 512, 32_000
IGNORED = -100


def _step(sequences: int, threads: int, loss) -> Calls:
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    labels = torch.randint(0, VOCABULARY, (sequences, TOKENS))
    labels[:, : TOKENS // 4] = IGNORED
    reference = torch.full((sequences,), -TOKENS * math.log(VOCABULARY))
    start = torch.randn(sequences, TOKENS, VOCABULARY)

    def step() -> None:
        # Logits come fresh out of a model, and are nobody's leaf.
        logits = start.requires_grad_().view(start.shape)
        torch.autograd.grad(loss(logits, labels, reference), logits)

    return {"": step}


def swiftdpo_call(sequences: int, threads: int) -> Calls:
    import swiftdpo
    import swiftdpo.torch as sdt

    swiftdpo.set_num_threads(threads)

    def loss(logits, labels, reference):
        logps = sdt.sequence_logps(logits, labels, inplace=True).logps
        return sdt.dpo_loss(*logps.chunk(2), *reference.chunk(2), beta=BETA).loss

    return _step(sequences, threads, loss)


def _dpo(token_logps, mask, reference):
    import torch.nn.functional as F

    chosen, rejected = ((token_logps * mask).sum(1) - reference).chunk(2)
    return -F.logsigmoid(BETA * (chosen - rejected)).mean()


def trl_call(sequences: int, threads: int) -> Calls:
    from trl.trainer.utils import selective_log_softmax

    def loss(logits, labels, reference):
        shifted = labels[:, 1:]
        token_logps = selective_log_softmax(logits[:, :-1], shifted.clamp(min=0))
        return _dpo(token_logps, shifted != IGNORED, reference)

    return _step(sequences, threads, loss)


def torch_call(sequences: int, threads: int) -> Calls:
    import torch.nn.functional as F

    def loss(logits, labels, reference):
        shifted = labels[:, 1:]
        token_logps = -F.cross_entropy(
            logits[:, :-1].flatten(0, 1), shifted.flatten(), ignore_index=IGNORED, reduction="none"
        )
        return _dpo(token_logps.view(shifted.shape), shifted != IGNORED, reference)

    return _step(sequences, threads, loss)


CONTESTANTS = {
    "swiftdpo.torch": (swiftdpo_call, None),
    "TRL": (trl_call, None),
    "TRL, warm malloc": (trl_call, WARM_MALLOC),
    "PyTorch cross_entropy": (torch_call, None),
    "PyTorch cross_entropy, warm malloc": (torch_call, WARM_MALLOC),
}


def run(quick: bool) -> Figure:
    sequences = 2 if quick else 8
    size = {"sequences": sequences, "threads": 2}
    makes = taking_part(CONTESTANTS, quick)
    contestants = {who: Contestant(*made) for who, made in makes.items()}
    times = take_turns(contestants, size, rounds=3 if quick else 9, seconds=30)
    found = [Point(who, time, "time", threads=2) for (who, _), time in times.items()]
    left_out = stop(contestants)
    for who, (make, environment) in makes.items():
        if step := first_step(make, size, environment):
            grown = Spread.of([float(step[1])])
            found.append(Point(who, grown, "extra memory", threads=2, unit="bytes"))
    title = f"DPO step from logits [{sequences}, {TOKENS}, {VOCABULARY:,}], float32"
    note = (
        "Warm malloc: with an allocator that keeps temporaries mapped, which is PyTorch's best. Extra memory "
        "is what a process grows by during its first step, its inputs being there."
    )
    return Figure("step", title, "", found, left_out, note)
