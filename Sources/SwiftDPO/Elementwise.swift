import CSwiftDPO
import Elementary
import Preference

// Functions of two arrays, element by element.

@_cdecl("swiftdpo_preference_probability_f32") @implementation
public func swiftdpo_preference_probability_f32(
  _ count: Int, _ chosenRewards: UnsafePointer<Float>!, _ rejectedRewards: UnsafePointer<Float>!,
  _ nonfinite: swiftdpo_nonfinite, _ probabilities: UnsafeMutablePointer<Float>!,
  _ logProbabilities: UnsafeMutablePointer<Float>!, _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in
    try preferenceProbability(.f32, count, chosenRewards, rejectedRewards, nonfinite, probabilities, logProbabilities)
  }
}

@_cdecl("swiftdpo_preference_probability_f64") @implementation
public func swiftdpo_preference_probability_f64(
  _ count: Int, _ chosenRewards: UnsafePointer<Double>!, _ rejectedRewards: UnsafePointer<Double>!,
  _ nonfinite: swiftdpo_nonfinite, _ probabilities: UnsafeMutablePointer<Double>!,
  _ logProbabilities: UnsafeMutablePointer<Double>!, _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in
    try preferenceProbability(.f64, count, chosenRewards, rejectedRewards, nonfinite, probabilities, logProbabilities)
  }
}

@_cdecl("swiftdpo_kl_estimates_f32") @implementation
public func swiftdpo_kl_estimates_f32(
  _ count: Int, _ policyLogps: UnsafePointer<Float>!, _ refLogps: UnsafePointer<Float>!,
  _ nonfinite: swiftdpo_nonfinite, _ k1: UnsafeMutablePointer<Float>!, _ k2: UnsafeMutablePointer<Float>!,
  _ k3: UnsafeMutablePointer<Float>!, _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in try klEstimates(.f32, count, policyLogps, refLogps, nonfinite, k1, k2, k3) }
}

@_cdecl("swiftdpo_kl_estimates_f64") @implementation
public func swiftdpo_kl_estimates_f64(
  _ count: Int, _ policyLogps: UnsafePointer<Double>!, _ refLogps: UnsafePointer<Double>!,
  _ nonfinite: swiftdpo_nonfinite, _ k1: UnsafeMutablePointer<Double>!, _ k2: UnsafeMutablePointer<Double>!,
  _ k3: UnsafeMutablePointer<Double>!, _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in try klEstimates(.f64, count, policyLogps, refLogps, nonfinite, k1, k2, k3) }
}

private typealias Input = (array: UnsafeRawPointer?, name: FieldName)
private typealias Result = (array: UnsafeMutableRawPointer?, name: FieldName)

@inline(never)
private func elementwise(
  _ function: ElementwiseJob.Function, _ type: ElementType, _ count: Int, _ x: Input, _ y: Input,
  _ nonfinite: swiftdpo_nonfinite, _ first: Result, _ second: Result, _ third: Result = (nil, "")
) throws(Fault) {
  let count = try product(count, 1, "count")
  let refuseNonfinite = try checkNonfinitePolicy(nonfinite)
  var ledger = Ledger()
  var job = ElementwiseJob(
    function, type: type, x: try ledger.input(x.array, type, count, x.name),
    y: try ledger.input(y.array, type, count, y.name))
  job.first = try ledger.result(first.array, type, count, first.name)
  job.second = try ledger.result(second.array, type, count, second.name)
  job.third = try ledger.result(third.array, type, count, third.name)
  if refuseNonfinite {
    try checkFinite(job.x, type, count, x.name)
    try checkFinite(job.y, type, count, y.name)
  }
  withUnsafePointer(to: job) { job in parallelRanges(count, grain: 8192) { kernels.elementwise(job, $0) } }
}

private func preferenceProbability(
  _ type: ElementType, _ count: Int, _ chosenRewards: UnsafeRawPointer?, _ rejectedRewards: UnsafeRawPointer?,
  _ nonfinite: swiftdpo_nonfinite, _ probabilities: UnsafeMutableRawPointer?,
  _ logProbabilities: UnsafeMutableRawPointer?
) throws(Fault) {
  try elementwise(
    .preferenceProbability, type, count, (chosenRewards, "chosen_rewards"), (rejectedRewards, "rejected_rewards"),
    nonfinite, (probabilities, "probabilities"), (logProbabilities, "log_probabilities"))
}

private func klEstimates(
  _ type: ElementType, _ count: Int, _ policyLogps: UnsafeRawPointer?, _ refLogps: UnsafeRawPointer?,
  _ nonfinite: swiftdpo_nonfinite, _ k1: UnsafeMutableRawPointer?, _ k2: UnsafeMutableRawPointer?,
  _ k3: UnsafeMutableRawPointer?
) throws(Fault) {
  try elementwise(
    .klEstimates, type, count, (policyLogps, "policy_logps"), (refLogps, "ref_logps"), nonfinite, (k1, "k1"),
    (k2, "k2"), (k3, "k3"))
}
