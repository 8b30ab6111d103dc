"""The preference pairs: read, split by prompt, and cut into batches."""

import json
import zlib
from pathlib import Path

import numpy as np

from features import END, Features, of_response

DATA = Path(__file__).parent / "data" / "pairs_dev.jsonl"
IGNORE = -100  # the label of padding
PROMPT_BYTES = 1024  # of a longer prompt the last ones are read: what is asked stands at its end
DEVELOPMENT = 0
FOLDS = (1, 2, 3, 4)


class Corpus:
    """Features and labels of responses to prompts. END follows each response, unless it was broken off."""

    def __init__(self, prompts: list[bytes], responses: list[bytes], ended: list[bool] | None = None) -> None:
        parts = [of_response(p[-PROMPT_BYTES:], r) for p, r in zip(prompts, responses, strict=True)]
        self.features = Features.concatenate(parts)
        ends = [END if whole else IGNORE for whole in ended or [True] * len(responses)]
        self.labels = np.concatenate([[*text, end] for text, end in zip(responses, ends, strict=True)])
        self.lengths = np.array([len(response) + 1 for response in responses])
        self.starts = np.cumsum(self.lengths) - self.lengths

    def batch(self, responses: np.ndarray) -> tuple[Features, np.ndarray]:
        """Features [B T] and labels [B, T] of some responses, padded to the longest."""
        steps, lengths = np.arange(self.lengths[responses].max()), self.lengths[responses][:, None]
        positions = self.starts[responses][:, None] + np.minimum(steps, lengths - 1)
        labels = np.where(steps < lengths, self.labels[positions], IGNORE)
        return self.features[positions.ravel()], labels


class Preferences:
    """Pairs of responses. In `corpus` pair i has the chosen response 2 i and the rejected one 2 i + 1."""

    def __init__(self, path: Path = DATA) -> None:
        with path.open(encoding="utf-8") as lines:
            pairs = [json.loads(line) for line in lines]
        self.sources = np.array([pair["source"] for pair in pairs])
        self.p_chosen = np.array([pair["p_chosen"] for pair in pairs])  # of the votes; a tie is half a vote
        self.prompts = [pair["prompt"].encode() for pair in pairs]
        self.folds = np.array([fold_of(prompt) for prompt in self.prompts])
        responses = [pair[side].encode() for pair in pairs for side in ("chosen", "rejected")]
        self.corpus = Corpus([prompt for prompt in self.prompts for _ in range(2)], responses)
        self.lengths = self.corpus.lengths.reshape(-1, 2)

    def split(self, fold: int) -> tuple[np.ndarray, np.ndarray]:
        """Pairs to train on, and the fold's, to validate on. No prompt is on both sides."""
        return np.flatnonzero(self.folds != fold), np.flatnonzero(self.folds == fold)


def fold_of(prompt: bytes) -> int:
    """Two prompts in five are for development: on them features and settings were chosen, by training on the
    others. Those fall into four folds, which are what results are reported on."""
    code = zlib.crc32(prompt)
    return DEVELOPMENT if code % 5 < 2 else FOLDS[code // 5 % len(FOLDS)]


def batches(items: np.ndarray, lengths: np.ndarray, size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """All items in random batches of about `size`, of similar lengths so that little of it is padding."""
    order = np.argsort(lengths * rng.uniform(0.8, 1.25, len(items)), kind="stable")
    parts = np.array_split(items[order], num_batches(len(items), size))
    return [parts[i] for i in rng.permutation(len(parts))]


def num_batches(num_items: int, size: int) -> int:
    return max(1, num_items // size)
