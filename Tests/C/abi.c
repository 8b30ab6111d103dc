/* The pins of abi.h, and the two ways to start a struct: its INIT macro and its _init function. */
#include "abi.h"
#include "check.h"

/**
 * An _init function writes what its macro says, in every byte of what the struct had in the first release of this ABI
 * version, in words, and none behind it: an older program has no more. A struct that grows keeps its number here.
 */
#define CHECK_INIT(type, MACRO, first) \
  do { \
    const type by_macro = MACRO; \
    const type untouched = *(const type *)memset(&(type){0}, 0x5A, sizeof(type)); \
    type by_function = untouched; \
    type##_init(&by_function); \
    CHECK(by_macro.struct_size == sizeof(type)); \
    CHECK(by_function.struct_size == (first) * 8); \
    CHECK_SAME_BITS((size_t *)&by_function + 1, (const size_t *)&by_macro + 1, (first) * 8 - 8); \
    CHECK_SAME_BITS((size_t *)&by_function + (first), (const size_t *)&untouched + (first), \
                    sizeof(type) - (first) * 8); \
    type##_init(NULL); \
  } while (0)

void test_abi(void) {
  CHECK_INIT(swiftdpo_pairs_f32, SWIFTDPO_PAIRS_F32_INIT, 16);
  CHECK_INIT(swiftdpo_pairs_f64, SWIFTDPO_PAIRS_F64_INIT, 16);
  CHECK_INIT(swiftdpo_dpo_options, SWIFTDPO_DPO_OPTIONS_INIT, 14);
  CHECK_INIT(swiftdpo_pair_metrics, SWIFTDPO_PAIR_METRICS_INIT, 16);
  CHECK_INIT(swiftdpo_pair_results_f32, SWIFTDPO_PAIR_RESULTS_F32_INIT, 16);
  CHECK_INIT(swiftdpo_pair_results_f64, SWIFTDPO_PAIR_RESULTS_F64_INIT, 16);
  CHECK_INIT(swiftdpo_tdpo_f32, SWIFTDPO_TDPO_F32_INIT, 8);
  CHECK_INIT(swiftdpo_tdpo_f64, SWIFTDPO_TDPO_F64_INIT, 8);
  CHECK_INIT(swiftdpo_unpaired_f32, SWIFTDPO_UNPAIRED_F32_INIT, 7);
  CHECK_INIT(swiftdpo_unpaired_f64, SWIFTDPO_UNPAIRED_F64_INIT, 7);
  CHECK_INIT(swiftdpo_unpaired_options, SWIFTDPO_UNPAIRED_OPTIONS_INIT, 7);
  CHECK_INIT(swiftdpo_unpaired_metrics, SWIFTDPO_UNPAIRED_METRICS_INIT, 8);
  CHECK_INIT(swiftdpo_unpaired_results_f32, SWIFTDPO_UNPAIRED_RESULTS_F32_INIT, 9);
  CHECK_INIT(swiftdpo_unpaired_results_f64, SWIFTDPO_UNPAIRED_RESULTS_F64_INIT, 9);
  CHECK_INIT(swiftdpo_kto_baseline, SWIFTDPO_KTO_BASELINE_INIT, 7);
  CHECK_INIT(swiftdpo_bco_delta, SWIFTDPO_BCO_DELTA_INIT, 3);
  CHECK_INIT(swiftdpo_rankings_half, SWIFTDPO_RANKINGS_HALF_INIT, 16);
  CHECK_INIT(swiftdpo_rankings_f32, SWIFTDPO_RANKINGS_F32_INIT, 16);
  CHECK_INIT(swiftdpo_rankings_f64, SWIFTDPO_RANKINGS_F64_INIT, 16);
  CHECK_INIT(swiftdpo_plackett_luce_options, SWIFTDPO_PLACKETT_LUCE_OPTIONS_INIT, 6);
  CHECK_INIT(swiftdpo_ranking_results_half, SWIFTDPO_RANKING_RESULTS_HALF_INIT, 9);
  CHECK_INIT(swiftdpo_ranking_results_f32, SWIFTDPO_RANKING_RESULTS_F32_INIT, 9);
  CHECK_INIT(swiftdpo_ranking_results_f64, SWIFTDPO_RANKING_RESULTS_F64_INIT, 9);
  CHECK_INIT(swiftdpo_lists_f32, SWIFTDPO_LISTS_F32_INIT, 9);
  CHECK_INIT(swiftdpo_lists_f64, SWIFTDPO_LISTS_F64_INIT, 9);
  CHECK_INIT(swiftdpo_listwise_options, SWIFTDPO_LISTWISE_OPTIONS_INIT, 4);
  CHECK_INIT(swiftdpo_list_results_f32, SWIFTDPO_LIST_RESULTS_F32_INIT, 5);
  CHECK_INIT(swiftdpo_list_results_f64, SWIFTDPO_LIST_RESULTS_F64_INIT, 5);
  CHECK_INIT(swiftdpo_logits_f32, SWIFTDPO_LOGITS_F32_INIT, 13);
  CHECK_INIT(swiftdpo_logits_f64, SWIFTDPO_LOGITS_F64_INIT, 13);
  CHECK_INIT(swiftdpo_logits_half, SWIFTDPO_LOGITS_HALF_INIT, 13);
  CHECK_INIT(swiftdpo_logps_options, SWIFTDPO_LOGPS_OPTIONS_INIT, 7);
  CHECK_INIT(swiftdpo_logps_results, SWIFTDPO_LOGPS_RESULTS_INIT, 10);
  CHECK_INIT(swiftdpo_shard_statistics, SWIFTDPO_SHARD_STATISTICS_INIT, 4);
  CHECK_INIT(swiftdpo_linear_head_f32, SWIFTDPO_LINEAR_HEAD_F32_INIT, 16);
  CHECK_INIT(swiftdpo_linear_head_half, SWIFTDPO_LINEAR_HEAD_HALF_INIT, 16);
  CHECK_INIT(swiftdpo_fused_options, SWIFTDPO_FUSED_OPTIONS_INIT, 5);
  CHECK_INIT(swiftdpo_linear_gradients_f32, SWIFTDPO_LINEAR_GRADIENTS_F32_INIT, 5);
  CHECK_INIT(swiftdpo_linear_gradients_half, SWIFTDPO_LINEAR_GRADIENTS_HALF_INIT, 5);
  CHECK_INIT(swiftdpo_fused_results_f32, SWIFTDPO_FUSED_RESULTS_F32_INIT, 4);
  CHECK_INIT(swiftdpo_fused_results_half, SWIFTDPO_FUSED_RESULTS_HALF_INIT, 4);
  CHECK_INIT(swiftdpo_distributions_f32, SWIFTDPO_DISTRIBUTIONS_F32_INIT, 5);
  CHECK_INIT(swiftdpo_distributions_f64, SWIFTDPO_DISTRIBUTIONS_F64_INIT, 5);
  CHECK_INIT(swiftdpo_divergence_options, SWIFTDPO_DIVERGENCE_OPTIONS_INIT, 2);
  CHECK_INIT(swiftdpo_divergence_results_f32, SWIFTDPO_DIVERGENCE_RESULTS_F32_INIT, 4);
  CHECK_INIT(swiftdpo_divergence_results_f64, SWIFTDPO_DIVERGENCE_RESULTS_F64_INIT, 4);
  CHECK_INIT(swiftdpo_responses_f32, SWIFTDPO_RESPONSES_F32_INIT, 8);
  CHECK_INIT(swiftdpo_responses_f64, SWIFTDPO_RESPONSES_F64_INIT, 8);
  CHECK_INIT(swiftdpo_policy_options, SWIFTDPO_POLICY_OPTIONS_INIT, 3);
  CHECK_INIT(swiftdpo_policy_results_f32, SWIFTDPO_POLICY_RESULTS_F32_INIT, 10);
  CHECK_INIT(swiftdpo_policy_results_f64, SWIFTDPO_POLICY_RESULTS_F64_INIT, 10);
  CHECK_INIT(swiftdpo_partition_estimates, SWIFTDPO_PARTITION_ESTIMATES_INIT, 6);
  CHECK_INIT(swiftdpo_token_model, SWIFTDPO_TOKEN_MODEL_INIT, 9);
  CHECK_INIT(swiftdpo_partition_options, SWIFTDPO_PARTITION_OPTIONS_INIT, 3);
  CHECK_INIT(swiftdpo_response_model, SWIFTDPO_RESPONSE_MODEL_INIT, 7);

  /* What of it is not 0. */
  const swiftdpo_logps_options logps = SWIFTDPO_LOGPS_OPTIONS_INIT;
  CHECK(logps.ignore_index == -100 && logps.shift == 1 && logps.logit_scale == 1 && logps.ld_alpha == 1);
  CHECK(logps.average == 0 && logps.softcap == 0 && logps.nonfinite == SWIFTDPO_NONFINITE_ERROR);
  const swiftdpo_policy_options policy = SWIFTDPO_POLICY_OPTIONS_INIT;
  CHECK(policy.beta == 0.1 && policy.nonfinite == SWIFTDPO_NONFINITE_ERROR);
  const swiftdpo_dpo_options dpo = SWIFTDPO_DPO_OPTIONS_INIT;
  CHECK(dpo.beta == 0.1 && dpo.label_smoothing == 0);
  const swiftdpo_plackett_luce_options plackett_luce = SWIFTDPO_PLACKETT_LUCE_OPTIONS_INIT;
  CHECK(plackett_luce.beta == 0.1);
}
