#include "kernel_choice.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "platform.h"

// The choice is made before any call: no call pays for it, and no two calls race for it.
_Alignas(64) static unsigned char kernel_table[1024];
static const char *description;

#if defined(__aarch64__)
static const char *const names[] = {"neon"};
#else
static const char *const names[] = {"baseline", "avx2", "avx512"};
#endif
enum { builds = sizeof names / sizeof names[0] };

// The best that this machine has, or a lesser one that SWIFTDPO_ISA names.
__attribute__((constructor)) static void load(void) {
  static char complaint[64];
  int isa = platform_detect_isa();
  const char *fault = NULL;
  const char *wish = getenv("SWIFTDPO_ISA");
  if (wish && *wish) {
    int rank = 0;
    while (rank < builds && strcmp(wish, names[rank]) != 0)
      rank++;
    if (rank == builds)
      fault = "unknown";
    else if (rank > isa)
      fault = "not on this machine";
    else
      isa = rank;
  }
  description = names[isa];
  if (fault) {
    snprintf(complaint, sizeof complaint, "%s (SWIFTDPO_ISA=%.22s %s)", names[isa], wish, fault);
    description = complaint;
  }
  swiftdpo_load(kernel_table, isa);
}

const void *chosen_kernels(void) { return kernel_table; }

const char *chosen_isa(void) { return description; }
