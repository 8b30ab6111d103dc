/* Distributions and policies over listed responses. */
#include "calls.h"

void TYPED(divergence)(call *c) {
  LAID_OUT(swiftdpo_distributions) *distributions = STRUCT(c, LAID_OUT(swiftdpo_distributions), INIT(DISTRIBUTIONS));
  swiftdpo_divergence_options *options = STRUCT(c, swiftdpo_divergence_options, SWIFTDPO_DIVERGENCE_OPTIONS_INIT);
  LAID_OUT(swiftdpo_divergence_results) *results =
      STRUCT(c, LAID_OUT(swiftdpo_divergence_results), INIT(DIVERGENCE_RESULTS));
  const size_t rows = count(c, &distributions->num_rows, 0, 40);
  const size_t length = count(c, &distributions->num_outcomes, 1, 3000);
  multiplied(c);
  options->kind = (swiftdpo_divergence_kind)choice(c, 4);
  options->nonfinite = (swiftdpo_nonfinite)choice(c, 3);
  distributions->logp = numbers(c, ELEMENT, rows * length, PROPER_LOGP);
  distributions->logq = numbers(c, ELEMENT, rows * length, PROPER_LOGP);
  results->divergences = maybe_result(c, F64, rows);
  results->grad_logp = maybe_result(c, ELEMENT, rows * length);
  results->grad_logq = maybe_result(c, ELEMENT, rows * length);
  c->promises_no_nan = true;
  const swiftdpo_divergence_options *given = seldom(c, 4) ? NULL : options;
  CALL(c, TYPED(swiftdpo_divergence)(distributions, given, results, &c->culprit));
}

void TYPED(kl_estimates)(call *c) {
  size_t n;
  const size_t length = count(c, &n, 0, 30000);
  const void *policy = numbers(c, ELEMENT, length, LOGP);
  const void *reference = numbers(c, ELEMENT, length, LOGP);
  void *k1 = maybe_result(c, ELEMENT, length);
  void *k2 = maybe_result(c, ELEMENT, length);
  void *k3 = maybe_result(c, ELEMENT, length);
  const swiftdpo_nonfinite nonfinite = (swiftdpo_nonfinite)choice(c, 3);
  c->promises_no_nan = true;
  CALL(c, TYPED(swiftdpo_kl_estimates)(n, policy, reference, nonfinite, k1, k2, k3, &c->culprit));
}

void TYPED(preference_probability)(call *c) {
  size_t n;
  const size_t length = count(c, &n, 0, 30000);
  const void *chosen = numbers(c, ELEMENT, length, REAL);
  const void *rejected = numbers(c, ELEMENT, length, REAL);
  void *probabilities = maybe_result(c, ELEMENT, length);
  void *logs = maybe_result(c, ELEMENT, length);
  const swiftdpo_nonfinite nonfinite = (swiftdpo_nonfinite)choice(c, 3);
  c->promises_no_nan = true;
  CALL(c, TYPED(swiftdpo_preference_probability)(n, chosen, rejected, nonfinite, probabilities, logs, &c->culprit));
}

typedef struct {
  LAID_OUT(swiftdpo_responses) * responses;
  swiftdpo_policy_options *options; /**< or NULL */
  size_t prompts, elements;
} prompts;

static prompts some_prompts(call *c, bool has_reference) {
  prompts p = {STRUCT(c, LAID_OUT(swiftdpo_responses), INIT(RESPONSES)),
               STRUCT(c, swiftdpo_policy_options, SWIFTDPO_POLICY_OPTIONS_INIT), 0, 0};
  p.prompts = count(c, &p.responses->num_prompts, 0, 40);
  p.elements = p.prompts * count(c, &p.responses->num_responses, 1, 2000);
  multiplied(c);
  p.options->beta = number(c, POSITIVE);
  p.options->nonfinite = (swiftdpo_nonfinite)choice(c, 3);
  if (seldom(c, 4))
    p.options = NULL;
  p.responses->betas = maybe_numbers(c, ELEMENT, p.prompts, POSITIVE);
  if (has_reference)
    p.responses->ref_logps = maybe_numbers(c, ELEMENT, p.elements, LOGP);
  return p;
}

void TYPED(optimal_policy)(call *c) {
  const prompts p = some_prompts(c, true);
  LAID_OUT(swiftdpo_policy_results) *results = STRUCT(c, LAID_OUT(swiftdpo_policy_results), INIT(POLICY_RESULTS));
  p.responses->rewards = numbers(c, ELEMENT, p.elements, REAL);
  p.responses->policy_logps = maybe_numbers(c, ELEMENT, p.elements, PROPER_LOGP);
  results->logps = maybe_result(c, ELEMENT, p.elements);
  results->log_partitions = maybe_result(c, F64, p.prompts);
  results->objectives = maybe_result(c, F64, p.prompts);
  results->expected_rewards = maybe_result(c, F64, p.prompts);
  results->kl_divergences = maybe_result(c, F64, p.prompts);
  results->grad_rewards = maybe_result(c, ELEMENT, p.elements);
  results->grad_betas = maybe_result(c, F64, p.prompts);
  if (p.responses->policy_logps || fault(c)) {
    results->policy_objectives = maybe_result(c, F64, p.prompts);
    results->policy_gaps = maybe_result(c, F64, p.prompts);
  }
  CALL(c, TYPED(swiftdpo_optimal_policy)(p.responses, p.options, results, &c->culprit));
}

void TYPED(implicit_rewards)(call *c) {
  const prompts p = some_prompts(c, true);
  p.responses->policy_logps = numbers(c, ELEMENT, p.elements, LOGP);
  p.responses->log_partitions = maybe_numbers(c, F64, p.prompts, REAL);
  void *rewards = result(c, ELEMENT, p.elements);
  CALL(c, TYPED(swiftdpo_implicit_rewards)(p.responses, p.options, rewards, &c->culprit));
}

void TYPED(policy_from_rewards)(call *c) {
  const prompts p = some_prompts(c, true);
  p.responses->rewards = numbers(c, ELEMENT, p.elements, REAL);
  p.responses->log_partitions = maybe_numbers(c, F64, p.prompts, REAL);
  void *policy_logps = result(c, ELEMENT, p.elements);
  CALL(c, TYPED(swiftdpo_policy_from_rewards)(p.responses, p.options, policy_logps, &c->culprit));
}

void TYPED(partition_add)(call *c) {
  const prompts p = some_prompts(c, false);
  p.responses->rewards = numbers(c, ELEMENT, p.elements, REAL);
  double *empty = scratch(c, p.prompts * sizeof(swiftdpo_partition_accumulator));
  if (p.prompts > 0 && fault(c))
    empty[pick(c, 7 * p.prompts)] = number(c, REAL);
  void *accumulators = state(c, F64, 7 * p.prompts, empty);
  CALL(c, TYPED(swiftdpo_partition_add)(p.responses, p.options, accumulators, &c->culprit));
}
