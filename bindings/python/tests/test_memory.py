"""No reference and no memory is lost, whether a call succeeds or fails."""

import contextlib
import gc
import sys
import tracemalloc

import numpy as np
import pytest
import swiftdpo
import torch
from calls import arguments

FUNCTIONS = ["dpo_loss", "plackett_luce_loss", "sequence_logps", "sequence_logps_backward", "vocab_shard"]


def with_arrays(given, convert):
    """The arguments, with those arrays converted that need not stay where they lie."""
    return {
        name: convert(value) if isinstance(value, np.ndarray) and value.ndim < 3 else value
        for name, value in given.items()
    }


def refused_by_the_library(given):
    """The arguments, with one that is refused after all have been taken."""
    name = next(name for name in ("policy_logps", "policy_chosen_logps", "logits") if name in given)
    forward = {"forward": None} if "forward" in given else {}
    return given | {name: np.full_like(given[name], np.nan)} | forward


CASES = {
    "taken as they are": lambda given: given,
    "copied": lambda given: with_arrays(given, lambda values: np.repeat(values, 2, axis=-1)[..., ::2]),
    "lists": lambda given: with_arrays(given, np.ndarray.tolist),
    "tensors": lambda given: with_arrays(given, torch.from_numpy),
    "refused by the library": refused_by_the_library,
    "refused by DLPack": lambda given: with_arrays(given, lambda _: torch.zeros(3, dtype=torch.bfloat16)),
    "refused by name": lambda given: given | {"nonfinite": "?"},
    **{
        f"refused as argument {place}": lambda given, place=place: (
            given | {list(given)[place]: np.zeros((2, 2, 2, 2))}
        )
        for place in range(5)
    },
}


@pytest.fixture(autouse=True)
def collections_pass_over_what_was_there_before():
    """With PyTorch loaded, each would take a third of a second."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_nothing_is_lost(function, case):
    given = CASES[case](arguments(function))
    uses = 100

    def use():
        for _ in range(uses):
            with contextlib.suppress(TypeError, ValueError):
                getattr(swiftdpo, function)(**given)
        gc.collect()
        sys._clear_type_cache()  # it holds every name that was looked up, up to thousands of them
        references = [sys.getrefcount(value) for value in given.values() if type(value) is not int]
        return references, tracemalloc.get_traced_memory()[0]

    use()
    tracemalloc.start()
    references, memory = zip(*(use() for _ in range(8)), strict=True)
    tracemalloc.stop()
    assert references[0] == references[-1]
    # Caches come and go; what is lost at each use, an object at the least, makes every round grow.
    assert min(np.diff(memory)) < uses * sys.getsizeof(object())
