"""Bad input: an exception that names the argument, the index and the rule; outputs stay as they were."""

import ctypes
import re
from enum import IntEnum
from pathlib import Path

import numpy as np
import pytest
import swiftdpo
from calls import B, K, T, V, arguments, call

NAN, INF = float("nan"), float("inf")
LIBRARY = ctypes.CDLL(str(next(Path(swiftdpo.__file__).parent.glob("libswiftdpo.so.*"))))
LIBRARY.swiftdpo_status_string.restype = ctypes.c_char_p


class Rule(IntEnum):
    """The library's statuses, as swiftdpo.h pins them."""

    MISALIGNED = 12
    OVERLAP = 14
    COUNT = 16
    BETA = 20
    LABEL_SMOOTHING = 21
    NONFINITE = 30
    LABEL = 31
    NOT_A_RANKING = 32
    SOFT_LABEL = 33
    WEIGHT = 34

    def __str__(self):
        return LIBRARY.swiftdpo_status_string(self).decode()


HEADS = ["dpo_loss", "plackett_luce_loss"]
LOGITS_CALLS = ["sequence_logps", "sequence_logps_backward"]
FLOATS = {
    "dpo_loss": [
        "policy_chosen_logps",
        "policy_rejected_logps",
        "ref_chosen_logps",
        "ref_rejected_logps",
        "beta",
        "margin",
        "weights",
        "soft_labels",
    ],
    "plackett_luce_loss": ["policy_logps", "ref_logps", "beta", "weights"],
}
#: Each head with each of its floating-point arrays; and without the first, which the others have to match.
FLOAT_ARRAYS = [(function, name) for function in HEADS for name in FLOATS[function]]
FURTHER_ARRAYS = [(function, name) for function in HEADS for name in FLOATS[function][1:]]


def refuse(function, error, message, **changed):
    """The call must raise, with a message that begins like this, and leave every array as it was.

    The backward call goes without the forward's results, so that it meets what those would have refused.
    """
    if function == "sequence_logps_backward":
        changed = {"forward": None} | changed
    given = arguments(function) | changed
    before = {name: value.copy() for name, value in given.items() if isinstance(value, np.ndarray)}
    with pytest.raises(error, match="^" + re.escape(message)):
        getattr(swiftdpo, function)(**given)
    for name, value in before.items():
        np.testing.assert_array_equal(given[name], value)


def refuse_element(function, name, index, value, rule):
    """The call with one element replaced must say which one, and why not."""
    values = arguments(function)[name].copy()
    values[index] = value
    position = ", ".join(map(str, index))
    refuse(function, ValueError, f"{name}[{position}]: {rule}", **{name: values})


# -- Values


@pytest.mark.parametrize("value", [NAN, INF, -INF])
@pytest.mark.parametrize(
    ("function", "name", "index"),
    [
        *[("dpo_loss", name, (2,)) for name in FLOATS["dpo_loss"][:4]],
        *[("plackett_luce_loss", name, (1, 2)) for name in FLOATS["plackett_luce_loss"][:2]],
        ("dpo_loss", "margin", (1,)),
        ("sequence_logps_backward", "grad_logps", (0,)),
    ],
)
def test_nonfinite_numbers(function, name, index, value):
    refuse_element(function, name, index, value, Rule.NONFINITE)


@pytest.mark.parametrize("value", [NAN, INF])
@pytest.mark.parametrize("function", LOGITS_CALLS)
def test_nonfinite_logits(function, value):
    refuse_element(function, "logits", (1, 0, 3), value, Rule.NONFINITE)


@pytest.mark.parametrize("function", LOGITS_CALLS)
def test_the_index_of_a_logit_in_strided_rows(function):
    logits = np.zeros((B, T, V + 3), np.float32)[..., :V]
    logits[2, 1, 4] = NAN
    out = {"out": logits} if function == "sequence_logps_backward" else {}
    refuse(function, ValueError, f"logits[2, 1, 4]: {Rule.NONFINITE}", logits=logits, **out)


@pytest.mark.parametrize("function", LOGITS_CALLS)
def test_a_row_that_allows_no_token(function):
    logits = arguments(function)["logits"].copy()
    logits[1, 0] = -INF
    refuse(function, ValueError, f"logits[1, 0, 0]: {Rule.NONFINITE}", logits=logits)


@pytest.mark.parametrize("beta", [0, -0.1, NAN, INF, -0.0])
@pytest.mark.parametrize("function", HEADS)
def test_beta(function, beta):
    refuse(function, ValueError, f"beta: {Rule.BETA}", beta=beta)
    refuse_element(function, "beta", (1,), beta, Rule.BETA)


