"""The losses of swiftdpo for PyTorch: functions and modules that autograd differentiates.

The functions have the names and arguments of those in `swiftdpo`, which say what they compute:

- `sequence_logps`, `token_logps`: logits to log-probabilities, and the gradient back, in place if you like
- `dpo_loss`: pairs of responses, one preferred
- `cpo_loss`, `simpo_loss`, `alphapo_loss`, `orpo_loss`, `slic_loss`, `tpo_loss`: pairs without a reference
- `tdpo_loss`: pairs with the divergence of each token
- `kto_loss`, `bco_loss`: single responses, desirable or not
- `plackett_luce_loss`, `listwise_loss`: lists of responses with a ranking, or with targets
- `wpo_weights`, `humanline_clamp`: what weighs or bounds tokens
- `fused_linear_logps`, `fused_linear_dpo_loss`, `fused_linear_kto_loss`, `fused_linear_bco_loss`,
  `fused_linear_plackett_luce_loss`: from hidden states, without logits; `FusedLinearDPOLoss` and its kin
  stand in the place of Liger Kernel's modules

Each loss is an `nn.Module`, too: `DPOLoss(beta=0.1)`. Gradients cannot be differentiated again, and say so.
"""

try:
    import torch as _torch  # noqa: F401
except ImportError as error:
    raise ImportError("swiftdpo.torch needs PyTorch: pip install 'swiftdpo[torch]'") from error

from .dpo import PairLoss, dpo_loss
from .fused import (
    FusedPairLoss,
    fused_linear_bco_loss,
    fused_linear_dpo_loss,
    fused_linear_kto_loss,
    fused_linear_logps,
    fused_linear_plackett_luce_loss,
)
from .liger import (
    FusedLinearCPOLoss,
    FusedLinearDPOLoss,
    FusedLinearKTOLoss,
    FusedLinearORPOLoss,
    FusedLinearSimPOLoss,
)
from .listwise import ListLoss, listwise_loss
from .logps import SequenceLogps, sequence_logps, token_logps
from .modules import (
    AlphaPOLoss,
    BCOLoss,
    CPOLoss,
    DPOLoss,
    KTOLoss,
    ListwiseLoss,
    ORPOLoss,
    RankingLoss,
    SequenceLogProbs,
    SimPOLoss,
    SLiCLoss,
    TDPOLoss,
    TPOLoss,
)
from .rankings import PlackettLuceLoss, plackett_luce_loss
from .reference_free import alphapo_loss, cpo_loss, orpo_loss, simpo_loss, slic_loss, tpo_loss
from .token_dpo import tdpo_loss
from .tokens import humanline_clamp, wpo_weights
from .unpaired import UnpairedLoss, bco_loss, kto_loss

__all__ = [
    "AlphaPOLoss",
    "BCOLoss",
    "CPOLoss",
    "DPOLoss",
    "FusedLinearCPOLoss",
    "FusedLinearDPOLoss",
    "FusedLinearKTOLoss",
    "FusedLinearORPOLoss",
    "FusedLinearSimPOLoss",
    "FusedPairLoss",
    "KTOLoss",
    "ListLoss",
    "ListwiseLoss",
    "ORPOLoss",
    "PairLoss",
    "PlackettLuceLoss",
    "RankingLoss",
    "SLiCLoss",
    "SequenceLogProbs",
    "SequenceLogps",
    "SimPOLoss",
    "TDPOLoss",
    "TPOLoss",
    "UnpairedLoss",
    "alphapo_loss",
    "bco_loss",
    "cpo_loss",
    "dpo_loss",
    "fused_linear_bco_loss",
    "fused_linear_dpo_loss",
    "fused_linear_kto_loss",
    "fused_linear_logps",
    "fused_linear_plackett_luce_loss",
    "humanline_clamp",
    "kto_loss",
    "listwise_loss",
    "orpo_loss",
    "plackett_luce_loss",
    "sequence_logps",
    "simpo_loss",
    "slic_loss",
    "tdpo_loss",
    "token_logps",
    "tpo_loss",
    "wpo_weights",
]
