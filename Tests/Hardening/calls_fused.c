/* The fused linear head of each dtype: log-probabilities, gradients, shards, and whole losses. */
#include <stdlib.h>

#include "../C/multiply.h"
#include "logits.h"

typedef LAID_OUT(swiftdpo_linear_head) linear_head;

/** The shape of a batch of hidden states, and labels. Sequences come by `group`s. */
static linear_head *some_shape(call *c, swiftdpo_logps_options *options, shape *s, size_t group, bool is_shard) {
  linear_head *head = STRUCT(c, linear_head, INIT(LINEAR_HEAD));
  *s = choose_rows(c, group);
  s->vocabulary = count(c, &s->vocab_size, 1, 700);
  const size_t width = count(c, &head->hidden_size, 1, 40);
  multiplied(c);
  if (is_shard)
    s->vocab_start = pick(c, 200);
  choose_labels(c, options, s, is_shard);
  const size_t gap = pick(c, 2) ? pick(c, 20) : 0;
  head->hidden_stride = gap > 0 || pick(c, 2) ? width + gap : 0;
  if (fault(c))
    head->hidden_stride = width - 1;
  if (head->hidden_size != width)
    head->hidden_stride = 0;
  head->num_sequences = s->num_sequences;
  head->sequence_length = s->sequence_length;
  head->vocab_size = s->vocab_size;
  head->vocab_start = s->vocab_start;
  head->offsets = s->offsets;
  head->labels = s->labels;
  head->labels_i32 = s->labels_i32;
  head->mask = s->mask;
  head->token_weights = s->token_weights;
  head->ld_lengths = s->ld_lengths;
  s->width = width;
  s->stride = width + gap;
  s->extent = s->rows == 0 ? 0 : s->rows * s->stride - gap;
  return head;
}

static linear_head *some_head(call *c, swiftdpo_logps_options *options, shape *s, size_t group, bool is_shard) {
  linear_head *head = some_shape(c, options, s, group, is_shard);
  head->hidden = numbers(c, ELEMENT, s->extent, REAL);
  head->weight = numbers(c, ELEMENT, s->vocabulary * s->width, REAL);
  head->bias = maybe_numbers(c, ELEMENT, s->vocabulary, REAL);
  return head;
}

/** Memory of the least size that works, or the library's own; the caller's product, or a BLAS's. */
static swiftdpo_fused_options *fused_options(call *c, const linear_head *head, const linear_head *ref,
                                             const swiftdpo_logps_options *options) {
  swiftdpo_fused_options *fused = STRUCT(c, swiftdpo_fused_options, SWIFTDPO_FUSED_OPTIONS_INIT);
  if (pick(c, 2))
    fused->gemm = multiply;
  size_t least = 0, most, ref_least = 0;
  if (!leave_out(c) && TYPED(swiftdpo_fused_linear_workspace)(head, options, &least, &most, NULL) == SWIFTDPO_OK) {
    linear_head shape = *head;
    shape.struct_size = sizeof shape; /* of a newer head, the tail is not copied */
    if (ref)
      shape.hidden_size = ref->hidden_size;
    if (TYPED(swiftdpo_fused_linear_workspace)(&shape, options, &ref_least, &most, NULL) == SWIFTDPO_OK) {
      least = least > ref_least ? least : ref_least;
      fused->workspace_size = (least + 63) / 64 * 64;
      fused->workspace = workspace(c, fused->workspace_size);
    }
  }
  if (fault(c))
    fused->workspace_size = pick(c, 2) ? SIZE_MAX : 64;
  return fused;
}

static LAID_OUT(swiftdpo_linear_gradients) * gradients(call *c, const shape *s) {
  LAID_OUT(swiftdpo_linear_gradients) *gradients =
      STRUCT(c, LAID_OUT(swiftdpo_linear_gradients), INIT(LINEAR_GRADIENTS));
  gradients->accumulate = choice(c, 2);
  gradients->grad_hidden = maybe_result(c, ELEMENT, s->rows * s->width);
  const bool adds = gradients->accumulate == 1;
  const size_t sizes[] = {s->vocabulary * s->width, s->vocabulary};
  float **const fields[] = {&gradients->grad_weight, &gradients->grad_bias};
  for (size_t i = 0; i < 2; i++) {
    if (leave_out(c))
      continue;
    *fields[i] = adds ? (float *)numbers(c, F32, sizes[i], REAL) : result(c, F32, sizes[i]);
    if (adds && c->rooms[c->num_rooms - 1].role == INPUT)
      c->rooms[c->num_rooms - 1].role = STATE;
  }
  return gradients;
}

