import CSwiftDPO

// The structs of the header: their initial values, and what the f32 and f64 forms have in common. The compiler matches
// the protocols' requirements with the header's fields by name.

protocol Pairs: GrowableStruct {
  associatedtype Value: Element
  var count: Int { get }
  var policy_chosen_logps: UnsafePointer<Value>! { get }
  var policy_rejected_logps: UnsafePointer<Value>! { get }
  var ref_chosen_logps: UnsafePointer<Value>! { get }
  var ref_rejected_logps: UnsafePointer<Value>! { get }
  var betas: UnsafePointer<Value>! { get }
  var margins: UnsafePointer<Value>! { get }
  var weights: UnsafePointer<Value>! { get }
  var soft_labels: UnsafePointer<Value>! { get }
  var chosen_lengths: UnsafePointer<Int64>! { get }
  var rejected_lengths: UnsafePointer<Int64>! { get }
  var ties: UnsafePointer<UInt8>! { get }
  var reward_gaps: UnsafePointer<Value>! { get }
  var sft_logps: UnsafePointer<Value>! { get }
  var sft_lengths: UnsafePointer<Int64>! { get }
}

protocol PairResults: GrowableStruct {
  associatedtype Value: Element
  var loss: UnsafeMutablePointer<Double>! { get }
  var losses: UnsafeMutablePointer<Value>! { get }
  var grad_policy_chosen_logps: UnsafeMutablePointer<Value>! { get }
  var grad_policy_rejected_logps: UnsafeMutablePointer<Value>! { get }
  var chosen_rewards: UnsafeMutablePointer<Value>! { get }
  var rejected_rewards: UnsafeMutablePointer<Value>! { get }
  var gradient_weights: UnsafeMutablePointer<Value>! { get }
  var grad_ref_chosen_logps: UnsafeMutablePointer<Value>! { get }
  var grad_ref_rejected_logps: UnsafeMutablePointer<Value>! { get }
  var grad_sft_logps: UnsafeMutablePointer<Value>! { get }
  var grad_betas: UnsafeMutablePointer<Value>! { get }
  var grad_margins: UnsafeMutablePointer<Value>! { get }
  var curvatures: UnsafeMutablePointer<Value>! { get }
  var grad_tie_strength: UnsafeMutablePointer<Double>! { get }
  var metrics: UnsafeMutablePointer<swiftdpo_pair_metrics>! { get }
}

protocol Rankings: GrowableStruct {
  associatedtype Value
  var num_groups: Int { get }
  var group_size: Int { get }
  var policy_logps: UnsafePointer<Value>! { get }
  var ref_logps: UnsafePointer<Value>! { get }
  var rankings: UnsafePointer<Int64>! { get }
  var betas: UnsafePointer<Value>! { get }
  var weights: UnsafePointer<Value>! { get }
  var offsets: UnsafePointer<Int64>! { get }
  var ranks: UnsafePointer<Int64>! { get }
  var position_weights: UnsafePointer<Value>! { get }
  var num_position_weights: Int { get }
  var num_shared_items: Int { get }
  var direction: UnsafePointer<Value>! { get }
  var tie_strengths: UnsafePointer<Double>! { get }
  var num_tie_strengths: Int { get }
}

protocol RankingResults: GrowableStruct {
  associatedtype Value
  var loss: UnsafeMutablePointer<Double>! { get }
  var losses: UnsafeMutablePointer<Value>! { get }
  var grad_policy_logps: UnsafeMutablePointer<Value>! { get }
  var rewards: UnsafeMutablePointer<Value>! { get }
  var gradient_weights: UnsafeMutablePointer<Value>! { get }
  var grad_ref_logps: UnsafeMutablePointer<Value>! { get }
  var hessian_product: UnsafeMutablePointer<Value>! { get }
  var grad_tie_strengths: UnsafeMutablePointer<Double>! { get }
}

extension GrowableStruct {
  /// All zero but for the size, which stands first.
  static func zeroed(_ value: Self) -> Self {
    var value = value
    withUnsafeMutableBytes(of: &value) { $0.storeBytes(of: MemoryLayout<Self>.stride, as: Int.self) }
    return value
  }
}

extension swiftdpo_pairs_f32: Pairs { static var initial: Self { zeroed(Self()) } }
extension swiftdpo_pairs_f64: Pairs { static var initial: Self { zeroed(Self()) } }
extension swiftdpo_pair_results_f32: PairResults { static var initial: Self { zeroed(Self()) } }
extension swiftdpo_pair_results_f64: PairResults { static var initial: Self { zeroed(Self()) } }
extension swiftdpo_rankings_f32: Rankings { static var initial: Self { zeroed(Self()) } }
extension swiftdpo_rankings_half: Rankings { static var initial: Self { zeroed(Self()) } }
extension swiftdpo_ranking_results_half: RankingResults { static var initial: Self { zeroed(Self()) } }
extension swiftdpo_rankings_f64: Rankings { static var initial: Self { zeroed(Self()) } }
extension swiftdpo_ranking_results_f32: RankingResults { static var initial: Self { zeroed(Self()) } }
extension swiftdpo_ranking_results_f64: RankingResults { static var initial: Self { zeroed(Self()) } }
extension swiftdpo_logits_f32: GrowableStruct { static var initial: Self { zeroed(Self()) } }
extension swiftdpo_logits_f64: GrowableStruct { static var initial: Self { zeroed(Self()) } }
extension swiftdpo_logits_half: GrowableStruct { static var initial: Self { zeroed(Self()) } }
extension swiftdpo_logps_results: GrowableStruct { static var initial: Self { zeroed(Self()) } }
extension swiftdpo_shard_statistics: GrowableStruct { static var initial: Self { zeroed(Self()) } }
extension swiftdpo_build: GrowableStruct { static var initial: Self { zeroed(Self()) } }

extension swiftdpo_pair_metrics: GrowableStruct { static var initial: Self { zeroed(Self()) } }

extension swiftdpo_dpo_options: GrowableStruct {
  static var initial: Self {
    var options = zeroed(Self())
    options.beta = 0.1
    options.f_alpha_divergence_coef = 0.5
    options.discopop_tau = 0.05
    options.tie_strength = 2
    options.reward_scale = 1
    return options
  }
}

extension swiftdpo_plackett_luce_options: GrowableStruct {
  static var initial: Self {
    var options = zeroed(Self())
    options.beta = 0.1
    return options
  }
}

extension swiftdpo_logps_options: GrowableStruct {
  static var initial: Self {
    var options = zeroed(Self())
    options.ignore_index = -100
    options.shift = 1
    options.logit_scale = 1
    options.ld_alpha = 1
    return options
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
