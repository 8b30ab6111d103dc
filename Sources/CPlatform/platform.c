#define _GNU_SOURCE  // sched_getaffinity
#include "platform.h"

#include <math.h>
#include <sched.h>

// The choice of kernels is made when the library is loaded: no call pays for it, and no two calls race for it.
_Alignas(64) static unsigned char kernel_table[1024];
static int isa_in_use;

__attribute__((constructor)) static void platform_load(void) { isa_in_use = swiftdpo_load(kernel_table); }

const void *platform_kernels(void) { return kernel_table; }

int platform_isa_in_use(void) { return isa_in_use; }

int platform_processors(void) {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  const int count = CPU_COUNT(&set);
  return count > 0 ? count : 1;
}

void platform_fma_by_lane(const double *x, const double *y, double *z) {
  for (int lane = 0; lane < 8; lane++) z[lane] = fma(x[lane], y[lane], z[lane]);
}

void platform_fmaf_by_lane(const float *x, const float *y, float *z) {
  for (int lane = 0; lane < 16; lane++) z[lane] = fmaf(x[lane], y[lane], z[lane]);
}
