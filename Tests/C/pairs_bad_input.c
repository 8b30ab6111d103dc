/* Pairs: every way to call swiftdpo_dpo_loss wrongly, and what it answers. */
#include <math.h>

#include "real.h"
#include "refused.h"

enum { COUNT = 11 };

/** Few pairs without betas, margins, weights and labels of their own go a shorter way through the library, which must
 * refuse just the same, whether it is asked for the loss and its gradients alone or for everything. */
static enum { THE_LOSS_ALONE, ALL_RESULTS, ALL_PARAMETERS } kind;

typedef struct fixture {
  struct {
    real before[COUNT]; /* no input */
    real policy_chosen[COUNT], policy_rejected[COUNT], ref_chosen[COUNT], ref_rejected[COUNT];
    real betas[COUNT], margins[COUNT], weights[COUNT], soft_labels[COUNT];
  } read;
  struct {
    double loss;
    real losses[COUNT + 1], grad_chosen[COUNT + 1], grad_rejected[COUNT + 1];
    real chosen_rewards[COUNT + 1], rejected_rewards[COUNT + 1], gradient_weights[COUNT + 1];
  } written;
  TYPED(swiftdpo_pairs) pairs;
  swiftdpo_dpo_options options;
  TYPED(swiftdpo_pair_results) results;
} fixture;

static void fixture_init(fixture *f) {
  memset(f, 0, sizeof *f);
  memset(&f->written, UNTOUCHED, sizeof f->written);
  for (size_t i = 0; i < COUNT; i++) {
    f->read.policy_chosen[i] = (real)-10 - (real)i;
    f->read.policy_rejected[i] = (real)-12;
    f->read.ref_chosen[i] = (real)-11;
    f->read.ref_rejected[i] = (real)-11.5;
    f->read.betas[i] = (real)0.1;
    f->read.margins[i] = (real)0.2;
    f->read.weights[i] = 1;
    f->read.soft_labels[i] = (real)0.75;
  }
  f->pairs = (TYPED(swiftdpo_pairs))INIT(PAIRS);
  f->pairs.count = COUNT;
  f->pairs.policy_chosen_logps = f->read.policy_chosen;
  f->pairs.policy_rejected_logps = f->read.policy_rejected;
  f->pairs.ref_chosen_logps = f->read.ref_chosen;
  f->pairs.ref_rejected_logps = f->read.ref_rejected;
  if (kind == ALL_PARAMETERS) {
    f->pairs.betas = f->read.betas;
    f->pairs.margins = f->read.margins;
    f->pairs.weights = f->read.weights;
    f->pairs.soft_labels = f->read.soft_labels;
  }
  f->options = (swiftdpo_dpo_options)SWIFTDPO_DPO_OPTIONS_INIT;
  f->results = (TYPED(swiftdpo_pair_results))INIT(PAIR_RESULTS);
  f->results.loss = &f->written.loss;
  f->results.grad_policy_chosen_logps = f->written.grad_chosen;
  f->results.grad_policy_rejected_logps = f->written.grad_rejected;
  if (kind == THE_LOSS_ALONE)
    return;
  f->results.losses = f->written.losses;
  f->results.chosen_rewards = f->written.chosen_rewards;
  f->results.rejected_rewards = f->written.rejected_rewards;
  f->results.gradient_weights = f->written.gradient_weights;
}

static real *input(fixture *f, size_t index) {
  real *const inputs[] = {f->read.policy_chosen, f->read.policy_rejected, f->read.ref_chosen, f->read.ref_rejected};
  return inputs[index];
}

/** Results in the order in which the call comes to them. */
enum { RESULTS = 6 };
static const char *const result_names[RESULTS] = {
    "losses",         "grad_policy_chosen_logps", "grad_policy_rejected_logps",
    "chosen_rewards", "rejected_rewards",         "gradient_weights"};

static real **result(fixture *f, size_t index) {
  real **const results[] = {
      &f->results.losses,         &f->results.grad_policy_chosen_logps, &f->results.grad_policy_rejected_logps,
      &f->results.chosen_rewards, &f->results.rejected_rewards,         &f->results.gradient_weights};
  return results[index];
}

/** Asks for a result where it should go. */
static real *asked_for(fixture *f, size_t index) {
  real *const buffers[] = {f->written.losses,         f->written.grad_chosen,      f->written.grad_rejected,
                           f->written.chosen_rewards, f->written.rejected_rewards, f->written.gradient_weights};
  return *result(f, index) = buffers[index];
}

