"""Direct Preference Optimization of a bigram model, by ctypes alone. Usage: bigrams.py [LIBRARY]

Declarations are those of swiftdpo.h, by hand: what another language's foreign function interface would need,
too. (With NumPy at hand, `import swiftdpo` is faster and does all this.)
"""

import ctypes
import sys
from ctypes import POINTER, Structure, c_char_p, c_double, c_float, c_int, c_int32, c_int64, c_size_t, c_uint8

library = ctypes.CDLL(sys.argv[1] if len(sys.argv) > 1 else "libswiftdpo.so.0")
library.swiftdpo_version.restype = library.swiftdpo_abi_version.restype = ctypes.c_uint32
if library.swiftdpo_abi_version() != 0 or library.swiftdpo_version() < 100:
    raise ImportError("the library does not serve the header of version 0.1.0, whose declarations these are")


class Growable(Structure):
    """A struct whose first field is its size as this program knows it. What is not given is NULL or 0."""

    def __init__(self, **fields: object) -> None:
        super().__init__(struct_size=ctypes.sizeof(self), **fields)


class Logits(Growable):  # swiftdpo_logits_f32
    _fields_ = [
        ("struct_size", c_size_t),
        ("num_sequences", c_size_t),
        ("sequence_length", c_size_t),
        ("vocab_size", c_size_t),
        ("logits", POINTER(c_float)),
        ("row_stride", c_size_t),
        ("labels", POINTER(c_int64)),
        ("labels_i32", POINTER(c_int32)),
        ("offsets", POINTER(c_int64)),
        ("mask", POINTER(c_uint8)),
        ("token_weights", POINTER(c_double)),
        ("ld_lengths", POINTER(c_int64)),
        ("vocab_start", c_size_t),
    ]


class LogpsResults(Growable):  # swiftdpo_logps_results
    _fields_ = [
        ("struct_size", c_size_t),
        ("logps", POINTER(c_double)),
        ("num_tokens", POINTER(c_int64)),
        ("token_logps", POINTER(c_double)),
        ("log_normalizers", POINTER(c_double)),
        ("entropies", POINTER(c_double)),
        ("log_sum_squares", POINTER(c_double)),
        ("mean_logits", POINTER(c_double)),
        ("top_1", POINTER(c_uint8)),
        ("row_flags", POINTER(c_uint8)),
    ]


class Pairs(Growable):  # swiftdpo_pairs_f64
    _fields_ = [
        ("struct_size", c_size_t),
        ("count", c_size_t),
        ("policy_chosen_logps", POINTER(c_double)),
        ("policy_rejected_logps", POINTER(c_double)),
        ("ref_chosen_logps", POINTER(c_double)),
        ("ref_rejected_logps", POINTER(c_double)),
        ("betas", POINTER(c_double)),
        ("margins", POINTER(c_double)),
        ("weights", POINTER(c_double)),
        ("soft_labels", POINTER(c_double)),
        ("chosen_lengths", POINTER(c_int64)),
        ("rejected_lengths", POINTER(c_int64)),
        ("ties", POINTER(c_uint8)),
        ("reward_gaps", POINTER(c_double)),
        ("sft_logps", POINTER(c_double)),
        ("sft_lengths", POINTER(c_int64)),
    ]


class PairResults(Growable):  # swiftdpo_pair_results_f64
    _fields_ = [
        ("struct_size", c_size_t),
        ("loss", POINTER(c_double)),
        ("losses", POINTER(c_double)),
        ("grad_policy_chosen_logps", POINTER(c_double)),
        ("grad_policy_rejected_logps", POINTER(c_double)),
        ("chosen_rewards", POINTER(c_double)),
        ("rejected_rewards", POINTER(c_double)),
        ("gradient_weights", POINTER(c_double)),
        ("grad_ref_chosen_logps", POINTER(c_double)),
        ("grad_ref_rejected_logps", POINTER(c_double)),
        ("grad_sft_logps", POINTER(c_double)),
        ("grad_betas", POINTER(c_double)),
        ("grad_margins", POINTER(c_double)),
        ("curvatures", POINTER(c_double)),
        ("grad_tie_strength", POINTER(c_double)),
        ("metrics", ctypes.c_void_p),
    ]


