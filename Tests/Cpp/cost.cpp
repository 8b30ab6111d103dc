// One call of the C interface and the same call of the C++ one. test_cpp.py counts the instructions of both.
#include <array>

#include "swiftdpo.hpp"

enum { COUNT = 64 };
using Array = std::array<double, COUNT>;

extern "C" double call_by_c(const Array &chosen, const Array &rejected, Array &gradient);
extern "C" double call_by_cpp(const Array &chosen, const Array &rejected, Array &gradient);

extern "C" double call_by_c(const Array &chosen, const Array &rejected, Array &gradient) {
  swiftdpo_pairs_f64 pairs = SWIFTDPO_PAIRS_F64_INIT;
  pairs.count = COUNT;
  pairs.policy_chosen_logps = chosen.data();
  pairs.policy_rejected_logps = rejected.data();
  swiftdpo_dpo_options options = SWIFTDPO_DPO_OPTIONS_INIT;
  options.beta = 0.2;
  double loss;
  swiftdpo_pair_results_f64 results = SWIFTDPO_PAIR_RESULTS_F64_INIT;
  results.loss = &loss;
  results.grad_policy_chosen_logps = gradient.data();
  swiftdpo_culprit culprit;
  if (const auto status = swiftdpo_dpo_loss_f64(&pairs, &options, &results, &culprit); status != SWIFTDPO_OK)
    swiftdpo::detail::refuse(status, culprit);
  return loss;
}

extern "C" double call_by_cpp(const Array &chosen, const Array &rejected, Array &gradient) {
  return swiftdpo::dpo_loss(swiftdpo::pairs<double>{.policy_chosen_logps = chosen, .policy_rejected_logps = rejected},
                            {.beta = 0.2}, {.grad_policy_chosen_logps = gradient});
}
