/* Published and 50-digit values of Tests/Golden, against the double-precision calls. */
#include <math.h>

#include "check.h"

typedef struct golden_pair {
  double policy_chosen, policy_rejected, ref_chosen, ref_rejected;
  double z, loss, gradient, chosen_reward, rejected_reward, loss_without_reference;
} golden_pair;

typedef struct golden_batch {
  const char *name;
  size_t first, count;
  double beta, label_smoothing, mean;
} golden_batch;

typedef struct golden_list {
  size_t count;
  double scores[3];
  int64_t ranking[3];
  double loss;
} golden_list;

#include "golden.inc"

enum { MAX_PAIRS = 8 };
static const double EPSILON = 0x1p-53;

static void run_batch(const golden_batch *batch, bool with_reference, double *loss, double *losses, double *gradient,
                      double *chosen_rewards, double *rejected_rewards) {
  double policy_chosen[MAX_PAIRS], policy_rejected[MAX_PAIRS], ref_chosen[MAX_PAIRS], ref_rejected[MAX_PAIRS];
  double soft_labels[MAX_PAIRS];
  for (size_t i = 0; i < batch->count; i++) {
    const golden_pair *pair = &golden_pairs[batch->first + i];
    policy_chosen[i] = pair->policy_chosen;
    policy_rejected[i] = pair->policy_rejected;
    ref_chosen[i] = pair->ref_chosen;
    ref_rejected[i] = pair->ref_rejected;
    soft_labels[i] = 1 - batch->label_smoothing;
  }
  swiftdpo_pairs_f64 pairs = SWIFTDPO_PAIRS_F64_INIT;
  pairs.count = batch->count;
  pairs.policy_chosen_logps = policy_chosen;
  pairs.policy_rejected_logps = policy_rejected;
  if (with_reference) {
    pairs.ref_chosen_logps = ref_chosen;
    pairs.ref_rejected_logps = ref_rejected;
  }
  swiftdpo_dpo_options options = SWIFTDPO_DPO_OPTIONS_INIT;
  options.beta = batch->beta;
  if (batch->label_smoothing < 0.5)
    options.label_smoothing = batch->label_smoothing;
  else
    pairs.soft_labels = soft_labels; /* as an option it would be no preference at all */
  swiftdpo_pair_results_f64 results = SWIFTDPO_PAIR_RESULTS_F64_INIT;
  results.losses = losses;
  results.grad_policy_chosen_logps = gradient;
  results.chosen_rewards = chosen_rewards;
  results.rejected_rewards = rejected_rewards;
  options.reduction = SWIFTDPO_REDUCTION_SUM; /* so that gradients are those of single pairs */
  CHECK_OK(swiftdpo_dpo_loss_f64(&pairs, &options, &results, NULL));

  const swiftdpo_pair_results_f64 nothing = SWIFTDPO_PAIR_RESULTS_F64_INIT;
  results = nothing;
  results.loss = loss;
  options.reduction = SWIFTDPO_REDUCTION_MEAN;
  CHECK_OK(swiftdpo_dpo_loss_f64(&pairs, &options, &results, NULL));
}

/** The expected values belong to decimal inputs; the nearest doubles move z by this much. */
static double rounding_of_z(const golden_pair *pair, double beta) {
  const double inputs =
      fabs(pair->policy_chosen) + fabs(pair->policy_rejected) + fabs(pair->ref_chosen) + fabs(pair->ref_rejected);
  return EPSILON * (beta * inputs + fabs(pair->z));
}