void TYPED(fused_linear_workspace)(call *c) {
  swiftdpo_logps_options *options = logps_options(c);
  shape s;
  linear_head *head = some_shape(c, options, &s, 1, false);
  size_t *least = result(c, I64, 1), *most = result(c, I64, 1);
  CALL(c, TYPED(swiftdpo_fused_linear_workspace)(head, options, least, most, &c->culprit));
}

void TYPED(fused_linear_logps)(call *c) {
  c->wild = false;
  swiftdpo_logps_options *options = logps_options(c);
  shape s;
  linear_head *head = some_head(c, options, &s, 1, false);
  swiftdpo_fused_options *fused = fused_options(c, head, NULL, options);
  swiftdpo_logps_results *results = logps_results(c, &s, false);
  CALL(c, TYPED(swiftdpo_fused_linear_logps)(head, options, fused, results, &c->culprit));
}

void TYPED(fused_linear_logps_backward)(call *c) {
  c->wild = false;
  swiftdpo_logps_options *options = logps_options(c);
  const bool is_shard = pick(c, 4) == 0;
  shape s;
  linear_head *head = some_head(c, options, &s, 1, is_shard);
  swiftdpo_fused_options *fused = fused_options(c, head, NULL, options);
  const double *grad_logps = numbers(c, F64, s.sequences, REAL);
  const double *log_normalizers = is_shard ? numbers(c, F64, s.rows, REAL) : maybe_numbers(c, F64, s.rows, REAL);
  LAID_OUT(swiftdpo_linear_gradients) *made = gradients(c, &s);
  CALL(c, TYPED(swiftdpo_fused_linear_logps_backward)(head, options, fused, grad_logps, log_normalizers, made,
                                                      &c->culprit));
}

void TYPED(fused_linear_vocab_shard)(call *c) {
  c->wild = false;
  swiftdpo_logps_options *options = logps_options(c);
  shape s;
  linear_head *head = some_head(c, options, &s, 1, true);
  swiftdpo_fused_options *fused = fused_options(c, head, NULL, options);
  swiftdpo_shard_statistics *results = STRUCT(c, swiftdpo_shard_statistics, SWIFTDPO_SHARD_STATISTICS_INIT);
  results->maxima = result(c, F64, s.rows);
  results->sums = result(c, F64, s.rows);
  results->label_logits = result(c, F64, s.rows);
  CALL(c, TYPED(swiftdpo_fused_linear_vocab_shard)(head, options, fused, results, &c->culprit));
}

/** What the three losses share. */
typedef struct loss {
  shape shape;
  swiftdpo_logps_options *options;
  linear_head *head, *ref;
  swiftdpo_fused_options *fused;
  LAID_OUT(swiftdpo_fused_results) * results;
} loss;

static loss some_loss(call *c, size_t group) {
  c->wild = false;
  loss l = {.options = logps_options(c)};
  l.options->nonfinite = SWIFTDPO_NONFINITE_ERROR;
  l.head = some_head(c, l.options, &l.shape, group, false);
  const shape *s = &l.shape;
  if (!leave_out(c)) {
    l.ref = STRUCT(c, linear_head, INIT(LINEAR_HEAD));
    l.ref->hidden_size = 1 + pick(c, 12);
    l.ref->hidden = numbers(c, ELEMENT, s->rows * l.ref->hidden_size, REAL);
    l.ref->weight = numbers(c, ELEMENT, s->vocabulary * l.ref->hidden_size, REAL);
    l.ref->bias = maybe_numbers(c, ELEMENT, s->vocabulary, REAL);
  }
  l.fused = fused_options(c, l.head, l.ref, l.options);
  if (!leave_out(c)) {
    l.results = STRUCT(c, LAID_OUT(swiftdpo_fused_results), INIT(FUSED_RESULTS));
    if (!leave_out(c))
      l.results->logps = logps_results(c, s, false);
    if (l.ref || fault(c))
      l.results->ref_logps = maybe_result(c, F64, s->sequences);
    if (!leave_out(c))
      l.results->gradients = gradients(c, s);
  }
  return l;
}

