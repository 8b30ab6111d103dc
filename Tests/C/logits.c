/* Logits: log-probabilities and their gradient against softmax in extended precision, and the shapes of a batch. */
#include <float.h>
#include <math.h>

#include "check.h"

enum { MAX_SEQUENCES = 8, MAX_TOKENS = 48, MAX_LOGITS = 70000, IGNORED = -100 };

/** Sums run in double precision over single-precision exponentials. */
static const double LOGP_TOLERANCE = 1e-6;
static const double PROBABILITY_TOLERANCE = 1e-6;

/** A batch that owns its buffers, one at a time: they are too large for the stack. */
static struct {
  float logits[MAX_LOGITS], gradient[MAX_LOGITS];
  int64_t labels[MAX_TOKENS];
  double logps[MAX_SEQUENCES], token_logps[MAX_TOKENS], log_normalizers[MAX_TOKENS], grad_logps[MAX_SEQUENCES];
  int64_t num_tokens[MAX_SEQUENCES];
  swiftdpo_logits_f32 input;
  swiftdpo_logps_options options;
  swiftdpo_logps_results results;
} b;

static float random_float(uint64_t *state, double low, double high) {
  *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
  return (float)(low + (high - low) * (double)(*state >> 11) * 0x1p-53);
}

/** Random logits in [-spread, spread]; random labels, of which about a third are ignored. */
static void batch_init(size_t B, size_t T, size_t V, size_t stride, uint64_t seed, double spread) {
  memset(&b, 0, sizeof b);
  b.input = (swiftdpo_logits_f32)SWIFTDPO_LOGITS_F32_INIT;
  b.input.num_sequences = B;
  b.input.sequence_length = T;
  b.input.vocab_size = V;
  b.input.row_stride = stride;
  b.input.logits = b.logits;
  b.input.labels = b.labels;
  b.options = (swiftdpo_logps_options)SWIFTDPO_LOGPS_OPTIONS_INIT;
  b.results = (swiftdpo_logps_results)SWIFTDPO_LOGPS_RESULTS_INIT;
  b.results.logps = b.logps;
  b.results.num_tokens = b.num_tokens;
  b.results.token_logps = b.token_logps;
  b.results.log_normalizers = b.log_normalizers;
  for (size_t i = 0; i < MAX_LOGITS; i++)
    b.logits[i] = random_float(&seed, -spread, spread);
  for (size_t i = 0; i < B * T; i++) {
    const int64_t label = (int64_t)(random_float(&seed, 0, 1) * (float)V) % (int64_t)V;
    b.labels[i] = random_float(&seed, 0, 3) < 1 ? IGNORED : label;
  }
  for (size_t i = 0; i < B; i++)
    b.grad_logps[i] = random_float(&seed, -2, 2);
}

static swiftdpo_status forward(void) { return swiftdpo_sequence_logps_f32(&b.input, &b.options, &b.results, NULL); }

static swiftdpo_status backward(const double *log_normalizers, float *gradient) {
  return swiftdpo_sequence_logps_backward_f32(&b.input, &b.options, b.grad_logps, log_normalizers, gradient, NULL);
}

static size_t stride(void) { return b.input.row_stride ? b.input.row_stride : b.input.vocab_size; }

static const float *row_at(size_t sequence, size_t t) {
  return b.logits + (sequence * b.input.sequence_length + t) * stride();
}

/** The label that the logits at t score. With shift the last ones of a sequence score none. */
static int64_t label_at(size_t sequence, size_t t) {
  const size_t position = t + (b.options.shift ? 1 : 0);
  if (position == b.input.sequence_length)
    return b.options.ignore_index;
  return b.labels[sequence * b.input.sequence_length + position];
}

static long double log_sum_exp(const float *row) {
  long double largest = -INFINITY, sum = 0;
  for (size_t v = 0; v < b.input.vocab_size; v++)
    largest = fmaxl(largest, row[v]);
  for (size_t v = 0; v < b.input.vocab_size; v++)
    sum += expl(row[v] - largest);
  return largest + logl(sum);
}

static void check_forward(void) {
  for (size_t s = 0; s < b.input.num_sequences; s++) {
    long double logp = 0;
    int64_t tokens = 0;
    for (size_t t = 0; t < b.input.sequence_length; t++) {
      const size_t at = s * b.input.sequence_length + t;
      const int64_t label = label_at(s, t);
      if (label == b.options.ignore_index) {
        CHECK(b.token_logps[at] == 0 && b.log_normalizers[at] == 0);
        continue;
      }
      const long double normalizer = log_sum_exp(row_at(s, t));
      CHECK_WITHIN(LOGP_TOLERANCE, b.log_normalizers[at], normalizer);
      CHECK_WITHIN(LOGP_TOLERANCE, b.token_logps[at], row_at(s, t)[label] - normalizer);
      logp += row_at(s, t)[label] - normalizer;
      tokens++;
    }
    if (b.options.average && tokens > 0)
      logp /= tokens;
    CHECK_WITHIN(LOGP_TOLERANCE * (double)(tokens + 1), b.logps[s], logp);
    CHECK(b.num_tokens[s] == tokens);
  }
}

