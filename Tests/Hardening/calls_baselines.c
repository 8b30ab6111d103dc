/* Baselines of single responses as numbers; what weighs or bounds tokens. */
#include "calls.h"

void kto_baseline_value(call *c) {
  swiftdpo_kto_baseline *baseline = STRUCT(c, swiftdpo_kto_baseline, SWIFTDPO_KTO_BASELINE_INIT);
  baseline->count = pick(c, 100);
  baseline->num_nonzero = pick(c, 100);
  baseline->num_batches = pick(c, 5);
  baseline->sum = number(c, REAL);
  baseline->sum_means = number(c, REAL);
  baseline->sum_clamped_means = number(c, NONNEGATIVE);
  const swiftdpo_kto_estimator estimator = (swiftdpo_kto_estimator)choice(c, 4);
  double *value = result(c, F64, 1);
  CALL(c, swiftdpo_kto_baseline_value(baseline, estimator, value));
}

void wpo_weights(call *c) {
  size_t num_sequences, length;
  const size_t n = count(c, &num_sequences, 0, 50);
  const size_t tokens = count(c, &length, 0, 50);
  const double *token_logps = numbers(c, F64, n * tokens, LOGP);
  const double *log_sum_squares = maybe_numbers(c, F64, n * tokens, LOGP);
  const int64_t *num_tokens = integers(c, I64, n, 0, 50);
  double *weights = result(c, F64, n);
  CALL(c, swiftdpo_wpo_weights(token_logps, log_sum_squares, num_tokens, num_sequences, length, weights, &c->culprit));
}

void humanline_clamp(call *c) {
  size_t num_sequences, length;
  const size_t n = count(c, &num_sequences, 0, 50);
  const size_t tokens = count(c, &length, 0, 50);
  const double *policy = numbers(c, F64, n * tokens, LOGP);
  const double *reference = numbers(c, F64, n * tokens, LOGP);
  const double low = -number(c, NONNEGATIVE);
  const double high = number(c, NONNEGATIVE);
  double *log_ratios = maybe_result(c, F64, n);
  double *passes = maybe_result(c, F64, n * tokens);
  CALL(c,
       swiftdpo_humanline_clamp(policy, reference, num_sequences, length, low, high, log_ratios, passes, &c->culprit));
}
