/* The fused linear head: against the plain path over logits made here, and every way to call it wrongly. */
#include <math.h>
#include <stdlib.h>

#include "check.h"
#include "multiply.h"
#include "refused.h"

enum { PAIRS = 2, B = 2 * PAIRS, T = 5, H = 3, V = 7, ROWS = B * T };

typedef struct fixture {
  struct {
    float hidden[ROWS * H], weight[V * H], bias[V], ref_hidden[ROWS * H], ref_weight[V * H];
    int64_t labels[ROWS];
    double grad_logps[B], log_normalizers[ROWS], ref_logps[B];
  } read;
  struct {
    float grad_hidden[ROWS * H], grad_weight[V * H], grad_bias[V];
    double logps[B], token_logps[ROWS], log_normalizers[ROWS], loss, losses[PAIRS], ref_logps[B];
    double maxima[ROWS], sums[ROWS], label_logits[ROWS];
    size_t least, most;
  } written;
  swiftdpo_linear_head_f32 head, ref;
  const swiftdpo_linear_head_f32 *ref_head;
  swiftdpo_logps_options options;
  swiftdpo_fused_options fused;
  swiftdpo_logps_results results;
  swiftdpo_linear_gradients_f32 gradients;
  swiftdpo_shard_statistics statistics;
  swiftdpo_pairs_f64 pairs;
  swiftdpo_dpo_options loss_options;
  swiftdpo_pair_results_f64 loss_results;
  swiftdpo_fused_results_f32 fused_results;
  const double *grad_logps, *log_normalizers;
  work work;
} fixture;

static enum { FORWARD, BACKWARD, SHARD, WORKSPACE, LOSS } which;

static void fixture_init(fixture *f) {
  memset(f, 0, sizeof *f);
  memset(&f->written, UNTOUCHED, sizeof f->written);
  for (size_t i = 0; i < ROWS * H; i++) {
    f->read.hidden[i] = (float)(i * i % 11) / 4 - 1;
    f->read.ref_hidden[i] = (float)(i * i % 7) / 4 - 1;
  }
  for (size_t i = 0; i < V * H; i++) {
    f->read.weight[i] = (float)(i * i % 5) / 2 - 1;
    f->read.ref_weight[i] = (float)(i * i % 3) / 2 - 1;
  }
  for (size_t i = 0; i < V; i++)
    f->read.bias[i] = (float)i / 8;
  for (size_t i = 0; i < ROWS; i++)
    f->read.labels[i] = i % 3 == 0 ? -100 : (int64_t)(i % V);
  for (size_t i = 0; i < B; i++)
    f->read.grad_logps[i] = (double)i - 1.5;
  f->head = (swiftdpo_linear_head_f32)SWIFTDPO_LINEAR_HEAD_F32_INIT;
  f->head.num_sequences = B;
  f->head.sequence_length = T;
  f->head.hidden_size = H;
  f->head.vocab_size = V;
  f->head.hidden = f->read.hidden;
  f->head.weight = f->read.weight;
  f->head.bias = f->read.bias;
  f->head.labels = f->read.labels;
  f->ref = (swiftdpo_linear_head_f32)SWIFTDPO_LINEAR_HEAD_F32_INIT;
  f->ref.hidden_size = H;
  f->ref.hidden = f->read.ref_hidden;
  f->ref.weight = f->read.ref_weight;
  f->ref_head = &f->ref;
  f->options = (swiftdpo_logps_options)SWIFTDPO_LOGPS_OPTIONS_INIT;
  f->fused = (swiftdpo_fused_options)SWIFTDPO_FUSED_OPTIONS_INIT;
  f->fused.gemm = multiply;
  f->fused.gemm_context = &f->work;
  f->results = (swiftdpo_logps_results)SWIFTDPO_LOGPS_RESULTS_INIT;
  f->results.logps = f->written.logps;
  f->results.token_logps = f->written.token_logps;
  f->results.log_normalizers = f->written.log_normalizers;
  f->gradients = (swiftdpo_linear_gradients_f32)SWIFTDPO_LINEAR_GRADIENTS_F32_INIT;
  f->gradients.grad_hidden = f->written.grad_hidden;
  f->gradients.grad_weight = f->written.grad_weight;
  f->gradients.grad_bias = f->written.grad_bias;
  f->statistics = (swiftdpo_shard_statistics)SWIFTDPO_SHARD_STATISTICS_INIT;
  f->statistics.maxima = f->written.maxima;
  f->statistics.sums = f->written.sums;
  f->statistics.label_logits = f->written.label_logits;
  f->pairs = (swiftdpo_pairs_f64)SWIFTDPO_PAIRS_F64_INIT;
  f->pairs.count = PAIRS;
  f->loss_options = (swiftdpo_dpo_options)SWIFTDPO_DPO_OPTIONS_INIT;
  f->loss_results = (swiftdpo_pair_results_f64)SWIFTDPO_PAIR_RESULTS_F64_INIT;
  f->loss_results.loss = &f->written.loss;
  f->loss_results.losses = f->written.losses;
  f->fused_results = (swiftdpo_fused_results_f32)SWIFTDPO_FUSED_RESULTS_F32_INIT;
  f->fused_results.logps = &f->results;
  f->fused_results.ref_logps = f->written.ref_logps;
  f->fused_results.gradients = &f->gradients;
  f->grad_logps = f->read.grad_logps;
}