/** A double that holds this element. */
static double *double_at(real *element) { return (double *)(void *)((char *)element - ((uintptr_t)element & 7)); }

static swiftdpo_status call(fixture *f, swiftdpo_culprit *culprit) {
  return TYPED(swiftdpo_dpo_loss)(&f->pairs, &f->options, &f->results, culprit);
}

static void test_null_structs(void) {
  fixture f;
  fixture_init(&f);
  swiftdpo_culprit culprit = {"nobody", 999};
  CHECK_STATUS(SWIFTDPO_ERROR_NULL_POINTER, TYPED(swiftdpo_dpo_loss)(NULL, &f.options, &f.results, &culprit));
  CHECK(strcmp(culprit.argument, "pairs") == 0 && culprit.index == 0);
  CHECK_STATUS(SWIFTDPO_ERROR_NULL_POINTER, TYPED(swiftdpo_dpo_loss)(&f.pairs, &f.options, NULL, &culprit));
  CHECK(strcmp(culprit.argument, "results") == 0 && culprit.index == 0);
  CHECK(is_untouched(&f.written, sizeof f.written));
}

static void test_null_buffers(void) {
  REFUSED(SWIFTDPO_ERROR_NULL_POINTER, "policy_chosen_logps", 0, f.pairs.policy_chosen_logps = NULL);
  REFUSED(SWIFTDPO_ERROR_NULL_POINTER, "policy_rejected_logps", 0, f.pairs.policy_rejected_logps = NULL);
  REFUSED(SWIFTDPO_ERROR_NULL_POINTER, "ref_chosen_logps", 0, f.pairs.ref_chosen_logps = NULL);
  REFUSED(SWIFTDPO_ERROR_NULL_POINTER, "ref_rejected_logps", 0, f.pairs.ref_rejected_logps = NULL);
}

static void test_struct_sizes(void) {
  REFUSED(SWIFTDPO_ERROR_STRUCT_SIZE, "pairs", 0, f.pairs.struct_size = 0);
  REFUSED(SWIFTDPO_ERROR_STRUCT_SIZE, "pairs", 0, f.pairs.struct_size += sizeof(void *));
  REFUSED(SWIFTDPO_ERROR_STRUCT_SIZE, "options", 0, f.options.struct_size = 1);
  REFUSED(SWIFTDPO_ERROR_STRUCT_SIZE, "results", 0, f.results.struct_size--);
}

static void test_misaligned_structs(void) {
  fixture f;
  fixture_init(&f);
  swiftdpo_culprit culprit = {"nobody", 999};
  CHECK_STATUS(SWIFTDPO_ERROR_MISALIGNED,
               TYPED(swiftdpo_dpo_loss)(MISALIGNED(&f.pairs), &f.options, &f.results, &culprit));
  CHECK(strcmp(culprit.argument, "pairs") == 0 && culprit.index == 0);
  CHECK_STATUS(SWIFTDPO_ERROR_MISALIGNED,
               TYPED(swiftdpo_dpo_loss)(&f.pairs, MISALIGNED(&f.options), &f.results, &culprit));
  CHECK(strcmp(culprit.argument, "options") == 0 && culprit.index == 0);
  CHECK_STATUS(SWIFTDPO_ERROR_MISALIGNED,
               TYPED(swiftdpo_dpo_loss)(&f.pairs, &f.options, MISALIGNED(&f.results), &culprit));
  CHECK(strcmp(culprit.argument, "results") == 0 && culprit.index == 0);
  CHECK(is_untouched(&f.written, sizeof f.written));
}

static void test_misaligned_buffers(void) {
#define MISPLACED(argument) REFUSED(SWIFTDPO_ERROR_MISALIGNED, #argument, 0, MISPLACE(argument))
#define MISPLACE(argument) f.pairs.argument = MISALIGNED(f.pairs.argument)
  MISPLACED(policy_chosen_logps);
  MISPLACED(policy_rejected_logps);
  MISPLACED(ref_chosen_logps);
  MISPLACED(ref_rejected_logps);
  REFUSED(SWIFTDPO_ERROR_MISALIGNED, "weights", 0, f.pairs.weights = MISALIGNED(f.read.weights));
#undef MISPLACE
#define MISPLACE(argument) f.results.argument = MISALIGNED(&f.written)
  MISPLACED(loss);
  MISPLACED(losses);
  MISPLACED(grad_policy_chosen_logps);
  MISPLACED(grad_policy_rejected_logps);
  MISPLACED(chosen_rewards);
  MISPLACED(rejected_rewards);
  MISPLACED(gradient_weights);
#undef MISPLACE
#undef MISPLACED
}

