"""What may be handed in for an array, and what comes out."""

import array

import numpy as np
import pytest
import swiftdpo
import torch
from calls import B, arguments, call, results_equal

FUNCTIONS = ["dpo_loss", "plackett_luce_loss", "sequence_logps", "sequence_logps_backward"]
ARRAYS = [
    (function, name)
    for function in FUNCTIONS
    for name, value in arguments(function).items()
    if isinstance(value, np.ndarray) and name != "out"
]


def read_only(values):
    values = values.copy()
    values.flags.writeable = False
    return values


class Column:
    """What a data frame's column is: a sequence that NumPy converts."""

    def __init__(self, values):
        self.values = values

    def __len__(self):
        return len(self.values)

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.values, dtype)


KINDS = {
    "read-only": read_only,
    "memoryview": memoryview,
    "torch tensor": torch.from_numpy,
    "torch tensor, detached": lambda values: torch.tensor(
        values, requires_grad=values.dtype.kind == "f"
    ).detach(),
    "subclass of ndarray": lambda values: values.view(type("Derived", (np.ndarray,), {})),
}
#: Not for logits, which are read where they lie or not at all.
CONVERTED = {
    "every other element": lambda values: np.repeat(values, 2, axis=-1)[..., ::2],
    "reversed": lambda values: values[..., ::-1].copy()[..., ::-1],
    "Fortran order": np.asfortranarray,
    "byte-swapped": lambda values: values.astype(values.dtype.newbyteorder()),
    "unaligned": lambda values: np.frombuffer(b"\0" + values.tobytes(), values.dtype, offset=1).reshape(
        values.shape
    ),
    "torch tensor, every other element": lambda values: torch.from_numpy(np.repeat(values, 2, axis=-1))[
        ..., ::2
    ],
    "object with __array__": Column,
}
CASES = [(function, name, kind) for function, name in ARRAYS for kind in KINDS] + [
    (function, name, kind) for function, name in ARRAYS for kind in CONVERTED if name != "logits"
]


@pytest.mark.parametrize(("function", "name", "kind"), CASES)
def test_any_kind_of_array_gives_the_same_bits(function, name, kind):
    given = (KINDS | CONVERTED)[kind](arguments(function)[name])
    assert results_equal(call(function, **{name: given}), call(function))


@pytest.mark.parametrize("function", ["dpo_loss", "plackett_luce_loss"])
def test_lists_become_double(function):
    lists = {
        name: value.tolist() if isinstance(value, np.ndarray) else value
        for name, value in arguments(function).items()
    }
    assert results_equal(getattr(swiftdpo, function)(**lists), call(function))


def test_lists_of_integers_become_double():
    result = swiftdpo.dpo_loss([-3, -4], (-5, -4), [-3, -4], [-4, -4])
    assert results_equal(result, swiftdpo.dpo_loss([-3.0, -4.0], [-5.0, -4.0], [-3.0, -4.0], [-4.0, -4.0]))


def test_buffers_that_numpy_does_not_know():
    values = arguments("dpo_loss", np.float32)
    given = {name: array.array("f", value) for name, value in values.items() if isinstance(value, np.ndarray)}
    assert results_equal(call("dpo_loss", np.float32, **given), call("dpo_loss", np.float32))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("function", ["dpo_loss", "plackett_luce_loss"])
def test_results_have_the_dtype_given(function, dtype):
    result = call(function, dtype)
    assert type(result.loss) is float
    assert {field.dtype for field in result[1:] if field is not None} == {np.dtype(dtype)}


@pytest.mark.parametrize("function", ["dpo_loss", "plackett_luce_loss"])
def test_unreduced_loss_is_the_array_of_losses_with_the_gradient_of_their_sum(function):
    unreduced, summed = call(function, reduction="none"), call(function, reduction="sum")
    assert unreduced.loss is unreduced.losses
    assert results_equal(tuple(unreduced[1:]), tuple(summed[1:]))


@pytest.mark.parametrize("function", FUNCTIONS[:3])
def test_results_are_frozen_and_named(function):
    result = call(function)
    with pytest.raises(AttributeError):
        result.loss = 0.0
    assert result._asdict() == dict(zip(type(result)._fields, result, strict=True))


