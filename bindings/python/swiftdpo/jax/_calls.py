"""The library's calls inside programs that JAX traces.

On CPUs XLA calls the library itself, through its foreign-function interface: no Python runs, and XLA's
buffers are read and written where they lie. Elsewhere, and where XLA refuses the handlers, the host is
called back with copies (`jax.pure_callback`). Both reach the same code and give the same bits.
"""

import functools
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, cast

import jax
import numpy as np

Arrays: TypeAlias = dict[str, jax.Array]
Options: TypeAlias = tuple[tuple[str, Any], ...]
Implementation: TypeAlias = Literal["ffi", "callback"]

shaped: Callable[..., jax.ShapeDtypeStruct] = cast(Any, jax.ShapeDtypeStruct)
"""shaped(shape, dtype), of an output."""


@dataclass(frozen=True, eq=False)
class Call:
    """One of the library's calls, for both ways to reach it."""

    name: str
    """Of its handler in the extension `_xla`."""
    host: Callable[..., Mapping[str, Any]]
    """host(inputs, options, outputs) calls it on NumPy arrays."""
    attributes: Callable[[dict[str, Any]], dict[str, Any]]
    """The options as XLA's attributes: fields of the library's options."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """Arguments whose field in the library's structs has another name."""


def _register() -> Implementation:
    """Hands the handlers to XLA, which checks the version of the interface that they were compiled for."""
    if os.environ.get("SWIFTDPO_JAX") == "callback":
        return "callback"
    from .. import _xla

    try:
        for name, handler in _xla.handlers.items():
            jax.ffi.register_ffi_target(f"swiftdpo_{name}", handler, platform="cpu")
    except Exception as refusal:  # of whatever type this jaxlib has for it
        warnings.warn(
            f"XLA takes no handlers from swiftdpo, so it will call back to Python: {refusal}", stacklevel=2
        )
        return "callback"
    return "ffi"


_implementation: Implementation = _register()


def implementation() -> Implementation:
    """How the library is reached on CPUs: "ffi", by XLA itself; "callback", through Python.

    The environment's ``SWIFTDPO_JAX=callback`` chooses the latter at import.
    """
    return _implementation


def call(
    target: Call,
    options: Options,
    inputs: Arrays,
    outputs: Mapping[str, jax.ShapeDtypeStruct],
    in_place: Mapping[str, str] | None = None,
) -> Arrays:
    """Calls the library: inputs to outputs, by name. `in_place`: inputs whose memory an output may take."""
    names, shapes = tuple(inputs), tuple(outputs.values())
    chosen = dict(options)

    def ffi(*arrays: jax.Array) -> tuple[jax.Array, ...]:
        def fields(names: Mapping[str, Any]) -> str:
            return ",".join(target.fields.get(name, name) for name in names)

        aliases = {names.index(old): tuple(outputs).index(new) for old, new in (in_place or {}).items()}
        function = jax.ffi.ffi_call(
            f"swiftdpo_{target.name}", shapes, vmap_method="broadcast_all", input_output_aliases=aliases
        )
        attributes = target.attributes(chosen)
        results: tuple[jax.Array, ...] = tuple(
            function(*arrays, inputs=fields(inputs), outputs=fields(outputs), **attributes)
        )
        return results

    def host(*arrays: Any) -> tuple[np.ndarray[Any, Any], ...]:
        given = {name: np.asarray(array) for name, array in zip(names, arrays, strict=True)}
        results = target.host(given, chosen, tuple(outputs))
        return tuple(
            np.asarray(results[name], shape.dtype).reshape(shape.shape) for name, shape in outputs.items()
        )

    callback = functools.partial(jax.pure_callback, host, shapes, vmap_method="sequential")
    if _implementation == "callback":
        results = callback(*inputs.values())
    else:
        results = jax.lax.platform_dependent(*inputs.values(), cpu=ffi, default=callback)
    return dict(zip(outputs, results, strict=True))
