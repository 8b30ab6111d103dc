"""Losses over pairs that need no reference: the package's own mixtures, of losses that JAX differentiates."""

import functools
from collections.abc import Callable
from typing import Any, cast

from .. import reference_free
from ._pairs import PairLoss, dpo_loss


def _for_jax(function: Callable[..., Any]) -> Callable[..., PairLoss]:
    @functools.wraps(function)
    def loss(*arguments: Any, **options: Any) -> PairLoss:
        return cast(PairLoss, function(*arguments, **options, _head=dpo_loss))

    loss.__doc__ = (
        f"`swiftdpo.{function.__name__}`, which explains it, for JAX. Further options: `dpo_loss`'s."
    )
    return loss


cpo_loss = _for_jax(reference_free.cpo_loss)
simpo_loss = _for_jax(reference_free.simpo_loss)
alphapo_loss = _for_jax(reference_free.alphapo_loss)
orpo_loss = _for_jax(reference_free.orpo_loss)
slic_loss = _for_jax(reference_free.slic_loss)
tpo_loss = _for_jax(reference_free.tpo_loss)