static swiftdpo_status call(fixture *f, swiftdpo_culprit *culprit) {
  f->fused_results.logps = &f->results;
  switch (which) {
  case FORWARD:
    return swiftdpo_fused_linear_logps_f32(&f->head, &f->options, &f->fused, &f->results, culprit);
  case BACKWARD:
    return swiftdpo_fused_linear_logps_backward_f32(&f->head, &f->options, &f->fused, f->grad_logps, f->log_normalizers,
                                                    &f->gradients, culprit);
  case SHARD:
    return swiftdpo_fused_linear_vocab_shard_f32(&f->head, &f->options, &f->fused, &f->statistics, culprit);
  case WORKSPACE:
    return swiftdpo_fused_linear_workspace_f32(&f->head, &f->options, &f->written.least, &f->written.most, culprit);
  default:
    return swiftdpo_fused_linear_dpo_loss_f32(&f->head, f->ref_head, &f->options, &f->fused, &f->pairs,
                                              &f->loss_options, &f->loss_results, &f->fused_results, culprit);
  }
}

static void test_head_refusals(void) {
  ACCEPTED();
  REFUSED(SWIFTDPO_ERROR_STRUCT_SIZE, "head", 0, f.head.struct_size = 8);
  REFUSED(SWIFTDPO_ERROR_COUNT, "hidden_size", 0, f.head.hidden_size = 0);
  REFUSED(SWIFTDPO_ERROR_SIZE_OVERFLOW, "hidden_size", 0, f.head.hidden_size = (size_t)1 << 40);
  REFUSED(SWIFTDPO_ERROR_SIZE_OVERFLOW, "vocab_size", 0, f.head.vocab_size = (size_t)1 << 40);
  REFUSED(SWIFTDPO_ERROR_COUNT, "vocab_size", 0, f.head.vocab_size = 0);
  REFUSED(SWIFTDPO_ERROR_STRIDE, "hidden_stride", 0, f.head.hidden_stride = H - 1);
  REFUSED(SWIFTDPO_ERROR_NULL_POINTER, "labels", 0, f.head.labels = NULL);
  REFUSED(SWIFTDPO_ERROR_SIZE_OVERFLOW, "sequence_length", 0, f.head.sequence_length = SIZE_MAX / 2);
  REFUSED(SWIFTDPO_ERROR_SOFTCAP, "softcap", 0, f.options.softcap = -1);
  if (which == WORKSPACE)
    return;
  REFUSED(SWIFTDPO_ERROR_NULL_POINTER, "hidden", 0, f.head.hidden = NULL);
  REFUSED(SWIFTDPO_ERROR_NULL_POINTER, "weight", 0, f.head.weight = NULL);
  REFUSED(SWIFTDPO_ERROR_MISALIGNED, "weight", 0, f.head.weight = MISALIGNED(f.read.weight));
  REFUSED(SWIFTDPO_ERROR_LABEL, "labels", 4, f.read.labels[4] = -1);
  REFUSED(SWIFTDPO_ERROR_NONFINITE, "weight", 4, f.read.weight[4] = NAN);
  REFUSED(SWIFTDPO_ERROR_NONFINITE, "hidden", 4, f.read.hidden[4] = -INFINITY);
  REFUSED(SWIFTDPO_ERROR_NONFINITE, "bias", 4, f.read.bias[4] = INFINITY);
  if (which != LOSS) /* which refuses the log-probability that comes of it */
    ACCEPTED(f.read.bias[0] = -INFINITY);
  ACCEPTED(f.read.hidden[4 * H] = NAN); /* the last of its sequence: it scores nothing */
  REFUSED(SWIFTDPO_ERROR_NONFINITE, "hidden", 0, f.read.hidden[0] = 3e38f; f.read.weight[0] = f.read.weight[3] = 3e38f);
  REFUSED(SWIFTDPO_ERROR_STRUCT_SIZE, "fused", 0, f.fused.struct_size = 8);
  REFUSED(SWIFTDPO_ERROR_WORKSPACE, "workspace_size", 0, f.fused.workspace_size = 64);
  REFUSED(SWIFTDPO_ERROR_OVERLAP, "workspace", 0, f.fused.workspace = f.read.hidden);
}

