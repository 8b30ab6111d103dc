"""swiftdpo.torch: values are the package's, gradients those that finite differences see, compiled or not."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import pytest
import swiftdpo
import swiftdpo.torch as sdt
import torch
from swiftdpo import _core
from swiftdpo._typing import ListwiseLossType
from swiftdpo.dpo import LossType
from swiftdpo.torch._pairs import _OfPolicy
from swiftdpo.torch.dpo import PairLoss
from torch import Tensor
from torch.autograd import gradcheck
from torch_losses import LABELS, LOGITS, MEAN, NONE, B, Case, logps, pair_options, some_logits

CASES = [
    pytest.param(case, id=f"{name}, {kind}")
    for kind, cases in (("mean", MEAN), ("none", NONE))
    for name, case in cases.items()
]
# One of each way through an operator.
COMPILED = [
    "plain",
    "ipo",
    "mixture",
    "betas and margins",
    "tie strength",
    "simpo",
    "kto",
    "bco",
    "rankings",
    "ragged",
    "lambda of lists",
    "tdpo1",
]


@pytest.mark.parametrize("case", CASES)
def test_gradients_of_heads(case: Case) -> None:
    assert gradcheck(case.loss, case.tensors)


@pytest.mark.parametrize("function", LOGITS.values(), ids=LOGITS.keys())
def test_gradients_by_logits(function: Callable[[Tensor], Tensor]) -> None:
    assert gradcheck(function, [some_logits()])


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("loss_type", get_args(LossType))
def test_pairs_have_the_bits_of_the_package(loss_type: str, dtype: torch.dtype, reduction: str) -> None:
    tensors = [logps(B, seed=seed).detach().to(dtype).requires_grad_(seed < 2) for seed in range(4)]
    options = pair_options(loss_type) | {"reduction": reduction}
    if "reward_gaps" in options:
        options["reward_gaps"] = options["reward_gaps"].to(dtype)
    arrays = {name: x.numpy() if isinstance(x, Tensor) else x for name, x in options.items()}
    given = tensors if loss_type != "odds_ratio" else [*tensors[:2], None, None]
    expected = swiftdpo.dpo_loss(*(None if x is None else x.detach().numpy() for x in given), 0.3, **arrays)

    loss, chosen_rewards, rejected_rewards = sdt.dpo_loss(*given, 0.3, **options)
    assert loss.dtype == dtype
    assert np.array_equal(loss.detach().numpy(), np.asarray(expected.loss, loss.detach().numpy().dtype))
    assert np.array_equal(chosen_rewards.numpy(), expected.chosen_rewards)
    assert np.array_equal(rejected_rewards.numpy(), expected.rejected_rewards)
    loss.sum().backward()
    if (loss_type, reduction) == ("aot_unpaired", "none"):
        return  # Gradients of single losses, summed: another order of additions.
    assert np.array_equal(tensors[0].grad.numpy(), expected.grad_policy_chosen_logps)
    assert np.array_equal(tensors[1].grad.numpy(), expected.grad_policy_rejected_logps)


def test_other_heads_have_the_bits_of_the_package() -> None:
    policy, reference = logps(B, 3), logps(B, 3, seed=1)
    loss, rewards = sdt.plackett_luce_loss(policy, reference, 0.4)
    expected = swiftdpo.plackett_luce_loss(policy.detach().numpy(), reference.detach().numpy(), 0.4)
    assert float(loss.detach()) == expected.loss and np.array_equal(rewards.numpy(), expected.rewards)
    targets = torch.softmax(logps(B, 3, seed=2).detach(), 1)
    for loss_type in get_args(ListwiseLossType):
        loss, rewards = sdt.listwise_loss(policy, reference, targets, 0.4, loss_type=loss_type)
        arrays = [x.detach().numpy() for x in (policy, reference, targets)]
        expected = swiftdpo.listwise_loss(*arrays, 0.4, loss_type=loss_type)
        assert float(loss.detach()) == expected.loss and np.array_equal(rewards.numpy(), expected.rewards)
    divergences = [-logps(B, seed=seed).detach() for seed in (3, 4)]
    for kind in ("tdpo1", "tdpo2"):
        given = [policy[:, 0], policy[:, 1], None, None, *divergences]
        found = sdt.tdpo_loss(*given, loss_type=kind, alpha=0.7)
        expected = swiftdpo.tdpo_loss(
            *(None if x is None else x.detach().numpy().copy() for x in given), loss_type=kind, alpha=0.7
        )
        assert float(found.loss.detach()) == expected.loss
        (gradient,) = torch.autograd.grad(found.loss, policy)
        assert np.array_equal(gradient[:, 0].numpy(), expected.grad_policy_chosen_logps)
    desirable = torch.tensor([True, False, True, True])
    for ours, theirs in ((sdt.kto_loss, swiftdpo.kto_loss), (sdt.bco_loss, swiftdpo.bco_loss)):
        of_one = policy[:, 0].detach().requires_grad_()
        loss, rewards = ours(of_one, None, desirable)
        expected = theirs(of_one.detach().numpy(), None, desirable.numpy())
        assert float(loss.detach()) == expected.loss and np.array_equal(rewards.numpy(), expected.rewards)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("inplace", [False, True])
def test_logits_have_the_bits_of_the_package(dtype: torch.dtype, inplace: bool) -> None:
    leaf = some_logits(dtype)
    logits = leaf * 1
    before = logits.detach().clone()
    found = sdt.sequence_logps(logits, LABELS, by_products=True, inplace=inplace)
    expected = swiftdpo.sequence_logps(before, LABELS, by_products=True)
    for name in (
        "logps",
        "num_tokens",
        "token_logps",
        "row_flags",
        "entropies",
        "log_sum_squares",
        "mean_logits",
        "top_1",
    ):
        assert np.array_equal(getattr(found, name).detach().numpy(), getattr(expected, name)), name
    grad_logps = torch.tensor([0.3, -1.2], dtype=torch.float64)
    found.logps.backward(grad_logps)
    gradient = swiftdpo.sequence_logps_backward(before, LABELS, grad_logps, expected, out=before.clone())
    assert leaf.grad.dtype == dtype and torch.equal(leaf.grad, gradient)
    assert torch.equal(logits.detach(), gradient if inplace else before)


# -- Where the tensors lie -----------------------------------------------------------------------------------


def test_logits_are_read_and_written_where_they_lie() -> None:
    whole = torch.randn(2, 5, 10, requires_grad=True)
    part = whole[..., 2:8]
    logits = part + 0
    sliced = torch.autograd.grad(sdt.sequence_logps(part, LABELS).logps.sum(), whole)[0]
    copied = torch.autograd.grad(sdt.sequence_logps(logits, LABELS).logps.sum(), logits)[0]
    assert torch.equal(sliced[..., 2:8], copied) and not sliced[..., :2].any() and not sliced[..., 8:].any()
    address = logits.data_ptr()
    (gradient,) = torch.autograd.grad(sdt.sequence_logps(logits, LABELS, inplace=True).logps.sum(), logits)
    assert gradient.data_ptr() == address and torch.equal(gradient, copied)


@pytest.mark.parametrize("tokens", [False, True])
def test_overwritten_logits_are_not_used_again(tokens: bool) -> None:
    logits = some_logits() * 1
    others = logits.exp()  # Its backward pass needs its own result, not the logits.
    squares = (logits**2).sum()  # This one needs them.
    function = sdt.token_logps if tokens else lambda *x, **more: sdt.sequence_logps(*x, **more).logps
    result = function(logits, LABELS, inplace=True).sum()
    result.backward(retain_graph=True)
    others.sum().backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        squares.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        result.backward()


def test_logits_that_do_not_lie_in_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="not laid out in rows"):
        sdt.sequence_logps(torch.randn(2, 6, 5).transpose(1, 2), LABELS)
    with pytest.raises(ValueError, match="not laid out in rows"):
        sdt.token_logps(torch.randn(2, 6, 5).transpose(1, 2), LABELS)


def test_strided_log_probabilities() -> None:
    rows = logps(B, 2)
    found = sdt.dpo_loss(rows[:, 0], rows[:, 1], None, None).loss
    expected = sdt.dpo_loss(rows[:, 0].clone(), rows[:, 1].clone(), None, None).loss
    assert torch.equal(found, expected)
    assert torch.equal(*(torch.autograd.grad(x, rows)[0] for x in (found, expected)))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_halves_and_mixed_types(dtype: torch.dtype) -> None:
    policy = [logps(B, seed=seed).detach().to(dtype).requires_grad_() for seed in range(2)]
    reference = [logps(B, seed=2).detach(), logps(B, seed=3).detach().float()]
    loss = sdt.dpo_loss(*policy, *reference).loss
    assert loss.dtype == torch.float64
    assert torch.equal(
        loss, sdt.dpo_loss(*(x.double() for x in policy), *(x.double() for x in reference)).loss
    )
    loss.backward()
    assert policy[0].grad.dtype == dtype
    assert sdt.dpo_loss(*policy, None, None).loss.dtype == torch.float32


# -- PyTorch's modes -----------------------------------------------------------------------------------------


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    torch.compiler.reset()
    return torch.compile(function, fullgraph=True, backend="aot_eager")


@pytest.mark.parametrize("name", COMPILED)
def test_heads_compile_as_one_graph(name: str) -> None:
    case = MEAN[name]
    found, expected = compiled(case.loss)(*case.tensors), case.loss(*case.tensors)
    assert torch.equal(found, expected)
    pairs = zip(
        torch.autograd.grad(found, case.tensors), torch.autograd.grad(expected, case.tensors), strict=True
    )
    for one, other in pairs:
        assert torch.allclose(one, other, rtol=1e-14, atol=0)


@pytest.mark.parametrize("name", ["plain", "aot_unpaired", "tie strength", "kto", "davidson ranks", "ragged"])
def test_unreduced_heads_compile(name: str) -> None:
    case = NONE[name]
    found, expected = compiled(case.loss)(*case.tensors), case.loss(*case.tensors)
    assert torch.equal(found, expected)
    weights = torch.arange(len(found), dtype=found.dtype) - 1.5
    for one, other in zip(
        *(torch.autograd.grad(x, case.tensors, weights) for x in (found, expected)), strict=True
    ):
        assert torch.allclose(one, other, rtol=1e-14, atol=0)


@pytest.mark.parametrize("name", LOGITS)
def test_logits_compile_as_one_graph(name: str) -> None:
    logits = some_logits(torch.float32)
    found, expected = compiled(LOGITS[name])(logits), LOGITS[name](logits)
    assert torch.equal(found, expected)
    assert torch.equal(*(torch.autograd.grad(x.sum(), logits)[0] for x in (found, expected)))


def test_a_whole_step_compiles() -> None:
    weight = torch.randn(6, 4, requires_grad=True)
    hidden = torch.randn(2, 5, 4)

    def step(weight: Tensor) -> Tensor:
        logps = sdt.sequence_logps(hidden @ weight.T, LABELS, inplace=True).logps
        return sdt.dpo_loss(logps[:1], logps[1:], None, None, beta=0.2).loss

    gradients = [torch.autograd.grad(run(weight), weight)[0] for run in (step, compiled(step))]
    assert torch.allclose(*gradients, rtol=1e-6)


OPERATORS = {
    "pair_loss": lambda: MEAN["mixture"],
    "unpaired_loss": lambda: NONE["kto"],
    "plackett_luce_loss": lambda: NONE["davidson ranks"],
    "listwise_loss": lambda: NONE["ragged lists"],
}


def arguments_of(name: str, run: Callable[[], Any]) -> tuple[Any, ...]:
    """What an operator is called with, caught on the way."""
    from swiftdpo.torch import _logps, _pairs, listwise, rankings, unpaired

    operator: Any = {
        "pair_loss": _pairs._operator,
        "unpaired_loss": unpaired._loss.operator,
        "plackett_luce_loss": rankings._loss.operator,
        "listwise_loss": listwise._loss.operator,
        "sequence_logps": _logps._operator,
    }[name]
    caught: list[tuple[Any, ...]] = []
    original, operator.forward = operator.forward, lambda *x: caught.append(x) or original(*x)
    compiling = torch.compiler.is_compiling
    torch.compiler.is_compiling = lambda: True
    try:
        run()
    finally:
        operator.forward, torch.compiler.is_compiling = original, compiling
    return original, caught[0]


@pytest.mark.parametrize("name", OPERATORS)
def test_operators_of_heads(name: str) -> None:
    case = OPERATORS[name]()
    operator, arguments = arguments_of(name, lambda: case.loss(*case.tensors))
    torch.library.opcheck(operator, arguments)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("name", ["sums", "by-products", "packed", "tokens"])
def test_operators_of_logits(name: str, dtype: torch.dtype) -> None:
    operator, arguments = arguments_of("sequence_logps", lambda: LOGITS[name](some_logits(dtype)))
    torch.library.opcheck(operator, arguments)


def test_autocast() -> None:
    weight, hidden = torch.randn(6, 4, requires_grad=True), torch.randn(2, 5, 4)
    with torch.autocast("cpu", torch.bfloat16):
        logits = hidden @ weight.T
        found = sdt.sequence_logps(logits, LABELS)
        loss = sdt.dpo_loss(found.logps[:1], found.logps[1:], None, None).loss
    assert logits.dtype == torch.bfloat16 and found.logps.dtype == loss.dtype == torch.float64
    loss.backward()
    assert weight.grad.dtype == torch.float32 and weight.grad.abs().sum() > 0


def small_model() -> tuple[torch.nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Embedding(6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 6))
    return model, torch.randint(0, 6, (8, 7)), torch.randn(8, dtype=torch.float64)


def pair_losses(model: Callable[..., Tensor], tokens: Tensor, reference: Tensor, **more: Any) -> Tensor:
    logps = sdt.sequence_logps(model(tokens), tokens, inplace=True).logps
    (chosen, rejected), (ref_chosen, ref_rejected) = logps.chunk(2), reference.chunk(2)
    return sdt.dpo_loss(chosen, rejected, ref_chosen, ref_rejected, **more).loss


def test_gradient_accumulation() -> None:
    """Sums over micro-batches, divided by the number of all pairs, are the gradient of the batch."""
    model, tokens, reference = small_model()
    pair_losses(model, tokens, reference).backward()
    expected = [x.grad.clone() for x in model.parameters()]
    model.zero_grad()
    for rows in ([0, 1, 2, 4, 5, 6], [3, 7]):
        (pair_losses(model, tokens[rows], reference[rows], reduction="sum") / 4).backward()
    for x, gradient in zip(model.parameters(), expected, strict=True):
        assert torch.allclose(x.grad, gradient, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointing(reentrant: bool) -> None:
    model, tokens, reference = small_model()
    pair_losses(model, tokens, reference).backward()
    expected = [x.grad.clone() for x in model.parameters()]
    model.zero_grad()
    embedded = model[0](tokens)

    def rest(hidden: Tensor) -> Tensor:
        return pair_losses(lambda _: model[2](model[1](hidden)), tokens, reference)

    torch.utils.checkpoint.checkpoint(rest, embedded, use_reentrant=reentrant).backward()
    for x, gradient in zip(model.parameters(), expected, strict=True):
        assert torch.allclose(x.grad, gradient, rtol=1e-6)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_without_gradients(mode: Callable[[], Any]) -> None:
    case = MEAN["sigmoid"]
    with mode():
        loss = case.loss(*case.tensors)
        found = sdt.sequence_logps(some_logits(), LABELS).logps
        made_here = sdt.dpo_loss(*(x + 0 for x in case.tensors[:4])).loss
    assert not loss.requires_grad and not found.requires_grad and not made_here.requires_grad
    assert torch.equal(loss, case.loss(*case.tensors))


@pytest.mark.parametrize("name", ["plain", "ipo", "kto", "rankings", "humanline"])
def test_second_derivatives_are_refused(name: str) -> None:
    case = MEAN[name]
    gradient = torch.autograd.grad(case.loss(*case.tensors).sum(), case.tensors[0], create_graph=True)[0]
    with pytest.raises(RuntimeError, match="no second derivatives"):
        gradient.sum().backward()
    logits = some_logits()
    gradient = torch.autograd.grad(sdt.sequence_logps(logits, LABELS).logps.sum(), logits, create_graph=True)[
        0
    ]
    with pytest.raises(RuntimeError, match="no second derivatives"):
        gradient.sum().backward()


def test_a_graph_can_be_kept() -> None:
    case = MEAN["plain"]
    loss = case.loss(*case.tensors)
    first = torch.autograd.grad(loss, case.tensors[0], retain_graph=True)[0]
    kept = first.clone()
    first.zero_()
    assert torch.equal(torch.autograd.grad(2 * loss, case.tensors[0])[0], 2 * kept)


def plain_pairs(**more: Any) -> tuple[Tensor, Tensor]:
    """The loss of pairs that go the shortest way, and a leaf that it depends on."""
    chosen, *others = (logps(B, seed=seed).detach() for seed in range(4))
    chosen.requires_grad_()
    return sdt.dpo_loss(chosen, *others, beta=0.3, **more).loss, chosen


def test_gradients_by_the_loss_of_any_kind() -> None:
    """A number or a row, with gaps, repeated, negated, or a batch of them."""
    single, leaf = plain_pairs()
    losses, other = plain_pairs(reduction="none")
    of_mean = torch.autograd.grad(single, leaf, retain_graph=True)[0]
    of_each = torch.autograd.grad(losses, other, torch.ones(B).double(), retain_graph=True)[0]
    assert torch.allclose(of_each, B * of_mean, rtol=1e-15)
    factors = torch.arange(2 * B).double() - 2.5
    for row in (factors[:B], factors[::2], factors[:1].expand(B)):
        found = torch.autograd.grad(losses, other, row, retain_graph=True)[0]
        assert torch.equal(found, of_each * row)
    rows = torch.autograd.grad(losses, other, torch.eye(B).double(), is_grads_batched=True)[0]
    assert torch.equal(rows, torch.diag(of_each))
    negated = torch.tensor(1 + 2j, dtype=torch.complex128).conj().imag
    assert negated.is_neg()
    assert torch.equal(torch.autograd.grad(single, leaf, negated)[0], -2 * of_mean)


@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("pairs", [1, B, 64])
def test_the_shortest_way_has_the_bits_of_the_general_one(
    pairs: int, dtype: torch.dtype, reduction: str
) -> None:
    """Weights of 1, or a beta that is a tensor, are no matter for the shortest way, and change nothing."""
    chosen, rejected, *reference = (logps(pairs, seed=seed).detach().to(dtype) for seed in range(4))
    factors = (
        logps(pairs, seed=5).detach().to(dtype) if reduction == "none" else torch.tensor(-1.7, dtype=dtype)
    )
    found = []
    for more in ({}, {"weights": torch.ones_like(chosen)}):
        leaves = chosen.clone().requires_grad_(), rejected.clone().requires_grad_()
        results = sdt.dpo_loss(*leaves, *reference, 0.3, reduction=reduction, **more)
        assert type(results) is PairLoss and results.loss is results[0]
        assert results.loss.requires_grad and not results.chosen_rewards.requires_grad
        for wanted in (leaves, leaves[:1], leaves[1:]):
            found.append(torch.autograd.grad(results.loss, wanted, factors, retain_graph=True))
        found.append(tuple(x.detach() for x in results))
        alone = sdt.dpo_loss(leaves[0], rejected, *reference, 0.3, reduction=reduction, **more)
        alone.loss.backward(factors)
        found.append((leaves[0].grad,))
        assert leaves[1].grad is None
    half = len(found) // 2
    for ours, others in zip(found[:half], found[half:], strict=True):
        assert all(torch.equal(x, y) for x, y in zip(ours, others, strict=True))
    assert torch.equal(found[0][0], found[1][0]) and torch.equal(found[0][1], found[2][0])


def test_hooks_see_the_shortest_way_s_gradients() -> None:
    loss, leaf = plain_pairs()
    (plain,) = torch.autograd.grad(loss, leaf, retain_graph=True)
    # The engine calls the backward pass itself, without what would look for it.
    assert loss.grad_fn.apply.__func__ is _OfPolicy.backward
    seen: list[Any] = []
    handles = [
        loss.register_hook(lambda grad: 2 * grad),
        loss.grad_fn.register_prehook(lambda grads: (grads[0] - 5,)),
        loss.grad_fn.register_hook(lambda by_inputs, grads: seen.append((by_inputs, grads))),
        leaf.register_hook(lambda grad: grad + 1),
    ]
    loss.backward(torch.tensor(4.0).double(), retain_graph=True)
    (by_inputs, grads), *others = seen
    assert not others and grads[0] == 3 and torch.equal(by_inputs[0], plain * 3)
    assert torch.equal(leaf.grad, plain * 3 + 1)
    for handle in handles:
        handle.remove()
    leaf.grad = None
    loss.backward(retain_graph=True)
    first = leaf.grad
    loss.backward()
    assert leaf.grad is first and torch.equal(first, 2 * plain)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_large_tensors_lie_in_memory_that_is_kept(dtype: torch.dtype) -> None:
    count = 20_000
    chosen, rejected, *reference = (logps(count, seed=seed).detach().to(dtype) for seed in range(4))
    arrays = [x.numpy() for x in (chosen, rejected, *reference)]
    expected = swiftdpo.dpo_loss(*arrays, beta=0.3, reduction="none")
    chosen.requires_grad_()
    places = []
    for _ in range(5):
        chosen.grad = None
        out = sdt.dpo_loss(chosen, rejected, *reference, beta=0.3, reduction="none")
        out.loss.sum().backward()
        assert chosen.grad is not None
        results = [out.loss.detach(), out.chosen_rewards, out.rejected_rewards, chosen.grad]
        theirs = [expected.losses, expected.chosen_rewards, expected.rejected_rewards]
        for tensor, array in zip(results, [*theirs, expected.grad_policy_chosen_logps], strict=True):
            np.testing.assert_array_equal(tensor.numpy(), array)
        places.append({tensor.data_ptr() for tensor in results[:3]})
        assert all(place % 64 == 0 for place in places[-1])
        assert len({place % 4096 for place in places[-1]}) == 3
    assert places[-1] & set().union(*places[:-1])


def test_what_does_not_lie_plainly_goes_the_general_way() -> None:
    expected, leaf = plain_pairs()
    reference = [logps(B, seed=seed).detach() for seed in (2, 3)]
    rejected = logps(B, seed=1).detach()

    def loss(chosen: Tensor) -> Tensor:
        return sdt.dpo_loss(chosen, rejected, *reference, beta=0.3).loss

    gaps = torch.stack([leaf.detach(), torch.zeros(B).double()], dim=1)[:, 0]
    assert torch.equal(loss(gaps), expected) and torch.equal(loss(torch.nn.Parameter(gaps)), expected)
    one = torch.complex(rejected[:1], -leaf.detach()[:1]).conj().imag[0][None]
    assert one.is_neg() and one.stride() == (1,)
    with pytest.raises(RuntimeError, match="negative bit"):
        sdt.dpo_loss(one, *(x[:1] for x in (rejected, *reference)))


def test_function_transforms_are_refused() -> None:
    with pytest.raises(RuntimeError, match="functorch transforms"):
        torch.func.grad(lambda x: x * plain_pairs()[0])(torch.ones(()))
    with pytest.raises(RuntimeError):
        torch.func.grad(lambda x: sdt.dpo_loss(x, x, None, None).loss)(logps(B).detach())


def test_the_shortest_way_takes_nothing_that_it_cannot_read() -> None:
    tensor = logps(B).detach()
    kept: list[Any] = []
    options: Any = (0.3, 0.0, "mean", "propagate", lambda *x: kept.append(x) or x[2][0], PairLoss)
    assert _core.tensors_dpo_loss(tensor, tensor, None, None, *options) is not None
    for bad in (
        None,
        [1.0],
        1.0,
        tensor.numpy(),
        tensor.half(),
        tensor[::2],
        tensor[0],
        tensor[:, None],
        tensor[:1],
    ):
        assert _core.tensors_dpo_loss(tensor, bad, None, None, *options) is None
        assert _core.tensors_dpo_loss(tensor, tensor, bad, tensor, *options) is None
        if not isinstance(bad, Tensor):
            assert _core.tensors_dpo_loss(bad, bad, None, None, *options) is None
    for other in (torch.empty(B, device="meta"), tensor.to_sparse(), tensor.float(), logps(B)):
        assert _core.tensors_dpo_loss(tensor, tensor, tensor, other, *options) is None
    for i, bad in enumerate([-1.0, 0.5, "max", "ignore"]):
        wrong = (*options[:i], bad, *options[i + 1 :])
        assert _core.tensors_dpo_loss(tensor, tensor, None, None, *wrong) is None
    ((chosen, rejected, (_, (by_chosen, by_rejected))),) = kept
    assert chosen is tensor and rejected is tensor
    for not_a_tuple in (None, PairLoss(*3 * [None]), list):
        with pytest.raises(TypeError, match="expected a kind of tuple"):
            _core.tensors_dpo_loss(tensor, tensor, None, None, *options[:5], not_a_tuple)
    with pytest.raises(ZeroDivisionError):
        _core.tensors_dpo_loss(tensor, tensor, None, None, *options[:4], lambda *_: 1 // 0, PairLoss)
    for grad in (None, 1.0, tensor[:2], tensor.float(), tensor[0].to("meta"), tensor[::2]):
        assert _core.tensors_scaled(by_chosen, by_rejected, grad) is None
    for gradient in (None, tensor, by_chosen[:2].astype(np.float32), by_chosen[::2], by_chosen[:, None]):
        assert _core.tensors_scaled(by_chosen, gradient, tensor[0]) is None


# -- What is not finite, and what is refused -----------------------------------------------------------------


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_nonfinite_numbers_go_through(bad: float) -> None:
    chosen, rejected = logps(B).detach(), logps(B, seed=1).detach()
    chosen[1] = bad
    chosen.requires_grad_()
    losses = sdt.dpo_loss(chosen, rejected, None, None, loss_type="ipo", reduction="none").loss
    assert not torch.isfinite(losses[1]) and torch.isfinite(losses[[0, 2, 3]]).all()
    losses.sum().backward()
    assert not torch.isfinite(chosen.grad[1]) and torch.isfinite(chosen.grad[[0, 2, 3]]).all()
    with pytest.raises(ValueError, match=r"policy_chosen_logps\[1\]"):
        sdt.dpo_loss(chosen, rejected, None, None, nonfinite="error")


def test_nan_logits_go_through_to_their_row() -> None:
    logits = some_logits().detach()
    logits[0, 1, 2] = torch.nan
    logits.requires_grad_()
    found = sdt.sequence_logps(logits, LABELS)
    assert found.logps.isnan().tolist() == [True, False]
    found.logps.sum().backward()
    assert logits.grad[0, 1].isnan().all() and not logits.grad[1].isnan().any()


def test_a_scaler_sees_overflow() -> None:
    case = NONE["aot_unpaired"]
    gradients = torch.autograd.grad(
        case.loss(*case.tensors), case.tensors, torch.tensor([1.0, torch.inf, 0, 0]).double()
    )
    assert all(x.isnan().any() for x in gradients)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda x: sdt.dpo_loss([1.0], x, None, None), "policy_chosen_logps is a list; expected a tensor"),
        (lambda x: sdt.dpo_loss(x, x, None, None, loss_type="dpo"), "loss_type is 'dpo'; expected one of"),
        (lambda x: sdt.dpo_loss(x, x, None, None, weights=x), "weights requires a gradient"),
        (lambda x: sdt.dpo_loss(x, x, None, None, beta=-1.0), "beta"),
        (lambda x: sdt.dpo_loss(x, x, None, None, loss_type="davidson", ties=x), "expected torch.bool"),
        (
            lambda x: sdt.dpo_loss(x.long(), x, None, None),
            "policy_chosen_logps has dtype int64; expected float32",
        ),
        (lambda x: sdt.dpo_loss(x, x[:1], None, None), "policy_rejected_logps has shape"),
        (lambda x: sdt.kto_loss(x, None, x, kl=x.sum()), "kl requires a gradient"),
        (lambda x: sdt.kto_loss(x, None, x > 0, loss_type="bco"), "loss_type is 'bco'"),
        (lambda x: sdt.plackett_luce_loss(x, beta=x), "beta requires a gradient"),
        (lambda x: sdt.listwise_loss(x, None, x), "targets requires a gradient"),
        (lambda x: sdt.tdpo_loss(x, x, None, None, x[:1], x), r"chosen_kl has shape \(1,\)"),
        (lambda x: sdt.tdpo_loss(x, x, None, None, x, x, alpha=-1.0), "alpha: a parameter of the loss"),
        (lambda x: sdt.tdpo_loss(x, x, None, None, x, x, margin=x), "unexpected keyword argument 'margin'"),
        (lambda x: sdt.token_logps(x, LABELS), "logits has 1 dimensions"),
        (lambda x: sdt.sequence_logps(x.to("meta"), LABELS), "logits are on meta"),
    ],
)
def test_what_is_refused(call: Callable[[Tensor], Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        call(logps(B))


# -- Other devices -------------------------------------------------------------------------------------------


def test_one_transfer_each_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no other device here: a tensor subclass stands for one, and what would move is counted."""
    from swiftdpo.torch import _tensors
    from swiftdpo.torch._pairs import PairInputs, PairOptions, pair_loss

    class Elsewhere(torch.Tensor):
        device = torch.device("cuda:0")
        is_cpu = False

        @classmethod
        def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            with torch._C.DisableTorchFunctionSubclass():
                return function(*args, **(kwargs or {}))

    moves: list[tuple[str, int]] = []

    def move(tensor: Tensor, device: torch.device) -> Tensor:
        moves.append((device.type, tensor.numel()))
        return tensor * 1

    monkeypatch.setattr(_tensors, "move", move)
    leaves = [logps(B, seed=seed) for seed in range(4)]
    tensors = [leaf.float().as_subclass(Elsewhere) for leaf in leaves]
    options = PairOptions(
        0.3, None, 0.0, "mean", "propagate", (15,), None, 0, False, 0.5, 0.05, 2.0, 1.0, 0.0
    )
    lengths = [
        x.as_subclass(Elsewhere) for x in (LABELS.sum(1).abs().repeat(2), LABELS.sum(1).abs().repeat(2))
    ]
    inputs = PairInputs(*tensors, chosen_lengths=lengths[0], rejected_lengths=lengths[1])
    loss, chosen_rewards, _ = _tensors.through_host(lambda x: pair_loss(PairInputs._make(x), options), inputs)
    assert moves == [("cpu", 6 * B), ("cuda", 1 + 2 * B)]
    expected = sdt.dpo_loss(
        *(x.float().double() for x in leaves),
        0.3,
        "ipo_norm",
        chosen_lengths=lengths[0] * 1,
        rejected_lengths=lengths[1] * 1,
    )
    assert loss.dtype == torch.float32
    assert torch.equal(loss, expected.loss.float()) and torch.equal(
        chosen_rewards, expected.chosen_rewards.float()
    )
    found = torch.autograd.grad(loss, leaves)
    for one, other in zip(found, torch.autograd.grad(expected.loss, leaves), strict=True):
        assert torch.allclose(one, other, rtol=1e-6)


