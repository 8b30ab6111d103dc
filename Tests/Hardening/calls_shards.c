/* Shapes of batches of logits, and what is done with statistics of shards. */
#include <math.h>

#include "logits.h"

swiftdpo_logps_options *logps_options(call *c) {
  swiftdpo_logps_options *options = STRUCT(c, swiftdpo_logps_options, SWIFTDPO_LOGPS_OPTIONS_INIT);
  options->shift = choice(c, 2);
  options->average = choice(c, 2);
  options->nonfinite = (swiftdpo_nonfinite)choice(c, 3);
  if (pick(c, 3) == 0) {
    const double scale = number(c, POSITIVE);
    options->logit_scale = c->faults ? scale : fmin(fmax(scale, 0x1p-20), 4);
  }
  if (pick(c, 3) == 0) {
    const double cap = number(c, NONNEGATIVE);
    options->softcap = c->faults || cap == 0 ? cap : fmin(fmax(cap, 0x1p-20), 1e30);
  }
  return options;
}

/** Offsets that rise from 0, some sequences being empty. */
static const int64_t *some_offsets(call *c, size_t sequences, size_t *rows) {
  int64_t *offsets = scratch(c, (sequences + 1) * sizeof *offsets);
  for (size_t i = 0; i < sequences; i++)
    offsets[i + 1] = offsets[i] + (int64_t)pick(c, 5) + (c->huge[0] >= 0);
  *rows = (size_t)offsets[sequences];
  if (fault(c))
    offsets[pick(c, sequences + 1)] = pick(c, 2) ? -1 : INT64_MAX;
  return measure(c, I64, sequences + 1, offsets);
}

shape choose_rows(call *c, size_t group) {
  shape s = {0};
  s.sequences = group * count(c, &s.num_groups, 0, 12 / group);
  s.num_sequences = group * s.num_groups;
  if (pick(c, 3) == 0) {
    s.offsets = some_offsets(c, s.sequences, &s.rows);
    s.sequence_length = (size_t)pick(c, 1 << 16); /* which plays no part */
  } else {
    s.rows = s.sequences * count(c, &s.sequence_length, 0, 12);
    multiplied(c);
  }
  return s;
}

shape choose_shape(call *c, swiftdpo_logps_options *options, bool reads, bool is_shard) {
  shape s = choose_rows(c, 1);
  if (reads) {
    s.vocabulary = count(c, &s.vocab_size, 1, 3000);
    if (s.rows > 0 && !s.offsets)
      multiplied(c);
  } else {
    s.vocabulary = s.vocab_size = 1 + pick(c, 3000);
  }
  const size_t gap = pick(c, 2) ? pick(c, 70) : 0;
  s.stride = s.vocabulary + gap;
  s.row_stride = gap == 0 && pick(c, 2) ? 0 : s.stride;
  if (fault(c))
    s.row_stride = pick(c, 2) ? SIZE_MAX / 2 : s.vocabulary - 1;
  if (s.vocab_size != s.vocabulary)
    s.row_stride = 0;
  s.extent = s.rows == 0 ? 0 : s.rows * s.stride - gap;
  if (is_shard)
    s.vocab_start = pick(c, 200);
  if (fault(c))
    s.vocab_start = pick(c, 2) ? SIZE_MAX : 1;
  choose_labels(c, options, &s, is_shard);
  return s;
}

void choose_labels(call *c, swiftdpo_logps_options *options, shape *s, bool is_shard) {
  const int64_t most = (int64_t)(s->vocab_start < 1000 ? s->vocab_start : 0) + (int64_t)s->vocabulary - 1;
  options->ignore_index = pick(c, 2) ? 0 : -100;
  if (pick(c, 2))
    s->labels = integers(c, I64, s->rows, 0, is_shard ? most + 100 : most);
  else
    s->labels_i32 = integers(c, I32, s->rows, 0, is_shard ? most + 100 : most);
  s->mask = maybe_integers(c, U8, s->rows, 0, 1);
  s->token_weights = maybe_numbers(c, F64, s->rows, REAL);
  if (!leave_out(c)) {
    s->ld_lengths = integers(c, I64, s->sequences, -2, 8);
    options->ld_alpha = number(c, UNIT);
  }
}

