/* Prints a hash of the results of each family of calls, a line each: "name hash". The lines are the same on every
 * machine, instruction set and number of threads; Tests/Golden/bits.txt pins them from release to release.
 * Inputs are made from integers alone, so that no library's rounding can differ. */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "swiftdpo.h"

enum { PAIRS = 1003, GROUPS = 59, GROUP_SIZE = 17, SEQUENCES = 3, LENGTH = 9, ROWS = SEQUENCES * LENGTH, VOCAB = 5003 };
enum { LOGITS = ROWS * VOCAB };

/* FNV-1a over the bytes of results. All platforms of the library are little-endian. */
static uint64_t hash;

static void begin(void) { hash = UINT64_C(0xcbf29ce484222325); }

static void mix(const void *bytes, size_t count) {
  for (size_t i = 0; i < count; i++)
    hash = (hash ^ ((const unsigned char *)bytes)[i]) * UINT64_C(0x100000001b3);
}

static void end(const char *name, swiftdpo_status status) {
  if (status != SWIFTDPO_OK) {
    fprintf(stderr, "%s: %s\n", name, swiftdpo_status_string(status));
    exit(1);
  }
  printf("%s %016llx\n", name, (unsigned long long)hash);
}

/** SplitMix64 (Steele et al. 2014): a number of [0, 2^53). */
static uint64_t random_53(void) {
  static uint64_t state;
  uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
  return (z ^ (z >> 31)) >> 11;
}

/** A multiple of 2^-20 in [-2^exponent, 2^exponent): exact in float for exponents up to 3, and so is every step. */
static double random_in(int exponent) {
  const double unit = (double)(random_53() >> 33) * 0x1p-19 - 1; /* 20 bits */
  return unit * (double)(1 << exponent);
}

static float f32[4][PAIRS], f32_out[4][PAIRS];
static double f64[4][PAIRS], f64_out[4][PAIRS];

static void pairs(void) {
  for (int k = 0; k < 4; k++)
    for (int i = 0; i < PAIRS; i++)
      f32[k][i] = (float)(f64[k][i] = random_in(7));
  double loss = 0;

  swiftdpo_pairs_f32 p32 = SWIFTDPO_PAIRS_F32_INIT;
  p32.count = PAIRS;
  p32.policy_chosen_logps = f32[0], p32.policy_rejected_logps = f32[1];
  p32.ref_chosen_logps = f32[2], p32.ref_rejected_logps = f32[3];
  swiftdpo_pair_results_f32 r32 = SWIFTDPO_PAIR_RESULTS_F32_INIT;
  r32.loss = &loss;
  r32.losses = f32_out[0], r32.grad_policy_chosen_logps = f32_out[1];
  r32.chosen_rewards = f32_out[2], r32.gradient_weights = f32_out[3];
  begin();
  const swiftdpo_status s32 = swiftdpo_dpo_loss_f32(&p32, NULL, &r32, NULL);
  mix(&loss, sizeof loss), mix(f32_out, sizeof f32_out);
  end("dpo_loss_f32", s32);

  swiftdpo_pairs_f64 p64 = SWIFTDPO_PAIRS_F64_INIT;
  p64.count = PAIRS;
  p64.policy_chosen_logps = f64[0], p64.policy_rejected_logps = f64[1];
  p64.ref_chosen_logps = f64[2], p64.ref_rejected_logps = f64[3];
  swiftdpo_pair_results_f64 r64 = SWIFTDPO_PAIR_RESULTS_F64_INIT;
  r64.loss = &loss;
  r64.losses = f64_out[0], r64.grad_policy_chosen_logps = f64_out[1];
  r64.chosen_rewards = f64_out[2], r64.gradient_weights = f64_out[3];
  swiftdpo_dpo_options options = SWIFTDPO_DPO_OPTIONS_INIT;
  options.label_smoothing = 0.125;
  begin();
  const swiftdpo_status s64 = swiftdpo_dpo_loss_f64(&p64, &options, &r64, NULL);
  mix(&loss, sizeof loss), mix(f64_out, sizeof f64_out);
  end("dpo_loss_f64", s64);
}

