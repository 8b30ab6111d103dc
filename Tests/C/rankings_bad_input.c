/* Rankings: every way to call swiftdpo_plackett_luce_loss wrongly, and what it answers. */
#include <math.h>

#include "real.h"
#include "refused.h"

enum { GROUPS = 3, K = 4, ITEMS = GROUPS * K };

typedef struct fixture {
  struct {
    real policy[ITEMS], ref[ITEMS], betas[GROUPS + 1], weights[GROUPS + 1];
    int64_t rankings[ITEMS];
  } read;
  struct {
    double loss;
    real losses[GROUPS + 1], gradient[ITEMS + 2], rewards[ITEMS + 2], gradient_weights[ITEMS + 2];
  } written;
  TYPED(swiftdpo_rankings) rankings;
  swiftdpo_plackett_luce_options options;
  TYPED(swiftdpo_ranking_results) results;
} fixture;

static void fixture_init(fixture *f) {
  memset(f, 0, sizeof *f);
  memset(&f->written, UNTOUCHED, sizeof f->written);
  for (size_t i = 0; i < ITEMS; i++) {
    f->read.policy[i] = (real)-10 - (real)i;
    f->read.ref[i] = (real)-12;
    f->read.rankings[i] = (int64_t)(K - 1 - i % K);
  }
  for (size_t group = 0; group < GROUPS; group++)
    f->read.betas[group] = f->read.weights[group] = 1;
  f->rankings = (TYPED(swiftdpo_rankings))INIT(RANKINGS);
  f->rankings.num_groups = GROUPS;
  f->rankings.group_size = K;
  f->rankings.policy_logps = f->read.policy;
  f->rankings.ref_logps = f->read.ref;
  f->rankings.rankings = f->read.rankings;
  f->rankings.betas = f->read.betas;
  f->rankings.weights = f->read.weights;
  f->options = (swiftdpo_plackett_luce_options)SWIFTDPO_PLACKETT_LUCE_OPTIONS_INIT;
  f->results = (TYPED(swiftdpo_ranking_results))INIT(RANKING_RESULTS);
  f->results.loss = &f->written.loss;
  f->results.losses = f->written.losses;
  f->results.grad_policy_logps = f->written.gradient;
  f->results.rewards = f->written.rewards;
  f->results.gradient_weights = f->written.gradient_weights;
}

static swiftdpo_status call(fixture *f, swiftdpo_culprit *culprit) {
  return TYPED(swiftdpo_plackett_luce_loss)(&f->rankings, &f->options, &f->results, culprit);
}

static void test_null_pointers(void) {
  fixture f;
  fixture_init(&f);
  swiftdpo_culprit culprit = {"nobody", 999};
  CHECK_STATUS(SWIFTDPO_ERROR_NULL_POINTER, TYPED(swiftdpo_plackett_luce_loss)(NULL, NULL, &f.results, &culprit));
  CHECK(strcmp(culprit.argument, "rankings") == 0 && culprit.index == 0);
  CHECK_STATUS(SWIFTDPO_ERROR_NULL_POINTER, TYPED(swiftdpo_plackett_luce_loss)(&f.rankings, NULL, NULL, &culprit));
  CHECK(strcmp(culprit.argument, "results") == 0 && culprit.index == 0);
  CHECK(is_untouched(&f.written, sizeof f.written));
  REFUSED(SWIFTDPO_ERROR_NULL_POINTER, "policy_logps", 0, f.rankings.policy_logps = NULL);
}

static void test_struct_sizes(void) {
  REFUSED(SWIFTDPO_ERROR_STRUCT_SIZE, "rankings", 0, f.rankings.struct_size = 0);
  REFUSED(SWIFTDPO_ERROR_STRUCT_SIZE, "options", 0, f.options.struct_size++);
  REFUSED(SWIFTDPO_ERROR_STRUCT_SIZE, "results", 0, f.results.struct_size = SIZE_MAX);
}

static void test_misaligned_buffers(void) {
  REFUSED(SWIFTDPO_ERROR_MISALIGNED, "policy_logps", 0, f.rankings.policy_logps = MISALIGNED(f.read.policy));
  REFUSED(SWIFTDPO_ERROR_MISALIGNED, "rankings", 0, f.rankings.rankings = MISALIGNED(f.read.rankings));
  REFUSED(SWIFTDPO_ERROR_MISALIGNED, "rewards", 0, f.results.rewards = MISALIGNED(f.written.rewards));
}

static void test_counts(void) {
  REFUSED(SWIFTDPO_ERROR_COUNT, "group_size", 0, f.rankings.group_size = 0);
  REFUSED(SWIFTDPO_ERROR_SIZE_OVERFLOW, "num_groups", 0, f.rankings.num_groups = SIZE_MAX / K + 2);
  REFUSED(SWIFTDPO_ERROR_SIZE_OVERFLOW, "policy_logps", 0, f.rankings.num_groups = SIZE_MAX / sizeof(real) / K);
  REFUSED(SWIFTDPO_ERROR_SIZE_OVERFLOW, "num_groups", 0,
          f.rankings.num_groups = f.rankings.group_size = (size_t)1 << (sizeof(size_t) * 4));
}

