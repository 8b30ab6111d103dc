#define _GNU_SOURCE // sched_getaffinity
#include "platform.h"

#include <math.h>
#include <sched.h>

int platform_processors(void) {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0)
    return 1;
  const int count = CPU_COUNT(&set);
  return count > 0 ? count : 1;
}

void platform_with_memory(void (*body)(void *context, void *memory), void *context) {
  _Alignas(64) unsigned char memory[PLATFORM_MEMORY];
  body(context, memory);
}

void platform_fma_by_lane(const double *x, const double *y, double *z) {
  for (int lane = 0; lane < 8; lane++)
    z[lane] = fma(x[lane], y[lane], z[lane]);
}

void platform_fmaf_by_lane(const float *x, const float *y, float *z) {
  for (int lane = 0; lane < 16; lane++)
    z[lane] = fmaf(x[lane], y[lane], z[lane]);
}
