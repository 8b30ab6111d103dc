/* Weights and bounds of tokens: every way to call them wrongly, and what they answer. */
#include <math.h>

#include "refused.h"

enum { SEQUENCES = 3, LENGTH = 5, SIZE = SEQUENCES * LENGTH };

typedef struct fixture {
  struct {
    double policy[SIZE], ref[SIZE], log_sum_squares[SIZE];
    int64_t num_tokens[SEQUENCES];
  } read;
  struct {
    double weights[SEQUENCES + 1], log_ratios[SEQUENCES + 1], passes[SIZE + 1];
  } written;
  int clamps;
  const double *policy, *ref, *log_sum_squares;
  const int64_t *num_tokens;
  size_t sequences, length;
  double low, high;
  double *weights, *log_ratios, *passes;
} fixture;

static void fixture_init(fixture *f) {
  memset(f, 0, sizeof *f);
  memset(&f->written, UNTOUCHED, sizeof f->written);
  for (size_t i = 0; i < SIZE; i++) {
    f->read.policy[i] = -1 - (double)i;
    f->read.ref[i] = -2;
    f->read.log_sum_squares[i] = -0.5;
  }
  for (size_t i = 0; i < SEQUENCES; i++)
    f->read.num_tokens[i] = LENGTH;
  f->policy = f->read.policy;
  f->ref = f->read.ref;
  f->log_sum_squares = f->read.log_sum_squares;
  f->num_tokens = f->read.num_tokens;
  f->sequences = SEQUENCES;
  f->length = LENGTH;
  f->low = -1.5;
  f->high = 0.5;
  f->weights = f->written.weights;
  f->log_ratios = f->written.log_ratios;
  f->passes = f->written.passes;
}

static swiftdpo_status call(fixture *f, swiftdpo_culprit *culprit) {
  if (f->clamps)
    return swiftdpo_humanline_clamp(f->policy, f->ref, f->sequences, f->length, f->low, f->high, f->log_ratios,
                                    f->passes, culprit);
  return swiftdpo_wpo_weights(f->policy, f->log_sum_squares, f->num_tokens, f->sequences, f->length, f->weights,
                              culprit);
}

static void test_wpo_weights(void) {
  REFUSED(SWIFTDPO_ERROR_NULL_POINTER, "token_logps", 0, f.policy = NULL);
  REFUSED(SWIFTDPO_ERROR_NULL_POINTER, "num_tokens", 0, f.num_tokens = NULL);
  REFUSED(SWIFTDPO_ERROR_NULL_POINTER, "weights", 0, f.weights = NULL);
  REFUSED(SWIFTDPO_ERROR_MISALIGNED, "token_logps", 0, f.policy = MISALIGNED(f.read.policy));
  REFUSED(SWIFTDPO_ERROR_MISALIGNED, "num_tokens", 0, f.num_tokens = MISALIGNED(f.read.num_tokens));
  REFUSED(SWIFTDPO_ERROR_MISALIGNED, "weights", 0, f.weights = MISALIGNED(f.written.weights));
  REFUSED(SWIFTDPO_ERROR_SIZE_OVERFLOW, "num_sequences", 0, f.sequences = SIZE_MAX);
  REFUSED(SWIFTDPO_ERROR_SIZE_OVERFLOW, "num_sequences", 0, f.length = SIZE_MAX / 2);
  REFUSED(SWIFTDPO_ERROR_OVERLAP, "weights", 0, f.weights = f.read.log_sum_squares + SIZE - 1);
  REFUSED(SWIFTDPO_ERROR_NONFINITE, "token_logps", 7, f.read.policy[7] = -INFINITY);
  REFUSED(SWIFTDPO_ERROR_NONFINITE, "log_sum_squares", 14, f.read.log_sum_squares[14] = NAN);
  REFUSED(SWIFTDPO_ERROR_LENGTH, "num_tokens", 1, f.read.num_tokens[1] = -1);
  ACCEPTED();
  ACCEPTED(f.log_sum_squares = NULL; f.read.num_tokens[0] = 0);
  ACCEPTED(f.sequences = 0; f.policy = NULL; f.num_tokens = NULL);
}

static void test_humanline_clamp(void) {
#define REFUSED_BY(status, argument, element, ...) REFUSED(status, argument, element, f.clamps = 1; __VA_ARGS__)
  REFUSED_BY(SWIFTDPO_ERROR_NULL_POINTER, "policy_token_logps", 0, f.policy = NULL);
  REFUSED_BY(SWIFTDPO_ERROR_NULL_POINTER, "ref_token_logps", 0, f.ref = NULL);
  REFUSED_BY(SWIFTDPO_ERROR_MISALIGNED, "ref_token_logps", 0, f.ref = MISALIGNED(f.read.ref));
  REFUSED_BY(SWIFTDPO_ERROR_MISALIGNED, "log_ratios", 0, f.log_ratios = MISALIGNED(f.written.log_ratios));
  REFUSED_BY(SWIFTDPO_ERROR_SIZE_OVERFLOW, "num_sequences", 0, f.sequences = SIZE_MAX / 3);
  REFUSED_BY(SWIFTDPO_ERROR_OVERLAP, "passes", 0, f.passes = f.read.ref);
  REFUSED_BY(SWIFTDPO_ERROR_OVERLAP, "passes", 0, f.passes = f.written.log_ratios + 1);
  REFUSED_BY(SWIFTDPO_ERROR_PARAMETER, "low", 0, f.low = 0.25);
  REFUSED_BY(SWIFTDPO_ERROR_PARAMETER, "low", 0, f.low = -INFINITY);
  REFUSED_BY(SWIFTDPO_ERROR_PARAMETER, "high", 0, f.high = -0.25);
  REFUSED_BY(SWIFTDPO_ERROR_PARAMETER, "high", 0, f.high = NAN);
  REFUSED_BY(SWIFTDPO_ERROR_NONFINITE, "policy_token_logps", 14, f.read.policy[14] = NAN);
  REFUSED_BY(SWIFTDPO_ERROR_NONFINITE, "ref_token_logps", 0, f.read.ref[0] = INFINITY);
#undef REFUSED_BY
  ACCEPTED(f.clamps = 1);
  ACCEPTED(f.clamps = 1; f.log_ratios = f.passes = NULL);
  ACCEPTED(f.clamps = 1; f.low = f.high = 0; f.length = 0; f.policy = f.ref = NULL);
}

void test_tokens_bad_input(void) {
  test_wpo_weights();
  test_humanline_clamp();
}
