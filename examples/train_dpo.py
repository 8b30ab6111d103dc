"""Trains a small language model on human preferences, with `swiftdpo` between its two passes.

Phase 1 teaches a byte-level model the chosen responses. Phase 2 is Direct Preference Optimization against a
frozen copy of it. This file is the training loop; the model is in byte_lm.py, what it sees in features.py,
the data in pairs.py, tables and curves in report.py.
"""

import argparse
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from os import sched_getaffinity
from pathlib import Path

import numpy as np
import swiftdpo
from threadpoolctl import threadpool_limits
from tqdm import tqdm

import report
from byte_lm import Adam, ByteLM, Parameters
from pairs import DEVELOPMENT, FOLDS, Corpus, Preferences, batches, num_batches
from report import Evaluation, Fold
from sampling import sample


@dataclass(frozen=True)
class Settings:
    seed: int = 0
    folds: tuple[int, ...] = FOLDS
    supervised_epochs: int = 3
    supervised_batch: int = 16  # responses
    supervised_rate: float = 3e-3
    preference_epochs: int = 4
    preference_batch: int = 8  # pairs
    beta: float = 0.1
    preference_rate: float = 1e-4  # small: the common statistics of bytes stay close to the reference
    ngram_rate: float = 1e-3  # larger: n-grams are many, and each is seldom seen
    control_rate: float = 2e-3  # largest: controls are few, and see what generalises
    evaluated_pairs: int = 300  # on each side of the split, at most: of a fold these are all
    kl_responses: int = 64  # sampled on each side, to estimate the KL divergence from the reference
    kl_bytes: int = 256  # of a sampled response, at most


QUICK = {"folds": (DEVELOPMENT,), "supervised_epochs": 2, "preference_epochs": 3, "kl_responses": 32}


def score(
    model: ByteLM, corpus: Corpus, responses: np.ndarray
) -> tuple[swiftdpo.SequenceLogps, Callable[[np.ndarray], Parameters]]:
    """Log-probabilities of responses, and the way back: from their gradient to that of the parameters."""
    features, labels = corpus.batch(responses)
    logits, backward = model(features)
    logits = logits.reshape(*labels.shape, -1)
    forward = swiftdpo.sequence_logps(logits, labels, shift=False)

    def gradients(grad_logps: np.ndarray) -> Parameters:
        swiftdpo.sequence_logps_backward(logits, labels, grad_logps, forward, out=logits)  # in place
        return backward(logits.reshape(-1, logits.shape[-1]))

    return forward, gradients


def log_probabilities(model: ByteLM, corpus: Corpus, responses: np.ndarray) -> np.ndarray:
    """Of many responses, in batches of similar lengths."""
    logps = np.empty(len(responses))
    order = np.argsort(corpus.lengths[responses], kind="stable")
    for batch in (order[i : i + 16] for i in range(0, len(order), 16)):
        logps[batch] = score(model, corpus, responses[batch])[0].logps
    return logps


def both(pairs: np.ndarray) -> np.ndarray:
    """The chosen responses of some pairs, and then the rejected ones."""
    return np.concatenate([2 * pairs, 2 * pairs + 1])


