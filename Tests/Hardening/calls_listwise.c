/* Lists with targets. */
#include "calls.h"

/** All of a group's probability on one candidate. */
static const void *distributions(call *c, const size_t *sizes, size_t groups, size_t items) {
  float *singles = scratch(c, items * sizeof *singles);
  double *doubles = scratch(c, items * sizeof *doubles);
  for (size_t i = 0; i < items; i++)
    singles[i] = 0, doubles[i] = 0;
  for (size_t group = 0, start = 0; group < groups; start += sizes[group++])
    if (sizes[group] > 0) {
      const size_t chosen = start + pick(c, sizes[group]);
      singles[chosen] = 1, doubles[chosen] = 1;
    }
  if (items > 0 && fault(c)) {
    const size_t at = pick(c, items);
    singles[at] = -1, doubles[at] = 0.5;
  }
  return ELEMENT == F32 ? copied(c, F32, items, singles) : copied(c, F64, items, doubles);
}

void TYPED(listwise_loss)(call *c) {
  LAID_OUT(swiftdpo_lists) *lists = STRUCT(c, LAID_OUT(swiftdpo_lists), INIT(LISTS));
  swiftdpo_listwise_options *options = STRUCT(c, swiftdpo_listwise_options, SWIFTDPO_LISTWISE_OPTIONS_INIT);
  LAID_OUT(swiftdpo_list_results) *results = STRUCT(c, LAID_OUT(swiftdpo_list_results), INIT(LIST_RESULTS));
  options->beta = number(c, POSITIVE);
  options->loss_type = (swiftdpo_listwise_loss_type)choice(c, 3);
  options->reduction = (swiftdpo_reduction)choice(c, 3);
  options->nonfinite = (swiftdpo_nonfinite)choice(c, 3);

  const size_t groups = count(c, &lists->num_groups, 0, 200);
  size_t *sizes = scratch(c, groups * sizeof *sizes);
  size_t items = 0;
  if (pick(c, 3) == 0) {
    int64_t *offsets = scratch(c, (groups + 1) * sizeof *offsets);
    offsets[0] = 0;
    for (size_t i = 0; i < groups; i++) {
      sizes[i] = pick(c, 20);
      offsets[i + 1] = (int64_t)(items += sizes[i]);
    }
    if (fault(c))
      offsets[pick(c, groups + 1)] = pick(c, 2) ? -1 : INT64_MAX;
    lists->offsets = measure(c, I64, groups + 1, offsets);
  } else {
    const size_t size = count(c, &lists->group_size, 1, 20);
    multiplied(c);
    for (size_t i = 0; i < groups; i++)
      sizes[i] = size;
    items = groups * size;
  }
  lists->policy_logps = numbers(c, ELEMENT, items, LOGP);
  lists->ref_logps = maybe_numbers(c, ELEMENT, items, LOGP);
  if (options->loss_type == SWIFTDPO_LISTWISE_CROSS_ENTROPY)
    lists->targets = distributions(c, sizes, groups, items);
  else
    lists->targets = numbers(c, ELEMENT, items, options->loss_type == SWIFTDPO_LISTWISE_LAMBDA ? UNIT : REAL);
  lists->betas = maybe_numbers(c, ELEMENT, groups, POSITIVE);
  lists->weights = maybe_numbers(c, ELEMENT, groups, NONNEGATIVE);

  results->loss = maybe_result(c, F64, 1);
  results->losses = maybe_result(c, ELEMENT, groups);
  results->grad_policy_logps = maybe_result(c, ELEMENT, items);
  results->rewards = maybe_result(c, ELEMENT, items);
  CALL(c, TYPED(swiftdpo_listwise_loss)(lists, options, results, &c->culprit));
}
