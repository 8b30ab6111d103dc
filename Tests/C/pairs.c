/* Pairs: values and gradients against the formulas in extended precision, and what a batch may not change. */
#include <math.h>

#include "real.h"

enum { COUNT = 24 };

/** A batch that owns its buffers. A test sets what it needs; the rest is as the INIT macros leave it. */
typedef struct batch {
  real policy_chosen[COUNT], policy_rejected[COUNT], ref_chosen[COUNT], ref_rejected[COUNT];
  real betas[COUNT], margins[COUNT], weights[COUNT], soft_labels[COUNT];
  double loss;
  real losses[COUNT], grad_chosen[COUNT], grad_rejected[COUNT];
  real chosen_rewards[COUNT], rejected_rewards[COUNT], gradient_weights[COUNT];
  TYPED(swiftdpo_pairs) pairs;
  swiftdpo_dpo_options options;
  TYPED(swiftdpo_pair_results) results;
} batch;

static void batch_init(batch *b, size_t count) {
  memset(b, 0, sizeof *b);
  b->pairs = (TYPED(swiftdpo_pairs))INIT(PAIRS);
  b->pairs.count = count;
  b->pairs.policy_chosen_logps = b->policy_chosen;
  b->pairs.policy_rejected_logps = b->policy_rejected;
  b->pairs.ref_chosen_logps = b->ref_chosen;
  b->pairs.ref_rejected_logps = b->ref_rejected;
  b->options = (swiftdpo_dpo_options)SWIFTDPO_DPO_OPTIONS_INIT;
  b->results = (TYPED(swiftdpo_pair_results))INIT(PAIR_RESULTS);
  b->results.loss = &b->loss;
  b->results.losses = b->losses;
  b->results.grad_policy_chosen_logps = b->grad_chosen;
  b->results.grad_policy_rejected_logps = b->grad_rejected;
  b->results.chosen_rewards = b->chosen_rewards;
  b->results.rejected_rewards = b->rejected_rewards;
  b->results.gradient_weights = b->gradient_weights;
}

static void batch_fill(batch *b, uint64_t seed) {
  for (size_t i = 0; i < b->pairs.count; i++) {
    b->policy_chosen[i] = random_real(&seed, -400, 0);
    b->policy_rejected[i] = random_real(&seed, -400, 0);
    b->ref_chosen[i] = random_real(&seed, -400, 0);
    b->ref_rejected[i] = random_real(&seed, -400, 0);
    b->betas[i] = random_real(&seed, 0.01, 2);
    b->margins[i] = random_real(&seed, -3, 3);
    b->weights[i] = random_real(&seed, 0, 2);
    b->soft_labels[i] = random_real(&seed, 0, 1);
  }
}

static swiftdpo_status run(batch *b) { return TYPED(swiftdpo_dpo_loss)(&b->pairs, &b->options, &b->results, NULL); }

/** log(1 + exp(x)) */
static long double softplus(long double x) { return fmaxl(x, 0) + log1pl(expl(-fabsl(x))); }

static long double sigmoid(long double x) { return x >= 0 ? 1 / (1 + expl(-x)) : expl(x) / (1 + expl(x)); }

