// What a call costs: DPO of one pair and of eight from C, loss and both gradients, in single and in double precision, with
// a reference and without. A line for each: type, "reference" or "free", pairs, then nanoseconds of one call: a quarter of
// the rounds took less, half of them, three quarters.
//
//   make library && gcc -std=c11 -O2 -Iinclude benchmarks/call_overhead.c -L.build/release -lswiftdpo
//     -Wl,-rpath,$PWD/.build/release -o build/call_overhead && build/call_overhead
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "swiftdpo.h"

enum { calls = 10000, rounds = 300, most = 8 };

static double seconds(void) {
  struct timespec now;
  timespec_get(&now, TIME_UTC);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static int compare(const void *x, const void *y) {
  const double a = *(const double *)x, b = *(const double *)y;
  return (a > b) - (a < b);
}

#define DEFINE_MEASURE(DTYPE, UPPER, REAL) \
  static void measure_##DTYPE(int has_reference, size_t count) { \
    const REAL policy_chosen[most] = {-12, -13, -14, -15, -16, -17, -18, -19}; \
    const REAL policy_rejected[most] = {-11, -14, -12, -17, -15, -19, -17, -20}; \
    const REAL ref_chosen[most] = {-13, -13, -13, -14, -17, -18, -16, -19}; \
    const REAL ref_rejected[most] = {-12, -13, -14, -18, -15, -17, -17, -21}; \
    double loss; \
    REAL grad_chosen[most], grad_rejected[most]; \
    swiftdpo_pairs_##DTYPE pairs = SWIFTDPO_PAIRS_##UPPER##_INIT; \
    pairs.count = count; \
    pairs.policy_chosen_logps = policy_chosen; \
    pairs.policy_rejected_logps = policy_rejected; \
    pairs.ref_chosen_logps = has_reference ? ref_chosen : NULL; \
    pairs.ref_rejected_logps = has_reference ? ref_rejected : NULL; \
    swiftdpo_dpo_options options = SWIFTDPO_DPO_OPTIONS_INIT; \
    swiftdpo_pair_results_##DTYPE results = SWIFTDPO_PAIR_RESULTS_##UPPER##_INIT; \
    results.loss = &loss; \
    results.grad_policy_chosen_logps = grad_chosen; \
    results.grad_policy_rejected_logps = grad_rejected; \
\
    double times[rounds]; \
    for (int round = 0; round < rounds; round++) { \
      const double start = seconds(); \
      for (int call = 0; call < calls; call++) \
        if (swiftdpo_dpo_loss_##DTYPE(&pairs, &options, &results, NULL) != SWIFTDPO_OK) \
          exit(1); \
      times[round] = 1e9 * (seconds() - start) / calls; \
    } \
    qsort(times, rounds, sizeof times[0], compare); \
    printf("%s %s %zu %.1f %.1f %.1f\n", #DTYPE, has_reference ? "reference" : "free", count, times[rounds / 4], \
           times[rounds / 2], times[3 * rounds / 4]); \
  }

DEFINE_MEASURE(f32, F32, float)
DEFINE_MEASURE(f64, F64, double)

int main(void) {
  for (size_t count = 1; count <= most; count += most - 1)
    for (int has_reference = 1; has_reference >= 0; has_reference--) {
      measure_f32(has_reference, count);
      measure_f64(has_reference, count);
    }
  return 0;
}