@pytest.mark.parametrize("value", [-0.1, 0.5, 1, NAN, INF])
def test_label_smoothing(value):
    refuse(
        "dpo_loss",
        ValueError,
        f"label_smoothing: {Rule.LABEL_SMOOTHING}",
        soft_labels=None,
        label_smoothing=value,
    )


def test_label_smoothing_beside_soft_labels():
    refuse(
        "dpo_loss",
        ValueError,
        "label_smoothing and soft_labels both say how sure the labels are",
        label_smoothing=0.1,
    )


@pytest.mark.parametrize("value", [-0.1, 1.1, NAN])
def test_soft_labels(value):
    refuse_element("dpo_loss", "soft_labels", (2,), value, Rule.SOFT_LABEL)


@pytest.mark.parametrize("value", [-1.0, NAN, INF])
@pytest.mark.parametrize("function", HEADS)
def test_weights(function, value):
    refuse_element(function, "weights", (1,), value, Rule.WEIGHT)


@pytest.mark.parametrize("item", [-1, K, 2, 2**62])
def test_rankings_that_are_no_permutation(item):
    refuse_element("plackett_luce_loss", "rankings", (2, 1), item, Rule.NOT_A_RANKING)


@pytest.mark.parametrize("label", [-1, V, -(2**63), 2**63 - 1])
@pytest.mark.parametrize("function", LOGITS_CALLS)
def test_labels_out_of_range(function, label):
    refuse_element(function, "labels", (1, 1), label, Rule.LABEL)


# -- Choices


@pytest.mark.parametrize("loss_type", ["SIGMOID", "", ["sigmoid", "SIGMOID"]])
def test_loss_type(loss_type):
    name = loss_type if isinstance(loss_type, str) else loss_type[-1]
    with pytest.raises(ValueError, match=f"^loss_type is {name!r}; expected one of 'sigmoid', "):
        call("dpo_loss", loss_type=loss_type)


@pytest.mark.parametrize("loss_type", [None, 0])
def test_type_of_loss_type(loss_type):
    with pytest.raises(
        TypeError, match=f"^loss_type is a {type(loss_type).__name__}; expected the name of a loss"
    ):
        call("dpo_loss", loss_type=loss_type)


@pytest.mark.parametrize("reduction", ["max", "MEAN", "mean\0", None, 0])
@pytest.mark.parametrize("function", HEADS)
def test_reduction(function, reduction):
    refuse(
        function,
        ValueError,
        f"reduction is {reduction!r}; expected 'mean', 'sum' or 'none'",
        reduction=reduction,
    )


@pytest.mark.parametrize("nonfinite", ["raise", None, 0])
@pytest.mark.parametrize("function", [*HEADS, "sequence_logps"])
def test_nonfinite_choice(function, nonfinite):
    refuse(
        function,
        ValueError,
        f"nonfinite is {nonfinite!r}; expected 'error' or 'propagate'",
        nonfinite=nonfinite,
    )


def test_ignore_index():
    refuse(
        "sequence_logps",
        ValueError,
        "ignore_index is 9223372036854775808; expected an int64",
        ignore_index=2**63,
    )
    refuse("sequence_logps", TypeError, "ignore_index: ", ignore_index=0.5)


def test_numbers_that_are_none():
    for beta in (None, object(), 1j):
        refuse("dpo_loss", TypeError, "beta: ", beta=beta)
    refuse("dpo_loss", TypeError, "label_smoothing: ", label_smoothing="0")


def test_forward_of_another_type():
    refuse(
        "sequence_logps_backward",
        TypeError,
        "forward is a int; expected what sequence_logps returned",
        forward=1,
    )


# -- Missing arrays


@pytest.mark.parametrize("name", FLOATS["dpo_loss"][:2])
def test_missing_policy_of_pairs(name):
    refuse("dpo_loss", TypeError, f"{name} is required", **{name: None})


@pytest.mark.parametrize("name", FLOATS["dpo_loss"][2:4])
def test_one_missing_reference(name):
    refuse("dpo_loss", ValueError, "ref_chosen_logps and ref_rejected_logps go together", **{name: None})


@pytest.mark.parametrize(
    ("function", "name"),
    [
        ("plackett_luce_loss", "policy_logps"),
        *[(function, name) for function in LOGITS_CALLS for name in ("logits", "labels")],
        ("sequence_logps_backward", "grad_logps"),
    ],
)
def test_other_missing_arrays(function, name):
    refuse(function, TypeError, f"{name} is required", **{name: None})


# -- Shapes


@pytest.mark.parametrize(("function", "name"), FURTHER_ARRAYS)
def test_shapes_that_do_not_match(function, name):
    for shape in [(B + 1,), (1, B), (B, K, 1)]:
        refuse(function, ValueError, f"{name} has shape {shape}; expected (3,", **{name: np.ones(shape)})


