/* Rankings: values and gradients against a quadratic-time sum in extended precision, and what a batch may not change. */
#include <math.h>

#include "real.h"

enum { MAX_ITEMS = 4096, MAX_GROUPS = 120, MAX_CHECKED = 32 };

/** A batch that owns its buffers, one at a time: they are too large for the stack. */
static struct {
  real policy[MAX_ITEMS], ref[MAX_ITEMS], betas[MAX_GROUPS], weights[MAX_GROUPS];
  int64_t orders[MAX_ITEMS];
  double loss;
  real losses[MAX_GROUPS], gradient[MAX_ITEMS], rewards[MAX_ITEMS], gradient_weights[MAX_ITEMS];
  TYPED(swiftdpo_rankings) rankings;
  swiftdpo_plackett_luce_options options;
  TYPED(swiftdpo_ranking_results) results;
} b;

static void batch_init(size_t num_groups, size_t group_size) {
  memset(&b, 0, sizeof b);
  b.rankings = (TYPED(swiftdpo_rankings))INIT(RANKINGS);
  b.rankings.num_groups = num_groups;
  b.rankings.group_size = group_size;
  b.rankings.policy_logps = b.policy;
  b.options = (swiftdpo_plackett_luce_options)SWIFTDPO_PLACKETT_LUCE_OPTIONS_INIT;
  b.options.reduction = SWIFTDPO_REDUCTION_SUM;
  b.results = (TYPED(swiftdpo_ranking_results))INIT(RANKING_RESULTS);
  b.results.loss = &b.loss;
  b.results.losses = b.losses;
  b.results.grad_policy_logps = b.gradient;
  b.results.rewards = b.rewards;
  b.results.gradient_weights = b.gradient_weights;
}

/** Random scores in [-spread, spread], and a random order for each group. */
static void batch_fill(uint64_t seed, double spread) {
  const size_t group_size = b.rankings.group_size;
  for (size_t i = 0; i < b.rankings.num_groups * group_size; i++) {
    b.policy[i] = random_real(&seed, -spread, spread);
    b.ref[i] = random_real(&seed, -spread, spread);
  }
  for (size_t group = 0; group < b.rankings.num_groups; group++) {
    int64_t *order = b.orders + group * group_size;
    for (size_t k = 0; k < group_size; k++) { /* Fisher-Yates, from the inside out */
      const size_t other = (size_t)((double)random_real(&seed, 0, 1) * (double)k);
      order[k] = order[other];
      order[other] = (int64_t)k;
    }
    b.betas[group] = random_real(&seed, 0.01, 2);
    b.weights[group] = random_real(&seed, 0, 2);
  }
}

static swiftdpo_status run(void) {
  return TYPED(swiftdpo_plackett_luce_loss)(&b.rankings, &b.options, &b.results, NULL);
}

static size_t item_at(size_t group, size_t place) {
  const size_t first = group * b.rankings.group_size;
  return first + (b.rankings.rankings ? (size_t)b.rankings.rankings[first + place] : place);
}

static long double beta_of(size_t group) { return b.rankings.betas ? b.betas[group] : (long double)b.options.beta; }

static long double score_of(size_t group, size_t place) {
  const size_t item = item_at(group, place);
  const long double reference = b.rankings.ref_logps ? b.ref[item] : 0;
  return beta_of(group) * ((long double)b.policy[item] - reference);
}

static long double softplus(long double x) { return fmaxl(x, 0) + log1pl(expl(-fabsl(x))); }

static long double sigmoid(long double x) { return x >= 0 ? 1 / (1 + expl(-x)) : expl(x) / (1 + expl(x)); }

/** log of the sum over j > k of exp(s_j - s_k): how much stronger the others of stage k are than its winner. */
static long double others_over_winner(size_t group, size_t k) {
  const size_t K = b.rankings.group_size;
  long double largest = -INFINITY;
  for (size_t j = k + 1; j < K; j++)
    largest = fmaxl(largest, score_of(group, j) - score_of(group, k));
  long double sum = 0;
  for (size_t j = k + 1; j < K; j++)
    sum += expl(score_of(group, j) - score_of(group, k) - largest);
  return k + 1 < K ? largest + logl(sum) : -INFINITY;
}

