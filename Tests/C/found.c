/* What guard pages, sanitizers and fuzzers have found (Tests/Hardening): one test for each, so that it stays mended. */
#include "check.h"

/** Entries behind the end of a list have no item: whatever rank stands there does not count. */
static void test_ranks_behind_the_end_of_a_list(void) {
  static const double worths[5] = {0.5, -1, 2, 0, 1}, strengths[3] = {0.5, 0.25, 0.125};
  static const int64_t lists[8] = {2, 0, -1, -1, 4, 1, 3, -1};
  static const int64_t meant[8] = {1, 1, 0, 0, 1, 2, 2, 0}, also[8] = {1, 1, 2, 4, 1, 2, 2, 1};
  for (int ties = SWIFTDPO_TIES_BRESLOW; ties <= SWIFTDPO_TIES_DAVIDSON; ties++)
    for (int unlisted = SWIFTDPO_UNLISTED_ABSENT; unlisted <= SWIFTDPO_UNLISTED_REMAIN; unlisted++) {
      double gradients[2][5], losses[2][2];
      for (int which = 0; which < 2; which++) {
        swiftdpo_rankings_f64 rankings = SWIFTDPO_RANKINGS_F64_INIT;
        rankings.num_groups = 2;
        rankings.group_size = 4;
        rankings.policy_logps = worths;
        rankings.num_shared_items = 5;
        rankings.rankings = lists;
        rankings.ranks = which == 0 ? meant : also;
        rankings.tie_strengths = strengths;
        rankings.num_tie_strengths = 3;
        swiftdpo_plackett_luce_options options = SWIFTDPO_PLACKETT_LUCE_OPTIONS_INIT;
        options.beta = 1;
        options.ties = (swiftdpo_ties)ties;
        options.unlisted = (swiftdpo_unlisted)unlisted;
        swiftdpo_ranking_results_f64 results = SWIFTDPO_RANKING_RESULTS_F64_INIT;
        results.losses = losses[which];
        results.grad_policy_logps = gradients[which];
        CHECK_OK(swiftdpo_plackett_luce_loss_f64(&rankings, &options, &results, NULL));
      }
      CHECK(losses[0][0] > 0 && losses[0][1] > 0);
      CHECK_SAME_BITS(losses[0], losses[1], sizeof losses[0]);
      CHECK_SAME_BITS(gradients[0], gradients[1], sizeof gradients[0]);
    }
}

/** Results that nothing depends on are 0, not what stood there before. */
static void test_gradient_by_strengths_without_ties(void) {
  static const double logps[2] = {1, 2}, strengths[2] = {0.5, 0.25};
  double gradient[2] = {7, 7};
  swiftdpo_rankings_f64 rankings = SWIFTDPO_RANKINGS_F64_INIT;
  rankings.num_groups = 1;
  rankings.group_size = 2;
  rankings.policy_logps = logps;
  rankings.tie_strengths = strengths;
  rankings.num_tie_strengths = 2;
  swiftdpo_ranking_results_f64 results = SWIFTDPO_RANKING_RESULTS_F64_INIT;
  results.grad_tie_strengths = gradient;
  CHECK_OK(swiftdpo_plackett_luce_loss_f64(&rankings, NULL, &results, NULL));
  CHECK(gradient[0] == 0 && gradient[1] == 0);
}

/** Shared items have rewards even where no group ranks them. */
static void test_rewards_without_groups(void) {
  static const double logps[2] = {1, 2};
  double rewards[2] = {7, 7};
  swiftdpo_rankings_f64 rankings = SWIFTDPO_RANKINGS_F64_INIT;
  rankings.num_shared_items = 2;
  rankings.policy_logps = logps;
  swiftdpo_plackett_luce_options options = SWIFTDPO_PLACKETT_LUCE_OPTIONS_INIT;
  options.beta = 0.5;
  swiftdpo_ranking_results_f64 results = SWIFTDPO_RANKING_RESULTS_F64_INIT;
  results.rewards = rewards;
  CHECK_OK(swiftdpo_plackett_luce_loss_f64(&rankings, &options, &results, NULL));
  CHECK(rewards[0] == 0.5 && rewards[1] == 1);
}

/** Without rows, the vocabulary may be of any size. A product of it overflowed, and ended the process. */
static void test_a_huge_vocabulary_without_rows(void) {
  static const size_t sizes[] = {SIZE_MAX / 2, SIZE_MAX / 4 + 1, SIZE_MAX / 16 + 1};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    swiftdpo_logits_f64 logits = SWIFTDPO_LOGITS_F64_INIT;
    logits.num_sequences = 1;
    logits.vocab_size = sizes[i];
    const double grad_logps = 1;
    double logps = 7, grad_logits = 7;
    swiftdpo_logps_results results = SWIFTDPO_LOGPS_RESULTS_INIT;
    results.logps = &logps;
    CHECK_OK(swiftdpo_sequence_logps_f64(&logits, NULL, &results, NULL));
    CHECK(logps == 0);
    CHECK_OK(swiftdpo_sequence_logps_backward_f64(&logits, NULL, &grad_logps, NULL, &grad_logits, NULL));
    CHECK(grad_logits == 7);
  }
}

