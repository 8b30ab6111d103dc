// Vector operations that Swift's SIMD types lack, or would do lane by lane. Each build of the kernels compiles its own.
#ifndef SWIFTDPO_LANES_H
#define SWIFTDPO_LANES_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#include "platform.h"

typedef float platform_f32x8 __attribute__((ext_vector_type(8)));
typedef float platform_f32x16 __attribute__((ext_vector_type(16)));
typedef double platform_f64x8 __attribute__((ext_vector_type(8)));
typedef uint16_t platform_u16x16 __attribute__((ext_vector_type(16)));
typedef uint32_t platform_u32x16 __attribute__((ext_vector_type(16)));
typedef int32_t platform_i32x16 __attribute__((ext_vector_type(16)));

typedef long long platform_i64x8 __attribute__((ext_vector_type(8)));

// x where the mask is set, y elsewhere.
static inline platform_f64x8 platform_select(platform_i64x8 mask, platform_f64x8 x, platform_f64x8 y) {
  return mask ? x : y;
}

static inline platform_f32x16 platform_select_single(platform_i32x16 mask, platform_f32x16 x, platform_f32x16 y) {
  return mask ? x : y;
}
static inline platform_i32x16 platform_exceeds(platform_i32x16 x, int32_t bound) { return x > bound; }

static inline platform_f32x16 platform_sum_singles(platform_f32x16 x, platform_f32x16 y) { return x + y; }

static inline platform_f64x8 platform_widen(platform_f32x8 x) { return __builtin_convertvector(x, platform_f64x8); }
static inline platform_f32x8 platform_narrow(platform_f64x8 x) { return __builtin_convertvector(x, platform_f32x8); }

static inline platform_f64x8 platform_sum(platform_f64x8 x, platform_f64x8 y) { return x + y; }
static inline platform_f64x8 platform_difference(platform_f64x8 x, platform_f64x8 y) { return x - y; }
static inline platform_f64x8 platform_product(platform_f64x8 x, platform_f64x8 y) { return x * y; }
static inline platform_f64x8 platform_quotient(platform_f64x8 x, platform_f64x8 y) { return x / y; }

static inline platform_f64x8 platform_widen_low(platform_f32x16 x) {
  return __builtin_convertvector(x.lo, platform_f64x8);
}
static inline platform_f64x8 platform_widen_high(platform_f32x16 x) {
  return __builtin_convertvector(x.hi, platform_f64x8);
}
static inline platform_f32x16 platform_narrow_both(platform_f64x8 low, platform_f64x8 high) {
  return __builtin_shufflevector(__builtin_convertvector(low, platform_f32x8),
                                 __builtin_convertvector(high, platform_f32x8), 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11,
                                 12, 13, 14, 15);
}

// The first `count` lanes, and 0 in the others; any count.
static inline platform_f64x8 platform_first_lanes(platform_f64x8 x, int64_t count) {
  const platform_i64x8 lanes = {0, 1, 2, 3, 4, 5, 6, 7};
  return (platform_f64x8)((platform_i64x8)x & (lanes < count));
}

// The lower and the upper halves of sixteen doubles' bits.
static inline platform_u32x16 platform_lower_words(platform_f64x8 low, platform_f64x8 high) {
  return __builtin_shufflevector((platform_u32x16)low, (platform_u32x16)high, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22,
                                 24, 26, 28, 30);
}
// The first one, in all lanes.
static inline platform_u32x16 platform_first_word(platform_f64x8 x) {
  return __builtin_shufflevector((platform_u32x16)x, (platform_u32x16)x, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                                 0);
}
static inline platform_u32x16 platform_upper_words_in_any_order(platform_f64x8 low, platform_f64x8 high) {
  // An order that doesn't cross quarters of a register.
  return __builtin_shufflevector((platform_u32x16)low, (platform_u32x16)high, 1, 3, 17, 19, 5, 7, 21, 23, 9, 11, 25, 27,
                                 13, 15, 29, 31);
}

static inline platform_u32x16 platform_larger_words(platform_u32x16 x, platform_u32x16 y) {
  return __builtin_elementwise_max(x, y);
}
static inline platform_u32x16 platform_smaller_words(platform_u32x16 x, platform_u32x16 y) {
  return __builtin_elementwise_min(x, y);
}
static inline platform_i32x16 platform_larger(platform_i32x16 x, platform_i32x16 y) {
  return __builtin_elementwise_max(x, y);
}
static inline platform_i32x16 platform_magnitude(platform_i32x16 x) { return __builtin_elementwise_abs(x); }
static inline platform_f32x16 platform_singles(platform_i32x16 x) {
  return __builtin_convertvector(x, platform_f32x16);
}

