"""Choices as the library numbers them: in the order of their types."""

from typing import get_args

from .._typing import FirstChoice, Nonfinite, Reduction, Ties, Unlisted


def _numbered(names: object) -> dict[str, int]:
    return {name: number for number, name in enumerate(get_args(names))}


REDUCTIONS = _numbered(Reduction)
NONFINITE = _numbered(Nonfinite)
UNLISTED = _numbered(Unlisted)
FIRST_CHOICES = _numbered(FirstChoice)
TIES = _numbered(Ties)