@pytest.mark.parametrize(
    ("function", "name", "dimensions"),
    [
        ("dpo_loss", "policy_chosen_logps", (2, 3)),
        ("plackett_luce_loss", "policy_logps", (0, 3)),
        ("sequence_logps", "logits", (0, 1, 2, 4)),
        ("sequence_logps_backward", "logits", (0, 1, 2, 4)),
    ],
)
def test_numbers_of_dimensions(function, name, dimensions):
    for ndim in dimensions:
        values = np.ones([1] * ndim, arguments(function)[name].dtype)
        refuse(function, ValueError, f"{name} has {ndim} dimensions; expected", **{name: values})


def test_one_weight_for_all():
    refuse("dpo_loss", ValueError, "weights has shape (); expected (3,)", weights=1.0)


@pytest.mark.parametrize("shape", [(B, K - 1), (K,), (K, B)])
def test_shape_of_rankings(shape):
    refuse(
        "plackett_luce_loss",
        ValueError,
        f"rankings has shape {shape}; expected (3, 4)",
        rankings=np.zeros(shape, int),
    )


@pytest.mark.parametrize("shape", [(B, T - 1), (T,), (B, T, 1), (T, B)])
@pytest.mark.parametrize("function", LOGITS_CALLS)
def test_shape_of_labels(function, shape):
    refuse(function, ValueError, f"labels has shape {shape}; expected (3, 4)", labels=np.zeros(shape, int))


def test_shape_of_the_gradient_by_logps():
    refuse(
        "sequence_logps_backward",
        ValueError,
        "grad_logps has shape (2,); expected (3,)",
        grad_logps=[1.0, 2.0],
    )


def test_forward_of_other_logits():
    other = swiftdpo.sequence_logps(np.zeros((B, 2, V), np.float32), [[0, 0]] * B)
    message = "forward.log_normalizers has shape (3, 2); expected (3, 4)"
    refuse("sequence_logps_backward", ValueError, message, forward=other)


def test_nothing_to_choose_from():
    nothing = {"policy_logps": np.empty((B, 0)), "ref_logps": None, "rankings": None}
    refuse("plackett_luce_loss", ValueError, f"policy_logps.shape[-1]: {Rule.COUNT}", **nothing)
    logits = np.empty((B, T, 0), np.float32)
    refuse("sequence_logps", ValueError, f"logits.shape[-1]: {Rule.COUNT}", logits=logits)


# -- Types


@pytest.mark.parametrize("dtype", [np.float16, np.longdouble, int, bool, complex, object, "U8", "M8[s]"])
@pytest.mark.parametrize(("function", "name"), FLOAT_ARRAYS)
def test_dtypes_of_log_probabilities_and_parameters(function, name, dtype):
    values = np.ones_like(arguments(function)[name], dtype="i8").astype(dtype)
    expected = "float32 or float64"
    if function == "plackett_luce_loss":
        expected = "float32, float64, float16 or bfloat16"
        if dtype == np.float16:  # not beside double
            other, types = (name, "float16 but policy_logps is float64")
            if name == "policy_logps":
                other, types = ("ref_logps", "float64 but policy_logps is float16")
            refuse(function, TypeError, f"{other} is {types}: ", **{name: values})
            return
    refuse(function, TypeError, f"{name} has dtype {values.dtype}; expected {expected}", **{name: values})


@pytest.mark.parametrize(("function", "name"), FURTHER_ARRAYS)
def test_two_dtypes_in_one_call(function, name):
    first = FLOATS[function][0]
    values = arguments(function, np.float32)[name]
    refuse(
        function,
        TypeError,
        f"{name} is float32 but {first} is float64: the floating-point arrays of one call share one dtype",
        **{name: values},
    )


@pytest.mark.parametrize("dtype", [float, bool, np.uint64, object])
@pytest.mark.parametrize(
    ("function", "name"),
    [("plackett_luce_loss", "rankings"), *[(function, "labels") for function in LOGITS_CALLS]],
)
def test_dtypes_of_labels_and_rankings(function, name, dtype):
    values = arguments(function)[name].astype(dtype)
    refuse(function, TypeError, f"{name} has dtype {values.dtype}; expected int64 or int32", **{name: values})


@pytest.mark.parametrize("dtype", [np.longdouble, int, np.uint16, ">f4", ">f2", complex, object])
@pytest.mark.parametrize("function", LOGITS_CALLS)
def test_dtypes_of_logits(function, dtype):
    logits = arguments(function)["logits"].astype(dtype)
    message = f"logits has dtype {logits.dtype}; expected float32, float64, float16 or bfloat16"
    refuse(function, TypeError, message, logits=logits)


