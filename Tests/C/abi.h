/*
 * What a compiled program has built in and a later library may not change: the values of enumerators and the layout of
 * structs. Checked at compile time, by C in abi.c and by C++ in consumer.cpp. New fields and values only ever add lines.
 */
#ifndef ABI_H
#define ABI_H

#include "swiftdpo.h"

#ifdef __cplusplus
#define PIN(condition) static_assert(condition, #condition)
#else
#define PIN(condition) _Static_assert(condition, #condition)
#endif

PIN(SWIFTDPO_OK == 0);
PIN(SWIFTDPO_ERROR_NULL_POINTER == 10);
PIN(SWIFTDPO_ERROR_STRUCT_SIZE == 11);
PIN(SWIFTDPO_ERROR_MISALIGNED == 12);
PIN(SWIFTDPO_ERROR_SIZE_OVERFLOW == 13);
PIN(SWIFTDPO_ERROR_OVERLAP == 14);
PIN(SWIFTDPO_ERROR_STRIDE == 15);
PIN(SWIFTDPO_ERROR_COUNT == 16);
PIN(SWIFTDPO_ERROR_BETA == 20);
PIN(SWIFTDPO_ERROR_LABEL_SMOOTHING == 21);
PIN(SWIFTDPO_ERROR_REDUCTION == 22);
PIN(SWIFTDPO_ERROR_NONFINITE_POLICY == 23);
PIN(SWIFTDPO_ERROR_FLAG == 24);
PIN(SWIFTDPO_ERROR_LOGIT_SCALE == 25);
PIN(SWIFTDPO_ERROR_SOFTCAP == 26);
PIN(SWIFTDPO_ERROR_LD_ALPHA == 27);
PIN(SWIFTDPO_ERROR_THREADS == 28);
PIN(SWIFTDPO_ERROR_SHARDED == 29);
PIN(SWIFTDPO_ERROR_NONFINITE == 30);
PIN(SWIFTDPO_ERROR_LABEL == 31);
PIN(SWIFTDPO_ERROR_NOT_A_RANKING == 32);
PIN(SWIFTDPO_ERROR_SOFT_LABEL == 33);
PIN(SWIFTDPO_ERROR_WEIGHT == 34);
PIN(SWIFTDPO_ERROR_OFFSETS == 35);
PIN(SWIFTDPO_ERROR_DIVERGENCE_KIND == 70);
PIN(SWIFTDPO_ERROR_LOG_PROBABILITY == 71);
PIN(SWIFTDPO_ERROR_SUPPORT == 72);
PIN(SWIFTDPO_ERROR_ACCUMULATOR == 73);
PIN(SWIFTDPO_ERROR_TERMS == 74);
PIN(SWIFTDPO_ERROR_STATE == 75);
PIN(SWIFTDPO_ERROR_CALLBACK == 76);
PIN(SWIFTDPO_ERROR_BOUND == 77);
PIN(SWIFTDPO_ERROR_OUT_OF_MEMORY == 40);
PIN(SWIFTDPO_ERROR_BLAS == 41);
PIN(SWIFTDPO_ERROR_WORKSPACE == 42);
PIN(SWIFTDPO_ERROR_RANK == 51);
PIN(SWIFTDPO_ERROR_CHOICE_OF_INPUT == 52);
PIN(SWIFTDPO_ERROR_UNLISTED == 53);

PIN(SWIFTDPO_ERROR_LOSS_TYPE == 60);
PIN(SWIFTDPO_ERROR_F_DIVERGENCE == 61);
PIN(SWIFTDPO_ERROR_PARAMETER == 62);
PIN(SWIFTDPO_ERROR_REFERENCE == 63);
PIN(SWIFTDPO_ERROR_LENGTH == 64);

PIN(SWIFTDPO_LOSS_SIGMOID == 0);
PIN(SWIFTDPO_LOSS_ROBUST == 1);
PIN(SWIFTDPO_LOSS_HINGE == 2);
PIN(SWIFTDPO_LOSS_IPO == 3);
PIN(SWIFTDPO_LOSS_EXO_PAIR == 4);
PIN(SWIFTDPO_LOSS_NCA_PAIR == 5);
PIN(SWIFTDPO_LOSS_BCO_PAIR == 6);
PIN(SWIFTDPO_LOSS_SPPO_HARD == 7);
PIN(SWIFTDPO_LOSS_AOT == 8);
PIN(SWIFTDPO_LOSS_AOT_UNPAIRED == 9);
PIN(SWIFTDPO_LOSS_APO_ZERO == 10);
PIN(SWIFTDPO_LOSS_APO_DOWN == 11);
PIN(SWIFTDPO_LOSS_DISCOPOP == 12);
PIN(SWIFTDPO_LOSS_SIGMOID_NORM == 13);
PIN(SWIFTDPO_LOSS_SFT == 14);
PIN(SWIFTDPO_LOSS_IPO_NORM == 15);
PIN(SWIFTDPO_LOSS_RPO_BWD_KL == 16);
PIN(SWIFTDPO_LOSS_RPO_FWD_KL == 17);
PIN(SWIFTDPO_LOSS_RPO_SQ == 18);
PIN(SWIFTDPO_LOSS_RAO_KUPPER == 19);
PIN(SWIFTDPO_LOSS_DAVIDSON == 20);
PIN(SWIFTDPO_LOSS_ALPHAPO == 21);
PIN(SWIFTDPO_LOSS_ODDS_RATIO == 22);
PIN(SWIFTDPO_LOSS_SLIC == 23);
PIN(SWIFTDPO_REVERSE_KL == 0);
PIN(SWIFTDPO_FORWARD_KL == 1);
PIN(SWIFTDPO_JS_DIVERGENCE == 2);
PIN(SWIFTDPO_ALPHA_DIVERGENCE == 3);

