"""Losses as registered operators: what torch.compile keeps as one node of its graph.

Called directly, an operator's way through PyTorch's dispatcher would cost several times what the loss does.
Uncompiled programs take the autograd functions instead. Both evaluate the same.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ._backward import apply, differentiable_once
from ._tensors import loss_tensor

_SCHEMA_TYPES = {
    Tensor: "Tensor",
    Tensor | None: "Tensor?",
    float: "float",
    float | None: "float?",
    int: "int",
    int | None: "int?",
    bool: "bool",
    str: "str",
    tuple[int, ...]: "int[]",
    tuple[float, ...] | None: "float[]?",
}


class Operator:
    """A loss and its backward pass, each an operator.

    Parameters
    ----------
    name
        In the namespace swiftdpo.
    inputs, options
        Named tuples: of tensors, and of what else the loss takes. Together they are the operator's arguments.
    forward
        The results of (inputs, options), as many tensors as `fake` gives.
    fake
        Empty tensors in the shape of these.
    gradients
        Of (inputs, options, gradient by the first result): a tensor for each of the first inputs, of no
        elements for one that is None. The other inputs and results have no gradient.
    differentiable
        How many inputs have one.
    num_kept
        How many results behind the first one `gradients` takes as further arguments.
    """

    def __init__(
        self,
        name: str,
        inputs: Any,
        options: Any,
        *,
        forward: Callable[[Any, Any], Sequence[Tensor]],
        fake: Callable[[Any, Any], Sequence[Tensor]],
        gradients: Callable[..., Sequence[Tensor]],
        differentiable: int,
        num_kept: int = 0,
    ) -> None:
        self._inputs, self._options = inputs, options
        arguments = ", ".join(
            [f"{_SCHEMA_TYPES[kind]} {field}" for field, kind in inputs.__annotations__.items()]
            + [f"{_SCHEMA_TYPES[kind]} option_{field}" for field, kind in options.__annotations__.items()]
        )
        kept = "".join(f"Tensor kept_{i}, " for i in range(num_kept))
        constants = (None,) * (len(inputs._fields) - differentiable + len(options._fields))

        def run(*flat: Any) -> list[Tensor]:
            return list(forward(*self._split(flat)))

        def run_fake(*flat: Any) -> list[Tensor]:
            return list(fake(*self._split(flat)))

        def run_backward(grad: Tensor, *flat: Any) -> list[Tensor]:
            return list(gradients(*self._split(flat[num_kept:]), grad, *flat[:num_kept]))

        def run_backward_fake(grad: Tensor, *flat: Any) -> list[Tensor]:
            given = self._split(flat[num_kept:])[0]
            none = grad.new_empty(0)
            return [none.clone() if x is None else x.new_empty(x.shape) for x in given[:differentiable]]

        self.forward: Any = torch.library.custom_op(
            f"swiftdpo::{name}", run, mutates_args=(), schema=f"({arguments}) -> Tensor[]"
        )
        self.backward: Any = torch.library.custom_op(
            f"swiftdpo::{name}_backward",
            run_backward,
            mutates_args=(),
            schema=f"(Tensor grad, {kept}{arguments}) -> Tensor[]",
        )

        def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
            tensors, ctx.options = self._split(inputs)
            ctx.save_for_backward(*output[1 : 1 + num_kept], *tensors)

        def backward(ctx: Any, grads: Sequence[Tensor]) -> Any:
            found = self.backward(grads[0], *ctx.saved_tensors, *ctx.options)
            wanted = [
                gradient if needed else None
                for gradient, needed in zip(found, ctx.needs_input_grad, strict=False)
            ]
            return *wanted, *constants

        self.forward.register_fake(run_fake)
        self.backward.register_fake(run_backward_fake)
        self.forward.register_autograd(backward, setup_context=setup_context)

    def __call__(self, inputs: Any, options: Any) -> tuple[Tensor, ...]:
        """The results, of which the first is differentiable."""
        first, *others = self.forward(*inputs, *options)
        return first, *(other.detach() for other in others)

    def _split(self, flat: Sequence[Any]) -> tuple[Any, Any]:
        count = len(self._inputs._fields)
        hashable = [tuple(value) if isinstance(value, list) else value for value in flat[count:]]
        return self._inputs._make(flat[:count]), self._options._make(hashable)


class RewardedLoss:
    """A loss beside rewards that have no gradient: an autograd function, or for torch.compile an operator.

    Parameters
    ----------
    name, inputs, options, fake, differentiable
        As of `Operator`.
    evaluate
        The extension's arrays for (inputs, options): the loss first, the losses next.
    rewards
        Where the rewards are among these.
    scaled
        The gradients that (inputs, options, those arrays, gradient by the loss) give.
    """

    def __init__(
        self,
        name: str,
        inputs: Any,
        options: Any,
        *,
        evaluate: Callable[[Any, Any], tuple[Any, ...]],
        rewards: int,
        scaled: Callable[[Any, Any, tuple[Any, ...], Tensor], Sequence[Tensor]],
        fake: Callable[[Any, Any], Sequence[Tensor]],
        differentiable: int,
    ) -> None:
        constants = (None,) * (len(inputs._fields) - differentiable + 2)

        class Function(torch.autograd.Function):
            """Inputs, options and an empty list to the loss; the rewards go into the list."""

            @staticmethod
            def forward(ctx: Any, *arguments: Any) -> Tensor:
                *tensors, chosen, found = arguments
                results = evaluate(inputs._make(tensors), chosen)
                found.append(torch.from_numpy(results[rewards]))
                ctx.save_for_backward(*tensors)
                ctx.options, ctx.results = chosen, results
                return loss_tensor(results)

            @staticmethod
            def backward(ctx: Any, grad_loss: Tensor) -> Any:
                found = scaled(inputs._make(ctx.saved_tensors), ctx.options, ctx.results, grad_loss)
                wanted = [
                    gradient if needed else None
                    for gradient, needed in zip(found, ctx.needs_input_grad, strict=False)
                ]
                return *differentiable_once(wanted), *constants

        def forward(given: Any, chosen: Any) -> list[Tensor]:
            results = evaluate(given, chosen)
            return [loss_tensor(results).clone(), torch.from_numpy(results[rewards])]

        def gradients(given: Any, chosen: Any, grad_loss: Tensor) -> Sequence[Tensor]:
            return scaled(given, chosen, evaluate(given, chosen), grad_loss)

        self._function = Function
        self.operator = Operator(
            name,
            inputs,
            options,
            forward=forward,
            fake=fake,
            gradients=gradients,
            differentiable=differentiable,
        )

    def __call__(self, inputs: Any, options: Any) -> tuple[Tensor, ...]:
        """The loss, which is differentiable, and the rewards."""
        if torch.compiler.is_compiling():
            return self.operator(inputs, options)
        rewards: list[Tensor] = []
        return apply(self._function, *inputs, options, rewards), *rewards