static void test_forward_refusals(void) {
  which = FORWARD;
  test_head_refusals();
  REFUSED(SWIFTDPO_ERROR_STRUCT_SIZE, "results", 0, f.results.struct_size = 0);
  REFUSED(SWIFTDPO_ERROR_COUNT, "vocab_start", 0, f.head.vocab_start = 1);
  REFUSED(SWIFTDPO_ERROR_OVERLAP, "logps", 0, f.results.logps = (double *)f.read.hidden);
}

static void test_backward_refusals(void) {
  which = BACKWARD;
  test_head_refusals();
  REFUSED(SWIFTDPO_ERROR_NULL_POINTER, "grad_logps", 0, f.grad_logps = NULL);
  REFUSED(SWIFTDPO_ERROR_NONFINITE, "grad_logps", 2, f.read.grad_logps[2] = NAN);
  REFUSED(SWIFTDPO_ERROR_NULL_POINTER, "log_normalizers", 0, f.head.vocab_start = 1);
  REFUSED(SWIFTDPO_ERROR_OVERLAP, "grad_hidden", 0, f.gradients.grad_hidden = f.read.hidden);
  REFUSED(SWIFTDPO_ERROR_OVERLAP, "grad_bias", 0, f.gradients.grad_bias = f.gradients.grad_weight);
  REFUSED(SWIFTDPO_ERROR_FLAG, "accumulate", 0, f.gradients.accumulate = 2);
  REFUSED(SWIFTDPO_ERROR_STRUCT_SIZE, "gradients", 0, f.gradients.struct_size = 0);
}

static void test_loss_refusals(void) {
  which = LOSS;
  test_head_refusals();
  REFUSED(SWIFTDPO_ERROR_COUNT, "num_sequences", 0, f.pairs.count = 1);
  REFUSED(SWIFTDPO_ERROR_CHOICE_OF_INPUT, "policy_chosen_logps", 0, f.pairs.policy_chosen_logps = f.read.ref_logps);
  REFUSED(SWIFTDPO_ERROR_CHOICE_OF_INPUT, "ref_chosen_logps", 0, f.pairs.ref_chosen_logps = f.read.ref_logps);
  REFUSED(SWIFTDPO_ERROR_CHOICE_OF_INPUT, "ref_logps", 0, f.ref_head = NULL);
  REFUSED(SWIFTDPO_ERROR_NULL_POINTER, "ref.hidden", 0, f.ref.hidden = NULL);
  REFUSED(SWIFTDPO_ERROR_NONFINITE, "ref.weight", 5, f.read.ref_weight[5] = NAN);
  REFUSED(SWIFTDPO_ERROR_BETA, "beta", 0, f.loss_options.beta = 0);
  REFUSED(SWIFTDPO_ERROR_OVERLAP, "losses", 0, f.loss_results.losses = f.loss_results.loss);
  /* A masked label: the loss finds it, before a gradient is written. */
  REFUSED(SWIFTDPO_ERROR_NONFINITE, "policy_chosen_logps", 0, f.read.bias[1] = -INFINITY);
  REFUSED(SWIFTDPO_ERROR_NONFINITE, "policy_chosen_logps", 0,
          (f.options.nonfinite = SWIFTDPO_NONFINITE_PROPAGATE, f.read.bias[1] = -INFINITY));
  REFUSED(SWIFTDPO_ERROR_NONFINITE, "ref_chosen_logps", 0,
          (f.head.bias = NULL, f.ref.bias = f.read.bias, f.read.bias[1] = -INFINITY));
}

