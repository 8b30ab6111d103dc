/* Optimal policies and implicit rewards: every way to call them wrongly, and what they answer. */
#include <math.h>

#include "real.h"
#include "refused.h"

enum { PROMPTS = 3, RESPONSES = 5, SIZE = PROMPTS * RESPONSES };

/** Which of the calls over responses a fixture makes. */
typedef enum which { OPTIMAL_POLICY, IMPLICIT_REWARDS, POLICY_FROM_REWARDS } which;

typedef struct fixture {
  struct {
    real ref[SIZE], rewards[SIZE], policy[SIZE], betas[PROMPTS];
    double log_partitions[PROMPTS];
  } read;
  struct {
    real logps[SIZE + 1], grad_rewards[SIZE + 1];
    double values[7][PROMPTS];
  } written;
  which function;
  TYPED(swiftdpo_responses) responses;
  swiftdpo_policy_options options;
  TYPED(swiftdpo_policy_results) results;
} fixture;

static void fixture_init(fixture *f) {
  memset(f, 0, sizeof *f);
  memset(&f->written, UNTOUCHED, sizeof f->written);
  for (size_t i = 0; i < SIZE; i++) {
    f->read.ref[i] = (real)-1.6;
    f->read.rewards[i] = (real)i;
    f->read.policy[i] = (real)-1.7;
  }
  for (size_t i = 0; i < PROMPTS; i++) {
    f->read.betas[i] = (real)0.5;
    f->read.log_partitions[i] = 2;
  }
  f->responses = (TYPED(swiftdpo_responses))INIT(RESPONSES);
  f->responses.num_prompts = PROMPTS;
  f->responses.num_responses = RESPONSES;
  f->responses.ref_logps = f->read.ref;
  f->responses.rewards = f->read.rewards;
  f->responses.policy_logps = f->read.policy;
  f->responses.betas = f->read.betas;
  f->responses.log_partitions = f->read.log_partitions;
  f->options = (swiftdpo_policy_options)SWIFTDPO_POLICY_OPTIONS_INIT;
  f->results = (TYPED(swiftdpo_policy_results))INIT(POLICY_RESULTS);
  f->results.logps = f->written.logps;
  f->results.grad_rewards = f->written.grad_rewards;
  f->results.log_partitions = f->written.values[0];
  f->results.objectives = f->written.values[1];
  f->results.expected_rewards = f->written.values[2];
  f->results.kl_divergences = f->written.values[3];
  f->results.grad_betas = f->written.values[4];
  f->results.policy_objectives = f->written.values[5];
  f->results.policy_gaps = f->written.values[6];
}

static swiftdpo_status call(fixture *f, swiftdpo_culprit *culprit) {
  if (f->function == OPTIMAL_POLICY)
    return TYPED(swiftdpo_optimal_policy)(&f->responses, &f->options, &f->results, culprit);
  if (f->function == IMPLICIT_REWARDS)
    return TYPED(swiftdpo_implicit_rewards)(&f->responses, &f->options, f->results.logps, culprit);
  return TYPED(swiftdpo_policy_from_rewards)(&f->responses, &f->options, f->results.logps, culprit);
}

/** What all three refuse alike. */
static void test_each(which function) {
#define REFUSED_BY(status, argument, element, ...) \
  REFUSED(status, argument, element, f.function = function; __VA_ARGS__)
  REFUSED_BY(SWIFTDPO_ERROR_STRUCT_SIZE, "responses", 0, f.responses.struct_size--);
  REFUSED_BY(SWIFTDPO_ERROR_STRUCT_SIZE, "options", 0, f.options.struct_size = 1);
  REFUSED_BY(SWIFTDPO_ERROR_BETA, "beta", 0, f.options.beta = 0);
  REFUSED_BY(SWIFTDPO_ERROR_BETA, "beta", 0, f.options.beta = NAN);
  REFUSED_BY(SWIFTDPO_ERROR_BETA, "betas", 2, f.read.betas[2] = -1);
  REFUSED_BY(SWIFTDPO_ERROR_BETA, "betas", 1, f.read.betas[1] = (real)INFINITY);
  REFUSED_BY(SWIFTDPO_ERROR_NONFINITE_POLICY, "nonfinite", 0, f.options.nonfinite = (swiftdpo_nonfinite)3);
  REFUSED_BY(SWIFTDPO_ERROR_COUNT, "num_responses", 0, f.responses.num_responses = 0);
  REFUSED_BY(SWIFTDPO_ERROR_SIZE_OVERFLOW, "num_prompts", 0, f.responses.num_prompts = SIZE_MAX);
  REFUSED_BY(SWIFTDPO_ERROR_SIZE_OVERFLOW, "num_prompts", 0, f.responses.num_prompts = SIZE_MAX / 8);
  REFUSED_BY(SWIFTDPO_ERROR_MISALIGNED, "ref_logps", 0, f.responses.ref_logps = MISALIGNED(f.read.ref));
  REFUSED_BY(SWIFTDPO_ERROR_NONFINITE, "ref_logps", 4, f.read.ref[4] = (real)NAN);
#undef REFUSED_BY
  ACCEPTED(f.function = function);
  ACCEPTED(f.function = function; f.responses.ref_logps = NULL; f.responses.betas = NULL);
  ACCEPTED(f.function = function; f.responses.num_prompts = 0);
}

