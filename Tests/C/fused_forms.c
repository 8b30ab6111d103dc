/*
 * How the other forms of a fused call refuse bad input: bf16 and f16 heads, losses of single responses and of rankings.
 * fused.c has the rules of f32 heads and of pairs, and what comes out.
 */
#include "check.h"
#include "multiply.h"
#include "refused.h"

enum { B = 4, T = 2, H = 3, V = 5, ROWS = B * T };

typedef struct fixture {
  struct {
    uint16_t hidden[ROWS * H], weight[V * H], bias[V];
    int64_t labels[ROWS];
    double betas[B], grad_logps[B];
    uint8_t desirable[B];
    int64_t ranks[B];
  } read;
  struct {
    uint16_t grad_hidden[ROWS * H];
    float grad_weight[V * H], grad_bias[V];
    double loss, losses[B], rewards[B], logps[B];
    double maxima[ROWS], sums[ROWS], label_logits[ROWS];
    size_t least, most;
  } written;
  swiftdpo_linear_head_half head;
  swiftdpo_logps_options options;
  swiftdpo_fused_options fused;
  swiftdpo_linear_gradients_half gradients;
  swiftdpo_logps_results logps;
  swiftdpo_shard_statistics statistics;
  swiftdpo_fused_results_half results;
  swiftdpo_pairs_f64 pairs;
  swiftdpo_pair_results_f64 pair_results;
  swiftdpo_unpaired_f64 unpaired;
  swiftdpo_unpaired_options unpaired_options;
  swiftdpo_unpaired_results_f64 unpaired_results;
  swiftdpo_rankings_f64 rankings;
  swiftdpo_plackett_luce_options ranking_options;
  swiftdpo_ranking_results_f64 ranking_results;
  const double *grad_logps;
} fixture;

static enum { LOGPS, BACKWARD, SHARD, WORKSPACE, PAIRS, UNPAIRED, RANKINGS } which;
static bool is_f16;

/** 1 of the type, and what is neither finite nor NaN. */
static uint16_t one(void) { return is_f16 ? 0x3c00 : 0x3f80; }
static uint16_t infinity(void) { return is_f16 ? 0x7c00 : 0x7f80; }

static void fixture_init(fixture *f) {
  memset(f, 0, sizeof *f);
  memset(&f->written, UNTOUCHED, sizeof f->written);
  for (size_t i = 0; i < ROWS * H; i++)
    f->read.hidden[i] = (uint16_t)(one() - i * i % 7);
  for (size_t i = 0; i < V * H; i++)
    f->read.weight[i] = (uint16_t)(one() - i % 5);
  for (size_t i = 0; i < ROWS; i++)
    f->read.labels[i] = (int64_t)(i % V);
  for (size_t i = 0; i < B; i++) {
    f->read.betas[i] = 0.5;
    f->read.grad_logps[i] = 1;
    f->read.desirable[i] = i % 2 == 0;
    f->read.ranks[i] = (int64_t)(i + 1);
  }
  f->head = (swiftdpo_linear_head_half)SWIFTDPO_LINEAR_HEAD_HALF_INIT;
  f->head.num_sequences = B;
  f->head.sequence_length = T;
  f->head.hidden_size = H;
  f->head.vocab_size = V;
  f->head.hidden = f->read.hidden;
  f->head.weight = f->read.weight;
  f->head.bias = f->read.bias;
  f->head.labels = f->read.labels;
  f->options = (swiftdpo_logps_options)SWIFTDPO_LOGPS_OPTIONS_INIT;
  f->options.shift = 0;
  f->fused = (swiftdpo_fused_options)SWIFTDPO_FUSED_OPTIONS_INIT;
  f->fused.gemm = multiply;
  f->gradients = (swiftdpo_linear_gradients_half)SWIFTDPO_LINEAR_GRADIENTS_HALF_INIT;
  f->gradients.grad_hidden = f->written.grad_hidden;
  f->gradients.grad_weight = f->written.grad_weight;
  f->gradients.grad_bias = f->written.grad_bias;
  f->logps = (swiftdpo_logps_results)SWIFTDPO_LOGPS_RESULTS_INIT;
  f->logps.logps = f->written.logps;
  f->statistics = (swiftdpo_shard_statistics)SWIFTDPO_SHARD_STATISTICS_INIT;
  f->statistics.maxima = f->written.maxima;
  f->statistics.sums = f->written.sums;
  f->statistics.label_logits = f->written.label_logits;
  f->results = (swiftdpo_fused_results_half)SWIFTDPO_FUSED_RESULTS_HALF_INIT;
  f->pairs = (swiftdpo_pairs_f64)SWIFTDPO_PAIRS_F64_INIT;
  f->pairs.count = B / 2;
  f->pairs.betas = f->read.betas;
  f->pair_results = (swiftdpo_pair_results_f64)SWIFTDPO_PAIR_RESULTS_F64_INIT;
  f->pair_results.loss = &f->written.loss;
  f->pair_results.losses = f->written.losses;
  f->unpaired = (swiftdpo_unpaired_f64)SWIFTDPO_UNPAIRED_F64_INIT;
  f->unpaired.count = B;
  f->unpaired.desirable = f->read.desirable;
  f->unpaired.betas = f->read.betas;
  f->unpaired_options = (swiftdpo_unpaired_options)SWIFTDPO_UNPAIRED_OPTIONS_INIT;
  f->unpaired_results = (swiftdpo_unpaired_results_f64)SWIFTDPO_UNPAIRED_RESULTS_F64_INIT;
  f->unpaired_results.loss = &f->written.loss;
  f->unpaired_results.rewards = f->written.rewards;
  f->rankings = (swiftdpo_rankings_f64)SWIFTDPO_RANKINGS_F64_INIT;
  f->rankings.num_groups = 1;
  f->rankings.group_size = B;
  f->rankings.ranks = f->read.ranks;
  f->rankings.betas = f->read.betas;
  f->ranking_options = (swiftdpo_plackett_luce_options)SWIFTDPO_PLACKETT_LUCE_OPTIONS_INIT;
  f->ranking_results = (swiftdpo_ranking_results_f64)SWIFTDPO_RANKING_RESULTS_F64_INIT;
  f->ranking_results.loss = &f->written.loss;
  f->ranking_results.rewards = f->written.rewards;
  f->grad_logps = f->read.grad_logps;
}

