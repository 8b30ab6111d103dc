#define _GNU_SOURCE // sched_getaffinity
#include "platform.h"

#include <math.h>
#include <sched.h>
#include <sys/mman.h>

int platform_processors(void) {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0)
    return 1;
  const int count = CPU_COUNT(&set);
  return count > 0 ? count : 1;
}

void *platform_take_memory(size_t size) {
  enum { huge_page = 1 << 21 };
  const int is_large = size >= 2 * (size_t)huge_page;
  void *memory;
  if (posix_memalign(&memory, is_large ? huge_page : 64, size > 0 ? size : 1) != 0)
    return NULL;
  if (is_large)
    madvise(memory, size, MADV_HUGEPAGE); // a wish: without it the memory is as good, and its first use slower
  return memory;
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
