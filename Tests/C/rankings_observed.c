/*
 * Rankings that are not full, or not of distinct places: ranks with ties, top-m, offsets, weights of places, lists of
 * shared items, products with the Hessian. Losses against the definition in extended precision, for groups of up to six
 * items; gradients and products against its differences.
 */
#include <math.h>

#include "real.h"

enum { GROUPS = 40, MAX_ITEMS = 6, ALL = GROUPS * MAX_ITEMS };

/** One group as it was ranked: its scores, and for each item a rank, 0 if it remained, -1 if it was absent. */
typedef struct {
  int count;
  const int64_t *ranks;
  swiftdpo_ties ties;
  size_t top;
  const real *place_weights;
  int worst_first;
} observation;

static const double strengths[] = {0.75, 1.5, 0.5, 0.25, 0.125};
static const real place_weights[] = {1, 0.5, 0.25, 2, 0, 1};

/** Which of a set of items, one bit for each, sums to what. */
static long double worth_of(const long double *worths, unsigned set) {
  long double sum = 0;
  for (int i = 0; i < MAX_ITEMS; i++)
    sum += set >> i & 1 ? worths[i] : 0;
  return sum;
}

static int size_of(unsigned set) {
  int size = 0;
  for (; set; set &= set - 1)
    size++;
  return size;
}

/** The probability that the items of `tied` are chosen from those of `left`, averaged over all orders of them. */
static long double average_of_orders(const long double *worths, unsigned tied, unsigned left) {
  if (tied == 0)
    return 1;
  long double sum = 0;
  for (int i = 0; i < MAX_ITEMS; i++)
    if (tied >> i & 1)
      sum += worths[i] / worth_of(worths, left) * average_of_orders(worths, tied & ~(1U << i), left & ~(1U << i));
  return sum / size_of(tied);
}

/** Davidson's weight of a set. */
static long double weight_of(const long double *worths, unsigned set) {
  long double logs = 0;
  for (int i = 0; i < MAX_ITEMS; i++)
    logs += set >> i & 1 ? logl(worths[i]) : 0;
  const int size = size_of(set);
  return (size == 1 ? 1 : strengths[size - 2]) * expl(logs / size);
}

static long double tie_loss(const observation *seen, const long double *worths, unsigned tied, unsigned left) {
  long double loss = 0;
  if (seen->ties == SWIFTDPO_TIES_AVERAGE)
    return -logl(average_of_orders(worths, tied, left));
  if (seen->ties == SWIFTDPO_TIES_DAVIDSON) {
    for (unsigned set = 1; set < 1U << MAX_ITEMS; set++)
      loss += (set & ~left) == 0 ? weight_of(worths, set) : 0;
    return logl(loss / weight_of(worths, tied));
  }
  const int size = size_of(tied);
  for (int i = 0, l = 0; i < MAX_ITEMS; i++)
    if (tied >> i & 1) {
      const long double gone = seen->ties == SWIFTDPO_TIES_EFRON ? (long double)l++ / size : 0;
      loss += logl((worth_of(worths, left) - gone * worth_of(worths, tied)) / worths[i]);
    }
  return loss;
}

static long double loss_of(const observation *seen, const long double *scores) {
  long double worths[MAX_ITEMS] = {0}, loss = 0;
  unsigned left = 0;
  for (int i = 0; i < seen->count; i++) {
    worths[i] = expl(seen->worst_first ? -scores[i] : scores[i]);
    left |= seen->ranks[i] >= 0 ? 1U << i : 0;
  }
  size_t place = 0;
  for (int64_t rank = 1; rank <= seen->count; rank++) {
    unsigned tied = 0;
    for (int i = 0; i < seen->count; i++)
      tied |= seen->ranks[i] == rank ? 1U << i : 0;
    if (tied == 0)
      continue;
    if (seen->top != 0 && place >= seen->top)
      break;
    loss += (seen->place_weights ? seen->place_weights[place] : 1) * tie_loss(seen, worths, tied, left);
    left &= ~tied;
    place += (size_t)size_of(tied);
  }
  return loss;
}