/** Compares every output of pair i with the formulas of the header. Gradients are divided by `divisor`. */
static void check_pair(const batch *b, size_t i, long double divisor) {
  const TYPED(swiftdpo_pairs) *pairs = &b->pairs;
  const bool has_reference = pairs->ref_chosen_logps != NULL;
  const long double beta = pairs->betas ? b->betas[i] : b->options.beta;
  const long double margin = pairs->margins ? b->margins[i] : 0;
  const long double weight = pairs->weights ? b->weights[i] : 1;
  const long double q = pairs->soft_labels ? 1 - (long double)b->soft_labels[i] : b->options.label_smoothing;
  const long double p = 1 - q;
  const long double a = (long double)b->policy_chosen[i] - (has_reference ? b->ref_chosen[i] : 0);
  const long double r = (long double)b->policy_rejected[i] - (has_reference ? b->ref_rejected[i] : 0);
  const long double z = beta * (a - r) - margin;

  CHECK_ULPS(PAIR_ULP_LIMIT, b->losses[i], weight * (p * softplus(-z) + q * softplus(z)));
  CHECK_REAL(b->chosen_rewards[i], beta * a);
  CHECK_REAL(b->rejected_rewards[i], beta * r);
  CHECK_ULPS(PAIR_ULP_LIMIT, b->gradient_weights[i], sigmoid(-z));

  /* Where q sigma(z) and p sigma(-z) cancel, the larger of the two sets the scale of the error. */
  const long double scale = weight * beta / divisor;
  const long double gradient = scale * (q * sigmoid(z) - p * sigmoid(-z));
  const long double larger = scale * fmaxl(q * sigmoid(z), p * sigmoid(-z));
  CHECK_WITHIN(REAL_TINY + 0.5 * PAIR_ULP_LIMIT * REAL_EPSILON * (double)(fabsl(gradient) + larger), b->grad_chosen[i],
               gradient);
  if (q == 0)
    CHECK_ULPS(PAIR_ULP_LIMIT, b->grad_chosen[i], gradient);
  CHECK(b->grad_rejected[i] == -b->grad_chosen[i]);
}

static void test_every_magnitude_of_z(void) {
  static const double magnitudes[] = {0,  REAL_TINY, 1e-30, 1e-8, 0.03125, 0.5, 1,   2.5, 9,   17,  36,     37,
                                      88, 104,       700,   709,  744.5,   746, 1e3, 1e4, 1e5, 1e6, 0x1p20, 0x1p24};
  for (int sign = -1; sign <= 1; sign += 2) {
    batch b;
    batch_init(&b, COUNT);
    b.options.beta = 1;
    b.options.reduction = SWIFTDPO_REDUCTION_SUM;
    for (size_t i = 0; i < COUNT; i++)
      b.policy_chosen[i] = (real)(sign * magnitudes[i]);
    CHECK_OK(run(&b));
    for (size_t i = 0; i < COUNT; i++)
      check_pair(&b, i, 1);
  }
}

static void test_random_pairs(void) {
  for (uint64_t seed = 0; seed < 200; seed++) {
    batch b;
    batch_init(&b, COUNT);
    batch_fill(&b, seed);
    b.options.label_smoothing = seed % 2 ? 0.1 : 0;
    CHECK_OK(run(&b));
    for (size_t i = 0; i < COUNT; i++)
      check_pair(&b, i, COUNT);
  }
}

static void test_parameters_of_each_pair(void) {
  for (uint64_t seed = 0; seed < 100; seed++) {
    batch b;
    batch_init(&b, COUNT);
    batch_fill(&b, seed);
    b.pairs.betas = seed & 1 ? b.betas : NULL;
    b.pairs.margins = seed & 2 ? b.margins : NULL;
    b.pairs.weights = seed & 4 ? b.weights : NULL;
    b.pairs.soft_labels = seed & 8 ? b.soft_labels : NULL;
    b.options.reduction = SWIFTDPO_REDUCTION_NONE;
    CHECK_OK(run(&b));
    for (size_t i = 0; i < COUNT; i++)
      check_pair(&b, i, 1);
  }
}

static void test_hard_soft_labels(void) {
  batch b;
  batch_init(&b, 2);
  b.pairs.soft_labels = b.soft_labels;
  b.soft_labels[0] = 1;
  b.soft_labels[1] = 0;
  b.options.beta = 1;
  b.policy_chosen[0] = b.policy_chosen[1] = (real)50;
  CHECK_OK(run(&b));
  CHECK_REAL(b.losses[0], log1pl(expl(-50)));
  CHECK_REAL(b.losses[1], 50 + log1pl(expl(-50)));
}