PIN(SWIFTDPO_DIVERGENCE_KL == 0);
PIN(SWIFTDPO_DIVERGENCE_REVERSE_KL == 1);
PIN(SWIFTDPO_DIVERGENCE_GENERALIZED_KL == 2);
PIN(SWIFTDPO_DIVERGENCE_JENSEN_SHANNON == 3);
PIN(SWIFTDPO_REDUCTION_MEAN == 0);
PIN(SWIFTDPO_REDUCTION_SUM == 1);
PIN(SWIFTDPO_REDUCTION_NONE == 2);
PIN(SWIFTDPO_NONFINITE_ERROR == 0);
PIN(SWIFTDPO_NONFINITE_PROPAGATE == 1);
PIN(SWIFTDPO_NONFINITE_ERROR_LATE == 2);
PIN(SWIFTDPO_ROW_SOUND == 0);
PIN(SWIFTDPO_ROW_IMPOSSIBLE == 1);
PIN(SWIFTDPO_ROW_NONFINITE == 2);

/* On machines with 64-bit pointers. Structs of one word per field have no other layout than their order. */
#if SIZE_MAX == UINT64_MAX
PIN(sizeof(swiftdpo_status) == 4);
PIN(sizeof(swiftdpo_culprit) == 2 * 8);
PIN(sizeof(swiftdpo_pairs_f32) == 16 * 8);
PIN(sizeof(swiftdpo_pairs_f64) == 16 * 8);
PIN(offsetof(swiftdpo_pairs_f64, policy_chosen_logps) == 2 * 8);
PIN(offsetof(swiftdpo_pairs_f64, betas) == 6 * 8);
PIN(offsetof(swiftdpo_pairs_f64, soft_labels) == 9 * 8);
PIN(sizeof(swiftdpo_dpo_options) == 14 * 8);
PIN(offsetof(swiftdpo_dpo_options, label_smoothing) == 2 * 8);
PIN(offsetof(swiftdpo_dpo_options, nonfinite) == 3 * 8 + 4);
PIN(offsetof(swiftdpo_dpo_options, f_divergence) == 7 * 8);
PIN(offsetof(swiftdpo_dpo_options, alphapo_alpha) == 13 * 8);
PIN(sizeof(swiftdpo_pair_results_f32) == 16 * 8);
PIN(sizeof(swiftdpo_pair_results_f64) == 16 * 8);
PIN(offsetof(swiftdpo_pair_results_f64, gradient_weights) == 7 * 8);
PIN(offsetof(swiftdpo_pair_results_f64, metrics) == 15 * 8);
PIN(sizeof(swiftdpo_pair_metrics) == 16 * 8);
PIN(sizeof(swiftdpo_tdpo_f32) == 8 * 8);
PIN(sizeof(swiftdpo_tdpo_f64) == 8 * 8);
PIN(offsetof(swiftdpo_tdpo_f64, alpha) == 3 * 8);
PIN(offsetof(swiftdpo_tdpo_f64, loss_type) == 4 * 8);
PIN(offsetof(swiftdpo_tdpo_f64, kl_margins) == 7 * 8);
PIN(SWIFTDPO_TDPO2 == 0);
PIN(SWIFTDPO_TDPO1 == 1);
PIN(sizeof(swiftdpo_unpaired_f32) == 7 * 8);
PIN(sizeof(swiftdpo_unpaired_options) == 7 * 8);
PIN(offsetof(swiftdpo_unpaired_options, reference_free) == 6 * 8 + 4);
PIN(sizeof(swiftdpo_unpaired_results_f64) == 9 * 8);
PIN(sizeof(swiftdpo_unpaired_metrics) == 8 * 8);
PIN(sizeof(swiftdpo_kto_baseline) == 7 * 8);
PIN(sizeof(swiftdpo_bco_delta) == 3 * 8);
PIN(SWIFTDPO_UNPAIRED_KTO == 0);
PIN(SWIFTDPO_UNPAIRED_APO_ZERO == 1);
PIN(SWIFTDPO_UNPAIRED_BCO == 2);
PIN(SWIFTDPO_KTO_GLOBAL == 0);
PIN(SWIFTDPO_KTO_NONZERO == 3);
PIN(sizeof(swiftdpo_rankings_f32) == 16 * 8);
PIN(sizeof(swiftdpo_rankings_f64) == 16 * 8);
PIN(offsetof(swiftdpo_rankings_f64, rankings) == 5 * 8);
PIN(offsetof(swiftdpo_rankings_f64, direction) == 13 * 8);
PIN(sizeof(swiftdpo_plackett_luce_options) == 6 * 8);
PIN(offsetof(swiftdpo_plackett_luce_options, nonfinite) == 2 * 8 + 4);
PIN(offsetof(swiftdpo_plackett_luce_options, top) == 4 * 8);
PIN(sizeof(swiftdpo_ranking_results_f32) == 9 * 8);
PIN(sizeof(swiftdpo_ranking_results_f64) == 9 * 8);
PIN(SWIFTDPO_UNLISTED_REMAIN == 2);
PIN(SWIFTDPO_FIRST_CHOICE_WORST == 1);
PIN(SWIFTDPO_TIES_DAVIDSON == 3);
PIN(SWIFTDPO_ERROR_TIE == 54);
PIN(SWIFTDPO_ERROR_TIE_STRENGTH == 55);
PIN(SWIFTDPO_ERROR_TARGET == 56);
PIN(sizeof(swiftdpo_lists_f32) == 9 * 8);
PIN(sizeof(swiftdpo_lists_f64) == 9 * 8);
PIN(sizeof(swiftdpo_listwise_options) == 4 * 8);
PIN(offsetof(swiftdpo_listwise_options, reduction) == 2 * 8 + 4);
PIN(sizeof(swiftdpo_list_results_f64) == 5 * 8);
PIN(SWIFTDPO_LISTWISE_PRO == 2);
PIN(sizeof(swiftdpo_logits_f32) == 13 * 8);
PIN(sizeof(swiftdpo_logits_f64) == 13 * 8);
PIN(sizeof(swiftdpo_logits_half) == 13 * 8);
PIN(offsetof(swiftdpo_logits_half, row_stride) == 5 * 8);
PIN(offsetof(swiftdpo_logits_half, offsets) == 8 * 8);
PIN(offsetof(swiftdpo_logits_half, vocab_start) == 12 * 8);
PIN(sizeof(swiftdpo_logps_options) == 7 * 8);
PIN(offsetof(swiftdpo_logps_options, average) == 2 * 8 + 4);
PIN(offsetof(swiftdpo_logps_options, logit_scale) == 3 * 8);
PIN(offsetof(swiftdpo_logps_options, nonfinite) == 6 * 8);
PIN(sizeof(swiftdpo_logps_results) == 10 * 8);
PIN(offsetof(swiftdpo_logps_results, log_normalizers) == 4 * 8);
PIN(offsetof(swiftdpo_logps_results, row_flags) == 9 * 8);
PIN(sizeof(swiftdpo_shard_statistics) == 4 * 8);
PIN(sizeof(swiftdpo_distributions_f64) == 5 * 8);
PIN(sizeof(swiftdpo_divergence_options) == 2 * 8);
PIN(sizeof(swiftdpo_divergence_results_f32) == 4 * 8);
PIN(sizeof(swiftdpo_responses_f32) == 8 * 8);
PIN(offsetof(swiftdpo_responses_f64, log_partitions) == 7 * 8);
PIN(sizeof(swiftdpo_partition_accumulator) == 7 * 8);
PIN(sizeof(swiftdpo_partition_estimates) == 6 * 8);
PIN(sizeof(swiftdpo_token_model) == 9 * 8);
PIN(sizeof(swiftdpo_partition_options) == 3 * 8);
PIN(sizeof(swiftdpo_response_model) == 7 * 8);
PIN(sizeof(swiftdpo_policy_options) == 3 * 8);
PIN(sizeof(swiftdpo_policy_results_f64) == 10 * 8);
PIN(offsetof(swiftdpo_policy_results_f32, policy_gaps) == 9 * 8);
PIN(sizeof(swiftdpo_linear_head_f32) == 16 * 8);
PIN(sizeof(swiftdpo_linear_head_half) == 16 * 8);
PIN(offsetof(swiftdpo_linear_head_half, labels) == 9 * 8);
PIN(offsetof(swiftdpo_linear_head_half, vocab_start) == 15 * 8);
PIN(sizeof(swiftdpo_fused_options) == 5 * 8);
PIN(offsetof(swiftdpo_fused_options, gemm) == 3 * 8);
PIN(sizeof(swiftdpo_linear_gradients_f32) == 5 * 8);
PIN(sizeof(swiftdpo_linear_gradients_half) == 5 * 8);
PIN(offsetof(swiftdpo_linear_gradients_half, accumulate) == 4 * 8);
PIN(sizeof(swiftdpo_fused_results_f32) == 4 * 8);
PIN(sizeof(swiftdpo_fused_results_half) == 4 * 8);
PIN(sizeof(swiftdpo_blas) == 4 * 8);
PIN(offsetof(swiftdpo_blas, has_bf16_gemm) == 3 * 8 + 4);
PIN(sizeof(swiftdpo_build) == 5 * 8);
PIN(offsetof(swiftdpo_build, num_threads) == 4 * 8);
#endif

#endif