#define OF_TYPE(function) (is_f16 ? function##_f16 : function##_bf16)

static swiftdpo_status call(fixture *f, swiftdpo_culprit *culprit) {
  f->results.logps = &f->logps;
  f->results.gradients = &f->gradients;
  switch (which) {
  case LOGPS:
    return OF_TYPE(swiftdpo_fused_linear_logps)(&f->head, &f->options, &f->fused, &f->logps, culprit);
  case BACKWARD:
    return OF_TYPE(swiftdpo_fused_linear_logps_backward)(&f->head, &f->options, &f->fused, f->grad_logps, NULL,
                                                         &f->gradients, culprit);
  case SHARD:
    return OF_TYPE(swiftdpo_fused_linear_vocab_shard)(&f->head, &f->options, &f->fused, &f->statistics, culprit);
  case WORKSPACE:
    return OF_TYPE(swiftdpo_fused_linear_workspace)(&f->head, &f->options, &f->written.least, &f->written.most,
                                                    culprit);
  case PAIRS:
    return OF_TYPE(swiftdpo_fused_linear_dpo_loss)(&f->head, NULL, &f->options, &f->fused, &f->pairs, NULL,
                                                   &f->pair_results, &f->results, culprit);
  case UNPAIRED:
    return OF_TYPE(swiftdpo_fused_linear_unpaired_loss)(&f->head, NULL, &f->options, &f->fused, &f->unpaired,
                                                        &f->unpaired_options, &f->unpaired_results, &f->results,
                                                        culprit);
  default:
    return OF_TYPE(swiftdpo_fused_linear_plackett_luce_loss)(&f->head, NULL, &f->options, &f->fused, &f->rankings,
                                                             &f->ranking_options, &f->ranking_results, &f->results,
                                                             culprit);
  }
}

static void test_head_refusals(void) {
  ACCEPTED();
  REFUSED(SWIFTDPO_ERROR_STRUCT_SIZE, "head", 0, f.head.struct_size--);
  REFUSED(SWIFTDPO_ERROR_COUNT, "hidden_size", 0, f.head.hidden_size = 0);
  REFUSED(SWIFTDPO_ERROR_SIZE_OVERFLOW, "hidden_size", 0, f.head.hidden_size = (size_t)1 << 40);
  REFUSED(SWIFTDPO_ERROR_SIZE_OVERFLOW, "vocab_size", 0, f.head.vocab_size = (size_t)1 << 40);
  REFUSED(SWIFTDPO_ERROR_STRIDE, "hidden_stride", 0, f.head.hidden_stride = H - 1);
  REFUSED(SWIFTDPO_ERROR_FLAG, "shift", 0, f.options.shift = 2);
  if (which == WORKSPACE)
    return;
  REFUSED(SWIFTDPO_ERROR_NULL_POINTER, "hidden", 0, f.head.hidden = NULL);
  REFUSED(SWIFTDPO_ERROR_MISALIGNED, "hidden", 0, f.head.hidden = MISALIGNED(f.read.hidden));
  REFUSED(SWIFTDPO_ERROR_MISALIGNED, "bias", 0, f.head.bias = MISALIGNED(f.read.bias));
  if (which != SHARD) /* where it may be another shard's */
    REFUSED(SWIFTDPO_ERROR_LABEL, "labels", 3, f.read.labels[3] = V);
  REFUSED(SWIFTDPO_ERROR_NONFINITE, "weight", 4, f.read.weight[4] = infinity());
  REFUSED(SWIFTDPO_ERROR_NONFINITE, "hidden", 5, f.read.hidden[5] = infinity() + 1);
  REFUSED(SWIFTDPO_ERROR_NONFINITE, "bias", 2, f.read.bias[2] = infinity());
  REFUSED(SWIFTDPO_ERROR_WORKSPACE, "workspace_size", 0, f.fused.workspace_size = 64);
}

