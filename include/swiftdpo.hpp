// swiftdpo for C++20: spans in, exceptions out, and nothing between your buffers and the C library.
//
// swiftdpo.h remains the manual: structs, fields and functions have its names without the prefix, and its meanings.
//
//   std::vector<double> chosen = ..., rejected = ..., gradient(chosen.size());
//   const double loss = swiftdpo::dpo_loss(swiftdpo::pairs<double>{.policy_chosen_logps = chosen,
//                                                                  .policy_rejected_logps = rejected},
//                                          {.beta = 0.2}, {.grad_policy_chosen_logps = gradient});
//
// An empty span is an array that is not given. The length of every other one is checked, which C cannot do. Nothing is
// allocated or copied, and calls are inlined: what is not given, and lengths that are known at compile time, cost nothing.
// Whatever the C library refuses is thrown as swiftdpo::error.
//
// SPDX-License-Identifier: Apache-2.0
#ifndef SWIFTDPO_HPP
#define SWIFTDPO_HPP

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "swiftdpo.h"

namespace swiftdpo {

/// A call was refused. Nothing has been written.
class error : public std::runtime_error {
public:
  error(swiftdpo_status status, const char *argument, std::size_t index, const std::string &rule)
      : std::runtime_error(std::string(argument) + "[" + std::to_string(index) + "]: " + rule), status_(status),
        argument_(argument), index_(index) {}

