/* A matrix product for the fused linear head. */
#ifndef MULTIPLY_H
#define MULTIPLY_H

#include <stddef.h>

typedef struct work {
  int products;
  size_t multiplications;
} work;

/** Sums from the first term to the last. `context`, if there is one, is the work so far. */
static inline void multiply(void *context, int transpose_a, int transpose_b, size_t m, size_t n, size_t k,
                            const float *a, size_t lda, const float *b, size_t ldb, float beta, float *c, size_t ldc) {
  if (context) {
    ((work *)context)->products++;
    ((work *)context)->multiplications += m * n * k;
  }
  for (size_t i = 0; i < m; i++)
    for (size_t j = 0; j < n; j++) {
      float sum = 0;
      for (size_t l = 0; l < k; l++)
        sum += (transpose_a ? a[l * lda + i] : a[i * lda + l]) * (transpose_b ? b[j * ldb + l] : b[l * ldb + j]);
      c[i * ldc + j] = beta == 0 ? sum : c[i * ldc + j] + sum;
    }
}

#endif
