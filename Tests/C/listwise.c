/* Lists with targets: the three losses against their definitions in extended precision, and what is refused. */
#include <math.h>

#include "real.h"

enum { GROUPS = 30, MAX_ITEMS = 11, ALL = GROUPS * MAX_ITEMS };

static struct {
  real policy[ALL], ref[ALL], targets[ALL], betas[GROUPS], weights[GROUPS];
  real losses[GROUPS], gradient[ALL], rewards[ALL];
  int64_t offsets[GROUPS + 1];
  double loss;
} b;

static TYPED(swiftdpo_lists) lists;
static TYPED(swiftdpo_list_results) results;
static swiftdpo_listwise_options options;

static void fill(swiftdpo_listwise_loss_type type) {
  uint64_t seed = 11;
  int64_t end = 0;
  memset(&b, 0, sizeof b);
  for (int group = 0; group < GROUPS; group++) {
    const int count = group % (MAX_ITEMS + 1);
    double sum = 0;
    for (int i = 0; i < count; i++) {
      b.policy[end + i] = random_real(&seed, -3, 3);
      b.ref[end + i] = random_real(&seed, -3, 3);
      b.targets[end + i] = random_real(&seed, 0, 2);
      sum += (double)b.targets[end + i];
    }
    for (int i = 0; i < count && type == SWIFTDPO_LISTWISE_CROSS_ENTROPY; i++)
      b.targets[end + i] = (real)((double)b.targets[end + i] / sum);
    b.betas[group] = random_real(&seed, 0.25, 2);
    b.weights[group] = random_real(&seed, 0.25, 2);
    end += count;
    b.offsets[group + 1] = end;
  }
  lists = (TYPED(swiftdpo_lists))INIT(LISTS);
  lists.num_groups = GROUPS;
  lists.policy_logps = b.policy, lists.ref_logps = b.ref, lists.targets = b.targets;
  lists.betas = b.betas, lists.weights = b.weights, lists.offsets = b.offsets;
  options = (swiftdpo_listwise_options)SWIFTDPO_LISTWISE_OPTIONS_INIT;
  options.loss_type = type;
  options.reduction = SWIFTDPO_REDUCTION_SUM;
  results = (TYPED(swiftdpo_list_results))INIT(LIST_RESULTS);
  results.loss = &b.loss;
  results.losses = b.losses, results.grad_policy_logps = b.gradient, results.rewards = b.rewards;
}

static swiftdpo_status run(swiftdpo_culprit *culprit) {
  return TYPED(swiftdpo_listwise_loss)(&lists, &options, &results, culprit);
}

/** How many candidates come before one in falling order of a key. */
static int place_of(const long double *keys, int count, int item) {
  int place = 0;
  for (int i = 0; i < count; i++)
    place += keys[i] > keys[item] || (keys[i] == keys[item] && i < item);
  return place;
}

static long double cross_entropy(int count, const long double *s, const long double *t, long double *slopes) {
  long double sum = 0, loss = 0, all = 0;
  for (int i = 0; i < count; i++) {
    sum += expl(s[i]);
    all += t[i];
  }
  for (int i = 0; i < count; i++) {
    loss += t[i] * (logl(sum) - s[i]);
    slopes[i] = all * expl(s[i]) / sum - t[i];
  }
  return loss;
}

static long double lambda(int count, const long double *s, const long double *t, long double *slopes) {
  long double loss = 0;
  for (int i = 0; i < count; i++)
    for (int j = 0; j < count; j++)
      if (t[i] > t[j]) {
        const long double discounts = 1 / logl(2 + place_of(s, count, i)) - 1 / logl(2 + place_of(s, count, j));
        const long double weight = (exp2l(t[i]) - exp2l(t[j])) * fabsl(discounts);
        loss += weight * log1pl(expl(s[j] - s[i]));
        slopes[i] -= weight / (1 + expl(s[i] - s[j]));
        slopes[j] += weight / (1 + expl(s[i] - s[j]));
      }
  return loss;
}

static long double pro(int count, const long double *s, const long double *t, long double *slopes) {
  long double loss = 0, lowest = INFINITY;
  for (int i = 0; i < count; i++)
    lowest = fminl(lowest, t[i]);
  for (int k = 0; k < count; k++) {
    if (place_of(t, count, k) == count - 1)
      continue;
    long double sum = 0;
    for (int i = 0; i < count; i++)
      if (place_of(t, count, i) >= place_of(t, count, k))
        sum += expl((i == k ? t[k] - lowest : t[k] - t[i]) * s[i]);
    loss += logl(sum) - (t[k] - lowest) * s[k];
    for (int i = 0; i < count; i++)
      if (place_of(t, count, i) >= place_of(t, count, k)) {
        const long double factor = i == k ? t[k] - lowest : t[k] - t[i];
        slopes[i] += factor * (expl(factor * s[i]) / sum - (i == k));
      }
  }
  return loss;
}