/** As many sequences as there are numbers, none with a token: nothing to do, and so soon done. */
static void test_sequences_without_end(void) {
  swiftdpo_logits_f32 logits = SWIFTDPO_LOGITS_F32_INIT;
  logits.num_sequences = SIZE_MAX / 2;
  logits.vocab_size = 1;
  const swiftdpo_logps_results results = SWIFTDPO_LOGPS_RESULTS_INIT;
  CHECK_OK(swiftdpo_sequence_logps_f32(&logits, NULL, &results, NULL));
  CHECK_OK(swiftdpo_humanline_clamp(NULL, NULL, SIZE_MAX / 2, 0, -1, 1, NULL, NULL, NULL));
}

static void test_overlaps_that_went_unnoticed(void) {
  swiftdpo_culprit culprit;
  union {
    swiftdpo_loss_type type;
    double value;
  } loss = {.type = SWIFTDPO_LOSS_HINGE};
  static const double logps[2] = {-1, -2};
  swiftdpo_pairs_f64 pairs = SWIFTDPO_PAIRS_F64_INIT;
  pairs.count = 1;
  pairs.policy_chosen_logps = logps;
  pairs.policy_rejected_logps = logps + 1;
  swiftdpo_dpo_options options = SWIFTDPO_DPO_OPTIONS_INIT;
  options.loss_types = &loss.type;
  options.num_losses = 1;
  swiftdpo_pair_results_f64 results = SWIFTDPO_PAIR_RESULTS_F64_INIT;
  results.loss = &loss.value;
  CHECK_STATUS(SWIFTDPO_ERROR_OVERLAP, swiftdpo_dpo_loss_f64(&pairs, &options, &results, &culprit));

  union {
    swiftdpo_kto_baseline baseline;
    swiftdpo_bco_delta delta;
    double values[sizeof(swiftdpo_kto_baseline) / sizeof(double)];
  } state = {.baseline = SWIFTDPO_KTO_BASELINE_INIT};
  CHECK_STATUS(SWIFTDPO_ERROR_OVERLAP,
               swiftdpo_kto_baseline_add_f64(&state.baseline, state.values + 1, NULL, 2, &culprit));
  CHECK(strcmp(culprit.argument, "baseline") == 0);
  state.delta = (swiftdpo_bco_delta)SWIFTDPO_BCO_DELTA_INIT;
  CHECK_STATUS(SWIFTDPO_ERROR_OVERLAP,
               swiftdpo_bco_delta_add_f64(&state.delta, state.values + 1, NULL, 1, 2, &culprit));
  CHECK(strcmp(culprit.argument, "delta") == 0);
}

/** Weights that overflow together, where the slope is 0: no NaN. */
static void test_weights_that_overflow(void) {
  static const double logps[1] = {1e6}, weights[1] = {1e300};
  static const uint8_t desirable[1] = {1};
  double gradient = 7, curvature = 7;
  swiftdpo_unpaired_f64 unpaired = SWIFTDPO_UNPAIRED_F64_INIT;
  unpaired.count = 1;
  unpaired.policy_logps = logps;
  unpaired.desirable = desirable;
  unpaired.weights = weights;
  swiftdpo_unpaired_options options = SWIFTDPO_UNPAIRED_OPTIONS_INIT;
  options.desirable_weight = 1e300;
  swiftdpo_unpaired_results_f64 results = SWIFTDPO_UNPAIRED_RESULTS_F64_INIT;
  results.grad_policy_logps = &gradient;
  results.curvatures = &curvature;
  CHECK_OK(swiftdpo_unpaired_loss_f64(&unpaired, &options, &results, NULL));
  CHECK(gradient == 0 && curvature == 0);
}

static void test_single_arguments(void) {
  swiftdpo_culprit culprit;
  static const double logps[2] = {1, 2};
  swiftdpo_rankings_f64 rankings = SWIFTDPO_RANKINGS_F64_INIT;
  rankings.num_groups = 1;
  rankings.group_size = 2;
  rankings.policy_logps = logps;
  rankings.position_weights = logps;
  rankings.num_position_weights = SIZE_MAX;
  const swiftdpo_ranking_results_f64 results = SWIFTDPO_RANKING_RESULTS_F64_INIT;
  CHECK_STATUS(SWIFTDPO_ERROR_SIZE_OVERFLOW, swiftdpo_plackett_luce_loss_f64(&rankings, NULL, &results, &culprit));
  CHECK(strcmp(culprit.argument, "num_position_weights") == 0);

  swiftdpo_philox4x32_10(NULL, NULL, NULL); /* ignored, as by the _init functions */
  CHECK_WITHIN(1e-12, swiftdpo_best_of_n_kl_bound(SIZE_MAX), 64 * log(2.0) - 1);
  CHECK(swiftdpo_best_of_n_kl_bound(0) == 0 && swiftdpo_best_of_n_kl_bound(1) == 0);

  const swiftdpo_kto_baseline baseline = SWIFTDPO_KTO_BASELINE_INIT;
  double values[2];
  double *misaligned = (double *)(void *)((char *)values + 1);
  CHECK_STATUS(SWIFTDPO_ERROR_MISALIGNED, swiftdpo_kto_baseline_value(&baseline, SWIFTDPO_KTO_GLOBAL, misaligned));
  CHECK_STATUS(SWIFTDPO_ERROR_MISALIGNED, swiftdpo_count_responses(2, 3, 0, NULL, misaligned, &culprit));
  CHECK(strcmp(culprit.argument, "log_count") == 0);
}

void test_found(void) {
  test_ranks_behind_the_end_of_a_list();
  test_gradient_by_strengths_without_ties();
  test_rewards_without_groups();
  test_a_huge_vocabulary_without_rows();
  test_sequences_without_end();
  test_overlaps_that_went_unnoticed();
  test_weights_that_overflow();
  test_single_arguments();
}
