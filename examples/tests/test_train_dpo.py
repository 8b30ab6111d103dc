from itertools import islice

import numpy as np
import pytest

import report
from byte_lm import ByteLM
from pairs import DATA, FOLDS, Corpus, Preferences
from sampling import sample
from train_dpo import Settings, score, train

SMALL = Settings(folds=FOLDS[:2], supervised_epochs=2, preference_epochs=5, kl_responses=4, kl_bytes=32)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A few pairs of each source."""
    path = tmp_path_factory.mktemp("data") / "pairs.jsonl"
    with DATA.open(encoding="utf-8") as lines:
        path.write_text("".join(islice(lines, 0, None, 24)), encoding="utf-8")
    return Preferences(path)


@pytest.fixture(scope="module")
def folds(data):
    return train(data, SMALL, workers=2)


def test_nothing_has_moved_before_the_first_epoch(data, folds):
    for fold in folds:
        for evaluation in fold.history[0].values():
            metrics = evaluation.metrics(data)
            assert (metrics["margin"], metrics["accuracy"], metrics["kl"]) == (0, 0.5, 0)
            assert metrics["loss"] == pytest.approx(np.log(2))


def test_preferences_are_learned(data, folds):
    history = [
        report.pooled([fold.history[epoch]["train"] for fold in folds]).metrics(data) for epoch in range(6)
    ]
    assert history[-1]["accuracy"] > 0.9
    assert history[-1]["margin"] > history[1]["margin"] > 0
    assert history[-1]["loss"] < 0.6
    assert history[-1]["kl"] > 0


def test_same_seed_same_files_whatever_the_number_of_workers(data, folds, tmp_path):
    again = train(data, SMALL, workers=1)
    for name, result in ("first", folds), ("second", again):
        report.report(data, SMALL, result, tmp_path / name)
    for name in "preferences.json", "preferences.png":
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_gradient_goes_through_the_library_and_the_model(data):
    """Along the gradient itself the log-probabilities change as fast as the gradient is long."""
    model = ByteLM(np.random.default_rng(0))
    responses = np.arange(4)
    weights = np.array([1.0, -1.0, 0.5, 2.0])
    _, gradients = score(model, data.corpus, responses)
    gradient = gradients(weights)
    length = np.sqrt(sum(float((g.astype(float) ** 2).sum()) for g in gradient.values()))
    step = 0.02
    values = []
    for amount in step, -step:
        twin = model.copy()
        for name, g in gradient.items():
            twin.parameters[name] += (amount / length * g).astype(np.float32)
        values.append(weights @ score(twin, data.corpus, responses)[0].logps)
    assert (values[0] - values[1]) / (2 * step) == pytest.approx(length, rel=1e-3)


@pytest.mark.parametrize("token, response, ended", [(ord("a"), b"aaaaa", False), (256, b"", True)])
def test_sampling_ends_at_the_end_or_is_broken_off(token, response, ended):
    model = ByteLM(np.random.default_rng(0))
    model.parameters["bias"][token] = 100
    sampled = sample(model, [b"Go on.", b"Go on."], 5, np.random.default_rng(0))
    assert sampled == ([response] * 2, [ended] * 2)


def test_samples_have_the_probabilities_of_the_model():
    """One byte or END, drawn often: the frequencies are the probabilities that the library computes."""
    model = ByteLM(np.random.default_rng(0))
    model.parameters["bias"][[ord("x"), ord("y")]] = 8, 7
    draws, _ = sample(model, [b"Choose."] * 4000, 1, np.random.default_rng(0))
    for response in b"x", b"y":
        corpus = Corpus([b"Choose."], [response], ended=[False])
        probability = np.exp(score(model, corpus, np.array([0]))[0].logps[0])
        assert draws.count(response) / 4000 == pytest.approx(probability, abs=0.03)