static void test_gradient_refusals(void) {
  REFUSED(SWIFTDPO_ERROR_STRUCT_SIZE, "gradients", 0, f.gradients.struct_size = 8);
  REFUSED(SWIFTDPO_ERROR_FLAG, "accumulate", 0, f.gradients.accumulate = -1);
  REFUSED(SWIFTDPO_ERROR_OVERLAP, "grad_hidden", 0, f.gradients.grad_hidden = f.read.hidden);
  REFUSED(SWIFTDPO_ERROR_MISALIGNED, "grad_weight", 0, f.gradients.grad_weight = MISALIGNED(f.written.grad_weight));
}

static void test_of_type(void) {
  which = LOGPS;
  test_head_refusals();
  REFUSED(SWIFTDPO_ERROR_STRUCT_SIZE, "results", 0, f.logps.struct_size = 0);
  which = BACKWARD;
  test_head_refusals();
  test_gradient_refusals();
  REFUSED(SWIFTDPO_ERROR_NONFINITE, "grad_logps", 1, f.read.grad_logps[1] = INFINITY);
  which = SHARD;
  test_head_refusals();
  REFUSED(SWIFTDPO_ERROR_NULL_POINTER, "sums", 0, f.statistics.sums = NULL);
  which = WORKSPACE;
  test_head_refusals();

  which = PAIRS;
  test_head_refusals();
  test_gradient_refusals();
  REFUSED(SWIFTDPO_ERROR_COUNT, "num_sequences", 0, f.pairs.count = B);
  REFUSED(SWIFTDPO_ERROR_BETA, "betas", 1, f.read.betas[1] = 0);
  REFUSED(SWIFTDPO_ERROR_OVERLAP, "losses", 0, f.pair_results.losses = f.read.betas);
  /* A loss's buffers and a head's. */
  REFUSED(SWIFTDPO_ERROR_OVERLAP, "losses", 0, f.pair_results.losses = (double *)(void *)f.written.grad_weight + 1);
  REFUSED(SWIFTDPO_ERROR_OVERLAP, "losses", 0, f.pair_results.losses = f.written.logps);

  which = UNPAIRED;
  test_head_refusals();
  test_gradient_refusals();
  REFUSED(SWIFTDPO_ERROR_STRUCT_SIZE, "unpaired", 0, f.unpaired.struct_size = 8);
  REFUSED(SWIFTDPO_ERROR_COUNT, "num_sequences", 0, f.unpaired.count = B - 1);
  REFUSED(SWIFTDPO_ERROR_CHOICE_OF_INPUT, "policy_logps", 0, f.unpaired.policy_logps = f.read.betas);
  REFUSED(SWIFTDPO_ERROR_FLAG, "desirable", 2, f.read.desirable[2] = 2);
  REFUSED(SWIFTDPO_ERROR_LOSS_TYPE, "loss_type", 0, f.unpaired_options.loss_type = (swiftdpo_unpaired_loss_type)3);
  REFUSED(SWIFTDPO_ERROR_NONFINITE, "baseline", 0, f.unpaired_options.baseline = NAN);
  REFUSED(SWIFTDPO_ERROR_OVERLAP, "rewards", 0, f.unpaired_results.rewards = f.written.logps);

  which = RANKINGS;
  test_head_refusals();
  test_gradient_refusals();
  REFUSED(SWIFTDPO_ERROR_STRUCT_SIZE, "rankings", 0, f.rankings.struct_size = 8);
  REFUSED(SWIFTDPO_ERROR_COUNT, "num_sequences", 0, f.rankings.group_size = B + 1);
  REFUSED(SWIFTDPO_ERROR_CHOICE_OF_INPUT, "policy_logps", 0, f.rankings.policy_logps = f.read.betas);
  REFUSED(SWIFTDPO_ERROR_RANK, "ranks", 1, f.read.ranks[1] = B + 1);
  REFUSED(SWIFTDPO_ERROR_BETA, "beta", 0, f.ranking_options.beta = -1);
  REFUSED(SWIFTDPO_ERROR_OVERLAP, "rewards", 0, f.ranking_results.rewards = f.written.logps);
}

void test_fused_forms(void) {
  for (int i = 0; i < 2; i++) {
    is_f16 = i == 1;
    test_of_type();
  }
}