@pytest.mark.parametrize("dtype", [np.longdouble, complex, bool, object])
def test_dtypes_of_the_gradient_by_logps(dtype):
    refuse("sequence_logps_backward", TypeError, "grad_logps has dtype", grad_logps=np.ones(B, dtype))


def test_a_ragged_list():
    refuse(
        "dpo_loss", ValueError, "weights: setting an array element with a sequence", weights=[1.0, [2.0], 3.0]
    )


# -- Outputs


def read_only(out):
    out.flags.writeable = False
    return out


OUTPUTS = {
    "read-only": (read_only, ValueError, "out is read-only"),
    "view of bytes": (
        lambda out: memoryview(out.tobytes()).cast("f", out.shape),
        ValueError,
        "out is read-only",
    ),
    "bytes": (lambda out: out.tobytes(), TypeError, "out has dtype"),
    "double": (lambda out: out.astype(float), TypeError, "out has dtype float64; expected float32"),
    "other byte order": (lambda out: out.astype(">f4"), TypeError, "out has dtype >f4"),
    "too short": (lambda out: out[:2], ValueError, "out has shape (2, 4, 5); expected (3, 4, 5)"),
    "flat": (lambda out: out.ravel(), ValueError, "out has shape (60,); expected (3, 4, 5)"),
    "list": (lambda out: out.tolist(), TypeError, "out is no array"),
    "number": (lambda out: 7.0, TypeError, "out is no array"),
    "longer rows": (
        lambda out: np.repeat(out, 2, axis=2)[..., :V],
        ValueError,
        "out has 10 elements from row to row, logits has 5",
    ),
    "unaligned": (
        lambda out: np.frombuffer(bytearray(b"\0" + out.tobytes()), "f4", offset=1).reshape(out.shape),
        ValueError,
        f"out: {Rule.MISALIGNED}",
    ),
}


@pytest.mark.parametrize("kind", OUTPUTS)
def test_outputs_that_cannot_be_written(kind):
    make, error, message = OUTPUTS[kind]
    out = make(arguments("sequence_logps_backward")["out"])
    before = np.array(out)
    with pytest.raises(error, match="^" + re.escape(message)):
        call("sequence_logps_backward", out=out)
    np.testing.assert_array_equal(np.array(out), before)


def test_an_output_that_overlaps_the_logits_in_part():
    buffer = np.zeros(B * T * V + V, np.float32)
    logits, out = (part.reshape(B, T, V) for part in (buffer[:-V], buffer[V:]))
    refuse("sequence_logps_backward", ValueError, f"out: {Rule.OVERLAP}", logits=logits, out=out)


# -- Anything at all


class Hostile:
    """Answers every protocol with an error."""

    def fail(self, *args, **options):
        raise RuntimeError("no")

    __len__ = __getitem__ = __iter__ = __float__ = __index__ = __bool__ = __array__ = fail
    __dlpack__ = __dlpack_device__ = __eq__ = fail
    __hash__ = None


GUESTS = [
    *[None, True, 0, 1, -1, 2**200, 0.5, NAN, INF, 1j, "", "mean", b"1234", bytearray(12), (), [], {}, set()],
    *[[[]], [[[]]], [None], ["a"], [1, [2]], object(), Hostile(), type, len, range(3), iter([1]), slice(3)],
    *[
        memoryview(b""),
        memoryview(b"abcdef")[::2],
        np.float32(1),
        np.array(1),
        np.array(None),
        np.ma.zeros(3),
    ],
    *[np.zeros(shape) for shape in [0, 3, (3, 0), (3, 4), (3, 4, 5), [1] * 16]],
    *[np.zeros(shape, np.float32) for shape in [3, (3, 4), (3, 4, 5), (0, 4, 5), (3, 4, 0)]],
    *[
        np.zeros((3, 4), int),
        np.broadcast_to(1.0, (3, 4)),
        np.broadcast_to(np.float32(1), (2**20, 2**20, 2**20)),
    ],
    *[np.zeros(3, dtype) for dtype in ["S4", "M8[s]", object, [("a", "f4")]]],
]


@pytest.mark.parametrize(
    ("function", "name"),
    [(function, name) for function in HEADS + LOGITS_CALLS for name in arguments(function)],
)
def test_anything_is_taken_or_refused_but_never_harms(function, name):
    refused = 0
    for guest in GUESTS:
        try:
            call(function, **{name: guest})
        except (TypeError, ValueError, MemoryError):
            refused += 1
    assert refused > 0


@pytest.mark.parametrize("function", HEADS + LOGITS_CALLS)
def test_the_extension_counts_its_arguments(function):
    with pytest.raises(TypeError, match=rf"^{function} takes \d+ arguments, got 1"):
        getattr(swiftdpo._core, function)(None)
