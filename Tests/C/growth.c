/* Programs of other headers of this ABI version: structs that are larger than this header's, and too small ones. */
#include <stdlib.h>

#include "check.h"
#include "multiply.h"

/** A struct of a later header, which has two more words. */
#define LATER(type) \
  struct { \
    type known; \
    double later[2]; \
  }

typedef struct batch {
  LATER(swiftdpo_pairs_f64) pairs;
  LATER(swiftdpo_dpo_options) options;
  LATER(swiftdpo_pair_results_f64) results;
  LATER(swiftdpo_pair_metrics) metrics;
  double loss, grad_chosen[2];
} batch;

static const double chosen[] = {-1, -2}, rejected[] = {-3, -1.5};

static void batch_init(batch *b) {
  memset(b, 0, sizeof *b);
  b->pairs.known = (swiftdpo_pairs_f64)SWIFTDPO_PAIRS_F64_INIT;
  b->pairs.known.struct_size = sizeof b->pairs;
  b->pairs.known.count = 2;
  b->pairs.known.policy_chosen_logps = chosen;
  b->pairs.known.policy_rejected_logps = rejected;
  b->options.known = (swiftdpo_dpo_options)SWIFTDPO_DPO_OPTIONS_INIT;
  b->options.known.struct_size = sizeof b->options;
  b->results.known = (swiftdpo_pair_results_f64)SWIFTDPO_PAIR_RESULTS_F64_INIT;
  b->results.known.struct_size = sizeof b->results;
  b->results.known.loss = &b->loss;
  b->results.known.grad_policy_chosen_logps = b->grad_chosen;
  b->metrics.known = (swiftdpo_pair_metrics)SWIFTDPO_PAIR_METRICS_INIT;
  b->metrics.known.struct_size = sizeof b->metrics;
  b->results.known.metrics = &b->metrics.known;
}

static swiftdpo_status call(batch *b, swiftdpo_culprit *culprit) {
  return swiftdpo_dpo_loss_f64(&b->pairs.known, &b->options.known, &b->results.known, culprit);
}

static void test_larger_structs(void) {
  batch larger, exact;
  batch_init(&larger);
  CHECK_OK(call(&larger, NULL));
  batch_init(&exact);
  exact.pairs.known.struct_size = sizeof exact.pairs.known;
  exact.options.known.struct_size = sizeof exact.options.known;
  exact.results.known.struct_size = sizeof exact.results.known;
  exact.metrics.known.struct_size = sizeof exact.metrics.known;
  CHECK_OK(call(&exact, NULL));
  CHECK_SAME_BITS(&larger.loss, &exact.loss, sizeof exact.loss);
  CHECK_SAME_BITS(larger.grad_chosen, exact.grad_chosen, sizeof exact.grad_chosen);
  CHECK(larger.metrics.known.struct_size == sizeof larger.metrics);
  CHECK_SAME_BITS(&larger.metrics.known.count, &exact.metrics.known.count, sizeof exact.metrics.known - sizeof(size_t));
  CHECK(larger.metrics.later[0] == 0 && larger.metrics.later[1] == 0);
}

/** Expects a refusal, of the field and of nothing else. */
#define REFUSED(argument_name, ...) \
  do { \
    batch b; \
    batch_init(&b); \
    __VA_ARGS__; \
    const batch before = b; \
    swiftdpo_culprit culprit = {"nobody", 999}; \
    CHECK_STATUS(SWIFTDPO_ERROR_STRUCT_SIZE, call(&b, &culprit)); \
    CHECK(strcmp(culprit.argument, argument_name) == 0 && culprit.index == 0); \
    CHECK_SAME_BITS(&b, &before, sizeof b); \
  } while (0)

static void test_refusals(void) {
  /* A field that this library does not know has been set. */
  REFUSED("pairs", b.pairs.later[0] = 1);
  REFUSED("options", b.options.later[1] = 1);
  REFUSED("results", b.results.later[0] = 1);
  REFUSED("metrics", b.metrics.later[1] = 1);
  /* Less than any header of this ABI version has, or more than any will. */
  REFUSED("pairs", b.pairs.known.struct_size = sizeof b.pairs.known - 8);
  REFUSED("options", b.options.known.struct_size = sizeof b.options.known - 1);
  REFUSED("results", b.results.known.struct_size = 8);
  REFUSED("metrics", b.metrics.known.struct_size = 0);
  REFUSED("options", b.options.known.struct_size = SIZE_MAX);
  REFUSED("options", b.options.known.struct_size = (size_t)1 << 20);
}

/** Where one function of the library calls another, the caller's structs go on. */
static void test_larger_structs_of_a_fused_call(void) {
  batch b;
  batch_init(&b);
  float hidden[4] = {1, 2, 3, 4}, weight[2] = {0.5F, -1};
  const int64_t labels[4] = {0, 1, 1, 0};
  swiftdpo_linear_head_f32 head = SWIFTDPO_LINEAR_HEAD_F32_INIT;
  head.num_sequences = 4;
  head.sequence_length = 1;
  head.hidden_size = 1;
  head.vocab_size = 2;
  head.hidden = hidden;
  head.weight = weight;
  head.labels = labels;
  swiftdpo_logps_options options = SWIFTDPO_LOGPS_OPTIONS_INIT;
  options.shift = 0;
  swiftdpo_fused_options fused = SWIFTDPO_FUSED_OPTIONS_INIT;
  fused.gemm = multiply;
  b.pairs.known.policy_chosen_logps = b.pairs.known.policy_rejected_logps = NULL;
  b.results.known.grad_policy_chosen_logps = NULL;
  CHECK_OK(swiftdpo_fused_linear_dpo_loss_f32(&head, NULL, &options, &fused, &b.pairs.known, &b.options.known,
                                              &b.results.known, NULL, NULL));
  CHECK(b.loss > 0 && b.metrics.known.count == 2);
}

void test_growth(void) {
  test_larger_structs();
  test_refusals();
  test_larger_structs_of_a_fused_call();
}
