/* Checks that say where and what: a check that fails prints a line and is counted, and the run goes on. */
#ifndef CHECK_H
#define CHECK_H

#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "swiftdpo.h"

extern int checks_passed;
extern int checks_failed;

/** Whether numbers are compared with exact ones. Under valgrind, whose long double is a double, there are none. */
extern bool judges_accuracy;

static inline bool check_that(bool holds, const char *file, int line, const char *format, ...) {
  if (holds) {
    checks_passed++;
    return true;
  }
  checks_failed++;
  va_list arguments;
  va_start(arguments, format);
  printf("%s:%d: ", file, line);
  vprintf(format, arguments);
  printf("\n");
  va_end(arguments);
  return false;
}

#define CHECK(condition) check_that((condition), __FILE__, __LINE__, "%s", #condition)

#define CHECK_STATUS(expected, call) \
  do { \
    const swiftdpo_status got_ = (call); \
    check_that(got_ == (expected), __FILE__, __LINE__, "status %d, not %d: %s", got_, (expected), \
               swiftdpo_status_string(got_)); \
  } while (0)

#define CHECK_OK(call) CHECK_STATUS(SWIFTDPO_OK, call)

/** Distance from the exact value, in units of the last place that a double (or float) near it has. */
static inline double ulps_f64(double value, long double exact) {
  if (isnan(value) || isnan(exact))
    return INFINITY;
  const double nearest = (double)exact;
  if (value == nearest || !judges_accuracy)
    return 0;
  const double magnitude = fabs(nearest);
  const double spacing = isinf(magnitude) ? INFINITY : nextafter(magnitude, INFINITY) - magnitude;
  return (double)(fabsl((long double)value - exact) / spacing);
}

static inline double ulps_f32(float value, long double exact) {
  if (isnan(value) || isnan(exact))
    return INFINITY;
  const float nearest = (float)exact;
  if (value == nearest || !judges_accuracy)
    return 0;
  const float magnitude = fabsf(nearest);
  const float spacing = isinf(magnitude) ? INFINITY : nextafterf(magnitude, INFINITY) - magnitude;
  return (double)(fabsl((long double)value - exact) / spacing);
}

#define CHECK_ULPS_F64(limit, value, exact) \
  do { \
    const double value_ = (value); \
    const long double exact_ = (exact); \
    check_that(ulps_f64(value_, exact_) <= (limit), __FILE__, __LINE__, "%s = %.17g, not %.20Lg (%.1f ulp)", #value, \
               value_, exact_, ulps_f64(value_, exact_)); \
  } while (0)

/** A value that may differ by an absolute amount, for results that inherit their inputs' rounding. */
#define CHECK_WITHIN(tolerance, value, exact) \
  do { \
    const double value_ = (double)(value); \
    const double exact_ = (double)(exact); \
    check_that(!judges_accuracy || fabs(value_ - exact_) <= (tolerance), __FILE__, __LINE__, \
               "%s = %.17g, not %.17g within %.2g", #value, value_, exact_, (double)(tolerance)); \
  } while (0)

/** Equal in every bit, so that -0 is not 0 and NaN equals itself. */
#define CHECK_SAME_BITS(a, b, bytes) CHECK(memcmp((a), (b), (bytes)) == 0)

/** Each family of tests is one function, compiled once or once for each dtype. */
void test_abi(void);
void test_divergences_bad_input_f32(void);
void test_divergences_bad_input_f64(void);
void test_found(void);
void test_fused(void);
void test_fused_forms(void);
void test_golden(void);
void test_growth(void);
void test_library(void);
void test_logits(void);
void test_logits_bad_input(void);
void test_pairs_f32(void);
void test_pairs_f64(void);
void test_pairs_bad_input_f32(void);
void test_pairs_bad_input_f64(void);
void test_policies_bad_input_f32(void);
void test_policies_bad_input_f64(void);
void test_rankings_f32(void);
void test_rankings_f64(void);
void test_rankings_observed_f32(void);
void test_rankings_observed_f64(void);
void test_listwise_f32(void);
void test_listwise_f64(void);
void test_rankings_bad_input_f32(void);
void test_rankings_bad_input_f64(void);
void test_shards(void);
void test_rankings_half(void);
void test_tokens_bad_input(void);
void test_tdpo_f32(void);
void test_tdpo_f64(void);
void test_unpaired_bad_input_f32(void);
void test_unpaired_bad_input_f64(void);

#endif
