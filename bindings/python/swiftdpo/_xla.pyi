"""The calls of libswiftdpo as handlers of XLA's foreign-function interface."""

from typing import Any

#: PyCapsules, for jax.ffi.register_ffi_target.
handlers: dict[str, Any]