static void test_counts_that_overflow(void) {
  REFUSED(SWIFTDPO_ERROR_SIZE_OVERFLOW, "count", 0, f.pairs.count = SIZE_MAX);
  REFUSED(SWIFTDPO_ERROR_SIZE_OVERFLOW, "policy_chosen_logps", 0, f.pairs.count = SIZE_MAX / sizeof(real) + 2);
  REFUSED(SWIFTDPO_ERROR_SIZE_OVERFLOW, "policy_chosen_logps", 0, f.pairs.count = SIZE_MAX / sizeof(real));
}

/** Each result with its first element over the last one of each input, and of each result that comes before it, and with
 * its last element over the first one. */
static void test_overlaps(void) {
  enum { INPUTS = 4, LAST = COUNT - 1 };
  for (size_t over = 0; over < RESULTS; over++) {
    const char *name = result_names[over];
    for (size_t under = 0; under < INPUTS; under++) {
      REFUSED(SWIFTDPO_ERROR_OVERLAP, name, 0, *result(&f, over) = input(&f, under) + LAST);
      REFUSED(SWIFTDPO_ERROR_OVERLAP, name, 0, *result(&f, over) = input(&f, under) - LAST);
    }
    for (size_t under = 0; under < over; under++) {
      REFUSED(SWIFTDPO_ERROR_OVERLAP, name, 0, *result(&f, over) = asked_for(&f, under) + LAST);
      REFUSED(SWIFTDPO_ERROR_OVERLAP, name, 0, *result(&f, over) = asked_for(&f, under) - LAST);
    }
    REFUSED(SWIFTDPO_ERROR_OVERLAP, name, 0, *result(&f, over) = (real *)(void *)&f.written.loss - LAST);
  }
  for (size_t under = 0; under < INPUTS; under++) {
    REFUSED(SWIFTDPO_ERROR_OVERLAP, "loss", 0, f.results.loss = double_at(input(&f, under)));
    REFUSED(SWIFTDPO_ERROR_OVERLAP, "loss", 0, f.results.loss = double_at(input(&f, under) + LAST));
  }
  REFUSED(SWIFTDPO_ERROR_OVERLAP, "grad_policy_chosen_logps", 0, f.pairs.soft_labels = f.read.soft_labels,
          f.results.grad_policy_chosen_logps = f.read.soft_labels + LAST);
}

static void test_options(void) {
  REFUSED(SWIFTDPO_ERROR_BETA, "beta", 0, f.options.beta = 0);
  REFUSED(SWIFTDPO_ERROR_BETA, "beta", 0, f.options.beta = -0.1);
  REFUSED(SWIFTDPO_ERROR_BETA, "beta", 0, f.options.beta = NAN);
  REFUSED(SWIFTDPO_ERROR_BETA, "beta", 0, f.options.beta = INFINITY);
  REFUSED(SWIFTDPO_ERROR_LABEL_SMOOTHING, "label_smoothing", 0, f.options.label_smoothing = -0x1p-60);
  REFUSED(SWIFTDPO_ERROR_LABEL_SMOOTHING, "label_smoothing", 0, f.options.label_smoothing = 0.5);
  REFUSED(SWIFTDPO_ERROR_LABEL_SMOOTHING, "label_smoothing", 0, f.options.label_smoothing = NAN);
  REFUSED(SWIFTDPO_ERROR_REDUCTION, "reduction", 0, f.options.reduction = (swiftdpo_reduction)3);
  REFUSED(SWIFTDPO_ERROR_REDUCTION, "reduction", 0, f.options.reduction = (swiftdpo_reduction)-1);
  REFUSED(SWIFTDPO_ERROR_NONFINITE_POLICY, "nonfinite", 0, f.options.nonfinite = (swiftdpo_nonfinite)3);
  ACCEPTED(f.options.label_smoothing = 0x1.fffffffffffffp-2);
}