# -- Modules -------------------------------------------------------------------------------------------------


def test_modules_are_the_functions() -> None:
    policy = logps(B), logps(B, seed=1)
    lengths = torch.tensor([1, 2, 3, 4]), torch.tensor([2, 2, 1, 1])
    assert torch.equal(
        sdt.DPOLoss(beta=0.3, loss_type="hinge")(*policy, None, None).loss,
        sdt.dpo_loss(*policy, None, None, 0.3, "hinge").loss,
    )
    for module, function in (
        (sdt.SimPOLoss, sdt.simpo_loss),
        (sdt.AlphaPOLoss, sdt.alphapo_loss),
        (sdt.ORPOLoss, sdt.orpo_loss),
        (sdt.TPOLoss, functools.partial(sdt.tpo_loss)),
    ):
        given = (*policy, *lengths) if module is not sdt.TPOLoss else (*policy, policy[0], lengths[0])
        assert torch.equal(module()(*given).loss, function(*given).loss)
    named = {"chosen_lengths": lengths[0], "rejected_lengths": lengths[1]}
    assert torch.equal(sdt.CPOLoss()(*policy, **named).loss, sdt.cpo_loss(*policy, **named).loss)
    assert torch.equal(sdt.SLiCLoss()(*policy).loss, sdt.slic_loss(*policy).loss)
    items = logps(B, 3)
    assert torch.equal(
        sdt.TDPOLoss()(*policy, None, None, *policy).loss, sdt.tdpo_loss(*policy, None, None, *policy).loss
    )
    grades = {"targets": items.detach(), "loss_type": "pro"}
    assert torch.equal(
        sdt.ListwiseLoss(**grades)(items, None).loss, sdt.listwise_loss(items, None, **grades).loss
    )
    assert torch.equal(sdt.RankingLoss(top=1)(items).loss, sdt.plackett_luce_loss(items, top=1).loss)
    logits = some_logits()
    assert torch.equal(
        sdt.SequenceLogProbs(average=True)(logits, LABELS).logps,
        sdt.sequence_logps(logits, LABELS, average=True).logps,
    )


