/* swiftdpo_plackett_luce_loss_* for XLA. */
#include "frame.h"

#define IN(NAME, ELEMENT, EXTENT) {#NAME, offsetof(swiftdpo_rankings_f64, NAME), ELEMENT, EXTENT}
#define OUT(NAME, ELEMENT, EXTENT) {#NAME, offsetof(swiftdpo_ranking_results_f64, NAME), ELEMENT, EXTENT}
#define OPTION(NAME, ELEMENT) {#NAME, offsetof(swiftdpo_plackett_luce_options, NAME), ELEMENT, ONE}

/* One table serves both types: their structs are pointers in the same order. */
_Static_assert(sizeof(swiftdpo_rankings_f32) == sizeof(swiftdpo_rankings_f64), "one layout");
_Static_assert(sizeof(swiftdpo_ranking_results_f32) == sizeof(swiftdpo_ranking_results_f64), "one layout");

/* ROWS are places, OTHERS strengths of ties. */
static const field inputs[] = {
    IN(policy_logps, REAL, ITEMS),     IN(ref_logps, REAL, ITEMS),
    IN(rankings, INT64, ITEMS),        IN(ranks, INT64, ITEMS),
    IN(betas, REAL, GROUPS),           IN(weights, REAL, GROUPS),
    IN(offsets, INT64, OFFSETS),       IN(position_weights, REAL, ROWS),
    IN(tie_strengths, DOUBLE, OTHERS), {NULL},
};
static const field outputs[] = {
    OUT(loss, DOUBLE, ONE),
    OUT(losses, REAL, GROUPS),
    OUT(grad_policy_logps, REAL, ITEMS),
    OUT(rewards, REAL, ITEMS),
    {NULL},
};
static const field options[] = {
    OPTION(beta, DOUBLE),        OPTION(reduction, INT32), OPTION(nonfinite, INT32), OPTION(unlisted, INT32),
    OPTION(first_choice, INT32), OPTION(top, SIZE),        OPTION(ties, INT32),      {NULL},
};

typedef union {
  swiftdpo_rankings_f32 f32;
  swiftdpo_rankings_f64 f64;
} rankings;
typedef union {
  swiftdpo_ranking_results_f32 f32;
  swiftdpo_ranking_results_f64 f64;
} results;

/** Elements along the last axis of an input that may be missing. */
static size_t length(const frame *frame, const char *name) {
  const XLA_FFI_Buffer *buffer = input_named(frame, name);
  return buffer == NULL || buffer->rank == 0 ? 0 : elements(buffer, -1, buffer->rank);
}

static const char *measure(frame *frame, structs *structs) {
  const XLA_FFI_Buffer *first = input_named(frame, "policy_logps"), *offsets = input_named(frame, "offsets");
  const char *complaint = measure_outer(frame, first, offsets == NULL ? 2 : 1);
  if (complaint != NULL)
    return complaint;
  swiftdpo_rankings_f64 *in = &((rankings *)structs->data)->f64;
  if (offsets == NULL) {
    in->num_groups = elements(first, -2, first->rank - 1);
    in->group_size = elements(first, -1, first->rank);
    frame->extents[ITEMS] = in->num_groups * in->group_size;
  } else {
    if (length(frame, "offsets") == 0)
      return "offsets are empty";
    in->num_groups = length(frame, "offsets") - 1;
    frame->extents[ITEMS] = elements(first, -1, first->rank);
  }
  frame->extents[GROUPS] = in->num_groups;
  frame->extents[OFFSETS] = in->num_groups + 1;
  frame->extents[ROWS] = in->num_position_weights = length(frame, "position_weights");
  frame->extents[OTHERS] = in->num_tie_strengths = length(frame, "tie_strengths");
  return NULL;
}

static swiftdpo_status run(XLA_FFI_DataType real, const structs *structs, swiftdpo_culprit *culprit) {
  const rankings *in = structs->data;
  const results *out = structs->results;
  return real == XLA_FFI_DataType_F32 ? swiftdpo_plackett_luce_loss_f32(&in->f32, structs->options, &out->f32, culprit)
                                      : swiftdpo_plackett_luce_loss_f64(&in->f64, structs->options, &out->f64, culprit);
}

XLA_FFI_Error *xla_plackett_luce_loss(XLA_FFI_CallFrame *frame) {
  static const call call = {inputs, outputs, options, 0, measure, run};
  rankings in = {.f64 = SWIFTDPO_RANKINGS_F64_INIT};
  swiftdpo_plackett_luce_options chosen = SWIFTDPO_PLACKETT_LUCE_OPTIONS_INIT;
  results out = {.f64 = SWIFTDPO_RANKING_RESULTS_F64_INIT};
  return answer(frame, &call, &(structs){&in, &chosen, &out});
}
