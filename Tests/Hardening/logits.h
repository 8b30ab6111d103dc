/* What descriptions of calls over logits share. */
#ifndef LOGITS_H
#define LOGITS_H

#include "calls.h"

/** The shape of a batch, and what stands beside its logits. */
typedef struct shape {
  size_t num_sequences, sequence_length, vocab_size, row_stride, vocab_start; /**< as the call is told */
  size_t sequences, rows, vocabulary, stride, extent;                         /**< as the buffers are */
  size_t num_groups; /**< as the call is told: sequences / group */
  size_t width;      /**< of hidden states */
  const int64_t *offsets;
  const int64_t *labels;
  const int32_t *labels_i32;
  const uint8_t *mask;
  const double *token_weights;
  const int64_t *ld_lengths;
} shape;

swiftdpo_logps_options *logps_options(call *c);

/** Whose columns are read or written, and whether they are a shard of the vocabulary. */
shape choose_shape(call *c, swiftdpo_logps_options *options, bool reads, bool is_shard);

/** Its parts, for batches of hidden states: sequences, which come by `group`s, with their rows; and labels of those. */
shape choose_rows(call *c, size_t group);
void choose_labels(call *c, swiftdpo_logps_options *options, shape *shape, bool is_shard);

/** Logits as an input or, to be overwritten, as state. */
void *some_logits(call *c, element type, const shape *shape, role role);

/** Results of a forward call; those that shards cannot give are left out. */
swiftdpo_logps_results *logps_results(call *c, const shape *shape, bool is_shard);

#endif
