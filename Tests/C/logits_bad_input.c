/* Logits: every way to call swiftdpo_sequence_logps and its backward call wrongly, and what they answer. */
#include <math.h>

#include "check.h"
#include "refused.h"

enum { B = 3, T = 4, V = 6, ROWS = B * T, STRIDE = V + 2 };

typedef struct fixture {
  struct {
    float logits[ROWS * STRIDE];
    int64_t labels[ROWS];
    int32_t labels_i32[ROWS];
    int64_t offsets[B + 1], ld_lengths[B];
    uint8_t mask[ROWS];
    double token_weights[ROWS], grad_logps[B], log_normalizers[ROWS];
  } read;
  struct {
    double logps[B], token_logps[ROWS], log_normalizers[ROWS];
    int64_t num_tokens[B];
    float grad_logits[ROWS * STRIDE + 1];
  } written;
  swiftdpo_logits_f32 logits;
  swiftdpo_logps_options options;
  swiftdpo_logps_results results;
  const double *grad_logps, *log_normalizers;
  float *grad_logits;
} fixture;

/** Which of the two calls REFUSED makes. Both obey the rules of the logits. */
static bool backward;

static void fixture_init(fixture *f) {
  memset(f, 0, sizeof *f);
  memset(&f->written, UNTOUCHED, sizeof f->written);
  for (size_t i = 0; i < ROWS * STRIDE; i++)
    f->read.logits[i] = (float)(i % 7);
  for (size_t i = 0; i < ROWS; i++)
    f->read.labels[i] = i % T == 1 ? -100 : (int64_t)(i % V);
  f->logits = (swiftdpo_logits_f32)SWIFTDPO_LOGITS_F32_INIT;
  f->logits.num_sequences = B;
  f->logits.sequence_length = T;
  f->logits.vocab_size = V;
  f->logits.row_stride = STRIDE;
  f->logits.logits = f->read.logits;
  f->logits.labels = f->read.labels;
  f->options = (swiftdpo_logps_options)SWIFTDPO_LOGPS_OPTIONS_INIT;
  f->results = (swiftdpo_logps_results)SWIFTDPO_LOGPS_RESULTS_INIT;
  f->results.logps = f->written.logps;
  f->results.num_tokens = f->written.num_tokens;
  f->results.token_logps = f->written.token_logps;
  f->results.log_normalizers = f->written.log_normalizers;
  f->grad_logps = f->read.grad_logps;
  f->grad_logits = f->written.grad_logits;
}

static swiftdpo_status call(fixture *f, swiftdpo_culprit *culprit) {
  if (backward)
    return swiftdpo_sequence_logps_backward_f32(&f->logits, &f->options, f->grad_logps, f->log_normalizers,
                                                f->grad_logits, culprit);
  return swiftdpo_sequence_logps_f32(&f->logits, &f->options, &f->results, culprit);
}

static void use_labels_i32(fixture *f) {
  for (size_t i = 0; i < ROWS; i++)
    f->read.labels_i32[i] = (int32_t)f->read.labels[i];
  f->logits.labels = NULL;
  f->logits.labels_i32 = f->read.labels_i32;
}

static void use_mask(fixture *f) {
  memset(f->read.mask, 1, sizeof f->read.mask);
  f->logits.mask = f->read.mask;
}

static void use_token_weights(fixture *f) {
  for (size_t i = 0; i < ROWS; i++)
    f->read.token_weights[i] = (double)i - 3;
  f->logits.token_weights = f->read.token_weights;
}

static void use_offsets(fixture *f) {
  for (size_t i = 0; i <= B; i++)
    f->read.offsets[i] = (int64_t)(i * T);
  f->logits.offsets = f->read.offsets;
}

static void test_buffers(void) {
  REFUSED(SWIFTDPO_ERROR_NULL_POINTER, "logits", 0, f.logits.logits = NULL);
  REFUSED(SWIFTDPO_ERROR_NULL_POINTER, "labels", 0, f.logits.labels = NULL);
  REFUSED(SWIFTDPO_ERROR_MISALIGNED, "logits", 0, f.logits.logits = MISALIGNED(f.read.logits));
  REFUSED(SWIFTDPO_ERROR_MISALIGNED, "labels", 0, f.logits.labels = MISALIGNED(f.read.labels));
  REFUSED(SWIFTDPO_ERROR_STRUCT_SIZE, "logits", 0, f.logits.struct_size = 0);
  REFUSED(SWIFTDPO_ERROR_STRUCT_SIZE, "options", 0, f.options.struct_size = 0);
}

