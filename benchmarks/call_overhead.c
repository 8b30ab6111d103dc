// What a call costs before it computes anything: DPO of one pair, and of eight, from C, in double precision. A line for
// each: pairs, then nanoseconds of one call: a quarter of the rounds took less, half of them, three quarters.
//
//   make library && gcc -std=c11 -O2 -Iinclude benchmarks/call_overhead.c -L.build/release -lswiftdpo
//     -Wl,-rpath,$PWD/.build/release -o build/call_overhead && build/call_overhead
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "swiftdpo.h"

enum { calls = 200000, rounds = 15 };

static double seconds(void) {
  struct timespec now;
  timespec_get(&now, TIME_UTC);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static int compare(const void *x, const void *y) {
  const double a = *(const double *)x, b = *(const double *)y;
  return (a > b) - (a < b);
}

static void measure(size_t count) {
  const double policy_chosen[8] = {-12, -13, -14, -15, -16, -17, -18, -19};
  const double policy_rejected[8] = {-11, -14, -12, -17, -15, -19, -17, -20};
  double loss, grad_chosen[8], grad_rejected[8];
  swiftdpo_pairs_f64 pairs = SWIFTDPO_PAIRS_F64_INIT;
  pairs.count = count;
  pairs.policy_chosen_logps = policy_chosen;
  pairs.policy_rejected_logps = policy_rejected;
  swiftdpo_dpo_options options = SWIFTDPO_DPO_OPTIONS_INIT;
  swiftdpo_pair_results_f64 results = SWIFTDPO_PAIR_RESULTS_F64_INIT;
  results.loss = &loss;
  results.grad_policy_chosen_logps = grad_chosen;
  results.grad_policy_rejected_logps = grad_rejected;

  double times[rounds];
  for (int round = 0; round < rounds; round++) {
    const double start = seconds();
    for (int call = 0; call < calls; call++)
      if (swiftdpo_dpo_loss_f64(&pairs, &options, &results, NULL) != SWIFTDPO_OK)
        exit(1);
    times[round] = 1e9 * (seconds() - start) / calls;
  }
  qsort(times, rounds, sizeof times[0], compare);
  printf("%zu %.1f %.1f %.1f\n", count, times[rounds / 4], times[rounds / 2], times[3 * rounds / 4]);
}

int main(void) {
  measure(1);
  measure(8);
  return 0;
}