static void check_gradient(const float *gradient) {
  for (size_t s = 0; s < b.input.num_sequences; s++)
    for (size_t t = 0; t < b.input.sequence_length; t++) {
      const float *row = gradient + (s * b.input.sequence_length + t) * stride();
      const int64_t label = label_at(s, t);
      if (label == b.options.ignore_index) {
        for (size_t v = 0; v < b.input.vocab_size; v++)
          CHECK(row[v] == 0);
        continue;
      }
      const long double normalizer = log_sum_exp(row_at(s, t));
      const double g = b.grad_logps[s] / (b.options.average ? (double)b.num_tokens[s] : 1);
      for (size_t v = 0; v < b.input.vocab_size; v++) {
        const long double probability = expl(row_at(s, t)[v] - normalizer);
        CHECK_WITHIN(fabs(g) * PROBABILITY_TOLERANCE, row[v],
                     g * ((int64_t)v == label ? 1 - probability : -probability));
      }
    }
}

static void test_shapes_and_options(void) {
  static const size_t vocabularies[] = {1, 2, 3, 15, 16, 17, 64, 257, 1000};
  for (size_t v = 0; v < sizeof vocabularies / sizeof *vocabularies; v++)
    for (uint64_t variant = 0; variant < 8; variant++) {
      const size_t V = vocabularies[v];
      batch_init(3, 4, V, variant & 4 ? V + 5 : 0, variant, variant & 1 ? 5 : 50);
      b.options.shift = variant & 1 ? 1 : 0;
      b.options.average = variant & 2 ? 1 : 0;
      CHECK_OK(forward());
      check_forward();
      CHECK_OK(backward(b.log_normalizers, b.gradient));
      check_gradient(b.gradient);
    }
}

static void test_large_vocabulary(void) {
  batch_init(1, 2, 32000, 0, 1, 20);
  b.labels[1] = 31999;
  CHECK_OK(forward());
  check_forward();
  CHECK_OK(backward(NULL, b.gradient));
  check_gradient(b.gradient);
}

static void test_gradient_in_place(void) {
  static float separate[MAX_LOGITS];
  batch_init(3, 5, 33, 40, 2, 10);
  CHECK_OK(forward());
  CHECK_OK(backward(b.log_normalizers, separate));
  for (size_t row = 0; row < 15; row++) /* what lies between the rows stays */
    memcpy(separate + row * 40 + 33, b.logits + row * 40 + 33, 7 * sizeof(float));
  CHECK_OK(backward(b.log_normalizers, b.logits));
  CHECK_SAME_BITS(b.logits, separate, 15 * 40 * sizeof(float));
}

static void test_gradient_without_the_forward_call(void) {
  static float with[MAX_LOGITS];
  batch_init(3, 5, 33, 0, 3, 10);
  CHECK_OK(forward());
  CHECK_OK(backward(b.log_normalizers, with));
  CHECK_OK(backward(NULL, b.gradient));
  CHECK_SAME_BITS(with, b.gradient, sizeof with);
}

static void test_gap_between_rows_is_left_alone(void) {
  batch_init(2, 3, 10, 16, 4, 10);
  memset(b.gradient, 0x5A, sizeof b.gradient);
  float untouched;
  memset(&untouched, 0x5A, sizeof untouched);
  CHECK_OK(backward(NULL, b.gradient));
  for (size_t row = 0; row < 6; row++)
    for (size_t gap = 10; gap < 16; gap++)
      CHECK(b.gradient[row * 16 + gap] == untouched);
}

static void test_sequence_without_tokens(void) {
  batch_init(2, 4, 7, 0, 5, 10);
  for (size_t t = 0; t < 4; t++)
    b.labels[t] = IGNORED;
  b.options.average = 1;
  CHECK_OK(forward());
  CHECK(b.logps[0] == 0 && b.num_tokens[0] == 0);
  check_forward();
  CHECK_OK(backward(b.log_normalizers, b.gradient));
  check_gradient(b.gradient);
}

static void test_sequences_too_short_to_score(void) {
  for (size_t T = 0; T <= 1; T++) {
    batch_init(2, T, 7, 0, 6, 10);
    b.logps[0] = b.logps[1] = -1;
    CHECK_OK(forward());
    CHECK(b.logps[0] == 0 && b.logps[1] == 0 && b.num_tokens[0] == 0 && b.num_tokens[1] == 0);
    CHECK_OK(backward(NULL, b.gradient));
    check_gradient(b.gradient);
  }
}

static void test_empty_batch(void) {
  batch_init(0, 5, 7, 0, 7, 10);
  b.input.logits = NULL;
  CHECK_OK(forward());
  CHECK_OK(backward(NULL, b.gradient));
}

/** Rows that nobody asks about may hold anything. */
static void test_ignored_rows_are_not_read(void) {
  batch_init(1, 3, 4, 0, 8, 10);
  b.labels[1] = IGNORED;
  b.labels[2] = 3;
  for (size_t v = 0; v < 4; v++)
    b.logits[v] = b.logits[8 + v] = NAN;
  CHECK_OK(forward());
  check_forward();
}

