/*
 * A program in C11 that knows the library by its header alone, and runs every family of tests. With any argument it is
 * about what calls do to memory, and judges no accuracy.
 */
#include <stdlib.h>

#include "check.h"

int checks_passed;
int checks_failed;
bool judges_accuracy;

int main(int argc, char **argv) {
  (void)argv;
  judges_accuracy = argc == 1;
  test_abi();
  test_growth();
  test_library();
  test_found();
  test_golden();
  test_pairs_f32();
  test_pairs_f64();
  test_pairs_bad_input_f32();
  test_pairs_bad_input_f64();
  test_rankings_f32();
  test_rankings_f64();
  test_rankings_observed_f32();
  test_rankings_observed_f64();
  test_listwise_f32();
  test_listwise_f64();
  test_rankings_bad_input_f32();
  test_rankings_bad_input_f64();
  test_rankings_half();
  test_divergences_bad_input_f32();
  test_divergences_bad_input_f64();
  test_policies_bad_input_f32();
  test_policies_bad_input_f64();
  test_logits();
  test_logits_bad_input();
  test_shards();
  test_fused();
  test_fused_forms();
  test_tokens_bad_input();
  test_tdpo_f32();
  test_tdpo_f64();
  test_unpaired_bad_input_f32();
  test_unpaired_bad_input_f64();
  swiftdpo_build build = SWIFTDPO_BUILD_INIT;
  CHECK_OK(swiftdpo_build_info(&build));
  printf("C consumer, %s: %d passed, %d failed\n", build.instruction_set, checks_passed, checks_failed);
  return checks_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
