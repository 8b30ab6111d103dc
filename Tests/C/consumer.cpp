// A program in C++17 that knows the library by its header alone: what C++ adds are templates over the dtypes, containers
// as buffers, and threads that all call at once.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "abi.h"

namespace {

int passed = 0;
int failed = 0;

void check(bool holds, const char *condition, int line) {
  holds ? ++passed : ++failed;
  if (!holds)
    std::printf("%s:%d: %s\n", __FILE__, line, condition);
}
#define CHECK(condition) check((condition), #condition, __LINE__)

/// The C names of each dtype under one name.
template <class Real> struct Dtype;
template <> struct Dtype<float> {
  using Pairs = swiftdpo_pairs_f32;
  using PairResults = swiftdpo_pair_results_f32;
  static constexpr auto dpo_loss = swiftdpo_dpo_loss_f32;
  static Pairs pairs() { return SWIFTDPO_PAIRS_F32_INIT; }
  static PairResults results() { return SWIFTDPO_PAIR_RESULTS_F32_INIT; }
};
template <> struct Dtype<double> {
  using Pairs = swiftdpo_pairs_f64;
  using PairResults = swiftdpo_pair_results_f64;
  static constexpr auto dpo_loss = swiftdpo_dpo_loss_f64;
  static Pairs pairs() { return SWIFTDPO_PAIRS_F64_INIT; }
  static PairResults results() { return SWIFTDPO_PAIR_RESULTS_F64_INIT; }
};

template <class Real> struct Batch {
  std::vector<Real> chosen, rejected;
};

template <class Real> struct Gradient {
  double loss = 0;
  std::vector<Real> chosen, rejected;
  bool operator==(const Gradient &other) const {
    return loss == other.loss && chosen == other.chosen && rejected == other.rejected;
  }
};

template <class Real> Batch<Real> some_batch(std::size_t count) {
  Batch<Real> batch{std::vector<Real>(count), std::vector<Real>(count)};
  for (std::size_t i = 0; i < count; ++i) {
    batch.chosen[i] = static_cast<Real>(-20 - static_cast<double>(i * 7919 % 1000) / 64);
    batch.rejected[i] = static_cast<Real>(-20 - static_cast<double>(i * 104729 % 1000) / 64);
  }
  return batch;
}

template <class Real> Gradient<Real> dpo(const Batch<Real> &batch) {
  const std::size_t count = batch.chosen.size();
  auto pairs = Dtype<Real>::pairs();
  pairs.count = count;
  pairs.policy_chosen_logps = batch.chosen.data();
  pairs.policy_rejected_logps = batch.rejected.data();
  Gradient<Real> gradient{0, std::vector<Real>(count), std::vector<Real>(count)};
  auto results = Dtype<Real>::results();
  results.loss = &gradient.loss;
  results.grad_policy_chosen_logps = gradient.chosen.data();
  results.grad_policy_rejected_logps = gradient.rejected.data();
  CHECK(Dtype<Real>::dpo_loss(&pairs, nullptr, &results, nullptr) == SWIFTDPO_OK);
  return gradient;
}

/// Gradient descent on log-probabilities themselves: the loss falls, and every chosen response gains.
template <class Real> void test_a_training_loop() {
  auto batch = some_batch<Real>(33);
  const auto first = dpo(batch);
  for (int step = 0; step < 50; ++step) {
    const auto gradient = dpo(batch);
    for (std::size_t i = 0; i < batch.chosen.size(); ++i) {
      batch.chosen[i] -= 10 * gradient.chosen[i];
      batch.rejected[i] -= 10 * gradient.rejected[i];
    }
  }
  CHECK(dpo(batch).loss < first.loss);
  CHECK(std::all_of(first.chosen.begin(), first.chosen.end(), [](Real g) { return g < 0; }));
}

/// Every call is reentrant: many threads at once get the bits that one gets.
template <class Real> void test_threads() {
  const auto batch = some_batch<Real>(1000);
  const auto expected = dpo(batch);
  std::atomic<int> equal{0};
  std::vector<std::thread> threads;
  threads.reserve(8);
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&] {
      auto pairs = Dtype<Real>::pairs();
      pairs.count = batch.chosen.size();
      pairs.policy_chosen_logps = batch.chosen.data();
      pairs.policy_rejected_logps = batch.rejected.data();
      for (int repetition = 0; repetition < 100; ++repetition) {
        Gradient<Real> gradient{0, std::vector<Real>(pairs.count), std::vector<Real>(pairs.count)};
        auto results = Dtype<Real>::results();
        results.loss = &gradient.loss;
        results.grad_policy_chosen_logps = gradient.chosen.data();
        results.grad_policy_rejected_logps = gradient.rejected.data();
        if (Dtype<Real>::dpo_loss(&pairs, nullptr, &results, nullptr) == SWIFTDPO_OK && gradient == expected)
          ++equal;
      }
    });
  for (auto &thread : threads)
    thread.join();
  CHECK(equal == 8 * 100);
}

