/* Single responses, their baselines and weights: every way to call them wrongly, and what they answer. */
#include <math.h>

#include "real.h"
#include "refused.h"

enum { COUNT = 11 };

/** Which of the calls over single responses a fixture makes. */
typedef enum which { LOSS, KTO_ADD, BCO_ADD, UDM } which;

typedef struct fixture {
  struct {
    real policy[COUNT], ref[COUNT], betas[COUNT], weights[COUNT], probabilities[COUNT];
    uint8_t desirable[COUNT];
  } read;
  struct {
    double loss, grad_baseline;
    real losses[COUNT + 1], gradient[COUNT + 1], rewards[COUNT + 1], grad_betas[COUNT + 1], curvatures[COUNT + 1];
    real udm[COUNT + 1];
  } written;
  which function;
  swiftdpo_unpaired_metrics metrics;
  swiftdpo_kto_baseline baseline;
  swiftdpo_bco_delta delta;
  size_t count;
  double beta;
  TYPED(swiftdpo_unpaired) unpaired;
  swiftdpo_unpaired_options options;
  TYPED(swiftdpo_unpaired_results) results;
  real *udm;
} fixture;

static void fixture_init(fixture *f) {
  memset(f, 0, sizeof *f);
  memset(&f->written, UNTOUCHED, sizeof f->written);
  for (size_t i = 0; i < COUNT; i++) {
    f->read.policy[i] = (real)-10 - (real)i;
    f->read.ref[i] = (real)-11;
    f->read.betas[i] = (real)0.1;
    f->read.weights[i] = 1;
    f->read.probabilities[i] = (real)0.5;
    f->read.desirable[i] = i % 2;
  }
  f->metrics = (swiftdpo_unpaired_metrics)SWIFTDPO_UNPAIRED_METRICS_INIT;
  f->baseline = (swiftdpo_kto_baseline)SWIFTDPO_KTO_BASELINE_INIT;
  f->delta = (swiftdpo_bco_delta)SWIFTDPO_BCO_DELTA_INIT;
  f->count = COUNT;
  f->beta = 0.1;
  f->unpaired = (TYPED(swiftdpo_unpaired))INIT(UNPAIRED);
  f->unpaired.count = COUNT;
  f->unpaired.policy_logps = f->read.policy;
  f->unpaired.ref_logps = f->read.ref;
  f->unpaired.desirable = f->read.desirable;
  f->unpaired.betas = f->read.betas;
  f->unpaired.weights = f->read.weights;
  f->options = (swiftdpo_unpaired_options)SWIFTDPO_UNPAIRED_OPTIONS_INIT;
  f->results = (TYPED(swiftdpo_unpaired_results))INIT(UNPAIRED_RESULTS);
  f->results.loss = &f->written.loss;
  f->results.losses = f->written.losses;
  f->results.grad_policy_logps = f->written.gradient;
  f->results.rewards = f->written.rewards;
  f->results.grad_betas = f->written.grad_betas;
  f->results.curvatures = f->written.curvatures;
  f->results.grad_baseline = &f->written.grad_baseline;
  f->results.metrics = &f->metrics;
  f->udm = f->written.udm;
}

/** Sums that a call adds to are as they were where it fails. */
static swiftdpo_status call(fixture *f, swiftdpo_culprit *culprit) {
  const swiftdpo_unpaired_metrics metrics = f->metrics;
  const swiftdpo_kto_baseline baseline = f->baseline;
  const swiftdpo_bco_delta delta = f->delta;
  swiftdpo_status status = SWIFTDPO_OK;
  if (f->function == LOSS)
    status = TYPED(swiftdpo_unpaired_loss)(&f->unpaired, &f->options, &f->results, culprit);
  if (f->function == KTO_ADD)
    status = TYPED(swiftdpo_kto_baseline_add)(&f->baseline, f->unpaired.policy_logps, f->unpaired.ref_logps, f->count,
                                              culprit);
  if (f->function == BCO_ADD)
    status = TYPED(swiftdpo_bco_delta_add)(&f->delta, f->unpaired.policy_logps, f->unpaired.ref_logps, f->beta,
                                           f->count, culprit);
  if (f->function == UDM)
    status = TYPED(swiftdpo_udm_weights)(f->read.probabilities, f->count, f->udm, culprit);
  if (status != SWIFTDPO_OK) {
    CHECK_SAME_BITS(&metrics, &f->metrics, sizeof metrics);
    CHECK_SAME_BITS(&baseline, &f->baseline, sizeof baseline);
    CHECK_SAME_BITS(&delta, &f->delta, sizeof delta);
  }
  return status;
}