/** Compares every output of a group with the formulas of the header, term by term. */
static void check_group(size_t group, long double divisor) {
  const size_t K = b.rankings.group_size;
  const long double weight = b.rankings.weights ? b.weights[group] : 1;
  const long double scale = weight * beta_of(group) / divisor;
  long double others[MAX_CHECKED], loss = 0;
  for (size_t k = 0; k < K; k++) {
    others[k] = others_over_winner(group, k);
    loss += softplus(others[k]);
  }
  /* Two items are a pair. */
  const double limit = fmax(ULP_LIMIT, K == 2 ? PAIR_ULP_LIMIT : 0);
  CHECK_ULPS(limit, b.losses[group], weight * loss);

  for (size_t i = 0; i < K; i++) {
    const size_t item = item_at(group, i);
    const long double own = sigmoid(others[i]);
    long double earlier = 0; /* sum over k < i of exp(s_i - LSE_k) */
    for (size_t k = 0; k < i; k++)
      earlier += expl(score_of(group, i) - score_of(group, k) - softplus(others[k]));
    CHECK_REAL(b.rewards[item], score_of(group, i));
    CHECK_WITHIN(REAL_TINY + fmax((double)K, limit) * REAL_EPSILON * (double)own, b.gradient_weights[item], own);
    const double gradient_ulps = limit + (REAL_BITS == 64 ? sqrt((double)K) : 0);
    CHECK_WITHIN(REAL_TINY + gradient_ulps * REAL_EPSILON * (double)(scale * fmaxl(earlier, own)), b.gradient[item],
                 scale * (earlier - own));
  }
}

static void test_random_rankings(void) {
  static const size_t sizes[] = {1, 2, 3, 4, 5, 8, 11, 17, 31, 32};
  static const double spreads[] = {1, 30, 400, 1e4};
  for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
    for (size_t spread = 0; spread < sizeof spreads / sizeof *spreads; spread++)
      for (uint64_t variant = 0; variant < 8; variant++) {
        batch_init(19, sizes[s]);
        batch_fill(variant, spreads[spread]);
        b.options.beta = variant & 1 ? 1 : 0.1;
        b.rankings.rankings = variant & 1 ? b.orders : NULL;
        b.rankings.ref_logps = variant & 2 ? b.ref : NULL;
        b.rankings.betas = variant & 4 ? b.betas : NULL;
        b.rankings.weights = variant & 4 ? b.weights : NULL;
        b.options.reduction = variant & 2 ? SWIFTDPO_REDUCTION_MEAN : SWIFTDPO_REDUCTION_SUM;
        CHECK_OK(run());
        for (size_t group = 0; group < 19; group++)
          check_group(group, variant & 2 ? 19 : 1);
      }
}

/** Long groups take temporary memory and longer sums; their error is that of the sums. */
static void test_long_rankings(void) {
  static const size_t sizes[] = {63, 64, 65, 500};
  for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
    const size_t K = sizes[s];
    batch_init(2, K);
    batch_fill(s, 20);
    b.options.beta = 1;
    b.rankings.rankings = b.orders;
    CHECK_OK(run());
    for (size_t group = 0; group < 2; group++) {
      long double loss = 0;
      for (size_t k = 0; k < K; k++)
        loss += softplus(others_over_winner(group, k));
      CHECK_WITHIN((double)loss * (double)K * REAL_EPSILON, b.losses[group], loss);
    }
  }
}

/** The probabilities of all orders of five items add up to 1. */
static void test_all_orders_together_are_certain(void) {
  int64_t order[5];
  batch_init(120, 5);
  batch_fill(1, 3);
  b.options.beta = 1;
  b.rankings.rankings = b.orders;
  for (size_t group = 0; group < 120; group++) {
    memcpy(b.policy + 5 * group, b.policy, 5 * sizeof *b.policy);
    bool taken[5] = {false};
    for (size_t place = 0, rest = group, radix = 24; place < 5; place++) { /* the group-th order, in factorial digits */
      size_t skip = rest / radix;
      rest %= radix;
      radix = place < 4 ? radix / (4 - place) : 1;
      int64_t item = 0;
      while (taken[item] || skip > 0)
        skip -= !taken[item++];
      taken[item] = true;
      order[place] = item;
    }
    memcpy(b.orders + 5 * group, order, sizeof order);
  }
  CHECK_OK(run());
  long double total = 0;
  for (size_t group = 0; group < 120; group++)
    total += expl(-(long double)b.losses[group]);
  CHECK_WITHIN(120 * REAL_EPSILON, total, 1);
}

