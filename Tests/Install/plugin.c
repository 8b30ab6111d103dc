/* A program that was not linked with the library, and opens it by the path in its argument. */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <swiftdpo.h>

/* ISO C has no conversion from void * to a function; POSIX promises that the representations agree. */
#define LOOK_UP(library, function) \
  do { \
    void *const symbol = dlsym((library), #function); \
    memcpy(&(function##_), &symbol, sizeof symbol); \
  } while (0)

static uint32_t (*swiftdpo_version_)(void);
static uint32_t (*swiftdpo_abi_version_)(void);
static swiftdpo_status (*swiftdpo_dpo_loss_f32_)(const swiftdpo_pairs_f32 *, const swiftdpo_dpo_options *,
                                                 const swiftdpo_pair_results_f32 *, swiftdpo_culprit *);

/* The header's check, through the pointers. */
#define swiftdpo_version() swiftdpo_version_()
#define swiftdpo_abi_version() swiftdpo_abi_version_()

int main(int argc, char **argv) {
  void *const library = argc == 2 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
  if (library == NULL) {
    fprintf(stderr, "%s\n", argc == 2 ? dlerror() : "usage: plugin LIBRARY");
    return 1;
  }
  LOOK_UP(library, swiftdpo_version);
  LOOK_UP(library, swiftdpo_abi_version);
  LOOK_UP(library, swiftdpo_dpo_loss_f32);
  if (!SWIFTDPO_CHECK_VERSION())
    return 1;

  double loss = 0;
  swiftdpo_pairs_f32 pairs = SWIFTDPO_PAIRS_F32_INIT;
  const float chosen = -10, not_a_number = chosen * 0 / 0.0f;
  pairs.count = 1;
  pairs.policy_chosen_logps = &chosen;
  pairs.policy_rejected_logps = &not_a_number;
  swiftdpo_pair_results_f32 results = SWIFTDPO_PAIR_RESULTS_F32_INIT;
  results.loss = &loss;
  swiftdpo_culprit culprit = {NULL, 0};
  if (swiftdpo_dpo_loss_f32_(&pairs, NULL, &results, &culprit) != SWIFTDPO_ERROR_NONFINITE)
    return 1;
  printf("blamed %s[%zu]\n", culprit.argument, culprit.index);
  pairs.policy_rejected_logps = &chosen;
  if (swiftdpo_dpo_loss_f32_(&pairs, NULL, &results, NULL) != SWIFTDPO_OK)
    return 1;
  printf("loss %.7f\n", loss);
  return dlclose(library);
}
