"""The calls of dpo_loss that go to the extension at once are those of the function that it shortens."""

import copy
import gc
import inspect
import pickle
import weakref

import numpy as np
import pytest
import swiftdpo
from calls import results_equal
from swiftdpo import _core
from test_arguments import CONVERTED, KINDS

PAIRS = 5
WHOLE = inspect.unwrap(swiftdpo.dpo_loss)


def rows(dtype=np.float32):
    return list(np.random.default_rng(3).uniform(-30, -10, (4, PAIRS)).astype(dtype))


def of_pairs(*values):
    return np.array(values, np.float32)


GOOD = {
    "beta left out": ([], {}),
    "beta": ([0.5], {}),
    "beta by name": ([], {"beta": 0.5}),
    "beta of each pair": ([of_pairs(0.1, 0.2, 0.5, 1, 2)], {}),
    "margin": ([0.5], {"margin": 0.25}),
    "margin of each pair": ([], {"margin": of_pairs(0, 1, -1, 2, 0)}),
    "weights": ([], {"weights": of_pairs(0, 1, 2, 3, 4), "beta": 2}),
    "soft labels": ([], {"soft_labels": of_pairs(0, 1, 0.5, 0.25, 1)}),
    "label smoothing": ([0.5], {"label_smoothing": 0.25}),
    "sum": ([0.5], {"reduction": "sum"}),
    "none": ([0.5], {"reduction": "none"}),
    "propagate": ([0.5], {"nonfinite": "propagate"}),
    "name that is not interned": ([], {"".join(["be", "ta"]): 0.5}),
    "reduction that is not interned": (
        [],
        {"reduction": "".join(["me", "an"]), "nonfinite": "".join(["er", "ror"])},
    ),
    "loss": ([0.5, "hinge"], {}),
    "loss by name": ([], {"beta": 0.5, "loss_type": "ipo", "reduction": "sum"}),
    "all results": ([0.5], {"more": True}),
}

BAD = {
    "no array": ([], {}, 0),
    "three arrays": ([], {}, 3),
    "beta twice": ([0.5], {"beta": 0.5}, 4),
    "an array twice": ([0.5], {"ref_chosen_logps": None}, 4),
    "unknown name": ([], {"bta": 0.5}, 4),
    "too many": ([0.5] * 13, {}, 4),
    "beta below zero": ([-0.5], {}, 4),
    "beta of a wrong type": (["much"], {}, 4),
    "beta of another number of pairs": ([of_pairs(1, 2)], {}, 4),
    "margin": ([], {"margin": "much"}, 4),
    "reduction": ([], {"reduction": "median"}, 4),
    "reduction of a wrong type": ([], {"reduction": 0}, 4),
    "nonfinite": ([], {"nonfinite": None}, 4),
    "label smoothing": ([], {"label_smoothing": 0.5}, 4),
    "label smoothing and soft labels": (
        [],
        {"label_smoothing": 0.1, "soft_labels": np.ones(PAIRS, np.float32)},
        4,
    ),
}


@pytest.mark.parametrize("case", GOOD)
@pytest.mark.parametrize("free", [False, True], ids=["reference", "reference-free"])
def test_plain_calls_and_others_have_the_same_results(case, free):
    positional, options = GOOD[case]
    arrays = [*rows()[:2], None, None] if free else rows()
    result = swiftdpo.dpo_loss(*arrays, *positional, **options)
    assert type(result) is swiftdpo.DPOLoss
    assert len(result) == len(swiftdpo.DPOLoss._fields)
    assert results_equal(result, WHOLE(*arrays, *positional, **options))


def test_arrays_may_be_named():
    chosen, rejected, ref_chosen, ref_rejected = rows()
    named = swiftdpo.dpo_loss(chosen, rejected, ref_rejected_logps=ref_rejected, ref_chosen_logps=ref_chosen)
    assert results_equal(named, WHOLE(*rows()))


def refusal(function, arrays, positional, options):
    with pytest.raises((TypeError, ValueError)) as caught:
        function(*arrays, *positional, **options)
    return caught.type, str(caught.value)


@pytest.mark.parametrize("case", BAD)
def test_plain_calls_and_others_are_refused_alike(case):
    positional, options, count = BAD[case]
    arrays = rows()[:count]
    assert refusal(swiftdpo.dpo_loss, arrays, positional, options) == refusal(
        WHOLE, arrays, positional, options
    )


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", KINDS | CONVERTED)
def test_rows_of_any_kind_among_plain_ones(kind, dtype, place):
    arrays = rows(dtype)
    arrays[place] = (KINDS | CONVERTED)[kind](arrays[place])
    assert results_equal(swiftdpo.dpo_loss(*arrays, 0.5), WHOLE(*rows(dtype), 0.5))


WRONG_ROWS = {
    "shorter": lambda row: row[1:],
    "two dimensions": lambda row: row[None],
    "a number": lambda row: row[0],
    "double": lambda row: row.astype(np.float64),
    "integers": lambda row: row.astype(np.int64),
    "half precision": lambda row: row.astype(np.float16),
    "None": lambda row: None,
    "text": lambda row: "row",
    "infinite": lambda row: np.where(np.arange(PAIRS) == 3, np.inf, row).astype(np.float32),
}


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("wrong", WRONG_ROWS)
def test_wrong_rows_are_named(wrong, place):
    arrays = rows()
    arrays[place] = WRONG_ROWS[wrong](arrays[place])
    names = list(inspect.signature(swiftdpo.dpo_loss).parameters)
    kind, message = refusal(swiftdpo.dpo_loss, arrays, [0.5], {})
    assert names[place] in message
    assert (kind, message) == refusal(WHOLE, arrays, [0.5], {})


def test_rows_of_no_type_that_is_taken_are_refused_though_they_agree():
    for dtype in (np.float16, np.int64, np.complex64, np.object_):
        with pytest.raises(TypeError, match="policy_chosen_logps has dtype"):
            swiftdpo.dpo_loss(*rows(dtype), 0.5)


def test_shortened_function_is_known_by_its_own_name():
    function = swiftdpo.dpo_loss
    assert inspect.signature(function) == inspect.signature(WHOLE)
    assert (function.__name__, function.__qualname__, function.__module__) == (
        "dpo_loss",
        "dpo_loss",
        "swiftdpo.dpo",
    )
    assert function.__doc__ == WHOLE.__doc__
    assert inspect.isroutine(function)
    assert repr(function) == repr(WHOLE)
    assert pickle.loads(pickle.dumps(function)) is function
    assert copy.deepcopy(function) is function
    assert weakref.ref(function)() is function


def test_shortened_function_goes_when_nobody_has_it():
    def whole(*arguments, **options):
        return arguments, options

    short = _core.shortened(whole, ("beta",), (0.1, None, None, None, 0.0, "mean", "error", None, tuple))
    assert short(1, beta=2) == ((1,), {"beta": 2})
    assert short(*rows(), beta=0.5)[0] == WHOLE(*rows(), 0.5).loss
    short.itself = short
    gone = weakref.ref(short)
    del short
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        (len, ("beta",)),
        (len, ["beta"], (None,) * 9),
        (len, ("beta",), (None,) * 8),
        (len, ("beta",) * 10, (None,) * 9),
    ],
)
def test_what_shortens_takes_just_what_it_needs(arguments):
    with pytest.raises((TypeError, ValueError)):
        _core.shortened(*arguments)


def test_results_are_a_kind_of_tuple():
    for kind in (list, 3):
        with pytest.raises(TypeError, match="kind of tuple"):
            _core.dpo_loss(*rows(), 0.1, None, None, None, 0.0, "mean", "error", None, kind)
