import numpy as np
import pytest

from report import Evaluation, interval, wins


def test_half_a_win_where_neither_is_ahead():
    assert wins(np.array([2.0, -0.1, 0.0])).tolist() == [1, 0, 0.5]


def test_interval_of_independent_pairs_is_the_textbook_one():
    won = np.repeat([1.0, 0.0], [240, 160])
    prompts = [str(i).encode() for i in range(400)]
    wilson = (0.5512, 0.6469)
    assert interval(won, prompts, seed=0) == pytest.approx(wilson, abs=0.006)


def test_interval_does_not_count_pairs_of_one_prompt_as_independent():
    won = np.repeat([1.0, 0.0], [60, 40])
    prompts = [str(i).encode() for i in range(100)]
    once, often = interval(won, prompts, seed=0), interval(np.repeat(won, 9), prompts_of(prompts, 9), seed=0)
    assert often == pytest.approx(once)


def prompts_of(prompts, times):
    return [prompt for prompt in prompts for _ in range(times)]


def test_divergence_estimate_has_the_right_mean():
    policy, reference = np.array([0.5, 0.25, 0.25]), np.array([0.25, 0.5, 0.25])
    exact = (policy * np.log(policy / reference)).sum()
    samples = np.log(policy / reference)[[0, 0, 1, 2]]  # as often as the policy would draw them
    evaluation = Evaluation(np.array([0]), np.zeros(1), np.ones(1), samples)
    assert evaluation.metrics(Labels([1.0]))["kl"] == pytest.approx(exact)


def test_undecided_pairs_count_in_the_loss_and_not_in_the_accuracy():
    evaluation = Evaluation(
        np.array([0, 1, 2]), np.array([1.0, 2.0, 6.0]), np.array([1.0, -1.0, -3.0]), np.zeros(1)
    )
    metrics = evaluation.metrics(Labels([1.0, 2 / 3, 0.5]))
    assert (metrics["loss"], metrics["margin"], metrics["accuracy"]) == (3, -1, 0.5)


class Labels:
    def __init__(self, p_chosen):
        self.p_chosen = np.array(p_chosen)
