// Workers for one call at a time.
//
// They are threads that persist and sleep between calls. A call that finds them busy, with another thread's call, does
// its tasks itself: nothing waits for the workers but the call that has them, so nothing can deadlock. A child of fork
// has no threads: it forgets the pool and makes its own at its first call. The library is never unloaded (-z nodelete),
// since the workers run its code.
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "old_glibc.h"
#include "platform.h"

OLD_GLIBC(pthread_create);
OLD_GLIBC(pthread_sigmask);

enum {
  most_workers = 1023,
  most_looks = 2000, // before a thread that waits falls asleep: some tens of microseconds
};

typedef struct pool {
  atomic_int taken;        // 1 while a call has the workers
  atomic_size_t next_task; // of the call's tasks, the first that nobody has begun
  atomic_uint generation;  // rises with each call

  pthread_mutex_t lock; // guards what follows
  pthread_cond_t wake, done;
  int workers; // threads that exist
  int wanted;  // of them, how many the call still asks for
  int active;  // how many are at work on it
  size_t tasks;
  void (*body)(void *context, size_t task);
  void *context;
} pool;

static _Atomic(pool *) process_pool;

static atomic_int chosen_threads;

int platform_threads(void) { return atomic_load_explicit(&chosen_threads, memory_order_relaxed); }

void platform_set_threads(int threads) { atomic_store_explicit(&chosen_threads, threads, memory_order_relaxed); }

static void forget_pool(void) { atomic_store(&process_pool, NULL); }

static pool *current_pool(void) {
  pool *existing = atomic_load_explicit(&process_pool, memory_order_acquire);
  if (existing)
    return existing;
  pool *made = calloc(1, sizeof *made);
  if (!made)
    return NULL;
  pthread_mutex_init(&made->lock, NULL);
  pthread_cond_init(&made->wake, NULL);
  pthread_cond_init(&made->done, NULL);
  if (atomic_compare_exchange_strong(&process_pool, &existing, made))
    return made;
  free(made);
  return existing;
}

__attribute__((constructor)) static void forget_pool_in_children(void) { pthread_atfork(NULL, NULL, forget_pool); }

static void work(pool *p, size_t tasks, void (*body)(void *, size_t), void *context) {
  for (;;) {
    const size_t task = atomic_fetch_add_explicit(&p->next_task, 1, memory_order_relaxed);
    if (task >= tasks)
      return;
    body(context, task);
  }
}

static void pause_briefly(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// Turns are of some milliseconds, and mostly passed by the time that they are waited for.
void platform_await_turn(const size_t *passed, size_t turn) {
  for (int look = 0; __atomic_load_n(passed, __ATOMIC_ACQUIRE) < turn; look++)
    if (look < most_looks)
      pause_briefly();
    else
      nanosleep(&(struct timespec){0, 50000}, NULL);
}

// A call often follows the last one at once: it is cheaper to look out for it for some microseconds than to sleep.
static void await_generation(pool *p, unsigned seen) {
  for (int look = 0; look < most_looks && atomic_load_explicit(&p->generation, memory_order_acquire) == seen; look++)
    pause_briefly();
}

static void *worker(void *argument) {
  pool *p = argument;
  unsigned seen = 0;
  for (;;) {
    await_generation(p, seen);
    pthread_mutex_lock(&p->lock);
    while (p->wanted == 0 || atomic_load(&p->generation) == seen)
      pthread_cond_wait(&p->wake, &p->lock);
    seen = atomic_load(&p->generation);
    p->wanted--;
    p->active++;
    const size_t tasks = p->tasks;
    void (*const body)(void *, size_t) = p->body;
    void *const context = p->context;
    pthread_mutex_unlock(&p->lock);

    work(p, tasks, body, context);

    pthread_mutex_lock(&p->lock);
    if (--p->active == 0)
      pthread_cond_signal(&p->done);
    pthread_mutex_unlock(&p->lock);
  }
  return NULL;
}

// Brings the number of workers up to `wish`, as far as the system gives threads. Called with the lock held.
static void hire(pool *p, int wish) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  // Signals are the host program's business: workers block them all.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  for (pthread_t thread; p->workers < wish; p->workers++)
    if (pthread_create(&thread, &attributes, worker, p) != 0)
      break;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_attr_destroy(&attributes);
}

void platform_parallel(size_t tasks, int threads, void (*body)(void *context, size_t task), void *context) {
  int helpers = threads - 1 < most_workers ? threads - 1 : most_workers;
  if ((size_t)helpers >= tasks)
    helpers = (int)tasks - 1;
  pool *p = helpers > 0 ? current_pool() : NULL;
  int free_pool = 0;
  if (!p || !atomic_compare_exchange_strong(&p->taken, &free_pool, 1)) {
    for (size_t task = 0; task < tasks; task++)
      body(context, task);
    return;
  }

  pthread_mutex_lock(&p->lock);
  if (p->workers < helpers)
    hire(p, helpers);
  p->tasks = tasks;
  p->body = body;
  p->context = context;
  p->wanted = helpers < p->workers ? helpers : p->workers;
  atomic_store(&p->next_task, 0);
  atomic_fetch_add_explicit(&p->generation, 1, memory_order_release);
  pthread_cond_broadcast(&p->wake);
  pthread_mutex_unlock(&p->lock);

  work(p, tasks, body, context);

  // Workers that have not begun need not; those that have must finish.
  pthread_mutex_lock(&p->lock);
  p->wanted = 0;
  while (p->active > 0)
    pthread_cond_wait(&p->done, &p->lock);
  pthread_mutex_unlock(&p->lock);
  atomic_store(&p->taken, 0);
}