static void test_structs_and_buffers(void) {
  fixture f;
  fixture_init(&f);
  CHECK_STATUS(SWIFTDPO_ERROR_NULL_POINTER, TYPED(swiftdpo_unpaired_loss)(NULL, &f.options, &f.results, NULL));
  CHECK_STATUS(SWIFTDPO_ERROR_NULL_POINTER, TYPED(swiftdpo_unpaired_loss)(&f.unpaired, &f.options, NULL, NULL));
  CHECK(is_untouched(&f.written, sizeof f.written));
  REFUSED(SWIFTDPO_ERROR_STRUCT_SIZE, "unpaired", 0, f.unpaired.struct_size--);
  REFUSED(SWIFTDPO_ERROR_STRUCT_SIZE, "options", 0, f.options.struct_size = 0);
  REFUSED(SWIFTDPO_ERROR_STRUCT_SIZE, "results", 0, f.results.struct_size++);
  REFUSED(SWIFTDPO_ERROR_STRUCT_SIZE, "metrics", 0, f.metrics.struct_size = 3);
  REFUSED(SWIFTDPO_ERROR_NULL_POINTER, "policy_logps", 0, f.unpaired.policy_logps = NULL);
  REFUSED(SWIFTDPO_ERROR_NULL_POINTER, "desirable", 0, f.unpaired.desirable = NULL);
  REFUSED(SWIFTDPO_ERROR_MISALIGNED, "policy_logps", 0, f.unpaired.policy_logps = MISALIGNED(f.read.policy));
  REFUSED(SWIFTDPO_ERROR_MISALIGNED, "betas", 0, f.unpaired.betas = MISALIGNED(f.read.betas));
  REFUSED(SWIFTDPO_ERROR_MISALIGNED, "curvatures", 0, f.results.curvatures = MISALIGNED(f.written.curvatures));
  REFUSED(SWIFTDPO_ERROR_MISALIGNED, "grad_baseline", 0,
          f.results.grad_baseline = MISALIGNED(&f.written.grad_baseline));
  REFUSED(SWIFTDPO_ERROR_SIZE_OVERFLOW, "count", 0, f.unpaired.count = SIZE_MAX);
  REFUSED(SWIFTDPO_ERROR_OVERLAP, "losses", 0, f.results.losses = f.read.policy);
  REFUSED(SWIFTDPO_ERROR_OVERLAP, "rewards", 0, f.results.rewards = f.written.gradient + 1);
  REFUSED(SWIFTDPO_ERROR_OVERLAP, "grad_baseline", 0, f.results.grad_baseline = &f.written.loss);
  ACCEPTED();
  ACCEPTED(f.unpaired.ref_logps = NULL; f.unpaired.betas = f.unpaired.weights = NULL; f.results.metrics = NULL);
  ACCEPTED(f.unpaired.count = 0; f.unpaired.policy_logps = NULL; f.unpaired.desirable = NULL);
}

static void test_options(void) {
  REFUSED(SWIFTDPO_ERROR_BETA, "beta", 0, f.options.beta = 0);
  REFUSED(SWIFTDPO_ERROR_BETA, "beta", 0, f.options.beta = INFINITY);
  REFUSED(SWIFTDPO_ERROR_WEIGHT, "desirable_weight", 0, f.options.desirable_weight = -1);
  REFUSED(SWIFTDPO_ERROR_WEIGHT, "undesirable_weight", 0, f.options.undesirable_weight = NAN);
  REFUSED(SWIFTDPO_ERROR_NONFINITE, "baseline", 0, f.options.baseline = NAN);
  REFUSED(SWIFTDPO_ERROR_LOSS_TYPE, "loss_type", 0, f.options.loss_type = (swiftdpo_unpaired_loss_type)3);
  REFUSED(SWIFTDPO_ERROR_REDUCTION, "reduction", 0, f.options.reduction = (swiftdpo_reduction)7);
  REFUSED(SWIFTDPO_ERROR_NONFINITE_POLICY, "nonfinite", 0, f.options.nonfinite = (swiftdpo_nonfinite)-1);
  REFUSED(SWIFTDPO_ERROR_FLAG, "reference_free", 0, f.options.reference_free = 2);
}

