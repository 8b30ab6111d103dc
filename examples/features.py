"""What the language model sees of a prompt and of a response so far: integers that select embeddings.

- The last bytes, one by one (Bengio et al. 2003), and a hash of the last five (as in Pagnoni et al. 2024).
- Two candidates for the next byte: what followed the last four bytes when they last occurred in the prompt,
  and in the response itself. That is the pointer of See et al. (2017), by look-up instead of attention.
- A summary: the response's length, how much of the prompt it covers, how much of it is copied or repeated.
"""

from dataclasses import dataclass, fields

import numpy as np

END = 256  # the token after the last byte: an empty response still has this one
VOCABULARY = 257
NOTHING = 256  # among bytes: before the start of the response, or no candidate

LAGS = 6  # bytes seen one by one
NGRAM = 5  # bytes hashed together
NGRAM_BUCKETS = 1 << 14
KEY = 4  # bytes that a look-up matches

BYTE_FEATURES = (VOCABULARY,) * (LAGS + 1)  # the last bytes, and the prompt's candidate
CONTROL_FEATURES = (64, 16, 16, 16, VOCABULARY, 32, 2, 2)  # the summary, the last byte, traits of the prompt


@dataclass(frozen=True)
class Features:
    """Of N positions, each of which predicts one token."""

    bytes: np.ndarray  # [N, 7] rows of the byte embeddings
    ngrams: np.ndarray  # [N, 1] rows of the n-gram embeddings
    controls: np.ndarray  # [N, 8] rows of the control embeddings
    targets: np.ndarray  # [N, 3] the tokens that the controls raise: END, the copying one, the repeating one
    present: np.ndarray  # [N, 3] 1 where there is such a token, else 0

    def __getitem__(self, positions: np.ndarray) -> "Features":
        return Features(*(getattr(self, field.name)[positions] for field in fields(self)))

    @staticmethod
    def concatenate(parts: list["Features"]) -> "Features":
        columns = ([getattr(part, field.name) for part in parts] for field in fields(Features))
        return Features(*map(np.concatenate, columns))


class Memory:
    """Reads a response byte by byte, and keeps what the candidates and the summary need."""

    def __init__(self, prompt: bytes) -> None:
        self.after_in_prompt = {prompt[i - KEY : i]: prompt[i] for i in range(KEY, len(prompt))}
        self.after_in_response: dict[bytes, int] = {}
        self.key = b""
        self.covered = self.copied = self.repeated = 0  # keys of the prompt; keys of the response, twice
        mostly_foreign = len(prompt.decode(errors="ignore")) < 0.7 * len(prompt)
        self.traits = (
            len(self.after_in_prompt) + 1,
            len(prompt).bit_length(),
            b"\n" in prompt,
            mostly_foreign,
        )

    def read(self, byte: int) -> None:
        if len(self.key) == KEY:
            self.after_in_response[self.key] = byte
        self.key = (self.key + bytes([byte]))[-KEY:]
        known = self.key in self.after_in_response
        self.repeated += known
        if self.key in self.after_in_prompt:
            self.copied += 1
            self.covered += not known

    def recall(self) -> tuple[int, ...]:
        copy = self.after_in_prompt.get(self.key, NOTHING)
        repeat = self.after_in_response.get(self.key, NOTHING)
        return (copy, repeat, self.covered, self.copied, self.repeated, *self.traits)


def of_response(prompt: bytes, response: bytes) -> Features:
    """Features of all positions of a response: before each of its bytes, and after the last."""
    memory = Memory(prompt)
    recalled = [memory.recall()]
    for byte in response:
        memory.read(byte)
        recalled.append(memory.recall())
    padded = np.array([NOTHING] * LAGS + list(response))
    last_bytes = np.lib.stride_tricks.sliding_window_view(padded, LAGS)[:, ::-1]
    return encode(last_bytes, np.arange(len(response) + 1), np.array(recalled))


def encode(last_bytes: np.ndarray, lengths: np.ndarray, recalled: np.ndarray) -> Features:
    """Features of N positions: from the bytes before them [N, LAGS], latest first, how many bytes there are
    in all [N], and what a `Memory` recalls there [N, 9]."""
    copy, repeat, covered, copied, repeated, prompt_keys, prompt_length, newline, foreign = recalled.T
    keys = np.maximum(lengths - KEY + 1, 1)
    summary = [
        np.minimum(4 * np.log2(lengths + 1), 63),
        15 * np.sqrt(covered / prompt_keys),
        15 * copied / keys,
        15 * repeated / keys,
    ]
    controls = np.column_stack([*summary, last_bytes[:, 0], prompt_length, newline, foreign])
    end, always = np.full(len(lengths), END), np.ones(len(lengths))
    return Features(
        bytes=rows(np.column_stack([last_bytes, copy]), BYTE_FEATURES),
        ngrams=hashed(last_bytes[:, :NGRAM])[:, None],
        controls=rows(controls, CONTROL_FEATURES),
        targets=np.column_stack([end, copy, repeat]).astype(np.int32),
        present=np.column_stack([always, copy != NOTHING, repeat != NOTHING]).astype(np.float32),
    )


def rows(values: np.ndarray, sizes: tuple[int, ...]) -> np.ndarray:
    """In one table of embeddings, each feature has as many rows as it has values."""
    return values.astype(np.int32) + np.cumsum((0, *sizes[:-1]), dtype=np.int32)


def hashed(last_bytes: np.ndarray) -> np.ndarray:
    """Buckets [N] of a few bytes [N, n], by multiplicative hashing: the highest bits of the product count."""
    code = np.zeros(len(last_bytes), np.uint64)
    for column in last_bytes.T.astype(np.uint64):
        code = (code + column + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    return (code // np.uint64(2**64 // NGRAM_BUCKETS)).astype(np.int32)