void TYPED(fused_linear_dpo_loss)(call *c) {
  loss l = some_loss(c, 2);
  const size_t n = l.shape.sequences / 2;
  swiftdpo_pairs_f64 *pairs = STRUCT(c, swiftdpo_pairs_f64, SWIFTDPO_PAIRS_F64_INIT);
  swiftdpo_dpo_options *options = STRUCT(c, swiftdpo_dpo_options, SWIFTDPO_DPO_OPTIONS_INIT);
  swiftdpo_pair_results_f64 *results = STRUCT(c, swiftdpo_pair_results_f64, SWIFTDPO_PAIR_RESULTS_F64_INIT);
  pairs->count = l.shape.num_groups;
  options->beta = number(c, POSITIVE);
  options->reduction = (swiftdpo_reduction)choice(c, 3);
  static const int32_t couples[] = {SWIFTDPO_LOSS_SIGMOID, SWIFTDPO_LOSS_AOT};
  if (pick(c, 3) == 0) {
    options->loss_types = copied(c, I32, 2, couples);
    options->num_losses = 2;
  }
  pairs->betas = maybe_numbers(c, F64, n, POSITIVE);
  pairs->margins = maybe_numbers(c, F64, n, REAL);
  pairs->weights = maybe_numbers(c, F64, n, NONNEGATIVE);
  if (!l.ref && pick(c, 2)) {
    pairs->ref_chosen_logps = numbers(c, F64, n, LOGP);
    pairs->ref_rejected_logps = numbers(c, F64, n, LOGP);
  }
  results->loss = maybe_result(c, F64, 1);
  results->losses = maybe_result(c, F64, n);
  results->chosen_rewards = maybe_result(c, F64, n);
  results->grad_policy_rejected_logps = maybe_result(c, F64, n);
  if (!leave_out(c))
    results->metrics = STATE_STRUCT(c, swiftdpo_pair_metrics, SWIFTDPO_PAIR_METRICS_INIT);
  CALL(c, TYPED(swiftdpo_fused_linear_dpo_loss)(l.head, l.ref, l.options, l.fused, pairs, options, results, l.results,
                                                &c->culprit));
}

void TYPED(fused_linear_unpaired_loss)(call *c) {
  loss l = some_loss(c, 1);
  const size_t n = l.shape.sequences;
  swiftdpo_unpaired_f64 *unpaired = STRUCT(c, swiftdpo_unpaired_f64, SWIFTDPO_UNPAIRED_F64_INIT);
  swiftdpo_unpaired_options *options = STRUCT(c, swiftdpo_unpaired_options, SWIFTDPO_UNPAIRED_OPTIONS_INIT);
  swiftdpo_unpaired_results_f64 *results = STRUCT(c, swiftdpo_unpaired_results_f64, SWIFTDPO_UNPAIRED_RESULTS_F64_INIT);
  unpaired->count = l.shape.num_groups;
  options->beta = number(c, POSITIVE);
  options->baseline = number(c, REAL);
  options->loss_type = (swiftdpo_unpaired_loss_type)choice(c, 3);
  unpaired->desirable = integers(c, U8, n, 0, 1);
  unpaired->weights = maybe_numbers(c, F64, n, NONNEGATIVE);
  results->loss = maybe_result(c, F64, 1);
  results->losses = maybe_result(c, F64, n);
  results->rewards = maybe_result(c, F64, n);
  CALL(c, TYPED(swiftdpo_fused_linear_unpaired_loss)(l.head, l.ref, l.options, l.fused, unpaired, options, results,
                                                     l.results, &c->culprit));
}

void TYPED(fused_linear_plackett_luce_loss)(call *c) {
  const size_t size = 1 + pick(c, 3);
  loss l = some_loss(c, size);
  swiftdpo_rankings_f64 *rankings = STRUCT(c, swiftdpo_rankings_f64, SWIFTDPO_RANKINGS_F64_INIT);
  swiftdpo_plackett_luce_options *options =
      STRUCT(c, swiftdpo_plackett_luce_options, SWIFTDPO_PLACKETT_LUCE_OPTIONS_INIT);
  swiftdpo_ranking_results_f64 *results = STRUCT(c, swiftdpo_ranking_results_f64, SWIFTDPO_RANKING_RESULTS_F64_INIT);
  rankings->num_groups = l.shape.num_groups;
  rankings->group_size = size;
  options->beta = number(c, POSITIVE);
  rankings->weights = maybe_numbers(c, F64, l.shape.sequences / size, NONNEGATIVE);
  results->loss = maybe_result(c, F64, 1);
  results->losses = maybe_result(c, F64, l.shape.sequences / size);
  results->rewards = maybe_result(c, F64, l.shape.sequences);
  CALL(c, TYPED(swiftdpo_fused_linear_plackett_luce_loss)(l.head, l.ref, l.options, l.fused, rankings, options, results,
                                                          l.results, &c->culprit));
}
