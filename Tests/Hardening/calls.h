/*
 * The functions of the header and their families. A function that is not in here fails `make test-hardening`: add it to one
 * of the lists, and describe its call in a calls_*.c as `void <name without swiftdpo_>(call *c)`.
 */
#ifndef CALLS_H
#define CALLS_H

#include "call.h"

#define FUNCTIONS(X) \
  X(pairs, dpo_loss_f32) \
  X(pairs, dpo_loss_f64) \
  X(pairs, tdpo_loss_f32) \
  X(pairs, tdpo_loss_f64) \
  X(unpaired, bco_delta_add_f32) \
  X(unpaired, bco_delta_add_f64) \
  X(unpaired, humanline_clamp) \
  X(unpaired, kto_baseline_add_f32) \
  X(unpaired, kto_baseline_add_f64) \
  X(unpaired, kto_baseline_value) \
  X(unpaired, udm_weights_f32) \
  X(unpaired, udm_weights_f64) \
  X(unpaired, unpaired_loss_f32) \
  X(unpaired, unpaired_loss_f64) \
  X(unpaired, wpo_weights) \
  X(rankings, listwise_loss_f32) \
  X(rankings, listwise_loss_f64) \
  X(rankings, plackett_luce_loss_bf16) \
  X(rankings, plackett_luce_loss_f16) \
  X(rankings, plackett_luce_loss_f32) \
  X(rankings, plackett_luce_loss_f64) \
  X(logits, sequence_logps_backward_bf16) \
  X(logits, sequence_logps_backward_f16) \
  X(logits, sequence_logps_backward_f32) \
  X(logits, sequence_logps_backward_f64) \
  X(logits, sequence_logps_bf16) \
  X(logits, sequence_logps_f16) \
  X(logits, sequence_logps_f32) \
  X(logits, sequence_logps_f64) \
  X(shards, vocab_shard_bf16) \
  X(shards, vocab_shard_f16) \
  X(shards, vocab_shard_f32) \
  X(shards, vocab_shard_f64) \
  X(shards, vocab_shard_logps) \
  X(shards, vocab_shard_merge) \
  X(fused, fused_linear_dpo_loss_bf16) \
  X(fused, fused_linear_dpo_loss_f16) \
  X(fused, fused_linear_dpo_loss_f32) \
  X(fused, fused_linear_logps_bf16) \
  X(fused, fused_linear_logps_f16) \
  X(fused, fused_linear_logps_f32) \
  X(fused, fused_linear_logps_backward_bf16) \
  X(fused, fused_linear_logps_backward_f16) \
  X(fused, fused_linear_logps_backward_f32) \
  X(fused, fused_linear_plackett_luce_loss_bf16) \
  X(fused, fused_linear_plackett_luce_loss_f16) \
  X(fused, fused_linear_plackett_luce_loss_f32) \
  X(fused, fused_linear_unpaired_loss_bf16) \
  X(fused, fused_linear_unpaired_loss_f16) \
  X(fused, fused_linear_unpaired_loss_f32) \
  X(fused, fused_linear_vocab_shard_bf16) \
  X(fused, fused_linear_vocab_shard_f16) \
  X(fused, fused_linear_vocab_shard_f32) \
  X(fused, fused_linear_workspace_bf16) \
  X(fused, fused_linear_workspace_f16) \
  X(fused, fused_linear_workspace_f32) \
  X(policies, count_responses) \
  X(policies, divergence_f32) \
  X(policies, divergence_f64) \
  X(policies, enumerate_partition) \
  X(policies, implicit_rewards_f32) \
  X(policies, implicit_rewards_f64) \
  X(policies, kl_estimates_f32) \
  X(policies, kl_estimates_f64) \
  X(policies, optimal_policy_f32) \
  X(policies, optimal_policy_f64) \
  X(policies, partition_add_f32) \
  X(policies, partition_add_f64) \
  X(policies, partition_estimate) \
  X(policies, partition_merge) \
  X(policies, policy_from_rewards_f32) \
  X(policies, policy_from_rewards_f64) \
  X(policies, preference_probability_f32) \
  X(policies, preference_probability_f64) \
  X(policies, token_partition) \
  X(sampling, best_of_n_f64) \
  X(sampling, best_of_n_kl_bound) \
  X(sampling, importance_resample_f64) \
  X(sampling, philox4x32_10) \
  X(sampling, ranking_marginals_f64) \
  X(sampling, rejection_sample_f64) \
  X(sampling, sample_rankings_f64) \
  X(library, abi_version) \
  X(library, blas_info) \
  X(library, build_info) \
  X(library, num_threads) \
  X(library, set_num_threads) \
  X(library, status_string) \
  X(library, version)

/* Structs that have an _init function. */
#define INIT_FUNCTIONS(X) \
  X(bco_delta) \
  X(distributions_f32) \
  X(distributions_f64) \
  X(divergence_options) \
  X(divergence_results_f32) \
  X(divergence_results_f64) \
  X(dpo_options) \
  X(fused_options) \
  X(fused_results_f32) \
  X(fused_results_half) \
  X(kto_baseline) \
  X(linear_gradients_f32) \
  X(linear_gradients_half) \
  X(linear_head_f32) \
  X(linear_head_half) \
  X(list_results_f32) \
  X(list_results_f64) \
  X(lists_f32) \
  X(lists_f64) \
  X(listwise_options) \
  X(logits_f32) \
  X(logits_f64) \
  X(logits_half) \
  X(logps_options) \
  X(logps_results) \
  X(pair_metrics) \
  X(pair_results_f32) \
  X(pair_results_f64) \
  X(pairs_f32) \
  X(pairs_f64) \
  X(partition_estimates) \
  X(partition_options) \
  X(plackett_luce_options) \
  X(policy_options) \
  X(policy_results_f32) \
  X(policy_results_f64) \
  X(ranking_results_f32) \
  X(ranking_results_f64) \
  X(ranking_results_half) \
  X(rankings_f32) \
  X(rankings_f64) \
  X(rankings_half) \
  X(response_model) \
  X(responses_f32) \
  X(responses_f64) \
  X(shard_statistics) \
  X(tdpo_f32) \
  X(tdpo_f64) \
  X(token_model) \
  X(unpaired_f32) \
  X(unpaired_f64) \
  X(unpaired_metrics) \
  X(unpaired_options) \
  X(unpaired_results_f32) \
  X(unpaired_results_f64)

#endif