static void test_reductions(void) {
  batch none, sum, mean;
  batch_init(&none, COUNT);
  batch_fill(&none, 1);
  none.options.reduction = SWIFTDPO_REDUCTION_NONE;
  CHECK_OK(run(&none));

  batch_init(&sum, COUNT);
  batch_fill(&sum, 1);
  sum.options.reduction = SWIFTDPO_REDUCTION_SUM;
  CHECK_OK(run(&sum));

  batch_init(&mean, COUNT);
  batch_fill(&mean, 1);
  CHECK(mean.options.reduction == SWIFTDPO_REDUCTION_MEAN);
  CHECK_OK(run(&mean));

  long double total = 0;
  for (size_t i = 0; i < COUNT; i++)
    total += none.losses[i];
  CHECK_WITHIN(COUNT * REAL_EPSILON * (double)total, sum.loss, total);
  CHECK(none.loss == sum.loss);
  CHECK_ULPS_F64(1, mean.loss, (long double)sum.loss / COUNT);
  CHECK_SAME_BITS(none.losses, sum.losses, sizeof none.losses);
  CHECK_SAME_BITS(none.losses, mean.losses, sizeof none.losses);
  CHECK_SAME_BITS(none.grad_chosen, sum.grad_chosen, sizeof none.grad_chosen);
}

static void test_mean_counts_pairs_of_weight_zero(void) {
  batch b;
  batch_init(&b, 2);
  b.pairs.weights = b.weights;
  b.weights[0] = 1;
  b.weights[1] = 0;
  b.policy_rejected[1] = (real)1e4;
  CHECK_OK(run(&b));
  CHECK_WITHIN(REAL_EPSILON, b.loss, logl(2) / 2);
  CHECK(b.losses[1] == 0 && b.grad_chosen[1] == 0 && b.grad_rejected[1] == 0);
}

static void test_no_reference_is_a_reference_of_zeros(void) {
  batch with, without;
  batch_init(&with, COUNT);
  batch_fill(&with, 3);
  memset(with.ref_chosen, 0, sizeof with.ref_chosen);
  memset(with.ref_rejected, 0, sizeof with.ref_rejected);
  batch_init(&without, COUNT);
  batch_fill(&without, 3);
  without.pairs.ref_chosen_logps = without.pairs.ref_rejected_logps = NULL;
  CHECK_OK(run(&with));
  CHECK_OK(run(&without));
  CHECK(with.loss == without.loss);
  CHECK_SAME_BITS(with.losses, without.losses, sizeof with.losses);
  CHECK_SAME_BITS(with.grad_chosen, without.grad_chosen, sizeof with.grad_chosen);
  CHECK_SAME_BITS(with.rejected_rewards, without.rejected_rewards, sizeof with.rejected_rewards);
}

static void test_a_pair_does_not_feel_its_batch(void) {
  batch whole;
  batch_init(&whole, COUNT);
  batch_fill(&whole, 5);
  whole.options.reduction = SWIFTDPO_REDUCTION_SUM;
  CHECK_OK(run(&whole));
  for (size_t count = 1; count <= COUNT; count++) { /* the last `count` pairs, at every alignment */
    const size_t first = COUNT - count;
    batch part;
    batch_init(&part, count);
    part.options.reduction = SWIFTDPO_REDUCTION_SUM;
    part.pairs.policy_chosen_logps = whole.policy_chosen + first;
    part.pairs.policy_rejected_logps = whole.policy_rejected + first;
    part.pairs.ref_chosen_logps = whole.ref_chosen + first;
    part.pairs.ref_rejected_logps = whole.ref_rejected + first;
    CHECK_OK(run(&part));
    CHECK_SAME_BITS(part.losses, whole.losses + first, count * sizeof(real));
    CHECK_SAME_BITS(part.grad_chosen, whole.grad_chosen + first, count * sizeof(real));
    CHECK_SAME_BITS(part.chosen_rewards, whole.chosen_rewards + first, count * sizeof(real));
    CHECK_SAME_BITS(part.gradient_weights, whole.gradient_weights + first, count * sizeof(real));
  }
}