void test_a_ranking() {
  const std::vector<double> logps{-1, -2, -3, -4};
  const std::vector<std::int64_t> best_first{0, 1, 2, 3};
  std::vector<double> gradient(4);
  swiftdpo_rankings_f64 rankings = SWIFTDPO_RANKINGS_F64_INIT;
  rankings.num_groups = 1;
  rankings.group_size = logps.size();
  rankings.policy_logps = logps.data();
  rankings.rankings = best_first.data();
  double loss = 0;
  swiftdpo_ranking_results_f64 results = SWIFTDPO_RANKING_RESULTS_F64_INIT;
  results.loss = &loss;
  results.grad_policy_logps = gradient.data();
  CHECK(swiftdpo_plackett_luce_loss_f64(&rankings, nullptr, &results, nullptr) == SWIFTDPO_OK);
  CHECK(loss > 0 && loss < std::log(24));
  CHECK(gradient[0] < 0 && gradient[3] > 0);
}

void test_logits_to_gradient() {
  std::vector<float> logits(2 * 3 * 5, 0.5F);
  const std::vector<std::int64_t> labels{0, 1, 2, 0, 3, -100};
  swiftdpo_logits_f32 input = SWIFTDPO_LOGITS_F32_INIT;
  input.num_sequences = 2;
  input.sequence_length = 3;
  input.vocab_size = 5;
  input.logits = logits.data();
  input.labels = labels.data();
  std::vector<double> logps(2);
  swiftdpo_logps_results results = SWIFTDPO_LOGPS_RESULTS_INIT;
  results.logps = logps.data();
  CHECK(swiftdpo_sequence_logps_f32(&input, nullptr, &results, nullptr) == SWIFTDPO_OK);
  CHECK(std::abs(logps[0] + 2 * std::log(5)) < 1e-6 && std::abs(logps[1] + std::log(5)) < 1e-6);
  const std::vector<double> grad_logps{1, -1};
  CHECK(swiftdpo_sequence_logps_backward_f32(&input, nullptr, grad_logps.data(), nullptr, logits.data(), nullptr) ==
        SWIFTDPO_OK);
  CHECK(std::abs(logits[1] - 0.8F) < 1e-6F && std::abs(logits[0] + 0.2F) < 1e-6F);
}

void test_an_error() {
  auto batch = some_batch<float>(8);
  batch.rejected[5] = std::nanf("");
  auto pairs = Dtype<float>::pairs();
  pairs.count = batch.chosen.size();
  pairs.policy_chosen_logps = batch.chosen.data();
  pairs.policy_rejected_logps = batch.rejected.data();
  const auto results = Dtype<float>::results();
  swiftdpo_culprit culprit{nullptr, 0};
  const swiftdpo_status status = swiftdpo_dpo_loss_f32(&pairs, nullptr, &results, &culprit);
  CHECK(status == SWIFTDPO_ERROR_NONFINITE);
  CHECK(culprit.argument == std::string("policy_rejected_logps") && culprit.index == 5);
  CHECK(std::string(swiftdpo_status_string(status)).find("finite") != std::string::npos);
}

} // namespace

int main() {
  CHECK(swiftdpo_version() == SWIFTDPO_VERSION && swiftdpo_abi_version() == SWIFTDPO_ABI_VERSION);
  test_a_training_loop<float>();
  test_a_training_loop<double>();
  test_threads<float>();
  test_threads<double>();
  test_a_ranking();
  test_logits_to_gradient();
  test_an_error();
  std::printf("C++ consumer: %d passed, %d failed\n", passed, failed);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
