/* A BLAS in a few lines: sums run from the first term to the last. Compiled by test_fused.py under the names and with the
 * integers that real ones have. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifndef GEMM
#define GEMM cblas_sgemm
#define INT int
#endif

enum { row_major = 101, transposed = 112 };

static float widen(const void *x, int64_t i, int half) {
  if (!half)
    return ((const float *)x)[i];
  uint32_t bits = (uint32_t)((const uint16_t *)x)[i] << 16;
  float value;
  memcpy(&value, &bits, 4);
  return value;
}
#ifdef PARALLEL /* as OpenBLAS says it: 1: threads of its own, which a call sets to one and back; 2: OpenMP's, left alone */
static int threads = 3;
int openblas_get_parallel(void) { return PARALLEL; }
int openblas_get_num_threads(void) { return threads; }
void openblas_set_num_threads(int number) { threads = number; }
__attribute__((destructor)) static void check_threads(void) {
  if (threads != 3)
    abort();
}
#endif
static void multiply(int half, int ta, int tb, int64_t m, int64_t n, int64_t k, const void *a, int64_t lda,
                     const void *b, int64_t ldb, float beta, float *c, int64_t ldc) {
#ifdef PARALLEL
  if (threads != (PARALLEL == 1 ? 1 : 3))
    abort();
#endif
  for (int64_t i = 0; i < m; i++)
    for (int64_t j = 0; j < n; j++) {
      float sum = 0;
      for (int64_t l = 0; l < k; l++)
        sum += widen(a, ta == transposed ? l * lda + i : i * lda + l, half) *
               widen(b, tb == transposed ? j * ldb + l : l * ldb + j, half);
      c[i * ldc + j] = beta == 0 ? sum : beta * c[i * ldc + j] + sum;
    }
}
void GEMM(int order, int ta, int tb, INT m, INT n, INT k, float alpha, const float *a, INT lda, const float *b, INT ldb,
          float beta, float *c, INT ldc) {
  if (order != row_major || alpha != 1)
    abort();
  multiply(0, ta, tb, m, n, k, a, lda, b, ldb, beta, c, ldc);
}
#ifdef BF16_GEMM
void BF16_GEMM(int order, int ta, int tb, INT m, INT n, INT k, float alpha, const uint16_t *a, INT lda,
               const uint16_t *b, INT ldb, float beta, float *c, INT ldc) {
  if (order != row_major || alpha != 1)
    abort();
  multiply(1, ta, tb, m, n, k, a, lda, b, ldb, beta, c, ldc);
}
#endif
#ifdef CONFIG
char *openblas_get_config(void) { return CONFIG; }
#endif
