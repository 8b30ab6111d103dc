"""The fused linear head against PyTorch's autograd in double precision, and the plain path over logits."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
import swiftdpo
import torch
import torch.nn.functional as F

Matrix = npt.NDArray[Any]


class Case:
    """Random hidden states, weights and labels of `sequences` sequences."""

    def __init__(
        self, sequences: int, length: int, width: int, vocabulary: int, *, bias: bool = True, seed: int = 0
    ) -> None:
        random = np.random.default_rng(seed)
        self.hidden = random.normal(size=(sequences, length, width)).astype(np.float32)
        self.weight = (random.normal(size=(vocabulary, width)) / np.sqrt(width)).astype(np.float32)
        self.bias = random.normal(size=vocabulary).astype(np.float32) if bias else None
        self.labels = random.integers(0, vocabulary, size=(sequences, length))
        self.labels[random.random((sequences, length)) < 0.3] = -100

    def cast(self, dtype: Any) -> "Case":
        """In another type; the numbers are rounded to it."""
        self.hidden, self.weight = self.hidden.astype(dtype), self.weight.astype(dtype)
        self.bias = None if self.bias is None else self.bias.astype(dtype)
        return self


def double(array: Matrix | None) -> Any:
    return None if array is None else torch.tensor(array.astype(np.float64), requires_grad=True)


def exact_logps(
    hidden: Any,
    weight: Any,
    bias: Any,
    labels: Matrix,
    *,
    temperature: float = 1.0,
    softcap: float | None = None,
) -> Any:
    """log pi of each sequence, by PyTorch in double precision."""
    logits = hidden @ weight.T + (0 if bias is None else bias)
    if softcap is not None:
        logits = softcap * torch.tanh(logits / softcap)
    targets = torch.tensor(labels)[:, 1:]
    logps = F.log_softmax(logits[:, :-1] / temperature, -1)
    picked = logps.gather(-1, targets.clamp(min=0)[..., None])[..., 0]
    return (picked * (targets != -100)).sum(1)


def relative_error(found: Matrix, exact: Any) -> float:
    """The largest error, by the largest magnitude."""
    exact = exact.numpy()
    return float(np.abs(found.astype(np.float64) - exact).max() / max(np.abs(exact).max(), 1e-30))


def check_gradients(out: swiftdpo.FusedGradients, exact: tuple[Any, ...], bound: float = 3e-6) -> None:
    for found, tensor in zip(out, exact, strict=True):
        if tensor is None:
            assert found is None
        else:
            assert relative_error(found, tensor.grad) <= bound


ODD_SHAPES = [
    (1, 47, 31, 123),
    (3, 9, 1, 7),
    (1, 2, 1, 1),
    (2, 5, 3, 2),
    (1, 700, 5, 5000),  # tiles of the vocabulary, and an uneven last one
    (2, 1500, 3, 40),  # chunks of rows
    (1, 20, 1500, 5000),  # ranges of the width
]


@pytest.mark.parametrize("shape", ODD_SHAPES)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("options", [{}, {"temperature": 0.7, "softcap": 3.0}])
def test_dpo_loss_and_gradients_against_autograd(shape: Any, bias: bool, options: Any) -> None:
    pairs, *sizes = shape
    policy, ref = Case(2 * pairs, *sizes, bias=bias), Case(2 * pairs, *sizes, bias=bias, seed=1)
    out = swiftdpo.fused_linear_dpo_loss(
        policy.hidden,
        policy.weight,
        policy.labels,
        bias=policy.bias,
        ref_hidden=ref.hidden,
        ref_weight=ref.weight,
        ref_bias=ref.bias,
        beta=0.2,
        **options,
    )
    tensors = double(policy.hidden), double(policy.weight), double(policy.bias)
    logps = exact_logps(*tensors, policy.labels, **options)
    with torch.no_grad():
        ref_logps = exact_logps(
            double(ref.hidden), double(ref.weight), double(ref.bias), policy.labels, **options
        )
    ratios = logps - ref_logps
    loss = F.softplus(-0.2 * (ratios[:pairs] - ratios[pairs:])).mean()
    loss.backward()
    tokens = int(out.policy.num_tokens.max())
    assert np.abs(out.policy.logps - logps.detach().numpy()).max() <= 5e-7 * max(tokens, 1)
    assert out.ref_logps is not None
    assert np.abs(out.ref_logps - ref_logps.numpy()).max() <= 5e-7 * max(tokens, 1)
    assert abs(out.loss - loss.item()) <= 2e-7 * max(tokens, 1) * 0.2 * 4 + 1e-7
    check_gradients(out.gradients, tensors)


def test_gradients_against_finite_differences() -> None:
    case = Case(4, 6, 3, 9)

    def loss(hidden: Matrix, weight: Matrix, bias: Matrix) -> float:
        logps = swiftdpo.sequence_logps(hidden @ weight.T + bias, case.labels).logps
        return float(swiftdpo.dpo_loss(logps[:2], logps[2:], None, None, 0.5).loss)

    assert case.bias is not None
    out = swiftdpo.fused_linear_dpo_loss(case.hidden, case.weight, case.labels, bias=case.bias, beta=0.5)
    matrices = [x.astype(np.float64) for x in (case.hidden, case.weight, case.bias)]
    for matrix, found in zip(matrices, out.gradients, strict=True):
        for index in np.ndindex(matrix.shape):
            before = matrix[index]
            values = []
            for step in (1e-5, -1e-5):
                matrix[index] = before + step
                values.append(loss(*matrices))
            matrix[index] = before
            assert abs(found[index] - (values[0] - values[1]) / 2e-5) <= 1e-6


LOSSES: list[dict[str, Any]] = [
    {},
    {"label_smoothing": 0.1},
    {"loss_type": "ipo"},
    {"loss_type": "ipo_norm"},
    {"loss_type": "hinge", "margin": 0.3},
    {"loss_type": "aot"},
    {"loss_type": "aot_unpaired", "label_smoothing": 0.2},
    {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.5]},
    {"loss_type": "odds_ratio", "reference_free": True},
    {"loss_type": "alphapo", "reference_free": True, "margin": 0.5},
    {"weights": np.array([1.0, 0.0, 2.0]), "beta": np.array([0.1, 0.2, 0.3]), "reduction": "sum"},
    {"f_divergence_type": "js_divergence", "reduction": "none"},
]


@pytest.mark.parametrize("options", LOSSES)
def test_any_loss_is_that_of_the_log_probabilities(options: dict[str, Any]) -> None:
    case = Case(6, 40, 8, 50)
    ref = np.random.default_rng(5).normal(-40, 5, size=(2, 3))
    out = swiftdpo.fused_linear_dpo_loss(
        case.hidden,
        case.weight,
        case.labels,
        bias=case.bias,
        ref_chosen_logps=ref[0],
        ref_rejected_logps=ref[1],
        **options,
    )
    forward = swiftdpo.fused_linear_logps(case.hidden, case.weight, case.labels, bias=case.bias)
    lengths = {"chosen_lengths": forward.num_tokens[:3], "rejected_lengths": forward.num_tokens[3:]}
    loss = swiftdpo.dpo_loss(out.policy.logps[:3], out.policy.logps[3:], *ref, **(lengths | options))
    for found, expected in zip(out.pairs[:7], loss[:7], strict=True):
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(out.policy.logps, forward.logps, rtol=1e-6)
    gradient = np.concatenate([loss.grad_policy_chosen_logps, loss.grad_policy_rejected_logps])
    back = swiftdpo.fused_linear_logps_backward(
        case.hidden, case.weight, case.labels, gradient, forward, bias=case.bias
    )
    for found, expected in zip(out.gradients, back, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6 * np.abs(expected).max())


def test_single_responses_and_rankings() -> None:
    case = Case(6, 30, 8, 50)
    ref = np.random.default_rng(5).normal(-40, 5, size=6)
    desirable = np.array([True, False, True, True, False, True])
    rankings = np.array([[2, 0, 1], [0, 1, 2]])
    matrices = case.hidden, case.weight, case.labels
    outs: list[tuple[Any, Any, Any]] = []
    kto = swiftdpo.fused_linear_kto_loss(*matrices, desirable, bias=case.bias, ref_logps=ref, kl=0.3)
    outs.append((kto, kto.responses, swiftdpo.kto_loss(kto.policy.logps, ref, desirable, kl=0.3)))
    bco = swiftdpo.fused_linear_bco_loss(*matrices, desirable, bias=case.bias, ref_logps=ref, delta=0.2)
    outs.append((bco, bco.responses, swiftdpo.bco_loss(bco.policy.logps, ref, desirable, delta=0.2)))
    groups = ref.reshape(2, 3)
    ranked = swiftdpo.fused_linear_plackett_luce_loss(
        *matrices, 3, bias=case.bias, ref_logps=groups, rankings=rankings
    )
    plain = swiftdpo.plackett_luce_loss(ranked.policy.logps.reshape(2, 3), groups, rankings=rankings)
    outs.append((ranked, ranked.rankings, plain))
    ragged = swiftdpo.fused_linear_plackett_luce_loss(
        *matrices, group_offsets=[0, 2, 6], bias=case.bias, ref_logps=ref
    )
    outs.append(
        (ragged, ragged.rankings, swiftdpo.plackett_luce_loss(ragged.policy.logps, ref, offsets=[0, 2, 6]))
    )
    for out, found, loss in outs:
        assert out.loss == loss.loss
        np.testing.assert_array_equal(found.grad_policy_logps, loss.grad_policy_logps)
        back = swiftdpo.fused_linear_logps_backward(*matrices, loss.grad_policy_logps.ravel(), bias=case.bias)
        for ours, expected in zip(out.gradients, back, strict=True):
            np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize("before", [0, 1, 63])
def test_callers_workspace(before: int) -> None:
    """Wherever it begins, it changes no bits, holds the call's tiles, and is given back."""
    case = Case(8, 700, 5, 5000)
    least, _ = swiftdpo.fused_linear_workspace(case.hidden, case.weight, case.labels)
    expected = swiftdpo.fused_linear_dpo_loss(case.hidden, case.weight, case.labels, bias=case.bias)
    memory = bytearray(before + least + 63)
    out = swiftdpo.fused_linear_dpo_loss(
        case.hidden, case.weight, case.labels, bias=case.bias, workspace=memoryview(memory)[before:]
    )
    assert out.loss == expected.loss
    for found, other in zip(out.gradients, expected.gradients, strict=True):
        assert found.tobytes() == other.tobytes()
    assert any(memory) and not any(memory[:before])
    memory.clear()  # BufferError if anybody still had it


