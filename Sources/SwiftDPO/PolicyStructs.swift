import CSwiftDPO

// The header's structs about listed outcomes, as Structs.swift has those of losses.

protocol Distributions: GrowableStruct {
  associatedtype Value: Element
  var num_rows: Int { get }
  var num_outcomes: Int { get }
  var logp: UnsafePointer<Value>! { get }
  var logq: UnsafePointer<Value>! { get }
}

protocol DivergenceResults: GrowableStruct {
  associatedtype Value: Element
  var divergences: UnsafeMutablePointer<Double>! { get }
  var grad_logp: UnsafeMutablePointer<Value>! { get }
  var grad_logq: UnsafeMutablePointer<Value>! { get }
}

protocol Responses: GrowableStruct {
  associatedtype Value: Element
  var num_prompts: Int { get }
  var num_responses: Int { get }
  var ref_logps: UnsafePointer<Value>! { get }
  var rewards: UnsafePointer<Value>! { get }
  var policy_logps: UnsafePointer<Value>! { get }
  var betas: UnsafePointer<Value>! { get }
  var log_partitions: UnsafePointer<Double>! { get }
}

protocol PolicyResults: GrowableStruct {
  associatedtype Value: Element
  var logps: UnsafeMutablePointer<Value>! { get }
  var log_partitions: UnsafeMutablePointer<Double>! { get }
  var objectives: UnsafeMutablePointer<Double>! { get }
  var expected_rewards: UnsafeMutablePointer<Double>! { get }
  var kl_divergences: UnsafeMutablePointer<Double>! { get }
  var grad_rewards: UnsafeMutablePointer<Value>! { get }
  var grad_betas: UnsafeMutablePointer<Double>! { get }
  var policy_objectives: UnsafeMutablePointer<Double>! { get }
  var policy_gaps: UnsafeMutablePointer<Double>! { get }
}

extension swiftdpo_distributions_f32: Distributions { static var initial: Self { zeroed(Self()) } }
extension swiftdpo_distributions_f64: Distributions { static var initial: Self { zeroed(Self()) } }
extension swiftdpo_divergence_options: GrowableStruct { static var initial: Self { zeroed(Self()) } }
extension swiftdpo_divergence_results_f32: DivergenceResults { static var initial: Self { zeroed(Self()) } }
extension swiftdpo_divergence_results_f64: DivergenceResults { static var initial: Self { zeroed(Self()) } }
extension swiftdpo_responses_f32: Responses { static var initial: Self { zeroed(Self()) } }
extension swiftdpo_responses_f64: Responses { static var initial: Self { zeroed(Self()) } }
extension swiftdpo_policy_results_f32: PolicyResults { static var initial: Self { zeroed(Self()) } }
extension swiftdpo_policy_results_f64: PolicyResults { static var initial: Self { zeroed(Self()) } }

extension swiftdpo_partition_estimates: GrowableStruct { static var initial: Self { zeroed(Self()) } }

extension swiftdpo_token_model: GrowableStruct {
  static var initial: Self {
    var model = zeroed(Self())
    model.end_token = -1
    return model
  }
}

extension swiftdpo_response_model: GrowableStruct {
  static var initial: Self {
    var model = zeroed(Self())
    model.end_token = -1
    return model
  }
}

extension swiftdpo_partition_options: GrowableStruct {
  static var initial: Self {
    var options = zeroed(Self())
    options.beta = 0.1
    options.max_terms = 10_000_000
    return options
  }
}

extension swiftdpo_policy_options: GrowableStruct {
  static var initial: Self {
    var options = zeroed(Self())
    options.beta = 0.1
    return options
  }
}

@_cdecl("swiftdpo_distributions_f32_init") @implementation
public func swiftdpo_distributions_f32_init(_ value: UnsafeMutablePointer<swiftdpo_distributions_f32>!) {
  initialize(value)
}

@_cdecl("swiftdpo_distributions_f64_init") @implementation
public func swiftdpo_distributions_f64_init(_ value: UnsafeMutablePointer<swiftdpo_distributions_f64>!) {
  initialize(value)
}

@_cdecl("swiftdpo_divergence_options_init") @implementation
public func swiftdpo_divergence_options_init(_ value: UnsafeMutablePointer<swiftdpo_divergence_options>!) {
  initialize(value)
}

@_cdecl("swiftdpo_divergence_results_f32_init") @implementation
public func swiftdpo_divergence_results_f32_init(_ value: UnsafeMutablePointer<swiftdpo_divergence_results_f32>!) {
  initialize(value)
}

@_cdecl("swiftdpo_divergence_results_f64_init") @implementation
public func swiftdpo_divergence_results_f64_init(_ value: UnsafeMutablePointer<swiftdpo_divergence_results_f64>!) {
  initialize(value)
}

@_cdecl("swiftdpo_responses_f32_init") @implementation
public func swiftdpo_responses_f32_init(_ value: UnsafeMutablePointer<swiftdpo_responses_f32>!) { initialize(value) }

@_cdecl("swiftdpo_responses_f64_init") @implementation
public func swiftdpo_responses_f64_init(_ value: UnsafeMutablePointer<swiftdpo_responses_f64>!) { initialize(value) }

@_cdecl("swiftdpo_policy_options_init") @implementation
public func swiftdpo_policy_options_init(_ value: UnsafeMutablePointer<swiftdpo_policy_options>!) { initialize(value) }

@_cdecl("swiftdpo_policy_results_f32_init") @implementation
public func swiftdpo_policy_results_f32_init(_ value: UnsafeMutablePointer<swiftdpo_policy_results_f32>!) {
  initialize(value)
}

@_cdecl("swiftdpo_policy_results_f64_init") @implementation
public func swiftdpo_policy_results_f64_init(_ value: UnsafeMutablePointer<swiftdpo_policy_results_f64>!) {
  initialize(value)
}

@_cdecl("swiftdpo_partition_estimates_init") @implementation
public func swiftdpo_partition_estimates_init(_ value: UnsafeMutablePointer<swiftdpo_partition_estimates>!) {
  initialize(value)
}

@_cdecl("swiftdpo_token_model_init") @implementation
public func swiftdpo_token_model_init(_ value: UnsafeMutablePointer<swiftdpo_token_model>!) { initialize(value) }

@_cdecl("swiftdpo_response_model_init") @implementation
public func swiftdpo_response_model_init(_ value: UnsafeMutablePointer<swiftdpo_response_model>!) { initialize(value) }

@_cdecl("swiftdpo_partition_options_init") @implementation
public func swiftdpo_partition_options_init(_ value: UnsafeMutablePointer<swiftdpo_partition_options>!) {
  initialize(value)
}
