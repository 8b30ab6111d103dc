/* Pairs. */
#include "calls.h"

static bool takes_divergence(swiftdpo_loss_type loss) {
  switch (loss) {
  case SWIFTDPO_LOSS_NCA_PAIR:
  case SWIFTDPO_LOSS_BCO_PAIR:
  case SWIFTDPO_LOSS_SPPO_HARD:
  case SWIFTDPO_LOSS_AOT:
  case SWIFTDPO_LOSS_AOT_UNPAIRED:
  case SWIFTDPO_LOSS_APO_ZERO:
  case SWIFTDPO_LOSS_APO_DOWN:
  case SWIFTDPO_LOSS_ALPHAPO:
  case SWIFTDPO_LOSS_ODDS_RATIO:
    return false;
  default:
    return true;
  }
}

/** Up to 16 losses, `of_margin`: of z alone. Returns whether one of them goes without a reference. `has_powers`: some may
 * overflow and cancel. */
static bool add_losses(call *c, swiftdpo_dpo_options *options, bool of_margin, bool *needs_data, bool *has_powers) {
  *needs_data = *has_powers = false;
  if (leave_out(c))
    return false;
  int32_t losses[16];
  bool no_reference = false;
  bool takes = true;
  options->num_losses = 1 + pick(c, pick(c, 4) == 0 ? 16 : 3);
  for (size_t i = 0; i < options->num_losses; i++) {
    losses[i] = choice(c, SWIFTDPO_LOSS_SLIC + 1);
    if (of_margin && !takes_divergence((swiftdpo_loss_type)losses[i]) && !fault(c))
      losses[i] = SWIFTDPO_LOSS_SIGMOID;
    const swiftdpo_loss_type loss = (swiftdpo_loss_type)losses[i];
    *has_powers |= c->wild || loss == SWIFTDPO_LOSS_ALPHAPO || loss == SWIFTDPO_LOSS_DISCOPOP;
    no_reference |= loss == SWIFTDPO_LOSS_ODDS_RATIO;
    takes &= takes_divergence(loss);
  }
  options->loss_types = copied(c, I32, options->num_losses, losses);
  options->loss_weights = maybe_numbers(c, F64, options->num_losses, NONNEGATIVE);
  if (takes || fault(c))
    options->f_divergence = (swiftdpo_f_divergence)choice(c, 4);
  *has_powers |= options->f_divergence != SWIFTDPO_REVERSE_KL;
  if (fault(c))
    options->num_losses = pick(c, 2) ? 0 : 17 + pick(c, 100); /* there are not as many */
  *needs_data = true;
  return no_reference;
}

/** The divergences of TDPO. */
static const LAID_OUT(swiftdpo_tdpo) * divergences(call *c, size_t n) {
  LAID_OUT(swiftdpo_tdpo) *tdpo = STRUCT(c, LAID_OUT(swiftdpo_tdpo), INIT(TDPO));
  tdpo->chosen_kl = numbers(c, ELEMENT, n, REAL);
  tdpo->rejected_kl = numbers(c, ELEMENT, n, REAL);
  tdpo->alpha = number(c, NONNEGATIVE);
  tdpo->loss_type = (swiftdpo_tdpo_loss_type)choice(c, 2);
  tdpo->grad_chosen_kl = maybe_result(c, ELEMENT, n);
  tdpo->grad_rejected_kl = maybe_result(c, ELEMENT, n);
  tdpo->kl_margins = maybe_result(c, ELEMENT, n);
  return tdpo;
}