def test_workspace_and_threads_change_no_bits() -> None:
    """From one tile to all logits: OpenBLAS gives the same for the same call."""
    case = Case(8, 700, 5, 5000)
    least, most = swiftdpo.fused_linear_workspace(case.hidden, case.weight, case.labels)
    assert least < 24 << 20 < 64 << 20 < most
    with pytest.raises(ValueError, match="workspace_size"):
        swiftdpo.fused_linear_logps(case.hidden, case.weight, case.labels, workspace_size=least - 1)
    outs = []
    threads = swiftdpo.num_threads()
    try:
        for workspace_size in (least, 24 << 20, 64 << 20, most, 2 * most):
            for number in (1, 2, 3):
                swiftdpo.set_num_threads(number)
                out = swiftdpo.fused_linear_dpo_loss(
                    case.hidden, case.weight, case.labels, bias=case.bias, workspace_size=workspace_size
                )
                back = swiftdpo.fused_linear_logps_backward(
                    case.hidden,
                    case.weight,
                    case.labels,
                    np.arange(8.0),
                    bias=case.bias,
                    workspace_size=workspace_size,
                )
                outs.append([*out.gradients, out.policy.logps, np.float64(out.loss), *back])
    finally:
        swiftdpo.set_num_threads(threads)
    for other in outs[1:]:
        for first, second in zip(outs[0], other, strict=True):
            assert first.tobytes() == second.tobytes()


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_half_precision(dtype: Any) -> None:
    """Widened tile by tile, products of halves are as exact as those of singles.

    The weight's gradient is within 3e-6 of its largest element, where sums in bf16 would be within 4e-3 at
    best; that by hidden is rounded once.
    """
    case = Case(4, 300, 16, 500).cast(dtype)
    tensors = double(case.hidden), double(case.weight), double(case.bias)
    logps = exact_logps(*tensors, case.labels)
    F.softplus(-0.1 * (logps[:2] - logps[2:])).mean().backward()
    out = swiftdpo.fused_linear_dpo_loss(case.hidden, case.weight, case.labels, bias=case.bias)
    hidden, weight, bias = out.gradients
    assert hidden.dtype == dtype
    assert weight is not None
    assert bias is not None
    assert weight.dtype == bias.dtype == np.float32
    assert relative_error(weight, tensors[1].grad) <= 3e-6
    assert relative_error(bias, tensors[2].grad) <= 3e-6
    assert relative_error(hidden, tensors[0].grad) <= float(ml_dtypes.finfo(dtype).eps) / 2 * 1.01
    np.testing.assert_allclose(out.policy.logps, logps.detach().numpy(), rtol=1e-6)


