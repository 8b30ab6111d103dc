"""Log-probabilities of sequences from logits, and the gradient back to the logits."""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np

from .. import _core
from .._typing import LogpsOptions, Nonfinite
from ._calls import Arrays, Call, Options, call, shaped
from ._enums import NONFINITE
from ._heads import as_integers, as_mask, check_shapes, refuse_bad_options


class SequenceLogps(NamedTuple):
    """What `sequence_logps` returns. Gradients go through `logps` alone."""

    logps: jax.Array
    """(B,): log pi of each sequence; 0 for one without tokens that count. float32 without jax_enable_x64."""
    num_tokens: jax.Array
    """(B,): how many tokens count."""
    token_logps: jax.Array
    """(B, T - 1) with `shift`, (B, T) without, (N,) of packed sequences: log-probability of each label,
    without its weight; 0 where none counts."""


ARRAYS = ("mask", "offsets", "token_weights", "ld_lengths")


def _widest(name: str) -> Any:
    """The type, or what JAX has for it without 64-bit types."""
    return jax.dtypes.canonicalize_dtype(name)


def _given(inputs: dict[str, Any], options: dict[str, Any]) -> LogpsOptions:
    given = options | {name: inputs[name] for name in ARRAYS if name in inputs}
    return cast(LogpsOptions, given)


def _words(array: Any) -> Any:
    """Doubles that only the library reads: for JAX without 64-bit types, their two halves."""
    if _widest("float64") == np.float64:
        return array
    return np.ascontiguousarray(array).view(np.uint32).reshape(*array.shape, 2)


def _doubles(words: Any) -> Any:
    return words if words.dtype == np.float64 else np.ascontiguousarray(words).view(np.float64)[..., 0]


def _host(inputs: dict[str, Any], options: dict[str, Any], outputs: tuple[str, ...]) -> Mapping[str, Any]:
    results = _core.sequence_logps(inputs["logits"], inputs["labels"], _given(inputs, options), False)
    logps, num_tokens, token_logps, log_normalizers = results[:4]
    return {
        "logps": logps,
        "num_tokens": num_tokens,
        "token_logps": token_logps,
        "log_normalizers": _words(log_normalizers),
    }


def _host_backward(
    inputs: dict[str, Any], options: dict[str, Any], outputs: tuple[str, ...]
) -> Mapping[str, Any]:
    logits, given = inputs["logits"], _given(inputs, options)
    normalizers = _doubles(inputs["log_normalizers"])
    gradient = _core.sequence_logps_backward(
        logits, inputs["labels"], given, inputs["grad_logps"], normalizers, np.empty_like(logits), 0
    )
    return {"grad_logits": gradient}


def _attributes(options: dict[str, Any]) -> dict[str, Any]:
    """As `swiftdpo_logps_options` has them."""
    return {
        "ignore_index": np.int64(options["ignore_index"]),
        "shift": np.int32(options["shift"]),
        "average": np.int32(options["average"]),
        "logit_scale": np.float64(1 / options["temperature"]),
        "softcap": np.float64(options["softcap"] or 0),
        "ld_alpha": np.float64(options["ld_alpha"]),
        "nonfinite": np.int32(NONFINITE[options["nonfinite"]]),
    }


FORWARD = Call("sequence_logps", _host, _attributes)
BACKWARD = Call("sequence_logps_backward", _host_backward, _attributes)
NARROW_LABELS = {"labels": "labels_i32"}
FORWARD_I32 = Call("sequence_logps", _host, _attributes, NARROW_LABELS)
BACKWARD_I32 = Call("sequence_logps_backward", _host_backward, _attributes, NARROW_LABELS)


def _run(options: Options, inputs: Arrays, residuals: bool) -> Arrays:
    labels = inputs["labels"]
    sequences = (inputs["offsets"].shape[0] - 1,) if "offsets" in inputs else labels.shape[:1]
    double = _widest("float64")
    outputs = {
        "logps": shaped(sequences, double),
        "num_tokens": shaped(sequences, _widest("int64")),
        "token_logps": shaped(labels.shape, double),
    }
    if residuals:
        wide = double == jnp.float64
        outputs["log_normalizers"] = shaped(
            labels.shape if wide else (*labels.shape, 2), double if wide else jnp.uint32
        )
    return call(FORWARD_I32 if labels.dtype == jnp.int32 else FORWARD, options, inputs, outputs)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _logps(options: Options, inputs: Arrays) -> Arrays:
    return _run(options, inputs, residuals=False)