static void test_two_items_are_a_pair(void) {
  enum { GROUPS = 100 };
  batch_init(GROUPS, 2);
  batch_fill(2, 500);
  b.rankings.ref_logps = b.ref;
  b.rankings.weights = b.weights;
  CHECK_OK(run());

  static real chosen[GROUPS], rejected[GROUPS], ref_chosen[GROUPS], ref_rejected[GROUPS];
  static real losses[GROUPS], grad_chosen[GROUPS], grad_rejected[GROUPS], weights[GROUPS];
  for (size_t i = 0; i < GROUPS; i++) {
    chosen[i] = b.policy[2 * i];
    rejected[i] = b.policy[2 * i + 1];
    ref_chosen[i] = b.ref[2 * i];
    ref_rejected[i] = b.ref[2 * i + 1];
  }
  TYPED(swiftdpo_pairs) pairs = INIT(PAIRS);
  pairs.count = GROUPS;
  pairs.policy_chosen_logps = chosen;
  pairs.policy_rejected_logps = rejected;
  pairs.ref_chosen_logps = ref_chosen;
  pairs.ref_rejected_logps = ref_rejected;
  pairs.weights = b.weights;
  swiftdpo_dpo_options options = SWIFTDPO_DPO_OPTIONS_INIT;
  options.reduction = SWIFTDPO_REDUCTION_SUM;
  double loss = 0;
  TYPED(swiftdpo_pair_results) results = INIT(PAIR_RESULTS);
  results.loss = &loss;
  results.losses = losses;
  results.grad_policy_chosen_logps = grad_chosen;
  results.grad_policy_rejected_logps = grad_rejected;
  results.gradient_weights = weights;
  CHECK_OK(TYPED(swiftdpo_dpo_loss)(&pairs, &options, &results, NULL));

  CHECK(loss == b.loss);
  CHECK_SAME_BITS(losses, b.losses, sizeof losses);
  for (size_t i = 0; i < GROUPS; i++) {
    CHECK(grad_chosen[i] == b.gradient[2 * i]);
    CHECK(grad_rejected[i] == b.gradient[2 * i + 1]);
    CHECK(weights[i] == b.gradient_weights[2 * i]);
    CHECK(b.gradient_weights[2 * i + 1] == 0);
  }
}

static void test_one_item_has_no_choice(void) {
  batch_init(7, 1);
  batch_fill(3, 1e4);
  CHECK_OK(run());
  CHECK(b.loss == 0);
  for (size_t i = 0; i < 7; i++)
    CHECK(b.losses[i] == 0 && b.gradient[i] == 0 && b.gradient_weights[i] == 0);
}

static void test_order_given_or_sorted(void) {
  enum { GROUPS = 20, K = 9 };
  static real in_order[GROUPS * K], losses[GROUPS], gradient[GROUPS * K];
  batch_init(GROUPS, K);
  batch_fill(4, 50);
  b.rankings.rankings = b.orders;
  CHECK_OK(run());
  for (size_t group = 0; group < GROUPS; group++)
    for (size_t place = 0; place < K; place++) {
      in_order[group * K + place] = b.policy[item_at(group, place)];
      gradient[group * K + place] = b.gradient[item_at(group, place)];
    }
  memcpy(losses, b.losses, sizeof losses);
  b.rankings.policy_logps = in_order;
  b.rankings.rankings = NULL;
  CHECK_OK(run());
  CHECK_SAME_BITS(losses, b.losses, sizeof losses);
  CHECK_SAME_BITS(gradient, b.gradient, sizeof gradient);
}