static inline bool platform_any(platform_i64x8 mask) { return __builtin_reduce_or(mask) != 0; }
static inline uint32_t platform_largest_word(platform_u32x16 x) { return __builtin_reduce_max(x); }
static inline uint32_t platform_smallest_word(platform_u32x16 x) { return __builtin_reduce_min(x); }

// The first `count` of sixteen floats; 0 in the other lanes.
#if defined(__AVX512F__)
static inline platform_f32x16 platform_load_first(const float *array, size_t count) {
  return (platform_f32x16)__builtin_ia32_loadups512_mask(array, (platform_f32x16)(0.0f), (uint16_t)((1u << count) - 1));
}
static inline void platform_store_first(platform_f32x16 x, float *array, size_t count) {
  __builtin_ia32_storeups512_mask(array, x, (uint16_t)((1u << count) - 1));
}
#elif defined(__AVX2__)
static inline platform_f32x16 platform_load_first(const float *array, size_t count) {
  const platform_i32x16 lanes = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  const platform_i32x16 mask = lanes < (int32_t)count;
  platform_f32x16 x;
  x.lo = __builtin_ia32_maskloadps256((const void *)array, mask.lo);
  x.hi = __builtin_ia32_maskloadps256((const void *)(array + 8), mask.hi);
  return x;
}
static inline void platform_store_first(platform_f32x16 x, float *array, size_t count) {
  // The first alone is stored from its register; the instruction with a mask is a slow one.
  array[0] = x[0];
  if (count > 1)
    memcpy(array + 1, (const float *)&x + 1, (count - 1) * sizeof *array);
}
#else
static inline platform_f32x16 platform_load_first(const float *array, size_t count) {
  platform_f32x16 x = 0;
  memcpy(&x, array, count * sizeof *array);
  return x;
}
static inline void platform_store_first(platform_f32x16 x, float *array, size_t count) {
  memcpy(array, &x, count * sizeof *array);
}
#endif