static void test_data(void) {
  for (size_t i = 0; i < COUNT; i++) {
    REFUSED(SWIFTDPO_ERROR_NONFINITE, "policy_logps", i, f.read.policy[i] = (real)NAN);
    REFUSED(SWIFTDPO_ERROR_NONFINITE, "ref_logps", i, f.read.ref[i] = (real)-INFINITY);
    REFUSED(SWIFTDPO_ERROR_FLAG, "desirable", i, f.read.desirable[i] = 2);
    REFUSED(SWIFTDPO_ERROR_BETA, "betas", i, f.read.betas[i] = 0);
    REFUSED(SWIFTDPO_ERROR_WEIGHT, "weights", i, f.read.weights[i] = -REAL_TINY);
  }
  /* Parameters must be right even where NaN in log-probabilities is let through. */
  REFUSED(SWIFTDPO_ERROR_BETA, "betas", 3, f.options.nonfinite = SWIFTDPO_NONFINITE_PROPAGATE;
          f.read.policy[1] = f.read.betas[3] = (real)NAN);
  ACCEPTED(f.options.nonfinite = SWIFTDPO_NONFINITE_PROPAGATE; f.read.policy[1] = (real)NAN);
}

static void test_baselines(void) {
  for (which function = KTO_ADD; function <= BCO_ADD; function++) {
#define REFUSED_BY(status, argument, element, ...) \
  REFUSED(status, argument, element, f.function = function; __VA_ARGS__)
    REFUSED_BY(SWIFTDPO_ERROR_NULL_POINTER, "policy_logps", 0, f.unpaired.policy_logps = NULL);
    REFUSED_BY(SWIFTDPO_ERROR_MISALIGNED, "ref_logps", 0, f.unpaired.ref_logps = MISALIGNED(f.read.ref));
    REFUSED_BY(SWIFTDPO_ERROR_SIZE_OVERFLOW, "count", 0, f.count = SIZE_MAX);
    REFUSED_BY(SWIFTDPO_ERROR_NONFINITE, "policy_logps", 4, f.read.policy[4] = (real)INFINITY);
    REFUSED_BY(SWIFTDPO_ERROR_NONFINITE, "ref_logps", 10, f.read.ref[10] = (real)NAN);
#undef REFUSED_BY
    ACCEPTED(f.function = function; f.unpaired.ref_logps = NULL);
    ACCEPTED(f.function = function; f.count = 0; f.unpaired.policy_logps = NULL);
  }
  REFUSED(SWIFTDPO_ERROR_STRUCT_SIZE, "baseline", 0, f.function = KTO_ADD; f.baseline.struct_size = 1);
  REFUSED(SWIFTDPO_ERROR_STRUCT_SIZE, "delta", 0, f.function = BCO_ADD; f.delta.struct_size--);
  REFUSED(SWIFTDPO_ERROR_BETA, "beta", 0, f.function = BCO_ADD; f.beta = -0.1);
  double value = 17;
  swiftdpo_kto_baseline baseline = SWIFTDPO_KTO_BASELINE_INIT;
  CHECK_STATUS(SWIFTDPO_ERROR_NULL_POINTER, swiftdpo_kto_baseline_value(NULL, SWIFTDPO_KTO_GLOBAL, &value));
  CHECK_STATUS(SWIFTDPO_ERROR_NULL_POINTER, swiftdpo_kto_baseline_value(&baseline, SWIFTDPO_KTO_GLOBAL, NULL));
  CHECK_STATUS(SWIFTDPO_ERROR_PARAMETER, swiftdpo_kto_baseline_value(&baseline, (swiftdpo_kto_estimator)4, &value));
  baseline.struct_size = 0;
  CHECK_STATUS(SWIFTDPO_ERROR_STRUCT_SIZE, swiftdpo_kto_baseline_value(&baseline, SWIFTDPO_KTO_GLOBAL, &value));
  CHECK(value == 17);
}

static void test_udm_weights(void) {
  REFUSED(SWIFTDPO_ERROR_SOFT_LABEL, "probabilities", 2, f.function = UDM; f.read.probabilities[2] = (real)1.5);
  REFUSED(SWIFTDPO_ERROR_SOFT_LABEL, "probabilities", 0, f.function = UDM; f.read.probabilities[0] = (real)NAN);
  REFUSED(SWIFTDPO_ERROR_NULL_POINTER, "weights", 0, f.function = UDM; f.udm = NULL);
  REFUSED(SWIFTDPO_ERROR_OVERLAP, "weights", 0, f.function = UDM; f.udm = f.read.probabilities);
  REFUSED(SWIFTDPO_ERROR_SIZE_OVERFLOW, "count", 0, f.function = UDM; f.count = SIZE_MAX);
  ACCEPTED(f.function = UDM; f.read.probabilities[0] = 0; f.read.probabilities[1] = 1);
}

void TYPED(test_unpaired_bad_input)(void) {
  test_structs_and_buffers();
  test_options();
  test_data();
  test_baselines();
  test_udm_weights();
}
