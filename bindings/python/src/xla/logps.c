/* swiftdpo_sequence_logps_* and swiftdpo_sequence_logps_backward_* for XLA. */
#include "frame.h"

#define IN(NAME, ELEMENT, EXTENT) {#NAME, offsetof(swiftdpo_logits_f64, NAME), ELEMENT, EXTENT}
#define OUT(NAME, ELEMENT, EXTENT) {#NAME, offsetof(swiftdpo_logps_results, NAME), ELEMENT, EXTENT}
#define OPTION(NAME, ELEMENT) {#NAME, offsetof(swiftdpo_logps_options, NAME), ELEMENT, ONE}

/* One table serves all types: their structs are pointers in the same order. */
_Static_assert(sizeof(swiftdpo_logits_f32) == sizeof(swiftdpo_logits_f64), "one layout");
_Static_assert(sizeof(swiftdpo_logits_half) == sizeof(swiftdpo_logits_f64), "one layout");

/** A batch of logits, and what the backward call has beside it. */
typedef struct {
  union {
    swiftdpo_logits_f32 f32;
    swiftdpo_logits_f64 f64;
    swiftdpo_logits_half half;
  } logits;
  const double *grad_logps, *log_normalizers;
} batch;

#define BATCH \
  IN(logits, REAL, ITEMS), IN(labels, INT64, ROWS), IN(labels_i32, INT32, ROWS), IN(offsets, INT64, OFFSETS), \
      IN(mask, BYTE, ROWS), IN(token_weights, DOUBLE, ROWS), IN(ld_lengths, INT64, GROUPS)

static const field inputs[] = {BATCH, {NULL}};
static const field outputs[] = {
    OUT(logps, DOUBLE, GROUPS),
    OUT(num_tokens, INT64, GROUPS),
    OUT(token_logps, DOUBLE, ROWS),
    OUT(log_normalizers, DOUBLE, ROWS),
    {NULL},
};
static const field backward_inputs[] = {
    BATCH,
    {"grad_logps", offsetof(batch, grad_logps), DOUBLE, GROUPS},
    {"log_normalizers", offsetof(batch, log_normalizers), DOUBLE, ROWS},
    {NULL},
};
static const field backward_outputs[] = {{"grad_logits", 0, REAL, ITEMS}, {NULL}}; /* the struct is the pointer */
static const field options[] = {
    OPTION(ignore_index, INT64), OPTION(shift, INT32),     OPTION(average, INT32),   OPTION(logit_scale, DOUBLE),
    OPTION(softcap, DOUBLE),     OPTION(ld_alpha, DOUBLE), OPTION(nonfinite, INT32), {NULL},
};

/** The last offset has to be the number of rows, for the library cannot know that. */
static const char *check_last_offsets(const frame *frame, const XLA_FFI_Buffer *offsets, size_t rows) {
  const size_t count = elements(offsets, -1, offsets->rank);
  if (count == 0 || elements(offsets, 0, offsets->rank) != count * frame->outer)
    return "offsets must be an element more than there are sequences";
  for (size_t i = 0; i < frame->outer; i++) {
    const size_t last = (i + 1) * count - 1;
    const int64_t end = offsets->dtype == XLA_FFI_DataType_S32   ? ((const int32_t *)offsets->data)[last]
                        : offsets->dtype == XLA_FFI_DataType_S64 ? ((const int64_t *)offsets->data)[last]
                                                                 : -1;
    if (end < 0 || (size_t)end != rows)
      return "the last offset is not the number of rows";
  }
  return NULL;
}

static const char *measure(frame *frame, structs *structs) {
  const XLA_FFI_Buffer *logits = input_named(frame, "logits"), *offsets = input_named(frame, "offsets");
  const char *complaint = measure_outer(frame, logits, offsets == NULL ? 3 : 2);
  if (complaint != NULL)
    return complaint;
  swiftdpo_logits_f64 *in = &((batch *)structs->data)->logits.f64;
  in->vocab_size = elements(logits, -1, logits->rank);
  if (offsets == NULL) {
    in->num_sequences = elements(logits, -3, logits->rank - 2);
    in->sequence_length = elements(logits, -2, logits->rank - 1);
    frame->extents[ROWS] = in->num_sequences * in->sequence_length;
  } else {
    frame->extents[ROWS] = elements(logits, -2, logits->rank - 1);
    complaint = check_last_offsets(frame, offsets, frame->extents[ROWS]);
    in->num_sequences = elements(offsets, -1, offsets->rank) - 1;
  }
  frame->extents[GROUPS] = in->num_sequences;
  frame->extents[OFFSETS] = in->num_sequences + 1;
  frame->extents[ITEMS] = frame->extents[ROWS] * in->vocab_size;
  return complaint;
}

static swiftdpo_status run(XLA_FFI_DataType real, const structs *structs, swiftdpo_culprit *culprit) {
  const batch *in = structs->data;
  switch (real) {
  case XLA_FFI_DataType_F32:
    return swiftdpo_sequence_logps_f32(&in->logits.f32, structs->options, structs->results, culprit);
  case XLA_FFI_DataType_BF16:
    return swiftdpo_sequence_logps_bf16(&in->logits.half, structs->options, structs->results, culprit);
  case XLA_FFI_DataType_F16:
    return swiftdpo_sequence_logps_f16(&in->logits.half, structs->options, structs->results, culprit);
  default:
    return swiftdpo_sequence_logps_f64(&in->logits.f64, structs->options, structs->results, culprit);
  }
}

static swiftdpo_status run_backward(XLA_FFI_DataType real, const structs *structs, swiftdpo_culprit *culprit) {
  const batch *in = structs->data;
  void *out = *(void **)structs->results;
  const double *grad_logps = in->grad_logps, *normalizers = in->log_normalizers;
  const swiftdpo_logps_options *chosen = structs->options;
  switch (real) {
  case XLA_FFI_DataType_F32:
    return swiftdpo_sequence_logps_backward_f32(&in->logits.f32, chosen, grad_logps, normalizers, out, culprit);
  case XLA_FFI_DataType_BF16:
    return swiftdpo_sequence_logps_backward_bf16(&in->logits.half, chosen, grad_logps, normalizers, out, culprit);
  case XLA_FFI_DataType_F16:
    return swiftdpo_sequence_logps_backward_f16(&in->logits.half, chosen, grad_logps, normalizers, out, culprit);
  default:
    return swiftdpo_sequence_logps_backward_f64(&in->logits.f64, chosen, grad_logps, normalizers, out, culprit);
  }
}

XLA_FFI_Error *xla_sequence_logps(XLA_FFI_CallFrame *frame) {
  static const call call = {inputs, outputs, options, 1, measure, run};
  batch in = {.logits.f64 = SWIFTDPO_LOGITS_F64_INIT};
  swiftdpo_logps_options chosen = SWIFTDPO_LOGPS_OPTIONS_INIT;
  swiftdpo_logps_results out = SWIFTDPO_LOGPS_RESULTS_INIT;
  return answer(frame, &call, &(structs){&in, &chosen, &out});
}

XLA_FFI_Error *xla_sequence_logps_backward(XLA_FFI_CallFrame *frame) {
  static const call call = {backward_inputs, backward_outputs, options, 1, measure, run_backward};
  batch in = {.logits.f64 = SWIFTDPO_LOGITS_F64_INIT};
  swiftdpo_logps_options chosen = SWIFTDPO_LOGPS_OPTIONS_INIT;
  void *grad_logits = NULL;
  return answer(frame, &call, &(structs){&in, &chosen, (void *)&grad_logits});
}