  swiftdpo_status status() const noexcept { return status_; }
  /// The field that broke the rule. Static text.
  const char *argument() const noexcept { return argument_; }
  /// Flat index of its first offending element.
  std::size_t index() const noexcept { return index_; }

private:
  swiftdpo_status status_;
  const char *argument_;
  std::size_t index_;
};

/// Bit patterns of bfloat16 and IEEE binary16.
enum class bf16 : std::uint16_t {};
enum class f16 : std::uint16_t {};

template <class T>
concept real = std::same_as<T, float> || std::same_as<T, double>;
template <class T>
concept logit = real<T> || std::same_as<T, bf16> || std::same_as<T, f16>;

namespace detail {

[[noreturn, gnu::cold, gnu::noinline]] inline void refuse(swiftdpo_status status, const swiftdpo_culprit &culprit) {
  throw error(status, culprit.argument, culprit.index, swiftdpo_status_string(status));
}

[[noreturn, gnu::cold, gnu::noinline]] inline void refuse_length(const char *argument, std::size_t length,
                                                                 std::size_t expected) {
  throw error(SWIFTDPO_ERROR_COUNT, argument, length < expected ? length : expected,
              "it has " + std::to_string(length) + " elements, not " + std::to_string(expected));
}

/// The elements of an array that must have `count` of them if it is given.
template <class T> constexpr T *elements(std::span<T> array, std::size_t count, const char *argument) {
  if (array.empty())
    return nullptr;
  if (array.size() != count)
    refuse_length(argument, array.size(), count);
  return array.data();
}

/// The elements of an array that must be given. An empty one is legal where `count` is 0; the library wants a pointer.
template <class T> T *required(std::span<T> array, std::size_t count, const char *argument) {
  static std::remove_const_t<T> nothing{};
  if (array.size() != count)
    refuse_length(argument, array.size(), count);
  return count == 0 ? &nothing : array.data();
}

/// Calls the library, whose last parameter is the culprit.
template <class Function, class... Arguments>
[[gnu::always_inline]] inline void call(Function function, const Arguments &...arguments) {
  swiftdpo_culprit culprit;
  if (const auto status = function(arguments..., &culprit); status != SWIFTDPO_OK)
    refuse(status, culprit);
}

/// The number of groups that offsets delimit.
constexpr std::size_t groups(std::span<const std::int64_t> offsets, std::size_t otherwise) {
  return offsets.empty() ? otherwise : offsets.size() - 1;
}
/// Where the last of them ends. (Offsets that do not rise from 0 are refused by the library.)
constexpr std::size_t end_of(std::span<const std::int64_t> offsets, std::size_t otherwise) {
  return offsets.empty() ? otherwise : static_cast<std::size_t>(offsets.back());
}

/// The names of the C interface for each type of element.
template <class T> struct c;

#define SWIFTDPO_HPP_REAL(suffix, SUFFIX) \
  using pairs = swiftdpo_pairs_##suffix; \
  using pair_results = swiftdpo_pair_results_##suffix; \
  using rankings = swiftdpo_rankings_##suffix; \
  using ranking_results = swiftdpo_ranking_results_##suffix; \
  static constexpr pairs no_pairs = SWIFTDPO_PAIRS_##SUFFIX##_INIT; \
  static constexpr pair_results no_pair_results = SWIFTDPO_PAIR_RESULTS_##SUFFIX##_INIT; \
  static constexpr rankings no_rankings = SWIFTDPO_RANKINGS_##SUFFIX##_INIT; \
  static constexpr ranking_results no_ranking_results = SWIFTDPO_RANKING_RESULTS_##SUFFIX##_INIT; \
  using unpaired = swiftdpo_unpaired_##suffix; \
  using unpaired_results = swiftdpo_unpaired_results_##suffix; \
  using distributions = swiftdpo_distributions_##suffix; \
  using divergence_results = swiftdpo_divergence_results_##suffix; \
  using responses = swiftdpo_responses_##suffix; \
  using policy_results = swiftdpo_policy_results_##suffix; \
  static constexpr unpaired no_unpaired = SWIFTDPO_UNPAIRED_##SUFFIX##_INIT; \
  static constexpr unpaired_results no_unpaired_results = SWIFTDPO_UNPAIRED_RESULTS_##SUFFIX##_INIT; \
  static constexpr distributions no_distributions = SWIFTDPO_DISTRIBUTIONS_##SUFFIX##_INIT; \
  static constexpr divergence_results no_divergence_results = SWIFTDPO_DIVERGENCE_RESULTS_##SUFFIX##_INIT; \
  static constexpr responses no_responses = SWIFTDPO_RESPONSES_##SUFFIX##_INIT; \
  static constexpr policy_results no_policy_results = SWIFTDPO_POLICY_RESULTS_##SUFFIX##_INIT; \
  using tdpo = swiftdpo_tdpo_##suffix; \
  static constexpr tdpo no_tdpo = SWIFTDPO_TDPO_##SUFFIX##_INIT; \
  static constexpr auto dpo_loss = swiftdpo_dpo_loss_##suffix; \
  static constexpr auto tdpo_loss = swiftdpo_tdpo_loss_##suffix; \
  static constexpr auto plackett_luce_loss = swiftdpo_plackett_luce_loss_##suffix; \
  static constexpr auto unpaired_loss = swiftdpo_unpaired_loss_##suffix; \
  static constexpr auto kto_baseline_add = swiftdpo_kto_baseline_add_##suffix; \
  static constexpr auto bco_delta_add = swiftdpo_bco_delta_add_##suffix; \
  static constexpr auto udm_weights = swiftdpo_udm_weights_##suffix; \
  static constexpr auto divergence = swiftdpo_divergence_##suffix; \
  static constexpr auto kl_estimates = swiftdpo_kl_estimates_##suffix; \
  static constexpr auto optimal_policy = swiftdpo_optimal_policy_##suffix; \
  static constexpr auto implicit_rewards = swiftdpo_implicit_rewards_##suffix; \
  static constexpr auto policy_from_rewards = swiftdpo_policy_from_rewards_##suffix; \
  static constexpr auto preference_probability = swiftdpo_preference_probability_##suffix; \
  static constexpr auto partition_add = swiftdpo_partition_add_##suffix;

#define SWIFTDPO_HPP_LOGIT(suffix, structs, STRUCTS, element) \
  using bits = element; \
  using logits = swiftdpo_logits_##structs; \
  static constexpr logits no_logits = SWIFTDPO_LOGITS_##STRUCTS##_INIT; \
  static constexpr auto sequence_logps = swiftdpo_sequence_logps_##suffix; \
  static constexpr auto sequence_logps_backward = swiftdpo_sequence_logps_backward_##suffix; \
  static constexpr auto vocab_shard = swiftdpo_vocab_shard_##suffix;

template <> struct c<float> {
  SWIFTDPO_HPP_REAL(f32, F32)
  SWIFTDPO_HPP_LOGIT(f32, f32, F32, float)
};
template <> struct c<double> {
  SWIFTDPO_HPP_REAL(f64, F64)
  SWIFTDPO_HPP_LOGIT(f64, f64, F64, double)
};
template <> struct c<bf16> {
  SWIFTDPO_HPP_LOGIT(bf16, half, HALF, std::uint16_t)
};
template <> struct c<f16> {
  SWIFTDPO_HPP_LOGIT(f16, half, HALF, std::uint16_t)
};
#undef SWIFTDPO_HPP_REAL
#undef SWIFTDPO_HPP_LOGIT

} // namespace detail

/// Throws std::runtime_error if the library that was loaded does not serve this header.
inline void check_version() {
  if (!SWIFTDPO_CHECK_VERSION())
    throw std::runtime_error("libswiftdpo " + std::to_string(swiftdpo_version()) + " does not serve the header " +
                             std::to_string(SWIFTDPO_VERSION));
}

// --------------------------------------------------------------------------------------------------------- Pairs

template <real T> struct pairs {
  std::span<const T> policy_chosen_logps = {}, policy_rejected_logps = {};
  std::span<const T> ref_chosen_logps = {}, ref_rejected_logps = {};
  std::span<const T> betas = {}, margins = {}, weights = {}, soft_labels = {};
  std::span<const std::int64_t> chosen_lengths = {}, rejected_lengths = {};
  std::span<const std::uint8_t> ties = {};
  std::span<const T> reward_gaps = {}, sft_logps = {};
  std::span<const std::int64_t> sft_lengths = {};
};

struct dpo_options {
  double beta = 0.1;
  double label_smoothing = 0;
  swiftdpo_reduction reduction = SWIFTDPO_REDUCTION_MEAN;
  swiftdpo_nonfinite nonfinite = SWIFTDPO_NONFINITE_ERROR;
  std::span<const swiftdpo_loss_type> loss_types = {};
  std::span<const double> loss_weights = {};
  swiftdpo_f_divergence f_divergence = SWIFTDPO_REVERSE_KL;
  bool reference_free = false;
  double f_alpha_divergence_coef = 0.5;
  double margin = 0;
  double discopop_tau = 0.05;
  double tie_strength = 2;
  double reward_scale = 1;
  double alphapo_alpha = 0;
};

template <real T> struct pair_results {
  std::span<T> losses = {}, grad_policy_chosen_logps = {}, grad_policy_rejected_logps = {};
  std::span<T> chosen_rewards = {}, rejected_rewards = {}, gradient_weights = {};
  std::span<T> grad_ref_chosen_logps = {}, grad_ref_rejected_logps = {}, grad_sft_logps = {};
  std::span<T> grad_betas = {}, grad_margins = {}, curvatures = {};
  double *grad_tie_strength = nullptr;
  swiftdpo_pair_metrics *metrics = nullptr;
};

namespace detail {

/// The loss that `call` gives of pairs, options, results and culprit in C.
template <real T, class Call>
[[gnu::always_inline]] inline double pair_loss(const pairs<T> &pairs, const dpo_options &options,
                                               const pair_results<T> &results, const Call &call) {
  const auto count = pairs.policy_chosen_logps.size();
  auto in = c<T>::no_pairs;
  in.count = count;
#define SWIFTDPO_HPP_GIVE(to, from, field, count) (to).field = detail::elements((from).field, (count), #field)
  // An empty batch is legal, and its arrays have no elements to be missed: the library wants a pointer even so.
  static constexpr T nothing{};
  in.policy_chosen_logps = count == 0 ? &nothing : pairs.policy_chosen_logps.data();
  if (pairs.policy_rejected_logps.size() != count)
    refuse_length("policy_rejected_logps", pairs.policy_rejected_logps.size(), count);
  in.policy_rejected_logps = count == 0 ? &nothing : pairs.policy_rejected_logps.data();
  SWIFTDPO_HPP_GIVE(in, pairs, ref_chosen_logps, count);
  SWIFTDPO_HPP_GIVE(in, pairs, ref_rejected_logps, count);
  SWIFTDPO_HPP_GIVE(in, pairs, betas, count);
  SWIFTDPO_HPP_GIVE(in, pairs, margins, count);
  SWIFTDPO_HPP_GIVE(in, pairs, weights, count);
  SWIFTDPO_HPP_GIVE(in, pairs, soft_labels, count);
  SWIFTDPO_HPP_GIVE(in, pairs, chosen_lengths, count);
  SWIFTDPO_HPP_GIVE(in, pairs, rejected_lengths, count);
  SWIFTDPO_HPP_GIVE(in, pairs, ties, count);
  SWIFTDPO_HPP_GIVE(in, pairs, reward_gaps, count);
  SWIFTDPO_HPP_GIVE(in, pairs, sft_logps, count);
  SWIFTDPO_HPP_GIVE(in, pairs, sft_lengths, count);

  swiftdpo_dpo_options chosen = SWIFTDPO_DPO_OPTIONS_INIT;
  chosen.beta = options.beta;
  chosen.label_smoothing = options.label_smoothing;
  chosen.reduction = options.reduction;
  chosen.nonfinite = options.nonfinite;
  chosen.num_losses = options.loss_types.size();
  chosen.loss_types = options.loss_types.data();
  SWIFTDPO_HPP_GIVE(chosen, options, loss_weights, chosen.num_losses);
  chosen.f_divergence = options.f_divergence;
  chosen.reference_free = options.reference_free;
  chosen.f_alpha_divergence_coef = options.f_alpha_divergence_coef;
  chosen.margin = options.margin;
  chosen.discopop_tau = options.discopop_tau;
  chosen.tie_strength = options.tie_strength;
  chosen.reward_scale = options.reward_scale;
  chosen.alphapo_alpha = options.alphapo_alpha;

  double loss;
  auto out = c<T>::no_pair_results;
  out.loss = &loss;
  SWIFTDPO_HPP_GIVE(out, results, losses, count);
  SWIFTDPO_HPP_GIVE(out, results, grad_policy_chosen_logps, count);
  SWIFTDPO_HPP_GIVE(out, results, grad_policy_rejected_logps, count);
  SWIFTDPO_HPP_GIVE(out, results, chosen_rewards, count);
  SWIFTDPO_HPP_GIVE(out, results, rejected_rewards, count);
  SWIFTDPO_HPP_GIVE(out, results, gradient_weights, count);
  SWIFTDPO_HPP_GIVE(out, results, grad_ref_chosen_logps, count);
  SWIFTDPO_HPP_GIVE(out, results, grad_ref_rejected_logps, count);
  SWIFTDPO_HPP_GIVE(out, results, grad_sft_logps, count);
  SWIFTDPO_HPP_GIVE(out, results, grad_betas, count);
  SWIFTDPO_HPP_GIVE(out, results, grad_margins, count);
  SWIFTDPO_HPP_GIVE(out, results, curvatures, count);
  out.grad_tie_strength = results.grad_tie_strength;
  out.metrics = results.metrics;

  swiftdpo_culprit culprit;
  if (const auto status = call(&in, &chosen, &out, &culprit); status != SWIFTDPO_OK)
    refuse(status, culprit);
  return loss;
}

} // namespace detail

/// The reduced loss. Its gradient and the rest go where `results` says.
template <real T>
[[gnu::always_inline]] inline double dpo_loss(const pairs<T> &pairs, const dpo_options &options = {},
                                              const pair_results<T> &results = {}) {
  return detail::pair_loss(pairs, options, results, detail::c<T>::dpo_loss);
}

template <real T> struct tdpo {
  std::span<const T> chosen_kl = {}, rejected_kl = {};
  double alpha = 0.5;
  swiftdpo_tdpo_loss_type loss_type = SWIFTDPO_TDPO2;
  std::span<T> grad_chosen_kl = {}, grad_rejected_kl = {}, kl_margins = {};
};

/// The reduced loss of pairs with the divergence of each token. Gradients and the rest go where `tdpo` and `results` say.
template <real T>
inline double tdpo_loss(const pairs<T> &pairs, const tdpo<T> &tdpo, const dpo_options &options = {},
                        const pair_results<T> &results = {}) {
  const auto count = pairs.policy_chosen_logps.size();
  auto terms = detail::c<T>::no_tdpo;
  terms.chosen_kl = detail::required(tdpo.chosen_kl, count, "chosen_kl");
  terms.rejected_kl = detail::required(tdpo.rejected_kl, count, "rejected_kl");
  terms.alpha = tdpo.alpha;
  terms.loss_type = tdpo.loss_type;
  SWIFTDPO_HPP_GIVE(terms, tdpo, grad_chosen_kl, count);
  SWIFTDPO_HPP_GIVE(terms, tdpo, grad_rejected_kl, count);
  SWIFTDPO_HPP_GIVE(terms, tdpo, kl_margins, count);
  return detail::pair_loss(pairs, options, results, [&](auto *in, auto *chosen, auto *out, auto *culprit) {
    return detail::c<T>::tdpo_loss(in, &terms, chosen, out, culprit);
  });
}

// ------------------------------------------------------------------------------------------------------ Rankings

template <real T> struct rankings {
  std::size_t num_groups = 0; ///< offsets, where given, say it too.
  std::size_t group_size = 0;
  std::span<const T> policy_logps = {}, ref_logps = {};
  std::span<const std::int64_t> rankings = {};
  std::span<const T> betas = {}, weights = {};
  std::span<const std::int64_t> offsets = {}, ranks = {};
  std::span<const T> position_weights = {};
  std::size_t num_shared_items = 0;
  std::span<const T> direction = {};
  std::span<const double> tie_strengths = {};
};

struct plackett_luce_options {
  double beta = 0.1;
  swiftdpo_reduction reduction = SWIFTDPO_REDUCTION_MEAN;
  swiftdpo_nonfinite nonfinite = SWIFTDPO_NONFINITE_ERROR;
  swiftdpo_unlisted unlisted = SWIFTDPO_UNLISTED_ERROR;
  swiftdpo_first_choice first_choice = SWIFTDPO_FIRST_CHOICE_BEST;
  std::size_t top = 0;
  swiftdpo_ties ties = SWIFTDPO_TIES_BRESLOW;
};

template <real T> struct ranking_results {
  std::span<T> losses = {}, grad_policy_logps = {}, rewards = {}, gradient_weights = {}, grad_ref_logps = {},
               hessian_product = {};
  std::span<double> grad_tie_strengths = {};
};

/// The reduced loss. Its gradient and the rest go where `results` says.
template <real T>
[[gnu::always_inline]] inline double plackett_luce_loss(const rankings<T> &rankings,
                                                        const plackett_luce_options &options = {},
                                                        const ranking_results<T> &results = {}) {
  const auto num_groups = detail::groups(rankings.offsets, rankings.num_groups);
  const auto entries = detail::end_of(rankings.offsets, num_groups * rankings.group_size);
  const auto items = rankings.num_shared_items == 0 ? entries : rankings.num_shared_items;

  auto in = detail::c<T>::no_rankings;
  static constexpr T nothing{};
  in.num_groups = num_groups;
  in.group_size = rankings.group_size;
  if (rankings.policy_logps.size() != items)
    detail::refuse_length("policy_logps", rankings.policy_logps.size(), items);
  in.policy_logps = items == 0 ? &nothing : rankings.policy_logps.data();
  SWIFTDPO_HPP_GIVE(in, rankings, ref_logps, items);
  SWIFTDPO_HPP_GIVE(in, rankings, rankings, entries);
  SWIFTDPO_HPP_GIVE(in, rankings, betas, num_groups);
  SWIFTDPO_HPP_GIVE(in, rankings, weights, num_groups);
  in.offsets = rankings.offsets.data();
  SWIFTDPO_HPP_GIVE(in, rankings, ranks, entries);
  in.position_weights = rankings.position_weights.data();
  in.num_position_weights = rankings.position_weights.size();
  in.num_shared_items = rankings.num_shared_items;
  SWIFTDPO_HPP_GIVE(in, rankings, direction, items);
  in.tie_strengths = rankings.tie_strengths.data();
  in.num_tie_strengths = rankings.tie_strengths.size();

  swiftdpo_plackett_luce_options chosen = SWIFTDPO_PLACKETT_LUCE_OPTIONS_INIT;
  chosen.beta = options.beta;
  chosen.reduction = options.reduction;
  chosen.nonfinite = options.nonfinite;
  chosen.unlisted = options.unlisted;
  chosen.first_choice = options.first_choice;
  chosen.top = options.top;
  chosen.ties = options.ties;

  double loss;
  auto out = detail::c<T>::no_ranking_results;
  out.loss = &loss;
  SWIFTDPO_HPP_GIVE(out, results, losses, num_groups);
  SWIFTDPO_HPP_GIVE(out, results, grad_policy_logps, items);
  SWIFTDPO_HPP_GIVE(out, results, rewards, items);
  SWIFTDPO_HPP_GIVE(out, results, gradient_weights, items);
  SWIFTDPO_HPP_GIVE(out, results, grad_ref_logps, items);
  SWIFTDPO_HPP_GIVE(out, results, hessian_product, items);
  SWIFTDPO_HPP_GIVE(out, results, grad_tie_strengths, rankings.tie_strengths.size());

  swiftdpo_culprit culprit;
  if (const auto status = detail::c<T>::plackett_luce_loss(&in, &chosen, &out, &culprit); status != SWIFTDPO_OK)
    detail::refuse(status, culprit);
  return loss;
}

// -------------------------------------------------------------------------------------------------------- Logits

template <logit T> struct logits {
  std::size_t num_sequences = 0; ///< offsets, where given, say it too.
  std::size_t sequence_length = 0;
  std::size_t vocab_size = 0;
  std::span<const T> logits = {};
  std::size_t row_stride = 0;
  std::span<const std::int64_t> labels = {};
  std::span<const std::int32_t> labels_i32 = {};
  std::span<const std::int64_t> offsets = {};
  std::span<const std::uint8_t> mask = {};
  std::span<const double> token_weights = {};
  std::span<const std::int64_t> ld_lengths = {};
  std::size_t vocab_start = 0; ///< For a shard of the vocabulary.
};

struct logps_options {
  std::int64_t ignore_index = -100;
  bool shift = true;
  bool average = false;
  double logit_scale = 1;
  double softcap = 0;
  double ld_alpha = 1;
  swiftdpo_nonfinite nonfinite = SWIFTDPO_NONFINITE_ERROR;
};

struct logps_results {
  std::span<double> logps = {};
  std::span<std::int64_t> num_tokens = {};
  std::span<double> token_logps = {}, log_normalizers = {}, entropies = {}, log_sum_squares = {}, mean_logits = {};
  std::span<std::uint8_t> top_1 = {}, row_flags = {};
};

namespace detail {

template <logit T> struct batch {
  std::size_t num_sequences, rows, length; ///< length: elements from the first logit to the last.
  typename c<T>::logits in = c<T>::no_logits;

  [[gnu::always_inline]] explicit batch(const logits<T> &logits)
      : num_sequences(groups(logits.offsets, logits.num_sequences)),
        rows(end_of(logits.offsets, num_sequences * logits.sequence_length)),
        length(rows == 0 ? 0
                         : (rows - 1) * (logits.row_stride == 0 ? logits.vocab_size : logits.row_stride) +
                               logits.vocab_size) {
    in.num_sequences = num_sequences;
    in.sequence_length = logits.sequence_length;
    in.vocab_size = logits.vocab_size;
    in.row_stride = logits.row_stride;
    in.logits = reinterpret_cast<const typename c<T>::bits *>(span_of(logits.logits, "logits").data());
    SWIFTDPO_HPP_GIVE(in, logits, labels, rows);
    SWIFTDPO_HPP_GIVE(in, logits, labels_i32, rows);
    in.offsets = logits.offsets.data();
    SWIFTDPO_HPP_GIVE(in, logits, mask, rows);
    SWIFTDPO_HPP_GIVE(in, logits, token_weights, rows);
    SWIFTDPO_HPP_GIVE(in, logits, ld_lengths, num_sequences);
    in.vocab_start = logits.vocab_start;
  }

  /// A matrix may have room behind its last row.
  template <class U> std::span<U> span_of(std::span<U> matrix, const char *argument) const {
    if (matrix.size() < length)
      refuse_length(argument, matrix.size(), length);
    return matrix;
  }
};

inline swiftdpo_logps_options options_of(const logps_options &options) {
  swiftdpo_logps_options chosen = SWIFTDPO_LOGPS_OPTIONS_INIT;
  chosen.ignore_index = options.ignore_index;
  chosen.shift = options.shift;
  chosen.average = options.average;
  chosen.logit_scale = options.logit_scale;
  chosen.softcap = options.softcap;
  chosen.ld_alpha = options.ld_alpha;
  chosen.nonfinite = options.nonfinite;
  return chosen;
}

} // namespace detail

template <logit T>
[[gnu::always_inline]] inline void sequence_logps(const logits<T> &logits, const logps_options &options,
                                                  const logps_results &results) {
  const detail::batch<T> batch(logits);
  const auto chosen = detail::options_of(options);
  swiftdpo_logps_results out = SWIFTDPO_LOGPS_RESULTS_INIT;
  SWIFTDPO_HPP_GIVE(out, results, logps, batch.num_sequences);
  SWIFTDPO_HPP_GIVE(out, results, num_tokens, batch.num_sequences);
  SWIFTDPO_HPP_GIVE(out, results, token_logps, batch.rows);
  SWIFTDPO_HPP_GIVE(out, results, log_normalizers, batch.rows);
  SWIFTDPO_HPP_GIVE(out, results, entropies, batch.rows);
  SWIFTDPO_HPP_GIVE(out, results, log_sum_squares, batch.rows);
  SWIFTDPO_HPP_GIVE(out, results, mean_logits, batch.rows);
  SWIFTDPO_HPP_GIVE(out, results, top_1, batch.rows);
  SWIFTDPO_HPP_GIVE(out, results, row_flags, batch.rows);

  swiftdpo_culprit culprit;
  if (const auto status = detail::c<T>::sequence_logps(&batch.in, &chosen, &out, &culprit); status != SWIFTDPO_OK)
    detail::refuse(status, culprit);
}

/// log_normalizers: those of the forward call, or empty. grad_logits may be the very buffer of the logits.
template <logit T>
[[gnu::always_inline]] inline void
sequence_logps_backward(const logits<T> &logits, const logps_options &options, std::span<const double> grad_logps,
                        std::span<const double> log_normalizers, std::type_identity_t<std::span<T>> grad_logits) {
  const detail::batch<T> batch(logits);
  const auto chosen = detail::options_of(options);
  const auto *const by_logps = detail::elements(grad_logps, batch.num_sequences, "grad_logps");
  const auto *const normalizers = detail::elements(log_normalizers, batch.rows, "log_normalizers");
  auto *const gradient =
      reinterpret_cast<typename detail::c<T>::bits *>(batch.span_of(grad_logits, "grad_logits").data());

  swiftdpo_culprit culprit;
  if (const auto status =
          detail::c<T>::sequence_logps_backward(&batch.in, &chosen, by_logps, normalizers, gradient, &culprit);
      status != SWIFTDPO_OK)
    detail::refuse(status, culprit);
}

// ------------------------------------------------------------------------------------------- Shards of a vocabulary

/// Of each row of logits. All are required.
struct shard_statistics {
  std::span<double> maxima, sums, label_logits;
};

namespace detail {

inline swiftdpo_shard_statistics statistics_of(const shard_statistics &statistics, std::size_t rows) {
  swiftdpo_shard_statistics result = SWIFTDPO_SHARD_STATISTICS_INIT;
  result.maxima = required(statistics.maxima, rows, "maxima");
  result.sums = required(statistics.sums, rows, "sums");
  result.label_logits = required(statistics.label_logits, rows, "label_logits");
  return result;
}

} // namespace detail

template <logit T>
inline void vocab_shard(const logits<T> &logits, const logps_options &options, const shard_statistics &results) {
  const detail::batch<T> batch(logits);
  const auto chosen = detail::options_of(options);
  const auto out = detail::statistics_of(results, batch.rows);
  detail::call(detail::c<T>::vocab_shard, &batch.in, &chosen, &out);
}

inline void vocab_shard_merge(const shard_statistics &into, const shard_statistics &other) {
  const auto rows = into.maxima.size();
  const auto to = detail::statistics_of(into, rows), from = detail::statistics_of(other, rows);
  detail::call(swiftdpo_vocab_shard_merge, rows, &to, &from);
}

/// `logits` say the batch's shape and labels, and need not be given themselves: leave vocab_size the whole vocabulary's.
inline void vocab_shard_logps(const logits<float> &logits, const logps_options &options, const shard_statistics &merged,
                              const logps_results &results) {
  auto shape = logits;
  shape.logits = {};
  shape.vocab_size = 0; // so that no logits are asked for
  detail::batch<float> batch(shape);
  batch.in.vocab_size = logits.vocab_size;
  const auto chosen = detail::options_of(options);
  const auto statistics = detail::statistics_of(merged, batch.rows);
  swiftdpo_logps_results out = SWIFTDPO_LOGPS_RESULTS_INIT;
  SWIFTDPO_HPP_GIVE(out, results, logps, batch.num_sequences);
  SWIFTDPO_HPP_GIVE(out, results, num_tokens, batch.num_sequences);
  SWIFTDPO_HPP_GIVE(out, results, token_logps, batch.rows);
  SWIFTDPO_HPP_GIVE(out, results, log_normalizers, batch.rows);
  SWIFTDPO_HPP_GIVE(out, results, entropies, batch.rows);
  SWIFTDPO_HPP_GIVE(out, results, log_sum_squares, batch.rows);
  SWIFTDPO_HPP_GIVE(out, results, mean_logits, batch.rows);
  SWIFTDPO_HPP_GIVE(out, results, top_1, batch.rows);
  SWIFTDPO_HPP_GIVE(out, results, row_flags, batch.rows);
  detail::call(swiftdpo_vocab_shard_logps, &batch.in, &chosen, &statistics, &out);
}

// ---------------------------------------------------------------------------------------------- Single responses

template <real T> struct unpaired {
  std::span<const T> policy_logps = {}, ref_logps = {};
  std::span<const std::uint8_t> desirable = {};
  std::span<const T> betas = {}, weights = {};
};

struct unpaired_options {
  double beta = 0.1;
  double desirable_weight = 1;
  double undesirable_weight = 1;
  double baseline = 0;
  swiftdpo_unpaired_loss_type loss_type = SWIFTDPO_UNPAIRED_KTO;
  swiftdpo_reduction reduction = SWIFTDPO_REDUCTION_MEAN;
  swiftdpo_nonfinite nonfinite = SWIFTDPO_NONFINITE_ERROR;
  bool reference_free = false;
};

template <real T> struct unpaired_results {
  std::span<T> losses = {}, grad_policy_logps = {}, rewards = {}, grad_betas = {}, curvatures = {};
  double *grad_baseline = nullptr;
  swiftdpo_unpaired_metrics *metrics = nullptr;
};

/// The reduced loss. Its gradient and the rest go where `results` says.
template <real T>
[[gnu::always_inline]] inline double unpaired_loss(const unpaired<T> &unpaired, const unpaired_options &options = {},
                                                   const unpaired_results<T> &results = {}) {
  const auto count = unpaired.policy_logps.size();
  auto in = detail::c<T>::no_unpaired;
  in.count = count;
  in.policy_logps = detail::required(unpaired.policy_logps, count, "policy_logps");
  in.desirable = detail::required(unpaired.desirable, count, "desirable");
  SWIFTDPO_HPP_GIVE(in, unpaired, ref_logps, count);
  SWIFTDPO_HPP_GIVE(in, unpaired, betas, count);
  SWIFTDPO_HPP_GIVE(in, unpaired, weights, count);

  swiftdpo_unpaired_options chosen = SWIFTDPO_UNPAIRED_OPTIONS_INIT;
  chosen.beta = options.beta;
  chosen.desirable_weight = options.desirable_weight;
  chosen.undesirable_weight = options.undesirable_weight;
  chosen.baseline = options.baseline;
  chosen.loss_type = options.loss_type;
  chosen.reduction = options.reduction;
  chosen.nonfinite = options.nonfinite;
  chosen.reference_free = options.reference_free;

  double loss;
  auto out = detail::c<T>::no_unpaired_results;
  out.loss = &loss;
  SWIFTDPO_HPP_GIVE(out, results, losses, count);
  SWIFTDPO_HPP_GIVE(out, results, grad_policy_logps, count);
  SWIFTDPO_HPP_GIVE(out, results, rewards, count);
  SWIFTDPO_HPP_GIVE(out, results, grad_betas, count);
  SWIFTDPO_HPP_GIVE(out, results, curvatures, count);
  out.grad_baseline = results.grad_baseline;
  out.metrics = results.metrics;
  detail::call(detail::c<T>::unpaired_loss, &in, &chosen, &out);
  return loss;
}

/// T is deduced from policy_logps alone here and below, so that containers and {} will do for the rest.
template <class T> using given = std::type_identity_t<std::span<const T>>;
template <class T> using wanted = std::type_identity_t<std::span<T>>;

template <real T>
void kto_baseline_add(swiftdpo_kto_baseline &baseline, std::span<const T> policy_logps, given<T> ref_logps = {}) {
  const auto count = policy_logps.size();
  detail::call(detail::c<T>::kto_baseline_add, &baseline, detail::required(policy_logps, count, "policy_logps"),
               detail::elements(ref_logps, count, "ref_logps"), count);
}

inline double kto_baseline_value(const swiftdpo_kto_baseline &baseline,
                                 swiftdpo_kto_estimator estimator = SWIFTDPO_KTO_GLOBAL) {
  double value;
  if (const auto status = swiftdpo_kto_baseline_value(&baseline, estimator, &value); status != SWIFTDPO_OK)
    detail::refuse(status, {"estimator", 0});
  return value;
}

template <real T>
void bco_delta_add(swiftdpo_bco_delta &delta, std::span<const T> policy_logps, given<T> ref_logps, double beta) {
  const auto count = policy_logps.size();
  detail::call(detail::c<T>::bco_delta_add, &delta, detail::required(policy_logps, count, "policy_logps"),
               detail::elements(ref_logps, count, "ref_logps"), beta, count);
}

template <real T> void udm_weights(std::span<const T> probabilities, wanted<T> weights) {
  const auto count = probabilities.size();
  detail::call(detail::c<T>::udm_weights, detail::required(probabilities, count, "probabilities"), count,
               detail::required(weights, count, "weights"));
}

// ---------------------------------------------------------------------------------------------- Rankings at random

/// rewards [num_groups, group_size]; rankings [num_groups, num_samples, group_size].
inline void sample_rankings(std::span<const double> rewards, std::size_t num_groups, std::size_t num_samples,
                            std::uint64_t seed, std::span<std::int64_t> rankings) {
  const auto group_size = num_groups == 0 ? 1 : rewards.size() / num_groups;
  detail::call(swiftdpo_sample_rankings_f64, detail::required(rewards, num_groups * group_size, "rewards"), num_groups,
               group_size, num_samples, seed,
               detail::required(rankings, num_groups * num_samples * group_size, "rankings"));
}

inline void ranking_marginals(std::span<const double> rewards, std::size_t num_groups,
                              std::span<double> top_one_probabilities, std::span<double> expected_ranks = {}) {
  const auto group_size = num_groups == 0 ? 1 : rewards.size() / num_groups;
  const auto count = num_groups * group_size;
  detail::call(swiftdpo_ranking_marginals_f64, detail::required(rewards, count, "rewards"), num_groups, group_size,
               detail::elements(top_one_probabilities, count, "top_one_probabilities"),
               detail::elements(expected_ranks, count, "expected_ranks"));
}

// ----------------------------------------------------------------------------------------------------- Divergences

/// [rows, num_outcomes] each.
template <real T> struct distributions {
  std::size_t num_outcomes = 1;
  std::span<const T> logp = {}, logq = {};
};

struct divergence_options {
  swiftdpo_divergence_kind kind = SWIFTDPO_DIVERGENCE_KL;
  swiftdpo_nonfinite nonfinite = SWIFTDPO_NONFINITE_ERROR;
};

template <real T> struct divergence_results {
  std::span<double> divergences = {};
  std::span<T> grad_logp = {}, grad_logq = {};
};

template <real T>
void divergence(const distributions<T> &distributions, const divergence_options &options,
                const divergence_results<T> &results) {
  const auto rows = distributions.num_outcomes == 0 ? 0 : distributions.logp.size() / distributions.num_outcomes;
  const auto count = rows * distributions.num_outcomes;
  auto in = detail::c<T>::no_distributions;
  in.num_rows = rows;
  in.num_outcomes = distributions.num_outcomes;
  in.logp = detail::required(distributions.logp, count, "logp");
  in.logq = detail::required(distributions.logq, count, "logq");
  swiftdpo_divergence_options chosen = SWIFTDPO_DIVERGENCE_OPTIONS_INIT;
  chosen.kind = options.kind;
  chosen.nonfinite = options.nonfinite;
  auto out = detail::c<T>::no_divergence_results;
  SWIFTDPO_HPP_GIVE(out, results, divergences, rows);
  SWIFTDPO_HPP_GIVE(out, results, grad_logp, count);
  SWIFTDPO_HPP_GIVE(out, results, grad_logq, count);
  detail::call(detail::c<T>::divergence, &in, &chosen, &out);
}

template <real T>
void kl_estimates(std::span<const T> policy_logps, given<T> ref_logps, wanted<T> k1, wanted<T> k2 = {},
                  wanted<T> k3 = {}, swiftdpo_nonfinite nonfinite = SWIFTDPO_NONFINITE_ERROR) {
  const auto count = policy_logps.size();
  detail::call(detail::c<T>::kl_estimates, count, detail::required(policy_logps, count, "policy_logps"),
               detail::required(ref_logps, count, "ref_logps"), nonfinite, detail::elements(k1, count, "k1"),
               detail::elements(k2, count, "k2"), detail::elements(k3, count, "k3"));
}

// ------------------------------------------------------------------------------------------------ Optimal policies

/// [num_prompts, num_responses], betas and log_partitions [num_prompts].
template <real T> struct responses {
  std::size_t num_prompts = 0;
  std::size_t num_responses = 1;
  std::span<const T> ref_logps = {}, rewards = {}, policy_logps = {}, betas = {};
  std::span<const double> log_partitions = {};
};

struct policy_options {
  double beta = 0.1;
  swiftdpo_nonfinite nonfinite = SWIFTDPO_NONFINITE_ERROR;
};

template <real T> struct policy_results {
  std::span<T> logps = {};
  std::span<double> log_partitions = {}, objectives = {}, expected_rewards = {}, kl_divergences = {};
  std::span<T> grad_rewards = {};
  std::span<double> grad_betas = {}, policy_objectives = {}, policy_gaps = {};
};

namespace detail {

template <real T> typename c<T>::responses responses_of(const responses<T> &responses) {
  const auto prompts = responses.num_prompts, count = prompts * responses.num_responses;
  auto in = c<T>::no_responses;
  in.num_prompts = prompts;
  in.num_responses = responses.num_responses;
  SWIFTDPO_HPP_GIVE(in, responses, ref_logps, count);
  SWIFTDPO_HPP_GIVE(in, responses, rewards, count);
  SWIFTDPO_HPP_GIVE(in, responses, policy_logps, count);
  SWIFTDPO_HPP_GIVE(in, responses, betas, prompts);
  SWIFTDPO_HPP_GIVE(in, responses, log_partitions, prompts);
  return in;
}

inline swiftdpo_policy_options options_of(const policy_options &options) {
  swiftdpo_policy_options chosen = SWIFTDPO_POLICY_OPTIONS_INIT;
  chosen.beta = options.beta;
  chosen.nonfinite = options.nonfinite;
  return chosen;
}

} // namespace detail

template <real T>
void optimal_policy(const responses<T> &responses, const policy_options &options, const policy_results<T> &results) {
  const auto in = detail::responses_of(responses);
  const auto chosen = detail::options_of(options);
  const auto prompts = in.num_prompts, count = prompts * in.num_responses;
  auto out = detail::c<T>::no_policy_results;
  SWIFTDPO_HPP_GIVE(out, results, logps, count);
  SWIFTDPO_HPP_GIVE(out, results, log_partitions, prompts);
  SWIFTDPO_HPP_GIVE(out, results, objectives, prompts);
  SWIFTDPO_HPP_GIVE(out, results, expected_rewards, prompts);
  SWIFTDPO_HPP_GIVE(out, results, kl_divergences, prompts);
  SWIFTDPO_HPP_GIVE(out, results, grad_rewards, count);
  SWIFTDPO_HPP_GIVE(out, results, grad_betas, prompts);
  SWIFTDPO_HPP_GIVE(out, results, policy_objectives, prompts);
  SWIFTDPO_HPP_GIVE(out, results, policy_gaps, prompts);
  detail::call(detail::c<T>::optimal_policy, &in, &chosen, &out);
}

template <real T>
void implicit_rewards(const responses<T> &responses, const policy_options &options, wanted<T> rewards) {
  const auto in = detail::responses_of(responses);
  const auto chosen = detail::options_of(options);
  detail::call(detail::c<T>::implicit_rewards, &in, &chosen,
               detail::required(rewards, in.num_prompts * in.num_responses, "rewards"));
}

template <real T>
void policy_from_rewards(const responses<T> &responses, const policy_options &options, wanted<T> policy_logps) {
  const auto in = detail::responses_of(responses);
  const auto chosen = detail::options_of(options);
  detail::call(detail::c<T>::policy_from_rewards, &in, &chosen,
               detail::required(policy_logps, in.num_prompts * in.num_responses, "policy_logps"));
}

template <real T>
void preference_probability(std::span<const T> chosen_rewards, given<T> rejected_rewards, wanted<T> probabilities,
                            wanted<T> log_probabilities = {}, swiftdpo_nonfinite nonfinite = SWIFTDPO_NONFINITE_ERROR) {
  const auto count = chosen_rewards.size();
  detail::call(detail::c<T>::preference_probability, count, detail::required(chosen_rewards, count, "chosen_rewards"),
               detail::required(rejected_rewards, count, "rejected_rewards"), nonfinite,
               detail::elements(probabilities, count, "probabilities"),
               detail::elements(log_probabilities, count, "log_probabilities"));
}

// ----------------------------------------------------------------------------- Partition functions and samples of pi*

struct partition_estimates {
  std::span<double> log_partitions = {}, standard_errors = {}, effective_sample_sizes = {}, corrected = {},
                    largest_shares = {};
};

/// Accumulators start as {}, one for each prompt.
template <real T>
void partition_add(const responses<T> &responses, const policy_options &options,
                   std::span<swiftdpo_partition_accumulator> accumulators) {
  const auto in = detail::responses_of(responses);
  const auto chosen = detail::options_of(options);
  detail::call(detail::c<T>::partition_add, &in, &chosen,
               detail::required(accumulators, in.num_prompts, "accumulators"));
}

inline void partition_merge(std::span<swiftdpo_partition_accumulator> into,
                            std::span<const swiftdpo_partition_accumulator> from) {
  const auto count = into.size();
  detail::call(swiftdpo_partition_merge, count, detail::required(into, count, "into"),
               detail::required(from, count, "from"));
}

inline void partition_estimate(std::span<const swiftdpo_partition_accumulator> accumulators,
                               const partition_estimates &estimates) {
  const auto count = accumulators.size();
  swiftdpo_partition_estimates out = SWIFTDPO_PARTITION_ESTIMATES_INIT;
  SWIFTDPO_HPP_GIVE(out, estimates, log_partitions, count);
  SWIFTDPO_HPP_GIVE(out, estimates, standard_errors, count);
  SWIFTDPO_HPP_GIVE(out, estimates, effective_sample_sizes, count);
  SWIFTDPO_HPP_GIVE(out, estimates, corrected, count);
  SWIFTDPO_HPP_GIVE(out, estimates, largest_shares, count);
  detail::call(swiftdpo_partition_estimate, count, detail::required(accumulators, count, "accumulators"), &out);
}

inline void rejection_sample(const responses<double> &responses, const policy_options &options,
                             std::span<const double> bounds, std::uint64_t seed, std::span<std::uint8_t> accepted,
                             std::span<double> acceptance_rates = {}) {
  const auto in = detail::responses_of(responses);
  const auto chosen = detail::options_of(options);
  detail::call(swiftdpo_rejection_sample_f64, &in, &chosen, detail::elements(bounds, in.num_prompts, "bounds"), seed,
               detail::elements(accepted, in.num_prompts * in.num_responses, "accepted"),
               detail::elements(acceptance_rates, in.num_prompts, "acceptance_rates"));
}

/// indices [num_prompts, num_draws]
inline void importance_resample(const responses<double> &responses, const policy_options &options,
                                std::size_t num_draws, std::uint64_t seed, std::span<std::int64_t> indices) {
  const auto in = detail::responses_of(responses);
  const auto chosen = detail::options_of(options);
  detail::call(swiftdpo_importance_resample_f64, &in, &chosen, num_draws, seed,
               detail::required(indices, in.num_prompts * num_draws, "indices"));
}

inline void best_of_n(const responses<double> &responses, std::size_t n, std::span<double> logps,
                      std::span<double> kl_divergences = {}, std::span<double> expected_rewards = {}) {
  const auto in = detail::responses_of(responses);
  detail::call(swiftdpo_best_of_n_f64, &in, n, detail::elements(logps, in.num_prompts * in.num_responses, "logps"),
               detail::elements(kl_divergences, in.num_prompts, "kl_divergences"),
               detail::elements(expected_rewards, in.num_prompts, "expected_rewards"));
}

// --------------------------------------------------------------------------------------------- Tokens, and the library

/// token_logps and log_sum_squares [num_sequences, length]; num_tokens and weights [num_sequences].
inline void wpo_weights(std::span<const double> token_logps, std::span<const double> log_sum_squares,
                        std::span<const std::int64_t> num_tokens, std::span<double> weights) {
  const auto sequences = num_tokens.size(), length = sequences == 0 ? 0 : token_logps.size() / sequences;
  const auto count = sequences * length;
  detail::call(swiftdpo_wpo_weights, detail::required(token_logps, count, "token_logps"),
               detail::elements(log_sum_squares, count, "log_sum_squares"),
               detail::required(num_tokens, sequences, "num_tokens"), sequences, length,
               detail::required(weights, sequences, "weights"));
}

/// policy_token_logps, ref_token_logps and passes [num_sequences, length]; log_ratios [num_sequences].
inline void humanline_clamp(std::span<const double> policy_token_logps, std::span<const double> ref_token_logps,
                            std::size_t num_sequences, double low, double high, std::span<double> log_ratios,
                            std::span<double> passes = {}) {
  const auto length = num_sequences == 0 ? 0 : policy_token_logps.size() / num_sequences;
  const auto count = num_sequences * length;
  detail::call(swiftdpo_humanline_clamp, detail::required(policy_token_logps, count, "policy_token_logps"),
               detail::required(ref_token_logps, count, "ref_token_logps"), num_sequences, length, low, high,
               detail::elements(log_ratios, num_sequences, "log_ratios"), detail::elements(passes, count, "passes"));
}

inline void set_num_threads(std::int32_t threads) {
  if (const auto status = swiftdpo_set_num_threads(threads); status != SWIFTDPO_OK)
    detail::refuse(status, {"threads", 0});
}
inline std::int32_t num_threads() noexcept { return swiftdpo_num_threads(); }

inline swiftdpo_build build_info() noexcept {
  swiftdpo_build build = SWIFTDPO_BUILD_INIT;
  swiftdpo_build_info(&build);
  return build;
}

#undef SWIFTDPO_HPP_GIVE

} // namespace swiftdpo

#endif // SWIFTDPO_HPP
