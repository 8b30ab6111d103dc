/* How calls are made up, made, and looked at. */
#define _GNU_SOURCE /* posix_memalign */
#include "call.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const size_t size_of[] = {[U8] = 1,  [U32] = 4,  [I32] = 4, [I64] = 8,
                                 [F16] = 2, [BF16] = 2, [F32] = 4, [F64] = 8};

void fail(const call *c, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fprintf(stderr, "%s, round %u: ", c->function, c->round);
  vfprintf(stderr, format, arguments);
  fprintf(stderr, "\n");
  va_end(arguments);
  abort();
}

/* Choices */

/** splitmix64 (Steele, Lea and Flood 2014). */
static uint64_t mix(uint64_t *state) {
  uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
  return z ^ (z >> 31);
}

uint64_t pick(call *c, uint64_t n) {
  if (!c->bytes)
    return mix(&c->seed) % n;
  uint64_t value = 0;
  for (uint64_t rest = n - 1; rest > 0 && c->bytes_left > 0; rest >>= 8) {
    value = value << 8 | *c->bytes++;
    c->bytes_left--;
  }
  return value % n;
}

bool leave_out(call *c) { return c->nothing || (!c->everything && pick(c, 2) == 1); }

int choice(call *c, int n) {
  if (fault(c))
    return (int)(pick(c, 2) ? n + pick(c, 3) : -1 - pick(c, 3));
  return (int)pick(c, (uint64_t)n);
}

static size_t huge_count(call *c) {
  static const size_t values[] = {SIZE_MAX, SIZE_MAX / 2, SIZE_MAX / 2 + 1, SIZE_MAX / 4 + 1, SIZE_MAX - 1};
  return values[pick(c, sizeof values / sizeof *values)];
}

size_t count(call *c, size_t *field, size_t least, size_t most) {
  if (c->huge[0] >= 0 && least == 0)
    least = 1;
  const size_t few = most - least < 10 ? most - least : 10;
  const size_t chosen = least + pick(c, seldom(c, 8) ? most - least + 1 : few + 1);
  *field = chosen;
  if (fault(c))
    *field = huge_count(c);
  if (c->num_counts == c->huge[0] || c->num_counts == c->huge[1])
    *field = c->huge_value;
  c->num_counts++;
  return chosen;
}

void multiplied(call *c) { c->products[c->num_products++] = c->num_counts - 2; }

/* Numbers */