def test_tensors_of_bfloat16() -> None:
    case = Case(2, 5, 4, 9, bias=False)
    hidden, weight = (torch.tensor(x).to(torch.bfloat16) for x in (case.hidden, case.weight))
    target = torch.empty_like(hidden)
    out = swiftdpo.fused_linear_dpo_loss(hidden, weight, case.labels, grad_hidden=target)
    same = case.cast(ml_dtypes.bfloat16)
    expected = swiftdpo.fused_linear_dpo_loss(same.hidden, same.weight, same.labels)
    assert out.gradients.grad_hidden is target
    np.testing.assert_array_equal(target.float().numpy(), expected.gradients.grad_hidden.astype(np.float32))
    with pytest.raises(TypeError, match="grad_hidden is required"):
        swiftdpo.fused_linear_dpo_loss(hidden, weight, case.labels)


def test_layouts_give_the_same_numbers() -> None:
    """Padded, packed, strided, masked, 32-bit labels; rows that don't count hold NaN and are never read."""
    case = Case(4, 12, 6, 30)
    plain = swiftdpo.fused_linear_logps(
        case.hidden, case.weight, case.labels, bias=case.bias, by_products=True
    )
    counts = np.zeros(case.labels.shape, bool)
    counts[:, :-1] = case.labels[:, 1:] != -100
    hidden = np.full((4, 12, 9), np.nan, np.float32)
    hidden[..., :6][counts] = case.hidden[counts]
    packed = {"offsets": np.arange(5) * 12}
    variants: list[tuple[Any, Any, dict[str, Any]]] = [
        (hidden[..., :6], case.labels.astype(np.int32), {}),
        (case.hidden.reshape(48, 6), case.labels.ravel(), packed),
        (case.hidden, np.maximum(case.labels, 0), {"mask": case.labels != -100}),
    ]
    for states, labels, options in variants:
        other = swiftdpo.fused_linear_logps(
            states, case.weight, labels, bias=case.bias, by_products=True, **options
        )
        np.testing.assert_array_equal(other.logps, plain.logps)
        back = swiftdpo.fused_linear_logps_backward(
            states, case.weight, labels, np.arange(4.0), other, bias=case.bias
        )
        assert np.isfinite(back.grad_hidden).all()
        assert not back.grad_hidden.reshape(4, 12, 6)[~counts].any()
    logits = case.hidden.astype(np.float64) @ case.weight.astype(np.float64).T + case.bias
    exact = swiftdpo.sequence_logps(logits, case.labels, by_products=True)
    for name in ("token_logps", "log_normalizers", "entropies", "log_sum_squares", "mean_logits"):
        np.testing.assert_allclose(getattr(plain, name), getattr(exact, name), atol=2e-6)
    np.testing.assert_array_equal(plain.top_1, exact.top_1)


