import CSwiftDPO

// The structs of the header, and what of them is not zero at first.

extension swiftdpo_pairs_f32: GrowableStruct {}
extension swiftdpo_pairs_f64: GrowableStruct {}
extension swiftdpo_pair_results_f32: GrowableStruct {}
extension swiftdpo_pair_results_f64: GrowableStruct {}
extension swiftdpo_rankings_f32: GrowableStruct {}
extension swiftdpo_rankings_half: GrowableStruct {}
extension swiftdpo_ranking_results_half: GrowableStruct {}
extension swiftdpo_rankings_f64: GrowableStruct {}
extension swiftdpo_ranking_results_f32: GrowableStruct {}
extension swiftdpo_ranking_results_f64: GrowableStruct {}
extension swiftdpo_logits_f32: GrowableStruct {}
extension swiftdpo_logits_f64: GrowableStruct {}
extension swiftdpo_logits_half: GrowableStruct {}
extension swiftdpo_logps_results: GrowableStruct {}
extension swiftdpo_shard_statistics: GrowableStruct {}
extension swiftdpo_build: GrowableStruct {}

extension swiftdpo_pair_metrics: GrowableStruct {}

extension swiftdpo_dpo_options: GrowableStruct {
  static func setDefaults(_ value: inout Self) {
    value.beta = 0.1
    value.f_alpha_divergence_coef = 0.5
    value.discopop_tau = 0.05
    value.tie_strength = 2
    value.reward_scale = 1
  }
}

extension swiftdpo_plackett_luce_options: GrowableStruct {
  static func setDefaults(_ value: inout Self) {
    value.beta = 0.1
  }
}

extension swiftdpo_logps_options: GrowableStruct {
  static func setDefaults(_ value: inout Self) {
    value.ignore_index = -100
    value.shift = 1
    value.logit_scale = 1
    value.ld_alpha = 1
  }
}

@_cdecl("swiftdpo_pairs_f32_init") @implementation
public func swiftdpo_pairs_f32_init(_ pairs: UnsafeMutablePointer<swiftdpo_pairs_f32>!) { initialize(pairs) }

@_cdecl("swiftdpo_pairs_f64_init") @implementation
public func swiftdpo_pairs_f64_init(_ pairs: UnsafeMutablePointer<swiftdpo_pairs_f64>!) { initialize(pairs) }

@_cdecl("swiftdpo_pair_results_f32_init") @implementation
public func swiftdpo_pair_results_f32_init(_ results: UnsafeMutablePointer<swiftdpo_pair_results_f32>!) {
  initialize(results)
}

@_cdecl("swiftdpo_pair_results_f64_init") @implementation
public func swiftdpo_pair_results_f64_init(_ results: UnsafeMutablePointer<swiftdpo_pair_results_f64>!) {
  initialize(results)
}

@_cdecl("swiftdpo_dpo_options_init") @implementation
public func swiftdpo_dpo_options_init(_ options: UnsafeMutablePointer<swiftdpo_dpo_options>!) { initialize(options) }

@_cdecl("swiftdpo_pair_metrics_init") @implementation
public func swiftdpo_pair_metrics_init(_ metrics: UnsafeMutablePointer<swiftdpo_pair_metrics>!) { initialize(metrics) }

@_cdecl("swiftdpo_rankings_f32_init") @implementation
public func swiftdpo_rankings_f32_init(_ rankings: UnsafeMutablePointer<swiftdpo_rankings_f32>!) {
  initialize(rankings)
}

@_cdecl("swiftdpo_rankings_f64_init") @implementation
public func swiftdpo_rankings_f64_init(_ rankings: UnsafeMutablePointer<swiftdpo_rankings_f64>!) {
  initialize(rankings)
}

@_cdecl("swiftdpo_ranking_results_f32_init") @implementation
public func swiftdpo_ranking_results_f32_init(_ results: UnsafeMutablePointer<swiftdpo_ranking_results_f32>!) {
  initialize(results)
}

@_cdecl("swiftdpo_ranking_results_f64_init") @implementation
public func swiftdpo_ranking_results_f64_init(_ results: UnsafeMutablePointer<swiftdpo_ranking_results_f64>!) {
  initialize(results)
}

@_cdecl("swiftdpo_plackett_luce_options_init") @implementation
public func swiftdpo_plackett_luce_options_init(
  _ options: UnsafeMutablePointer<swiftdpo_plackett_luce_options>!
) { initialize(options) }

@_cdecl("swiftdpo_logits_f32_init") @implementation
public func swiftdpo_logits_f32_init(_ logits: UnsafeMutablePointer<swiftdpo_logits_f32>!) { initialize(logits) }

@_cdecl("swiftdpo_logits_f64_init") @implementation
public func swiftdpo_logits_f64_init(_ logits: UnsafeMutablePointer<swiftdpo_logits_f64>!) { initialize(logits) }

@_cdecl("swiftdpo_logits_half_init") @implementation
public func swiftdpo_logits_half_init(_ logits: UnsafeMutablePointer<swiftdpo_logits_half>!) { initialize(logits) }

@_cdecl("swiftdpo_shard_statistics_init") @implementation
public func swiftdpo_shard_statistics_init(_ statistics: UnsafeMutablePointer<swiftdpo_shard_statistics>!) {
  initialize(statistics)
}

@_cdecl("swiftdpo_logps_options_init") @implementation
public func swiftdpo_logps_options_init(_ options: UnsafeMutablePointer<swiftdpo_logps_options>!) {
  initialize(options)
}

@_cdecl("swiftdpo_logps_results_init") @implementation
public func swiftdpo_logps_results_init(_ results: UnsafeMutablePointer<swiftdpo_logps_results>!) {
  initialize(results)
}

@_cdecl("swiftdpo_rankings_half_init") @implementation
public func swiftdpo_rankings_half_init(_ rankings: UnsafeMutablePointer<swiftdpo_rankings_half>!) {
  initialize(rankings)
}

@_cdecl("swiftdpo_ranking_results_half_init") @implementation
public func swiftdpo_ranking_results_half_init(_ results: UnsafeMutablePointer<swiftdpo_ranking_results_half>!) {
  initialize(results)
}
