"""Where DPO's loss comes from, on a problem small enough to check every step: 40 responses to one prompt.

Each line states a claim and whether it holds here. The exit status is 1 if one does not. A plot shows what
beta does.
"""

import argparse
import sys
from itertools import pairwise, permutations
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import swiftdpo

RESPONSES = 40
BETA = 0.5
failures = 0


def claim(sentence: str, holds: bool | np.bool_, evidence: str) -> None:
    """Prints a claim with its evidence, and counts those that fail."""
    global failures
    failures += not holds
    print(f"  {'ok  ' if holds else 'FAIL'}  {sentence}  [{evidence}]")


def log_softmax(scores: np.ndarray) -> np.ndarray:
    return scores - np.logaddexp.reduce(scores)


def distance(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.abs(np.asarray(x) - y).max())


def part_a(rng: np.random.Generator) -> None:
    print("(a) A distribution is nearest to q, by KL(p || q), where it is q")
    logq = log_softmax(rng.normal(size=RESPONSES))
    others = [swiftdpo.kl_divergence(log_softmax(rng.normal(size=RESPONSES)), logq) for _ in range(1000)]
    claim("KL(q || q) = 0", swiftdpo.kl_divergence(logq, logq) == 0, "exactly")
    claim(
        "1000 other distributions are further away", min(others) > 0, f"the nearest by {min(others):.3f} nats"
    )
    theta = rng.normal(size=RESPONSES)
    for _ in range(4000):
        logp = log_softmax(theta)
        gradient = swiftdpo.divergence(logp, logq).grad_logp
        theta -= 4 * (gradient - np.exp(logp) * gradient.sum())
    left = swiftdpo.kl_divergence(log_softmax(theta), logq)
    claim("Gradient descent from a random start ends at q", left < 1e-6, f"{left:.1e} nats left")


