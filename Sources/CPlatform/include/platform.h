// What the core needs of the machine and of libc, for Swift to import.
#ifndef SWIFTDPO_PLATFORM_H
#define SWIFTDPO_PLATFORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

// z = x * y + z for eight doubles or sixteen floats, each rounded once.
void platform_fma_by_lane(const double *x, const double *y, double *z);
void platform_fmaf_by_lane(const float *x, const float *y, float *z);

// Rooms on the stack that are written before they are read, so that no call clears them. Swift would.

// For 64 pairs of addresses (SwiftDPO/Ledger.swift).
typedef struct platform_room {
  uint64_t words[128];
} platform_room;

static inline platform_room platform_unset_room(void) {
  platform_room room;
  return room;
}

// For eight blocks of at most eleven vectors of 64 bytes, from the first multiple of 64 on (Kernels/Pairwise.swift,
// PairwiseInSingle.swift, Seldom/PairwiseOfLogRatios.swift).
typedef struct platform_blocks {
  uint64_t words[8 * 11 * 8 + 8];
} platform_blocks;

static inline platform_blocks platform_unset_blocks(void) {
  platform_blocks room;
  return room;
}

// Whether one of three results, of `size` bytes but the number, of eight, has a byte of one of four inputs of `size`
// bytes. By the lower halves of addresses, in one comparison for all inputs: so stretches that lie whole multiples of
// 4 GiB apart are said to overlap.
static inline bool platform_may_overlap(const void *const *inputs, uint32_t size, uintptr_t number, uintptr_t first,
                                        uintptr_t second) {
  typedef uint32_t addresses __attribute__((ext_vector_type(4)));
  typedef int32_t distances __attribute__((ext_vector_type(4)));
  const addresses begin = {(uint32_t)(uintptr_t)inputs[0], (uint32_t)(uintptr_t)inputs[1],
                           (uint32_t)(uintptr_t)inputs[2], (uint32_t)(uintptr_t)inputs[3]};
  const distances to_number = (distances)((uint32_t)number - begin);
  const distances to_first = (distances)((uint32_t)first - begin);
  const distances to_second = (distances)((uint32_t)second - begin);
  const distances end = (distances)(addresses)size;
  const distances overlap = ((to_number < end) & (to_number > -8)) | ((to_first < end) & (to_first > -end)) |
                            ((to_second < end) & (to_second > -end));
  return __builtin_reduce_or(overlap) != 0;
}

// The processors that this process may run on.
int platform_processors(void);

// The number of threads that was chosen; 0: none yet. Safe from any thread.
int platform_threads(void);
void platform_set_threads(int threads);

// Runs body(context, task) for each task below `tasks`, on this thread and up to `threads` - 1 workers.
void platform_parallel(size_t tasks, int threads, void (*body)(void *context, size_t task), void *context);

// The next number, for threads that share a counter.
static inline size_t platform_take_number(size_t *counter) { return __atomic_fetch_add(counter, 1, __ATOMIC_RELAXED); }

// Waits until as many as `turn` have passed theirs.
void platform_await_turn(const size_t *passed, size_t turn);
static inline void platform_pass_turn(size_t *passed) { __atomic_fetch_add(passed, 1, __ATOMIC_RELEASE); }

// Runs body(context, memory) with as much memory on the stack, aligned to 64 and not initialised.
#define PLATFORM_MEMORY 59392
void platform_with_memory(void (*body)(void *context, void *memory), void *context);

// Memory aligned to 64, in large pages where it is large and the system has them; for free(). NULL: there is none.
void *platform_take_memory(size_t size);

// A BLAS. Those that were found live as long as the process.
typedef struct platform_blas {
  const char *path;     // of its file
  const char *function; // the name of `gemm`
  void *gemm;
  void *bf16_gemm;                       // NULL: it has none
  int integer_bits;                      // of its sizes
  struct platform_blas_threads *threads; // NULL: it cannot be told how many to use
} platform_blas;

// The one in use, after looking for one if need be; NULL: there is none. Safe from any thread.
const platform_blas *platform_current_blas(void);

// Takes the one at `path` from now on; NULL: looks for one. NULL if there is none: then the last one stays.
const platform_blas *platform_use_blas(const char *path);

// From begin to end products run on the thread that asks for them, so that several threads can ask at once. Only for a
// BLAS whose threads are known.
void platform_begin_products(const platform_blas *blas);
void platform_end_products(const platform_blas *blas);

// c = op(a) op(b) + beta c, row-major; a and b of bf16 if so said, else of f32.
void platform_multiply(const platform_blas *blas, int bf16, int transpose_a, int transpose_b, size_t m, size_t n,
                       size_t k, const void *a, size_t lda, const void *b, size_t ldb, float beta, float *c,
                       size_t ldc);

enum platform_isa { platform_isa_baseline = 0, platform_isa_avx2 = 1, platform_isa_avx512 = 2 };

#if defined(__x86_64__)
// The x86-64 level that both the processor and the operating system support: v4 (avx512), v3 (avx2) or less.
static inline int platform_detect_isa(void) {
  unsigned a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d))
    return platform_isa_baseline;
  const unsigned v3_1 = bit_FMA | bit_OSXSAVE | bit_AVX | bit_F16C | bit_MOVBE;
  if ((c & v3_1) != v3_1)
    return platform_isa_baseline;
  unsigned xcr0, high;
  __asm__("xgetbv" : "=a"(xcr0), "=d"(high) : "c"(0));
  if ((xcr0 & 0x6) != 0x6)
    return platform_isa_baseline;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d))
    return platform_isa_baseline;
  const unsigned v3_7 = bit_AVX2 | bit_BMI | bit_BMI2;
  if ((b & v3_7) != v3_7)
    return platform_isa_baseline;
  const unsigned v4_7 = bit_AVX512F | bit_AVX512BW | bit_AVX512CD | bit_AVX512DQ | bit_AVX512VL;
  if ((b & v4_7) != v4_7 || (xcr0 & 0xe6) != 0xe6)
    return platform_isa_avx2;
  return platform_isa_avx512;
}
#else
static inline int platform_detect_isa(void) { return platform_isa_baseline; }
#endif

#endif