static void test_a_group_does_not_feel_its_batch(void) {
  enum { GROUPS = 21, K = 6 };
  static real losses[GROUPS], gradient[GROUPS * K];
  batch_init(GROUPS, K);
  batch_fill(5, 50);
  CHECK_OK(run());
  memcpy(losses, b.losses, sizeof losses);
  memcpy(gradient, b.gradient, sizeof gradient);
  for (size_t groups = 1; groups < GROUPS; groups++) {
    const size_t first = GROUPS - groups;
    b.rankings.num_groups = groups;
    b.rankings.policy_logps = b.policy + first * K;
    CHECK_OK(run());
    CHECK_SAME_BITS(losses + first, b.losses, groups * sizeof *losses);
    CHECK_SAME_BITS(gradient + first * K, b.gradient, groups * K * sizeof *gradient);
  }
}

static void test_reductions(void) {
  enum { GROUPS = 10 };
  batch_init(GROUPS, 4);
  batch_fill(6, 5);
  CHECK_OK(run());
  const double sum = b.loss;
  long double total = 0;
  for (size_t group = 0; group < GROUPS; group++)
    total += b.losses[group];
  CHECK_WITHIN(GROUPS * REAL_EPSILON * (double)total, sum, total);
  b.options.reduction = SWIFTDPO_REDUCTION_NONE;
  CHECK_OK(run());
  CHECK(b.loss == sum);
  b.options.reduction = SWIFTDPO_REDUCTION_MEAN;
  CHECK_OK(run());
  CHECK_ULPS_F64(1, b.loss, (long double)sum / GROUPS);
}

static void test_no_options_are_the_defaults(void) {
  batch_init(5, 3);
  batch_fill(7, 5);
  CHECK_OK(TYPED(swiftdpo_plackett_luce_loss)(&b.rankings, NULL, &b.results, NULL));
  const double with_nothing = b.loss;
  const swiftdpo_plackett_luce_options defaults = SWIFTDPO_PLACKETT_LUCE_OPTIONS_INIT;
  b.options = defaults;
  b.loss = 0;
  CHECK_OK(run());
  CHECK(b.loss == with_nothing);
}

static void test_results_may_be_skipped(void) {
  enum { GROUPS = 5, K = 4 };
  static real losses[GROUPS], gradient[GROUPS * K], rewards[GROUPS * K], gradient_weights[GROUPS * K];
  double loss = 0;
  batch_init(GROUPS, K);
  batch_fill(8, 5);
  CHECK_OK(run());
  const TYPED(swiftdpo_ranking_results) nothing = INIT(RANKING_RESULTS);
#define ONLY(field, buffer) \
  do { \
    b.results = nothing; \
    b.results.field = (buffer); \
    CHECK_OK(run()); \
  } while (0)
  b.results = nothing;
  CHECK_OK(run());
  ONLY(loss, &loss);
  ONLY(losses, losses);
  ONLY(grad_policy_logps, gradient);
  ONLY(rewards, rewards);
  ONLY(gradient_weights, gradient_weights);
#undef ONLY
  CHECK(loss == b.loss);
  CHECK_SAME_BITS(losses, b.losses, sizeof losses);
  CHECK_SAME_BITS(gradient, b.gradient, sizeof gradient);
  CHECK_SAME_BITS(rewards, b.rewards, sizeof rewards);
  CHECK_SAME_BITS(gradient_weights, b.gradient_weights, sizeof gradient_weights);
}

static void test_empty_batch(void) {
  batch_init(0, 3);
  b.loss = -1;
  CHECK_OK(run());
  CHECK(b.loss == 0);
}

static void test_propagated_nonfinite_values(void) {
  batch_init(2, 3);
  b.options.nonfinite = SWIFTDPO_NONFINITE_PROPAGATE;
  b.policy[4] = (real)NAN;
  CHECK_OK(run());
  CHECK(b.losses[0] == (real)1.791759469228055000812L); /* ln 6 */
  CHECK(isnan(b.losses[1]) && isnan(b.gradient[3]) && isnan(b.rewards[4]) && isnan(b.loss));
  CHECK(b.rewards[3] == 0);
}

void TYPED(test_rankings)(void) {
  test_random_rankings();
  test_long_rankings();
  test_all_orders_together_are_certain();
  test_two_items_are_a_pair();
  test_one_item_has_no_choice();
  test_order_given_or_sorted();
  test_a_group_does_not_feel_its_batch();
  test_reductions();
  test_no_options_are_the_defaults();
  test_results_may_be_skipped();
  test_empty_batch();
  test_propagated_nonfinite_values();
}
