/*
 * A call over more than 2^31 elements: logits of 4 GiB that need 4 MiB of memory. One tile of rows is mapped over and over,
 * and another one at the end, so that an index that had been cut to 32 bits would find other logits there.
 */
#define _GNU_SOURCE
#include "large.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "swiftdpo.h"

enum { VOCABULARY = 1 << 17, ROWS_OF_TILE = 8, ROWS = (1 << 14) + ROWS_OF_TILE, TILES = ROWS / ROWS_OF_TILE };

static const size_t tile_bytes = (size_t)ROWS_OF_TILE * VOCABULARY * sizeof(uint16_t);

/** All tiles but the last are one and the same memory. */
static uint16_t *tiled(void) {
  const int file = memfd_create("tiles", 0);
  if (file < 0 || ftruncate(file, (off_t)(2 * tile_bytes)) != 0)
    return perror("memfd_create"), NULL;
  unsigned char *all = mmap(NULL, TILES * tile_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (all == MAP_FAILED)
    return perror("mmap"), NULL;
  for (size_t tile = 0; tile < TILES; tile++) {
    const off_t offset = tile == TILES - 1 ? (off_t)tile_bytes : 0;
    if (mmap(all + tile * tile_bytes, tile_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, offset) ==
        MAP_FAILED)
      return perror("mmap"), NULL;
  }
  close(file);
  return (uint16_t *)(void *)all;
}

/** The log-probabilities of rows, each a sequence of its own, and the gradient of their sum. */
static bool run(size_t rows, const uint16_t *given, const int64_t *labels, double *logps, uint16_t *gradient) {
  swiftdpo_logits_half logits = SWIFTDPO_LOGITS_HALF_INIT;
  logits.num_sequences = rows;
  logits.sequence_length = 1;
  logits.vocab_size = VOCABULARY;
  logits.logits = given;
  logits.labels = labels;
  swiftdpo_logps_options options = SWIFTDPO_LOGPS_OPTIONS_INIT;
  options.shift = 0;
  swiftdpo_logps_results results = SWIFTDPO_LOGPS_RESULTS_INIT;
  results.logps = logps;
  double *ones = malloc(rows * sizeof *ones);
  for (size_t row = 0; ones && row < rows; row++)
    ones[row] = 1;
  swiftdpo_culprit culprit = {"nobody", 0};
  const bool works =
      ones && swiftdpo_sequence_logps_bf16(&logits, &options, &results, &culprit) == SWIFTDPO_OK &&
      swiftdpo_sequence_logps_backward_bf16(&logits, &options, ones, NULL, gradient, &culprit) == SWIFTDPO_OK;
  if (!works)
    fprintf(stderr, "large: refused: %s[%zu]\n", culprit.argument, culprit.index);
  free(ones);
  return works;
}

/** Whether all rows together are what those of each tile are alone. */
static bool compare(uint16_t *logits, uint16_t *gradient, uint16_t *expected, int64_t *labels, double *logps) {
  uint16_t *const ends[] = {logits, logits + (size_t)(ROWS - ROWS_OF_TILE) * VOCABULARY};
  for (size_t end = 0; end < 2; end++)
    for (size_t i = 0; i < (size_t)ROWS_OF_TILE * VOCABULARY; i++)
      ends[end][i] = (uint16_t)((i * 2654435761u >> 24 & 0x80ff) + 0x3f00 + 0x40 * end); /* 0.5 to 3 */
  for (size_t row = 0; row < ROWS; row++)
    labels[row] = VOCABULARY - 1 - (int64_t)(row % ROWS_OF_TILE);

  if (!run(ROWS, logits, labels, logps, gradient))
    return false;
  double expected_logps[2 * ROWS_OF_TILE];
  bool same = true;
  for (size_t end = 0; end < 2; end++) {
    if (!run(ROWS_OF_TILE, ends[end], labels, expected_logps + end * ROWS_OF_TILE, expected))
      return false;
    same &= memcmp(gradient + (ends[end] - logits), expected, tile_bytes) == 0;
  }
  same &= memcmp(expected_logps, expected_logps + ROWS_OF_TILE, sizeof expected_logps / 2) != 0;
  for (size_t row = 0; row < ROWS; row++)
    same &= logps[row] == expected_logps[row % ROWS_OF_TILE + (row >= ROWS - ROWS_OF_TILE ? ROWS_OF_TILE : 0)];
  if (!same)
    fprintf(stderr, "large: rows of a batch of more than 2^31 logits are not what they are alone\n");
  return same;
}

unsigned long test_large(unsigned rounds) {
  (void)rounds;
  uint16_t *logits = tiled(), *gradient = tiled(), *expected = malloc(tile_bytes);
  int64_t *labels = malloc(ROWS * sizeof *labels);
  double *logps = malloc(ROWS * sizeof *logps);
  const bool same =
      logits && gradient && expected && labels && logps && compare(logits, gradient, expected, labels, logps);
  if (logits)
    munmap(logits, TILES * tile_bytes);
  if (gradient)
    munmap(gradient, TILES * tile_bytes);
  free(expected);
  free(labels);
  free(logps);
  return same ? 2 : 0;
}