static void test_counts(void) {
  const size_t half = (size_t)1 << (sizeof(size_t) * 4);
  REFUSED(SWIFTDPO_ERROR_COUNT, "vocab_size", 0, f.logits.vocab_size = 0; f.logits.row_stride = 0);
  REFUSED(SWIFTDPO_ERROR_STRIDE, "row_stride", 0, f.logits.row_stride = V - 1);
  REFUSED(SWIFTDPO_ERROR_SIZE_OVERFLOW, "sequence_length", 0, f.logits.num_sequences = f.logits.sequence_length = half);
  REFUSED(SWIFTDPO_ERROR_SIZE_OVERFLOW, "vocab_size", 0, f.logits.vocab_size = SIZE_MAX; f.logits.row_stride = 0);
  REFUSED(SWIFTDPO_ERROR_SIZE_OVERFLOW, "row_stride", 0, f.logits.row_stride = SIZE_MAX);
  REFUSED(SWIFTDPO_ERROR_SIZE_OVERFLOW, "row_stride", 0, f.logits.row_stride = SIZE_MAX / 16);
  REFUSED(SWIFTDPO_ERROR_SIZE_OVERFLOW, "logits", 0, f.logits.row_stride = SIZE_MAX / sizeof(float) / ROWS);
  REFUSED(SWIFTDPO_ERROR_SIZE_OVERFLOW, "sequence_length", 0, f.logits.sequence_length = SIZE_MAX / 2 + 1);
}

static void test_options(void) {
  REFUSED(SWIFTDPO_ERROR_FLAG, "shift", 0, f.options.shift = 2);
  REFUSED(SWIFTDPO_ERROR_FLAG, "shift", 0, f.options.shift = -1);
  REFUSED(SWIFTDPO_ERROR_FLAG, "average", 0, f.options.average = 7);
  REFUSED(SWIFTDPO_ERROR_NONFINITE_POLICY, "nonfinite", 0, f.options.nonfinite = (swiftdpo_nonfinite)5);
}

static void test_labels(void) {
  REFUSED(SWIFTDPO_ERROR_LABEL, "labels", 2, f.read.labels[2] = V);
  REFUSED(SWIFTDPO_ERROR_LABEL, "labels", 3, f.read.labels[3] = -1);
  REFUSED(SWIFTDPO_ERROR_LABEL, "labels", ROWS - 1, f.read.labels[ROWS - 1] = INT64_MIN);
  REFUSED(SWIFTDPO_ERROR_LABEL, "labels", 6, f.read.labels[6] = (INT64_C(1) << 32) + 1);
}

static void forbid_row(fixture *f, size_t row) {
  for (size_t v = 0; v < V; v++)
    f->read.logits[row * STRIDE + v] = -INFINITY;
}

static void test_labels_of_32_bits(void) {
  REFUSED(SWIFTDPO_ERROR_NULL_POINTER, "labels", 0, f.logits.labels_i32 = f.read.labels_i32); /* two are one too many */
  REFUSED(SWIFTDPO_ERROR_LABEL, "labels_i32", 2, use_labels_i32(&f); f.read.labels_i32[2] = V);
  REFUSED(SWIFTDPO_ERROR_LABEL, "labels_i32", 3, use_labels_i32(&f); f.read.labels_i32[3] = INT32_MIN);
  REFUSED(SWIFTDPO_ERROR_MISALIGNED, "labels_i32", 0, use_labels_i32(&f);
          f.logits.labels_i32 = MISALIGNED(f.read.labels_i32));
  ACCEPTED(use_labels_i32(&f));
}

