/* The library itself, and the _init functions of the structs. */
#include <string.h>

#include "calls.h"

void version(call *c) {
  uint32_t number = 0;
  CALL_VOID(c, number = swiftdpo_version());
  if (number != SWIFTDPO_VERSION)
    fail(c, "%u", number);
}

void abi_version(call *c) {
  uint32_t number = UINT32_MAX;
  CALL_VOID(c, number = swiftdpo_abi_version());
  if (number != SWIFTDPO_ABI_VERSION)
    fail(c, "%u", number);
}

void status_string(call *c) {
  const char *sentence = NULL;
  const swiftdpo_status status = (swiftdpo_status)((int)pick(c, 256) - 64);
  CALL_VOID(c, sentence = swiftdpo_status_string(status));
  if (!sentence || strlen(sentence) == 0)
    fail(c, "a status has no sentence");
}

void set_num_threads(call *c) {
  const int32_t threads = (int32_t)pick(c, 5) - (fault(c) ? 7 : 0);
  CALL(c, swiftdpo_set_num_threads(threads));
}

void num_threads(call *c) {
  int32_t threads = 0;
  CALL_VOID(c, threads = swiftdpo_num_threads());
  if (threads < 1)
    fail(c, "%d threads", threads);
}

void build_info(call *c) {
  swiftdpo_build *build =
      (swiftdpo_build *)structure(c, &(const swiftdpo_build)SWIFTDPO_BUILD_INIT, sizeof *build, SCRATCH);
  CALL(c, swiftdpo_build_info(build));
}

void blas_info(call *c) {
  swiftdpo_blas *blas = (swiftdpo_blas *)structure(c, &(const swiftdpo_blas)SWIFTDPO_BLAS_INIT, sizeof *blas, SCRATCH);
  CALL(c, swiftdpo_blas_info(blas));
}

/* An _init function writes the whole struct; what it writes is for Tests/C/abi.c. */
#define INIT_FUNCTION(name) \
  void name##_init(call *c) { \
    swiftdpo_##name *made = structure(c, &(const swiftdpo_##name){0}, sizeof *made, SCRATCH); \
    CALL_VOID(c, swiftdpo_##name##_init(made)); \
  }
INIT_FUNCTIONS(INIT_FUNCTION)