/** What the head must give is what the plain calls give for its logits. */
static void test_against_logits(void) {
  fixture f;
  fixture_init(&f);
  float logits[ROWS * V], grad_logits[ROWS * V], grad_hidden[ROWS * H], grad_weight[V * H];
  for (size_t i = 0; i < ROWS; i++)
    memcpy(logits + i * V, f.read.bias, sizeof f.read.bias);
  multiply(NULL, 0, 1, ROWS, V, H, f.read.hidden, H, f.read.weight, H, 1, logits, V);

  swiftdpo_logits_f32 plain = SWIFTDPO_LOGITS_F32_INIT;
  plain.num_sequences = B;
  plain.sequence_length = T;
  plain.vocab_size = V;
  plain.logits = logits;
  plain.labels = f.read.labels;
  swiftdpo_logps_results results = SWIFTDPO_LOGPS_RESULTS_INIT;
  double logps[B], token_logps[ROWS];
  results.logps = logps;
  results.token_logps = token_logps;
  CHECK_OK(swiftdpo_sequence_logps_f32(&plain, NULL, &results, NULL));
  CHECK_OK(swiftdpo_sequence_logps_backward_f32(&plain, NULL, f.read.grad_logps, NULL, grad_logits, NULL));
  multiply(NULL, 0, 0, ROWS, H, V, grad_logits, V, f.read.weight, H, 0, grad_hidden, H);
  multiply(NULL, 1, 0, V, H, ROWS, grad_logits, V, f.read.hidden, H, 0, grad_weight, H);

  which = FORWARD;
  CHECK_OK(call(&f, NULL));
  CHECK(f.work.products == 1);
  CHECK_SAME_BITS(f.written.logps, logps, sizeof logps);
  CHECK_SAME_BITS(f.written.token_logps, token_logps, sizeof token_logps);

  which = BACKWARD;
  for (int kept = 0; kept < 2; kept++) {
    f.work = (work){0};
    f.log_normalizers = kept ? f.written.log_normalizers : NULL;
    CHECK_OK(call(&f, NULL));
    CHECK(f.work.products == 4); /* logits, and three gradients */
    CHECK_SAME_BITS(f.written.grad_hidden, grad_hidden, sizeof grad_hidden);
    for (size_t i = 0; i < V * H; i++)
      CHECK_WITHIN(1e-6, f.written.grad_weight[i], grad_weight[i]);
  }
  f.gradients.accumulate = 1;
  CHECK_OK(call(&f, NULL));
  for (size_t i = 0; i < V * H; i++)
    CHECK_WITHIN(2e-6, f.written.grad_weight[i], 2 * grad_weight[i]);
}