def test_by_products_over_tiles() -> None:
    case = Case(1, 40, 4, 9000)
    found = swiftdpo.fused_linear_logps(
        case.hidden, case.weight, case.labels, bias=case.bias, by_products=True
    )
    exact = swiftdpo.sequence_logps(
        case.hidden.astype(np.float64) @ case.weight.astype(np.float64).T + case.bias,
        case.labels,
        by_products=True,
    )
    for name in ("token_logps", "log_normalizers", "entropies", "log_sum_squares", "mean_logits"):
        np.testing.assert_allclose(getattr(found, name), getattr(exact, name), atol=2e-6)
    np.testing.assert_array_equal(found.top_1, exact.top_1)


def test_nothing_counts() -> None:
    case = Case(4, 5, 3, 8)
    labels = np.full((4, 5), -100)
    out = swiftdpo.fused_linear_dpo_loss(case.hidden, case.weight, labels, bias=case.bias)
    assert out.loss == pytest.approx(np.log(2))
    assert not any(x.any() for x in out.gradients)
    labels[1, 1:] = 3
    out = swiftdpo.fused_linear_dpo_loss(case.hidden, case.weight, labels, bias=case.bias)
    assert out.policy.num_tokens.tolist() == [0, 4, 0, 0]
    assert out.gradients.grad_hidden[1, :4].all()
    assert not out.gradients.grad_hidden[[0, 2, 3]].any()
    empty = swiftdpo.fused_linear_dpo_loss(case.hidden[:0], case.weight, labels[:0], bias=case.bias)
    assert empty.loss == 0
    assert not any(x.any() for x in empty.gradients)
    packed = swiftdpo.fused_linear_logps(case.hidden[0], case.weight, labels[1], offsets=[0, 0, 5, 5])
    assert packed.num_tokens.tolist() == [0, 4, 0]