static void rankings(void) {
  double loss = 0;
  swiftdpo_rankings_f32 p32 = SWIFTDPO_RANKINGS_F32_INIT;
  p32.num_groups = GROUPS, p32.group_size = GROUP_SIZE, p32.policy_logps = f32[0], p32.ref_logps = f32[1];
  swiftdpo_ranking_results_f32 r32 = SWIFTDPO_RANKING_RESULTS_F32_INIT;
  memset(f32_out, 0, sizeof f32_out);
  r32.loss = &loss, r32.losses = f32_out[0], r32.grad_policy_logps = f32_out[1], r32.rewards = f32_out[2];
  begin();
  const swiftdpo_status s32 = swiftdpo_plackett_luce_loss_f32(&p32, NULL, &r32, NULL);
  mix(&loss, sizeof loss), mix(f32_out, sizeof f32_out);
  end("plackett_luce_loss_f32", s32);
  p32.num_groups = 1, p32.group_size = PAIRS;
  begin();
  const swiftdpo_status long32 = swiftdpo_plackett_luce_loss_f32(&p32, NULL, &r32, NULL);
  mix(&loss, sizeof loss), mix(f32_out, sizeof f32_out);
  end("plackett_luce_loss_f32, one long group", long32);

  swiftdpo_rankings_f64 p64 = SWIFTDPO_RANKINGS_F64_INIT;
  p64.num_groups = GROUPS, p64.group_size = GROUP_SIZE, p64.policy_logps = f64[0], p64.ref_logps = f64[1];
  swiftdpo_ranking_results_f64 r64 = SWIFTDPO_RANKING_RESULTS_F64_INIT;
  memset(f64_out, 0, sizeof f64_out);
  r64.loss = &loss, r64.losses = f64_out[0], r64.grad_policy_logps = f64_out[1], r64.rewards = f64_out[2];
  begin();
  const swiftdpo_status s64 = swiftdpo_plackett_luce_loss_f64(&p64, NULL, &r64, NULL);
  mix(&loss, sizeof loss), mix(f64_out, sizeof f64_out);
  end("plackett_luce_loss_f64", s64);
  /* Cut into runs, and with scores too far apart for that. */
  p64.num_groups = 1, p64.group_size = PAIRS;
  swiftdpo_plackett_luce_options options = SWIFTDPO_PLACKETT_LUCE_OPTIONS_INIT;
  for (int wide = 0; wide <= 1; wide++) {
    options.beta = wide ? 100 : 0.1;
    begin();
    const swiftdpo_status long64 = swiftdpo_plackett_luce_loss_f64(&p64, &options, &r64, NULL);
    mix(&loss, sizeof loss), mix(f64_out, sizeof f64_out);
    end(wide ? "plackett_luce_loss_f64, one long group, wide" : "plackett_luce_loss_f64, one long group", long64);
  }
}

