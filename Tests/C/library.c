/* The library itself: versions, status strings, build information, and structs of headers older and newer than it. */
#include "check.h"

static void test_versions(void) {
  CHECK(swiftdpo_version() == SWIFTDPO_VERSION);
  CHECK(swiftdpo_abi_version() == SWIFTDPO_ABI_VERSION);
  CHECK(SWIFTDPO_CHECK_VERSION());
}

/* The check as headers of other versions would expand it, from here to the end of the function. */
static void test_versions_that_differ(void) {
#pragma push_macro("SWIFTDPO_VERSION")
#undef SWIFTDPO_VERSION
#define SWIFTDPO_VERSION (swiftdpo_version() + 1)
  CHECK(!SWIFTDPO_CHECK_VERSION()); /* compiled against a newer header */
#undef SWIFTDPO_VERSION
#define SWIFTDPO_VERSION (swiftdpo_version() - 1)
  CHECK(SWIFTDPO_CHECK_VERSION()); /* against an older one */
#pragma pop_macro("SWIFTDPO_VERSION")
#pragma push_macro("SWIFTDPO_ABI_VERSION")
#undef SWIFTDPO_ABI_VERSION
#define SWIFTDPO_ABI_VERSION (swiftdpo_abi_version() + 1)
  CHECK(!SWIFTDPO_CHECK_VERSION()); /* another ABI, of whatever version */
#pragma pop_macro("SWIFTDPO_ABI_VERSION")
}

static bool says_something(const char *text) { return text != NULL && *text != '\0'; }

static bool same_text(const char *a, const char *b) { return a != NULL && b != NULL && strcmp(a, b) == 0; }

static void test_status_strings(void) {
  static const swiftdpo_status statuses[] = {
      SWIFTDPO_OK,
      SWIFTDPO_ERROR_NULL_POINTER,
      SWIFTDPO_ERROR_STRUCT_SIZE,
      SWIFTDPO_ERROR_MISALIGNED,
      SWIFTDPO_ERROR_SIZE_OVERFLOW,
      SWIFTDPO_ERROR_OVERLAP,
      SWIFTDPO_ERROR_STRIDE,
      SWIFTDPO_ERROR_COUNT,
      SWIFTDPO_ERROR_BETA,
      SWIFTDPO_ERROR_LABEL_SMOOTHING,
      SWIFTDPO_ERROR_REDUCTION,
      SWIFTDPO_ERROR_NONFINITE_POLICY,
      SWIFTDPO_ERROR_FLAG,
      SWIFTDPO_ERROR_LOGIT_SCALE,
      SWIFTDPO_ERROR_SOFTCAP,
      SWIFTDPO_ERROR_LD_ALPHA,
      SWIFTDPO_ERROR_THREADS,
      SWIFTDPO_ERROR_SHARDED,
      SWIFTDPO_ERROR_NONFINITE,
      SWIFTDPO_ERROR_LABEL,
      SWIFTDPO_ERROR_NOT_A_RANKING,
      SWIFTDPO_ERROR_SOFT_LABEL,
      SWIFTDPO_ERROR_WEIGHT,
      SWIFTDPO_ERROR_OFFSETS,
      SWIFTDPO_ERROR_DIVERGENCE_KIND,
      SWIFTDPO_ERROR_LOG_PROBABILITY,
      SWIFTDPO_ERROR_SUPPORT,
      SWIFTDPO_ERROR_ACCUMULATOR,
      SWIFTDPO_ERROR_TERMS,
      SWIFTDPO_ERROR_STATE,
      SWIFTDPO_ERROR_CALLBACK,
      SWIFTDPO_ERROR_BOUND,
      SWIFTDPO_ERROR_OUT_OF_MEMORY,
      SWIFTDPO_ERROR_RANK,
      SWIFTDPO_ERROR_CHOICE_OF_INPUT,
      SWIFTDPO_ERROR_UNLISTED,
      SWIFTDPO_ERROR_TIE,
      SWIFTDPO_ERROR_TIE_STRENGTH,
      SWIFTDPO_ERROR_TARGET,
  };
  enum { COUNT = sizeof statuses / sizeof *statuses };
  const char *unknown = swiftdpo_status_string((swiftdpo_status)12345);
  CHECK(says_something(unknown));
  CHECK(same_text(unknown, swiftdpo_status_string((swiftdpo_status)-1)));
  for (size_t i = 0; i < COUNT; i++) {
    const char *sentence = swiftdpo_status_string(statuses[i]);
    CHECK(says_something(sentence));
    CHECK(sentence == swiftdpo_status_string(statuses[i])); /* static text */
    CHECK(!same_text(sentence, unknown));
    for (size_t j = 0; j < i; j++)
      CHECK(!same_text(sentence, swiftdpo_status_string(statuses[j])));
  }
}

