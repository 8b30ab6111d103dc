// The matrix products of a BLAS that is found when the process runs: no build of this library needs one.
#define _GNU_SOURCE // dladdr, RTLD_DEFAULT
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "old_glibc.h"
#include "platform.h"

// On systems before glibc 2.34 these are libdl's, which a program that loads libraries has. One that does not can name
// the caller's product, and no library.
#pragma weak dlopen
#pragma weak dlsym
#pragma weak dladdr
OLD_GLIBC(dlopen);
OLD_GLIBC(dlsym);
OLD_GLIBC(dladdr);

enum { row_major = 101, plain = 111, transposed = 112 };

// Two builds of every BLAS are about: sizes in 32 bits, and in 64.
typedef void gemm_32(int layout, int transpose_a, int transpose_b, int m, int n, int k, float alpha, const void *a,
                     int lda, const void *b, int ldb, float beta, float *c, int ldc);
typedef void gemm_64(int layout, int transpose_a, int transpose_b, int64_t m, int64_t n, int64_t k, float alpha,
                     const void *a, int64_t lda, const void *b, int64_t ldb, float beta, float *c, int64_t ldc);

typedef struct name {
  const char *gemm;
  const char *bf16_gemm;
  int integer_bits;
} name;

// MKL and OpenBLAS call their products of bf16 differently, and mean the same by the arguments.
static const name names[] = {
    {"cblas_sgemm", "cblas_sbgemm", 32},
    {"cblas_sgemm", "cblas_gemm_bf16bf16f32", 32},
    {"cblas_sgemm64_", "cblas_sbgemm64_", 64},
    {"cblas_sgemm_64", "cblas_gemm_bf16bf16f32_64", 64},
    {"scipy_cblas_sgemm", "scipy_cblas_sbgemm", 32},
    {"scipy_cblas_sgemm64_", "scipy_cblas_sbgemm64_", 64},
};

static const char *const libraries[] = {
    "libopenblas.so.0",
    "libmkl_rt.so.2",
    "libmkl_rt.so",
    "libblis.so.4",
    "libnvpl_blas_lp64_gomp.so.0",
    "libopenblas.so",
    "libblis.so",
    "/System/Library/Frameworks/Accelerate.framework/Accelerate",
};

// How OpenBLAS is told the number of its threads, under the names of its builds.
static const struct {
  const char *parallel, *count, *set;
} thread_names[] = {
    {"openblas_get_parallel", "openblas_get_num_threads", "openblas_set_num_threads"},
    {"openblas_get_parallel64_", "openblas_get_num_threads64_", "openblas_set_num_threads64_"},
    {"scipy_openblas_get_parallel", "scipy_openblas_get_num_threads", "scipy_openblas_set_num_threads"},
    {"scipy_openblas_get_parallel64_", "scipy_openblas_get_num_threads64_", "scipy_openblas_set_num_threads64_"},
};

typedef struct platform_blas_threads {
  int (*count)(void);
  void (*set)(int);
  pthread_mutex_t lock; // guards what follows
  int calls;            // that want one thread
  int before;           // the number that the first of them found
  int interrupted;      // in a child of fork: calls that it does not have left the number at one
} blas_threads;

static _Atomic(const platform_blas *) current;

// All that were ever taken, the last one first: one that is taken again is the same, so that repeated calls keep nothing.
typedef struct offer {
  platform_blas blas;
  blas_threads threads;
  struct offer *earlier;
} offer;

static _Atomic(offer *) offers;

static const platform_blas *same(const platform_blas *blas, offer *last) {
  for (offer *at = last; at; at = at->earlier)
    if (at->blas.gemm == blas->gemm && at->blas.bf16_gemm == blas->bf16_gemm)
      return &at->blas;
  return NULL;
}

// The one of the list that offers these functions, after adding it if need be; NULL: no memory.
static const platform_blas *keep(platform_blas blas, blas_threads threads) {
  offer *last = atomic_load(&offers);
  const platform_blas *found = same(&blas, last);
  if (found)
    return found;
  Dl_info where;
  blas.path = strdup(dladdr(blas.gemm, &where) && where.dli_fname ? where.dli_fname : "");
  offer *made = malloc(sizeof *made);
  if (made && blas.path) {
    do {
      *made = (offer){blas, threads, last};
      if (threads.set)
        made->blas.threads = &made->threads;
      if (atomic_compare_exchange_weak(&offers, &last, made))
        return &made->blas;
      found = same(&blas, last); // another thread's call may have added it
    } while (!found);
  }
  free(made);
  free((void *)blas.path);
  return found;
}

// OpenBLAS may be built for 64-bit integers without a suffix to its names. It says so.
static int has_long_integers(void *library) {
  char *(*const config)(void) = (char *(*)(void))dlsym(library, "openblas_get_config");
  return config && strstr(config(), "USE64BITINT");
}

static int are_of_one_file(void *one, void *other) {
  Dl_info a, b;
  return dladdr(one, &a) && dladdr(other, &b) && a.dli_fbase == b.dli_fbase;
}

