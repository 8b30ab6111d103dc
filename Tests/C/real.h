/* Tests over log-probabilities are written once, for `real`, and compiled once for each dtype: -DREAL_BITS=32 or 64. */
#ifndef REAL_H
#define REAL_H

#include "check.h"

#if REAL_BITS == 32
typedef float real;
#define TYPED(name) name##_f32
#define INIT(STRUCT) SWIFTDPO_##STRUCT##_F32_INIT
#define REAL_EPSILON 0x1p-23
#define REAL_TINY 0x1p-149f
#define ULPS(value, exact) ulps_f32((value), (exact))
#define ULP_LIMIT 1.0 /* rounded from double */
#elif REAL_BITS == 64
typedef double real;
#define TYPED(name) name##_f64
#define INIT(STRUCT) SWIFTDPO_##STRUCT##_F64_INIT
#define REAL_EPSILON 0x1p-52
#define REAL_TINY 0x1p-1074
#define ULPS(value, exact) ulps_f64((value), (exact))
#define ULP_LIMIT 4.0
#endif

/* Plain DPO, of floats in single precision. */
#define PAIR_ULP_LIMIT 4.0

#define CHECK_REAL(value, exact) CHECK_ULPS(ULP_LIMIT, value, exact)

#define CHECK_ULPS(limit, value, exact) \
  do { \
    const real value_ = (value); \
    const long double exact_ = (exact); \
    check_that(ULPS(value_, exact_) <= (limit), __FILE__, __LINE__, "%s = %.17g, not %.20Lg (%.1f ulp)", #value, \
               (double)value_, exact_, ULPS(value_, exact_)); \
  } while (0)

/** Uniform in [low, high), the same numbers on every machine (a 64-bit linear congruential generator). */
static inline real random_real(uint64_t *state, double low, double high) {
  *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
  return (real)(low + (high - low) * (double)(*state >> 11) * 0x1p-53);
}

#endif