static double as_f64(uint64_t bits) {
  double value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static double ordinary(uint64_t *state, kind kind) {
  const double unit = (double)(mix(state) >> 11) * 0x1p-53;
  switch (kind) {
  case REAL:
  case LOGIT:
    return 20 * unit - 10;
  case LOGP:
  case PROPER_LOGP:
    return -60 * unit;
  case POSITIVE:
    return 0.01 + unit;
  case NONNEGATIVE:
    return mix(state) % 8 == 0 ? 0 : 2 * unit;
  case UNIT:
    return mix(state) % 8 == 0 ? (double)(mix(state) % 2) : unit;
  default:
    return 0.05 + 0.9 * unit;
  }
}

/**
 * A number of any size that the type has, as far as the kind goes. Doubles stay within 2^300, so that no product of a
 * log-ratio, beta and weights overflows.
 */
static double any(uint64_t *state, kind kind, element type) {
  const int least = type == F64 ? -1074 : type == F16 ? -24 : -133;
  const int most = type == F64 ? 300 : type == F16 ? 14 : 126;
  double value = ldexp(1 + (double)(mix(state) >> 12) * 0x1p-52, least + (int)(mix(state) % (uint64_t)(most - least)));
  switch (kind) {
  case LOGIT:
    return value > 1e30 ? -1 / value : value;
  case REAL:
  case LOGP:
    return mix(state) % 8 == 0 ? 0 : mix(state) % 2 ? value : -value;
  case PROPER_LOGP:
    return mix(state) % 8 == 0 ? 0 : -value;
  case POSITIVE:
    return value;
  case NONNEGATIVE:
    return mix(state) % 8 == 0 ? 0 : value;
  case UNIT:
    return value > 1 ? 1 / value : value;
  default:
    return ordinary(state, kind);
  }
}

static double wrong(uint64_t *state) {
  static const double values[] = {NAN, INFINITY, -INFINITY, -1, 0, 2, 0x1p-1074, -0x1p1023, 1e-30, 0.02};
  return mix(state) % 4 == 0 ? as_f64(mix(state)) : values[mix(state) % (sizeof values / sizeof *values)];
}

static uint16_t rounded_f16(float value) {
  const float magnitude = fabsf(value);
  const uint16_t sign = signbit(value) ? 0x8000 : 0;
  if (isnan(value))
    return sign | 0x7e00;
  if (magnitude >= 65504)
    return sign | (isinf(value) ? 0x7c00 : 0x7bff);
  int exponent;
  const float fraction = frexpf(magnitude, &exponent);
  if (magnitude == 0 || exponent < -13)
    return sign | (uint16_t)ldexpf(magnitude, 24);
  return sign | (uint16_t)((exponent + 14) << 10 | ((int)ldexpf(fraction, 11) & 0x3ff));
}

void store(element type, void *array, size_t index, double value) {
  const float single = (float)value;
  uint32_t bits;
  memcpy(&bits, &single, sizeof bits);
  switch (type) {
  case F64:
    ((double *)array)[index] = value;
    break;
  case F32:
    ((float *)array)[index] = single;
    break;
  case BF16:
    ((uint16_t *)array)[index] = (uint16_t)(bits >> 16);
    break;
  default:
    ((uint16_t *)array)[index] = rounded_f16(single);
  }
}

double number(call *c, kind kind) {
  uint64_t state = pick(c, 1 << 16);
  if (fault(c))
    return wrong(&state);
  return c->wild && pick(c, 4) == 0 ? any(&state, kind, F64) : ordinary(&state, kind);
}

const void *numbers(call *c, element type, size_t count, kind kind) {
  uint64_t state = pick(c, 1 << 16);
  void *values = scratch(c, count * size_of[type]);
  for (size_t i = 0; i < count; i++)
    store(type, values, i, c->wild && mix(&state) % 4 == 0 ? any(&state, kind, type) : ordinary(&state, kind));
  if (count > 0 && fault(c))
    store(type, values, pick(c, count), wrong(&state));
  return copied(c, type, count, values);
}

const void *maybe_numbers(call *c, element type, size_t count, kind kind) {
  return leave_out(c) ? NULL : numbers(c, type, count, kind);
}

const void *integers(call *c, element type, size_t count, int64_t low, int64_t high) {
  static const int64_t wrong[] = {INT64_MIN, INT64_MAX, INT32_MIN, INT32_MAX, -1, 2, -100};
  uint64_t state = pick(c, 1 << 16);
  void *values = scratch(c, count * size_of[type]);
  const size_t at = count > 0 && fault(c) ? pick(c, count) : count;
  for (size_t i = 0; i < count; i++) {
    int64_t value = low + (int64_t)(mix(&state) % (uint64_t)(high - low + 1));
    if (i == at)
      value = pick(c, 2) ? high + 1 : wrong[pick(c, sizeof wrong / sizeof *wrong)];
    if (type == I64)
      ((int64_t *)values)[i] = value;
    else if (type == I32)
      ((int32_t *)values)[i] = (int32_t)value;
    else if (type == U32)
      ((uint32_t *)values)[i] = (uint32_t)value;
    else
      ((uint8_t *)values)[i] = (uint8_t)value;
  }
  return copied(c, type, count, values);
}

const void *maybe_integers(call *c, element type, size_t count, int64_t low, int64_t high) {
  return leave_out(c) ? NULL : integers(c, type, count, low, high);
}

/* Rooms */

void *place_on_heap(call *c, size_t bytes) {
  void *memory;
  if (posix_memalign(&memory, 64, bytes) != 0)
    fail(c, "no memory");
  return memory;
}

void release_to_heap(call *c, void *memory) {
  (void)c;
  free(memory);
}

typedef struct keepsake {
  struct keepsake *next;
  max_align_t memory[];
} keepsake;

static _Thread_local keepsake *keepsakes;

void *scratch(call *c, size_t bytes) {
  keepsake *kept = malloc(sizeof *kept + bytes);
  if (!kept)
    fail(c, "no memory");
  kept->next = keepsakes;
  keepsakes = kept;
  memset(kept->memory, 0, bytes);
  return kept->memory;
}

static void forget(void) {
  while (keepsakes) {
    keepsake *next = keepsakes->next;
    free(keepsakes);
    keepsakes = next;
  }
}

/** What stands in results before a call. */
static unsigned char filling(int run) { return run == 0 ? 0x5A : 0xA5; }

/** A room, and the pointer to it that the call is given: NULL, misaligned, or that of another room where it is to go wrong. */
static void *new_room(call *c, element type, size_t count, role role, const void *contents) {
  if (c->num_rooms == MOST_ROOMS)
    fail(c, "more than %d buffers", MOST_ROOMS);
  const int index = c->num_rooms++;
  room *r = &c->rooms[index];
  *r = (room){.size = count * size_of[type], .type = type, .role = role};
  r->row = r->stride = r->size;
  const bool is_laid_over = c->over >= 0 && index == (c->over > c->under ? c->over : c->under);
  if (is_laid_over) {
    const room *other = &c->rooms[c->over > c->under ? c->under : c->over];
    r->at = other->at + (other->size > 0 ? (other->size - 1) & ~(size_t)63 : 0);
  } else {
    r->at = c->place(c, r->size);
  }
  if (r->size > 0) {
    if (contents && !(is_laid_over && role != INPUT))
      memcpy(r->at, contents, r->size);
    else if (c->over < 0)
      memset(r->at, filling(0), r->size);
  }
  if (fault(c)) {
    r->role = SCRATCH; /* not in use */
    if (pick(c, 2))
      return NULL;
    const room *other = &c->rooms[pick(c, (uint64_t)index + 1)];
    return other->size >= r->size && !other->is_struct ? other->at : NULL;
  }
  if (c->faults && r->size > 0 && size_of[type] > 1 && seldom(c, 96)) {
    r->size--; /* the last byte would lie beyond */
    r->row = r->stride = r->size;
    return r->at + 1;
  }
  return r->at;
}

const void *copied(call *c, element type, size_t count, const void *contents) {
  return new_room(c, type, count, INPUT, contents);
}

const void *measure(call *c, element type, size_t count, const void *contents) {
  const bool faults = c->faults;
  c->faults = false;
  const void *given = copied(c, type, count, contents);
  c->faults = faults;
  return given;
}

void *result(call *c, element type, size_t count) { return new_room(c, type, count, RESULT, NULL); }

void *maybe_result(call *c, element type, size_t count) { return leave_out(c) ? NULL : result(c, type, count); }

void *state(call *c, element type, size_t count, const void *contents) {
  return new_room(c, type, count, STATE, contents);
}

void *workspace(call *c, size_t bytes) { return new_room(c, U8, bytes, WORKSPACE, NULL); }

void in_rows(call *c, size_t row, size_t stride) {
  room *r = &c->rooms[c->num_rooms - 1];
  r->row = row * size_of[r->type];
  r->stride = stride * size_of[r->type];
}

void *structure(call *c, const void *initial, size_t size, role role) {
  const size_t newer = seldom(c, 8) ? 16 : 0;
  unsigned char *contents = scratch(c, size + newer);
  memcpy(contents, initial, size);
  size_t claimed = size + newer;
  if (fault(c)) {
    static const size_t wrong[] = {0, 1, 8, SIZE_MAX, SIZE_MAX / 2, 1 << 20};
    claimed = pick(c, 2) ? size - 8 : wrong[pick(c, sizeof wrong / sizeof *wrong)];
  }
  if (newer && fault(c))
    contents[size + pick(c, newer)] = 1;
  memcpy(contents, &claimed, sizeof claimed);
  /* The caller sets fields, so that the pointer is as it should be. */
  const bool faults = c->faults;
  c->faults = false;
  void *made = new_room(c, I64, (size + newer) / 8, role, contents);
  c->faults = faults;
  c->rooms[c->num_rooms - 1].is_struct = role != STATE;
  return made;
}

/* The call */

static void remember(call *c, room *r) {
  r->before = scratch(c, r->size);
  if (r->size > 0)
    memcpy(r->before, r->at, r->size);
}

void ready(call *c) {
  for (int i = 0; i < c->num_rooms; i++)
    remember(c, &c->rooms[i]);
  c->culprit = (swiftdpo_culprit){"nobody", 999};
  c->runs = 0;
  if (c->seal)
    c->seal(c, true);
}

static bool is_as_before(const room *r) { return r->size == 0 || memcmp(r->at, r->before, r->size) == 0; }

static void check_outcome(const call *c) {
  const bool blames_nobody = strcmp(c->culprit.argument, "nobody") == 0 && c->culprit.index == 999;
  if (c->status == SWIFTDPO_OK && !blames_nobody)
    fail(c, "succeeded and blamed %s", c->culprit.argument);
  if (strcmp(swiftdpo_status_string(c->status), swiftdpo_status_string((swiftdpo_status)12345)) == 0)
    fail(c, "status %d has no name", c->status);
  for (int i = 0; i < c->num_rooms; i++) {
    const room *r = &c->rooms[i];
    const bool may_change = c->in_place && (c->faults || c->over >= 0) && c->status == SWIFTDPO_OK;
    if (r->role == INPUT && !may_change && !is_as_before(r))
      fail(c, "buffer %d, an input, has been written to", i);
    const bool is_late = c->may_write && c->status == SWIFTDPO_ERROR_NONFINITE && r->role == RESULT;
    if (c->status != SWIFTDPO_OK && r->role != WORKSPACE && !is_late && !is_as_before(r))
      fail(c, "refused (%s: %s), but buffer %d has been written to", c->culprit.argument,
           swiftdpo_status_string(c->status), i);
  }
}

static bool has_nan(const room *r) {
  for (size_t i = 0; i < r->size / size_of[r->type]; i++) {
    double value = 0;
    if (r->type == F64)
      value = ((const double *)(const void *)r->at)[i];
    else if (r->type == F32)
      value = ((const float *)(const void *)r->at)[i];
    else if (r->type == BF16)
      value = (((const uint16_t *)(const void *)r->at)[i] & 0x7fff) > 0x7f80 ? NAN : 0;
    else if (r->type == F16)
      value = (((const uint16_t *)(const void *)r->at)[i] & 0x7fff) > 0x7c00 ? NAN : 0;
    if (isnan(value))
      return true;
  }
  return false;
}

/** Compares the results of two calls row by row. Between rows nothing has changed. */
static void check_same(const call *c, int index) {
  const room *r = &c->rooms[index];
  for (size_t start = 0; start < r->size; start += r->stride) {
    const size_t row = r->size - start < r->row ? r->size - start : r->row;
    if (memcmp(r->written + start, r->at + start, row) != 0)
      fail(c, "the same call again writes something else to buffer %d, or does not write all of it", index);
    for (size_t gap = start + row; gap < start + r->stride && gap < r->size; gap++)
      if (r->written[gap] != r->before[gap] || r->at[gap] != (r->role == STATE ? r->before[gap] : filling(1)))
        fail(c, "buffer %d has been written to between rows", index);
  }
}

bool again(call *c) {
  if (c->seal)
    c->seal(c, false);
  if (c->runs > 0 && c->status != SWIFTDPO_OK)
    fail(c, "worked, and was then refused: %s[%zu]", c->culprit.argument, c->culprit.index);
  check_outcome(c);
  if (c->runs++ > 0) {
    for (int i = 0; i < c->num_rooms; i++)
      if (c->rooms[i].role == RESULT || c->rooms[i].role == STATE)
        check_same(c, i);
    return false;
  }
  if (!c->faults && c->over < 0 && c->huge[0] < 0) {
    if (c->status != SWIFTDPO_OK)
      fail(c, "refused a legal call: %s[%zu]: %s", c->culprit.argument, c->culprit.index,
           swiftdpo_status_string(c->status));
    for (int i = 0; c->promises_no_nan && i < c->num_rooms; i++)
      if (c->rooms[i].role == RESULT && has_nan(&c->rooms[i]))
        fail(c, "finite input gave NaN in buffer %d", i);
  }
  const bool may_differ = (c->cannot_refuse && c->faults) || (c->in_place && (c->faults || c->over >= 0));
  if (!c->repeats || c->status != SWIFTDPO_OK || may_differ)
    return false;
  for (int i = 0; i < c->num_rooms; i++) {
    room *r = &c->rooms[i];
    if (r->role != RESULT && r->role != STATE)
      continue;
    r->written = scratch(c, r->size);
    if (r->size == 0)
      continue;
    memcpy(r->written, r->at, r->size);
    if (r->role == STATE)
      memcpy(r->at, r->before, r->size);
    else
      memset(r->at, filling(1), r->size);
  }
  if (c->seal)
    c->seal(c, true);
  return true;
}

static uint64_t digest(const call *c) {
  uint64_t hash = UINT64_C(0xcbf29ce484222325) ^ (uint64_t)c->status;
  for (int i = 0; i < c->num_rooms; i++)
    if (c->rooms[i].role == RESULT || c->rooms[i].role == STATE)
      for (size_t byte = 0; byte < c->rooms[i].size; byte++)
        hash = (hash ^ c->rooms[i].at[byte]) * UINT64_C(0x100000001b3);
  return hash;
}

void make(call *c, const description *what) {
  c->function = what->function;
  c->num_rooms = c->num_counts = c->num_products = 0;
  c->promises_no_nan = c->in_place = c->cannot_refuse = c->may_write = false;
  c->wild = seldom(c, 6);
  what->make(c);
  if (c->digests)
    c->outcome = digest(c);
  for (int i = 0; i < c->num_rooms; i++)
    if (c->release && !(c->over >= 0 && i == (c->over > c->under ? c->over : c->under)))
      c->release(c, c->rooms[i].at);
  forget();
}