/** The loss in one call is that in two, and keeps or makes the logits again without a trace in its bits. */
static void test_loss_in_one_call(void) {
  fixture kept, made;
  fixture_init(&kept);
  fixture_init(&made);
  which = WORKSPACE;
  CHECK_OK(call(&kept, NULL));
  CHECK(kept.written.least <= kept.written.most);
  which = LOSS;
  made.fused.workspace_size = kept.written.least;
  made.fused.workspace = aligned_alloc(64, (kept.written.least + 63) / 64 * 64);
  CHECK_OK(call(&kept, NULL));
  CHECK_OK(call(&made, NULL));
  free(made.fused.workspace);
  kept.written.least = made.written.least;
  kept.written.most = made.written.most;
  CHECK_SAME_BITS(&kept.written, &made.written, sizeof kept.written);

  swiftdpo_pairs_f64 pairs = SWIFTDPO_PAIRS_F64_INIT;
  pairs.count = PAIRS;
  pairs.policy_chosen_logps = kept.written.logps;
  pairs.policy_rejected_logps = kept.written.logps + PAIRS;
  pairs.ref_chosen_logps = kept.written.ref_logps;
  pairs.ref_rejected_logps = kept.written.ref_logps + PAIRS;
  swiftdpo_pair_results_f64 results = SWIFTDPO_PAIR_RESULTS_F64_INIT;
  double loss;
  results.loss = &loss;
  CHECK_OK(swiftdpo_dpo_loss_f64(&pairs, NULL, &results, NULL));
  CHECK_SAME_BITS(&loss, &kept.written.loss, sizeof loss);
}

/** Three products over the rows that count where the logits of a pair fit, four where they don't, one for the reference. */
static void test_nothing_is_multiplied_twice(void) {
  enum { LENGTH = 90, WIDTH = 2, WORDS = 5000, COUNTED = 2 * (LENGTH - 1 - 30), UNIT = COUNTED * WIDTH * WORDS };
  static float hidden[2 * LENGTH * WIDTH], weight[WORDS * WIDTH], grad_hidden[2 * LENGTH * WIDTH],
      grad_weight[WORDS * WIDTH];
  static int64_t labels[2 * LENGTH];
  for (size_t i = 0; i < 2 * LENGTH; i++)
    labels[i] = i % LENGTH <= 30 ? -100 : (int64_t)(i * 27 % WORDS);
  fixture f;
  fixture_init(&f);
  which = LOSS;
  f.head.num_sequences = 2;
  f.head.sequence_length = LENGTH;
  f.head.hidden_size = f.ref.hidden_size = WIDTH;
  f.head.vocab_size = WORDS;
  f.head.hidden = f.ref.hidden = hidden;
  f.head.weight = f.ref.weight = weight;
  f.head.bias = NULL;
  f.head.labels = labels;
  f.pairs.count = 1;
  f.results = (swiftdpo_logps_results)SWIFTDPO_LOGPS_RESULTS_INIT;
  f.gradients.grad_hidden = grad_hidden;
  f.gradients.grad_weight = grad_weight;
  f.gradients.grad_bias = NULL;
  CHECK_OK(call(&f, NULL));
  CHECK(f.work.multiplications == (3 + 1) * (size_t)UNIT);

  which = WORKSPACE;
  CHECK_OK(call(&f, NULL));
  which = LOSS;
  f.fused.workspace_size = f.written.least;
  f.work = (work){0};
  CHECK_OK(call(&f, NULL));
  CHECK(f.work.multiplications == (4 + 1) * (size_t)UNIT);
}

/** A batch without rows, and one in which none counts: gradients are 0, or left alone where they are added to. */
static void test_nothing_to_do(void) {
  fixture f;
  fixture_init(&f);
  which = BACKWARD;
  for (size_t i = 0; i < ROWS; i++)
    f.read.labels[i] = -100;
  CHECK_OK(call(&f, NULL));
  for (size_t i = 0; i < V * H; i++)
    CHECK(f.written.grad_weight[i] == 0);
  for (size_t i = 0; i < ROWS * H; i++)
    CHECK(f.written.grad_hidden[i] == 0);
  f.written.grad_weight[2] = 5;
  f.gradients.accumulate = 1;
  f.head.num_sequences = 0;
  CHECK_OK(call(&f, NULL));
  CHECK(f.written.grad_weight[2] == 5);
  CHECK(f.work.products == 0);
}

void test_fused(void) {
  test_forward_refusals();
  test_backward_refusals();
  which = SHARD;
  test_head_refusals();
  which = WORKSPACE;
  test_head_refusals();
  test_loss_refusals();
  test_against_logits();
  test_loss_in_one_call();
  test_nothing_is_multiplied_twice();
  test_nothing_to_do();
}
