/*
 * How a call refuses bad input: by its status, the culprit it names, and results that it leaves alone.
 *
 * A file that includes this defines
 *   fixture                  a valid call: `read` holds the buffers that the call reads, `written` those that it writes
 *   fixture_init(fixture *)  with `written` full of UNTOUCHED bytes
 *   call(fixture *, swiftdpo_culprit *)
 */
#ifndef REFUSED_H
#define REFUSED_H

#include "check.h"

enum { UNTOUCHED = 0x5A };

static inline bool is_untouched(const void *buffer, size_t size) {
  const unsigned char *bytes = buffer;
  for (size_t i = 0; i < size; i++)
    if (bytes[i] != UNTOUCHED)
      return false;
  return true;
}

/** `pointer` moved by one byte, where it is aligned for nothing. */
#define MISALIGNED(pointer) ((void *)((char *)(pointer) + 1))

/** Breaks a valid call `f` by the given statements, and expects to be refused for just that. */
#define REFUSED(status, argument_name, element, ...) \
  do { \
    fixture f; \
    fixture_init(&f); \
    __VA_ARGS__; \
    const fixture before = f; \
    swiftdpo_culprit culprit = {"nobody", 999}; \
    CHECK_STATUS(status, call(&f, &culprit)); \
    check_that(strcmp(culprit.argument, argument_name) == 0, __FILE__, __LINE__, "blamed %s, not %s: %s", \
               culprit.argument, argument_name, #__VA_ARGS__); \
    check_that(culprit.index == (element), __FILE__, __LINE__, "blamed element %zu: %s", culprit.index, #__VA_ARGS__); \
    CHECK(is_untouched(&f.written, sizeof f.written)); \
    CHECK_SAME_BITS(&f.read, &before.read, sizeof f.read); \
    CHECK_STATUS(status, call(&f, NULL)); \
  } while (0)

/** The fixture is valid as it is; a call that works blames nobody. */
#define ACCEPTED(...) \
  do { \
    fixture f; \
    fixture_init(&f); \
    __VA_ARGS__; \
    swiftdpo_culprit culprit = {"nobody", 999}; \
    CHECK_OK(call(&f, &culprit)); \
    CHECK(strcmp(culprit.argument, "nobody") == 0 && culprit.index == 999); \
  } while (0)

#endif
