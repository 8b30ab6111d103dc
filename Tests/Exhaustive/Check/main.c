// Every float, or every n-th, through the elementary functions, against libm in extended precision:
//   exp (f32)    every x up to 88: within 1 ulp where the result is normal, 0 below
//   for sums     the same, within 3 ulp, for logits of 16 bits
//   for halves   the same, within 120 ulp (7e-6 of the result), for results of 16 bits
//   exp (f64)    every x that is a float and whose result is finite and normal: within 1 ulp
//   exp for f32  every x of [-708, 0] that is a float: within 2^-34 of the result, 2^19 ulp at most
//   log (f64)    every positive float, subnormal ones among them: within 1 ulp
//   log1p (f64)  every float in [0, 1]: within 1 ulp
//   log1p (f32)  every float in [0, 1]: within 3 ulp
//   sigma (f32)  every float z with |z| < 80, sigma(-z) within 3 ulp and log1p(e^-|z|) within 3.5 ulp
// Usage: exhaustive [n]
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void probe_exp_f32(ptrdiff_t count, const float *x, float *y);
void probe_exp_f64(ptrdiff_t count, const double *x, double *y);
void probe_exp_of_margin(ptrdiff_t count, const double *x, double *y);
void probe_log_f64(ptrdiff_t count, const double *x, double *y);
void probe_log1p_f64(ptrdiff_t count, const double *x, double *y);
void probe_log1p_f32(ptrdiff_t count, const float *x, float *y);
void probe_logistic_f32(ptrdiff_t count, const float *z, float *y);

enum { CHUNK = 4096 };

typedef struct {
  const char *name;
  double bound; // in ulps
  long long values, failures;
  double worst; // in ulps
  float worst_at;
} tally;

static void note(tally *t, float x, double ulps) {
  t->values++;
  if (!(ulps <= t->bound)) {
    t->failures++;
  }
  if (!(ulps <= t->worst)) {
    t->worst = ulps;
    t->worst_at = x;
  }
}

static double ulps_f32(float got, long double exact) {
  const float near = (float)exact;
  const double ulp = (double)nextafterf(fabsf(near), INFINITY) - fabs((double)near);
  return (double)(fabsl((long double)got - exact) / ulp);
}

static double ulps_f64(double got, long double exact) {
  if ((long double)got == exact)
    return 0;
  const double near = (double)exact;
  const long double ulp = (long double)nextafter(fabs(near), INFINITY) - fabsl((long double)near);
  return (double)(fabsl((long double)got - exact) / ulp);
}

