/* Partition functions: from samples, over tokens, and by enumeration. */
#include <math.h>

#include "calls.h"

/** What n samples of reward `best` leave behind, and now and then no sample at all. */
static void *accumulators(call *c, size_t n, role role, bool may_be_empty) {
  swiftdpo_partition_accumulator *sums = scratch(c, n * sizeof *sums);
  const double beta = number(c, POSITIVE);
  for (size_t i = 0; i < n; i++) {
    const double samples = (double)pick(c, 5) + (may_be_empty ? 0 : 1);
    if (samples > 0)
      sums[i] = (swiftdpo_partition_accumulator){beta, samples, number(c, REAL), samples, 0, samples, 0};
    if (fault(c))
      sums[i].weight_sum = number(c, REAL);
  }
  return role == INPUT ? (void *)copied(c, F64, 7 * n, sums) : state(c, F64, 7 * n, sums);
}

void partition_merge(call *c) {
  size_t n;
  const size_t length = count(c, &n, 0, 40);
  const uint64_t seed = c->seed;
  const uint8_t *bytes = c->bytes;
  const size_t left = c->bytes_left;
  swiftdpo_partition_accumulator *into = accumulators(c, length, STATE, true);
  /* The same choices again: samples of the same beta. */
  c->seed = seed;
  c->bytes = bytes;
  c->bytes_left = left;
  const swiftdpo_partition_accumulator *from = accumulators(c, length, INPUT, true);
  CALL(c, swiftdpo_partition_merge(n, into, from, &c->culprit));
}

void partition_estimate(call *c) {
  size_t n;
  const size_t length = count(c, &n, 0, 40);
  const swiftdpo_partition_accumulator *sums = accumulators(c, length, INPUT, false);
  swiftdpo_partition_estimates *estimates = STRUCT(c, swiftdpo_partition_estimates, SWIFTDPO_PARTITION_ESTIMATES_INIT);
  estimates->log_partitions = maybe_result(c, F64, length);
  estimates->standard_errors = maybe_result(c, F64, length);
  estimates->effective_sample_sizes = maybe_result(c, F64, length);
  estimates->corrected = maybe_result(c, F64, length);
  estimates->largest_shares = maybe_result(c, F64, length);
  CALL(c, swiftdpo_partition_estimate(n, sums, estimates, &c->culprit));
}

void count_responses(call *c) {
  static const size_t sizes[] = {1, 2, 3, 50, 50000, SIZE_MAX / 2};
  const size_t vocab_size = fault(c) ? SIZE_MAX : sizes[pick(c, 6)];
  const size_t horizon = fault(c) ? 0 : sizes[pick(c, 6)];
  const int32_t has_end_token = choice(c, 2);
  uint64_t *number = maybe_result(c, I64, 1);
  double *log_count = maybe_result(c, F64, 1);
  CALL(c, swiftdpo_count_responses(vocab_size, horizon, has_end_token, number, log_count, &c->culprit));
}

static swiftdpo_partition_options *partition_options(call *c) {
  swiftdpo_partition_options *options = STRUCT(c, swiftdpo_partition_options, SWIFTDPO_PARTITION_OPTIONS_INIT);
  options->beta = number(c, POSITIVE);
  options->max_terms = fault(c) ? pick(c, 1000) : 100000;
  return options;
}

void token_partition(call *c) {
  swiftdpo_token_model *model = STRUCT(c, swiftdpo_token_model, SWIFTDPO_TOKEN_MODEL_INIT);
  const swiftdpo_partition_options *options = partition_options(c);
  const size_t states = count(c, &model->num_states, 1, 10);
  size_t vocabulary;
  if (pick(c, 2)) {
    vocabulary = count(c, &model->vocab_size, 1, 100);
    multiplied(c);
    model->next_states = integers(c, I64, states * vocabulary, 0, (int64_t)states - 1);
  } else {
    vocabulary = states;
    model->vocab_size = model->num_states;
  }
  const size_t horizon = count(c, &model->horizon, 1, 10);
  multiplied(c);
  model->end_token = (int64_t)pick(c, vocabulary + 1 + fault(c)) - 1 - fault(c);
  model->initial_state = fault(c) ? states : pick(c, states);
  const size_t table = states * vocabulary;
  model->logps = numbers(c, F64, table, PROPER_LOGP);
  model->rewards = numbers(c, F64, table, REAL);
  double *log_partition = maybe_result(c, F64, 1);
  double *values = maybe_result(c, F64, horizon * states);
  double *policy_logps = maybe_result(c, F64, horizon * table);
  CALL(c, swiftdpo_token_partition(model, options, log_partition, values, policy_logps, &c->culprit));
}

/** A model of responses that goes wrong after so many calls. */
typedef struct {
  size_t vocabulary;
  size_t calls, calls_that_work;
  double wrong; /**< what it says then; 0: it returns an error */
} model;

static int next_logps(void *context, const int64_t *prefix, size_t length, double *logps) {
  model *m = context;
  uint64_t hash = length;
  for (size_t i = 0; i < length; i++)
    hash = hash * 31 + (uint64_t)prefix[i];
  for (size_t v = 0; v < m->vocabulary; v++)
    logps[v] = v > 0 && (hash + v) % 7 == 0 ? -INFINITY : -1 - (double)((hash + v) % 5);
  if (m->calls++ < m->calls_that_work)
    return 0;
  logps[m->vocabulary - 1] = m->wrong;
  return m->wrong == 0;
}

static int reward(void *context, const int64_t *response, size_t length, double *value) {
  model *m = context;
  *value = (double)(response[length - 1] % 3) - 1;
  if (m->calls++ < m->calls_that_work)
    return 0;
  *value = m->wrong;
  return m->wrong == 0;
}

void enumerate_partition(call *c) {
  swiftdpo_response_model *responses = STRUCT(c, swiftdpo_response_model, SWIFTDPO_RESPONSE_MODEL_INIT);
  const swiftdpo_partition_options *options = partition_options(c);
  const size_t vocabulary = count(c, &responses->vocab_size, 1, 6);
  (void)count(c, &responses->horizon, 1, 4);
  multiplied(c);
  responses->end_token = (int64_t)pick(c, vocabulary + 1) - 1;
  model m = {vocabulary, 0, fault(c) ? pick(c, 50) : SIZE_MAX, pick(c, 2) ? NAN : pick(c, 2) ? INFINITY : 0};
  responses->context = &m;
  responses->next_logps = fault(c) ? NULL : next_logps;
  responses->reward = fault(c) ? NULL : reward;
  double *log_partition = maybe_result(c, F64, 1);
  uint64_t *num_terms = maybe_result(c, I64, 1);
  CALL(c, (m.calls = 0, swiftdpo_enumerate_partition(responses, options, log_partition, num_terms, &c->culprit)));
}