def test_a_pair_of_scalars_gives_scalars():
    batch = swiftdpo.dpo_loss([-10.0], [-11.0], [-10.5], [-10.5], soft_labels=[0.75])
    one = swiftdpo.dpo_loss(
        -10.0, -11, np.float64(-10.5), torch.tensor(-10.5, dtype=torch.float64), soft_labels=0.75
    )
    assert one.losses.shape == ()
    assert [float(value) for value in one[:7]] == [float(np.squeeze(value)) for value in batch[:7]]


def test_one_group_without_a_batch_axis():
    given = {
        name: value[1]
        for name, value in arguments("plackett_luce_loss").items()
        if isinstance(value, np.ndarray)
    }
    one = swiftdpo.plackett_luce_loss(**given, reduction="sum")
    batch = swiftdpo.plackett_luce_loss(
        **{name: value[None] for name, value in given.items()}, reduction="sum"
    )
    assert one.losses.shape == ()
    assert one.rewards.shape == given["policy_logps"].shape
    assert results_equal(tuple(map(np.squeeze, one)), tuple(map(np.squeeze, batch)))


BETAS = [0.5, np.float32(0.5), np.float64(0.5), np.array(0.5), np.array(0.5, np.float32), torch.tensor(0.5)]


@pytest.mark.parametrize("beta", BETAS, ids=lambda beta: type(beta).__name__)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("function", ["dpo_loss", "plackett_luce_loss"])
def test_one_beta_for_all_may_be_any_number(function, dtype, beta):
    expected = call(function, dtype, beta=np.full(B, 0.5, dtype))
    assert results_equal(call(function, dtype, beta=beta), expected)


def test_beta_may_be_an_integer():
    assert results_equal(call("dpo_loss", beta=1), call("dpo_loss", beta=1.0))


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.uint8, np.uint16, np.uint32])
def test_narrow_integers_are_labels_and_rankings_too(dtype):
    rankings = arguments("plackett_luce_loss")["rankings"]
    assert results_equal(
        call("plackett_luce_loss", rankings=rankings.astype(dtype)), call("plackett_luce_loss")
    )
    labels = np.where(arguments("sequence_logps")["labels"] < 0, 0, arguments("sequence_logps")["labels"])
    expected = call("sequence_logps", labels=labels)
    assert results_equal(call("sequence_logps", labels=labels.astype(dtype)), expected)


def test_labels_and_rankings_may_be_lists():
    for function, name in [("plackett_luce_loss", "rankings"), ("sequence_logps", "labels")]:
        assert results_equal(call(function, **{name: arguments(function)[name].tolist()}), call(function))


def test_gradients_by_logps_may_be_single_precision():
    single = call("sequence_logps_backward", grad_logps=np.array([1.0, -2.0, 0.5], np.float32))
    assert results_equal(single, call("sequence_logps_backward"))


def test_references_may_be_left_out_by_none():
    zeros = np.zeros(B)
    free = call("dpo_loss", ref_chosen_logps=None, ref_rejected_logps=None)
    assert results_equal(free, call("dpo_loss", ref_chosen_logps=zeros, ref_rejected_logps=zeros))


def test_empty_batches():
    empty = np.empty(0)
    assert swiftdpo.dpo_loss(empty, empty, empty, empty).loss == 0.0
    assert swiftdpo.dpo_loss([], [], [], []).losses.shape == (0,)
    assert swiftdpo.plackett_luce_loss(np.empty((0, 4), np.float32)).rewards.shape == (0, 4)
    forward = swiftdpo.sequence_logps(np.empty((0, 3, 2), np.float32), np.empty((0, 3), np.int64))
    assert [field.shape for field in forward[:4]] == [(0,), (0,), (0, 2), (0, 3)]
    forward = swiftdpo.sequence_logps(np.empty((2, 0, 2), np.float32), np.empty((2, 0), np.int64))
    assert [field.shape for field in forward[:4]] == [(2,), (2,), (2, 0), (2, 0)]


def test_nonfinite_numbers_propagate_on_request():
    logps = np.array([-np.inf, -11.0, np.nan])
    result = call("dpo_loss", policy_chosen_logps=logps, nonfinite="propagate")
    assert np.isfinite(result.losses).tolist() == [False, True, False]
