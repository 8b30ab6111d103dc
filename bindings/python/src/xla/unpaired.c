/* swiftdpo_unpaired_loss_* for XLA. */
#include "frame.h"

#define IN(NAME, ELEMENT) {#NAME, offsetof(swiftdpo_unpaired_f64, NAME), ELEMENT, ROWS}
#define OUT(NAME, ELEMENT, EXTENT) {#NAME, offsetof(swiftdpo_unpaired_results_f64, NAME), ELEMENT, EXTENT}
#define OPTION(NAME, ELEMENT) {#NAME, offsetof(swiftdpo_unpaired_options, NAME), ELEMENT, ONE}

/* One table serves both types: their structs are pointers in the same order. */
_Static_assert(sizeof(swiftdpo_unpaired_f32) == sizeof(swiftdpo_unpaired_f64), "one layout");
_Static_assert(sizeof(swiftdpo_unpaired_results_f32) == sizeof(swiftdpo_unpaired_results_f64), "one layout");

static const field inputs[] = {
    IN(policy_logps, REAL),
    IN(ref_logps, REAL),
    IN(desirable, BYTE),
    IN(betas, REAL),
    IN(weights, REAL),
    {"baseline", offsetof(swiftdpo_unpaired_options, baseline), PARAMETER, ONE},
    {NULL},
};
static const field outputs[] = {
    OUT(loss, DOUBLE, ONE),   OUT(losses, REAL, ROWS),     OUT(grad_policy_logps, REAL, ROWS),
    OUT(rewards, REAL, ROWS), OUT(grad_betas, REAL, ROWS), {NULL},
};
static const field options[] = {
    OPTION(beta, DOUBLE),
    OPTION(baseline, DOUBLE),
    OPTION(desirable_weight, DOUBLE),
    OPTION(undesirable_weight, DOUBLE),
    OPTION(loss_type, INT32),
    OPTION(reduction, INT32),
    OPTION(nonfinite, INT32),
    {NULL},
};

typedef union {
  swiftdpo_unpaired_f32 f32;
  swiftdpo_unpaired_f64 f64;
} unpaired;
typedef union {
  swiftdpo_unpaired_results_f32 f32;
  swiftdpo_unpaired_results_f64 f64;
} results;

static const char *measure(frame *frame, structs *structs) {
  const XLA_FFI_Buffer *first = input_named(frame, "policy_logps");
  const char *complaint = measure_outer(frame, first, 1);
  if (complaint == NULL)
    ((unpaired *)structs->data)->f64.count = frame->extents[ROWS] = elements(first, -1, first->rank);
  return complaint;
}

static swiftdpo_status run(XLA_FFI_DataType real, const structs *structs, swiftdpo_culprit *culprit) {
  const unpaired *in = structs->data;
  const results *out = structs->results;
  return real == XLA_FFI_DataType_F32 ? swiftdpo_unpaired_loss_f32(&in->f32, structs->options, &out->f32, culprit)
                                      : swiftdpo_unpaired_loss_f64(&in->f64, structs->options, &out->f64, culprit);
}

XLA_FFI_Error *xla_unpaired_loss(XLA_FFI_CallFrame *frame) {
  static const call call = {inputs, outputs, options, 0, measure, run};
  unpaired in = {.f64 = SWIFTDPO_UNPAIRED_F64_INIT};
  swiftdpo_unpaired_options chosen = SWIFTDPO_UNPAIRED_OPTIONS_INIT;
  results out = {.f64 = SWIFTDPO_UNPAIRED_RESULTS_F64_INIT};
  return answer(frame, &call, &(structs){&in, &chosen, &out});
}
