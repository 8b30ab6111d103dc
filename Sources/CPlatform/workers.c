// Workers for one call at a time.
//
// They are threads that persist and sleep between calls. A call that finds them busy, with another thread's call, does
// its tasks itself: nothing waits for the workers but the call that has them, so nothing can deadlock. A child of fork
// has no threads: it forgets the pool and makes its own at its first call. The library is never unloaded (-z nodelete),
// since the workers run its code.
//
// The scheduler likes to wake a thread on the processor of the one that wakes it: in a virtual machine, where a processor
// that has halted doesn't count as idle, nearly always. Caller and worker then share it for milliseconds, the length of a
// whole burst of calls, while another one does nothing. So a worker that is woken is kept away from the caller's processor
// until it is awake: an affinity of a moment. Where that is refused, or there is no other processor, it is woken anyway.
#define _GNU_SOURCE // sched_setaffinity
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "old_glibc.h"
#include "platform.h"

OLD_GLIBC(pthread_create);
OLD_GLIBC(pthread_sigmask);

enum {
  most_workers = 1023,
  most_looks = 2000, // before a thread that waits falls asleep: some tens of microseconds
};

// A worker, on its own stack. While it sleeps, it is the caller's that holds the pool's lock.
typedef struct worker {
  pid_t thread;
  cpu_set_t home; // the processors that it was made with; none: unknown
  int avoided;    // the one of them that it is kept away from; -1: none
  int asleep;
  pthread_cond_t wake;
  struct worker *next; // of those that are asleep
} worker;

typedef struct pool {
  atomic_int taken;        // 1 while a call has the workers
  atomic_size_t next_task; // of the call's tasks, the first that nobody has begun
  atomic_uint generation;  // rises with each call
  atomic_int active;       // workers that are at work on it

  pthread_mutex_t lock; // guards what follows
  pthread_cond_t done;
  worker *asleep; // the last that fell asleep
  int workers;    // threads that exist
  int awake;      // of them, those that are not asleep
  int wanted;     // how many the call still asks for
  int processor;  // where its caller was when it began; -1: unknown
  int crowded;    // whether a worker has begun there as well
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

static cpu_set_t home_without(const worker *w, int processor) {
  cpu_set_t set = w->home;
  if (processor >= 0)
    CPU_CLR(processor, &set);
  return set;
}

// Whoever else changes a worker's processors has the last word: they are changed only from what was set here.
static int change_processors(const worker *w, int avoided, int avoid) {
  const cpu_set_t expected = home_without(w, avoided), wish = home_without(w, avoid);
  cpu_set_t set;
  return sched_getaffinity(w->thread, sizeof set, &set) == 0 && CPU_EQUAL(&set, &expected) &&
         sched_setaffinity(w->thread, sizeof wish, &wish) == 0;
}

// Called with the lock held, as is fall_asleep.
static void wake_workers(pool *p, int most) {
  for (worker *w; most > 0 && (w = p->asleep) != NULL; most--) {
    p->asleep = w->next;
    p->awake++;
    w->asleep = 0;
    if (p->processor >= 0 && change_processors(w, -1, p->processor))
      w->avoided = p->processor;
    pthread_cond_signal(&w->wake);
  }
}

static void fall_asleep(pool *p, worker *me) {
  me->next = p->asleep;
  p->asleep = me;
  p->awake--;
  me->asleep = 1;
  while (me->asleep)
    pthread_cond_wait(&me->wake, &p->lock);
}

static void go_home(worker *me) {
  if (me->avoided >= 0)
    change_processors(me, me->avoided, -1);
  me->avoided = -1;
}

static void *run_worker(void *argument) {
  pool *p = argument;
  worker me = {.thread = (pid_t)syscall(SYS_gettid), .avoided = -1};
  if (sched_getaffinity(0, sizeof me.home, &me.home) != 0)
    CPU_ZERO(&me.home);
  pthread_cond_init(&me.wake, NULL);
  unsigned seen = 0;
  int crowds = 0; // on the caller's processor: it would look out in the caller's time
  for (;;) {
    if (!crowds)
      await_generation(p, seen);
    pthread_mutex_lock(&p->lock);
    while (atomic_load(&p->generation) == seen)
      fall_asleep(p, &me);
    seen = atomic_load(&p->generation);
    const int takes_part = p->wanted > 0; // or it comes too late, and looks out for the next call
    p->wanted -= takes_part;
    atomic_fetch_add(&p->active, takes_part);
    crowds = p->processor >= 0 && p->processor == sched_getcpu();
    p->crowded |= crowds;
    const size_t tasks = p->tasks;
    void (*const body)(void *, size_t) = p->body;
    void *const context = p->context;
    pthread_mutex_unlock(&p->lock);
    go_home(&me);
    if (!takes_part)
      continue;

    work(p, tasks, body, context);

    if (atomic_fetch_sub(&p->active, 1) == 1) {
      pthread_mutex_lock(&p->lock);
      pthread_cond_signal(&p->done);
      pthread_mutex_unlock(&p->lock);
    }
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
  for (pthread_t thread; p->workers < wish; p->workers++, p->awake++)
    if (pthread_create(&thread, &attributes, run_worker, p) != 0)
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
  p->processor = sched_getcpu();
  p->crowded = 0;
  atomic_fetch_add_explicit(&p->generation, 1, memory_order_release);
  wake_workers(p, p->wanted - p->awake);
  pthread_mutex_unlock(&p->lock);

  work(p, tasks, body, context);

  // Workers that have not begun need not; those that have must finish. That is soon, and falling asleep and being woken
  // takes longer than many a task.
  pthread_mutex_lock(&p->lock);
  p->wanted = 0;
  const int looks = p->crowded ? 0 : most_looks;
  pthread_mutex_unlock(&p->lock);
  for (int look = 0; look < looks && atomic_load_explicit(&p->active, memory_order_acquire) > 0; look++)
    pause_briefly();
  if (atomic_load(&p->active) > 0) {
    pthread_mutex_lock(&p->lock);
    while (atomic_load(&p->active) > 0)
      pthread_cond_wait(&p->done, &p->lock);
    pthread_mutex_unlock(&p->lock);
  }
  atomic_store(&p->taken, 0);
}