static void pair_loss(call *c, bool is_tdpo) {
  LAID_OUT(swiftdpo_pairs) *pairs = STRUCT(c, LAID_OUT(swiftdpo_pairs), INIT(PAIRS));
  swiftdpo_dpo_options *options = STRUCT(c, swiftdpo_dpo_options, SWIFTDPO_DPO_OPTIONS_INIT);
  LAID_OUT(swiftdpo_pair_results) *results = STRUCT(c, LAID_OUT(swiftdpo_pair_results), INIT(PAIR_RESULTS));
  const size_t n = count(c, &pairs->count, 0, 10000);

  /* Pairs with nothing of their own, which go a shorter way if they are few. */
  const bool plain = !c->everything && pick(c, 3) == 0;
  const bool nothing = c->nothing;
  c->nothing |= plain;
  bool is_mixture, has_powers;
  const bool no_reference = add_losses(c, options, is_tdpo, &is_mixture, &has_powers);
  options->beta = number(c, POSITIVE);
  options->label_smoothing = is_mixture || pick(c, 2) ? 0.45 * number(c, INNER_UNIT) : 0;
  options->reduction = (swiftdpo_reduction)choice(c, 3);
  options->nonfinite = (swiftdpo_nonfinite)choice(c, 3);
  c->may_write = options->nonfinite == SWIFTDPO_NONFINITE_ERROR_LATE;
  options->reference_free = choice(c, 2);
  options->margin = !plain && pick(c, 2) ? number(c, REAL) : 0;
  options->f_alpha_divergence_coef = number(c, REAL);
  options->discopop_tau = number(c, POSITIVE);
  options->tie_strength = 1.125 + number(c, POSITIVE);
  options->reward_scale = number(c, REAL);
  options->alphapo_alpha = number(c, REAL);

  pairs->policy_chosen_logps = numbers(c, ELEMENT, n, LOGP);
  pairs->policy_rejected_logps = numbers(c, ELEMENT, n, LOGP);
  if (no_reference)
    options->reference_free = 1;
  c->nothing = nothing;
  if (!leave_out(c)) {
    pairs->ref_chosen_logps = numbers(c, ELEMENT, n, LOGP);
    pairs->ref_rejected_logps = numbers(c, ELEMENT, n, LOGP);
  }
  c->nothing |= plain;
  pairs->betas = maybe_numbers(c, ELEMENT, n, POSITIVE);
  pairs->margins = maybe_numbers(c, ELEMENT, n, REAL);
  pairs->weights = maybe_numbers(c, ELEMENT, n, NONNEGATIVE);
  pairs->soft_labels = maybe_numbers(c, ELEMENT, n, is_mixture ? INNER_UNIT : UNIT);
  const bool has_data = is_mixture || !leave_out(c);
  if (has_data) {
    pairs->chosen_lengths = integers(c, I64, n, 0, 100);
    pairs->rejected_lengths = integers(c, I64, n, 0, c->wild ? INT64_MAX - 1 : 100);
    pairs->reward_gaps = numbers(c, ELEMENT, n, REAL);
  }
  pairs->ties = maybe_integers(c, U8, n, 0, 1);
  if (!leave_out(c)) {
    pairs->sft_logps = numbers(c, ELEMENT, n, LOGP);
    pairs->sft_lengths = integers(c, I64, n, 0, 100);
  }

  c->nothing = nothing;
  results->loss = maybe_result(c, F64, 1);
  results->losses = maybe_result(c, ELEMENT, n);
  results->grad_policy_chosen_logps = maybe_result(c, ELEMENT, n);
  results->grad_policy_rejected_logps = maybe_result(c, ELEMENT, n);
  results->chosen_rewards = maybe_result(c, ELEMENT, n);
  results->rejected_rewards = maybe_result(c, ELEMENT, n);
  results->gradient_weights = maybe_result(c, ELEMENT, n);
  if (c->everything || (!c->nothing && !plain && pick(c, 2))) {
    results->grad_ref_chosen_logps = maybe_result(c, ELEMENT, n);
    results->grad_ref_rejected_logps = maybe_result(c, ELEMENT, n);
    results->grad_sft_logps = maybe_result(c, ELEMENT, n);
    results->grad_betas = maybe_result(c, ELEMENT, n);
    results->grad_margins = maybe_result(c, ELEMENT, n);
    results->curvatures = maybe_result(c, ELEMENT, n);
    results->grad_tie_strength = maybe_result(c, F64, 1);
    if (!leave_out(c))
      results->metrics = STATE_STRUCT(c, swiftdpo_pair_metrics, SWIFTDPO_PAIR_METRICS_INIT);
  }
  c->promises_no_nan = !has_powers;
  const swiftdpo_dpo_options *given = !is_mixture && seldom(c, 4) ? NULL : options;
  if (is_tdpo) {
    const LAID_OUT(swiftdpo_tdpo) *tdpo = divergences(c, n);
    CALL(c, TYPED(swiftdpo_tdpo_loss)(pairs, tdpo, given, results, &c->culprit));
  } else {
    CALL(c, TYPED(swiftdpo_dpo_loss)(pairs, given, results, &c->culprit));
  }
}

void TYPED(dpo_loss)(call *c) { pair_loss(c, false); }

void TYPED(tdpo_loss)(call *c) { pair_loss(c, true); }
