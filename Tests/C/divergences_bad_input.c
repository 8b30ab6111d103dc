/* Divergences: every way to call swiftdpo_divergence wrongly, and what it answers. */
#include <math.h>

#include "real.h"
#include "refused.h"

enum { ROWS = 3, OUTCOMES = 5, SIZE = ROWS * OUTCOMES };

typedef struct fixture {
  struct {
    real logp[SIZE], logq[SIZE];
  } read;
  struct {
    double divergences[ROWS + 1];
    real grad_logp[SIZE + 1], grad_logq[SIZE + 1];
  } written;
  TYPED(swiftdpo_distributions) distributions;
  swiftdpo_divergence_options options;
  TYPED(swiftdpo_divergence_results) results;
} fixture;

static void fixture_init(fixture *f) {
  memset(f, 0, sizeof *f);
  memset(&f->written, UNTOUCHED, sizeof f->written);
  for (size_t i = 0; i < SIZE; i++) {
    f->read.logp[i] = (real)-1.6 - (real)0.01 * (real)i;
    f->read.logq[i] = i == 3 ? (real)-INFINITY : (real)-1.5;
  }
  f->distributions = (TYPED(swiftdpo_distributions))INIT(DISTRIBUTIONS);
  f->distributions.num_rows = ROWS;
  f->distributions.num_outcomes = OUTCOMES;
  f->distributions.logp = f->read.logp;
  f->distributions.logq = f->read.logq;
  f->options = (swiftdpo_divergence_options)SWIFTDPO_DIVERGENCE_OPTIONS_INIT;
  f->results = (TYPED(swiftdpo_divergence_results))INIT(DIVERGENCE_RESULTS);
  f->results.divergences = f->written.divergences;
  f->results.grad_logp = f->written.grad_logp;
  f->results.grad_logq = f->written.grad_logq;
}

static swiftdpo_status call(fixture *f, swiftdpo_culprit *culprit) {
  return TYPED(swiftdpo_divergence)(&f->distributions, &f->options, &f->results, culprit);
}

static void test_buffers(void) {
  REFUSED(SWIFTDPO_ERROR_NULL_POINTER, "logp", 0, f.distributions.logp = NULL);
  REFUSED(SWIFTDPO_ERROR_NULL_POINTER, "logq", 0, f.distributions.logq = NULL);
  REFUSED(SWIFTDPO_ERROR_STRUCT_SIZE, "distributions", 0, f.distributions.struct_size--);
  REFUSED(SWIFTDPO_ERROR_STRUCT_SIZE, "options", 0, f.options.struct_size = 0);
  REFUSED(SWIFTDPO_ERROR_STRUCT_SIZE, "results", 0, f.results.struct_size--);
  REFUSED(SWIFTDPO_ERROR_MISALIGNED, "logq", 0, f.distributions.logq = MISALIGNED(f.read.logq));
  REFUSED(SWIFTDPO_ERROR_MISALIGNED, "divergences", 0, f.results.divergences = MISALIGNED(f.written.divergences));
  REFUSED(SWIFTDPO_ERROR_COUNT, "num_outcomes", 0, f.distributions.num_outcomes = 0);
  REFUSED(SWIFTDPO_ERROR_SIZE_OVERFLOW, "num_rows", 0, f.distributions.num_rows = SIZE_MAX);
  REFUSED(SWIFTDPO_ERROR_SIZE_OVERFLOW, "num_rows", 0, f.distributions.num_rows = SIZE_MAX / 8);
  REFUSED(SWIFTDPO_ERROR_OVERLAP, "grad_logp", 0, f.results.grad_logp = f.read.logq + 1);
  REFUSED(SWIFTDPO_ERROR_OVERLAP, "grad_logq", 0, f.results.grad_logq = f.written.grad_logp);
}

