"""swiftdpo.torch: the values are the package's, and the gradients those that finite differences see."""

import numpy as np
import pytest
import swiftdpo
import swiftdpo.torch as sdt
import torch
from torch.autograd import gradcheck

SIZES = [1, 2, 5]


def logps(*shape: int, seed: int = 0, low: float = -3.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(shape, generator=generator, dtype=torch.float64) * low).requires_grad_()


def pairs(size: int) -> list[torch.Tensor]:
    return [logps(size, seed=seed) for seed in range(4)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_dpo_has_the_values_of_the_package(size: int, reduction: str) -> None:
    given = pairs(size)
    loss, chosen_rewards, rejected_rewards = sdt.dpo_loss(*given, beta=0.3, reduction=reduction)
    expected = swiftdpo.dpo_loss(*(x.detach().numpy() for x in given), beta=0.3, reduction=reduction)
    assert np.array_equal(loss.detach().numpy(), expected.loss)
    assert np.array_equal(chosen_rewards.numpy(), expected.chosen_rewards)
    assert np.array_equal(rejected_rewards.numpy(), expected.rejected_rewards)
    loss.sum().backward()
    assert np.array_equal(given[0].grad.numpy(), expected.grad_policy_chosen_logps)
    assert np.array_equal(given[1].grad.numpy(), expected.grad_policy_rejected_logps)


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_dpo_gradients(reduction: str) -> None:
    assert gradcheck(lambda *x: sdt.dpo_loss(*x, reduction=reduction).loss, pairs(5))


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_plackett_luce_gradients(reduction: str) -> None:
    given = logps(3, 4), logps(3, 4, seed=1)
    assert gradcheck(lambda *x: sdt.plackett_luce_loss(*x, reduction=reduction).loss, given)


@pytest.mark.parametrize("average", [False, True])
def test_sequence_logps_gradients(average: bool) -> None:
    labels = torch.tensor([[0, 1, 2, 3], [-100, 4, 4, -100]])
    assert gradcheck(
        lambda x: sdt.sequence_logps(x, labels, average=average).logps, [logps(2, 4, 5)], fast_mode=True
    )
    assert gradcheck(lambda x: sdt.token_logps(x, labels), [logps(2, 4, 5)])
