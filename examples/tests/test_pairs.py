import json

import numpy as np
import pytest

from byte_lm import ByteLM
from features import END
from pairs import DEVELOPMENT, FOLDS, IGNORE, PROMPT_BYTES, Corpus, Preferences, batches
from train_dpo import score


@pytest.fixture(scope="module")
def data():
    return Preferences()


@pytest.fixture(scope="module")
def model():
    return ByteLM(np.random.default_rng(0))


def test_nothing_is_dropped(data):
    assert len(data.prompts) == 1585
    assert data.lengths.min() == 1 and (data.lengths == 1).sum() == 21  # empty responses
    assert max(map(len, data.prompts)) == 13380
    assert set(data.p_chosen.round(2)) == {1.0, 0.83, 0.67, 0.5}


def test_folds_part_the_prompts(data):
    assert set(data.folds) == {DEVELOPMENT, *FOLDS}
    for fold in FOLDS:
        training, validation = data.split(fold)
        assert sorted([*training, *validation]) == list(range(len(data.prompts)))
        assert not {data.prompts[i] for i in training} & {data.prompts[i] for i in validation}
        assert len(validation) > 100


def test_responses_of_a_pair_stand_together(tmp_path):
    path = tmp_path / "pairs.jsonl"
    pair = {"source": "s", "prompt": "p", "chosen": "good", "rejected": "", "p_chosen": 1}
    path.write_text(json.dumps(pair) + "\n")
    data = Preferences(path)
    assert data.corpus.batch(np.array([0, 1]))[1].tolist() == [[*b"good", END], [END] + [IGNORE] * 4]
    assert data.lengths.tolist() == [[5, 1]]


def test_an_empty_response_has_a_probability(model):
    forward, _ = score(model, Corpus([b"Why?"], [b""]), np.array([0]))
    assert forward.num_tokens.tolist() == [1]
    assert -np.inf < forward.logps[0] < 0


def test_a_response_that_was_broken_off_has_no_end():
    corpus = Corpus([b"", b""], [b"ab", b"ab"], ended=[True, False])
    assert corpus.batch(np.array([0, 1]))[1].tolist() == [[*b"ab", END], [*b"ab", IGNORE]]


def test_a_long_prompt_is_read_from_its_last_bytes():
    prompt = b"Now this. " + b"An old story. " * 200 + b"What next?"

    def seen(text):
        """Which n-grams of the response stand in the prompt as it is read."""
        return Corpus([text], [b"Now this."]).features.present.tolist()

    assert seen(prompt) == seen(prompt[-PROMPT_BYTES:]) != seen(prompt[:PROMPT_BYTES])


def test_padding_changes_no_probability(data, model):
    responses = np.argsort(data.corpus.lengths)[:400:25]
    together = score(model, data.corpus, responses)[0].logps
    alone = [score(model, data.corpus, np.array([i]))[0].logps[0] for i in responses]
    np.testing.assert_allclose(together, alone, rtol=1e-5)


def test_batches_hold_everything_once():
    items, rng = np.arange(100, 203), np.random.default_rng(0)
    lengths = rng.integers(1, 1000, len(items))
    parts = batches(items, lengths, 8, rng)
    assert sorted(np.concatenate(parts)) == items.tolist()
    assert {len(part) for part in parts} <= {8, 9}
    assert max(np.ptp(lengths[part - 100]) for part in parts) < 700  # of similar lengths
