/* A batch of logits, which all calls over logits take alike: logits.c reads it from Python's arguments. */
#ifndef SWIFTDPO_PYTHON_LOGITS_H
#define SWIFTDPO_PYTHON_LOGITS_H

#include "core.h"

/** The operands of a batch come first among those of its call. */
enum { LOGITS, LABELS, MASK, OFFSETS, TOKEN_WEIGHTS, LD_LENGTHS, NUM_BATCH };

typedef struct batch {
  const operand *in;
  element type;
  size_t num_sequences, sequence_length, vocab_size, row_stride, vocab_start;
  swiftdpo_logps_options options;
} batch;

/** Takes a batch: its arrays into the first operands, its options from a dictionary of LogpsOptions. `logits` is NULL
 * for a call that reads none. */
int take_batch(batch *batch, operand *in, PyObject *logits, PyObject *labels, PyObject *options);

/** The elements from one row of logits to the next in an array of any number of axes. It may be a slice of a larger
 * one, if its rows lie evenly. */
int take_row_stride(const operand *argument, size_t *row_stride);

/** Allocates arrays with an element for each row of logits, in the labels' shape. */
int new_row_arrays(PyArrayObject **arrays, size_t count, const batch *batch, int type);

/** Checks that an operand has an element for each row of logits. */
int check_row_shape(const operand *argument, const batch *batch);

/* -- logps.c: the results of log-probabilities ---------------------------------------------------------------------- */

enum {
  LOGPS, /* of sequences, as num_tokens is; the others are of rows */
  NUM_TOKENS,
  TOKEN_LOGPS,
  LOG_NORMALIZERS,
  ROW_FLAGS,
  ENTROPIES, /* from here on: NULL unless they are asked for */
  LOG_SUM_SQUARES,
  MEAN_LOGITS,
  TOP_1,
  NUM_LOGPS_ARRAYS
};

int new_logps_arrays(PyArrayObject **arrays, const batch *batch, int by_products);

swiftdpo_logps_results logps_results(PyArrayObject *const *arrays);

/* -- A batch in the library's terms --------------------------------------------------------------------------------- */

static inline int is_long(const batch *batch) {
  return batch->in[LOGITS].array != NULL && PyArray_SIZE(batch->in[LOGITS].array) >= MANY_LOGITS;
}

static inline void *labels_of(const batch *batch, int size) {
  PyArrayObject *labels = batch->in[LABELS].array;
  return PyArray_ITEMSIZE(labels) == size ? PyArray_DATA(labels) : NULL;
}

/** The batch as one of the library's structs, which differ in the type of one pointer. */
#define AS(STRUCT, batch) \
  &(const STRUCT){ \
      .struct_size = sizeof(STRUCT), \
      .num_sequences = (batch)->num_sequences, \
      .sequence_length = (batch)->sequence_length, \
      .vocab_size = (batch)->vocab_size, \
      .logits = data_of((batch)->in[LOGITS].array), \
      .row_stride = (batch)->row_stride, \
      .labels = labels_of(batch, 8), \
      .labels_i32 = labels_of(batch, 4), \
      .offsets = data_of((batch)->in[OFFSETS].array), \
      .mask = data_of((batch)->in[MASK].array), \
      .token_weights = data_of((batch)->in[TOKEN_WEIGHTS].array), \
      .ld_lengths = data_of((batch)->in[LD_LENGTHS].array), \
      .vocab_start = (batch)->vocab_start, \
  }

/** Calls the form of a function that is for the batch's type of logits. */
#define CALL(function, batch, ...) \
  ((batch)->type == F32   ? function##_f32(AS(swiftdpo_logits_f32, batch), &(batch)->options, __VA_ARGS__) \
   : (batch)->type == F64 ? function##_f64(AS(swiftdpo_logits_f64, batch), &(batch)->options, __VA_ARGS__) \
   : (batch)->type == F16 ? function##_f16(AS(swiftdpo_logits_half, batch), &(batch)->options, __VA_ARGS__) \
                          : function##_bf16(AS(swiftdpo_logits_half, batch), &(batch)->options, __VA_ARGS__))

#endif
