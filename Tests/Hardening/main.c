/*
 * How every function of the header behaves at its edges. Usage: hardening <test> [rounds], or hardening list.
 *
 *   heap      each buffer has just its size on the heap (under a sanitizer or valgrind)
 *   guards    each buffer ends where a page without access begins, then begins where one ends; inputs are read-only
 *   overlaps  each result laid over each other buffer: refused
 *   sizes     each count replaced by one whose bytes do not fit, each two that are multiplied by two whose product does
 *             not: refused
 *   threads   64 threads make the same calls at once: the same bits
 *   fork      children of a process whose threads are calling make the same calls: the same bits
 *   blas      64 threads name a BLAS at once, again and again: each time it is the one that was kept
 *   large     logits of more than 2^31 elements
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "call.h"
#include "large.h"

static uint64_t seed_of(const description *what, unsigned round) {
  uint64_t seed = round;
  for (const char *at = what->function; *at; at++)
    seed = seed * 31 + (unsigned char)*at;
  return seed;
}

static call legal_call(const description *what, unsigned round) {
  return (call){.seed = seed_of(what, round),
                .round = round,
                .place = place_on_heap,
                .release = release_to_heap,
                .over = -1,
                .under = -1,
                .huge = {-1, -1},
                .repeats = true};
}

/** Rounds of one function: with all that may be NULL, with none of it, legal, and with faults. */
static void vary(call *c, unsigned round) {
  c->everything = round == 0;
  c->nothing = round == 1;
  c->faults = round % 3 == 2;
}

static unsigned long test_heap(unsigned rounds) {
  for (size_t i = 0; i < num_descriptions; i++)
    for (unsigned round = 0; round < rounds; round++) {
      call c = legal_call(&descriptions[i], round);
      vary(&c, round);
      make(&c, &descriptions[i]);
    }
  return num_descriptions * rounds;
}

/* Guard pages: an arena of slots, each between pages without access. */

enum { SLOT = 1 << 22, PAGE = 4096 };

static unsigned char *arena;
static bool at_start;
static const call *at_work;

static void *place_at_guard(call *c, size_t bytes) {
  if (bytes > SLOT - 2 * PAGE)
    fail(c, "a buffer of %zu bytes is too large for this test", bytes);
  unsigned char *slot = arena + (size_t)(c->num_rooms - 1) * SLOT;
  return at_start ? slot + PAGE : slot + SLOT - PAGE - bytes;
}

static void seal(call *c, bool sealed) {
  at_work = c;
  for (int i = 0; i < c->num_rooms; i++) {
    if (c->rooms[i].role != INPUT || c->rooms[i].size == 0)
      continue;
    const size_t into_page = (uintptr_t)c->rooms[i].at % PAGE;
    if (mprotect(c->rooms[i].at - into_page, into_page + c->rooms[i].size,
                 sealed && !c->in_place ? PROT_READ : PROT_READ | PROT_WRITE) != 0)
      fail(c, "mprotect");
  }
}

static void on_segmentation_fault(int signal, siginfo_t *info, void *context) {
  (void)signal;
  (void)context;
  const unsigned char *address = info->si_addr;
  fprintf(stderr, "%s: an access at %p", at_work ? at_work->function : "?", info->si_addr);
  for (int i = 0; at_work && i < at_work->num_rooms; i++)
    if (address - arena >= (ptrdiff_t)i * SLOT && address - arena < (ptrdiff_t)(i + 1) * SLOT)
      fprintf(stderr, ", byte %td of buffer %d, which has %zu", address - at_work->rooms[i].at, i,
              at_work->rooms[i].size);
  fprintf(stderr, "\n");
  _exit(1);
}