static void test_results_may_be_skipped(void) {
  batch all;
  batch_init(&all, COUNT);
  batch_fill(&all, 7);
  CHECK_OK(run(&all));

  batch one;
  batch_init(&one, COUNT);
  batch_fill(&one, 7);
  const TYPED(swiftdpo_pair_results) nothing = INIT(PAIR_RESULTS);
#define ONLY(field, buffer) \
  do { \
    one.results = nothing; \
    one.results.field = (buffer); \
    CHECK_OK(run(&one)); \
  } while (0)
  one.results = nothing;
  CHECK_OK(run(&one));
  ONLY(loss, &one.loss);
  ONLY(losses, one.losses);
  ONLY(grad_policy_chosen_logps, one.grad_chosen);
  ONLY(grad_policy_rejected_logps, one.grad_rejected);
  ONLY(chosen_rewards, one.chosen_rewards);
  ONLY(rejected_rewards, one.rejected_rewards);
  ONLY(gradient_weights, one.gradient_weights);
#undef ONLY
  CHECK(one.loss == all.loss);
  CHECK_SAME_BITS(one.losses, all.losses, sizeof all.losses);
  CHECK_SAME_BITS(one.grad_chosen, all.grad_chosen, sizeof all.grad_chosen);
  CHECK_SAME_BITS(one.grad_rejected, all.grad_rejected, sizeof all.grad_rejected);
  CHECK_SAME_BITS(one.chosen_rewards, all.chosen_rewards, sizeof all.chosen_rewards);
  CHECK_SAME_BITS(one.rejected_rewards, all.rejected_rewards, sizeof all.rejected_rewards);
  CHECK_SAME_BITS(one.gradient_weights, all.gradient_weights, sizeof all.gradient_weights);
}

static void test_no_options_are_the_defaults(void) {
  batch b;
  batch_init(&b, COUNT);
  batch_fill(&b, 9);
  CHECK_OK(run(&b));
  const double with_defaults = b.loss;
  b.loss = 0;
  CHECK_OK(TYPED(swiftdpo_dpo_loss)(&b.pairs, NULL, &b.results, NULL));
  CHECK(b.loss == with_defaults);
}

static void test_empty_batch(void) {
  batch b;
  batch_init(&b, 0);
  b.loss = -1;
  CHECK_OK(run(&b));
  CHECK(b.loss == 0);
}

static void test_policy_at_the_reference(void) {
  batch b;
  batch_init(&b, COUNT);
  batch_fill(&b, 11);
  memcpy(b.ref_chosen, b.policy_chosen, sizeof b.ref_chosen);
  memcpy(b.ref_rejected, b.policy_rejected, sizeof b.ref_rejected);
  CHECK_OK(run(&b));
  for (size_t i = 0; i < COUNT; i++) {
    CHECK(b.losses[i] == (real)0.693147180559945309417L);
    CHECK(b.gradient_weights[i] == (real)0.5);
  }
}

static void test_denormals(void) {
  batch b;
  batch_init(&b, 2);
  b.options.beta = 1;
  b.options.reduction = SWIFTDPO_REDUCTION_SUM;
  b.policy_chosen[0] = REAL_TINY;
  b.policy_rejected[1] = 3 * REAL_TINY;
  CHECK_OK(run(&b));
  for (size_t i = 0; i < 2; i++)
    check_pair(&b, i, 1);
}

static void test_propagated_nonfinite_values(void) {
  batch b;
  batch_init(&b, 4);
  b.options.nonfinite = SWIFTDPO_NONFINITE_PROPAGATE;
  b.options.reduction = SWIFTDPO_REDUCTION_SUM;
  b.policy_chosen[1] = (real)NAN;
  b.policy_chosen[2] = (real)-INFINITY;
  b.policy_chosen[3] = (real)INFINITY;
  CHECK_OK(run(&b));
  CHECK(b.losses[0] == (real)0.693147180559945309417L);
  CHECK(isnan(b.losses[1]) && isnan(b.grad_chosen[1]) && isnan(b.chosen_rewards[1]));
  CHECK(b.rejected_rewards[1] == 0);
  CHECK(isinf(b.losses[2]) && b.losses[2] > 0);
  CHECK_REAL(b.grad_chosen[2], -(long double)b.options.beta);
  CHECK(b.losses[3] == 0 && b.grad_chosen[3] == 0);
  CHECK(isnan(b.loss));
}