def part_b(ref: np.ndarray, rewards: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    print("(b) J(pi) = E[r] - beta KL(pi || ref) is largest for pi* = ref exp(r / beta) / Z")
    best = swiftdpo.optimal_policy(ref, rewards, BETA)
    by_hand = np.exp(ref + rewards / BETA) / np.exp(ref + rewards / BETA).sum()
    error = distance(np.exp(best.logps), by_hand)
    claim("pi* is ref exp(r / beta), normalised", error < 1e-14, f"to {error:.0e}")
    at_best = swiftdpo.optimal_policy(ref, rewards, BETA, policy_logps=best.logps).policy_objective
    error = abs(at_best - BETA * best.log_partition)
    claim("J(pi*) = beta log Z", error < 1e-13, f"{at_best:.6f}, to {error:.0e}")
    policies = np.array([log_softmax(rng.normal(0, 2, RESPONSES)) for _ in range(1000)])
    many = swiftdpo.optimal_policy(
        np.tile(ref, (1000, 1)), np.tile(rewards, (1000, 1)), BETA, policy_logps=policies
    )
    claim(
        "1000 other policies do worse",
        (many.policy_objective < at_best).all(),
        f"best {many.policy_objective.max():.3f}",
    )
    error = distance(at_best - many.policy_objective, many.policy_gap)
    claim("J(pi*) - J(pi) = beta KL(pi || pi*)", error < 1e-12, f"to {error:.0e} for each of them")
    return best.logps


def part_c(ref: np.ndarray, rewards: np.ndarray, rng: np.random.Generator) -> float:
    print("(c) Z sums over every response, so it is out of reach for language models, though not for samples")
    count = swiftdpo.count_responses(50_000, 1000)
    digits = count.log_total / np.log(10)
    claim(
        "1000 tokens of 50 000 make more responses than can be summed",
        count.total is None and digits > 4000,
        f"a number of {digits:.0f} digits",
    )
    bigram, gains = np.array([log_softmax(row) for row in rng.normal(size=(4, 4))]), rng.normal(size=(4, 4))

    def gain(response: tuple[int, ...]) -> float:
        return float(sum(gains[last, token] for last, token in pairwise((0, *response))))

    table = swiftdpo.token_partition(bigram, gains, BETA, 6)
    listed = swiftdpo.enumerate_partition(lambda prefix: bigram[(0, *prefix)[-1]], gain, BETA, 4, 6)
    error = abs(table.log_partition - listed.log_partition)
    claim(
        "Of 6 tokens of 4 it can: enumeration agrees with dynamic programming",
        error < 1e-13,
        f"{listed.num_terms} terms and {6 * 4 * 4}, to {error:.0e}",
    )
    exact = swiftdpo.optimal_policy(ref, rewards, BETA).log_partition
    samples = rewards[rng.choice(RESPONSES, 20_000, p=np.exp(ref))]
    estimate = swiftdpo.estimate_log_partition(samples, BETA)
    error = abs(estimate.log_partition - exact)
    claim(
        "20 000 samples of ref estimate log Z to within their own error",
        error < 4 * estimate.standard_error,
        f"{estimate.log_partition:.4f} +- {estimate.standard_error:.4f}; exactly {exact:.4f}",
    )
    return exact


def part_d(optimal: np.ndarray, ref: np.ndarray, rewards: np.ndarray, log_partition: float) -> np.ndarray:
    print("(d) A policy says for which reward it is optimal: r = beta log(pi* / ref) + beta log Z")
    back = swiftdpo.implicit_rewards(optimal, ref, BETA, log_partition)
    claim(
        "From the reward to pi* and back",
        distance(back, rewards) < 1e-14,
        f"to {distance(back, rewards):.0e}",
    )
    without = swiftdpo.implicit_rewards(optimal, ref, BETA)
    spread = np.ptp(rewards - without)
    claim("Without Z all rewards are off by the same beta log Z", spread < 1e-14, f"to {spread:.0e}")
    return without


def part_e(optimal: np.ndarray, ref: np.ndarray, rewards: np.ndarray, without: np.ndarray) -> None:
    print("(e) Preferences need no Z: P(w over l) = sigma(r_w - r_l), and the DPO loss is its -log")
    w, l = np.triu_indices(RESPONSES, 1)  # noqa: E741 (winner and loser)
    error = distance(
        swiftdpo.preference_probability(without[w], without[l]), 1 / (1 + np.exp(rewards[l] - rewards[w]))
    )
    claim(
        "Implicit rewards without Z give every preference", error < 1e-14, f"{len(w)} pairs, to {error:.0e}"
    )
    loss = swiftdpo.dpo_loss(optimal[w], optimal[l], ref[w], ref[l], beta=BETA).losses
    error = distance(loss, -swiftdpo.log_preference_probability(rewards[w], rewards[l]))
    claim("DPO's loss at pi* is -log P(w over l)", error < 1e-13, f"to {error:.0e}")
    moved = swiftdpo.dpo_loss(optimal[w] + 7.0, optimal[l] + 7.0, ref[w], ref[l], beta=BETA).losses
    claim(
        "A constant added to log pi changes no loss",
        distance(moved, loss) < 1e-13,
        f"to {distance(moved, loss):.0e}",
    )


def part_f(ref: np.ndarray, rng: np.random.Generator) -> None:
    print("(f) The gradient is beta sigma(r_l - r_w) (grad log pi(y_l) - grad log pi(y_w))")
    policy = log_softmax(ref + rng.normal(0, 2, RESPONSES))
    half = RESPONSES // 2
    out = swiftdpo.dpo_loss(policy[:half], policy[half:], ref[:half], ref[half:], beta=BETA, reduction="sum")
    weight = swiftdpo.preference_probability(out.rejected_rewards, out.chosen_rewards)
    error = distance(out.grad_policy_rejected_logps, BETA * weight)
    claim("The weight is the probability of the wrong order", error < 1e-15, f"to {error:.0e}")
    step = 1e-5

    def shifted(by: float) -> float:
        return swiftdpo.dpo_loss(
            policy[:half] + by, policy[half:], ref[:half], ref[half:], beta=BETA, reduction="sum"
        ).loss

    slope = (shifted(step) - shifted(-step)) / (2 * step)
    error = abs(slope - out.grad_policy_chosen_logps.sum())
    claim("Finite differences agree", error < 1e-8, f"to {error:.0e}")
    sure = swiftdpo.dpo_loss([30.0, -30.0], [0.0, 0.0], None, None, beta=1.0).gradient_weights
    claim(
        "Near 0 where right and sure, near 1 where wrong",
        sure[0] < 1e-12 and sure[1] > 1 - 1e-12,
        f"{sure[0]:.0e}, {sure[1]:.6f}",
    )


def part_g(optimal: np.ndarray, ref: np.ndarray, rewards: np.ndarray) -> None:
    print("(g) Rankings need no Z either: in Plackett-Luce it cancels at every stage")
    orders = np.array(list(permutations(range(5))))
    policy, reference = (np.tile(values[:5], (len(orders), 1)) for values in (optimal, ref))
    losses = swiftdpo.plackett_luce_loss(
        policy, reference, beta=BETA, rankings=orders, reduction="none"
    ).losses
    worth = np.exp(rewards[:5])[orders]
    stages = worth / worth[:, ::-1].cumsum(axis=1)[:, ::-1]
    error = distance(np.exp(-losses), stages.prod(axis=1))
    claim(
        "Every ranking has the probability that the rewards give it",
        error < 1e-14,
        f"{len(orders)} rankings, to {error:.0e}",
    )
    total = np.exp(-losses).sum()
    claim("They sum to 1", abs(total - 1) < 1e-13, f"to {abs(total - 1):.0e}")
    pair = swiftdpo.dpo_loss(optimal[:1], optimal[1:2], ref[:1], ref[1:2], beta=BETA).loss
    two = swiftdpo.plackett_luce_loss(optimal[None, :2], ref[None, :2], beta=BETA).loss
    claim("A ranking of two is (e)", pair == two, "to the last bit")


def plot(ref: np.ndarray, rewards: np.ndarray, path: Path) -> None:
    betas = np.geomspace(0.02, 50, 200)
    out = swiftdpo.optimal_policy(np.tile(ref, (200, 1)), np.tile(rewards, (200, 1)), betas)
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    for axis, values, title in zip(
        axes,
        (out.objective, out.kl, out.log_partition),
        ("J(π*) = β log Z", "KL(π* ‖ ref)", "log Z"),
        strict=True,
    ):
        axis.semilogx(betas, values)
        axis.set(xlabel="β", title=title)
        axis.grid(alpha=0.3)
    axes[0].axhline(rewards.max(), color="grey", ls="--", lw=1, label="best reward")
    axes[0].axhline(np.exp(ref) @ rewards, color="grey", ls=":", lw=1, label="E[r] under ref")
    axes[0].legend()
    axes[1].set_yscale("log")
    axes[2].set_yscale("symlog")
    figure.savefig(path, dpi=120)
    print(f"\nJ, KL and log Z against beta: {path}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--output", type=Path, default=Path("build/derivation.png"), help="where the plot goes"
    )
    path = parser.parse_args().output
    rng = np.random.default_rng(0)
    ref, rewards = log_softmax(rng.normal(size=RESPONSES)), rng.normal(size=RESPONSES)
    part_a(rng)
    optimal = part_b(ref, rewards, rng)
    log_partition = part_c(ref, rewards, rng)
    without = part_d(optimal, ref, rewards, log_partition)
    part_e(optimal, ref, rewards, without)
    part_f(ref, rng)
    part_g(optimal, ref, rewards)
    path.parent.mkdir(parents=True, exist_ok=True)
    plot(ref, rewards, path)
    print("All claims hold." if failures == 0 else f"{failures} claims do not hold.")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
