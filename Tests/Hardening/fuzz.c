/*
 * A fuzzer for one family of functions, -DFAMILY="pairs": the bytes choose the function and make up its call, as calls_*.c
 * describe it, legal or with faults. Buffers have just their size on the heap, so that the address sanitizer sees what goes
 * beyond; call.c sees the rest.
 */
#include <stdlib.h>
#include <string.h>

#include "call.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const description *family[64];
  static size_t members;
  if (members == 0) {
    for (size_t i = 0; i < num_descriptions; i++)
      if (strcmp(descriptions[i].family, FAMILY) == 0 && members < sizeof family / sizeof *family)
        family[members++] = &descriptions[i];
    if (members == 0)
      abort();
  }
  if (size < 2)
    return -1;
  call c = {.bytes = data + 2,
            .bytes_left = size - 2,
            .faults = data[1] % 4 != 0,
            .repeats = data[1] % 8 < 4,
            .place = place_on_heap,
            .release = release_to_heap,
            .over = -1,
            .under = -1,
            .huge = {-1, -1}};
  make(&c, family[data[0] % members]);
  return 0;
}