static void test_overlaps(void) {
  REFUSED(SWIFTDPO_ERROR_OVERLAP, "grad_policy_logps", 0, f.results.grad_policy_logps = f.read.policy);
  REFUSED(SWIFTDPO_ERROR_OVERLAP, "rewards", 0, f.results.rewards = (real *)(void *)(f.read.rankings + ITEMS - 1));
  REFUSED(SWIFTDPO_ERROR_OVERLAP, "losses", 0, f.results.losses = f.read.ref + ITEMS - 1);
  REFUSED(SWIFTDPO_ERROR_OVERLAP, "gradient_weights", 0, f.results.gradient_weights = f.written.rewards + K);
}

static void test_options(void) {
  REFUSED(SWIFTDPO_ERROR_BETA, "beta", 0, f.options.beta = 0);
  REFUSED(SWIFTDPO_ERROR_BETA, "beta", 0, f.options.beta = -1);
  REFUSED(SWIFTDPO_ERROR_BETA, "beta", 0, f.options.beta = NAN);
  REFUSED(SWIFTDPO_ERROR_REDUCTION, "reduction", 0, f.options.reduction = (swiftdpo_reduction)7);
  REFUSED(SWIFTDPO_ERROR_NONFINITE_POLICY, "nonfinite", 0, f.options.nonfinite = (swiftdpo_nonfinite)-1);
}

static void test_not_a_ranking(void) {
  for (size_t i = 0; i < ITEMS; i++) {
    REFUSED(SWIFTDPO_ERROR_NOT_A_RANKING, "rankings", i, f.read.rankings[i] = -1);
    REFUSED(SWIFTDPO_ERROR_NOT_A_RANKING, "rankings", i, f.read.rankings[i] = K);
    REFUSED(SWIFTDPO_ERROR_NOT_A_RANKING, "rankings", i, f.read.rankings[i] = INT64_MIN);
    REFUSED(SWIFTDPO_ERROR_NOT_A_RANKING, "rankings", i, f.read.rankings[i] = INT64_C(1) << 32);
  }
  REFUSED(SWIFTDPO_ERROR_NOT_A_RANKING, "rankings", K + 2, f.read.rankings[K + 2] = f.read.rankings[K]);
}

/** Longer groups than a machine word has bits. */
static void test_not_a_long_ranking(void) {
  enum { LONG = 200 };
  static real policy[LONG];
  static int64_t order[LONG];
  for (int64_t i = 0; i < LONG; i++)
    order[i] = LONG - 1 - i;
  TYPED(swiftdpo_rankings) rankings = INIT(RANKINGS);
  rankings.num_groups = 1;
  rankings.group_size = LONG;
  rankings.policy_logps = policy;
  rankings.rankings = order;
  double loss = -1;
  TYPED(swiftdpo_ranking_results) results = INIT(RANKING_RESULTS);
  results.loss = &loss;
  CHECK_OK(TYPED(swiftdpo_plackett_luce_loss)(&rankings, NULL, &results, NULL));
  loss = -1;
  order[150] = order[20];
  swiftdpo_culprit culprit = {"nobody", 999};
  CHECK_STATUS(SWIFTDPO_ERROR_NOT_A_RANKING, TYPED(swiftdpo_plackett_luce_loss)(&rankings, NULL, &results, &culprit));
  CHECK(strcmp(culprit.argument, "rankings") == 0 && culprit.index == 150);
  CHECK(loss == -1);
}

static void test_data(void) {
  REFUSED(SWIFTDPO_ERROR_NONFINITE, "policy_logps", 6, f.read.policy[6] = (real)NAN);
  REFUSED(SWIFTDPO_ERROR_NONFINITE, "policy_logps", 11, f.read.policy[11] = (real)INFINITY);
  REFUSED(SWIFTDPO_ERROR_NONFINITE, "ref_logps", 0, f.read.ref[0] = (real)-INFINITY);
  REFUSED(SWIFTDPO_ERROR_BETA, "betas", 2, f.read.betas[2] = 0);
  REFUSED(SWIFTDPO_ERROR_BETA, "betas", 1, f.read.betas[1] = (real)NAN);
  REFUSED(SWIFTDPO_ERROR_WEIGHT, "weights", 2, f.read.weights[2] = (real)-1);
  REFUSED(SWIFTDPO_ERROR_WEIGHT, "weights", 0, f.read.weights[0] = (real)INFINITY);
  REFUSED(SWIFTDPO_ERROR_WEIGHT, "weights", 1, f.read.weights[1] = (real)NAN);
}

void TYPED(test_rankings_bad_input)(void) {
  ACCEPTED();
  test_null_pointers();
  test_struct_sizes();
  test_misaligned_buffers();
  test_counts();
  test_overlaps();
  test_options();
  test_not_a_ranking();
  test_not_a_long_ranking();
  test_data();
}
