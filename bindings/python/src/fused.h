/* A fused linear head, which all calls over hidden states take alike: fused.c reads it from Python's arguments. */
#ifndef SWIFTDPO_PYTHON_FUSED_H
#define SWIFTDPO_PYTHON_FUSED_H

#include "logits.h"

/** The operands of a head stand behind those of its batch, which has no logits. */
enum {
  HIDDEN = NUM_BATCH,
  WEIGHT,
  BIAS,
  REF_HIDDEN,
  REF_WEIGHT,
  REF_BIAS,
  GRAD_HIDDEN, /* written */
  GRAD_WEIGHT,
  GRAD_BIAS,
  NUM_HEAD
};

typedef struct head {
  operand in[NUM_HEAD];
  batch batch;
  size_t hidden_size, hidden_stride, ref_hidden_size, ref_hidden_stride;
  swiftdpo_fused_options options;
  Py_buffer workspace; /* the caller's; without an object if there is none */
  int32_t accumulate;
  PyObject *grad_hidden; /* the object that GRAD_HIDDEN is an array over, to be given back */
} head;

/**
 * Takes a head from the tuple that the package makes (swiftdpo/fused.py): hidden, weight, bias, ref_hidden, ref_weight,
 * ref_bias, labels, options, workspace_size, workspace, vocab_start, and None or (grad_hidden, grad_weight, grad_bias,
 * accumulate), of which each may be an array to be written, True for a new one, or None.
 */
int take_head(head *head, PyObject *tuple);

void release_head(head *head);

/** The head's gradients as a tuple, with None for those that were not asked for. */
PyObject *head_gradients(const head *head);

static inline int has_reference(const head *head) { return head->in[REF_HIDDEN].array != NULL; }

/** A head as one of the library's structs. A reference lends its matrices alone. */
#define HEAD_AS(STRUCT, head, HIDDEN, WEIGHT, BIAS, size, stride) \
  &(const STRUCT){ \
      .struct_size = sizeof(STRUCT), \
      .num_sequences = (head)->batch.num_sequences, \
      .sequence_length = (head)->batch.sequence_length, \
      .hidden_size = (size), \
      .vocab_size = (head)->batch.vocab_size, \
      .hidden = data_of((head)->in[HIDDEN].array), \
      .hidden_stride = (stride), \
      .weight = data_of((head)->in[WEIGHT].array), \
      .bias = data_of((head)->in[BIAS].array), \
      .labels = labels_of(&(head)->batch, 8), \
      .labels_i32 = labels_of(&(head)->batch, 4), \
      .offsets = data_of((head)->in[OFFSETS].array), \
      .mask = data_of((head)->in[MASK].array), \
      .token_weights = data_of((head)->in[TOKEN_WEIGHTS].array), \
      .ld_lengths = data_of((head)->in[LD_LENGTHS].array), \
      .vocab_start = (head)->batch.vocab_start, \
  }
#define POLICY_HEAD(STRUCT, head) \
  HEAD_AS(STRUCT, head, HIDDEN, WEIGHT, BIAS, (head)->hidden_size, (head)->hidden_stride)
#define REF_HEAD(STRUCT, head) \
  (has_reference(head) \
       ? HEAD_AS(STRUCT, head, REF_HIDDEN, REF_WEIGHT, REF_BIAS, (head)->ref_hidden_size, (head)->ref_hidden_stride) \
       : NULL)
#define GRADIENTS_AS(STRUCT, head) \
  &(const STRUCT){ \
      .struct_size = sizeof(STRUCT), \
      .grad_hidden = data_of((head)->in[GRAD_HIDDEN].array), \
      .grad_weight = data_of((head)->in[GRAD_WEIGHT].array), \
      .grad_bias = data_of((head)->in[GRAD_BIAS].array), \
      .accumulate = (head)->accumulate, \
  }

/** Calls the form of a function that is for the head's type, with what follows the head and its options. */
#define CALL_HEAD(function, head, ...) \
  ((head)->batch.type == F32   ? function##_f32(POLICY_HEAD(swiftdpo_linear_head_f32, head), &(head)->batch.options, \
                                                &(head)->options, __VA_ARGS__) \
   : (head)->batch.type == F16 ? function##_f16(POLICY_HEAD(swiftdpo_linear_head_half, head), &(head)->batch.options, \
                                                &(head)->options, __VA_ARGS__) \
                               : function##_bf16(POLICY_HEAD(swiftdpo_linear_head_half, head), &(head)->batch.options, \
                                                 &(head)->options, __VA_ARGS__))

#endif