static void test_values(void) {
  REFUSED(SWIFTDPO_ERROR_DIVERGENCE_KIND, "kind", 0, f.options.kind = (swiftdpo_divergence_kind)4);
  REFUSED(SWIFTDPO_ERROR_DIVERGENCE_KIND, "kind", 0, f.options.kind = (swiftdpo_divergence_kind)-1);
  REFUSED(SWIFTDPO_ERROR_NONFINITE_POLICY, "nonfinite", 0, f.options.nonfinite = (swiftdpo_nonfinite)3);
  for (size_t i = 0; i < SIZE; i++) {
    REFUSED(SWIFTDPO_ERROR_NONFINITE, "logp", i, f.read.logp[i] = (real)NAN);
    REFUSED(SWIFTDPO_ERROR_NONFINITE, "logq", i, f.read.logq[i] = (real)INFINITY);
    REFUSED(SWIFTDPO_ERROR_LOG_PROBABILITY, "logq", i, f.read.logq[i] = (real)0.02);
  }
  REFUSED(SWIFTDPO_ERROR_LOG_PROBABILITY, "logp", 1, f.read.logp[1] = 1;
          f.options.nonfinite = SWIFTDPO_NONFINITE_PROPAGATE);
  ACCEPTED(f.read.logp[1] = (real)NAN; f.options.nonfinite = SWIFTDPO_NONFINITE_PROPAGATE);
  ACCEPTED(f.read.logp[1] = (real)0.001);
  ACCEPTED(f.distributions.num_rows = 0; f.distributions.logp = NULL);
}

/** Each result alone is what it is among the others. */
static void test_results_that_are_skipped(void) {
  for (int kind = 0; kind < 4; kind++) {
    fixture all;
    fixture_init(&all);
    all.options.kind = (swiftdpo_divergence_kind)kind;
    CHECK_OK(call(&all, NULL));
    fixture some;
    fixture_init(&some);
    some.options.kind = (swiftdpo_divergence_kind)kind;
    some.results.divergences = NULL;
    some.results.grad_logp = NULL;
    CHECK_OK(call(&some, NULL));
    CHECK_SAME_BITS(some.written.grad_logq, all.written.grad_logq, sizeof all.written.grad_logq);
    CHECK(is_untouched(some.written.divergences, sizeof some.written.divergences));
  }
}

static void test_elementwise(void) {
  const real x[] = {1, 2, (real)NAN}, y[] = {0, 1, 2};
  real out[3];
  memset(out, UNTOUCHED, sizeof out);
  swiftdpo_culprit culprit = {"nobody", 999};
  CHECK_STATUS(SWIFTDPO_ERROR_NONFINITE,
               TYPED(swiftdpo_kl_estimates)(3, y, x, SWIFTDPO_NONFINITE_ERROR, out, NULL, NULL, &culprit));
  CHECK(strcmp(culprit.argument, "ref_logps") == 0 && culprit.index == 2);
  CHECK_STATUS(SWIFTDPO_ERROR_NONFINITE,
               TYPED(swiftdpo_preference_probability)(3, x, y, SWIFTDPO_NONFINITE_ERROR, out, NULL, &culprit));
  CHECK(strcmp(culprit.argument, "chosen_rewards") == 0 && culprit.index == 2);
  CHECK_STATUS(SWIFTDPO_ERROR_NULL_POINTER,
               TYPED(swiftdpo_preference_probability)(2, x, NULL, SWIFTDPO_NONFINITE_ERROR, out, NULL, &culprit));
  CHECK(strcmp(culprit.argument, "rejected_rewards") == 0);
  CHECK_STATUS(SWIFTDPO_ERROR_OVERLAP,
               TYPED(swiftdpo_kl_estimates)(2, x, y, SWIFTDPO_NONFINITE_ERROR, out, out + 1, NULL, &culprit));
  CHECK_STATUS(SWIFTDPO_ERROR_SIZE_OVERFLOW,
               TYPED(swiftdpo_kl_estimates)(SIZE_MAX, x, y, SWIFTDPO_NONFINITE_ERROR, out, NULL, NULL, &culprit));
  CHECK_STATUS(SWIFTDPO_ERROR_NONFINITE_POLICY,
               TYPED(swiftdpo_kl_estimates)(2, x, y, (swiftdpo_nonfinite)7, out, NULL, NULL, &culprit));
  CHECK(is_untouched(out, sizeof out));
  CHECK_OK(TYPED(swiftdpo_kl_estimates)(2, x, y, SWIFTDPO_NONFINITE_ERROR, out, NULL, NULL, NULL));
  CHECK(out[0] == 1 && out[1] == 1);
  CHECK_OK(TYPED(swiftdpo_kl_estimates)(0, NULL, NULL, SWIFTDPO_NONFINITE_ERROR, NULL, NULL, NULL, NULL));
}

void TYPED(test_divergences_bad_input)(void) {
  ACCEPTED();
  test_buffers();
  test_values();
  test_results_that_are_skipped();
  test_elementwise();
}
