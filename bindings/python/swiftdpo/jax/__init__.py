"""swiftdpo for JAX: losses over preferences, differentiated by JAX's own transformations.

- `dpo_loss`: pairs of responses, one preferred; all losses of `swiftdpo.dpo_loss`, alone or mixed
- `cpo_loss`, `simpo_loss`, `alphapo_loss`, `orpo_loss`, `slic_loss`, `tpo_loss`: pairs without a reference
- `kto_loss`, `bco_loss`: single responses, desirable or not
- `plackett_luce_loss`: ranked lists of responses
- `sequence_logps`: logits to log-probabilities of whole responses

Arguments are those of the functions of the same names in `swiftdpo`, which explain them, and results are
the same bits. Each works under `jax.jit`, `jax.grad` and `jax.vmap`. Gradients are those that the library
computes beside the loss: reverse mode, once; second derivatives and `jax.jvp` are refused by JAX.

On CPUs XLA calls the library itself (`implementation`). On other devices the host is called back:
log-probabilities are a small transfer, logits a large one.
"""

try:
    import jax as _jax  # noqa: F401
except ImportError as error:
    raise ImportError("swiftdpo.jax needs JAX: pip install 'swiftdpo[jax]'") from error

from ._calls import implementation
from ._logps import SequenceLogps, sequence_logps
from ._pairs import PairLoss, dpo_loss
from ._rankings import PlackettLuceLoss, plackett_luce_loss
from ._reference_free import alphapo_loss, cpo_loss, orpo_loss, simpo_loss, slic_loss, tpo_loss
from ._unpaired import ResponseLoss, bco_loss, kto_loss

__all__ = [
    "PairLoss",
    "PlackettLuceLoss",
    "ResponseLoss",
    "SequenceLogps",
    "alphapo_loss",
    "bco_loss",
    "cpo_loss",
    "dpo_loss",
    "implementation",
    "kto_loss",
    "orpo_loss",
    "plackett_luce_loss",
    "sequence_logps",
    "simpo_loss",
    "slic_loss",
    "tpo_loss",
]