class Run:
    """The training of one model, on all prompts but those of one fold, which validate it."""

    def __init__(self, data: Preferences, fold: int, settings: Settings, tick: Callable[[], object]) -> None:
        self.data, self.corpus, self.settings, self.tick = data, data.corpus, settings, tick
        self.rng = np.random.default_rng([settings.seed, fold])
        self.model = ByteLM(self.rng)
        self.training, validation = data.split(fold)
        sides = {"train": self.training, "validation": validation}
        limit = settings.evaluated_pairs
        self.evaluated = {side: self.rng.permutation(pairs)[:limit] for side, pairs in sides.items()}

    def __call__(self) -> Fold:
        self.supervise()
        self.reference = self.model.copy()
        # In the very batches of `evaluate`: so before the first step log-ratios are 0 to the last bit.
        evaluated = both(np.concatenate(list(self.evaluated.values())))
        others = np.setdiff1d(both(self.training), evaluated)
        self.reference_logps = np.full(len(self.corpus.lengths), np.nan)
        for responses in evaluated, others:
            self.reference_logps[responses] = log_probabilities(self.reference, self.corpus, responses)
        history = [self.evaluate(), *(self.evaluate() for _ in self.prefer())]
        return Fold(history, self.reference_logps)

    def supervise(self) -> None:
        """Phase 1: maximum likelihood of the chosen responses."""
        settings = self.settings
        rates = dict.fromkeys(self.model.parameters, settings.supervised_rate)
        steps = settings.supervised_epochs * num_batches(len(self.training), settings.supervised_batch)
        optimizer = Adam(self.model, rates, steps)
        for epoch in self.supervised_batches():
            for batch in epoch:
                forward, gradients = score(self.model, self.corpus, batch)
                # loss = -mean over tokens of log pi: its gradient by each response's log pi is one number
                optimizer.step(gradients(np.full(len(batch), -1 / forward.num_tokens.sum())))
                self.tick()

    def supervised_batches(self) -> Iterator[list[np.ndarray]]:
        """Chosen responses, in each epoch's random order."""
        chosen = 2 * self.training
        for _ in range(self.settings.supervised_epochs):
            yield batches(chosen, self.corpus.lengths[chosen], self.settings.supervised_batch, self.rng)

    def prefer(self) -> Iterator[None]:
        """Phase 2: direct preference optimization. Yields after each epoch."""
        settings = self.settings
        rates = dict.fromkeys(self.model.parameters, settings.preference_rate)
        rates |= {name: settings.control_rate for name in rates if name.startswith("control")}
        rates |= {"ngram_embeddings": settings.ngram_rate}
        steps = settings.preference_epochs * num_batches(len(self.training), settings.preference_batch)
        optimizer = Adam(self.model, rates, steps)
        for epoch in self.preference_batches():
            for batch in epoch:
                forward, gradients = score(self.model, self.corpus, both(batch))
                out = self.loss(forward.logps, batch)
                grad_logps = [out.grad_policy_chosen_logps, out.grad_policy_rejected_logps]
                optimizer.step(gradients(np.concatenate(grad_logps)))
                self.tick()
            yield

    def preference_batches(self) -> Iterator[list[np.ndarray]]:
        """Pairs, in each epoch's random order."""
        lengths = self.data.lengths[self.training].max(1)
        for _ in range(self.settings.preference_epochs):
            yield batches(self.training, lengths, self.settings.preference_batch, self.rng)

    def loss(self, policy_logps: np.ndarray, pairs: np.ndarray) -> swiftdpo.DPOLoss:
        """Of some pairs, given the policy's log-probabilities of `both` responses. Votes are soft labels."""
        policy = np.split(policy_logps, 2)
        reference = np.split(self.reference_logps[both(pairs)], 2)
        p_chosen = self.data.p_chosen[pairs]
        return swiftdpo.dpo_loss(*policy, *reference, beta=self.settings.beta, soft_labels=p_chosen)

    def evaluate(self) -> dict[str, Evaluation]:
        responses = both(np.concatenate(list(self.evaluated.values())))
        logps = np.full_like(self.reference_logps, np.nan)
        logps[responses] = log_probabilities(self.model, self.corpus, responses)
        evaluations = {}
        for side, pairs in self.evaluated.items():
            out = self.loss(logps[both(pairs)], pairs)
            margins = out.chosen_rewards - out.rejected_rewards
            evaluations[side] = Evaluation(pairs, out.losses, margins, self.log_ratios(pairs))
        return evaluations

    def log_ratios(self, pairs: np.ndarray) -> np.ndarray:
        """log pi - log ref of responses which the policy itself gives to some of the prompts."""
        rng = np.random.default_rng(self.settings.seed)  # the same prompts each time
        prompts = [self.data.prompts[i] for i in rng.permutation(pairs)[: self.settings.kl_responses]]
        samples = Corpus(prompts, *sample(self.model, prompts, self.settings.kl_bytes, rng))
        everyone = np.arange(len(prompts))
        policy = log_probabilities(self.model, samples, everyone)
        return policy - log_probabilities(self.reference, samples, everyone)


def train(data: Preferences, settings: Settings, workers: int) -> list[Fold]:
    """One model for each fold, several at once. Each on one thread: nothing depends on how many there are."""
    sizes = [len(data.split(fold)[0]) for fold in settings.folds]
    steps = sum(
        settings.supervised_epochs * num_batches(size, settings.supervised_batch)
        + settings.preference_epochs * num_batches(size, settings.preference_batch)
        for size in sizes
    )
    with (
        tqdm(total=steps, unit="step", mininterval=0.5) as bar,
        threadpool_limits(1),
        ThreadPoolExecutor(workers) as pool,
    ):
        return list(pool.map(lambda fold: Run(data, fold, settings, bar.update)(), settings.folds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="train one model, briefly, instead of four")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--output-dir", type=Path, default="build/demo", help="default: %(default)s")
    arguments = parser.parse_args()
    settings = Settings(seed=arguments.seed, **(QUICK if arguments.quick else {}))

    data = Preferences()
    report.print_data(data, settings)
    folds = train(data, settings, workers=len(sched_getaffinity(0)))
    report.report(data, settings, folds, arguments.output_dir)


if __name__ == "__main__":
    main()