/** Values that may be anywhere, and one in a few calls has one. */
static void spoil(batch *b, uint64_t *seed) {
  static const double values[] = {NAN, INFINITY, -INFINITY, 0, -0.0, -1, 0.5, 1e300, 0x1p-1074, 1e-40};
  enum { VALUES = sizeof values / sizeof *values };
  const double value = values[(size_t)random_real(seed, 0, VALUES - 0.01)];
  const size_t at = (size_t)random_real(seed, 0, (double)b->pairs.count - 0.01);
  real *const logps[] = {b->policy_chosen + at, b->policy_rejected + at, b->ref_chosen + at, b->ref_rejected + at};
  double *const numbers[] = {&b->options.beta,         &b->options.label_smoothing,
                             &b->options.margin,       &b->options.f_alpha_divergence_coef,
                             &b->options.discopop_tau, &b->options.tie_strength,
                             &b->options.reward_scale, &b->options.alphapo_alpha};
  const size_t which = (size_t)random_real(seed, 0, 40);
  if (which < 4)
    *logps[which] = (real)value;
  else if (which < 12)
    *numbers[which - 4] = value;
  else if (which == 12)
    b->options.reference_free = (int32_t)(at & 3);
  else if (which == 13)
    b->options.reduction = (swiftdpo_reduction)(at & 3);
  else if (which == 14)
    b->options.nonfinite = (swiftdpo_nonfinite)(at & 3);
}

/** The most common calls go a shorter way through the library than those of a later header, whose structs are larger.
 * Status, culprit and all bits are the same. */
static void test_short_way(void) {
  typedef struct later {
    TYPED(swiftdpo_pairs) known;
    double more[2];
  } later;
  int refused = 0;
  for (uint64_t round = 0; round < 4000; round++) {
    uint64_t seed = round;
    batch b[2];
    later pairs;
    swiftdpo_culprit culprits[2] = {{"nobody", 999}, {"nobody", 999}};
    swiftdpo_status status[2];
    for (int way = 0; way < 2; way++) {
      seed = round * 7919;
      batch_init(&b[way], 1 + (size_t)random_real(&seed, 0, 19.99));
      batch_fill(&b[way], round);
      b[way].options.beta = random_real(&seed, 0.01, 2);
      b[way].options.label_smoothing = random_real(&seed, 0, 1) < 0.5 ? 0 : random_real(&seed, 0, 0.49);
      b[way].options.reduction = (swiftdpo_reduction)random_real(&seed, 0, 2.99);
      b[way].options.nonfinite = (swiftdpo_nonfinite)random_real(&seed, 0, 2.5);
      if (random_real(&seed, 0, 1) < 0.4)
        b[way].pairs.ref_chosen_logps = b[way].pairs.ref_rejected_logps = NULL;
      spoil(&b[way], &seed);
      const double others = round % 2 ? 0.3 : 1;
#define MAYBE(field, rate) \
  if (random_real(&seed, 0, 1) < (rate)) \
  b[way].results.field = NULL
      MAYBE(loss, 0.1);
      MAYBE(losses, others);
      MAYBE(grad_policy_chosen_logps, 0.1);
      MAYBE(grad_policy_rejected_logps, 0.1);
      MAYBE(chosen_rewards, others);
      MAYBE(rejected_rewards, others);
      MAYBE(gradient_weights, others);
#undef MAYBE
      memset(&pairs, 0, sizeof pairs);
      pairs.known = b[way].pairs;
      if (way == 1)
        pairs.known.struct_size = sizeof pairs;
      status[way] = TYPED(swiftdpo_dpo_loss)(&pairs.known, &b[way].options, &b[way].results, &culprits[way]);
    }
    CHECK(status[0] == status[1]);
    CHECK(strcmp(culprits[0].argument, culprits[1].argument) == 0 && culprits[0].index == culprits[1].index);
    CHECK_SAME_BITS(b[0].policy_chosen, b[1].policy_chosen, offsetof(batch, pairs));
    refused += status[0] != SWIFTDPO_OK;
  }
  CHECK(refused > 200 && refused < 2000);
}

void TYPED(test_pairs)(void) {
  test_every_magnitude_of_z();
  test_random_pairs();
  test_parameters_of_each_pair();
  test_hard_soft_labels();
  test_reductions();
  test_mean_counts_pairs_of_weight_zero();
  test_no_reference_is_a_reference_of_zeros();
  test_a_pair_does_not_feel_its_batch();
  test_results_may_be_skipped();
  test_no_options_are_the_defaults();
  test_empty_batch();
  test_policy_at_the_reference();
  test_denormals();
  test_propagated_nonfinite_values();
  test_short_way();
}
