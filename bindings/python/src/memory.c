/*
 * Memory for results.
 *
 * For large arrays the C library asks the system for pages each time and gives them back with the array, and clearing
 * them takes longer than the losses that they are to hold. So freed blocks are kept, for the next call to find. Large
 * arrays also begin at the same place of their pages, where a dozen of them, written side by side, meet in the same sets
 * of the caches, and a load seems to want what was just stored to another. So each block begins elsewhere in its page,
 * and where a line does.
 */
#include "core.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

enum { LINE = 64, PAGE = 4096, STEP = 5 * LINE, STEPS = PAGE / STEP };

/* At most NUM_KEPT * MOST_KEPT bytes are kept, 16 MiB; a batch of 65,536 pairs has six results of 256 KiB. */
enum { LEAST_KEPT = 1 << 14, MOST_KEPT = 1 << 20, NUM_KEPT = 16 };

/** Lies in front of a block's memory. */
typedef struct {
  void *start; /* of what malloc gave */
  size_t size;
} block;

/* Each place is emptied and filled in one step. So a thread that has a block has it alone, and a child of fork never
 * waits for a thread that it lacks. */
static _Atomic(block *) kept[NUM_KEPT];

static int is_kept(size_t size) { return size >= LEAST_KEPT && size <= MOST_KEPT; }

static block *block_of(void *memory) { return (block *)((char *)memory - LINE); }

static block *keep(block *one, unsigned place) { return atomic_exchange(&kept[place % NUM_KEPT], one); }

/** A kept block of `size` bytes, or up to twice as many; or NULL. */
static block *find(size_t size) {
  for (unsigned place = 0; place < NUM_KEPT; place++) {
    if (atomic_load(&kept[place]) == NULL)
      continue;
    block *found = keep(NULL, place);
    if (found != NULL && found->size >= size && found->size / 2 <= size)
      return found;
    found = found == NULL ? NULL : keep(found, place);
    if (found != NULL)
      free(found->start); /* came from another thread in the meantime */
  }
  return NULL;
}

static block *make(size_t size) {
  static atomic_uint turn;
  if (size > SIZE_MAX - 2 * PAGE)
    return NULL;
  const int is_large = size >= LEAST_KEPT;
  char *start = malloc(size + 2 * LINE + (is_large ? PAGE : 0));
  if (start == NULL)
    return NULL;
  uintptr_t memory = ((uintptr_t)start + 2 * LINE - 1) & ~(uintptr_t)(LINE - 1);
  if (is_large) {
    const uintptr_t wanted = atomic_fetch_add(&turn, 1) % STEPS * STEP;
    memory += (wanted - memory) & (PAGE - 1);
  }
  block *made = block_of(start + (memory - (uintptr_t)start));
  *made = (block){start, size};
  return made;
}

void *take_memory(size_t size) {
  block *taken = is_kept(size) ? find(size) : NULL;
  if (taken == NULL)
    taken = make(size);
  return taken == NULL ? NULL : (char *)taken + LINE;
}

void give_memory(void *memory) {
  static atomic_uint turn;
  if (memory == NULL)
    return;
  block *given = block_of(memory);
  for (unsigned place = 0; is_kept(given->size) && place < NUM_KEPT; place++) {
    block *none = NULL;
    if (atomic_compare_exchange_strong(&kept[place], &none, given))
      return;
  }
  /* The newest is the likeliest to be wanted again. */
  if (is_kept(given->size))
    given = keep(given, atomic_fetch_add(&turn, 1));
  if (given != NULL)
    free(given->start);
}

/* -- The same as NumPy calls it ------------------------------------------------------------------------------------- */

static void *numpy_malloc(void *Py_UNUSED(context), size_t size) { return take_memory(size); }

static void *numpy_calloc(void *Py_UNUSED(context), size_t count, size_t size) {
  if (size != 0 && count > SIZE_MAX / size)
    return NULL;
  void *memory = take_memory(count * size);
  return memory == NULL ? NULL : memset(memory, 0, count * size);
}

static void numpy_free(void *Py_UNUSED(context), void *memory, size_t Py_UNUSED(size)) { give_memory(memory); }

static void *numpy_realloc(void *Py_UNUSED(context), void *memory, size_t size) {
  void *other = take_memory(size);
  if (other == NULL || memory == NULL)
    return other;
  const size_t before = block_of(memory)->size;
  memcpy(other, memory, before < size ? before : size);
  give_memory(memory);
  return other;
}

static PyDataMem_Handler handler = {"swiftdpo", 1, {NULL, numpy_malloc, numpy_calloc, numpy_realloc, numpy_free}};
static PyObject *handler_capsule;

int make_handler(void) {
  if (handler_capsule == NULL)
    handler_capsule = PyCapsule_New(&handler, "mem_handler", NULL);
  return handler_capsule == NULL ? -1 : 0;
}

int use_memory(PyObject **before, size_t size) {
  *before = NULL;
  if (!is_kept(size))
    return 0;
  PyObject *others = PyDataMem_SetHandler(handler_capsule);
  if (others == NULL)
    return -1;
  /* One that the program has chosen stays. */
  if (others != PyDataMem_DefaultHandler)
    return leave_memory(others);
  *before = others;
  return 0;
}

int leave_memory(PyObject *before) {
  if (before == NULL)
    return 0;
  PyObject *type, *value, *trace;
  PyErr_Fetch(&type, &value, &trace);
  PyObject *ours = PyDataMem_SetHandler(before);
  Py_DECREF(before);
  Py_XDECREF(ours);
  if (type != NULL)
    PyErr_Restore(type, value, trace);
  return ours == NULL ? -1 : 0;
}