static void test_values(void) {
  long double (*const losses[])(int, const long double *, const long double *, long double *) = {cross_entropy, lambda,
                                                                                                 pro};
  for (int type = 0; type < 3; type++) {
    fill((swiftdpo_listwise_loss_type)type);
    CHECK_OK(run(NULL));
    long double total = 0;
    for (int group = 0; group < GROUPS; group++) {
      const int64_t first = b.offsets[group];
      const int count = (int)(b.offsets[group + 1] - first);
      const long double beta = b.betas[group], weight = b.weights[group];
      long double s[MAX_ITEMS] = {0}, t[MAX_ITEMS] = {0}, slopes[MAX_ITEMS] = {0};
      for (int i = 0; i < count; i++) {
        s[i] = beta * ((long double)b.policy[first + i] - b.ref[first + i]);
        t[i] = b.targets[first + i];
        CHECK_REAL(b.rewards[first + i], s[i]);
      }
      const long double exact = count == 0 ? 0 : weight * losses[type](count, s, t, slopes);
      total += exact;
      CHECK_WITHIN(64 * REAL_EPSILON * fmax(1, (double)exact), b.losses[group], exact);
      for (int i = 0; i < count; i++)
        CHECK_WITHIN(64 * REAL_EPSILON * 16, b.gradient[first + i], beta * weight * slopes[i]);
    }
    CHECK_WITHIN(1e-13 * (double)total, b.loss, total);
  }
}

static void check_refused(swiftdpo_status status, const char *argument, size_t index) {
  swiftdpo_culprit culprit = {"nobody", 999};
  b.loss = -1, b.losses[1] = -1, b.gradient[0] = -1;
  CHECK_STATUS(status, run(&culprit));
  check_that(strcmp(culprit.argument, argument) == 0 && culprit.index == index, __FILE__, __LINE__, "%s[%zu]",
             culprit.argument, culprit.index);
  CHECK(b.loss == -1 && b.losses[1] == -1 && b.gradient[0] == -1);
}

static void test_bad_input(void) {
  swiftdpo_culprit culprit = {"nobody", 999};
  fill(SWIFTDPO_LISTWISE_CROSS_ENTROPY);
  CHECK_STATUS(SWIFTDPO_ERROR_NULL_POINTER, TYPED(swiftdpo_listwise_loss)(NULL, NULL, &results, &culprit));
  CHECK_STATUS(SWIFTDPO_ERROR_NULL_POINTER, TYPED(swiftdpo_listwise_loss)(&lists, NULL, NULL, &culprit));
#define REFUSED(type, change, status, argument, index) \
  do { \
    fill(type); \
    change; \
    check_refused(status, argument, index); \
  } while (0)
  const swiftdpo_listwise_loss_type ce = SWIFTDPO_LISTWISE_CROSS_ENTROPY, by_pairs = SWIFTDPO_LISTWISE_LAMBDA;
  REFUSED(ce, lists.struct_size = 3, SWIFTDPO_ERROR_STRUCT_SIZE, "lists", 0);
  REFUSED(ce, options.struct_size = 3, SWIFTDPO_ERROR_STRUCT_SIZE, "options", 0);
  REFUSED(ce, results.struct_size = 3, SWIFTDPO_ERROR_STRUCT_SIZE, "results", 0);
  REFUSED(ce, options.loss_type = (swiftdpo_listwise_loss_type)9, SWIFTDPO_ERROR_LOSS_TYPE, "loss_type", 0);
  REFUSED(ce, options.beta = 0, SWIFTDPO_ERROR_BETA, "beta", 0);
  REFUSED(ce, options.reduction = (swiftdpo_reduction)9, SWIFTDPO_ERROR_REDUCTION, "reduction", 0);
  REFUSED(ce, options.nonfinite = (swiftdpo_nonfinite)9, SWIFTDPO_ERROR_NONFINITE_POLICY, "nonfinite", 0);
  REFUSED(ce, lists.policy_logps = NULL, SWIFTDPO_ERROR_NULL_POINTER, "policy_logps", 0);
  REFUSED(ce, lists.targets = NULL, SWIFTDPO_ERROR_NULL_POINTER, "targets", 0);
  REFUSED(ce, results.rewards = b.policy, SWIFTDPO_ERROR_OVERLAP, "rewards", 0);
  REFUSED(ce, b.offsets[0] = 1, SWIFTDPO_ERROR_OFFSETS, "offsets", 0);
  REFUSED(ce, b.offsets[5] = 0, SWIFTDPO_ERROR_OFFSETS, "offsets", 5);
  REFUSED(ce, b.betas[3] = 0, SWIFTDPO_ERROR_BETA, "betas", 3);
  REFUSED(ce, b.weights[3] = -1, SWIFTDPO_ERROR_WEIGHT, "weights", 3);
  REFUSED(ce, b.targets[2] = -1, SWIFTDPO_ERROR_TARGET, "targets", 2);
  REFUSED(ce, b.targets[1] = (real)0.01, SWIFTDPO_ERROR_TARGET, "targets", 1);
  REFUSED(by_pairs, b.targets[4] = 513, SWIFTDPO_ERROR_TARGET, "targets", 4);
  REFUSED(by_pairs, b.targets[4] = (real)NAN, SWIFTDPO_ERROR_NONFINITE, "targets", 4);
  REFUSED(by_pairs, b.policy[4] = (real)INFINITY, SWIFTDPO_ERROR_NONFINITE, "policy_logps", 4);
  REFUSED(by_pairs, b.ref[4] = (real)NAN, SWIFTDPO_ERROR_NONFINITE, "ref_logps", 4);
#undef REFUSED
  fill(by_pairs);
  b.policy[4] = (real)NAN;
  options.nonfinite = SWIFTDPO_NONFINITE_PROPAGATE;
  CHECK_OK(run(NULL));
  CHECK(isnan(b.loss) && isnan(b.gradient[4]) && !isnan(b.losses[GROUPS - 1]));
}

void TYPED(test_listwise)(void) {
  test_values();
  test_bad_input();
}