/** Pairs with their divergences: DPO's loss, with IPO's behind it. */
static void tdpo(void) {
  static float kl_f32[2][PAIRS], out_f32[7][PAIRS];
  static double kl_f64[2][PAIRS], out_f64[7][PAIRS];
  for (int i = 0; i < PAIRS; i++)
    for (int k = 0; k < 2; k++)
      kl_f32[k][i] = (float)(kl_f64[k][i] = 0.125 * fabs(f64[k][i]));
  static const swiftdpo_loss_type losses[] = {SWIFTDPO_LOSS_SIGMOID, SWIFTDPO_LOSS_IPO};
  double loss = 0;
#define DEFINE_TDPO(type, PAIRS_INIT, TDPO_INIT, RESULTS_INIT, which, number) \
  do { \
    swiftdpo_dpo_options options = SWIFTDPO_DPO_OPTIONS_INIT; \
    options.loss_types = losses, options.num_losses = (number); \
    swiftdpo_pairs_##type p = PAIRS_INIT; \
    p.count = PAIRS, p.policy_chosen_logps = (type)[0], p.policy_rejected_logps = (type)[1]; \
    p.ref_chosen_logps = (type)[2], p.ref_rejected_logps = (type)[3]; \
    swiftdpo_tdpo_##type t = TDPO_INIT; \
    t.chosen_kl = kl_##type[0], t.rejected_kl = kl_##type[1], t.alpha = 0.375, t.loss_type = (which); \
    t.grad_chosen_kl = out_##type[0], t.grad_rejected_kl = out_##type[1], t.kl_margins = out_##type[2]; \
    swiftdpo_pair_results_##type r = RESULTS_INIT; \
    r.loss = &loss, r.losses = out_##type[3], r.grad_policy_chosen_logps = out_##type[4]; \
    r.grad_betas = out_##type[5], r.gradient_weights = out_##type[6]; \
    begin(); \
    const swiftdpo_status status = swiftdpo_tdpo_loss_##type(&p, &t, &options, &r, NULL); \
    mix(&loss, sizeof loss), mix(out_##type, sizeof out_##type); \
    end("tdpo_loss_" #type, status); \
  } while (0)
  DEFINE_TDPO(f32, SWIFTDPO_PAIRS_F32_INIT, SWIFTDPO_TDPO_F32_INIT, SWIFTDPO_PAIR_RESULTS_F32_INIT, SWIFTDPO_TDPO2, 1);
  DEFINE_TDPO(f64, SWIFTDPO_PAIRS_F64_INIT, SWIFTDPO_TDPO_F64_INIT, SWIFTDPO_PAIR_RESULTS_F64_INIT, SWIFTDPO_TDPO1, 2);
#undef DEFINE_TDPO
}

/** Every loss over pairs in two mixtures, with every parameter and result. */
static void mixtures(void) {
  static float in_f32[4][PAIRS], out_f32[13][PAIRS];
  static double in_f64[4][PAIRS], out_f64[13][PAIRS];
  static int64_t lengths[2][PAIRS];
  static float certain_f32[2][PAIRS];
  static double certain_f64[2][PAIRS];
  static uint8_t ties[PAIRS];
  for (int i = 0; i < PAIRS; i++) {
    in_f64[0][i] = 0.75 + random_in(0) * 0.25, in_f64[1][i] = random_in(1); /* betas, margins */
    in_f64[2][i] = 0.5 + random_in(0) * 0.25, in_f64[3][i] = random_in(2);  /* soft labels, reward gaps */
    for (int k = 0; k < 4; k++)
      in_f32[k][i] = (float)in_f64[k][i];
    for (int k = 0; k < 2; k++) /* log-probabilities from -2 to 2^-13 below 0 */
      certain_f32[k][i] = (float)(certain_f64[k][i] = -(fabs(f64[k][i]) + 0.0078125) * 0.015625);
    lengths[0][i] = 1 + i % 7, lengths[1][i] = 1 + i % 5;
    ties[i] = i % 3 == 0;
  }
  static const swiftdpo_loss_type losses[] = {
      SWIFTDPO_LOSS_SIGMOID,    SWIFTDPO_LOSS_ROBUST,       SWIFTDPO_LOSS_HINGE,        SWIFTDPO_LOSS_IPO,
      SWIFTDPO_LOSS_EXO_PAIR,   SWIFTDPO_LOSS_DISCOPOP,     SWIFTDPO_LOSS_SIGMOID_NORM, SWIFTDPO_LOSS_IPO_NORM,
      SWIFTDPO_LOSS_RPO_BWD_KL, SWIFTDPO_LOSS_RPO_FWD_KL,   SWIFTDPO_LOSS_RPO_SQ,       SWIFTDPO_LOSS_RAO_KUPPER,
      SWIFTDPO_LOSS_DAVIDSON,   SWIFTDPO_LOSS_SLIC,         SWIFTDPO_LOSS_SFT,          SWIFTDPO_LOSS_NCA_PAIR,
      SWIFTDPO_LOSS_BCO_PAIR,   SWIFTDPO_LOSS_SPPO_HARD,    SWIFTDPO_LOSS_APO_ZERO,     SWIFTDPO_LOSS_APO_DOWN,
      SWIFTDPO_LOSS_AOT,        SWIFTDPO_LOSS_AOT_UNPAIRED, SWIFTDPO_LOSS_ALPHAPO,      SWIFTDPO_LOSS_ODDS_RATIO,
      SWIFTDPO_LOSS_SFT};
  static const double weights[] = {1, 0.5, 0.25, 2, 1, 0.125, 1, 0.5, 1, 2, 0.25, 1, 0.5, 1, 2, 1};
  swiftdpo_dpo_options options = SWIFTDPO_DPO_OPTIONS_INIT;
  options.label_smoothing = 0.125, options.loss_weights = weights, options.alphapo_alpha = 0.25;
  options.discopop_tau = 0.5, options.tie_strength = 1.75, options.reward_scale = 0.5;
  double loss = 0, by_ties = 0;
#define DEFINE_MIXTURE(type, PAIRS_INIT, RESULTS_INIT, policies, has_reference, first, number, divergence, name) \
  do { \
    options.loss_types = losses + (first), options.num_losses = (number), options.f_divergence = (divergence); \
    swiftdpo_pairs_##type p = PAIRS_INIT; \
    p.count = PAIRS; \
    p.policy_chosen_logps = (policies)[0], p.policy_rejected_logps = (policies)[1]; \
    if (has_reference) \
      p.ref_chosen_logps = (type)[2], p.ref_rejected_logps = (type)[3]; \
    p.betas = in_##type[0], p.margins = in_##type[1], p.soft_labels = in_##type[2], p.reward_gaps = in_##type[3]; \
    p.chosen_lengths = lengths[0], p.rejected_lengths = lengths[1], p.ties = ties; \
    swiftdpo_pair_metrics metrics = SWIFTDPO_PAIR_METRICS_INIT; \
    swiftdpo_pair_results_##type r = RESULTS_INIT; \
    r.loss = &loss, r.grad_tie_strength = &by_ties, r.metrics = &metrics; \
    r.losses = out_##type[0], r.grad_policy_chosen_logps = out_##type[1], \
    r.grad_policy_rejected_logps = out_##type[2]; \
    r.chosen_rewards = out_##type[3], r.rejected_rewards = out_##type[4], r.gradient_weights = out_##type[5]; \
    r.grad_ref_chosen_logps = out_##type[6], r.grad_ref_rejected_logps = out_##type[7]; \
    r.grad_sft_logps = out_##type[8], r.grad_betas = out_##type[9], r.grad_margins = out_##type[10]; \
    r.curvatures = out_##type[11]; \
    begin(); \
    const swiftdpo_status status = swiftdpo_dpo_loss_##type(&p, &options, &r, NULL); \
    mix(&loss, sizeof loss), mix(&by_ties, sizeof by_ties), mix(&metrics, sizeof metrics); \
    mix(out_##type, sizeof out_##type); \
    end(name, status); \
  } while (0)
  DEFINE_MIXTURE(f32, SWIFTDPO_PAIRS_F32_INIT, SWIFTDPO_PAIR_RESULTS_F32_INIT, f32, true, 0, 15, SWIFTDPO_REVERSE_KL,
                 "mixture_f32");
  DEFINE_MIXTURE(f64, SWIFTDPO_PAIRS_F64_INIT, SWIFTDPO_PAIR_RESULTS_F64_INIT, f64, true, 0, 15, SWIFTDPO_REVERSE_KL,
                 "mixture_f64");
  DEFINE_MIXTURE(f64, SWIFTDPO_PAIRS_F64_INIT, SWIFTDPO_PAIR_RESULTS_F64_INIT, f64, true, 15, 8, SWIFTDPO_REVERSE_KL,
                 "mixture_f64_by_response");
  DEFINE_MIXTURE(f64, SWIFTDPO_PAIRS_F64_INIT, SWIFTDPO_PAIR_RESULTS_F64_INIT, f64, true, 0, 15, SWIFTDPO_JS_DIVERGENCE,
                 "mixture_f64_js");
  DEFINE_MIXTURE(f64, SWIFTDPO_PAIRS_F64_INIT, SWIFTDPO_PAIR_RESULTS_F64_INIT, f64, true, 0, 1,
                 SWIFTDPO_ALPHA_DIVERGENCE, "mixture_f64_alpha");
  DEFINE_MIXTURE(f32, SWIFTDPO_PAIRS_F32_INIT, SWIFTDPO_PAIR_RESULTS_F32_INIT, certain_f32, false, 23, 2,
                 SWIFTDPO_REVERSE_KL, "orpo_f32");
  DEFINE_MIXTURE(f64, SWIFTDPO_PAIRS_F64_INIT, SWIFTDPO_PAIR_RESULTS_F64_INIT, certain_f64, false, 23, 2,
                 SWIFTDPO_REVERSE_KL, "orpo_f64");
#undef DEFINE_MIXTURE
}

/** Losses of log-ratios with the common results, each alone and all together. */
static void losses_of_log_ratios(void) {
  static float out_f32[6][PAIRS];
  static double out_f64[6][PAIRS];
  static const swiftdpo_loss_type losses[] = {SWIFTDPO_LOSS_ROBUST,   SWIFTDPO_LOSS_HINGE,    SWIFTDPO_LOSS_IPO,
                                              SWIFTDPO_LOSS_EXO_PAIR, SWIFTDPO_LOSS_DISCOPOP, SWIFTDPO_LOSS_SLIC,
                                              SWIFTDPO_LOSS_NCA_PAIR, SWIFTDPO_LOSS_BCO_PAIR, SWIFTDPO_LOSS_APO_ZERO,
                                              SWIFTDPO_LOSS_APO_DOWN, SWIFTDPO_LOSS_SPPO_HARD};
  enum { LOSSES = sizeof losses / sizeof *losses };
  swiftdpo_dpo_options options = SWIFTDPO_DPO_OPTIONS_INIT;
  options.label_smoothing = 0.125, options.discopop_tau = 0.5;
  double loss = 0;
#define DEFINE_LOSSES(type, PAIRS_INIT, RESULTS_INIT) \
  do { \
    swiftdpo_pairs_##type p = PAIRS_INIT; \
    p.count = PAIRS; \
    p.policy_chosen_logps = (type)[0], p.policy_rejected_logps = (type)[1]; \
    p.ref_chosen_logps = (type)[2], p.ref_rejected_logps = (type)[3]; \
    swiftdpo_pair_results_##type r = RESULTS_INIT; \
    r.loss = &loss, r.losses = out_##type[0]; \
    r.grad_policy_chosen_logps = out_##type[1], r.grad_policy_rejected_logps = out_##type[2]; \
    r.chosen_rewards = out_##type[3], r.rejected_rewards = out_##type[4], r.gradient_weights = out_##type[5]; \
    begin(); \
    swiftdpo_status status = SWIFTDPO_OK; \
    for (int first = 0; first <= LOSSES && status == SWIFTDPO_OK; first++) { \
      options.loss_types = first < LOSSES ? losses + first : losses; \
      options.num_losses = first < LOSSES ? 1 : LOSSES; \
      status = swiftdpo_dpo_loss_##type(&p, &options, &r, NULL); \
      mix(&loss, sizeof loss), mix(out_##type, sizeof out_##type); \
    } \
    end("losses_of_log_ratios_" #type, status); \
  } while (0)
  DEFINE_LOSSES(f32, SWIFTDPO_PAIRS_F32_INIT, SWIFTDPO_PAIR_RESULTS_F32_INIT);
  DEFINE_LOSSES(f64, SWIFTDPO_PAIRS_F64_INIT, SWIFTDPO_PAIR_RESULTS_F64_INIT);
#undef DEFINE_LOSSES
}

/** Single responses, of each loss. */
static void unpaired(void) {
  static uint8_t desirable[PAIRS];
  double loss = 0, by_baseline = 0;
  for (int i = 0; i < PAIRS; i++)
    desirable[i] = i % 3 > 0;
  swiftdpo_unpaired_options options = SWIFTDPO_UNPAIRED_OPTIONS_INIT;
  options.desirable_weight = 1.25, options.baseline = 0.5;
#define DEFINE_UNPAIRED(type, UNPAIRED_INIT, RESULTS_INIT, name) \
  do { \
    begin(); \
    swiftdpo_status status = SWIFTDPO_OK; \
    for (int kind = SWIFTDPO_UNPAIRED_KTO; kind <= SWIFTDPO_UNPAIRED_BCO && status == SWIFTDPO_OK; kind++) { \
      options.loss_type = (swiftdpo_unpaired_loss_type)kind; \
      swiftdpo_unpaired_##type u = UNPAIRED_INIT; \
      u.count = PAIRS, u.policy_logps = (type)[0], u.ref_logps = (type)[1], u.desirable = desirable; \
      swiftdpo_unpaired_metrics metrics = SWIFTDPO_UNPAIRED_METRICS_INIT; \
      swiftdpo_unpaired_results_##type r = RESULTS_INIT; \
      r.loss = &loss, r.grad_baseline = &by_baseline, r.metrics = &metrics; \
      r.losses = type##_out[0], r.grad_policy_logps = type##_out[1], r.rewards = type##_out[2]; \
      r.grad_betas = type##_out[3]; \
      status = swiftdpo_unpaired_loss_##type(&u, &options, &r, NULL); \
      mix(&loss, sizeof loss), mix(&by_baseline, sizeof by_baseline), mix(&metrics, sizeof metrics); \
      mix(type##_out, sizeof type##_out); \
    } \
    end(name, status); \
  } while (0)
  DEFINE_UNPAIRED(f32, SWIFTDPO_UNPAIRED_F32_INIT, SWIFTDPO_UNPAIRED_RESULTS_F32_INIT, "unpaired_loss_f32");
  DEFINE_UNPAIRED(f64, SWIFTDPO_UNPAIRED_F64_INIT, SWIFTDPO_UNPAIRED_RESULTS_F64_INIT, "unpaired_loss_f64");
#undef DEFINE_UNPAIRED
}

static void listwise(void) {
  static const char *const names[] = {"listwise_loss_f64, cross-entropy", "listwise_loss_f64, lambda",
                                      "listwise_loss_f64, PRO"};
  double loss = 0;
  static double targets[GROUPS * GROUP_SIZE];
  for (int type = 0; type < 3; type++) {
    for (int i = 0; i < GROUPS * GROUP_SIZE; i++)
      targets[i] = type == 0 ? (i % GROUP_SIZE == 3 ? 0.75 : 0.015625) : i * 7 % 5;
    swiftdpo_lists_f64 lists = SWIFTDPO_LISTS_F64_INIT;
    lists.num_groups = GROUPS, lists.group_size = GROUP_SIZE;
    lists.policy_logps = f64[0], lists.ref_logps = f64[1], lists.targets = targets;
    swiftdpo_listwise_options options = SWIFTDPO_LISTWISE_OPTIONS_INIT;
    options.loss_type = (swiftdpo_listwise_loss_type)type;
    swiftdpo_list_results_f64 results = SWIFTDPO_LIST_RESULTS_F64_INIT;
    memset(f64_out, 0, sizeof f64_out);
    results.loss = &loss, results.losses = f64_out[0], results.grad_policy_logps = f64_out[1];
    begin();
    const swiftdpo_status status = swiftdpo_listwise_loss_f64(&lists, &options, &results, NULL);
    mix(&loss, sizeof loss), mix(f64_out, sizeof f64_out);
    end(names[type], status);
  }
}

/* Logits, as each type; a masked entry in every row. */
static float logits_f32[LOGITS], grad_f32[LOGITS];
static double logits_f64[LOGITS], grad_f64[LOGITS];
static uint16_t logits_bf16[LOGITS], logits_f16[LOGITS], grad_half[LOGITS];
static int64_t labels[ROWS];

static double logps[SEQUENCES], token_logps[ROWS], normalizers[ROWS];
static double entropies[ROWS], log_sum_squares[ROWS], mean_logits[ROWS];
static uint8_t top_1[ROWS];
static const double grad_logps[SEQUENCES] = {1, -0.5, 0.25};

static void make_logits(void) {
  for (int i = 0; i < LOGITS; i++) {
    const float x = (float)random_in(4);
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    logits_f32[i] = x;
    logits_f64[i] = x;
    logits_bf16[i] = (uint16_t)(bits >> 16);
    logits_f16[i] = (uint16_t)((random_53() & 0x8000) | (random_53() % 0x5000)); /* magnitudes below 32 */
  }
  for (int row = 0; row < ROWS; row++) {
    const int masked = row * VOCAB + 11;
    logits_f32[masked] = -HUGE_VALF;
    logits_f64[masked] = -HUGE_VAL;
    logits_bf16[masked] = 0xff80;
    logits_f16[masked] = 0xfc00;
    labels[row] = row % 5 == 4 ? -100 : 12 + row * 77;
  }
}

static swiftdpo_logps_results row_results(bool by_products) {
  swiftdpo_logps_results results = SWIFTDPO_LOGPS_RESULTS_INIT;
  results.logps = logps, results.token_logps = token_logps, results.log_normalizers = normalizers;
  if (by_products) {
    results.entropies = entropies, results.log_sum_squares = log_sum_squares;
    results.mean_logits = mean_logits, results.top_1 = top_1;
  }
  return results;
}

static void mix_rows(bool by_products) {
  mix(logps, sizeof logps), mix(token_logps, sizeof token_logps), mix(normalizers, sizeof normalizers);
  if (by_products) {
    mix(entropies, sizeof entropies), mix(log_sum_squares, sizeof log_sum_squares);
    mix(mean_logits, sizeof mean_logits), mix(top_1, sizeof top_1);
  }
}

/* Of one type, plain or with a scale and a cap: forward without by-products and with them, backward, and as a shard. */
#define DEFINE_LOGITS(type, structs, INIT, grad) \
  static void run_##type(const char *name, const swiftdpo_logps_options *options) { \
    swiftdpo_logits_##structs batch = INIT; \
    batch.num_sequences = SEQUENCES, batch.sequence_length = LENGTH, batch.vocab_size = VOCAB; \
    batch.logits = logits_##type, batch.labels = labels; \
    swiftdpo_status status = SWIFTDPO_OK; \
    begin(); \
    for (int by_products = 0; by_products <= 1 && status == SWIFTDPO_OK; by_products++) { \
      const swiftdpo_logps_results results = row_results(by_products); \
      status = swiftdpo_sequence_logps_##type(&batch, options, &results, NULL); \
      mix_rows(by_products); \
    } \
    if (status == SWIFTDPO_OK) \
      status = swiftdpo_sequence_logps_backward_##type(&batch, options, grad_logps, normalizers, grad, NULL); \
    mix(grad, sizeof(grad)); \
    swiftdpo_shard_statistics shard = SWIFTDPO_SHARD_STATISTICS_INIT; \
    shard.maxima = normalizers, shard.sums = token_logps, shard.label_logits = entropies; \
    if (status == SWIFTDPO_OK) \
      status = swiftdpo_vocab_shard_##type(&batch, options, &shard, NULL); \
    mix(normalizers, sizeof normalizers), mix(token_logps, sizeof token_logps), mix(entropies, sizeof entropies); \
    end(name, status); \
  }

DEFINE_LOGITS(f32, f32, SWIFTDPO_LOGITS_F32_INIT, grad_f32)
DEFINE_LOGITS(f64, f64, SWIFTDPO_LOGITS_F64_INIT, grad_f64)
DEFINE_LOGITS(bf16, half, SWIFTDPO_LOGITS_HALF_INIT, grad_half)
DEFINE_LOGITS(f16, half, SWIFTDPO_LOGITS_HALF_INIT, grad_half)

int main(void) {
  pairs();
  rankings();
  listwise();
  make_logits();
  const swiftdpo_logps_options plain = SWIFTDPO_LOGPS_OPTIONS_INIT;
  swiftdpo_logps_options capped = SWIFTDPO_LOGPS_OPTIONS_INIT;
  capped.softcap = 30, capped.logit_scale = 0.75;
  run_f32("sequence_logps_f32", &plain);
  run_f32("sequence_logps_f32_capped", &capped);
  run_f64("sequence_logps_f64", &plain);
  run_f64("sequence_logps_f64_capped", &capped);
  run_bf16("sequence_logps_bf16", &plain);
  run_bf16("sequence_logps_bf16_capped", &capped);
  run_f16("sequence_logps_f16", &plain);
  run_f16("sequence_logps_f16_capped", &capped);
  mixtures();
  losses_of_log_ratios();
  tdpo();
  unpaired();
  return 0;
}
