// A program in C++20 that knows the library by swiftdpo.hpp: the same bits as through C, and exceptions with their facts.
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <limits>
#include <vector>

#include "check.hpp"
#include "swiftdpo.hpp"

namespace {

template <class T> using c = swiftdpo::detail::c<T>;

template <class T> void test_pairs() {
  constexpr std::size_t count = 37;
  const auto chosen = some_values<T>(count, -40, -5, 1), rejected = some_values<T>(count, -40, -5, 2);
  const auto ref_chosen = some_values<T>(count, -40, -5, 3), ref_rejected = some_values<T>(count, -40, -5, 4);
  const auto betas = some_values<T>(count, 0.1, 1, 5), weights = some_values<T>(count, 0, 2, 6);
  const std::array losses{SWIFTDPO_LOSS_SIGMOID, SWIFTDPO_LOSS_APO_ZERO};
  const std::array factors{1.0, 0.25};

  std::vector<T> gradient(count), rewards(count), c_gradient(count), c_rewards(count);
  const swiftdpo::pairs<T> pairs{.policy_chosen_logps = chosen,
                                 .policy_rejected_logps = rejected,
                                 .ref_chosen_logps = ref_chosen,
                                 .ref_rejected_logps = ref_rejected,
                                 .betas = betas,
                                 .weights = weights};
  swiftdpo_pair_metrics metrics = SWIFTDPO_PAIR_METRICS_INIT;
  const double loss =
      swiftdpo::dpo_loss(pairs, {.reduction = SWIFTDPO_REDUCTION_SUM, .loss_types = losses, .loss_weights = factors},
                         {.grad_policy_rejected_logps = gradient, .chosen_rewards = rewards, .metrics = &metrics});

  auto in = c<T>::no_pairs;
  in.count = count;
  in.policy_chosen_logps = chosen.data(), in.policy_rejected_logps = rejected.data();
  in.ref_chosen_logps = ref_chosen.data(), in.ref_rejected_logps = ref_rejected.data();
  in.betas = betas.data(), in.weights = weights.data();
  swiftdpo_dpo_options options = SWIFTDPO_DPO_OPTIONS_INIT;
  options.reduction = SWIFTDPO_REDUCTION_SUM;
  options.loss_types = losses.data(), options.loss_weights = factors.data(), options.num_losses = 2;
  double c_loss = 0;
  auto out = c<T>::no_pair_results;
  out.loss = &c_loss, out.grad_policy_rejected_logps = c_gradient.data(), out.chosen_rewards = c_rewards.data();
  CHECK(c<T>::dpo_loss(&in, &options, &out, nullptr) == SWIFTDPO_OK);
  CHECK(loss == c_loss && gradient == c_gradient && rewards == c_rewards && metrics.count == count);

  // Defaults are those of the C interface.
  CHECK(c<T>::dpo_loss(&in, nullptr, &out, nullptr) == SWIFTDPO_OK);
  CHECK(swiftdpo::dpo_loss(pairs) == c_loss);
  CHECK(swiftdpo::dpo_loss(swiftdpo::pairs<T>{}) == 0);

  auto bad = chosen;
  bad[7] = std::numeric_limits<T>::quiet_NaN();
  const std::span<const T> shorter = std::span(rejected).first(count - 1);
  std::vector<T> longer(count + 1);
  CHECK_REFUSED(NONFINITE, "policy_chosen_logps", 7,
                swiftdpo::dpo_loss(swiftdpo::pairs<T>{.policy_chosen_logps = bad, .policy_rejected_logps = rejected}));
  CHECK_REFUSED(
      COUNT, "policy_rejected_logps", count - 1,
      swiftdpo::dpo_loss(swiftdpo::pairs<T>{.policy_chosen_logps = chosen, .policy_rejected_logps = shorter}));
  CHECK_REFUSED(COUNT, "losses", count, swiftdpo::dpo_loss(pairs, {}, {.losses = longer}));
  CHECK_REFUSED(COUNT, "loss_weights", 1,
                swiftdpo::dpo_loss(pairs, {.loss_types = std::span(losses).first(1), .loss_weights = factors}));
  CHECK_REFUSED(BETA, "beta", 0, swiftdpo::dpo_loss(pairs, {.beta = -1}));
}

template <class T> void test_rankings() {
  constexpr std::size_t entries = 12;
  const auto scores = some_values<T>(entries, -30, -10, 7);
  const std::array<std::int64_t, 4> offsets{0, 5, 5, 12};
  const std::array<std::int64_t, entries> orders{4, 2, 0, 1, 3, 6, 5, 4, 3, 2, 1, 0};
  std::vector<T> gradient(entries), losses(3), c_gradient(entries), c_losses(3);
  const swiftdpo::rankings<T> rankings{.policy_logps = scores, .rankings = orders, .offsets = offsets};
  const double loss = swiftdpo::plackett_luce_loss(rankings, {.beta = 0.5, .top = 3},
                                                   {.losses = losses, .grad_policy_logps = gradient});

  auto in = c<T>::no_rankings;
  in.num_groups = 3, in.policy_logps = scores.data(), in.rankings = orders.data(), in.offsets = offsets.data();
  swiftdpo_plackett_luce_options options = SWIFTDPO_PLACKETT_LUCE_OPTIONS_INIT;
  options.beta = 0.5, options.top = 3;
  double c_loss = 0;
  auto out = c<T>::no_ranking_results;
  out.loss = &c_loss, out.losses = c_losses.data(), out.grad_policy_logps = c_gradient.data();
  CHECK(c<T>::plackett_luce_loss(&in, &options, &out, nullptr) == SWIFTDPO_OK);
  CHECK(loss == c_loss && losses == c_losses && gradient == c_gradient);

  // Groups of one size, and worths that they share.
  CHECK(swiftdpo::plackett_luce_loss(swiftdpo::rankings<T>{.num_groups = 3, .group_size = 4, .policy_logps = scores}) >
        0);
  const std::array<std::int64_t, 4> two_lists{0, 1, 1, 2};
  CHECK(swiftdpo::plackett_luce_loss(swiftdpo::rankings<T>{.num_groups = 2,
                                                           .group_size = 2,
                                                           .policy_logps = std::span(scores).first(3),
                                                           .rankings = two_lists,
                                                           .num_shared_items = 3},
                                     {.unlisted = SWIFTDPO_UNLISTED_ABSENT}) > 0);
  CHECK_REFUSED(
      COUNT, "policy_logps", 12,
      swiftdpo::plackett_luce_loss(swiftdpo::rankings<T>{.num_groups = 3, .group_size = 5, .policy_logps = scores}));
  // Davidson's ties: the gradient by their strength, as through C.
  const std::array<std::int64_t, 3> ranks{1, 1, 3};
  const std::array strength{0.5};
  std::array<double, 1> by_strength{}, c_by_strength{};
  const double tied =
      swiftdpo::plackett_luce_loss(swiftdpo::rankings<T>{.num_groups = 1,
                                                         .group_size = 3,
                                                         .policy_logps = std::span(scores).first(3),
                                                         .ranks = ranks,
                                                         .tie_strengths = strength},
                                   {.ties = SWIFTDPO_TIES_DAVIDSON}, {.grad_tie_strengths = by_strength});
  auto tied_in = c<T>::no_rankings;
  tied_in.num_groups = 1, tied_in.group_size = 3, tied_in.policy_logps = scores.data(), tied_in.ranks = ranks.data();
  tied_in.tie_strengths = strength.data(), tied_in.num_tie_strengths = 1;
  swiftdpo_plackett_luce_options davidson = SWIFTDPO_PLACKETT_LUCE_OPTIONS_INIT;
  davidson.ties = SWIFTDPO_TIES_DAVIDSON;
  auto tied_out = c<T>::no_ranking_results;
  tied_out.loss = &c_loss, tied_out.grad_tie_strengths = c_by_strength.data();
  CHECK(c<T>::plackett_luce_loss(&tied_in, &davidson, &tied_out, nullptr) == SWIFTDPO_OK);
  CHECK(tied == c_loss && by_strength == c_by_strength && by_strength[0] != 0);

  auto twice = orders;
  twice[6] = 6;
  CHECK_REFUSED(NOT_A_RANKING, "rankings", 6,
                swiftdpo::plackett_luce_loss(
                    swiftdpo::rankings<T>{.policy_logps = scores, .rankings = twice, .offsets = offsets}));
}

/// 1.0 and 2.0 in each type.
template <class T> constexpr T one{1};
template <> constexpr swiftdpo::bf16 one<swiftdpo::bf16>{0x3F80};
template <> constexpr swiftdpo::f16 one<swiftdpo::f16>{0x3C00};
template <class T> constexpr T two{2};
template <> constexpr swiftdpo::bf16 two<swiftdpo::bf16>{0x4000};
template <> constexpr swiftdpo::f16 two<swiftdpo::f16>{0x4000};

/// Two sequences of three positions over two tokens: every row is (1, 2), so that each scored token has log sigma(+-1).
template <class T> void test_logits() {
  constexpr T low = one<T>, high = two<T>;
  const std::array<T, 12> logits{low, high, low, high, low, high, low, high, low, high, low, high};
  const std::array<std::int64_t, 6> labels{-100, 1, 1, -100, 0, -100};
  const swiftdpo::logits<T> batch{
      .num_sequences = 2, .sequence_length = 3, .vocab_size = 2, .logits = logits, .labels = labels};
  std::array<double, 2> logps{};
  std::array<double, 6> normalizers{};
  std::array<std::int64_t, 2> num_tokens{};
  swiftdpo::sequence_logps(batch, {}, {.logps = logps, .num_tokens = num_tokens, .log_normalizers = normalizers});
  CHECK(std::abs(logps[0] + 2 * std::log1p(std::exp(-1.0))) < 1e-6);
  CHECK(std::abs(logps[1] + std::log1p(std::exp(1.0))) < 1e-6);
  CHECK(num_tokens[0] == 2 && num_tokens[1] == 1);

  const std::array grad_logps{1.0, -1.0};
  std::array<T, 12> gradient{}, from_logits{};
  swiftdpo::sequence_logps_backward(batch, {}, grad_logps, normalizers, gradient);
  swiftdpo::sequence_logps_backward(batch, {}, grad_logps, {}, from_logits);
  CHECK(gradient == from_logits && gradient[0] != T{} && gradient[4] == T{});

  std::array<double, 1> too_few{};
  CHECK_REFUSED(COUNT, "logps", 1, swiftdpo::sequence_logps(batch, {}, {.logps = too_few}));
  CHECK_REFUSED(COUNT, "grad_logits", 11,
                swiftdpo::sequence_logps_backward(batch, {}, grad_logps, {}, std::span(gradient).first(11)));
  CHECK_REFUSED(SOFTCAP, "softcap", 0, swiftdpo::sequence_logps(batch, {.softcap = -1}, {.logps = logps}));
}

} // namespace

int main() {
  try {
    swiftdpo::check_version();
    test_pairs<float>();
    test_pairs<double>();
    test_rankings<float>();
    test_rankings<double>();
    test_logits<float>();
    test_logits<double>();
    test_logits<swiftdpo::bf16>();
    test_logits<swiftdpo::f16>();
  } catch (const std::exception &unexpected) {
    std::printf("thrown: %s\n", unexpected.what());
    ++failed;
  }
  std::printf("C++20 consumer: %d passed, %d failed\n", passed, failed);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