class Culprit(Structure):
    _fields_ = [("argument", c_char_p), ("index", c_size_t)]


library.swiftdpo_status_string.argtypes, library.swiftdpo_status_string.restype = [c_int], c_char_p


def function(name: str, *argtypes: type):
    """A function of the library, which refuses with an exception. Options are left to their defaults."""
    call = library[name]
    call.argtypes, call.restype = [*argtypes, POINTER(Culprit)], c_int

    def checked(*arguments: object) -> None:
        culprit = Culprit()
        if status := call(*arguments, culprit):
            rule = library.swiftdpo_status_string(status).decode()
            raise ValueError(f"{culprit.argument.decode()}[{culprit.index}]: {rule}")

    return checked


Defaults = ctypes.c_void_p
sequence_logps = function("swiftdpo_sequence_logps_f32", POINTER(Logits), Defaults, POINTER(LogpsResults))
sequence_logps_backward = function(
    "swiftdpo_sequence_logps_backward_f32",
    POINTER(Logits),
    Defaults,
    POINTER(c_double),
    POINTER(c_double),
    POINTER(c_float),
)
dpo_loss = function("swiftdpo_dpo_loss_f64", POINTER(Pairs), Defaults, POINTER(PairResults))

VOCABULARY, LENGTH = 4, 4
responses = (c_int64 * 8)(0, 1, 2, 3, 0, 3, 2, 1)  # token 0 is the prompt; people chose the first response
weights = [[0.0] * VOCABULARY for _ in range(VOCABULARY)]  # row i holds the logits of what follows token i
rows = len(responses)

# The library writes into these, and is handed them again and again: it keeps no pointer.
logits, grad_logits = (c_float * (rows * VOCABULARY))(), (c_float * (rows * VOCABULARY))()
policy, reference, grad_logps = (c_double * 2)(), (c_double * 2)(), (c_double * 2)()
normalizers = (c_double * rows)()
loss, chosen_reward, rejected_reward = c_double(), c_double(), c_double()


def second(pair: ctypes.Array) -> c_double:
    """The pair's second number, where it lies."""
    return c_double.from_buffer(pair, ctypes.sizeof(c_double))


batch = Logits(
    num_sequences=2, sequence_length=LENGTH, vocab_size=VOCABULARY, logits=logits, labels=responses
)
scores = LogpsResults(logps=policy, log_normalizers=normalizers)
pair = Pairs(
    count=1,
    policy_chosen_logps=policy,
    policy_rejected_logps=ctypes.pointer(second(policy)),
    ref_chosen_logps=reference,
    ref_rejected_logps=ctypes.pointer(second(reference)),
)
results = PairResults(
    loss=ctypes.pointer(loss),
    chosen_rewards=ctypes.pointer(chosen_reward),
    rejected_rewards=ctypes.pointer(rejected_reward),
    grad_policy_chosen_logps=grad_logps,
    grad_policy_rejected_logps=ctypes.pointer(second(grad_logps)),
)

for step in range(100):
    logits[:] = [weight for token in responses for weight in weights[token]]
    sequence_logps(batch, None, scores)
    if step == 0:
        reference[:] = policy
    dpo_loss(pair, None, results)
    sequence_logps_backward(batch, None, grad_logps, normalizers, grad_logits)
    for position, token in enumerate(responses):
        for v in range(VOCABULARY):
            weights[token][v] -= grad_logits[position * VOCABULARY + v]

print(f"loss {loss.value:.4f}, reward margin {chosen_reward.value - rejected_reward.value:.4f}")