/** d loss / d scores, along an item, at scores + step * direction, by a difference over 2 h. */
static long double slope_of(const observation *seen, const long double *scores, const long double *direction,
                            long double step, int item, long double h) {
  long double above[MAX_ITEMS], below[MAX_ITEMS];
  for (int i = 0; i < seen->count; i++)
    above[i] = below[i] = scores[i] + step * direction[i];
  above[item] += h;
  below[item] -= h;
  return (loss_of(seen, above) - loss_of(seen, below)) / (2 * h);
}

static struct {
  real policy[ALL], ref[ALL], direction[ALL], betas[GROUPS], weights[GROUPS];
  real losses[GROUPS], gradient[ALL], grad_ref[ALL], product[ALL], rewards[ALL];
  int64_t ranks[ALL], offsets[GROUPS + 1];
} b;

/** Groups of one to six items, with ranks that leave gaps, items that remained and items that were absent. */
static void fill(int has_ties) {
  uint64_t seed = 7;
  int64_t end = 0;
  for (int group = 0; group < GROUPS; group++) {
    b.offsets[group] = end;
    const int count = 1 + group % MAX_ITEMS;
    b.betas[group] = random_real(&seed, 0.25, 2);
    b.weights[group] = random_real(&seed, 0, 2);
    for (int i = 0; i < count; i++, end++) {
      b.policy[end] = random_real(&seed, -3, 3);
      b.ref[end] = random_real(&seed, -3, 3);
      b.direction[end] = random_real(&seed, -1, 1);
      const int64_t drawn = (int64_t)random_real(&seed, -1, (double)count + 1);
      b.ranks[end] = drawn > count ? count : drawn;
      for (int j = 0; !has_ties && j < i; j++)
        if (b.ranks[end] > 0 && b.ranks[end] == b.ranks[end - 1 - j])
          b.ranks[end] = 0;
    }
  }
  b.offsets[GROUPS] = end;
}

static void check_kind(swiftdpo_ties ties, size_t top, int has_place_weights, int worst_first) {
  fill(1);
  TYPED(swiftdpo_rankings) rankings = INIT(RANKINGS);
  rankings.num_groups = GROUPS;
  rankings.policy_logps = b.policy, rankings.ref_logps = b.ref, rankings.direction = b.direction;
  rankings.betas = b.betas, rankings.weights = b.weights;
  rankings.offsets = b.offsets, rankings.ranks = b.ranks;
  rankings.position_weights = has_place_weights ? place_weights : NULL;
  rankings.num_position_weights = has_place_weights ? MAX_ITEMS : 0;
  if (ties == SWIFTDPO_TIES_DAVIDSON)
    rankings.tie_strengths = strengths, rankings.num_tie_strengths = 5;
  swiftdpo_plackett_luce_options options = SWIFTDPO_PLACKETT_LUCE_OPTIONS_INIT;
  options.reduction = SWIFTDPO_REDUCTION_SUM;
  options.ties = ties, options.top = top;
  options.first_choice = worst_first ? SWIFTDPO_FIRST_CHOICE_WORST : SWIFTDPO_FIRST_CHOICE_BEST;
  double loss = 0, grad_strengths[5];
  TYPED(swiftdpo_ranking_results) results = INIT(RANKING_RESULTS);
  results.loss = &loss;
  results.losses = b.losses, results.grad_policy_logps = b.gradient, results.grad_ref_logps = b.grad_ref;
  results.hessian_product = b.product, results.rewards = b.rewards;
  results.grad_tie_strengths = ties == SWIFTDPO_TIES_DAVIDSON ? grad_strengths : NULL;
  CHECK_OK(TYPED(swiftdpo_plackett_luce_loss)(&rankings, &options, &results, NULL));

  long double total = 0;
  for (int group = 0; group < GROUPS; group++) {
    const int64_t first = b.offsets[group];
    const observation seen = {.count = (int)(b.offsets[group + 1] - first),
                              .ranks = b.ranks + first,
                              .ties = ties,
                              .top = top,
                              .place_weights = has_place_weights ? place_weights : NULL,
                              .worst_first = worst_first};
    const long double beta = b.betas[group], weight = b.weights[group];
    long double scores[MAX_ITEMS], direction[MAX_ITEMS];
    for (int i = 0; i < seen.count; i++) {
      scores[i] = beta * ((long double)b.policy[first + i] - b.ref[first + i]);
      direction[i] = beta * b.direction[first + i];
      CHECK_REAL(b.rewards[first + i], scores[i]);
    }
    const long double exact = weight * loss_of(&seen, scores);
    total += exact;
    CHECK_WITHIN(32 * REAL_EPSILON * fmax(1, (double)exact), b.losses[group], exact);
    for (int i = 0; i < seen.count; i++) {
      const double gradient_error = 32 * REAL_EPSILON + 1e-11, product_error = 32 * REAL_EPSILON + 1e-8;
      const long double slope = beta * weight * slope_of(&seen, scores, direction, 0, i, 0x1p-20L);
      CHECK_WITHIN(gradient_error * 12, b.gradient[first + i], slope);
      CHECK(b.grad_ref[first + i] == -b.gradient[first + i]);
      const long double h = 0x1p-13L;
      const long double change =
          slope_of(&seen, scores, direction, h, i, h) - slope_of(&seen, scores, direction, -h, i, h);
      CHECK_WITHIN(product_error * 12, b.product[first + i], beta * weight * change / (2 * h));
    }
  }
  CHECK_WITHIN(GROUPS * 32 * REAL_EPSILON * (double)total, loss, total);
}

