"""The losses of swiftdpo for PyTorch: functions and modules that autograd differentiates."""

try:
    import torch as _torch  # noqa: F401
except ImportError as error:
    raise ImportError("swiftdpo.torch needs PyTorch: pip install 'swiftdpo[torch]'") from error

from .dpo import PairLoss, dpo_loss
from .logps import SequenceLogps, sequence_logps, token_logps
from .rankings import PlackettLuceLoss, plackett_luce_loss

__all__ = [
    "PairLoss",
    "PlackettLuceLoss",
    "SequenceLogps",
    "dpo_loss",
    "plackett_luce_loss",
    "sequence_logps",
    "token_logps",
]
