import CSwiftDPO
import Elementary
import Preference

// Baselines of the losses of single responses: plain sums, updated by the caller when it sees fit.

extension swiftdpo_kto_baseline: GrowableStruct {}
extension swiftdpo_bco_delta: GrowableStruct {}

@_cdecl("swiftdpo_kto_baseline_init") @implementation
public func swiftdpo_kto_baseline_init(_ baseline: UnsafeMutablePointer<swiftdpo_kto_baseline>!) {
  initialize(baseline)
}

@_cdecl("swiftdpo_bco_delta_init") @implementation
public func swiftdpo_bco_delta_init(_ delta: UnsafeMutablePointer<swiftdpo_bco_delta>!) { initialize(delta) }

@_cdecl("swiftdpo_kto_baseline_add_f32") @implementation
public func swiftdpo_kto_baseline_add_f32(
  _ baseline: UnsafeMutablePointer<swiftdpo_kto_baseline>!, _ policy: UnsafePointer<Float>!,
  _ reference: UnsafePointer<Float>!, _ count: Int, _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in try add(to: baseline, policy, reference, .f32, count) }
}

@_cdecl("swiftdpo_bco_delta_add_f32") @implementation
public func swiftdpo_bco_delta_add_f32(
  _ delta: UnsafeMutablePointer<swiftdpo_bco_delta>!, _ policy: UnsafePointer<Float>!,
  _ reference: UnsafePointer<Float>!, _ beta: Double, _ count: Int,
  _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in try add(to: delta, policy, reference, .f32, beta, count) }
}

@_cdecl("swiftdpo_udm_weights_f32") @implementation
public func swiftdpo_udm_weights_f32(
  _ probabilities: UnsafePointer<Float>!, _ count: Int, _ weights: UnsafeMutablePointer<Float>!,
  _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in try udmWeights(probabilities, .f32, count, weights) }
}

@_cdecl("swiftdpo_kto_baseline_add_f64") @implementation
public func swiftdpo_kto_baseline_add_f64(
  _ baseline: UnsafeMutablePointer<swiftdpo_kto_baseline>!, _ policy: UnsafePointer<Double>!,
  _ reference: UnsafePointer<Double>!, _ count: Int, _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in try add(to: baseline, policy, reference, .f64, count) }
}

@_cdecl("swiftdpo_bco_delta_add_f64") @implementation
public func swiftdpo_bco_delta_add_f64(
  _ delta: UnsafeMutablePointer<swiftdpo_bco_delta>!, _ policy: UnsafePointer<Double>!,
  _ reference: UnsafePointer<Double>!, _ beta: Double, _ count: Int,
  _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in try add(to: delta, policy, reference, .f64, beta, count) }
}

@_cdecl("swiftdpo_udm_weights_f64") @implementation
public func swiftdpo_udm_weights_f64(
  _ probabilities: UnsafePointer<Double>!, _ count: Int, _ weights: UnsafeMutablePointer<Double>!,
  _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in try udmWeights(probabilities, .f64, count, weights) }
}

private func add(
  to baseline: UnsafeMutablePointer<swiftdpo_kto_baseline>?, _ policy: UnsafeRawPointer?,
  _ reference: UnsafeRawPointer?,
  _ type: ElementType, _ count: Int
) throws(Fault) {
  _ = try read(UnsafePointer(baseline), "baseline")
  var ledger = Ledger()
  let (sum, nonzero) = try sumOfLogRatios(policy, reference, type, count, &ledger)
  try ledger.structResult(baseline!, "baseline")
  if count == 0 { return }
  let mean = sum / Double(count)
  update(baseline!) { state in
    state.count &+= count
    state.num_nonzero &+= nonzero
    state.num_batches &+= 1
    state.sum += sum
    state.sum_means += mean
    state.sum_clamped_means += max(0, mean)
  }
}

private func add(
  to delta: UnsafeMutablePointer<swiftdpo_bco_delta>?, _ policy: UnsafeRawPointer?, _ reference: UnsafeRawPointer?,
  _ type: ElementType, _ beta: Double, _ count: Int
) throws(Fault) {
  _ = try read(UnsafePointer(delta), "delta")
  try checkBeta(beta, "beta")
  var ledger = Ledger()
  let (sum, _) = try sumOfLogRatios(policy, reference, type, count, &ledger)
  try ledger.structResult(delta!, "delta")
  update(delta!) { state in
    state.count &+= count
    state.sum += beta * sum
  }
}

/// The sum of policy - reference in a fixed order, and how many differences are not 0.
private func sumOfLogRatios(
  _ policy: UnsafeRawPointer?, _ reference: UnsafeRawPointer?, _ type: ElementType, _ count: Int,
  _ ledger: inout Ledger
) throws(Fault) -> (sum: Double, nonzero: Int) {
  let count = try product(count, 1, "count")
  let policy = try ledger.input(policy, type, count, "policy_logps")
  let reference = try ledger.optionalInput(reference, type, count, "ref_logps")
  try checkFinite(policy, type, count, "policy_logps")
  try checkFinite(reference, type, count, "ref_logps")
  var sum = DoubleDouble(F64x8(repeating: 0))
  var nonzero = 0
  for index in 0..<count {
    let ratio = LogRatio(
      policy: F64x8(repeating: type.load(policy, index)),
      reference: F64x8(repeating: reference.map { type.load($0, index) } ?? 0))
    if ratio.quarter.high[0] != 0 { nonzero += 1 }
    sum = sum + ratio.quarter
  }
  return (4 * sum.high[0], nonzero)
}

@_cdecl("swiftdpo_kto_baseline_value") @implementation
public func swiftdpo_kto_baseline_value(
  _ baseline: UnsafePointer<swiftdpo_kto_baseline>!, _ estimator: swiftdpo_kto_estimator,
  _ value: UnsafeMutablePointer<Double>!
) -> swiftdpo_status {
  answer(nil) { () throws(Fault) in
    let state = try read(baseline, "baseline")
    var ledger = Ledger()
    let value = try ledger.requiredResult(value, 1, "value")
    func mean(_ sum: Double, _ count: Int) -> Double { count > 0 && sum > 0 ? sum / Double(count) : 0 }
    switch estimator {
    case SWIFTDPO_KTO_GLOBAL: value.pointee = mean(state.sum, state.count)
    case SWIFTDPO_KTO_BATCH_MEANS: value.pointee = mean(state.sum_means, state.num_batches)
    case SWIFTDPO_KTO_CLAMPED_MEANS: value.pointee = mean(state.sum_clamped_means, state.num_batches)
    case SWIFTDPO_KTO_NONZERO: value.pointee = mean(state.sum, state.num_nonzero)
    default: throw Fault(SWIFTDPO_ERROR_PARAMETER, "estimator")
    }
  }
}

private func udmWeights(
  _ probabilities: UnsafeRawPointer?, _ type: ElementType, _ count: Int, _ weights: UnsafeMutableRawPointer?
) throws(Fault) {
  let count = try product(count, 1, "count")
  var ledger = Ledger()
  let probabilities = try ledger.input(probabilities, type, count, "probabilities")
  guard let weights = try ledger.result(weights, type, count, "weights") else {
    return try require(count == 0, SWIFTDPO_ERROR_NULL_POINTER, "weights")
  }
  try checkAll(probabilities, type, count, in: .probability, SWIFTDPO_ERROR_SOFT_LABEL, "probabilities")
  for index in 0..<count {
    let p = type.load(probabilities, index)
    type.store(min(max(p / (1 - p + 1e-8), 0.5), 10), weights, index)
  }
}