def _forward(options: Options, primals: dict[str, Any]) -> tuple[Arrays, Any]:
    inputs = {name: primal.value for name, primal in primals.items()}
    if primals.get("token_weights") is not None and primals["token_weights"].perturbed:
        raise ValueError(
            "token_weights is differentiated, but has no gradient here: "
            "give jax.lax.stop_gradient(token_weights)"
        )
    outputs = _run(options, inputs, residuals=True)
    return outputs, (inputs, outputs.pop("log_normalizers"))


def _backward(options: Options, residuals: Any, cotangents: dict[str, Any]) -> Any:
    inputs, log_normalizers = residuals
    results: dict[str, Any] = dict.fromkeys(inputs)
    by_logps = cotangents["logps"]
    if not isinstance(by_logps, jax.custom_derivatives.SymbolicZero):
        logits = inputs["logits"]
        outputs = {"grad_logits": shaped(logits.shape, logits.dtype)}
        given = inputs | {"grad_logps": by_logps, "log_normalizers": log_normalizers}
        target = BACKWARD_I32 if inputs["labels"].dtype == jnp.int32 else BACKWARD
        results["logits"] = call(target, options, given, outputs, {"logits": "grad_logits"})["grad_logits"]
    return (results,)


_logps.defvjp(_forward, _backward, symbolic_zeros=True)


@functools.partial(jax.jit, static_argnums=0)
def _outputs(options: Options, inputs: Arrays) -> SequenceLogps:
    outputs = _logps(options, inputs)
    token_logps = outputs["token_logps"]
    if dict(options)["shift"] and "offsets" not in inputs:
        token_logps = token_logps[:, :-1]
    return SequenceLogps(outputs["logps"], outputs["num_tokens"], jax.lax.stop_gradient(token_logps))


def sequence_logps(
    logits: Any,
    labels: Any,
    ignore_index: int = -100,
    *,
    shift: bool = True,
    average: bool = False,
    mask: Any | None = None,
    offsets: Any | None = None,
    token_weights: Any | None = None,
    ld_lengths: Any | None = None,
    ld_alpha: float = 1.0,
    temperature: float = 1.0,
    softcap: float | None = None,
    nonfinite: Nonfinite = "propagate",
) -> SequenceLogps:
    """Log-probabilities of sequences, from logits: `swiftdpo.sequence_logps`, which explains it, for JAX.

    Differentiable (reverse mode, once) by `logits`: float32, float64, float16 or bfloat16. XLA may let their
    gradient take the logits' memory, if nothing else needs them. Array arguments may be traced; the others
    are Python values.
    """
    arrays = {"logits": jnp.asarray(logits)}
    if arrays["logits"].dtype not in (jnp.float32, jnp.float64, jnp.float16, jnp.bfloat16):
        raise TypeError(
            f"logits has dtype {arrays['logits'].dtype}; expected float32, float64, float16 or bfloat16"
        )
    arrays |= as_integers({"labels": labels, "offsets": offsets, "ld_lengths": ld_lengths})
    if mask is not None:
        arrays["mask"] = as_mask("mask", mask)
    if token_weights is not None:
        arrays["token_weights"] = jnp.asarray(token_weights)
        if arrays["token_weights"].dtype not in (jnp.float32, jnp.float64):
            raise TypeError(
                f"token_weights has dtype {arrays['token_weights'].dtype}; expected float64 or float32"
            )
    shape = arrays["logits"].shape
    if len(shape) != (3 if offsets is None else 2):
        expected = "3, (B, T, V)" if offsets is None else "2, (N, V), for they are packed: offsets is given"
        raise ValueError(f"logits has {len(shape)} dimensions; expected {expected}")
    if offsets is not None and (arrays["offsets"].ndim != 1 or arrays["offsets"].size == 0):
        raise ValueError("offsets must have one dimension, and an element more than there are sequences")
    sequences = shape[:1] if offsets is None else (arrays["offsets"].size - 1,)
    rows = dict.fromkeys(("labels", "mask", "token_weights"), shape[:-1])
    check_shapes(arrays, rows | {"ld_lengths": sequences})
    options = {
        "ignore_index": ignore_index,
        "shift": shift,
        "average": average,
        "ld_alpha": ld_alpha,
        "temperature": temperature,
        "softcap": softcap,
        "nonfinite": nonfinite,
    }
    empty = dict.fromkeys(rows, (0, *shape[1:-1])) | {"logits": (0, *shape[1:]), "offsets": (1,)}
    refuse_bad_options(FORWARD, arrays, empty, options)
    results: SequenceLogps = _outputs(tuple(sorted(options.items())), arrays)
    return results