int main(int argc, char **argv) {
  const uint32_t step = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 1;
  if (step == 0)
    return fprintf(stderr, "usage: exhaustive [n >= 1]\n"), 2;
  tally exp32 = {.name = "exp f32", .bound = 1}, sums = {.name = "for sums", .bound = 3};
  tally halves = {.name = "for halves", .bound = 120}, exp64 = {.name = "exp f64", .bound = 1};
  tally for32 = {.name = "exp for f32", .bound = 0x1p19};
  tally log64 = {.name = "log f64", .bound = 1}, log1p64 = {.name = "log1p f64", .bound = 1};
  tally log1p32 = {.name = "log1p f32", .bound = 3};
  tally sigma = {.name = "sigma f32", .bound = 3}, loss = {.name = "-log sigma", .bound = 3.5};
  tally *const rows[] = {&exp32, &sums, &halves};
  static float x[CHUNK], e[3 * CHUNK], single_unit[CHUNK], single_log1ps[CHUNK], logistic[2 * CHUNK];
  static double wide[CHUNK], unit[CHUNK], exponential[CHUNK], coarse[CHUNK], logarithm[CHUNK], log1ps[CHUNK];

  for (uint64_t bits = 0; bits < UINT64_C(1) << 32; bits += (uint64_t)step * CHUNK) {
    for (int i = 0; i < CHUNK; i++) {
      const uint32_t pattern = (uint32_t)(bits + (uint64_t)i * step);
      memcpy(&x[i], &pattern, sizeof pattern);
      wide[i] = x[i];
      single_unit[i] = x[i] >= 0 && x[i] <= 1 ? x[i] : 0;
      unit[i] = single_unit[i];
    }
    probe_exp_f32(CHUNK, x, e);
    probe_exp_f64(CHUNK, wide, exponential);
    probe_exp_of_margin(CHUNK, wide, coarse);
    probe_log_f64(CHUNK, wide, logarithm);
    probe_log1p_f64(CHUNK, unit, log1ps);
    probe_log1p_f32(CHUNK, single_unit, single_log1ps);
    probe_logistic_f32(CHUNK, x, logistic);
    for (int i = 0; i < CHUNK && bits + (uint64_t)i * step < UINT64_C(1) << 32; i++) {
      if (isnan(x[i])) {
        for (int j = 0; j < 3; j++)
          note(rows[j], x[i], isnan(e[i + j * CHUNK]) ? 0 : INFINITY);
        note(&exp64, x[i], isnan(exponential[i]) ? 0 : INFINITY);
        note(&for32, x[i], isnan(coarse[i]) ? 0 : INFINITY);
        note(&log64, x[i], isnan(logarithm[i]) ? 0 : INFINITY);
        continue;
      }
      if (x[i] <= 88) {
        const long double exact = expl((long double)x[i]);
        for (int j = 0; j < 3; j++) {
          const float got = e[i + j * CHUNK];
          // Where the normal range ends, the next floats below may still have their results.
          if (exact >= 0x1p-126L || (got != 0 && exact > 0x1.ffffp-127L))
            note(rows[j], x[i], ulps_f32(got, exact));
          else
            note(rows[j], x[i], got == 0 ? 0 : INFINITY);
        }
      }
      if (fabsf(x[i]) <= 700)
        note(&exp64, x[i], ulps_f64(exponential[i], expl((long double)x[i])));
      if (x[i] <= 0) {
        // e^0 is exactly 1. What no single can hold is as small as it may be.
        if (x[i] == 0 || isinf(x[i]))
          note(&for32, x[i], coarse[i] == (x[i] == 0) ? 0 : INFINITY);
        else if (x[i] < -708)
          note(&for32, x[i], coarse[i] > 0 && coarse[i] < 0x1p-1020 ? 0 : INFINITY);
        else
          note(&for32, x[i], ulps_f64(coarse[i], expl((long double)x[i])));
      }
      if (x[i] > 0 && isfinite(x[i]))
        note(&log64, x[i], ulps_f64(logarithm[i], logl((long double)x[i])));
      if (x[i] < 0)
        note(&log64, x[i], isnan(logarithm[i]) ? 0 : INFINITY);
      if (x[i] >= 0 && x[i] <= 1) {
        const long double exact = log1pl((long double)x[i]);
        note(&log1p64, x[i], ulps_f64(log1ps[i], exact));
        note(&log1p32, x[i], ulps_f32(single_log1ps[i], exact));
      }
      if (fabsf(x[i]) < 80) {
        const long double exponential = expl(-fabsl((long double)x[i]));
        note(&sigma, x[i], ulps_f32(logistic[i], (x[i] < 0 ? 1 : exponential) / (1 + exponential)));
        note(&loss, x[i], ulps_f32(logistic[CHUNK + i], fmaxl(-(long double)x[i], 0) + log1pl(exponential)));
      }
    }
  }

  int failed = 0;
  const tally *all[] = {&exp32, &sums, &halves, &exp64, &for32, &log64, &log1p64, &log1p32, &sigma, &loss};
  for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
    printf("%-11s %11lld values, worst %.3f ulp at %a, %lld above %.2f ulp\n", all[i]->name, all[i]->values,
           all[i]->worst, (double)all[i]->worst_at, all[i]->failures, all[i]->bound);
    failed |= all[i]->failures != 0 || all[i]->values == 0;
  }
  return failed;
}