// Eight vectors of eight become their transpose, by halves, quarters and eighths.
static inline void platform_transpose(void *vectors) {
  platform_f64x8 *const rows = (platform_f64x8 *)vectors;
  platform_f64x8 pairs[8], quads[8];
  for (int i = 0; i < 8; i += 2) {
    pairs[i] = __builtin_shufflevector(rows[i], rows[i + 1], 0, 8, 2, 10, 4, 12, 6, 14);
    pairs[i + 1] = __builtin_shufflevector(rows[i], rows[i + 1], 1, 9, 3, 11, 5, 13, 7, 15);
  }
  for (int i = 0; i < 8; i += 4) {
    for (int j = 0; j < 2; j++) {
      quads[i + j] = __builtin_shufflevector(pairs[i + j], pairs[i + j + 2], 0, 1, 8, 9, 4, 5, 12, 13);
      quads[i + j + 2] = __builtin_shufflevector(pairs[i + j], pairs[i + j + 2], 2, 3, 10, 11, 6, 7, 14, 15);
    }
  }
  for (int i = 0; i < 4; i++) {
    rows[i] = __builtin_shufflevector(quads[i], quads[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
    rows[i + 4] = __builtin_shufflevector(quads[i], quads[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
  }
}

static inline void platform_transpose_singles(void *vectors) {
  platform_f32x8 *const rows = (platform_f32x8 *)vectors;
  platform_f32x8 pairs[8], quads[8];
  for (int i = 0; i < 8; i += 2) {
    pairs[i] = __builtin_shufflevector(rows[i], rows[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
    pairs[i + 1] = __builtin_shufflevector(rows[i], rows[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
  }
  for (int i = 0; i < 8; i += 4) {
    for (int j = 0; j < 2; j++) {
      quads[i + 2 * j] = __builtin_shufflevector(pairs[i + j], pairs[i + j + 2], 0, 1, 8, 9, 4, 5, 12, 13);
      quads[i + 2 * j + 1] = __builtin_shufflevector(pairs[i + j], pairs[i + j + 2], 2, 3, 10, 11, 6, 7, 14, 15);
    }
  }
  for (int i = 0; i < 4; i++) {
    rows[i] = __builtin_shufflevector(quads[i], quads[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
    rows[i + 4] = __builtin_shufflevector(quads[i], quads[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
  }
}

static inline void platform_prefetch(const void *address) { __builtin_prefetch(address); }

// Whether this build has the multiply-add as an instruction. Elementary functions are inlined where it does; where each
// multiply-add is a call already, one copy of each function serves the whole library.
//
// x * y + z, rounded once, on every machine: the same bits everywhere rest on it. A processor without the instruction
// (the baseline of x86-64) calls libm for each lane, out of line, since the kernels are full of these.
#if defined(__FMA__) || defined(__aarch64__)
static inline bool platform_has_fma(void) { return true; }

static inline platform_f64x8 platform_fma(platform_f64x8 x, platform_f64x8 y, platform_f64x8 z) {
  return __builtin_elementwise_fma(x, y, z);
}
static inline platform_f32x16 platform_fmaf(platform_f32x16 x, platform_f32x16 y, platform_f32x16 z) {
  return __builtin_elementwise_fma(x, y, z);
}
#else
static inline bool platform_has_fma(void) { return false; }

static inline platform_f64x8 platform_fma(platform_f64x8 x, platform_f64x8 y, platform_f64x8 z) {
  platform_fma_by_lane((const double *)&x, (const double *)&y, (double *)&z);
  return z;
}
static inline platform_f32x16 platform_fmaf(platform_f32x16 x, platform_f32x16 y, platform_f32x16 z) {
  platform_fmaf_by_lane((const float *)&x, (const float *)&y, (float *)&z);
  return z;
}
#endif

// Half precision. Reading is exact; writing rounds to nearest, ties to even. Any NaN becomes a quiet NaN.

static inline platform_f32x16 platform_from_bf16(platform_u16x16 x) {
  const platform_u32x16 bits = __builtin_convertvector(x, platform_u32x16) << 16;
  return (platform_f32x16)bits;
}

static inline platform_u16x16 platform_to_bf16(platform_f32x16 x) {
  const platform_u32x16 bits = (platform_u32x16)x;
  const platform_u32x16 rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  const platform_i32x16 nan = x != x;
  return __builtin_convertvector((rounded & ~(platform_u32x16)nan) | (0x7fc0 & (platform_u32x16)nan), platform_u16x16);
}

#if defined(__F16C__) || defined(__aarch64__)
typedef _Float16 platform_f16x16 __attribute__((ext_vector_type(16)));

static inline platform_f32x16 platform_from_f16(platform_u16x16 x) {
  return __builtin_convertvector((platform_f16x16)x, platform_f32x16);
}
static inline platform_u16x16 platform_to_f16(platform_f32x16 x) {
  const platform_u32x16 nan = (platform_u32x16)(x != x);
  const platform_u32x16 bits =
      __builtin_convertvector((platform_u16x16) __builtin_convertvector(x, platform_f16x16), platform_u32x16);
  return __builtin_convertvector((bits & ~nan) | (0x7e00 & nan), platform_u16x16);
}
#else
static inline platform_f32x16 platform_from_f16(platform_u16x16 x) {
  const platform_u32x16 bits = __builtin_convertvector(x, platform_u32x16);
  // The exponent moves by a multiplication, which also normalises subnormal halves.
  const platform_f32x16 moved = (platform_f32x16)((bits & 0x7fff) << 13) * 0x1p112f;
  const platform_u32x16 special = (platform_u32x16)((bits & 0x7c00) == 0x7c00);
  const platform_u32x16 magnitude = (platform_u32x16)moved | (special & 0x7f800000);
  return (platform_f32x16)(magnitude | ((bits & 0x8000) << 16));
}
static inline platform_u16x16 platform_to_f16(platform_f32x16 x) {
  const platform_u32x16 sign = ((platform_u32x16)x >> 16) & 0x8000;
  const platform_u32x16 magnitude = (platform_u32x16)x & 0x7fffffff;
  // Normal halves: rebias, then round to nearest even. Subnormal ones: an addition rounds at their last place.
  const platform_u32x16 normal = (magnitude - (112u << 23) + 0xfff + ((magnitude >> 13) & 1)) >> 13;
  const platform_u32x16 subnormal = (platform_u32x16)((platform_f32x16)magnitude + 0.5f) - 0x3f000000;
  const platform_u32x16 small = (platform_u32x16)(magnitude < (113u << 23));
  const platform_u32x16 large = (platform_u32x16)(magnitude >= 0x477ff000);
  const platform_u32x16 nan = (platform_u32x16)(x != x);
  platform_u32x16 half = (subnormal & small) | (normal & ~small);
  half = (half & ~large) | (0x7c00 & large);
  half = ((half | sign) & ~nan) | (0x7e00 & nan);
  return __builtin_convertvector(half, platform_u16x16);
}
#endif

#endif