def test_a_learned_beta_is_a_parameter() -> None:
    loss = sdt.DPOLoss(beta=torch.nn.Parameter(torch.tensor(0.3, dtype=torch.float64)))
    assert [name for name, _ in loss.named_parameters()] == ["beta"]
    loss(logps(B), logps(B, seed=1), None, None).loss.backward()
    assert loss.beta.grad.abs() > 0


def test_kto_estimates_kl_from_mismatched_pairs() -> None:
    desirable = torch.tensor([True, False, True, False])
    policy, reference, kl = logps(B), logps(B, seed=1), logps(B, seed=2).detach()
    found = sdt.KTOLoss(beta=0.2)(
        policy, reference, desirable, policy_kl_logps=kl, ref_kl_logps=kl - 0.25
    ).loss
    assert torch.allclose(found, sdt.kto_loss(policy, reference, desirable, 0.2, kl=0.25).loss, rtol=1e-12)


def test_bco_keeps_delta_in_its_state() -> None:
    desirable = torch.tensor([True, False, True, False])
    policy, reference = logps(B), logps(B, seed=1)
    loss = sdt.BCOLoss(beta=0.2)
    found = loss(policy, reference, desirable).loss
    delta = float((0.2 * (policy - reference)).mean().detach())
    assert loss.delta.num_samples == B and loss.delta.value == pytest.approx(delta, rel=1e-12)
    assert torch.allclose(
        found, sdt.bco_loss(policy, reference, desirable, 0.2, delta=delta).loss, rtol=1e-12
    )
    restored = sdt.BCOLoss(beta=0.2)
    restored.load_state_dict(loss.state_dict())
    restored.eval()
    restored(policy, reference, desirable)
    assert restored.delta == loss.delta


def test_wpo_weights_are_the_package_s() -> None:
    found = sdt.sequence_logps(some_logits(), LABELS, by_products=True)
    weights = sdt.wpo_weights(found.token_logps, found.num_tokens, found.log_sum_squares)
    expected = swiftdpo.wpo_weights(
        *(x.numpy() for x in (found.token_logps, found.num_tokens, found.log_sum_squares))
    )
    assert np.array_equal(weights.numpy(), expected) and not weights.requires_grad