// Without functions unless the library has threads of its own: OpenMP's have a number for each thread that calls.
static blas_threads threads_of(void *library, void *gemm) {
  enum { posix_threads = 1 };
  for (size_t i = 0; i < sizeof thread_names / sizeof *thread_names; i++) {
    int (*const parallel)(void) = (int (*)(void))dlsym(library, thread_names[i].parallel);
    void *const count = dlsym(library, thread_names[i].count), *const set = dlsym(library, thread_names[i].set);
    if (parallel && count && set && are_of_one_file(set, gemm) && parallel() == posix_threads)
      return (blas_threads){(int (*)(void))count, (void (*)(int))set, PTHREAD_MUTEX_INITIALIZER, 0, 0, 0};
  }
  return (blas_threads){0};
}

// What a library offers, or NULL. It stays loaded: calls may be at work in it.
static const platform_blas *offer_of(void *library) {
  const name *found = NULL;
  platform_blas blas = {0};
  for (size_t i = 0; i < sizeof names / sizeof *names && !blas.bf16_gemm; i++) {
    void *gemm = dlsym(library, names[i].gemm);
    if (!gemm || (found && strcmp(found->gemm, names[i].gemm) != 0))
      continue;
    found = &names[i];
    blas.gemm = gemm;
    blas.bf16_gemm = dlsym(library, names[i].bf16_gemm);
  }
  if (!found)
    return NULL;
  blas.function = found->gemm;
  blas.integer_bits = found->integer_bits == 64 || has_long_integers(library) ? 64 : 32;
  return keep(blas, threads_of(library, blas.gemm));
}

static const platform_blas *offer_of_file(const char *path) {
  // The path may be the environment's: who sets that chooses the library, as with the loader's own variables.
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL); // NOLINT(clang-analyzer-optin.taint.GenericTaint)
  return library ? offer_of(library) : NULL;
}

static const platform_blas *look(void) {
  const char *wish = getenv("SWIFTDPO_BLAS");
  if (wish && *wish)
    return offer_of_file(wish);
  const platform_blas *found = offer_of(RTLD_DEFAULT);
  for (size_t i = 0; i < sizeof libraries / sizeof *libraries && !found; i++)
    found = offer_of_file(libraries[i]);
  return found;
}

const platform_blas *platform_use_blas(const char *path) {
  if (!dlopen || !dlsym || !dladdr)
    return NULL;
  const platform_blas *found = path ? offer_of_file(path) : look();
  if (found)
    atomic_store(&current, found);
  return found;
}

const platform_blas *platform_current_blas(void) {
  const platform_blas *known = atomic_load(&current);
  return known ? known : platform_use_blas(NULL);
}

void platform_begin_products(const platform_blas *blas) {
  blas_threads *threads = blas->threads;
  pthread_mutex_lock(&threads->lock);
  if (threads->calls++ == 0) {
    if (!threads->interrupted)
      threads->before = threads->count();
    threads->interrupted = 0;
    threads->set(1);
  }
  pthread_mutex_unlock(&threads->lock);
}

void platform_end_products(const platform_blas *blas) {
  blas_threads *threads = blas->threads;
  pthread_mutex_lock(&threads->lock);
  if (--threads->calls == 0)
    threads->set(threads->before);
  pthread_mutex_unlock(&threads->lock);
}

// A fork waits for those who hold a lock. Its child has no other thread, and so none of their calls.
static offer *held; // it and those before it, from before a fork to after it

static void hold_all(void) {
  held = atomic_load(&offers);
  for (offer *o = held; o; o = o->earlier)
    if (o->threads.set)
      pthread_mutex_lock(&o->threads.lock);
}

static void release_all(void) {
  for (offer *o = held; o; o = o->earlier)
    if (o->threads.set)
      pthread_mutex_unlock(&o->threads.lock);
}

static void forget_calls(void) {
  for (offer *o = held; o; o = o->earlier) {
    o->threads.interrupted |= o->threads.calls > 0;
    o->threads.calls = 0;
  }
  release_all();
}

__attribute__((constructor)) static void forget_calls_in_children(void) {
  pthread_atfork(hold_all, release_all, forget_calls);
}

void platform_multiply(const platform_blas *blas, int bf16, int transpose_a, int transpose_b, size_t m, size_t n,
                       size_t k, const void *a, size_t lda, const void *b, size_t ldb, float beta, float *c,
                       size_t ldc) {
  void *const function = bf16 ? blas->bf16_gemm : blas->gemm;
  const int op_a = transpose_a ? transposed : plain, op_b = transpose_b ? transposed : plain;
  if (blas->integer_bits == 64)
    ((gemm_64 *)function)(row_major, op_a, op_b, (int64_t)m, (int64_t)n, (int64_t)k, 1, a, (int64_t)lda, b,
                          (int64_t)ldb, beta, c, (int64_t)ldc);
  else
    ((gemm_32 *)function)(row_major, op_a, op_b, (int)m, (int)n, (int)k, 1, a, (int)lda, b, (int)ldb, beta, c,
                          (int)ldc);
}