static void test_pairs(void) {
  for (size_t b = 0; b < sizeof golden_batches / sizeof *golden_batches; b++) {
    const golden_batch *batch = &golden_batches[b];
    double loss, mean_without_reference;
    double losses[MAX_PAIRS], gradient[MAX_PAIRS], chosen_rewards[MAX_PAIRS], rejected_rewards[MAX_PAIRS];
    double without_reference[MAX_PAIRS];
    run_batch(batch, true, &loss, losses, gradient, chosen_rewards, rejected_rewards);
    run_batch(batch, false, &mean_without_reference, without_reference, NULL, NULL, NULL);
    for (size_t i = 0; i < batch->count; i++) {
      const golden_pair *pair = &golden_pairs[batch->first + i];
      const double moved = rounding_of_z(pair, batch->beta);
      CHECK_WITHIN(8 * EPSILON * pair->loss + moved * fabs(pair->gradient / batch->beta), losses[i], pair->loss);
      CHECK_WITHIN(8 * EPSILON * fabs(pair->gradient) + batch->beta * (moved + EPSILON), gradient[i], pair->gradient);
      CHECK_WITHIN(moved, chosen_rewards[i], pair->chosen_reward);
      CHECK_WITHIN(moved, rejected_rewards[i], pair->rejected_reward);
      CHECK_WITHIN(8 * EPSILON * pair->loss_without_reference + moved, without_reference[i],
                   pair->loss_without_reference);
    }
    if (!isnan(batch->mean))
      CHECK_WITHIN(1e-15, loss, batch->mean);
  }
}

static void test_tshirts(void) {
  static double scores[TSHIRT_RANKINGS * TSHIRTS], gradient[TSHIRT_RANKINGS * TSHIRTS];
  const double *thetas[] = {tshirt_theta_fixed, tshirt_theta_mle};
  const double logliks[] = {tshirt_loglik_fixed, tshirt_loglik_mle};
  for (size_t point = 0; point < 2; point++) {
    for (size_t ranking = 0; ranking < TSHIRT_RANKINGS; ranking++)
      memcpy(scores + ranking * TSHIRTS, thetas[point], TSHIRTS * sizeof(double));
    swiftdpo_rankings_f64 rankings = SWIFTDPO_RANKINGS_F64_INIT;
    rankings.num_groups = TSHIRT_RANKINGS;
    rankings.group_size = TSHIRTS;
    rankings.policy_logps = scores;
    rankings.rankings = tshirt_rankings;
    swiftdpo_plackett_luce_options options = SWIFTDPO_PLACKETT_LUCE_OPTIONS_INIT;
    options.beta = 1;
    options.reduction = SWIFTDPO_REDUCTION_SUM;
    double loss = NAN;
    swiftdpo_ranking_results_f64 results = SWIFTDPO_RANKING_RESULTS_F64_INIT;
    results.loss = &loss;
    results.grad_policy_logps = gradient;
    CHECK_OK(swiftdpo_plackett_luce_loss_f64(&rankings, &options, &results, NULL));
    CHECK_WITHIN(1e-14 * -logliks[point], loss, -logliks[point]);
    for (size_t item = 0; item < TSHIRTS; item++) {
      double total = 0;
      for (size_t ranking = 0; ranking < TSHIRT_RANKINGS; ranking++)
        total += gradient[ranking * TSHIRTS + item];
      CHECK_WITHIN(1e-13, total, point == 0 ? -tshirt_gradient_fixed[item] : 0); /* 0 at the maximum */
    }
  }
}

static void test_published_lists(void) {
  for (size_t i = 0; i < sizeof golden_lists / sizeof *golden_lists; i++) {
    const golden_list *list = &golden_lists[i];
    swiftdpo_rankings_f64 rankings = SWIFTDPO_RANKINGS_F64_INIT;
    rankings.num_groups = 1;
    rankings.group_size = list->count;
    rankings.policy_logps = list->scores;
    rankings.rankings = list->ranking;
    swiftdpo_plackett_luce_options options = SWIFTDPO_PLACKETT_LUCE_OPTIONS_INIT;
    options.beta = 1;
    double loss = NAN;
    swiftdpo_ranking_results_f64 results = SWIFTDPO_RANKING_RESULTS_F64_INIT;
    results.loss = &loss;
    CHECK_OK(swiftdpo_plackett_luce_loss_f64(&rankings, &options, &results, NULL));
    CHECK_WITHIN(8 * EPSILON * list->loss, loss, list->loss);
  }
}

void test_golden(void) {
  test_pairs();
  test_tshirts();
  test_published_lists();
}