def test_masked_vocabulary() -> None:
    """-inf in the bias takes an entry out; as a label it makes the log-probability -inf: losses refuse it."""
    case = Case(2, 5, 3, 8)
    assert case.bias is not None
    case.bias[6] = -np.inf
    case.labels[case.labels == 6] = 5
    out = swiftdpo.fused_linear_dpo_loss(case.hidden, case.weight, case.labels, bias=case.bias)
    assert np.isfinite(out.loss)
    assert out.gradients.grad_bias is not None
    assert out.gradients.grad_weight is not None
    assert not out.gradients.grad_weight[6].any()
    case.labels[0, 3] = 6
    target = np.full_like(case.weight, 7)
    with pytest.raises(ValueError, match="policy_chosen_logps"):
        swiftdpo.fused_linear_dpo_loss(
            case.hidden,
            case.weight,
            case.labels,
            bias=case.bias,
            grad_weight=target,
            grad_bias=case.bias.copy(),
        )
    assert (target == 7).all()


def test_micro_batches_add_up() -> None:
    case = Case(8, 20, 6, 40)
    whole = swiftdpo.fused_linear_logps_backward(
        case.hidden, case.weight, case.labels, np.arange(8.0), bias=case.bias
    )
    weight, bias = np.zeros((40, 6), np.float32), np.zeros(40, np.float32)
    for part in (slice(0, 3), slice(3, 8)):
        out = swiftdpo.fused_linear_logps_backward(
            case.hidden[part],
            case.weight,
            case.labels[part],
            np.arange(8.0)[part],
            bias=case.bias,
            grad_weight=weight,
            grad_bias=bias,
        )
        np.testing.assert_allclose(out.grad_hidden, whole.grad_hidden[part], atol=1e-6)
    np.testing.assert_allclose(weight, whole.grad_weight, atol=3e-5)
    np.testing.assert_allclose(bias, whole.grad_bias, atol=3e-5)


def test_shards_of_the_vocabulary() -> None:
    case = Case(3, 20, 6, 40)
    assert case.bias is not None
    whole = swiftdpo.fused_linear_logps(case.hidden, case.weight, case.labels, bias=case.bias)
    back = swiftdpo.fused_linear_logps_backward(
        case.hidden, case.weight, case.labels, [1.0, 2, 3], whole, bias=case.bias
    )
    cuts = [slice(0, 7), slice(7, 30), slice(30, 40)]
    shards = [
        swiftdpo.fused_linear_vocab_shard(
            case.hidden, case.weight[cut], case.labels, cut.start, bias=case.bias[cut]
        )
        for cut in cuts
    ]
    forward = swiftdpo.vocab_shard_logps(swiftdpo.merge_vocab_shards(*shards), case.labels)
    np.testing.assert_allclose(forward.logps, whole.logps, rtol=1e-6)
    hidden = np.zeros_like(case.hidden)
    for cut in cuts:
        share = swiftdpo.fused_linear_logps_backward(
            case.hidden,
            case.weight[cut],
            case.labels,
            [1.0, 2, 3],
            forward,
            bias=case.bias[cut],
            vocab_start=cut.start,
        )
        hidden += share.grad_hidden
        np.testing.assert_allclose(share.grad_weight, back.grad_weight[cut], atol=2e-6)
        np.testing.assert_allclose(share.grad_bias, back.grad_bias[cut], atol=2e-6)
    np.testing.assert_allclose(hidden, back.grad_hidden, atol=2e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden": np.zeros((2, 3, 4))}, "hidden has dtype float64"),
        ({"weight": np.zeros((5, 3), np.float32)}, r"weight has shape \(5, 3\); expected \(5, 4\)"),
        ({"weight": np.zeros((5, 8), np.float32)[:, ::2]}, "weight is not contiguous"),
        ({"weight": np.zeros((5, 4), np.float16)}, "weight has another dtype than hidden"),
        ({"bias": np.zeros(4, np.float32)}, r"bias has shape \(4,\)"),
        ({"bias": np.full(5, np.nan, np.float32)}, r"bias\[0\]: values must be finite"),
        ({"hidden": np.full((2, 3, 4), np.inf, np.float32)}, r"hidden\[0, 0, 0\]: values must be finite"),
        ({"labels": [[0, 9, 1], [0, 1, 2]]}, r"labels\[0, 1\]"),
        ({"labels": [0, 1, 2]}, "labels has 1 dimensions"),
        ({"softcap": -1.0}, "softcap"),
        ({"workspace_size": 100}, "workspace_size must be at least"),
        ({"workspace": bytearray(63)}, "workspace has 63 bytes"),
        ({"workspace": bytearray(200)}, "workspace_size must be at least"),
        ({"workspace": bytearray(64), "workspace_size": 64}, "workspace_size cannot be given beside it"),
        ({"workspace": bytes(1 << 20)}, "workspace must be a contiguous buffer that can be written to"),
        ({"workspace": 1 << 20}, "workspace must be a contiguous buffer that can be written to"),
    ],
)
def test_refusals(change: dict[str, Any], message: str) -> None:
    call: dict[str, Any] = {
        "hidden": np.zeros((2, 3, 4), np.float32),
        "weight": np.zeros((5, 4), np.float32),
        "labels": [[0, 1, 2], [0, 1, 2]],
        "bias": None,
    }
    swiftdpo.fused_linear_logps(**call)
    with pytest.raises((ValueError, TypeError), match=message):
        swiftdpo.fused_linear_logps(**(call | change))


