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
  static constexpr auto dpo_loss = swiftdpo_dpo_loss_##suffix; \
  static constexpr auto plackett_luce_loss = swiftdpo_plackett_luce_loss_##suffix;

#define SWIFTDPO_HPP_LOGIT(suffix, structs, STRUCTS, element) \
  using bits = element; \
  using logits = swiftdpo_logits_##structs; \
  static constexpr logits no_logits = SWIFTDPO_LOGITS_##STRUCTS##_INIT; \
  static constexpr auto sequence_logps = swiftdpo_sequence_logps_##suffix; \
  static constexpr auto sequence_logps_backward = swiftdpo_sequence_logps_backward_##suffix;

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

/// The reduced loss. Its gradient and the rest go where `results` says.
template <real T>
[[gnu::always_inline]] inline double dpo_loss(const pairs<T> &pairs, const dpo_options &options = {},
                                              const pair_results<T> &results = {}) {
  const auto count = pairs.policy_chosen_logps.size();
  auto in = detail::c<T>::no_pairs;
  in.count = count;
#define SWIFTDPO_HPP_GIVE(to, from, field, count) (to).field = detail::elements((from).field, (count), #field)
  // An empty batch is legal, and its arrays have no elements to be missed: the library wants a pointer even so.
  static constexpr T nothing{};
  in.policy_chosen_logps = count == 0 ? &nothing : pairs.policy_chosen_logps.data();
  if (pairs.policy_rejected_logps.size() != count)
    detail::refuse_length("policy_rejected_logps", pairs.policy_rejected_logps.size(), count);
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
  auto out = detail::c<T>::no_pair_results;
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
  if (const auto status = detail::c<T>::dpo_loss(&in, &chosen, &out, &culprit); status != SWIFTDPO_OK)
    detail::refuse(status, culprit);
  return loss;
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

#undef SWIFTDPO_HPP_GIVE

} // namespace swiftdpo

#endif // SWIFTDPO_HPP