/** The first bad element is named wherever it stands. */
static void test_nonfinite_logps(void) {
  for (size_t i = 0; i < COUNT; i++) {
    REFUSED(SWIFTDPO_ERROR_NONFINITE, "policy_chosen_logps", i, f.read.policy_chosen[i] = (real)NAN);
    REFUSED(SWIFTDPO_ERROR_NONFINITE, "policy_rejected_logps", i, f.read.policy_rejected[i] = (real)-INFINITY);
    REFUSED(SWIFTDPO_ERROR_NONFINITE, "ref_chosen_logps", i, f.read.ref_chosen[i] = (real)INFINITY);
    REFUSED(SWIFTDPO_ERROR_NONFINITE, "ref_rejected_logps", i, f.read.ref_rejected[i] = (real)NAN);
  }
  REFUSED(SWIFTDPO_ERROR_NONFINITE, "policy_chosen_logps", 3,
          f.read.policy_chosen[3] = f.read.policy_chosen[7] = (real)NAN);
}

/** Batches that are looked at in vectors and in blocks: nothing is passed over, at their ends neither. */
static void test_nonfinite_logps_of_many_pairs(void) {
  enum { MOST = 2080 };
  static const size_t counts[] = {15, 16,   17,   31,   32,   33,   47,   48,   49,  63,
                                  64, 1023, 1024, 1025, 1039, 1040, 1041, 1072, MOST};
  static const real values[] = {(real)NAN, (real)INFINITY, (real)-INFINITY};
  static real chosen[MOST], rejected[MOST];
  TYPED(swiftdpo_pairs) pairs = INIT(PAIRS);
  const TYPED(swiftdpo_pair_results) results = INIT(PAIR_RESULTS);
  swiftdpo_dpo_options options = SWIFTDPO_DPO_OPTIONS_INIT;
  pairs.policy_chosen_logps = chosen;
  pairs.policy_rejected_logps = rejected;
  for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
    pairs.count = counts[i];
    CHECK_OK(TYPED(swiftdpo_dpo_loss)(&pairs, NULL, &results, NULL));
    for (size_t at = 0; at < pairs.count; at++) {
      swiftdpo_culprit culprit = {"nobody", 999999};
      options.nonfinite = at % 2 ? SWIFTDPO_NONFINITE_ERROR_LATE : SWIFTDPO_NONFINITE_ERROR;
      rejected[at] = values[at % 3];
      CHECK_STATUS(SWIFTDPO_ERROR_NONFINITE, TYPED(swiftdpo_dpo_loss)(&pairs, &options, &results, &culprit));
      CHECK(strcmp(culprit.argument, "policy_rejected_logps") == 0 && culprit.index == at);
      rejected[at] = 0;
    }
  }
}

/** What is not finite is found in every chunk and every part of one, by the same name, though it leaves the loss finite.
 * Finite numbers are never refused, whatever becomes of them. */
