"""Several processes on torch.distributed: the results of one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import swiftdpo
import swiftdpo.torch as sdt
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from swiftdpo.torch.reductions import all_reduce_state, all_reduce_states
from swiftdpo.torch.vocab_parallel import fused_vocab_parallel_logps, vocab_parallel_logps

ROOT = Path(__file__).resolve().parents[4]
B, T, V = 3, 6, 57
CUTS = (0, 20, 21, V)  # uneven, and one column alone
WORLD = len(CUTS) - 1
GRAD_LOGPS = torch.tensor([1.5, -0.25, 3.0], dtype=torch.float64)


def batch(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn((B, T, V), generator=generator, dtype=torch.float64) * 4
    labels = torch.randint(0, V, (B, T), generator=generator)
    labels[0, :2] = -100
    labels[1, 3] = 20  # the label of the shard of one column
    labels[2] = torch.tensor([0, 1, 2, 3, 4, 5])  # a sequence whose labels all lie in the first shard
    return logits.to(dtype), labels


def shard_of(rank, dtype=torch.float64):
    logits, labels = batch(dtype)
    return logits[..., CUTS[rank] : CUTS[rank + 1]].clone().requires_grad_(), labels


OPTIONS = [
    ("float64", {}),
    ("float32", {"temperature": 0.7, "softcap": 30.0}),
    ("bfloat16", {"average": True, "shift": False}),
]


def whole(dtype, options):
    logits, labels = batch(getattr(torch, dtype))
    logits.requires_grad_()
    out = sdt.sequence_logps(logits, labels, **options)
    out.logps.backward(GRAD_LOGPS)
    return out, logits.grad


def naive_logps(logits, labels, start):
    """What one is tempted to write: each process has log-probabilities of the labels that it owns, 0 for the
    others, and an all-reduce that autograd does not see adds them up."""
    logits, labels = logits[:, :-1], labels[:, 1:]
    top = logits.detach().amax(-1)
    dist.all_reduce(top, dist.ReduceOp.MAX)
    total = (logits - top[..., None]).exp().sum(-1)
    dist.all_reduce(total.data)
    mine = (labels >= start) & (labels < start + logits.shape[-1])
    places = torch.where(mine, labels - start, 0)[..., None]
    label = logits.gather(-1, places)[..., 0]
    logps = torch.where(mine, label - top - torch.log(total), 0.0).sum(1)
    dist.all_reduce(logps.data)
    return logps


def vocabulary_worker(rank, folder):
    start = CUTS[rank]
    for dtype, options in OPTIONS:
        expected, gradient = whole(dtype, options)
        logits, labels = shard_of(rank, getattr(torch, dtype))
        out = vocab_parallel_logps(logits, labels, start, **options)
        out.logps.backward(GRAD_LOGPS)
        rounding = {"float64": 1e-13, "float32": 1e-6, "bfloat16": 1e-2}[dtype]
        exact = 1e-13 if dtype == "float64" else 1e-7  # exponentials of the others are single
        torch.testing.assert_close(out.logps, expected.logps, rtol=exact, atol=0)
        torch.testing.assert_close(out.token_logps, expected.token_logps, rtol=1e-6, atol=1e-9)
        assert torch.equal(out.num_tokens, expected.num_tokens)
        mine = gradient[..., start : CUTS[rank + 1]]
        torch.testing.assert_close(logits.grad, mine, rtol=rounding, atol=rounding * 1e-2)
        # Every process has the very same log-probabilities, or their losses would drift apart.
        gathered = [torch.empty_like(out.logps) for _ in range(WORLD)]
        dist.all_gather(gathered, out.logps.detach())
        assert all(torch.equal(other, gathered[0]) for other in gathered)

    # In place: the gradient lies where the logits were.
    expected, gradient = whole("float64", {})
    leaf, labels = shard_of(rank)
    logits = leaf * 1
    vocab_parallel_logps(logits, labels, start, inplace=True).logps.backward(GRAD_LOGPS)
    torch.testing.assert_close(logits.detach(), gradient[..., start : CUTS[rank + 1]], rtol=1e-12, atol=1e-14)

    # The trap: right values, and wrong gradients, where the label is another's.
    logits, labels = shard_of(rank)
    naive = naive_logps(logits, labels, start)
    torch.testing.assert_close(naive.detach(), expected.logps, rtol=1e-9, atol=0)
    naive.backward(GRAD_LOGPS)
    mine = gradient[..., start : CUTS[rank + 1]]
    torch.save(float((logits.grad - mine).abs().max() / mine.abs().max()), folder / f"trap-{rank}")

    # Errors are the same on all processes: none waits for another.
    labels[1, 4] = V + 3
    with pytest.raises(ValueError, match="label"):
        vocab_parallel_logps(logits, labels, start)
    logits, labels = shard_of(rank)
    if rank == 1:
        logits.data[0, 2, 0] = torch.nan
    with pytest.raises(ValueError, match="finite"):
        vocab_parallel_logps(logits, labels, start, nonfinite="error")
    assert vocab_parallel_logps(logits, labels, start).logps[0].isnan()


def head_batch(dtype):
    generator = torch.Generator().manual_seed(5)
    hidden, weight, bias = (
        torch.randn(shape, generator=generator).to(dtype) for shape in [(2 * B, T, 9), (V, 9), (V,)]
    )
    labels = torch.randint(0, V, (2 * B, T), generator=generator)
    labels[0, :2] = -100
    return hidden.requires_grad_(), weight.requires_grad_(), bias.requires_grad_(), labels


def head_loss(logps):
    return sdt.dpo_loss(logps[:B], logps[B:], None, None, reduction="sum").loss


def fused_vocabulary_worker(rank, folder):
    """A head whose rows are cut over the processes has the loss and gradients of the whole."""
    mine = slice(CUTS[rank], CUTS[rank + 1])
    for dtype, rounding in ((torch.float32, 1e-5), (torch.bfloat16, 2e-2)):
        whole = head_batch(dtype)
        expected, _ = sdt.fused_linear_logps(*whole[:2], whole[3], bias=whole[2], logits_dtype=torch.float32)
        head_loss(expected).backward()
        hidden, weight, bias, labels = head_batch(dtype)
        weight, bias = (x[mine].detach().clone().requires_grad_() for x in (weight, bias))
        out = fused_vocab_parallel_logps(hidden, weight, labels, mine.start, bias=bias)
        torch.testing.assert_close(out.logps, expected, rtol=1e-6, atol=1e-6)
        head_loss(out.logps).backward()
        for found, exact in zip((hidden, weight, bias), (whole[0], whole[1], whole[2]), strict=True):
            exact = exact.grad if found is hidden else exact.grad[mine]
            largest = max(float(exact.abs().max()), 0.1)
            torch.testing.assert_close(found.grad, exact, rtol=0, atol=rounding * largest)


def fused_data_worker(rank, folder):
    """Each process has a pair: with the global count as divisor, summed gradients are those of all pairs."""
    whole = head_batch(torch.float32)
    out = sdt.fused_linear_dpo_loss(*whole[:2], whole[3], bias=whole[2], workspace_size=1 << 20)
    out.loss.backward()
    hidden, weight, bias, labels = head_batch(torch.float32)
    mine = [rank, B + rank]
    share = sdt.fused_linear_dpo_loss(
        hidden[mine], weight, labels[mine], bias=bias, reduction="sum", workspace_size=T * V * 4 * 2
    )
    (share.loss / B).backward()
    total = share.loss.detach() / B
    for part, expected in (
        (total, out.loss.detach()),
        *zip([x.grad for x in (hidden, weight, bias)], [x.grad for x in whole[:3]], strict=True),
    ):
        dist.all_reduce(part)
        torch.testing.assert_close(part, expected, rtol=1e-5, atol=1e-6)


def states_worker(rank, folder):
    rng = np.random.default_rng(0)
    policy, ref = rng.normal(-30, 5, (2, 2, 11))
    part = slice(rank * 4, [4, 8, 11][rank])
    pairs = swiftdpo.dpo_loss(*policy[:, part], *ref[:, part], more=True).metrics
    expected = swiftdpo.dpo_loss(*policy, *ref, more=True).metrics
    total = all_reduce_state(pairs)
    assert (total.num_pairs, total.num_correct) == (11, expected.num_correct)
    assert isinstance(total.num_pairs, int) and isinstance(total, swiftdpo.PairMetrics)
    np.testing.assert_allclose(total, expected, rtol=1e-14)

    kto = swiftdpo.KTOBaseline().add(policy[0, part], ref[0, part])
    bco = swiftdpo.BCODelta().add(policy[1, part], ref[1, part])
    desirable = np.arange(11) % 2 == 0
    unpaired = swiftdpo.kto_loss(policy[0, part], ref[0, part], desirable[part]).metrics
    kto, bco, unpaired = all_reduce_states([kto, bco, unpaired])
    whole_kto = swiftdpo.KTOBaseline().add(policy[0], ref[0])
    assert kto.num_samples == 11 and kto.num_batches == WORLD
    np.testing.assert_allclose(kto.sum, whole_kto.sum, rtol=1e-14)
    np.testing.assert_allclose(kto.value(), whole_kto.value(), rtol=1e-13)
    np.testing.assert_allclose(bco.value, swiftdpo.BCODelta().add(policy[1], ref[1]).value, rtol=1e-13)
    np.testing.assert_allclose(unpaired, swiftdpo.kto_loss(policy[0], ref[0], desirable).metrics, rtol=1e-14)


def in_group(rank, world, folder, workers):
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=world)
    torch.set_num_threads(1)
    for worker in workers:
        worker(rank, folder)
    dist.destroy_process_group()


def test_vocabulary_and_states_on_three_processes(tmp_path):
    workers = vocabulary_worker, fused_vocabulary_worker, fused_data_worker, states_worker
    mp.spawn(in_group, (WORLD, tmp_path, workers), nprocs=WORLD)
    errors = [torch.load(tmp_path / f"trap-{rank}") for rank in range(WORLD)]
    assert min(errors) > 0.01, "the naive program should be wrong on every process: none owns all labels"


def test_one_process_is_a_group(tmp_path):
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1)
    logits, labels = batch()
    out = vocab_parallel_logps(logits.requires_grad_(), labels, 0)
    out.logps.backward(GRAD_LOGPS)
    expected, gradient = whole("float64", {})
    dist.destroy_process_group()
    torch.testing.assert_close(out.logps, expected.logps, rtol=1e-14, atol=0)
    torch.testing.assert_close(logits.grad, gradient, rtol=1e-12, atol=1e-15)


def run_ddp(folder, processes, *options):
    out = folder / f"{processes}-{'-'.join(options)}.pt"
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command = [sys.executable, *torchrun, str(ROOT / "examples" / "ddp_dpo.py"), "--out", str(out), *options]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    finished = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    return torch.load(out)


def test_data_parallel_training_is_that_of_one_process(tmp_path):
    """13 pairs on one process at once; and on two that have 7 and 6, in micro-batches 3 + 3 + 1 and 3 + 3."""
    alone = run_ddp(tmp_path, 1, "--micro-batch", "13")
    shared = run_ddp(tmp_path, 2, "--micro-batch", "3")
    for name, gradient in alone["gradients"].items():
        scale = gradient.abs().max().item()
        torch.testing.assert_close(shared["gradients"][name], gradient, rtol=0, atol=1e-12 * scale)
    np.testing.assert_allclose(shared["metrics"], alone["metrics"], rtol=1e-9)
    assert [metrics[0] for metrics in shared["metrics"]] == [13] * 5
    losses = [metrics[3] for metrics in alone["metrics"]]
    assert losses == sorted(losses, reverse=True)
    # The hook runs for every exchange, and there are as many as without accumulation.
    assert shared["exchanges"] == alone["exchanges"] >= 5