static void test_masks_and_weights(void) {
  REFUSED(SWIFTDPO_ERROR_FLAG, "mask", 5, use_mask(&f); f.read.mask[5] = 2);
  REFUSED(SWIFTDPO_ERROR_FLAG, "mask", ROWS - 1, use_mask(&f); f.read.mask[ROWS - 1] = 255);
  REFUSED(SWIFTDPO_ERROR_NONFINITE, "token_weights", 2, use_token_weights(&f); f.read.token_weights[2] = NAN);
  REFUSED(SWIFTDPO_ERROR_NONFINITE, "token_weights", 7, use_token_weights(&f); f.read.token_weights[7] = -INFINITY);
  REFUSED(SWIFTDPO_ERROR_MISALIGNED, "token_weights", 0, f.logits.token_weights = MISALIGNED(f.read.token_weights));
  REFUSED(SWIFTDPO_ERROR_MISALIGNED, "ld_lengths", 0, f.logits.ld_lengths = MISALIGNED(f.read.ld_lengths));
  REFUSED(SWIFTDPO_ERROR_NULL_POINTER, "ld_lengths", 0, f.options.ld_alpha = 0.5);
  ACCEPTED(use_mask(&f); use_token_weights(&f); f.logits.ld_lengths = f.read.ld_lengths; f.options.ld_alpha = 0.5);
  ACCEPTED(use_token_weights(&f); f.read.token_weights[1] = NAN); /* its label does not count */
  ACCEPTED(f.logits.ld_lengths = f.read.ld_lengths; f.read.ld_lengths[0] = INT64_MIN; f.read.ld_lengths[1] = INT64_MAX);
}

static void test_offsets(void) {
  REFUSED(SWIFTDPO_ERROR_OFFSETS, "offsets", 0, use_offsets(&f); f.read.offsets[0] = 1);
  REFUSED(SWIFTDPO_ERROR_OFFSETS, "offsets", 0, use_offsets(&f); f.read.offsets[0] = -1);
  REFUSED(SWIFTDPO_ERROR_OFFSETS, "offsets", 2, use_offsets(&f); f.read.offsets[2] = f.read.offsets[1] - 1);
  REFUSED(SWIFTDPO_ERROR_OFFSETS, "offsets", B, use_offsets(&f); f.read.offsets[B] = INT64_MIN);
  REFUSED(SWIFTDPO_ERROR_SIZE_OVERFLOW, "row_stride", 0, use_offsets(&f); f.read.offsets[B] = INT64_MAX);
  REFUSED(SWIFTDPO_ERROR_SIZE_OVERFLOW, "num_sequences", 0, use_offsets(&f); f.logits.num_sequences = SIZE_MAX);
  REFUSED(SWIFTDPO_ERROR_SIZE_OVERFLOW, "num_sequences", 0, use_offsets(&f); f.logits.num_sequences = SIZE_MAX / 2);
  REFUSED(SWIFTDPO_ERROR_MISALIGNED, "offsets", 0, f.logits.offsets = MISALIGNED(f.read.offsets));
  ACCEPTED(use_offsets(&f); f.logits.sequence_length = SIZE_MAX); /* which plays no part */
}

static void test_scales(void) {
  static const double wrong[] = {-1, NAN, INFINITY, -INFINITY, -0x1p-1074};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    REFUSED(SWIFTDPO_ERROR_LOGIT_SCALE, "logit_scale", 0, f.options.logit_scale = wrong[i]);
    REFUSED(SWIFTDPO_ERROR_SOFTCAP, "softcap", 0, f.options.softcap = wrong[i]);
    REFUSED(SWIFTDPO_ERROR_LD_ALPHA, "ld_alpha", 0, f.options.ld_alpha = wrong[i]);
  }
  REFUSED(SWIFTDPO_ERROR_LOGIT_SCALE, "logit_scale", 0, f.options.logit_scale = 0);
  REFUSED(SWIFTDPO_ERROR_LD_ALPHA, "ld_alpha", 0, f.options.ld_alpha = 1.5);
  ACCEPTED(f.options.softcap = -0.0);
}

static void test_logits_without_meaning(void) {
  for (size_t row = 1; row < 3; row++) /* these score labels 2 and 3; row 0 scores an ignored one */
    for (size_t v = 0; v < V; v++) {
      REFUSED(SWIFTDPO_ERROR_NONFINITE, "logits", row * STRIDE + v, f.read.logits[row * STRIDE + v] = NAN);
      REFUSED(SWIFTDPO_ERROR_NONFINITE, "logits", row * STRIDE + v, f.read.logits[row * STRIDE + v] = INFINITY);
    }
  REFUSED(SWIFTDPO_ERROR_NONFINITE, "logits", 2 * STRIDE, forbid_row(&f, 2));
  ACCEPTED(f.read.logits[0] = NAN);
  ACCEPTED(f.read.logits[V] = NAN); /* between two rows */
}

