/* swiftdpo_dpo_loss_* for XLA. */
#include "frame.h"

#define IN(NAME, ELEMENT) {#NAME, offsetof(swiftdpo_pairs_f64, NAME), ELEMENT, ROWS}
#define OUT(NAME, ELEMENT, EXTENT) {#NAME, offsetof(swiftdpo_pair_results_f64, NAME), ELEMENT, EXTENT}
#define OPTION(NAME, ELEMENT) {#NAME, offsetof(swiftdpo_dpo_options, NAME), ELEMENT, ONE}

/* One table serves both types: their structs are pointers in the same order. */
_Static_assert(sizeof(swiftdpo_pairs_f32) == sizeof(swiftdpo_pairs_f64), "one layout");
_Static_assert(sizeof(swiftdpo_pair_results_f32) == sizeof(swiftdpo_pair_results_f64), "one layout");

static const field inputs[] = {
    IN(policy_chosen_logps, REAL),
    IN(policy_rejected_logps, REAL),
    IN(ref_chosen_logps, REAL),
    IN(ref_rejected_logps, REAL),
    IN(betas, REAL),
    IN(margins, REAL),
    IN(weights, REAL),
    IN(soft_labels, REAL),
    IN(chosen_lengths, INT64),
    IN(rejected_lengths, INT64),
    IN(ties, BYTE),
    IN(reward_gaps, REAL),
    IN(sft_logps, REAL),
    IN(sft_lengths, INT64),
    {NULL},
};
static const field outputs[] = {
    OUT(loss, DOUBLE, ONE),
    OUT(losses, REAL, ROWS),
    OUT(grad_policy_chosen_logps, REAL, ROWS),
    OUT(grad_policy_rejected_logps, REAL, ROWS),
    OUT(chosen_rewards, REAL, ROWS),
    OUT(rejected_rewards, REAL, ROWS),
    OUT(grad_ref_chosen_logps, REAL, ROWS),
    OUT(grad_ref_rejected_logps, REAL, ROWS),
    OUT(grad_sft_logps, REAL, ROWS),
    OUT(grad_betas, REAL, ROWS),
    OUT(grad_margins, REAL, ROWS),
    {NULL},
};
static const field options[] = {
    OPTION(beta, DOUBLE),         OPTION(label_smoothing, DOUBLE), OPTION(reduction, INT32),
    OPTION(nonfinite, INT32),     OPTION(loss_types, INT32S),      OPTION(loss_weights, DOUBLES),
    OPTION(f_divergence, INT32),  OPTION(reference_free, INT32),   OPTION(f_alpha_divergence_coef, DOUBLE),
    OPTION(margin, DOUBLE),       OPTION(discopop_tau, DOUBLE),    OPTION(tie_strength, DOUBLE),
    OPTION(reward_scale, DOUBLE), OPTION(alphapo_alpha, DOUBLE),   {NULL},
};

typedef union {
  swiftdpo_pairs_f32 f32;
  swiftdpo_pairs_f64 f64;
} pairs;
typedef union {
  swiftdpo_pair_results_f32 f32;
  swiftdpo_pair_results_f64 f64;
} results;

static const char *measure(frame *frame, structs *structs) {
  const XLA_FFI_Buffer *first = input_named(frame, "policy_chosen_logps");
  const char *complaint = measure_outer(frame, first, 1);
  if (complaint != NULL)
    return complaint;
  if (frame->num_doubles != 0 && frame->num_doubles != frame->num_int32s)
    return "loss_types and loss_weights differ in length";
  ((swiftdpo_dpo_options *)structs->options)->num_losses = frame->num_int32s;
  ((pairs *)structs->data)->f64.count = frame->extents[ROWS] = elements(first, -1, first->rank);
  return NULL;
}

static swiftdpo_status run(XLA_FFI_DataType real, const structs *structs, swiftdpo_culprit *culprit) {
  const pairs *in = structs->data;
  const results *out = structs->results;
  return real == XLA_FFI_DataType_F32 ? swiftdpo_dpo_loss_f32(&in->f32, structs->options, &out->f32, culprit)
                                      : swiftdpo_dpo_loss_f64(&in->f64, structs->options, &out->f64, culprit);
}

XLA_FFI_Error *xla_dpo_loss(XLA_FFI_CallFrame *frame) {
  static const call call = {inputs, outputs, options, 0, measure, run};
  pairs in = {.f64 = SWIFTDPO_PAIRS_F64_INIT};
  swiftdpo_dpo_options chosen = SWIFTDPO_DPO_OPTIONS_INIT;
  results out = {.f64 = SWIFTDPO_PAIR_RESULTS_F64_INIT};
  return answer(frame, &call, &(structs){&in, &chosen, &out});
}