static void test_build_info(void) {
  swiftdpo_build build = SWIFTDPO_BUILD_INIT;
  CHECK_OK(swiftdpo_build_info(&build));
  char version[32];
  snprintf(version, sizeof version, "%d.%d.%d", SWIFTDPO_VERSION_MAJOR, SWIFTDPO_VERSION_MINOR, SWIFTDPO_VERSION_PATCH);
  CHECK(same_text(build.version, version));
  CHECK(strstr(build.compiler, "Swift") != NULL);
  /* A wish of SWIFTDPO_ISA that this machine can't fulfil is told behind the name. */
  char set[16] = "";
  CHECK(sscanf(build.instruction_set, "%15s", set) == 1);
  CHECK(same_text(set, "baseline") || same_text(set, "avx2") || same_text(set, "avx512") || same_text(set, "neon"));
  CHECK(build.num_threads == swiftdpo_num_threads());

  CHECK_STATUS(SWIFTDPO_ERROR_NULL_POINTER, swiftdpo_build_info(NULL));
  build.struct_size = 0;
  build.version = "untouched";
  CHECK_STATUS(SWIFTDPO_ERROR_STRUCT_SIZE, swiftdpo_build_info(&build));
  CHECK(same_text(build.version, "untouched"));
}

static void test_number_of_threads(void) {
  const int32_t at_first = swiftdpo_num_threads();
  CHECK(at_first >= 1);
  CHECK_OK(swiftdpo_set_num_threads(3));
  CHECK(swiftdpo_num_threads() == 3);
  CHECK_STATUS(SWIFTDPO_ERROR_THREADS, swiftdpo_set_num_threads(-1));
  CHECK_STATUS(SWIFTDPO_ERROR_THREADS, swiftdpo_set_num_threads(1025));
  CHECK(swiftdpo_num_threads() == 3);
  CHECK_OK(swiftdpo_set_num_threads(0));
  CHECK(swiftdpo_num_threads() == at_first);
}

/** A program compiled against a newer header works as long as it asks for nothing new. */
static void test_structs_of_a_newer_header(void) {
  struct {
    swiftdpo_dpo_options known;
    uint64_t new_field;
  } options = {SWIFTDPO_DPO_OPTIONS_INIT, 0};
  options.known.struct_size = sizeof options;
  const double chosen = -1, rejected = -2;
  swiftdpo_pairs_f64 pairs = SWIFTDPO_PAIRS_F64_INIT;
  pairs.count = 1;
  pairs.policy_chosen_logps = &chosen;
  pairs.policy_rejected_logps = &rejected;
  double loss = -1;
  swiftdpo_pair_results_f64 results = SWIFTDPO_PAIR_RESULTS_F64_INIT;
  results.loss = &loss;
  CHECK_OK(swiftdpo_dpo_loss_f64(&pairs, &options.known, &results, NULL));
  CHECK(loss > 0);
  loss = -1;
  options.new_field = 1;
  CHECK_STATUS(SWIFTDPO_ERROR_STRUCT_SIZE, swiftdpo_dpo_loss_f64(&pairs, &options.known, &results, NULL));
  CHECK(loss == -1);
}

void test_library(void) {
  test_versions();
  test_versions_that_differ();
  test_status_strings();
  test_build_info();
  test_number_of_threads();
  test_structs_of_a_newer_header();
}
