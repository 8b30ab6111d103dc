/* A program that finds the library where it was installed. */
#include <math.h>
#include <stdio.h>
#include <swiftdpo.h>

int main(void) {
  if (!SWIFTDPO_CHECK_VERSION()) {
    fprintf(stderr, "compiled against %d, running with %u\n", SWIFTDPO_VERSION, (unsigned)swiftdpo_version());
    return 1;
  }
  const double chosen = -10, rejected = -12;
  double loss = 0;
  swiftdpo_pairs_f64 pairs = SWIFTDPO_PAIRS_F64_INIT;
  pairs.count = 1;
  pairs.policy_chosen_logps = &chosen;
  pairs.policy_rejected_logps = &rejected;
  swiftdpo_pair_results_f64 results = SWIFTDPO_PAIR_RESULTS_F64_INIT;
  results.loss = &loss;
  const swiftdpo_status status = swiftdpo_dpo_loss_f64(&pairs, NULL, &results, NULL);
  const double exact = log1p(exp(-0.1 * (chosen - rejected)));
  printf("%s: loss %.12f\n", swiftdpo_status_string(status), loss);
  return status == SWIFTDPO_OK && fabs(loss - exact) <= 1e-15 ? 0 : 1;
}