static void test_own_ignore_index(void) {
  batch_init(1, 4, 5, 0, 9, 10);
  b.options.ignore_index = 0;
  b.labels[0] = b.labels[1] = 2;
  b.labels[2] = 0;
  b.labels[3] = 4;
  CHECK_OK(forward());
  check_forward();
  CHECK(b.num_tokens[0] == 2);
}

static void test_masked_vocabulary(void) {
  batch_init(1, 2, 40, 0, 10, 10);
  for (size_t v = 0; v < 40; v += 2)
    b.logits[v] = -INFINITY;
  b.labels[1] = 5;
  CHECK_OK(forward());
  check_forward();
  CHECK_OK(backward(b.log_normalizers, b.gradient));
  check_gradient(b.gradient);
  CHECK(b.gradient[4] == 0);

  b.labels[1] = 4; /* a label that cannot occur */
  CHECK_OK(forward());
  CHECK(isinf(b.logps[0]) && b.logps[0] < 0 && isinf(b.token_logps[0]) && isfinite(b.log_normalizers[0]));
}

static void test_extreme_logits(void) {
  static const float tops[] = {0x1p-149F, 1e4F, -1e4F, 1e6F, -1e6F};
  for (size_t i = 0; i < sizeof tops / sizeof *tops; i++) {
    batch_init(1, 2, 3, 0, 11, 1);
    b.logits[0] = b.logits[1] = b.logits[2] = tops[i];
    b.labels[1] = 2;
    CHECK_OK(forward());
    check_forward();
    CHECK_OK(backward(b.log_normalizers, b.gradient));
    check_gradient(b.gradient);
  }
  for (int sign = -1; sign <= 1; sign += 2) { /* the two ends of the type, side by side */
    batch_init(1, 2, 3, 0, 11, 1);
    b.logits[0] = (float)sign * FLT_MAX;
    b.logits[1] = (float)-sign * FLT_MAX;
    b.labels[1] = 1;
    CHECK_OK(forward());
    check_forward();
    CHECK_OK(backward(b.log_normalizers, b.gradient));
    check_gradient(b.gradient);
  }
}

/** All-zero logits: every token has probability 1 / 16, and two of them count. */
static void test_uniform_logits(void) {
  batch_init(1, 3, 16, 0, 12, 0);
  b.labels[0] = b.labels[1] = b.labels[2] = 1;
  CHECK_OK(forward());
  CHECK_ULPS_F64(2, b.logps[0], -2 * logl(16));
  CHECK(b.num_tokens[0] == 2);
}

static void test_a_row_does_not_feel_its_batch(void) {
  static double token_logps[MAX_TOKENS];
  batch_init(4, 6, 100, 0, 13, 10);
  b.options.shift = 0;
  CHECK_OK(forward());
  memcpy(token_logps, b.token_logps, sizeof token_logps);
  for (size_t first = 0; first < 24; first++) { /* row by row, at other alignments */
    b.input.num_sequences = b.input.sequence_length = 1;
    b.input.logits = b.logits + first * 100;
    b.input.labels = b.labels + first;
    CHECK_OK(forward());
    CHECK(b.token_logps[0] == token_logps[first]);
    static float moved[101];
    memcpy(moved + 1, b.logits + first * 100, 100 * sizeof(float));
    b.input.logits = moved + 1;
    CHECK_OK(forward());
    CHECK(b.token_logps[0] == token_logps[first]);
  }
}

static void test_results_may_be_skipped(void) {
  static double logps[MAX_SEQUENCES];
  batch_init(2, 3, 8, 0, 14, 10);
  CHECK_OK(forward());
  memcpy(logps, b.logps, sizeof logps);
  const swiftdpo_logps_results nothing = SWIFTDPO_LOGPS_RESULTS_INIT;
  b.results = nothing;
  CHECK_OK(forward());
  b.results.logps = b.logps;
  memset(b.logps, 0, sizeof b.logps);
  CHECK_OK(forward());
  CHECK_SAME_BITS(logps, b.logps, sizeof logps);
}

static void test_propagated_nonfinite_values(void) {
  batch_init(2, 2, 4, 0, 15, 10);
  b.options.nonfinite = SWIFTDPO_NONFINITE_PROPAGATE;
  b.labels[1] = b.labels[3] = 1;
  b.logits[2] = NAN;
  CHECK_OK(forward());
  CHECK(isnan(b.logps[0]) && isfinite(b.logps[1]));
}

void test_logits(void) {
  test_shapes_and_options();
  test_large_vocabulary();
  test_gradient_in_place();
  test_gradient_without_the_forward_call();
  test_gap_between_rows_is_left_alone();
  test_sequence_without_tokens();
  test_sequences_too_short_to_score();
  test_empty_batch();
  test_ignored_rows_are_not_read();
  test_own_ignore_index();
  test_masked_vocabulary();
  test_extreme_logits();
  test_uniform_logits();
  test_a_row_does_not_feel_its_batch();
  test_results_may_be_skipped();
  test_propagated_nonfinite_values();
}
