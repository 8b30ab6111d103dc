"""What all backward passes share."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

_MESSAGE = (
    "swiftdpo has no second derivatives of this loss by its inputs: its gradient cannot be differentiated "
    "again. Detach it, or leave out create_graph=True"
)


def apply(function: type[torch.autograd.Function], *arguments: Any) -> Any:
    """As `function.apply`, which has no types."""
    return function.apply(*arguments)  # type: ignore[no-untyped-call]


class _Twice(torch.autograd.Function):
    """Gradients as they are, which say so if somebody differentiates them."""

    @staticmethod
    def forward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        return tuple(gradient.view_as(gradient) for gradient in gradients)

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[None, ...]:
        raise RuntimeError(_MESSAGE)


def differentiable_once(gradients: list[Tensor | None]) -> list[Tensor | None]:
    """Results of a backward pass: differentiating them is an error, instead of a wrong second derivative."""
    if not torch.is_grad_enabled():
        return gradients
    given = [gradient.detach().requires_grad_() for gradient in gradients if gradient is not None]
    marked: Iterator[Tensor] = iter(apply(_Twice, *given)) if given else iter(())
    return [None if gradient is None else next(marked) for gradient in gradients]
