/* Shards of a vocabulary: what they know, how they merge, and every way to call them wrongly. */
#include <math.h>

#include "check.h"
#include "refused.h"

enum { B = 2, T = 3, V = 4, ROWS = B * T };

typedef struct fixture {
  struct {
    double logits[ROWS * V];
    int64_t labels[ROWS];
    double maxima[ROWS], sums[ROWS], label_logits[ROWS];
  } read;
  struct {
    double maxima[ROWS], sums[ROWS], label_logits[ROWS], logps[B], entropies[ROWS];
  } written;
  swiftdpo_logits_f64 logits;
  swiftdpo_logits_f32 shape;
  swiftdpo_logps_options options;
  swiftdpo_shard_statistics statistics, into, merged;
  swiftdpo_logps_results results;
} fixture;

/** Which of the three calls REFUSED makes. */
static enum { SHARD, MERGE, LOGPS } which;

static void fixture_init(fixture *f) {
  memset(f, 0, sizeof *f);
  memset(&f->written, UNTOUCHED, sizeof f->written);
  for (size_t i = 0; i < ROWS * V; i++)
    f->read.logits[i] = (double)(i * i % 7) - 3;
  for (size_t i = 0; i < ROWS; i++) {
    f->read.labels[i] = i % T == 0 ? -100 : (int64_t)(i % V);
    f->read.maxima[i] = (double)i;
    f->read.sums[i] = 1 + (double)i;
    f->read.label_logits[i] = -1;
  }
  f->logits = (swiftdpo_logits_f64)SWIFTDPO_LOGITS_F64_INIT;
  f->logits.num_sequences = B;
  f->logits.sequence_length = T;
  f->logits.vocab_size = V;
  f->logits.logits = f->read.logits;
  f->logits.labels = f->read.labels;
  f->shape = (swiftdpo_logits_f32)SWIFTDPO_LOGITS_F32_INIT;
  f->shape.num_sequences = B;
  f->shape.sequence_length = T;
  f->shape.vocab_size = V;
  f->shape.labels = f->read.labels;
  f->options = (swiftdpo_logps_options)SWIFTDPO_LOGPS_OPTIONS_INIT;
  f->statistics = (swiftdpo_shard_statistics)SWIFTDPO_SHARD_STATISTICS_INIT;
  f->statistics.maxima = f->written.maxima;
  f->statistics.sums = f->written.sums;
  f->statistics.label_logits = f->written.label_logits;
  f->into = f->statistics;
  f->merged = f->statistics;
  f->merged.maxima = f->read.maxima;
  f->merged.sums = f->read.sums;
  f->merged.label_logits = f->read.label_logits;
  f->results = (swiftdpo_logps_results)SWIFTDPO_LOGPS_RESULTS_INIT;
  f->results.logps = f->written.logps;
}

static swiftdpo_status call(fixture *f, swiftdpo_culprit *culprit) {
  switch (which) {
  case SHARD:
    return swiftdpo_vocab_shard_f64(&f->logits, &f->options, &f->statistics, culprit);
  case MERGE:
    return swiftdpo_vocab_shard_merge(ROWS, &f->into, &f->merged, culprit);
  default:
    return swiftdpo_vocab_shard_logps(&f->shape, &f->options, &f->merged, &f->results, culprit);
  }
}

static void test_shard_refusals(void) {
  which = SHARD;
  ACCEPTED();
  ACCEPTED(f.logits.vocab_start = 1000);
  ACCEPTED(f.read.labels[1] = V); /* a label of another shard */
  ACCEPTED(f.read.logits[0] = f.read.logits[1] = f.read.logits[2] = f.read.logits[3] = -INFINITY);
  REFUSED(SWIFTDPO_ERROR_NULL_POINTER, "maxima", 0, f.statistics.maxima = NULL);
  REFUSED(SWIFTDPO_ERROR_NULL_POINTER, "sums", 0, f.statistics.sums = NULL);
  REFUSED(SWIFTDPO_ERROR_NULL_POINTER, "label_logits", 0, f.statistics.label_logits = NULL);
  REFUSED(SWIFTDPO_ERROR_STRUCT_SIZE, "results", 0, f.statistics.struct_size = 0);
  REFUSED(SWIFTDPO_ERROR_OVERLAP, "sums", 0, f.statistics.sums = f.statistics.maxima);
  REFUSED(SWIFTDPO_ERROR_OVERLAP, "maxima", 0, f.statistics.maxima = f.read.logits);
  REFUSED(SWIFTDPO_ERROR_MISALIGNED, "sums", 0, f.statistics.sums = MISALIGNED(f.written.sums));
  REFUSED(SWIFTDPO_ERROR_LABEL, "labels", 4, f.read.labels[4] = -1);
  REFUSED(SWIFTDPO_ERROR_NONFINITE, "logits", 6, f.read.logits[6] = NAN);
  REFUSED(SWIFTDPO_ERROR_NONFINITE, "logits", 7, f.read.logits[7] = INFINITY);
  REFUSED(SWIFTDPO_ERROR_COUNT, "vocab_size", 0, f.logits.vocab_size = 0);
  REFUSED(SWIFTDPO_ERROR_SIZE_OVERFLOW, "vocab_start", 0, f.logits.vocab_start = SIZE_MAX);
}