static void test_kinds(void) {
  static const swiftdpo_ties kinds[] = {SWIFTDPO_TIES_BRESLOW, SWIFTDPO_TIES_EFRON, SWIFTDPO_TIES_AVERAGE,
                                        SWIFTDPO_TIES_DAVIDSON};
  for (size_t kind = 0; kind < 4; kind++)
    for (size_t top = 0; top < 3; top++)
      for (int variant = 0; variant < 4; variant++)
        check_kind(kinds[kind], top, variant & 1, variant >> 1);
}

/** The gradient by Davidson's strengths: a pair that is tied, where all is known (Davidson 1970). */
static void test_gradient_by_the_strength_of_a_tie(void) {
  const real policy[] = {0, 0};
  const int64_t ranks[] = {1, 1};
  const double delta = 0.5;
  double grad = 0, loss = 0;
  TYPED(swiftdpo_rankings) rankings = INIT(RANKINGS);
  rankings.num_groups = 1, rankings.group_size = 2;
  rankings.policy_logps = policy, rankings.ranks = ranks;
  rankings.tie_strengths = &delta, rankings.num_tie_strengths = 1;
  swiftdpo_plackett_luce_options options = SWIFTDPO_PLACKETT_LUCE_OPTIONS_INIT;
  options.ties = SWIFTDPO_TIES_DAVIDSON;
  TYPED(swiftdpo_ranking_results) results = INIT(RANKING_RESULTS);
  results.loss = &loss, results.grad_tie_strengths = &grad;
  CHECK_OK(TYPED(swiftdpo_plackett_luce_loss)(&rankings, &options, &results, NULL));
  CHECK_WITHIN(1e-15, loss, logl(5));      /* (2 + delta) / delta */
  CHECK_WITHIN(1e-15, grad, 1 / 2.5L - 2); /* 1 / (2 + delta) - 1 / delta */
}

