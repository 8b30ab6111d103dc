/* Rankings. */
#include "calls.h"

/** A group's items in some order. */
static void shuffle(call *c, int64_t *items, size_t n) {
  for (size_t i = 0; i < n; i++)
    items[i] = (int64_t)i;
  for (size_t i = n; i > 1; i--) {
    const size_t other = pick(c, i);
    const int64_t moved = items[i - 1];
    items[i - 1] = items[other];
    items[other] = moved;
  }
}

/** Lists of items for each group, which may end early if `unlisted` says what the others did. */
static const int64_t *lists(call *c, const size_t *sizes, size_t groups, size_t entries, size_t shared, bool may_end) {
  int64_t *items = scratch(c, (entries + shared) * sizeof *items);
  size_t start = 0;
  for (size_t group = 0; group < groups; start += sizes[group++]) {
    const size_t size = sizes[group];
    if (shared > 0) {
      int64_t *all = scratch(c, shared * sizeof *all);
      shuffle(c, all, shared);
      for (size_t i = 0; i < size; i++)
        items[start + i] = i < shared ? all[i] : -1;
    } else {
      shuffle(c, items + start, size);
    }
    if (may_end && size > 0)
      for (size_t i = pick(c, size + 1); i < size; i++)
        items[start + i] = -1;
  }
  if (entries > 0 && fault(c))
    items[pick(c, entries)] = (int64_t)pick(c, entries + 4) - 2;
  return copied(c, I64, entries, items);
}

/** Ranks of each group, at most `most` items of one rank. */
static const int64_t *ranks(call *c, const size_t *sizes, size_t groups, size_t entries, int64_t lowest, size_t most) {
  int64_t *ranks = scratch(c, entries * sizeof *ranks);
  size_t start = 0;
  for (size_t group = 0; group < groups; start += sizes[group++]) {
    size_t of_this_rank = 0;
    int64_t rank = 1;
    for (size_t i = 0; i < sizes[group]; i++) {
      if (of_this_rank == most || pick(c, 2) == 0) {
        rank += of_this_rank > 0;
        of_this_rank = 0;
      }
      const bool is_ranked = lowest > 0 || pick(c, 8) > 0;
      ranks[start + i] = is_ranked ? rank : lowest + (int64_t)pick(c, (uint64_t)(1 - lowest));
      of_this_rank += is_ranked;
    }
  }
  if (entries > 0 && fault(c))
    ranks[pick(c, entries)] = (int64_t)pick(c, entries + 8) - 4;
  return copied(c, I64, entries, ranks);
}