static void test_merge_refusals(void) {
  which = MERGE;
  REFUSED(SWIFTDPO_ERROR_NULL_POINTER, "maxima", 0, f.into.maxima = NULL);
  REFUSED(SWIFTDPO_ERROR_NULL_POINTER, "label_logits", 0, f.merged.label_logits = NULL);
  REFUSED(SWIFTDPO_ERROR_STRUCT_SIZE, "into", 0, f.into.struct_size = 0);
  REFUSED(SWIFTDPO_ERROR_STRUCT_SIZE, "other", 0, f.merged.struct_size = 0);
  REFUSED(SWIFTDPO_ERROR_OVERLAP, "maxima", 0, f.merged.maxima = f.into.maxima);
  REFUSED(SWIFTDPO_ERROR_MISALIGNED, "sums", 0, f.merged.sums = MISALIGNED(f.read.sums));
  const swiftdpo_shard_statistics none = SWIFTDPO_SHARD_STATISTICS_INIT;
  CHECK_OK(swiftdpo_vocab_shard_merge(0, &none, &none, NULL));
  CHECK_STATUS(SWIFTDPO_ERROR_SIZE_OVERFLOW, swiftdpo_vocab_shard_merge(SIZE_MAX, &none, &none, NULL));
  CHECK_STATUS(SWIFTDPO_ERROR_NULL_POINTER, swiftdpo_vocab_shard_merge(0, NULL, &none, NULL));
}

static void test_logps_refusals(void) {
  which = LOGPS;
  ACCEPTED();
  REFUSED(SWIFTDPO_ERROR_SHARDED, "results", 0, f.results.entropies = f.written.entropies);
  REFUSED(SWIFTDPO_ERROR_SHARDED, "results", 0, f.results.log_sum_squares = f.written.entropies);
  REFUSED(SWIFTDPO_ERROR_SHARDED, "results", 0, f.results.mean_logits = f.written.entropies);
  REFUSED(SWIFTDPO_ERROR_SHARDED, "results", 0, f.results.top_1 = (uint8_t *)f.written.entropies);
  REFUSED(SWIFTDPO_ERROR_NULL_POINTER, "sums", 0, f.merged.sums = NULL);
  REFUSED(SWIFTDPO_ERROR_STRUCT_SIZE, "merged", 0, f.merged.struct_size = 0);
  REFUSED(SWIFTDPO_ERROR_OVERLAP, "logps", 0, f.results.logps = f.read.maxima);
  REFUSED(SWIFTDPO_ERROR_LABEL, "label_logits", 1, f.read.label_logits[1] = NAN);
  REFUSED(SWIFTDPO_ERROR_LABEL, "label_logits", 1, f.options.nonfinite = SWIFTDPO_NONFINITE_PROPAGATE;
          f.read.label_logits[1] = NAN);
  ACCEPTED(f.options.nonfinite = SWIFTDPO_NONFINITE_PROPAGATE; f.read.label_logits[1] = f.read.sums[1] = NAN);
  REFUSED(SWIFTDPO_ERROR_NONFINITE, "maxima", 0, f.read.maxima[0] = NAN);
  REFUSED(SWIFTDPO_ERROR_NONFINITE, "maxima", 3, f.read.maxima[3] = -INFINITY; f.read.sums[3] = 0);
  REFUSED(SWIFTDPO_ERROR_NONFINITE, "maxima", 4, f.read.sums[4] = -1);
}

/** Two shards of two columns each, against the whole. */
static void test_shards_are_the_whole(void) {
  fixture f;
  fixture_init(&f);
  double halves[2][3][ROWS], logps[B], normalizers[ROWS], gradient[ROWS * V];
  swiftdpo_shard_statistics statistics[2] = {SWIFTDPO_SHARD_STATISTICS_INIT, SWIFTDPO_SHARD_STATISTICS_INIT};
  f.logits.row_stride = V;
  f.logits.vocab_size = 2;
  for (size_t half = 0; half < 2; half++) {
    statistics[half].maxima = halves[half][0];
    statistics[half].sums = halves[half][1];
    statistics[half].label_logits = halves[half][2];
    f.logits.logits = f.read.logits + 2 * half;
    f.logits.vocab_start = 2 * half;
    CHECK_OK(swiftdpo_vocab_shard_f64(&f.logits, NULL, &statistics[half], NULL));
  }
  CHECK_OK(swiftdpo_vocab_shard_merge(ROWS, &statistics[0], &statistics[1], NULL));
  f.results.logps = logps;
  f.results.log_normalizers = normalizers;
  CHECK_OK(swiftdpo_vocab_shard_logps(&f.shape, NULL, &statistics[0], &f.results, NULL));

  f.logits.vocab_size = V;
  f.logits.vocab_start = 0;
  f.logits.logits = f.read.logits;
  f.results.logps = f.written.logps;
  f.results.log_normalizers = NULL;
  CHECK_OK(swiftdpo_sequence_logps_f64(&f.logits, NULL, &f.results, NULL));
  const double grad_logps[B] = {1, -2};
  CHECK_OK(swiftdpo_sequence_logps_backward_f64(&f.logits, NULL, grad_logps, NULL, gradient, NULL));
  for (size_t b = 0; b < B; b++)
    CHECK_WITHIN(1e-14, logps[b], f.written.logps[b]);

  f.logits.vocab_size = 2;
  for (size_t half = 0; half < 2; half++) { /* in place: the columns of the other half stay */
    double *columns = f.read.logits + 2 * half;
    f.logits.logits = columns;
    f.logits.vocab_start = 2 * half;
    CHECK_OK(swiftdpo_sequence_logps_backward_f64(&f.logits, NULL, grad_logps, normalizers, columns, NULL));
  }
  for (size_t i = 0; i < ROWS * V; i++)
    CHECK_WITHIN(1e-15, f.read.logits[i], gradient[i]);
}

void test_shards(void) {
  test_shard_refusals();
  test_merge_refusals();
  test_logps_refusals();
  test_shards_are_the_whole();
}
