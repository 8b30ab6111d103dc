/* Rankings in half precision: the double-precision results of the same numbers, rounded. */
#include <math.h>

#include "check.h"

enum { GROUPS = 11, K = 5, ITEMS = GROUPS * K };

/** Two to the power of the last digit of a normal number with so many digits. */
static double last_digit(double value, int digits) {
  int exponent;
  frexp(value, &exponent);
  return ldexp(1, exponent - digits);
}

/** Small multiples of 1/4, which all types hold. */
static double number(size_t index) { return 0.25 * (double)((index * 37) % 64) - 8; }

static uint16_t to_bf16(double value) {
  const float single = (float)value;
  uint32_t bits;
  memcpy(&bits, &single, sizeof bits);
  return (uint16_t)(bits >> 16);
}

static double from_bf16(uint16_t half) {
  const uint32_t bits = (uint32_t)half << 16;
  float single;
  memcpy(&single, &bits, sizeof single);
  return single;
}

static uint16_t to_f16(double value) {
  int exponent;
  const double fraction = frexp(fabs(value), &exponent); /* in [1/2, 1) */
  if (value == 0)
    return 0;
  return (uint16_t)((value < 0 ? 0x8000 : 0) | ((exponent + 14) << 10) | ((int)(fraction * 2048) & 0x3ff));
}

static double from_f16(uint16_t half) {
  const int exponent = (half >> 10) & 31, fraction = half & 0x3ff;
  const double size = exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24);
  return half & 0x8000 ? -size : size;
}

typedef swiftdpo_status (*call_half)(const swiftdpo_rankings_half *, const swiftdpo_plackett_luce_options *,
                                     const swiftdpo_ranking_results_half *, swiftdpo_culprit *);

static void check_type(call_half call, uint16_t (*to)(double), double (*from)(uint16_t), int digits, double smallest) {
  static double policy[ITEMS], ref[ITEMS], losses[GROUPS], gradient[ITEMS], rewards[ITEMS];
  static uint16_t half_policy[ITEMS], half_ref[ITEMS], half_losses[GROUPS], half_gradient[ITEMS], half_rewards[ITEMS];
  for (size_t i = 0; i < ITEMS; i++) {
    half_policy[i] = to(policy[i] = number(i));
    half_ref[i] = to(ref[i] = number(3 * i + 1));
  }
  double loss = 0, half_loss = 0;
  swiftdpo_rankings_f64 rankings = SWIFTDPO_RANKINGS_F64_INIT;
  swiftdpo_rankings_half half_rankings = SWIFTDPO_RANKINGS_HALF_INIT;
  rankings.num_groups = half_rankings.num_groups = GROUPS;
  rankings.group_size = half_rankings.group_size = K;
  rankings.policy_logps = policy;
  rankings.ref_logps = ref;
  half_rankings.policy_logps = half_policy;
  half_rankings.ref_logps = half_ref;
  swiftdpo_ranking_results_f64 results = SWIFTDPO_RANKING_RESULTS_F64_INIT;
  results.loss = &loss;
  results.losses = losses;
  results.grad_policy_logps = gradient;
  results.rewards = rewards;
  swiftdpo_ranking_results_half half_results = SWIFTDPO_RANKING_RESULTS_HALF_INIT;
  half_results.loss = &half_loss;
  half_results.losses = half_losses;
  half_results.grad_policy_logps = half_gradient;
  half_results.rewards = half_rewards;
  CHECK_OK(swiftdpo_plackett_luce_loss_f64(&rankings, NULL, &results, NULL));
  CHECK_OK(call(&half_rankings, NULL, &half_results, NULL));
  /* Narrow types are computed in plain double. */
  CHECK(fabs(half_loss - loss) <= 1e-12 * loss);
  for (size_t group = 0; group < GROUPS; group++)
    CHECK(fabs(from(half_losses[group]) - losses[group]) <= last_digit(losses[group], digits) / 2);
  for (size_t i = 0; i < ITEMS; i++) {
    CHECK(fabs(from(half_gradient[i]) - gradient[i]) <= fmax(last_digit(gradient[i], digits), smallest) / 2);
    CHECK(fabs(from(half_rewards[i]) - rewards[i]) <= fmax(last_digit(rewards[i], digits), smallest) / 2);
  }

  half_policy[7] = to == to_f16 ? 0x7c00 : 0x7f80;
  half_loss = -1;
  swiftdpo_culprit culprit = {"nobody", 999};
  CHECK_STATUS(SWIFTDPO_ERROR_NONFINITE, call(&half_rankings, NULL, &half_results, &culprit));
  CHECK(strcmp(culprit.argument, "policy_logps") == 0 && culprit.index == 7 && half_loss == -1);
}

void test_rankings_half(void) {
  check_type(swiftdpo_plackett_luce_loss_bf16, to_bf16, from_bf16, 8, 0);
  check_type(swiftdpo_plackett_luce_loss_f16, to_f16, from_f16, 11, 0x1p-24);
}
