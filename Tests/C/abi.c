/* The pins of abi.h, and the two ways to start a struct: its INIT macro and its _init function. */
#include "abi.h"
#include "check.h"

/** An _init function writes what its macro says, in every byte. */
#define CHECK_INIT(type, MACRO) \
  do { \
    const type by_macro = MACRO; \
    type by_function; \
    memset(&by_function, 0x5A, sizeof by_function); \
    type##_init(&by_function); \
    CHECK(by_macro.struct_size == sizeof(type)); \
    CHECK_SAME_BITS(&by_function, &by_macro, sizeof by_macro); \
    type##_init(NULL); \
  } while (0)

void test_abi(void) {
  CHECK_INIT(swiftdpo_pairs_f32, SWIFTDPO_PAIRS_F32_INIT);
  CHECK_INIT(swiftdpo_pairs_f64, SWIFTDPO_PAIRS_F64_INIT);
  CHECK_INIT(swiftdpo_dpo_options, SWIFTDPO_DPO_OPTIONS_INIT);
  CHECK_INIT(swiftdpo_pair_results_f32, SWIFTDPO_PAIR_RESULTS_F32_INIT);
  CHECK_INIT(swiftdpo_pair_results_f64, SWIFTDPO_PAIR_RESULTS_F64_INIT);
  CHECK_INIT(swiftdpo_pair_metrics, SWIFTDPO_PAIR_METRICS_INIT);
  CHECK_INIT(swiftdpo_unpaired_f32, SWIFTDPO_UNPAIRED_F32_INIT);
  CHECK_INIT(swiftdpo_unpaired_f64, SWIFTDPO_UNPAIRED_F64_INIT);
  CHECK_INIT(swiftdpo_unpaired_options, SWIFTDPO_UNPAIRED_OPTIONS_INIT);
  CHECK_INIT(swiftdpo_unpaired_metrics, SWIFTDPO_UNPAIRED_METRICS_INIT);
  CHECK_INIT(swiftdpo_unpaired_results_f32, SWIFTDPO_UNPAIRED_RESULTS_F32_INIT);
  CHECK_INIT(swiftdpo_unpaired_results_f64, SWIFTDPO_UNPAIRED_RESULTS_F64_INIT);
  CHECK_INIT(swiftdpo_kto_baseline, SWIFTDPO_KTO_BASELINE_INIT);
  CHECK_INIT(swiftdpo_bco_delta, SWIFTDPO_BCO_DELTA_INIT);
  CHECK_INIT(swiftdpo_rankings_f32, SWIFTDPO_RANKINGS_F32_INIT);
  CHECK_INIT(swiftdpo_rankings_f64, SWIFTDPO_RANKINGS_F64_INIT);
  CHECK_INIT(swiftdpo_plackett_luce_options, SWIFTDPO_PLACKETT_LUCE_OPTIONS_INIT);
  CHECK_INIT(swiftdpo_ranking_results_f32, SWIFTDPO_RANKING_RESULTS_F32_INIT);
  CHECK_INIT(swiftdpo_ranking_results_f64, SWIFTDPO_RANKING_RESULTS_F64_INIT);
  CHECK_INIT(swiftdpo_lists_f32, SWIFTDPO_LISTS_F32_INIT);
  CHECK_INIT(swiftdpo_lists_f64, SWIFTDPO_LISTS_F64_INIT);
  CHECK_INIT(swiftdpo_listwise_options, SWIFTDPO_LISTWISE_OPTIONS_INIT);
  CHECK_INIT(swiftdpo_list_results_f32, SWIFTDPO_LIST_RESULTS_F32_INIT);
  CHECK_INIT(swiftdpo_list_results_f64, SWIFTDPO_LIST_RESULTS_F64_INIT);
  CHECK_INIT(swiftdpo_logits_f32, SWIFTDPO_LOGITS_F32_INIT);
  CHECK_INIT(swiftdpo_logits_f64, SWIFTDPO_LOGITS_F64_INIT);
  CHECK_INIT(swiftdpo_logits_half, SWIFTDPO_LOGITS_HALF_INIT);
  CHECK_INIT(swiftdpo_logps_results, SWIFTDPO_LOGPS_RESULTS_INIT);
  CHECK_INIT(swiftdpo_shard_statistics, SWIFTDPO_SHARD_STATISTICS_INIT);
  CHECK_INIT(swiftdpo_distributions_f32, SWIFTDPO_DISTRIBUTIONS_F32_INIT);
  CHECK_INIT(swiftdpo_distributions_f64, SWIFTDPO_DISTRIBUTIONS_F64_INIT);
  CHECK_INIT(swiftdpo_divergence_options, SWIFTDPO_DIVERGENCE_OPTIONS_INIT);
  CHECK_INIT(swiftdpo_divergence_results_f32, SWIFTDPO_DIVERGENCE_RESULTS_F32_INIT);
  CHECK_INIT(swiftdpo_divergence_results_f64, SWIFTDPO_DIVERGENCE_RESULTS_F64_INIT);
  CHECK_INIT(swiftdpo_partition_estimates, SWIFTDPO_PARTITION_ESTIMATES_INIT);
  CHECK_INIT(swiftdpo_token_model, SWIFTDPO_TOKEN_MODEL_INIT);
  CHECK_INIT(swiftdpo_partition_options, SWIFTDPO_PARTITION_OPTIONS_INIT);
  CHECK_INIT(swiftdpo_response_model, SWIFTDPO_RESPONSE_MODEL_INIT);
  CHECK_INIT(swiftdpo_responses_f32, SWIFTDPO_RESPONSES_F32_INIT);
  CHECK_INIT(swiftdpo_responses_f64, SWIFTDPO_RESPONSES_F64_INIT);
  CHECK_INIT(swiftdpo_policy_results_f32, SWIFTDPO_POLICY_RESULTS_F32_INIT);
  CHECK_INIT(swiftdpo_policy_results_f64, SWIFTDPO_POLICY_RESULTS_F64_INIT);

  CHECK_INIT(swiftdpo_linear_head_f32, SWIFTDPO_LINEAR_HEAD_F32_INIT);
  CHECK_INIT(swiftdpo_linear_head_half, SWIFTDPO_LINEAR_HEAD_HALF_INIT);
  CHECK_INIT(swiftdpo_fused_options, SWIFTDPO_FUSED_OPTIONS_INIT);
  CHECK_INIT(swiftdpo_fused_results_f32, SWIFTDPO_FUSED_RESULTS_F32_INIT);
  CHECK_INIT(swiftdpo_fused_results_half, SWIFTDPO_FUSED_RESULTS_HALF_INIT);

  /* Padding at the end, so field by field. */
  const swiftdpo_linear_gradients_f32 none = SWIFTDPO_LINEAR_GRADIENTS_F32_INIT;
  const swiftdpo_linear_gradients_half none_half = SWIFTDPO_LINEAR_GRADIENTS_HALF_INIT;
  swiftdpo_linear_gradients_f32 gradients;
  swiftdpo_linear_gradients_half gradients_half;
  memset(&gradients, 0x5A, sizeof gradients);
  memset(&gradients_half, 0x5A, sizeof gradients_half);
  swiftdpo_linear_gradients_f32_init(&gradients);
  swiftdpo_linear_gradients_half_init(&gradients_half);
  CHECK_SAME_BITS(&gradients, &none, offsetof(swiftdpo_linear_gradients_f32, accumulate) + sizeof none.accumulate);
  CHECK_SAME_BITS(&gradients_half, &none_half,
                  offsetof(swiftdpo_linear_gradients_half, accumulate) + sizeof none_half.accumulate);
  const swiftdpo_logps_options by_macro = SWIFTDPO_LOGPS_OPTIONS_INIT;
  swiftdpo_logps_options by_function;
  swiftdpo_logps_options_init(&by_function);
  CHECK(by_function.struct_size == by_macro.struct_size && by_macro.struct_size == sizeof by_macro);
  CHECK(by_function.ignore_index == -100 && by_macro.ignore_index == -100);
  CHECK(by_function.shift == 1 && by_macro.shift == 1);
  CHECK(by_function.average == 0 && by_macro.average == 0);
  CHECK(by_function.logit_scale == 1 && by_macro.logit_scale == 1);
  CHECK(by_function.softcap == 0 && by_macro.softcap == 0);
  CHECK(by_function.ld_alpha == 1 && by_macro.ld_alpha == 1);
  CHECK(by_function.nonfinite == SWIFTDPO_NONFINITE_ERROR && by_macro.nonfinite == SWIFTDPO_NONFINITE_ERROR);
  swiftdpo_logps_options_init(NULL);

  const swiftdpo_policy_options policy_by_macro = SWIFTDPO_POLICY_OPTIONS_INIT;
  swiftdpo_policy_options policy_by_function;
  swiftdpo_policy_options_init(&policy_by_function);
  CHECK(policy_by_function.struct_size == sizeof policy_by_macro &&
        policy_by_macro.struct_size == sizeof policy_by_macro);
  CHECK(policy_by_function.beta == 0.1 && policy_by_macro.beta == 0.1);
  CHECK(policy_by_function.nonfinite == SWIFTDPO_NONFINITE_ERROR);

  const swiftdpo_dpo_options dpo = SWIFTDPO_DPO_OPTIONS_INIT;
  CHECK(dpo.beta == 0.1 && dpo.label_smoothing == 0);
  const swiftdpo_plackett_luce_options plackett_luce = SWIFTDPO_PLACKETT_LUCE_OPTIONS_INIT;
  CHECK(plackett_luce.beta == 0.1);
}