static void test_late_error(void) {
  enum { COUNT_OF_MANY = 20011 };
  static real logps[4][COUNT_OF_MANY], gradients[2][2][COUNT_OF_MANY];
  static const char *const names[] = {"policy_chosen_logps", "policy_rejected_logps", "ref_chosen_logps",
                                      "ref_rejected_logps"};
  static const real values[] = {(real)INFINITY, (real)-INFINITY, (real)NAN};
  static const size_t places[] = {0, 15, 16, 127, 4095, 4096, 4111, 12288, 16384, 20000, COUNT_OF_MANY - 1};
  static const size_t counts[] = {1, 2, 15, 16, 17, 300, 4096, 4097, COUNT_OF_MANY};
  enum { COUNTS = sizeof counts / sizeof *counts, PLACES = sizeof places / sizeof *places };
  TYPED(swiftdpo_pairs) pairs = INIT(PAIRS);
  TYPED(swiftdpo_pair_results) results = INIT(PAIR_RESULTS);
  swiftdpo_dpo_options options = SWIFTDPO_DPO_OPTIONS_INIT;
  double losses[2];
  pairs.policy_chosen_logps = logps[0];
  pairs.policy_rejected_logps = logps[1];
  pairs.ref_chosen_logps = logps[2];
  pairs.ref_rejected_logps = logps[3];
  for (size_t i = 0; i < COUNTS; i++) {
    pairs.count = counts[i];
    for (size_t place = 0; place < PLACES && places[place] < pairs.count; place++) {
      for (size_t argument = 0; argument < 4; argument++) {
        for (int smoothed = 0; smoothed < 2; smoothed++) {
          swiftdpo_culprit culprit = {"nobody", 999999};
          options.nonfinite = SWIFTDPO_NONFINITE_ERROR_LATE;
          options.label_smoothing = smoothed ? 0.25 : 0;
          logps[argument][places[place]] = values[(argument + place) % 3];
          results.grad_policy_chosen_logps = gradients[0][0];
          CHECK_STATUS(SWIFTDPO_ERROR_NONFINITE, TYPED(swiftdpo_dpo_loss)(&pairs, &options, &results, &culprit));
          CHECK(strcmp(culprit.argument, names[argument]) == 0 && culprit.index == places[place]);
          logps[argument][places[place]] = 0;
        }
      }
    }

    /* Margins beyond the largest double, and far beyond what single precision is computed for. */
    static const double betas[] = {0.1, 1e300};
    logps[0][pairs.count / 2] = (real)3e38;
    logps[3][pairs.count / 3] = (real)-100;
    for (size_t beta = 0; beta < 2; beta++) {
      options.beta = betas[beta];
      for (int late = 0; late < 2; late++) {
        options.nonfinite = late ? SWIFTDPO_NONFINITE_ERROR_LATE : SWIFTDPO_NONFINITE_ERROR;
        results.loss = &losses[late];
        results.grad_policy_chosen_logps = gradients[late][0];
        results.grad_policy_rejected_logps = gradients[late][1];
        CHECK_OK(TYPED(swiftdpo_dpo_loss)(&pairs, &options, &results, NULL));
      }
      CHECK_SAME_BITS(&losses[0], &losses[1], sizeof losses[0]);
      CHECK_SAME_BITS(gradients[0][0], gradients[1][0], sizeof gradients[0]);
    }
    logps[0][pairs.count / 2] = logps[3][pairs.count / 3] = 0;
    results.loss = NULL;
    options.beta = 0.1;
  }
}

/** Parameters are not data: they must be right even where NaN in log-probabilities is let through. */
static void test_parameters_of_each_pair(void) {
  for (int policy = SWIFTDPO_NONFINITE_ERROR; policy <= SWIFTDPO_NONFINITE_ERROR_LATE; policy++) {
#define REFUSED_PARAMETER(status, argument, element, breakage) \
  REFUSED(status, argument, element, f.options.nonfinite = (swiftdpo_nonfinite)policy; breakage)
    REFUSED_PARAMETER(SWIFTDPO_ERROR_BETA, "betas", 0, f.read.betas[0] = 0);
    REFUSED_PARAMETER(SWIFTDPO_ERROR_BETA, "betas", 9, f.read.betas[9] = (real)NAN);
    REFUSED_PARAMETER(SWIFTDPO_ERROR_BETA, "betas", COUNT - 1, f.read.betas[COUNT - 1] = (real)INFINITY);
    REFUSED_PARAMETER(SWIFTDPO_ERROR_NONFINITE, "margins", 2, f.read.margins[2] = (real)NAN);
    REFUSED_PARAMETER(SWIFTDPO_ERROR_NONFINITE, "margins", 8, f.read.margins[8] = (real)-INFINITY);
    REFUSED_PARAMETER(SWIFTDPO_ERROR_WEIGHT, "weights", 1, f.read.weights[1] = -REAL_TINY);
    REFUSED_PARAMETER(SWIFTDPO_ERROR_WEIGHT, "weights", 5, f.read.weights[5] = (real)NAN);
    REFUSED_PARAMETER(SWIFTDPO_ERROR_WEIGHT, "weights", 10, f.read.weights[10] = (real)INFINITY);
    REFUSED_PARAMETER(SWIFTDPO_ERROR_SOFT_LABEL, "soft_labels", 4, f.read.soft_labels[4] = (real)1.25);
    REFUSED_PARAMETER(SWIFTDPO_ERROR_SOFT_LABEL, "soft_labels", 6, f.read.soft_labels[6] = -REAL_TINY);
    REFUSED_PARAMETER(SWIFTDPO_ERROR_SOFT_LABEL, "soft_labels", 8, f.read.soft_labels[8] = (real)NAN);
#undef REFUSED_PARAMETER
  }
}

