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
    try preferenceProbability(count, chosenRewards, rejectedRewards, nonfinite, probabilities, logProbabilities)
  }
}

@_cdecl("swiftdpo_preference_probability_f64") @implementation
public func swiftdpo_preference_probability_f64(
  _ count: Int, _ chosenRewards: UnsafePointer<Double>!, _ rejectedRewards: UnsafePointer<Double>!,
  _ nonfinite: swiftdpo_nonfinite, _ probabilities: UnsafeMutablePointer<Double>!,
  _ logProbabilities: UnsafeMutablePointer<Double>!, _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in
    try preferenceProbability(count, chosenRewards, rejectedRewards, nonfinite, probabilities, logProbabilities)
  }
}

@_cdecl("swiftdpo_kl_estimates_f32") @implementation
public func swiftdpo_kl_estimates_f32(
  _ count: Int, _ policyLogps: UnsafePointer<Float>!, _ refLogps: UnsafePointer<Float>!,
  _ nonfinite: swiftdpo_nonfinite, _ k1: UnsafeMutablePointer<Float>!, _ k2: UnsafeMutablePointer<Float>!,
  _ k3: UnsafeMutablePointer<Float>!, _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in try klEstimates(count, policyLogps, refLogps, nonfinite, k1, k2, k3) }
}

@_cdecl("swiftdpo_kl_estimates_f64") @implementation
public func swiftdpo_kl_estimates_f64(
  _ count: Int, _ policyLogps: UnsafePointer<Double>!, _ refLogps: UnsafePointer<Double>!,
  _ nonfinite: swiftdpo_nonfinite, _ k1: UnsafeMutablePointer<Double>!, _ k2: UnsafeMutablePointer<Double>!,
  _ k3: UnsafeMutablePointer<Double>!, _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in try klEstimates(count, policyLogps, refLogps, nonfinite, k1, k2, k3) }
}

private func preferenceProbability<Value: Element>(
  _ count: Int, _ chosenRewards: UnsafePointer<Value>?, _ rejectedRewards: UnsafePointer<Value>?,
  _ nonfinite: swiftdpo_nonfinite, _ probabilities: UnsafeMutablePointer<Value>?,
  _ logProbabilities: UnsafeMutablePointer<Value>?
) throws(Fault) {
  let (type, count) = (Value.type, try product(count, 1, "count"))
  let refuseNonfinite = try checkNonfinitePolicy(nonfinite)
  var ledger = Ledger()
  var job = ElementwiseJob(
    .preferenceProbability, type: type, x: try ledger.input(chosenRewards, type, count, "chosen_rewards"),
    y: try ledger.input(rejectedRewards, type, count, "rejected_rewards"))
  job.first = try ledger.result(probabilities, type, count, "probabilities")
  job.second = try ledger.result(logProbabilities, type, count, "log_probabilities")
  if refuseNonfinite {
    try checkFinite(job.x, type, count, "chosen_rewards")
    try checkFinite(job.y, type, count, "rejected_rewards")
  }
  run(job, count)
}

private func klEstimates<Value: Element>(
  _ count: Int, _ policyLogps: UnsafePointer<Value>?, _ refLogps: UnsafePointer<Value>?,
  _ nonfinite: swiftdpo_nonfinite, _ k1: UnsafeMutablePointer<Value>?, _ k2: UnsafeMutablePointer<Value>?,
  _ k3: UnsafeMutablePointer<Value>?
) throws(Fault) {
  let (type, count) = (Value.type, try product(count, 1, "count"))
  let refuseNonfinite = try checkNonfinitePolicy(nonfinite)
  var ledger = Ledger()
  var job = ElementwiseJob(
    .klEstimates, type: type, x: try ledger.input(policyLogps, type, count, "policy_logps"),
    y: try ledger.input(refLogps, type, count, "ref_logps"))
  job.first = try ledger.result(k1, type, count, "k1")
  job.second = try ledger.result(k2, type, count, "k2")
  job.third = try ledger.result(k3, type, count, "k3")
  if refuseNonfinite {
    try checkFinite(job.x, type, count, "policy_logps")
    try checkFinite(job.y, type, count, "ref_logps")
  }
  run(job, count)
}

private func run(_ job: ElementwiseJob, _ count: Int) {
  withUnsafePointer(to: job) { job in parallelRanges(count, grain: 8192) { kernels.elementwise(job, $0) } }
}