def test_overflow_is_found_before_anything_is_written() -> None:
    case = Case(4, 5, 3, 8, bias=False)
    target = np.full_like(case.weight, 7)
    with pytest.raises(ValueError, match="hidden"):
        swiftdpo.fused_linear_dpo_loss(
            case.hidden * np.float32(1e30), case.weight * np.float32(1e30), case.labels, grad_weight=target
        )
    assert (target == 7).all()


PROGRAM = """
import ml_dtypes, numpy as np, swiftdpo, sys
random = np.random.default_rng(0)
dtype = ml_dtypes.bfloat16 if "bf16" in sys.argv[1] else np.float32
hidden, weight = random.normal(size=(2, 9, 5)).astype(dtype), random.normal(size=(21, 5)).astype(dtype)
labels = random.integers(0, 21, size=(2, 9))
out = swiftdpo.fused_linear_dpo_loss(hidden, weight, labels)
logits = hidden.astype(np.float64) @ weight.astype(np.float64).T
exact = swiftdpo.sequence_logps(logits, labels)
assert np.allclose(out.policy.logps, exact.logps, rtol=1e-5), (out.policy.logps, exact.logps)
grads = np.concatenate([out.pairs.grad_policy_chosen_logps, out.pairs.grad_policy_rejected_logps])
rows = swiftdpo.sequence_logps_backward(logits, labels, grads).reshape(18, 21)
found = out.gradients.grad_weight, out.gradients.grad_hidden.reshape(18, 5).astype(np.float64)
expected = rows.T @ hidden.reshape(18, 5).astype(np.float64), rows @ weight.astype(np.float64)
bound = 2**-8 if dtype != np.float32 else 1e-6
for x, y in zip(found, expected):
    assert np.abs(x - y).max() <= bound * np.abs(y).max(), np.abs(x - y).max() / np.abs(y).max()
info = swiftdpo.blas_info()
print(info.function, info.integer_bits, info.has_bf16_gemm)
"""