static void test_optimal_policy(void) {
  REFUSED(SWIFTDPO_ERROR_NULL_POINTER, "rewards", 0, f.responses.rewards = NULL);
  REFUSED(SWIFTDPO_ERROR_NULL_POINTER, "policy_logps", 0, f.responses.policy_logps = NULL);
  REFUSED(SWIFTDPO_ERROR_STRUCT_SIZE, "results", 0, f.results.struct_size = 0);
  REFUSED(SWIFTDPO_ERROR_OVERLAP, "logps", 0, f.results.logps = f.read.rewards);
  REFUSED(SWIFTDPO_ERROR_OVERLAP, "objectives", 0, f.results.objectives = f.results.log_partitions);
  REFUSED(SWIFTDPO_ERROR_MISALIGNED, "grad_betas", 0, f.results.grad_betas = MISALIGNED(f.written.values[4]));
  REFUSED(SWIFTDPO_ERROR_NONFINITE, "rewards", 7, f.read.rewards[7] = (real)-INFINITY);
  REFUSED(SWIFTDPO_ERROR_NONFINITE, "ref_logps", 14, f.read.ref[14] = (real)INFINITY);
  REFUSED(SWIFTDPO_ERROR_SUPPORT, "ref_logps", RESPONSES,
          for (size_t i = 0; i < RESPONSES; i++) f.read.ref[RESPONSES + i] = (real)-INFINITY);
  REFUSED(SWIFTDPO_ERROR_LOG_PROBABILITY, "policy_logps", 3, f.read.policy[3] = (real)0.5);
  ACCEPTED(f.read.ref[0] = f.read.ref[1] = (real)-INFINITY);
  ACCEPTED(f.responses.policy_logps = NULL; f.results.policy_objectives = f.results.policy_gaps = NULL);
}

static void test_conversions(void) {
  REFUSED(SWIFTDPO_ERROR_NULL_POINTER, "policy_logps", 0, f.function = IMPLICIT_REWARDS;
          f.responses.policy_logps = NULL);
  REFUSED(SWIFTDPO_ERROR_NULL_POINTER, "rewards", 0, f.function = IMPLICIT_REWARDS; f.results.logps = NULL);
  REFUSED(SWIFTDPO_ERROR_NULL_POINTER, "rewards", 0, f.function = POLICY_FROM_REWARDS; f.responses.rewards = NULL);
  REFUSED(SWIFTDPO_ERROR_OVERLAP, "rewards", 0, f.function = IMPLICIT_REWARDS; f.results.logps = f.read.policy);
  REFUSED(SWIFTDPO_ERROR_NONFINITE, "policy_logps", 6, f.function = IMPLICIT_REWARDS;
          f.read.policy[6] = (real)-INFINITY);
  REFUSED(SWIFTDPO_ERROR_NONFINITE, "log_partitions", 1, f.function = IMPLICIT_REWARDS; f.read.log_partitions[1] = NAN);
  REFUSED(SWIFTDPO_ERROR_NONFINITE, "log_partitions", 2, f.function = POLICY_FROM_REWARDS;
          f.read.log_partitions[2] = INFINITY);
  REFUSED(SWIFTDPO_ERROR_NONFINITE, "rewards", 9, f.function = POLICY_FROM_REWARDS; f.read.rewards[9] = (real)NAN);
}

void TYPED(test_policies_bad_input)(void) {
  test_each(OPTIMAL_POLICY);
  test_each(IMPLICIT_REWARDS);
  test_each(POLICY_FROM_REWARDS);
  test_optimal_policy();
  test_conversions();
}
