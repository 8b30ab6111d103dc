"""Trainers of TRL (1.16) whose log-probabilities, losses and gradients are computed by this package.

Each is a subclass of the trainer of the same name, takes the same configuration, and logs the same metrics::

    from trl import DPOConfig
    from swiftdpo.trl import DPOTrainer  # instead of: from trl import DPOTrainer

`DPOTrainer` and `KTOTrainer` are TRL's stable ones; `CPOTrainer`, which is SimPO's, too, and `ORPOTrainer`
extend `trl.experimental`.
"""

from typing import TYPE_CHECKING, Any

try:
    import trl as _trl  # noqa: F401
except ImportError as error:
    raise ImportError("swiftdpo.trl needs TRL 1.16: pip install 'swiftdpo[trl]'") from error

if TYPE_CHECKING:
    from .cpo import CPOTrainer
    from .dpo import DPOTrainer
    from .kto import KTOTrainer
    from .orpo import ORPOTrainer

__all__ = ["CPOTrainer", "DPOTrainer", "KTOTrainer", "ORPOTrainer"]


def __getattr__(name: str) -> Any:
    """Imports a trainer when it is asked for: each one of TRL's takes its time."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{name.removesuffix('Trainer').lower()}", __name__), name)