void TYPED(plackett_luce_loss)(call *c) {
  LAID_OUT(swiftdpo_rankings) *rankings = STRUCT(c, LAID_OUT(swiftdpo_rankings), INIT(RANKINGS));
  swiftdpo_plackett_luce_options *options =
      STRUCT(c, swiftdpo_plackett_luce_options, SWIFTDPO_PLACKETT_LUCE_OPTIONS_INIT);
  LAID_OUT(swiftdpo_ranking_results) *results = STRUCT(c, LAID_OUT(swiftdpo_ranking_results), INIT(RANKING_RESULTS));
  options->beta = number(c, POSITIVE);
  options->reduction = (swiftdpo_reduction)choice(c, 3);
  options->nonfinite = (swiftdpo_nonfinite)choice(c, 3);
  options->first_choice = (swiftdpo_first_choice)choice(c, 2);
  options->ties = (swiftdpo_ties)choice(c, 4);
  options->top = pick(c, 3) == 0 ? pick(c, 6) : 0;

  /* Groups: all of one size, or by offsets. Averages and Davidson's ties want them short. */
  const bool is_costly = options->ties == SWIFTDPO_TIES_AVERAGE || options->ties == SWIFTDPO_TIES_DAVIDSON;
  const bool is_long = !is_costly && seldom(c, 10);
  const size_t groups = count(c, &rankings->num_groups, 0, is_long || is_costly ? 12 : 600);
  size_t *sizes = scratch(c, groups * sizeof *sizes);
  size_t entries = 0, largest = 0;
  if (pick(c, 3) == 0) {
    int64_t *offsets = scratch(c, (groups + 1) * sizeof *offsets);
    for (size_t i = 0; i < groups; i++) {
      sizes[i] = pick(c, is_long ? 100 : 9);
      largest = sizes[i] > largest ? sizes[i] : largest;
      offsets[i + 1] = (int64_t)(entries += sizes[i]);
    }
    if (fault(c))
      offsets[pick(c, groups + 1)] = pick(c, 2) ? -1 : INT64_MAX;
    rankings->offsets = measure(c, I64, groups + 1, offsets);
  } else {
    largest = count(c, &rankings->group_size, 1, is_long ? 150 : 8);
    multiplied(c);
    for (size_t i = 0; i < groups; i++)
      sizes[i] = largest;
    entries = groups * largest;
  }

  /* Lists, ranks, or items that stand best first; or one set of items that all groups rank. */
  size_t shared = 0;
  if (pick(c, 4) == 0)
    shared = count(c, &rankings->num_shared_items, largest > 0 ? largest : 1, largest + 20);
  const bool has_unlisted = shared > 0 || pick(c, 2);
  options->unlisted = has_unlisted ? (swiftdpo_unlisted)(1 + pick(c, 2)) : (swiftdpo_unlisted)choice(c, 1);
  const size_t strengths = options->ties == SWIFTDPO_TIES_DAVIDSON ? pick(c, 7) : pick(c, 3);
  if (strengths > 0)
    rankings->tie_strengths = numbers(c, F64, strengths, POSITIVE);
  rankings->num_tie_strengths = strengths;
  const size_t most_tied = options->ties == SWIFTDPO_TIES_AVERAGE    ? 10
                           : options->ties == SWIFTDPO_TIES_DAVIDSON ? strengths + 1
                                                                     : SIZE_MAX;
  const uint64_t form = pick(c, 3);
  if (shared > 0 || form == 1)
    rankings->rankings = lists(c, sizes, groups, entries, shared, has_unlisted);
  if (shared > 0 ? form != 0 : form == 2)
    rankings->ranks = ranks(c, sizes, groups, entries, shared > 0 ? 0 : -1, most_tied);

  const size_t items = shared > 0 ? shared : entries;
  rankings->policy_logps = numbers(c, ELEMENT, items, LOGP);
  rankings->ref_logps = maybe_numbers(c, ELEMENT, items, LOGP);
  rankings->betas = maybe_numbers(c, ELEMENT, groups, POSITIVE);
  rankings->weights = maybe_numbers(c, ELEMENT, groups, NONNEGATIVE);
  if (!leave_out(c)) {
    const size_t places = count(c, &rankings->num_position_weights, largest, largest + 3);
    rankings->position_weights = numbers(c, ELEMENT, places, NONNEGATIVE);
  }
  rankings->direction = maybe_numbers(c, ELEMENT, items, REAL);

  results->loss = maybe_result(c, F64, 1);
  results->losses = maybe_result(c, ELEMENT, groups);
  results->grad_policy_logps = maybe_result(c, ELEMENT, items);
  results->rewards = maybe_result(c, ELEMENT, items);
  results->grad_ref_logps = maybe_result(c, ELEMENT, items);
  const bool is_plain = options->ties == SWIFTDPO_TIES_BRESLOW;
  if ((is_plain && shared == 0) || fault(c))
    results->gradient_weights = maybe_result(c, ELEMENT, items);
  if (rankings->direction || fault(c))
    results->hessian_product = maybe_result(c, ELEMENT, items);
  results->grad_tie_strengths =
      options->ties == SWIFTDPO_TIES_DAVIDSON || fault(c) ? maybe_result(c, F64, strengths) : NULL;
  CALL(c, TYPED(swiftdpo_plackett_luce_loss)(rankings, options, results, &c->culprit));
}
