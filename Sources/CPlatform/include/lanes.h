// Vector operations that Swift's SIMD types lack, or would do lane by lane. Each build of the kernels compiles its own.
#ifndef SWIFTDPO_LANES_H
#define SWIFTDPO_LANES_H

#include <math.h>

typedef float platform_f32x8 __attribute__((ext_vector_type(8)));
typedef float platform_f32x16 __attribute__((ext_vector_type(16)));
typedef double platform_f64x8 __attribute__((ext_vector_type(8)));

static inline platform_f64x8 platform_widen(platform_f32x8 x) { return __builtin_convertvector(x, platform_f64x8); }
static inline platform_f32x8 platform_narrow(platform_f64x8 x) { return __builtin_convertvector(x, platform_f32x8); }

// x * y + z, rounded once, on every machine: the same bits everywhere rest on it. A processor without the instruction
// (the baseline of x86-64) calls libm for each lane, out of line, since the kernels are full of these.
#if defined(__FMA__) || defined(__aarch64__)
static inline platform_f64x8 platform_fma(platform_f64x8 x, platform_f64x8 y, platform_f64x8 z) {
  return __builtin_elementwise_fma(x, y, z);
}
static inline platform_f32x16 platform_fmaf(platform_f32x16 x, platform_f32x16 y, platform_f32x16 z) {
  return __builtin_elementwise_fma(x, y, z);
}
#else
void platform_fma_by_lane(const double *x, const double *y, double *z);
void platform_fmaf_by_lane(const float *x, const float *y, float *z);

static inline platform_f64x8 platform_fma(platform_f64x8 x, platform_f64x8 y, platform_f64x8 z) {
  platform_fma_by_lane((const double *)&x, (const double *)&y, (double *)&z);
  return z;
}
static inline platform_f32x16 platform_fmaf(platform_f32x16 x, platform_f32x16 y, platform_f32x16 z) {
  platform_fmaf_by_lane((const float *)&x, (const float *)&y, (float *)&z);
  return z;
}
#endif

#endif