@pytest.mark.parametrize(
    ("flags", "answer"),
    [
        (["-DGEMM=cblas_sgemm", "-DINT=int"], "cblas_sgemm 32 False"),
        (["-DGEMM=cblas_sgemm64_", "-DINT=int64_t"], "cblas_sgemm64_ 64 False"),
        (["-DGEMM=scipy_cblas_sgemm64_", "-DINT=int64_t"], "scipy_cblas_sgemm64_ 64 False"),
        (["-DGEMM=cblas_sgemm", "-DINT=int64_t", '-DCONFIG="OpenBLAS USE64BITINT"'], "cblas_sgemm 64 False"),
        (["-DGEMM=cblas_sgemm", "-DINT=int", "-DPARALLEL=1"], "cblas_sgemm 32 False"),
        (["-DGEMM=cblas_sgemm", "-DINT=int", "-DPARALLEL=2"], "cblas_sgemm 32 False"),
        (["-DGEMM=cblas_sgemm", "-DBF16_GEMM=cblas_sbgemm", "-DINT=int"], "cblas_sgemm 32 True"),
        (["-DGEMM=cblas_sgemm", "-DBF16_GEMM=cblas_gemm_bf16bf16f32", "-DINT=int"], "cblas_sgemm 32 True"),
    ],
)
@pytest.mark.parametrize("dtype", ["f32", "bf16"])
def test_any_blas_serves(tmp_path: Path, flags: list[str], answer: str, dtype: str) -> None:
    """Libraries with the names, integers and threads that there are.

    With G rounded to bf16 for a product of bf16, the weight's gradient is within 2^-8 of its largest element.
    """
    source, library = Path(__file__).parent / "naive_blas.c", tmp_path / "libnaive.so"
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", *flags, source, "-o", library], check=True)
    environment = os.environ | {"SWIFTDPO_BLAS": str(library)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, dtype], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == answer


def test_no_blas_is_an_error_with_its_remedy() -> None:
    program = "import numpy as np, swiftdpo\nassert swiftdpo.blas_info() is None\n"
    program += "swiftdpo.fused_linear_logps(np.zeros((1, 1, 1), 'f'), np.zeros((1, 1), 'f'), [[0]])"
    environment = os.environ | {"SWIFTDPO_BLAS": "/nowhere/libblas.so"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "pip install 'swiftdpo[fused]'" in done.stderr
    with pytest.raises(ValueError, match="install OpenBLAS"):
        swiftdpo.use_blas("/nowhere/libblas.so")
    info = swiftdpo.blas_info()
    assert info is not None
    swiftdpo.use_blas(info.path)
    assert swiftdpo.blas_info() == info


THREADS = """
import ctypes, threading, numpy as np, swiftdpo
info = swiftdpo.blas_info()
assert info.function.startswith("scipy_"), info
library = ctypes.CDLL(info.path)
suffix = "64_" if info.integer_bits == 64 else ""
number = getattr(library, "scipy_openblas_get_num_threads" + suffix)
getattr(library, "scipy_openblas_set_num_threads" + suffix)(3)
random = np.random.default_rng(0)
hidden = random.standard_normal((4, 300, 64), np.float32)
weight = random.standard_normal((9000, 64), np.float32)
labels = random.integers(0, 9000, (4, 300))
during, results = [], []
def call():
    for _ in range(3):
        out = swiftdpo.fused_linear_dpo_loss(hidden, weight, labels)
        results.append((out.loss, out.gradients.grad_weight.tobytes(), out.gradients.grad_hidden.tobytes()))
calls = [threading.Thread(target=call) for _ in range(3)]
for x in calls:
    x.start()
while any(x.is_alive() for x in calls):
    during.append(number())
try:
    swiftdpo.fused_linear_dpo_loss(hidden, weight, labels, workspace_size=1)
    raise SystemExit("not refused")
except ValueError:
    pass
assert set(during) <= {1, 3}, set(during)
assert number() == 3, number()
assert len(set(results)) == 1
"""


def test_the_threads_of_a_blas_are_its_own_again_afterwards() -> None:
    """Calls at once, with the same bits, and a refused one."""
    subprocess.run([sys.executable, "-c", THREADS], check=True)


MEMORY = """
import numpy as np, swiftdpo
def high_water():
    return int(next(x for x in open("/proc/self/status") if x.startswith("VmHWM")).split()[1]) / 1024
random = np.random.default_rng(0)
hidden = random.standard_normal(size=(4, 129, 32), dtype=np.float32)
weight = random.standard_normal(size=(151936, 32), dtype=np.float32)
labels = random.integers(0, 151936, size=(4, 129))
grads = np.ones_like(weight), np.ones_like(hidden)
few = np.where(np.arange(129) < 3, labels[:2], -100)
swiftdpo.fused_linear_dpo_loss(hidden[:2], weight, few, grad_weight=grads[0], grad_hidden=grads[1][:2])
before = high_water()
swiftdpo.fused_linear_dpo_loss(hidden, weight, labels, grad_weight=grads[0], grad_hidden=grads[1])
print(high_water() - before)
"""


def test_peak_memory_stays_within_the_workspace() -> None:
    """512 rows of 151,936 logits would be 311 MB. 64 MiB of workspace are asked for, and 16 more allowed."""
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    assert float(done.stdout) <= 80