static unsigned long test_guards(unsigned rounds) {
  arena =
      mmap(NULL, (size_t)MOST_ROOMS * SLOT, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (arena == MAP_FAILED)
    return perror("mmap"), 0;
  for (size_t slot = 0; slot < MOST_ROOMS; slot++) {
    mprotect(arena + slot * SLOT, PAGE, PROT_NONE);
    mprotect(arena + (slot + 1) * SLOT - PAGE, PAGE, PROT_NONE);
  }
  struct sigaction action = {.sa_sigaction = on_segmentation_fault, .sa_flags = SA_SIGINFO};
  sigaction(SIGSEGV, &action, NULL);
  sigaction(SIGBUS, &action, NULL);
  for (size_t i = 0; i < num_descriptions; i++)
    for (unsigned round = 0; round < rounds; round++)
      for (int side = 0; side < 2; side++) {
        at_start = side == 1;
        call c = legal_call(&descriptions[i], round);
        vary(&c, round);
        c.place = place_at_guard;
        c.release = NULL;
        c.seal = seal;
        make(&c, &descriptions[i]);
      }
  return 2UL * num_descriptions * rounds;
}

/* Overlaps */

static void *place_with_room_behind(call *c, size_t bytes) {
  return memset(place_on_heap(c, bytes + (1 << 18)), 0, bytes + (1 << 18));
}

static unsigned long test_overlaps(unsigned rounds) {
  unsigned long refused = 0;
  for (size_t i = 0; i < num_descriptions; i++)
    for (unsigned round = 0; round < rounds; round++) {
      call plain = legal_call(&descriptions[i], round);
      plain.everything = round % 2 == 0;
      make(&plain, &descriptions[i]);
      for (int over = 0; over < plain.num_rooms && !plain.cannot_refuse; over++)
        for (int under = 0; under < plain.num_rooms; under++) {
          const room *upper = &plain.rooms[over], *lower = &plain.rooms[under];
          const bool writes = upper->role == RESULT || upper->role == STATE || upper->role == WORKSPACE;
          const bool is_struct = upper->is_struct || lower->is_struct;
          if (over == under || !writes || upper->size == 0 || lower->size == 0 || is_struct)
            continue;
          call c = legal_call(&descriptions[i], round);
          c.everything = plain.everything;
          c.over = over;
          c.under = under;
          c.place = place_with_room_behind;
          make(&c, &descriptions[i]);
          if (c.in_place && c.status == SWIFTDPO_OK && upper->size == lower->size && upper->size <= 64)
            continue; /* laid exactly over the input in whose place it may stand */
          if (c.status == SWIFTDPO_ERROR_OVERLAP)
            refused++;
          else if (c.status == SWIFTDPO_OK || (upper->role == RESULT && lower->role != STATE))
            fail(&c, "buffer %d lies over buffer %d: %s", over, under, swiftdpo_status_string(c.status));
        }
    }
  return refused;
}

/* Sizes */

static void must_be_refused(const description *what, unsigned round, int first, int second, size_t value) {
  call c = legal_call(what, round);
  c.everything = round % 2 == 0;
  c.huge[0] = first;
  c.huge[1] = second;
  c.huge_value = value;
  make(&c, what);
  if (c.status == SWIFTDPO_OK)
    fail(&c, "accepted %zu for count %d (and count %d)", value, first, second);
}

static unsigned long test_sizes(unsigned rounds) {
  static const size_t values[] = {SIZE_MAX, SIZE_MAX - 1, SIZE_MAX / 2 + 1, SIZE_MAX / 2, SIZE_MAX / 4 + 1};
  unsigned long refused = 0;
  for (size_t i = 0; i < num_descriptions; i++)
    for (unsigned round = 0; round < rounds; round++) {
      call plain = legal_call(&descriptions[i], round);
      plain.everything = round % 2 == 0;
      plain.huge[0] = MOST_COUNTS; /* which no call reaches: none is replaced, none is 0 */
      make(&plain, &descriptions[i]);
      for (int which = 0; which < plain.num_counts; which++)
        for (size_t value = 0; value < sizeof values / sizeof *values; value++, refused++)
          must_be_refused(&descriptions[i], round, which, -1, values[value]);
      for (int which = 0; which < plain.num_products; which++, refused++)
        must_be_refused(&descriptions[i], round, plain.products[which], plain.products[which] + 1, (size_t)1 << 32);
    }
  return refused;
}

/* Threads and fork */

static unsigned rounds_of_all;

static uint64_t outcome(const description *what, unsigned round) {
  call c = legal_call(what, round);
  c.repeats = false;
  c.digests = true;
  vary(&c, round);
  make(&c, what);
  return c.outcome;
}

static uint64_t *outcomes; /* [round][function], of calls made alone */

static void expect_outcomes(unsigned rounds) {
  rounds_of_all = rounds;
  outcomes = calloc(num_descriptions * rounds, sizeof *outcomes);
  for (unsigned round = 0; outcomes && round < rounds; round++)
    for (size_t i = 0; i < num_descriptions; i++)
      outcomes[round * num_descriptions + i] = outcome(&descriptions[i], round);
}

/** Makes all calls, beginning anywhere. Returns how many came out in other bits than before. */
static size_t differing(size_t start) {
  size_t differing = 0;
  const size_t calls = num_descriptions * rounds_of_all;
  for (size_t n = 0; n < calls; n++) {
    const size_t at = (start + n) % calls;
    const description *what = &descriptions[at % num_descriptions];
    if (outcome(what, (unsigned)(at / num_descriptions)) != outcomes[at]) {
      fprintf(stderr, "%s: other bits, round %zu\n", what->function, at / num_descriptions);
      differing++;
    }
  }
  return differing;
}

static atomic_size_t wrong;
static atomic_bool stop;

/** A thread's part: where it begins, as an index into this array. */
static const char starts[1 << 16];

static void *call_all(void *start) {
  atomic_fetch_add(&wrong, differing((size_t)((const char *)start - starts)));
  return NULL;
}

static void *call_until_stopped(void *start) {
  while (!atomic_load(&stop))
    call_all(start);
  return NULL;
}

enum { THREADS = 64, CALLERS = 3, CHILDREN = 12 };

static unsigned long test_threads(unsigned rounds) {
  expect_outcomes(rounds);
  pthread_t threads[THREADS];
  for (size_t i = 0; i < THREADS; i++)
    if (pthread_create(&threads[i], NULL, call_all, (void *)&starts[i * 97]) != 0)
      return perror("pthread_create"), 0;
  for (size_t i = 0; i < THREADS; i++)
    pthread_join(threads[i], NULL);
  return atomic_load(&wrong) == 0 ? THREADS * num_descriptions * rounds : 0;
}

static const char *path_in_use(void) {
  swiftdpo_blas blas = SWIFTDPO_BLAS_INIT;
  return swiftdpo_blas_info(&blas) == SWIFTDPO_OK ? blas.path : NULL;
}

/** The BLAS's number of threads, which no call may change for good. */
static int (*number_of_threads)(void);

static void find_number_of_threads(void) {
  void *const blas = dlopen(path_in_use(), RTLD_NOW | RTLD_NOLOAD);
  if (blas)
    *(void **)&number_of_threads = dlsym(blas, "openblas_get_num_threads");
}

static unsigned long test_fork(unsigned rounds) {
  expect_outcomes(rounds);
  find_number_of_threads();
  if (!number_of_threads)
    return 0;
  const int threads_before = number_of_threads();
  swiftdpo_set_num_threads(4);
  pthread_t threads[CALLERS];
  for (size_t i = 0; i < CALLERS; i++)
    if (pthread_create(&threads[i], NULL, call_until_stopped, (void *)&starts[i * 97]) != 0)
      return perror("pthread_create"), 0;
  int failures = 0;
  for (size_t i = 0; i < CHILDREN; i++) {
    usleep(20000);
    const pid_t child = fork();
    if (child == 0) {
      alarm(120); /* a child that hangs ends by a signal */
      _exit(differing(i * 31) != 0 || number_of_threads() != threads_before);
    }
    int status = -1;
    waitpid(child, &status, 0);
    failures += !(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  }
  atomic_store(&stop, true);
  for (size_t i = 0; i < CALLERS; i++)
    pthread_join(threads[i], NULL);
  return failures == 0 && atomic_load(&wrong) == 0 ? CHILDREN * num_descriptions * rounds : 0;
}

/* The BLAS, which stays the one at SWIFTDPO_BLAS: named, looked for, or not found elsewhere. */

static void *name_blas(void *path) {
  for (unsigned round = 0; round < rounds_of_all; round++) {
    if (swiftdpo_use_blas(round % 2 == 0 ? path : NULL, NULL) != SWIFTDPO_OK || path_in_use() != path ||
        swiftdpo_use_blas("/nowhere.so", NULL) != SWIFTDPO_ERROR_BLAS)
      atomic_fetch_add(&wrong, 1);
  }
  return NULL;
}

static unsigned long test_blas(unsigned rounds) {
  rounds_of_all = rounds;
  pthread_t threads[THREADS];
  char *path = (char *)path_in_use();
  for (size_t i = 0; i < THREADS; i++)
    if (pthread_create(&threads[i], NULL, name_blas, path) != 0)
      return perror("pthread_create"), 0;
  for (size_t i = 0; i < THREADS; i++)
    pthread_join(threads[i], NULL);
  return path && atomic_load(&wrong) == 0 ? THREADS * rounds : 0;
}

int main(int argc, char **argv) {
  static const struct {
    const char *name;
    unsigned long (*run)(unsigned rounds);
    unsigned rounds;
  } tests[] = {{"heap", test_heap, 60},   {"guards", test_guards, 60},   {"overlaps", test_overlaps, 4},
               {"sizes", test_sizes, 20}, {"threads", test_threads, 12}, {"fork", test_fork, 12},
               {"blas", test_blas, 40},   {"large", test_large, 1}};
  if (argc > 1 && strcmp(argv[1], "list") == 0) {
    for (size_t i = 0; i < num_descriptions; i++)
      puts(descriptions[i].function);
    return 0;
  }
  for (size_t i = 0; argc > 1 && i < sizeof tests / sizeof *tests; i++)
    if (strcmp(argv[1], tests[i].name) == 0) {
      const unsigned long calls = tests[i].run(argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : tests[i].rounds);
      printf("%-8s %7lu calls %s\n", tests[i].name, calls, calls > 0 ? "passed" : "FAILED");
      return calls > 0 ? 0 : 1;
    }
  fprintf(stderr, "usage: hardening heap|guards|overlaps|sizes|threads|fork|blas|large [rounds], or list\n");
  return 2;
}