/** What losses other than DPO's need, and refuse. */
static void test_losses(void) {
  static const swiftdpo_loss_type ipo_norm = SWIFTDPO_LOSS_IPO_NORM, rpo = SWIFTDPO_LOSS_RPO_SQ,
                                  exo = SWIFTDPO_LOSS_EXO_PAIR, nca = SWIFTDPO_LOSS_NCA_PAIR,
                                  odds = SWIFTDPO_LOSS_ODDS_RATIO, ties = SWIFTDPO_LOSS_RAO_KUPPER,
                                  unknown = (swiftdpo_loss_type)99;
  static const double negative = -1;
  static const int64_t lengths[COUNT] = {1, 2, -3};
  static const uint8_t outcomes[COUNT] = {0, 1, 2};
#define WITH(loss) f.options.loss_types = &(loss), f.options.num_losses = 1
  REFUSED(SWIFTDPO_ERROR_LOSS_TYPE, "loss_types", 0, WITH(unknown));
  REFUSED(SWIFTDPO_ERROR_LOSS_TYPE, "num_losses", 0, WITH(rpo), f.options.num_losses = 17);
  REFUSED(SWIFTDPO_ERROR_NULL_POINTER, "loss_types", 0, f.options.num_losses = 1);
  REFUSED(SWIFTDPO_ERROR_WEIGHT, "loss_weights", 0, WITH(nca), f.options.loss_weights = &negative);
  REFUSED(SWIFTDPO_ERROR_NULL_POINTER, "chosen_lengths", 0, WITH(ipo_norm));
  REFUSED(SWIFTDPO_ERROR_LENGTH, "chosen_lengths", 2, WITH(ipo_norm), f.pairs.chosen_lengths = lengths);
  REFUSED(SWIFTDPO_ERROR_NULL_POINTER, "reward_gaps", 0, WITH(rpo));
  REFUSED(SWIFTDPO_ERROR_SOFT_LABEL, "soft_labels", 3, WITH(exo), f.pairs.soft_labels = f.read.soft_labels,
          f.read.soft_labels[3] = 1);
  REFUSED(SWIFTDPO_ERROR_LABEL_SMOOTHING, "label_smoothing", 0, WITH(exo), f.pairs.soft_labels = NULL);
  REFUSED(SWIFTDPO_ERROR_F_DIVERGENCE, "loss_types", 0, WITH(nca), f.options.f_divergence = SWIFTDPO_FORWARD_KL);
  REFUSED(SWIFTDPO_ERROR_F_DIVERGENCE, "f_divergence", 0, f.options.f_divergence = (swiftdpo_f_divergence)4);
  REFUSED(SWIFTDPO_ERROR_PARAMETER, "tie_strength", 0, WITH(ties), f.options.tie_strength = 1);
  REFUSED(SWIFTDPO_ERROR_PARAMETER, "discopop_tau", 0, f.options.discopop_tau = 0);
  REFUSED(SWIFTDPO_ERROR_PARAMETER, "alphapo_alpha", 0, f.options.alphapo_alpha = NAN);
  REFUSED(SWIFTDPO_ERROR_FLAG, "reference_free", 0, f.options.reference_free = 2);
  REFUSED(SWIFTDPO_ERROR_FLAG, "ties", 2, WITH(ties), f.pairs.ties = outcomes);
  REFUSED(SWIFTDPO_ERROR_NONFINITE, "margin", 0, f.options.margin = INFINITY);
  REFUSED(SWIFTDPO_ERROR_NULL_POINTER, "chosen_lengths", 0, WITH(odds), f.pairs.ref_chosen_logps = NULL,
          f.pairs.ref_rejected_logps = NULL);
#undef WITH
}

void TYPED(test_pairs_bad_input)(void) {
  for (kind = THE_LOSS_ALONE; kind <= ALL_PARAMETERS; kind++) {
    ACCEPTED();
    test_null_structs();
    test_null_buffers();
    test_struct_sizes();
    test_misaligned_structs();
    test_misaligned_buffers();
    test_counts_that_overflow();
    test_overlaps();
    test_options();
    test_losses();
    test_nonfinite_logps();
  }
  kind = ALL_PARAMETERS;
  test_nonfinite_logps_of_many_pairs();
  test_late_error();
  test_parameters_of_each_pair();
}