/** Lists of items that all groups share add up what each group says; lists that end early say what the others did. */
static void test_shared_items(void) {
  enum { ITEMS = 5, LISTS = 3, LENGTH = 4 };
  static const int64_t lists[LISTS * LENGTH] = {3, 0, 4, -1, 1, 2, -1, -1, 2, 4, 3, 0};
  const real worths[ITEMS] = {0.5, -1, 0.25, 1.5, -0.75};
  for (int remain = 0; remain <= 1; remain++) {
    real gradient[ITEMS], losses[LISTS];
    TYPED(swiftdpo_rankings) rankings = INIT(RANKINGS);
    rankings.num_groups = LISTS, rankings.group_size = LENGTH, rankings.num_shared_items = ITEMS;
    rankings.policy_logps = worths, rankings.rankings = lists;
    swiftdpo_plackett_luce_options options = SWIFTDPO_PLACKETT_LUCE_OPTIONS_INIT;
    options.beta = 1;
    options.reduction = SWIFTDPO_REDUCTION_SUM;
    options.unlisted = remain ? SWIFTDPO_UNLISTED_REMAIN : SWIFTDPO_UNLISTED_ABSENT;
    TYPED(swiftdpo_ranking_results) results = INIT(RANKING_RESULTS);
    results.losses = losses, results.grad_policy_logps = gradient;
    CHECK_OK(TYPED(swiftdpo_plackett_luce_loss)(&rankings, &options, &results, NULL));
    long double slopes[ITEMS] = {0}, scores[ITEMS], nowhere[ITEMS] = {0};
    for (int i = 0; i < ITEMS; i++)
      scores[i] = worths[i];
    for (int list = 0; list < LISTS; list++) {
      int64_t ranks[ITEMS];
      for (int i = 0; i < ITEMS; i++)
        ranks[i] = remain ? 0 : -1;
      for (int place = 0; place < LENGTH && lists[list * LENGTH + place] >= 0; place++)
        ranks[lists[list * LENGTH + place]] = place + 1;
      const observation seen = {.count = ITEMS, .ranks = ranks};
      CHECK_WITHIN(16 * REAL_EPSILON, losses[list], loss_of(&seen, scores));
      for (int i = 0; i < ITEMS; i++)
        slopes[i] += slope_of(&seen, scores, nowhere, 0, i, 0x1p-20L);
    }
    for (int i = 0; i < ITEMS; i++)
      CHECK_WITHIN(16 * REAL_EPSILON + 1e-11, gradient[i], slopes[i]);
  }
}

/** A long group is cut into runs: its first choices alone, and its whole, are those of a sum over all in one order. */
static void test_top_of_a_long_group(void) {
  enum { LENGTH = 333 };
  static real policy[LENGTH], gradient[LENGTH];
  uint64_t seed = 3;
  for (int i = 0; i < LENGTH; i++)
    policy[i] = random_real(&seed, -5, 5);
  for (size_t top = 0; top <= LENGTH; top += 37) {
    double loss = 0;
    TYPED(swiftdpo_rankings) rankings = INIT(RANKINGS);
    rankings.num_groups = 1, rankings.group_size = LENGTH, rankings.policy_logps = policy;
    swiftdpo_plackett_luce_options options = SWIFTDPO_PLACKETT_LUCE_OPTIONS_INIT;
    options.beta = 1, options.top = top;
    TYPED(swiftdpo_ranking_results) results = INIT(RANKING_RESULTS);
    results.loss = &loss, results.grad_policy_logps = gradient;
    CHECK_OK(TYPED(swiftdpo_plackett_luce_loss)(&rankings, &options, &results, NULL));
    long double sums[LENGTH + 1] = {0}, exact = 0, asked = 0;
    for (int i = LENGTH - 1; i >= 0; i--)
      sums[i] = sums[i + 1] + expl(policy[i]);
    const size_t stages = top == 0 ? LENGTH : top;
    for (size_t i = 0; i < LENGTH; i++) {
      if (i < stages) {
        exact += logl(sums[i]) - policy[i];
        asked += 1 / sums[i];
      }
      const long double slope = expl(policy[i]) * asked - (i < stages);
      CHECK_WITHIN(4 * REAL_EPSILON * fmax(1, (double)(slope + 1)), gradient[i], slope);
    }
    CHECK_WITHIN(1e-12 * (double)exact, loss, exact);
  }
}

void TYPED(test_rankings_observed)(void) {
  test_kinds();
  test_gradient_by_the_strength_of_a_tie();
  test_shared_items();
  test_top_of_a_long_group();
}
