/* Single responses, and their baselines. */
#include "calls.h"

void TYPED(unpaired_loss)(call *c) {
  LAID_OUT(swiftdpo_unpaired) *unpaired = STRUCT(c, LAID_OUT(swiftdpo_unpaired), INIT(UNPAIRED));
  swiftdpo_unpaired_options *options = STRUCT(c, swiftdpo_unpaired_options, SWIFTDPO_UNPAIRED_OPTIONS_INIT);
  LAID_OUT(swiftdpo_unpaired_results) *results = STRUCT(c, LAID_OUT(swiftdpo_unpaired_results), INIT(UNPAIRED_RESULTS));
  const size_t n = count(c, &unpaired->count, 0, 3000);
  options->beta = number(c, POSITIVE);
  options->desirable_weight = number(c, NONNEGATIVE);
  options->undesirable_weight = number(c, NONNEGATIVE);
  options->baseline = number(c, REAL);
  options->loss_type = (swiftdpo_unpaired_loss_type)choice(c, 3);
  options->reduction = (swiftdpo_reduction)choice(c, 3);
  options->nonfinite = (swiftdpo_nonfinite)choice(c, 3);
  options->reference_free = choice(c, 2);

  unpaired->policy_logps = numbers(c, ELEMENT, n, LOGP);
  unpaired->ref_logps = maybe_numbers(c, ELEMENT, n, LOGP);
  unpaired->desirable = integers(c, U8, n, 0, 1);
  unpaired->betas = maybe_numbers(c, ELEMENT, n, POSITIVE);
  unpaired->weights = maybe_numbers(c, ELEMENT, n, NONNEGATIVE);

  results->loss = maybe_result(c, F64, 1);
  results->losses = maybe_result(c, ELEMENT, n);
  results->grad_policy_logps = maybe_result(c, ELEMENT, n);
  results->rewards = maybe_result(c, ELEMENT, n);
  results->grad_betas = maybe_result(c, ELEMENT, n);
  results->curvatures = maybe_result(c, ELEMENT, n);
  results->grad_baseline = maybe_result(c, F64, 1);
  if (!leave_out(c))
    results->metrics = STATE_STRUCT(c, swiftdpo_unpaired_metrics, SWIFTDPO_UNPAIRED_METRICS_INIT);
  c->promises_no_nan = true;
  const swiftdpo_unpaired_options *given = seldom(c, 4) ? NULL : options;
  CALL(c, TYPED(swiftdpo_unpaired_loss)(unpaired, given, results, &c->culprit));
}

void TYPED(kto_baseline_add)(call *c) {
  size_t n;
  const size_t length = count(c, &n, 0, 3000);
  swiftdpo_kto_baseline *baseline = STATE_STRUCT(c, swiftdpo_kto_baseline, SWIFTDPO_KTO_BASELINE_INIT);
  const void *policy = numbers(c, ELEMENT, length, LOGP);
  const void *reference = maybe_numbers(c, ELEMENT, length, LOGP);
  CALL(c, TYPED(swiftdpo_kto_baseline_add)(baseline, policy, reference, n, &c->culprit));
}

void TYPED(bco_delta_add)(call *c) {
  size_t n;
  const size_t length = count(c, &n, 0, 3000);
  swiftdpo_bco_delta *delta = STATE_STRUCT(c, swiftdpo_bco_delta, SWIFTDPO_BCO_DELTA_INIT);
  const void *policy = numbers(c, ELEMENT, length, LOGP);
  const void *reference = maybe_numbers(c, ELEMENT, length, LOGP);
  const double beta = number(c, POSITIVE);
  CALL(c, TYPED(swiftdpo_bco_delta_add)(delta, policy, reference, beta, n, &c->culprit));
}

void TYPED(udm_weights)(call *c) {
  size_t n;
  const size_t length = count(c, &n, 0, 3000);
  const void *probabilities = numbers(c, ELEMENT, length, UNIT);
  void *weights = result(c, ELEMENT, length);
  c->promises_no_nan = true;
  CALL(c, TYPED(swiftdpo_udm_weights)(probabilities, n, weights, &c->culprit));
}
