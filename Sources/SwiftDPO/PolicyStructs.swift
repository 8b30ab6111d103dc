import CSwiftDPO

// The header's structs about listed outcomes, as Structs.swift has those of losses.

extension swiftdpo_distributions_f32: GrowableStruct {}
extension swiftdpo_distributions_f64: GrowableStruct {}
extension swiftdpo_divergence_options: GrowableStruct {}
extension swiftdpo_divergence_results_f32: GrowableStruct {}
extension swiftdpo_divergence_results_f64: GrowableStruct {}
extension swiftdpo_responses_f32: GrowableStruct {}
extension swiftdpo_responses_f64: GrowableStruct {}
extension swiftdpo_policy_results_f32: GrowableStruct {}
extension swiftdpo_policy_results_f64: GrowableStruct {}

extension swiftdpo_partition_estimates: GrowableStruct {}

extension swiftdpo_token_model: GrowableStruct {
  static func setDefaults(_ value: inout Self) {
    value.end_token = -1
  }
}

extension swiftdpo_response_model: GrowableStruct {
  static func setDefaults(_ value: inout Self) {
    value.end_token = -1
  }
}

extension swiftdpo_partition_options: GrowableStruct {
  static func setDefaults(_ value: inout Self) {
    value.beta = 0.1
    value.max_terms = 10_000_000
  }
}

extension swiftdpo_policy_options: GrowableStruct {
  static func setDefaults(_ value: inout Self) {
    value.beta = 0.1
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