static void test_forward(void) {
  fixture f;
  fixture_init(&f);
  swiftdpo_culprit culprit = {"nobody", 999};
  CHECK_STATUS(SWIFTDPO_ERROR_NULL_POINTER, swiftdpo_sequence_logps_f32(NULL, NULL, &f.results, &culprit));
  CHECK(strcmp(culprit.argument, "logits") == 0);
  CHECK_STATUS(SWIFTDPO_ERROR_NULL_POINTER, swiftdpo_sequence_logps_f32(&f.logits, NULL, NULL, &culprit));
  CHECK(strcmp(culprit.argument, "results") == 0);
  REFUSED(SWIFTDPO_ERROR_STRUCT_SIZE, "results", 0, f.results.struct_size = 8);
  REFUSED(SWIFTDPO_ERROR_MISALIGNED, "logps", 0, f.results.logps = MISALIGNED(f.written.logps));
  REFUSED(SWIFTDPO_ERROR_OVERLAP, "logps", 0, f.results.logps = (double *)(void *)f.read.logits);
  REFUSED(SWIFTDPO_ERROR_OVERLAP, "num_tokens", 0, f.results.num_tokens = f.read.labels + ROWS - 1);
  REFUSED(SWIFTDPO_ERROR_OVERLAP, "log_normalizers", 0, f.results.log_normalizers = f.written.token_logps);
  REFUSED(SWIFTDPO_ERROR_OVERLAP, "entropies", 0, f.results.entropies = f.written.log_normalizers);
  REFUSED(SWIFTDPO_ERROR_OVERLAP, "top_1", 0, f.results.top_1 = f.read.mask; use_mask(&f));
  REFUSED(SWIFTDPO_ERROR_OVERLAP, "row_flags", 0, f.results.row_flags = (uint8_t *)f.written.num_tokens);
  REFUSED(SWIFTDPO_ERROR_MISALIGNED, "mean_logits", 0, f.results.mean_logits = MISALIGNED(f.written.logps));
  REFUSED(SWIFTDPO_ERROR_COUNT, "vocab_start", 0, f.logits.vocab_start = 1);
}

static void test_backward(void) {
  REFUSED(SWIFTDPO_ERROR_NULL_POINTER, "grad_logps", 0, f.grad_logps = NULL);
  REFUSED(SWIFTDPO_ERROR_NULL_POINTER, "grad_logits", 0, f.grad_logits = NULL);
  REFUSED(SWIFTDPO_ERROR_MISALIGNED, "grad_logits", 0, f.grad_logits = MISALIGNED(f.written.grad_logits));
  REFUSED(SWIFTDPO_ERROR_OVERLAP, "grad_logits", 0, f.grad_logits = f.read.logits + 1);
  REFUSED(SWIFTDPO_ERROR_OVERLAP, "grad_logits", 0, f.grad_logits = (float *)(void *)f.read.labels);
  REFUSED(SWIFTDPO_ERROR_NONFINITE, "grad_logps", 1, f.read.grad_logps[1] = NAN);
  REFUSED(SWIFTDPO_ERROR_NONFINITE, "log_normalizers", 1, f.log_normalizers = f.read.log_normalizers;
          f.read.log_normalizers[1] = NAN);
  REFUSED(SWIFTDPO_ERROR_NULL_POINTER, "log_normalizers", 0, f.logits.vocab_start = 1);
  REFUSED(SWIFTDPO_ERROR_SIZE_OVERFLOW, "vocab_start", 0, f.logits.vocab_start = SIZE_MAX / 2);
}

void test_logits_bad_input(void) {
  for (int which = 0; which < 2; which++) {
    backward = which == 1;
    ACCEPTED();
    test_buffers();
    test_counts();
    test_options();
    test_labels();
    test_labels_of_32_bits();
    test_masks_and_weights();
    test_offsets();
    test_scales();
    test_logits_without_meaning();
  }
  backward = false;
  test_forward();
  backward = true;
  test_backward();
}
