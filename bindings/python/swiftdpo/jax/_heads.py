"""What the losses have in common: one call gives the loss and its gradient, which JAX then uses."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ._calls import Arrays, Call, Options, call, shaped


@dataclass(frozen=True, eq=False)
class Head:
    """A loss over log-probabilities."""

    call: Call
    leading: str
    """The input whose type is the call's."""
    results: tuple[str, ...]
    """What is returned beside the loss; takes no part in gradients."""
    gradients: Mapping[str, tuple[str, float]]
    """By which inputs the loss is differentiated: the output that has it, and its sign."""
    rows: Callable[[Arrays], tuple[int, ...]]
    """The shape of `losses`, from the inputs."""
    shape_of: Callable[[str, Arrays], tuple[int, ...]]
    """The shape of another output."""
    spread: Callable[[jax.Array, Arrays, jax.Array], jax.Array]
    """The cotangents of `losses`, for each element of a gradient."""
    coupled: Callable[[dict[str, Any]], str | None] = lambda options: None
    """What makes a loss depend on other rows, if anything does."""


def evaluate(head: Head, options: Options, inputs: Arrays, others: tuple[str, ...]) -> Arrays:
    """The loss, as `loss`, reduced or not, and further outputs."""
    real = inputs[head.leading].dtype
    none = dict(options)["reduction"] == "none"
    shapes = {"losses": head.rows(inputs)} if none else {"loss": ()}
    shapes |= {name: head.shape_of(name, inputs) for name in others}
    outputs = {name: shaped(shape, real) for name, shape in shapes.items()}
    results = call(head.call, options, inputs, outputs)
    if none:
        results["loss"] = results.pop("losses")
    return results


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _loss(head: Head, options: Options, inputs: Arrays) -> Arrays:
    return evaluate(head, options, inputs, head.results)


def _forward(head: Head, options: Options, primals: dict[str, Any]) -> tuple[Arrays, Any]:
    inputs = {name: primal.value for name, primal in primals.items()}
    wanted = [name for name, primal in primals.items() if primal.perturbed]
    if unknown := [name for name in wanted if name not in head.gradients]:
        raise ValueError(
            f"{unknown[0]} is differentiated, but has no gradient here: "
            f"give jax.lax.stop_gradient({unknown[0]})"
        )
    reason = head.coupled(dict(options))
    if wanted and reason and dict(options)["reduction"] == "none":
        raise ValueError(
            f'{reason} couples rows: with reduction="none" there is no gradient for each of them'
        )
    gradients = tuple({head.gradients[name][0]: None for name in wanted})
    outputs = evaluate(head, options, inputs, (*head.results, *gradients))
    by_input = {name: outputs[head.gradients[name][0]] for name in wanted}
    return {name: outputs[name] for name in ("loss", *head.results)}, (by_input, inputs)


def _backward(head: Head, options: Options, residuals: Any, cotangents: dict[str, Any]) -> Any:
    by_input, inputs = residuals
    by_loss = cotangents["loss"]
    results: dict[str, Any] = dict.fromkeys(inputs)
    if not isinstance(by_loss, jax.custom_derivatives.SymbolicZero):
        for name, gradient in by_input.items():
            factor = by_loss if by_loss.ndim == 0 else head.spread(by_loss, inputs, gradient)
            results[name] = head.gradients[name][1] * factor * gradient
    return (results,)


_loss.defvjp(_forward, _backward, symbolic_zeros=True)


@functools.partial(jax.jit, static_argnums=(0, 1))
def loss(head: Head, options: Options, inputs: Arrays) -> Arrays:
    """The loss and the head's results, which no gradient goes through."""
    outputs = _loss(head, options, inputs)
    return {name: x if name == "loss" else jax.lax.stop_gradient(x) for name, x in outputs.items()}


# -- Arguments ------------------------------------------------------------------------------------------


def as_reals(arguments: Mapping[str, Any]) -> Arrays:
    """The floating-point arguments that were given, which share one type."""
    arrays = {name: jnp.asarray(value) for name, value in arguments.items() if value is not None}
    first = next(iter(arrays))
    for name, array in arrays.items():
        if array.dtype not in (jnp.float32, jnp.float64):
            raise TypeError(f"{name} has dtype {array.dtype}; expected float32 or float64")
        if array.dtype != arrays[first].dtype:
            raise TypeError(
                f"{name} is {array.dtype} but {first} is {arrays[first].dtype}: "
                "the floating-point arrays of one call share one dtype"
            )
    return arrays


def as_integers(arguments: Mapping[str, Any]) -> Arrays:
    """The integer arguments that were given."""
    arrays = {name: jnp.asarray(value) for name, value in arguments.items() if value is not None}
    for name, array in arrays.items():
        if array.dtype not in (jnp.int32, jnp.int64):
            raise TypeError(f"{name} has dtype {array.dtype}; expected int64 or int32")
    return arrays


def as_mask(name: str, value: Any) -> jax.Array:
    array = jnp.asarray(value)
    if array.dtype != jnp.bool_:
        raise TypeError(f"{name} has dtype {array.dtype}; expected bool")
    return array


def check_shapes(arrays: Arrays, shapes: Mapping[str, tuple[int, ...]]) -> None:
    for name, shape in shapes.items():
        if name in arrays and arrays[name].shape != shape:
            raise ValueError(f"{name} has shape {arrays[name].shape}; expected {shape}")


def number_or_array(
    name: str, value: Any, real: Any, shape: tuple[int, ...], arrays: Arrays, options: dict[str, Any]
) -> None:
    """One number for the batch is an option; what JAX traces, or one for each row, an array."""
    if isinstance(value, float | int | np.floating):
        options[name] = float(value)
        return
    array = jnp.asarray(value)
    if array.dtype != real:
        raise TypeError(f"{name} is {array.dtype} where the log-probabilities are {real}")
    arrays[name] = jnp.broadcast_to(array, shape) if array.ndim == 0 else array


def refuse_bad_options(
    target: Call, arrays: Arrays, empty: Mapping[str, tuple[int, ...]], options: Any
) -> None:
    """Has the library look at the options, while tracing, by giving it an empty batch."""
    inputs = {name: np.zeros(empty.get(name, (0,)), array.dtype) for name, array in arrays.items()}
    target.host(inputs, options, ())
