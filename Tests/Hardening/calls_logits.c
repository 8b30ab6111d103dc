/* Logits of each dtype: log-probabilities, the way back, and shards of a vocabulary. */
#include "logits.h"

static LAID_OUT(swiftdpo_logits) * batch(call *c, const shape *shape) {
  LAID_OUT(swiftdpo_logits) *logits = STRUCT(c, LAID_OUT(swiftdpo_logits), INIT(LOGITS));
  logits->num_sequences = shape->num_sequences;
  logits->sequence_length = shape->sequence_length;
  logits->vocab_size = shape->vocab_size;
  logits->row_stride = shape->row_stride;
  logits->vocab_start = shape->vocab_start;
  logits->offsets = shape->offsets;
  logits->labels = shape->labels;
  logits->labels_i32 = shape->labels_i32;
  logits->mask = shape->mask;
  logits->token_weights = shape->token_weights;
  logits->ld_lengths = shape->ld_lengths;
  return logits;
}

void TYPED(sequence_logps)(call *c) {
  swiftdpo_logps_options *options = logps_options(c);
  const shape shape = choose_shape(c, options, true, false);
  LAID_OUT(swiftdpo_logits) *logits = batch(c, &shape);
  logits->logits = some_logits(c, ELEMENT, &shape, INPUT);
  swiftdpo_logps_results *results = logps_results(c, &shape, false);
  CALL(c, TYPED(swiftdpo_sequence_logps)(logits, options, results, &c->culprit));
}

void TYPED(sequence_logps_backward)(call *c) {
  swiftdpo_logps_options *options = logps_options(c);
  const bool is_shard = pick(c, 4) == 0;
  const shape shape = choose_shape(c, options, true, is_shard);
  LAID_OUT(swiftdpo_logits) *logits = batch(c, &shape);
  const double *grad_logps = numbers(c, F64, shape.sequences, REAL);
  const double *log_normalizers =
      is_shard ? numbers(c, F64, shape.rows, REAL) : maybe_numbers(c, F64, shape.rows, REAL);
  c->in_place = true;
  void *grad_logits;
  if (pick(c, 3) == 0) {
    logits->logits = grad_logits = some_logits(c, ELEMENT, &shape, STATE);
  } else {
    logits->logits = some_logits(c, ELEMENT, &shape, INPUT);
    grad_logits = result(c, ELEMENT, shape.extent);
  }
  if (shape.stride > 0)
    in_rows(c, shape.vocabulary, shape.stride);
  CALL(c,
       TYPED(swiftdpo_sequence_logps_backward)(logits, options, grad_logps, log_normalizers, grad_logits, &c->culprit));
}

void TYPED(vocab_shard)(call *c) {
  swiftdpo_logps_options *options = logps_options(c);
  const shape shape = choose_shape(c, options, true, true);
  LAID_OUT(swiftdpo_logits) *logits = batch(c, &shape);
  logits->logits = some_logits(c, ELEMENT, &shape, INPUT);
  swiftdpo_shard_statistics *results = STRUCT(c, swiftdpo_shard_statistics, SWIFTDPO_SHARD_STATISTICS_INIT);
  results->maxima = result(c, F64, shape.rows);
  results->sums = result(c, F64, shape.rows);
  results->label_logits = result(c, F64, shape.rows);
  CALL(c, TYPED(swiftdpo_vocab_shard)(logits, options, results, &c->culprit));
}
