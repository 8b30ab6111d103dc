"""Preference-learning losses and their exact gradients.

Log-probabilities or logits that you own go in, as NumPy arrays, or as anything that exports the buffer
protocol or DLPack from CPU memory; losses, gradients and rewards come back as NumPy arrays:

- `sequence_logps`: logits to log-probabilities of whole responses
- `dpo_loss`: pairs of responses, one preferred
- `cpo_loss`, `simpo_loss`, `alphapo_loss`, `orpo_loss`, `slic_loss`, `tpo_loss`: pairs without a reference
- `kto_loss`, `bco_loss`: single responses, desirable or not
- `tdpo_loss`, `sequential_kl`: pairs, with the KL divergence of each step
- `wpo_weights`, `humanline_clamp`: what weighs or bounds tokens
- `plackett_luce_loss`: ranked lists of responses; `sample_rankings` draws them
- `listwise_loss`: lists of responses with targets: cross-entropy, LiPO-lambda, PRO
- `fit_plackett_luce`: worths of items from rankings of them
- `sequence_logps_backward`: the gradient by log-probabilities to the gradient by logits, in place if you like
- `fused_linear_logps`, `fused_linear_logps_backward`, `fused_linear_dpo_loss`, `fused_linear_kto_loss`,
  `fused_linear_bco_loss`, `fused_linear_plackett_luce_loss`: the same from hidden states, without the logits
- `vocab_shard`, `merge_vocab_shards`, `vocab_shard_logps`: the same from shards of the vocabulary

And the mathematics behind the losses, where responses can be listed or sampled:

- `kl_divergence`, `divergence`, `kl_estimates`: how far one policy is from another
- `optimal_policy`, `implicit_rewards`, `policy_from_rewards`: rewards to policies, and back
- `preference_probability`: Bradley-Terry
- `token_partition`, `enumerate_partition`, `count_responses`: log Z over the tokens of a small reference
- `estimate_log_partition`: log Z from samples, with an honest error
- `rejection_sample`, `importance_resample`, `best_of_n_policy`: the optimal policy from reference samples

Conventions: natural logarithms (nats); `logps` are sums over a response's tokens; rankings run from best to
worst. `swiftdpo.h` states the contract of each call in full.
"""

from ._core import __version__
from ._typing import LogpsOptions
from .blas import BLASInfo, blas_info, use_blas
from .build import BuildInfo, build_info, num_threads, set_num_threads
from .divergences import (
    Divergence,
    KLEstimates,
    divergence,
    jensen_shannon_divergence,
    kl_divergence,
    kl_estimates,
)
from .dpo import DPOLoss, PairMetrics, dpo_loss
from .enumeration import (
    EnumeratedPartition,
    ResponseCount,
    TokenPartition,
    count_responses,
    enumerate_partition,
    token_partition,
)
from .fit import PlackettLuceFit, Progress, fit_plackett_luce
from .fused import (
    FusedDPOLoss,
    FusedGradients,
    FusedPlackettLuceLoss,
    FusedUnpairedLoss,
    fused_linear_bco_loss,
    fused_linear_dpo_loss,
    fused_linear_kto_loss,
    fused_linear_logps,
    fused_linear_logps_backward,
    fused_linear_plackett_luce_loss,
    fused_linear_vocab_shard,
    fused_linear_workspace,
)
from .listwise import ListwiseLoss, listwise_loss
from .logps import RowFlag, SequenceLogps, sequence_logps, sequence_logps_backward
from .partition import (
    LogPartitionAccumulator,
    LogPartitionEstimate,
    UnreliableEstimateWarning,
    estimate_log_partition,
)
from .policies import (
    OptimalPolicy,
    implicit_rewards,
    log_preference_probability,
    optimal_policy,
    policy_from_rewards,
    preference_probability,
)
from .policy_samples import (
    BestOfN,
    RejectionSample,
    best_of_n_kl_bound,
    best_of_n_policy,
    importance_resample,
    rejection_sample,
)
from .rankings import PlackettLuceLoss, plackett_luce_hessian_product, plackett_luce_loss
from .reference_free import alphapo_loss, cpo_loss, orpo_loss, simpo_loss, slic_loss, tpo_loss
from .sampling import RankingMarginals, ranking_log_probability, ranking_marginals, sample_rankings
from .shards import VocabShard, merge_vocab_shards, vocab_shard, vocab_shard_logps
from .token_dpo import SequentialKL, TDPOLoss, sequential_kl, tdpo_loss
from .tokens import HumanlineClamp, humanline_clamp, wpo_weights
from .unpaired import BCODelta, KTOBaseline, UnpairedLoss, UnpairedMetrics, bco_loss, kto_loss, udm_weights

__all__ = [
    "BCODelta",
    "BLASInfo",
    "BestOfN",
    "BuildInfo",
    "DPOLoss",
    "Divergence",
    "EnumeratedPartition",
    "FusedDPOLoss",
    "FusedGradients",
    "FusedPlackettLuceLoss",
    "FusedUnpairedLoss",
    "HumanlineClamp",
    "KLEstimates",
    "KTOBaseline",
    "ListwiseLoss",
    "LogPartitionAccumulator",
    "LogPartitionEstimate",
    "LogpsOptions",
    "OptimalPolicy",
    "PairMetrics",
    "PlackettLuceFit",
    "PlackettLuceLoss",
    "Progress",
    "RankingMarginals",
    "RejectionSample",
    "ResponseCount",
    "RowFlag",
    "SequenceLogps",
    "SequentialKL",
    "TDPOLoss",
    "TokenPartition",
    "UnpairedLoss",
    "UnpairedMetrics",
    "UnreliableEstimateWarning",
    "VocabShard",
    "__version__",
    "alphapo_loss",
    "bco_loss",
    "best_of_n_kl_bound",
    "best_of_n_policy",
    "blas_info",
    "build_info",
    "count_responses",
    "cpo_loss",
    "divergence",
    "dpo_loss",
    "enumerate_partition",
    "estimate_log_partition",
    "fit_plackett_luce",
    "fused_linear_bco_loss",
    "fused_linear_dpo_loss",
    "fused_linear_kto_loss",
    "fused_linear_logps",
    "fused_linear_logps_backward",
    "fused_linear_plackett_luce_loss",
    "fused_linear_vocab_shard",
    "fused_linear_workspace",
    "humanline_clamp",
    "implicit_rewards",
    "importance_resample",
    "jensen_shannon_divergence",
    "kl_divergence",
    "kl_estimates",
    "kto_loss",
    "listwise_loss",
    "log_preference_probability",
    "merge_vocab_shards",
    "num_threads",
    "optimal_policy",
    "orpo_loss",
    "plackett_luce_hessian_product",
    "plackett_luce_loss",
    "policy_from_rewards",
    "preference_probability",
    "ranking_log_probability",
    "ranking_marginals",
    "rejection_sample",
    "sample_rankings",
    "sequence_logps",
    "sequence_logps_backward",
    "sequential_kl",
    "set_num_threads",
    "simpo_loss",
    "slic_loss",
    "tdpo_loss",
    "token_partition",
    "tpo_loss",
    "udm_weights",
    "use_blas",
    "vocab_shard",
    "vocab_shard_logps",
    "wpo_weights",
]
