// The rest of swiftdpo.hpp: each call gives what the same call of C gives, or what is known of the result; lengths that do
// not fit are refused.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <limits>
#include <span>
#include <vector>

#include "check.hpp"
#include "swiftdpo.hpp"

namespace {

bool near(double x, double y) { return std::abs(x - y) <= 1e-6 * std::max(1.0, std::abs(y)); }

template <class T> void test_unpaired() {
  constexpr std::size_t count = 19;
  const auto policy = some_values<T>(count, -40, -5, 1), reference = some_values<T>(count, -40, -5, 2);
  const auto betas = some_values<T>(count, 0.1, 1, 3), weights = some_values<T>(count, 0, 2, 4);
  std::vector<std::uint8_t> desirable(count);
  for (std::size_t i = 0; i < count; i += 3)
    desirable[i] = 1;
  std::vector<T> losses(count), gradient(count), rewards(count), by_beta(count), curvatures(count);
  double by_baseline = 0;
  swiftdpo_unpaired_metrics metrics = SWIFTDPO_UNPAIRED_METRICS_INIT;
  const double loss = swiftdpo::unpaired_loss(
      swiftdpo::unpaired<T>{
          .policy_logps = policy, .ref_logps = reference, .desirable = desirable, .betas = betas, .weights = weights},
      {.desirable_weight = 1.5, .undesirable_weight = 0.5, .baseline = 0.25, .loss_type = SWIFTDPO_UNPAIRED_BCO},
      {.losses = losses,
       .grad_policy_logps = gradient,
       .rewards = rewards,
       .grad_betas = by_beta,
       .curvatures = curvatures,
       .grad_baseline = &by_baseline,
       .metrics = &metrics});
  double sum = 0, baseline = 0;
  for (std::size_t i = 0; i < count; i++) {
    const double x = betas[i] * (double(policy[i]) - reference[i]) - 0.25, y = desirable[i] ? x : -x;
    const double weight = (desirable[i] ? 1.5 : 0.5) * weights[i];
    CHECK(near(losses[i], weight * std::log1p(std::exp(-y))));
    const double by_x = -weight / (1 + std::exp(y)) * (desirable[i] ? 1 : -1) / count;
    CHECK(near(gradient[i], by_x * betas[i]) && near(by_beta[i], by_x * (double(policy[i]) - reference[i])));
    CHECK(near(rewards[i], x + 0.25));
    sum += losses[i];
    baseline -= by_x;
  }
  CHECK(near(loss, sum / count) && near(by_baseline, baseline) && metrics.num_desirable == 7);
  CHECK_REFUSED(COUNT, "desirable", 18,
                swiftdpo::unpaired_loss(swiftdpo::unpaired<T>{
                    .policy_logps = policy, .desirable = std::span<const std::uint8_t>(desirable).first(18)}));
  CHECK(swiftdpo::unpaired_loss(swiftdpo::unpaired<T>{}) == 0);

  const std::span<const T> policy_span(policy);
  swiftdpo_kto_baseline kl = SWIFTDPO_KTO_BASELINE_INIT;
  swiftdpo::kto_baseline_add(kl, policy_span, reference);
  double mean = 0;
  for (std::size_t i = 0; i < count; i++)
    mean += (double(policy[i]) - reference[i]) / count;
  CHECK(near(swiftdpo::kto_baseline_value(kl), std::max(0.0, mean)) && kl.count == count);
  CHECK_REFUSED(COUNT, "ref_logps", 18, swiftdpo::kto_baseline_add(kl, policy_span, std::span(reference).first(18)));
  swiftdpo_bco_delta delta = SWIFTDPO_BCO_DELTA_INIT;
  swiftdpo::bco_delta_add(delta, policy_span, {}, 0.5);
  CHECK(delta.count == count && delta.sum < -0.5 * 5 * count);
  const std::array<T, 3> probabilities{T(0), T(0.5), T(1)};
  std::array<T, 3> udm{};
  swiftdpo::udm_weights(std::span<const T>(probabilities), udm);
  CHECK(udm[0] == T(0.5) && near(udm[1], 1) && udm[2] == T(10));
}

template <class T> void test_divergences_and_policies() {
  const T p = std::log(T(0.25)), q = std::log(T(0.5)), r = std::log(T(0.75));
  const std::array<T, 4> logp{p, r, q, q}, logq{q, q, q, q};
  std::array<double, 2> divergences{};
  std::array<T, 4> by_p{}, by_q{};
  swiftdpo::divergence(swiftdpo::distributions<T>{.num_outcomes = 2, .logp = logp, .logq = logq}, {},
                       {.divergences = divergences, .grad_logp = by_p, .grad_logq = by_q});
  CHECK(near(divergences[0], 0.25 * std::log(0.5) + 0.75 * std::log(1.5)) && near(divergences[1], 0));
  CHECK(near(by_q[1], -0.75) && near(by_p[2], 0.5));
  swiftdpo::divergence(swiftdpo::distributions<T>{.num_outcomes = 2, .logp = logp, .logq = logq},
                       {.kind = SWIFTDPO_DIVERGENCE_REVERSE_KL}, {.divergences = divergences});
  CHECK(near(divergences[0], 0.5 * std::log(2) + 0.5 * std::log(2.0 / 3)));
  CHECK_REFUSED(
      COUNT, "logq", 2,
      swiftdpo::divergence(
          swiftdpo::distributions<T>{.num_outcomes = 2, .logp = logp, .logq = std::span(logq).first(2)}, {}, {}));

  std::array<T, 4> k1{}, k2{}, k3{};
  swiftdpo::kl_estimates(std::span<const T>(logp), logq, k1, k2, k3);
  CHECK(near(k1[0], std::log(0.5)) && near(k2[0], std::pow(std::log(2), 2) / 2) && near(k3[0], 1 + std::log(0.5)));

  const std::array<T, 4> rewards{T(1), T(0), T(2), T(2)};
  const std::array<T, 2> betas{T(1), T(0.5)};
  std::array<T, 4> optimal{}, back{}, again{};
  std::array<double, 2> log_z{}, objectives{}, gaps{};
  const swiftdpo::responses<T> responses{.num_prompts = 2,
                                         .num_responses = 2,
                                         .ref_logps = logq,
                                         .rewards = rewards,
                                         .policy_logps = logp,
                                         .betas = betas};
  swiftdpo::optimal_policy(responses, {},
                           {.logps = optimal, .log_partitions = log_z, .objectives = objectives, .policy_gaps = gaps});
  CHECK(near(log_z[0], std::log(0.5 * (std::exp(1) + 1))) && near(log_z[1], 4) && near(objectives[1], 2));
  CHECK(near(optimal[0], -std::log1p(std::exp(-1))) && gaps[0] > 0 && near(gaps[1], 0));
  swiftdpo::implicit_rewards(swiftdpo::responses<T>{.num_prompts = 2,
                                                    .num_responses = 2,
                                                    .ref_logps = logq,
                                                    .policy_logps = optimal,
                                                    .betas = betas,
                                                    .log_partitions = log_z},
                             {}, back);
  CHECK(near(back[0], 1) && near(back[1], 0) && near(back[3], 2));
  auto with_log_z = responses;
  with_log_z.log_partitions = log_z;
  swiftdpo::policy_from_rewards(with_log_z, {}, again);
  CHECK(near(again[0], optimal[0]) && near(again[3], optimal[3]));
  CHECK_REFUSED(COUNT, "logps", 3, swiftdpo::optimal_policy(responses, {}, {.logps = std::span(optimal).first(3)}));

  std::array<T, 4> probabilities{}, logs{};
  swiftdpo::preference_probability(std::span<const T>(rewards), logq, probabilities, logs);
  CHECK(near(probabilities[0], 1 / (1 + std::exp(double(q) - 1))) && near(std::exp(double(logs[0])), probabilities[0]));

  std::array<swiftdpo_partition_accumulator, 2> first{}, second{};
  swiftdpo::partition_add(responses, {}, first);
  swiftdpo::partition_add(responses, {}, second);
  swiftdpo::partition_merge(first, second);
  std::array<double, 2> estimates{}, sizes{};
  swiftdpo::partition_estimate(first, {.log_partitions = estimates, .effective_sample_sizes = sizes});
  CHECK(near(estimates[0], std::log((std::exp(1) + 1) / 2)) && near(sizes[1], 4) && first[0].count == 4);
  CHECK_REFUSED(COUNT, "from", 1,
                swiftdpo::partition_merge(first, std::span<const swiftdpo_partition_accumulator>(second).first(1)));
}

void test_samples() {
  const std::array rewards{3.0, 0.0, -3.0};
  std::array<std::int64_t, 30> rankings{}, c_rankings{};
  swiftdpo::sample_rankings(rewards, 1, 10, 7, rankings);
  swiftdpo_sample_rankings_f64(rewards.data(), 1, 3, 10, 7, c_rankings.data(), nullptr);
  CHECK(rankings == c_rankings && rankings[0] + rankings[1] + rankings[2] == 3);
  CHECK_REFUSED(COUNT, "rankings", 30, swiftdpo::sample_rankings(rewards, 1, 11, 7, rankings));
  std::array<double, 3> first{}, ranks{};
  swiftdpo::ranking_marginals(rewards, 1, first, ranks);
  CHECK(near(first[0] + first[1] + first[2], 1) && near(ranks[0] + ranks[1] + ranks[2], 6) && first[0] > 0.9);

  const std::array logps{std::log(0.5), std::log(0.3), std::log(0.2)};
  const swiftdpo::responses<double> responses{
      .num_prompts = 1, .num_responses = 3, .ref_logps = logps, .rewards = rewards};
  std::array<std::uint8_t, 3> accepted{};
  std::array<double, 1> rate{}, kl{}, best{};
  swiftdpo::rejection_sample(responses, {.beta = 1}, {}, 5, accepted, rate);
  CHECK(accepted[0] == 1 && near(rate[0], (1 + std::exp(-3) + std::exp(-6)) / 3));
  std::array<std::int64_t, 8> draws{};
  draws.fill(-1);
  swiftdpo::importance_resample(responses, {.beta = 1e-3}, 8, 5, draws);
  CHECK(draws == (std::array<std::int64_t, 8>{}));
  std::array<double, 3> best_of_two{};
  swiftdpo::best_of_n(responses, 2, best_of_two, kl, best);
  CHECK(near(std::exp(best_of_two[0]), 0.75) && near(std::exp(best_of_two[2]), 0.04) && kl[0] > 0);
  CHECK_REFUSED(COUNT, "indices", 8, swiftdpo::importance_resample(responses, {}, 9, 5, draws));
}

template <class T> void test_shards() {
  constexpr std::size_t columns = 6, cut = 2, rows = 3;
  const auto logits = some_values<T>(rows * columns, -3, 3, 1);
  const std::array<std::int64_t, rows> labels{1, 5, 2};
  const swiftdpo::logits<T> whole{
      .num_sequences = 1, .sequence_length = rows, .vocab_size = columns, .logits = logits, .labels = labels};
  std::array<double, 1> expected{}, logps{};
  std::array<double, rows> normalizers{};
  swiftdpo::sequence_logps(whole, {.shift = false}, {.logps = expected});

  std::array<std::array<double, rows>, 6> numbers;
  const swiftdpo::shard_statistics left{numbers[0], numbers[1], numbers[2]}, right{numbers[3], numbers[4], numbers[5]};
  auto shard = whole;
  shard.row_stride = columns;
  shard.vocab_size = cut;
  swiftdpo::vocab_shard(shard, {.shift = false}, left);
  shard.vocab_size = columns - cut;
  shard.vocab_start = cut;
  shard.logits = std::span(logits).subspan(cut);
  swiftdpo::vocab_shard(shard, {.shift = false}, right);
  swiftdpo::vocab_shard_merge(left, right);
  swiftdpo::vocab_shard_logps({.num_sequences = 1, .sequence_length = rows, .vocab_size = columns, .labels = labels},
                              {.shift = false}, left, {.logps = logps, .log_normalizers = normalizers});
  CHECK(near(logps[0], expected[0]));
  CHECK_REFUSED(COUNT, "sums", 2,
                swiftdpo::vocab_shard_merge(left, {numbers[3], std::span(numbers[4]).first(2), numbers[5]}));
}

void test_tdpo() {
  std::array<double, 1> by_chosen{}, by_rejected{}, margins{};
  const std::array kl{0.25, 0.75}, pair{-10.0, -11.0};
  const auto chosen = std::span(pair).first(1), rejected = std::span(pair).last(1);
  const swiftdpo::tdpo<double> tdpo{.chosen_kl = std::span(kl).first(1),
                                    .rejected_kl = std::span(kl).last(1),
                                    .alpha = 0.5,
                                    .grad_chosen_kl = by_chosen,
                                    .grad_rejected_kl = by_rejected,
                                    .kl_margins = margins};
  const double loss = swiftdpo::tdpo_loss<double>({.policy_chosen_logps = chosen, .policy_rejected_logps = rejected},
                                                  tdpo, {.beta = 2});
  CHECK(near(loss, std::log1p(std::exp(-1.5))) && margins[0] == 0.5 && by_chosen[0] == 0);
  CHECK(near(by_rejected[0], 1 / (1 + std::exp(1.5))));
  CHECK_REFUSED(COUNT, "chosen_kl", 0,
                swiftdpo::tdpo_loss<double>({.policy_chosen_logps = chosen, .policy_rejected_logps = rejected}, {}));
}

void test_tokens_and_library() {
  const std::array logps{-1.0, -2.0, -3.0, 0.0}, reference{-1.5, -0.5, -3.0, 0.0};
  const std::array<std::int64_t, 2> tokens{2, 1};
  std::array<double, 2> weights{}, log_ratios{};
  std::array<double, 4> passes{};
  swiftdpo::wpo_weights(logps, {}, tokens, weights);
  CHECK(near(weights[0], std::exp(-1.5)) && near(weights[1], std::exp(-3)));
  swiftdpo::humanline_clamp(logps, reference, 2, -1, 1, log_ratios, passes);
  CHECK(near(log_ratios[0], 0.5 - 1) && passes[0] == 1 && passes[1] == 0 && log_ratios[1] == 0);
  CHECK_REFUSED(COUNT, "weights", 1, swiftdpo::wpo_weights(logps, {}, tokens, std::span(weights).first(1)));

  const auto before = swiftdpo::num_threads();
  swiftdpo::set_num_threads(3);
  CHECK(swiftdpo::num_threads() == 3 && swiftdpo::build_info().num_threads == 3);
  CHECK_REFUSED(THREADS, "threads", 0, swiftdpo::set_num_threads(-1));
  swiftdpo::set_num_threads(0);
  CHECK(swiftdpo::num_threads() == before);
}

} // namespace

int main() {
  try {
    test_unpaired<float>();
    test_unpaired<double>();
    test_divergences_and_policies<float>();
    test_divergences_and_policies<double>();
    test_samples();
    test_shards<float>();
    test_shards<double>();
    test_tdpo();
    test_tokens_and_library();
  } catch (const std::exception &unexpected) {
    std::printf("thrown: %s\n", unexpected.what());
    ++failed;
  }
  std::printf("C++20 families: %d passed, %d failed\n", passed, failed);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
