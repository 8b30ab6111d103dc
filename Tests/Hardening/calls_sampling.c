/* What is drawn at random, and the best of n. */
#include "calls.h"

void philox4x32_10(call *c) {
  c->faults = false; /* there is no status to refuse them with */
  const uint32_t *counter = integers(c, U32, 4, 0, UINT32_MAX);
  const uint32_t *key = integers(c, U32, 2, 0, UINT32_MAX);
  uint32_t *words = result(c, U32, 4);
  CALL_VOID(c, swiftdpo_philox4x32_10(counter, key, words));
}

void sample_rankings_f64(call *c) {
  size_t num_groups, group_size, num_samples;
  const size_t groups = count(c, &num_groups, 0, 20);
  const size_t items = count(c, &group_size, 1, 60);
  multiplied(c);
  const size_t samples = count(c, &num_samples, 0, 60);
  multiplied(c);
  const double *rewards = numbers(c, F64, groups * items, REAL);
  int64_t *rankings = result(c, I64, groups * samples * items);
  const uint64_t seed = pick(c, 1 << 16);
  CALL(c, swiftdpo_sample_rankings_f64(rewards, num_groups, group_size, num_samples, seed, rankings, &c->culprit));
}

void ranking_marginals_f64(call *c) {
  size_t num_groups, group_size;
  const size_t groups = count(c, &num_groups, 0, 20);
  const size_t items = count(c, &group_size, 1, 60);
  multiplied(c);
  const double *rewards = numbers(c, F64, groups * items, REAL);
  double *top_one = maybe_result(c, F64, groups * items);
  double *expected = maybe_result(c, F64, groups * items);
  c->promises_no_nan = true;
  CALL(c, swiftdpo_ranking_marginals_f64(rewards, num_groups, group_size, top_one, expected, &c->culprit));
}

/** Rewards of samples, a row for each prompt. */
static swiftdpo_responses_f64 *samples(call *c, size_t *prompts, size_t *length) {
  swiftdpo_responses_f64 *responses = STRUCT(c, swiftdpo_responses_f64, SWIFTDPO_RESPONSES_F64_INIT);
  *prompts = count(c, &responses->num_prompts, 0, 30);
  *length = count(c, &responses->num_responses, 1, 300);
  multiplied(c);
  responses->rewards = numbers(c, F64, *prompts * *length, REAL);
  responses->betas = maybe_numbers(c, F64, *prompts, POSITIVE);
  return responses;
}

static swiftdpo_policy_options *policy_options(call *c) {
  swiftdpo_policy_options *options = STRUCT(c, swiftdpo_policy_options, SWIFTDPO_POLICY_OPTIONS_INIT);
  options->beta = number(c, POSITIVE);
  options->nonfinite = (swiftdpo_nonfinite)choice(c, 3);
  return seldom(c, 4) ? NULL : options;
}

void rejection_sample_f64(call *c) {
  size_t prompts, length;
  const swiftdpo_responses_f64 *responses = samples(c, &prompts, &length);
  const swiftdpo_policy_options *options = policy_options(c);
  const double *bounds = NULL;
  if (!leave_out(c)) {
    double *largest = scratch(c, prompts * sizeof *largest);
    for (size_t i = 0; i < prompts; i++)
      largest[i] = fault(c) ? 0 : 0x1.fffffffffffffp1023;
    bounds = copied(c, F64, prompts, largest);
  }
  uint8_t *accepted = maybe_result(c, U8, prompts * length);
  double *rates = maybe_result(c, F64, prompts);
  const uint64_t seed = pick(c, 1 << 16);
  CALL(c, swiftdpo_rejection_sample_f64(responses, options, bounds, seed, accepted, rates, &c->culprit));
}

void importance_resample_f64(call *c) {
  size_t prompts, length, num_draws;
  const swiftdpo_responses_f64 *responses = samples(c, &prompts, &length);
  const swiftdpo_policy_options *options = policy_options(c);
  const size_t draws = count(c, &num_draws, 0, 100);
  int64_t *indices = result(c, I64, prompts * draws);
  const uint64_t seed = pick(c, 1 << 16);
  CALL(c, swiftdpo_importance_resample_f64(responses, options, num_draws, seed, indices, &c->culprit));
}

void best_of_n_kl_bound(call *c) {
  const size_t n = pick(c, 4) ? pick(c, 1 << 16) : SIZE_MAX - pick(c, 2);
  double bound = -1;
  CALL_VOID(c, bound = swiftdpo_best_of_n_kl_bound(n));
  if (!(n > 1 ? bound > 0 && bound < 64 : bound == 0))
    fail(c, "%g for n = %zu", bound, n);
}

void best_of_n_f64(call *c) {
  size_t prompts, length;
  swiftdpo_responses_f64 *responses = samples(c, &prompts, &length);
  responses->ref_logps = numbers(c, F64, prompts * length, PROPER_LOGP);
  const size_t n = fault(c) ? 0 : 1 + pick(c, 1000);
  double *logps = maybe_result(c, F64, prompts * length);
  double *kls = maybe_result(c, F64, prompts);
  double *expected = maybe_result(c, F64, prompts);
  CALL(c, swiftdpo_best_of_n_f64(responses, n, logps, kls, expected, &c->culprit));
}