void *some_logits(call *c, element type, const shape *shape, role role) {
  const void *logits = numbers(c, type, shape->extent, LOGIT);
  room *r = &c->rooms[c->num_rooms - 1];
  r->role = role;
  /* Masked entries, but not all of a row. */
  for (size_t masked = pick(c, 4); masked > 0 && shape->rows > 0 && shape->vocabulary > 1; masked--)
    store(type, r->at, pick(c, shape->rows) * shape->stride + 1 + pick(c, shape->vocabulary - 1), -INFINITY);
  return (void *)logits;
}

swiftdpo_logps_results *logps_results(call *c, const shape *shape, bool is_shard) {
  swiftdpo_logps_results *results = STRUCT(c, swiftdpo_logps_results, SWIFTDPO_LOGPS_RESULTS_INIT);
  results->logps = maybe_result(c, F64, shape->sequences);
  results->num_tokens = maybe_result(c, I64, shape->sequences);
  results->token_logps = maybe_result(c, F64, shape->rows);
  results->log_normalizers = maybe_result(c, F64, shape->rows);
  results->row_flags = maybe_result(c, U8, shape->rows);
  if (is_shard && !fault(c))
    return results;
  results->entropies = maybe_result(c, F64, shape->rows);
  results->log_sum_squares = maybe_result(c, F64, shape->rows);
  results->mean_logits = maybe_result(c, F64, shape->rows);
  results->top_1 = maybe_result(c, U8, shape->rows);
  return results;
}

void vocab_shard_merge(call *c) {
  size_t rows;
  const size_t n = count(c, &rows, 0, 300);
  swiftdpo_shard_statistics *into = STRUCT(c, swiftdpo_shard_statistics, SWIFTDPO_SHARD_STATISTICS_INIT);
  swiftdpo_shard_statistics *other = STRUCT(c, swiftdpo_shard_statistics, SWIFTDPO_SHARD_STATISTICS_INIT);
  double **const fields[] = {&into->maxima, &into->sums, &into->label_logits};
  for (size_t i = 0; i < 3; i++) {
    *fields[i] = (double *)numbers(c, F64, n, i == 1 ? POSITIVE : REAL);
    c->rooms[c->num_rooms - 1].role = STATE;
  }
  other->maxima = (double *)numbers(c, F64, n, REAL);
  other->sums = (double *)numbers(c, F64, n, POSITIVE);
  other->label_logits = (double *)numbers(c, F64, n, REAL);
  CALL(c, swiftdpo_vocab_shard_merge(rows, into, other, &c->culprit));
}

void vocab_shard_logps(call *c) {
  swiftdpo_logps_options *options = logps_options(c);
  swiftdpo_logits_f32 *logits = STRUCT(c, swiftdpo_logits_f32, SWIFTDPO_LOGITS_F32_INIT);
  const shape s = choose_shape(c, options, false, true);
  logits->num_sequences = s.num_sequences;
  logits->sequence_length = s.sequence_length;
  logits->vocab_size = s.vocab_size;
  logits->row_stride = s.row_stride;
  logits->vocab_start = s.vocab_start;
  logits->offsets = s.offsets;
  logits->labels = s.labels;
  logits->labels_i32 = s.labels_i32;
  logits->mask = s.mask;
  logits->token_weights = s.token_weights;
  logits->ld_lengths = s.ld_lengths;
  swiftdpo_shard_statistics *merged = STRUCT(c, swiftdpo_shard_statistics, SWIFTDPO_SHARD_STATISTICS_INIT);
  const bool wild = c->wild;
  c->wild = false;
  merged->maxima = (double *)numbers(c, F64, s.rows, REAL);
  merged->sums = (double *)numbers(c, F64, s.rows, POSITIVE);
  merged->label_logits = (double *)numbers(c, F64, s.rows, REAL);
  c->wild = wild;
  swiftdpo_logps_results *results = logps_results(c, &s, true);
  CALL(c, swiftdpo_vocab_shard_logps(logits, options, merged, results, &c->culprit));
}
