import CSwiftDPO
import Elementary
import Preference

@_cdecl("swiftdpo_partition_add_f32") @implementation
public func swiftdpo_partition_add_f32(
  _ responses: UnsafePointer<swiftdpo_responses_f32>!, _ options: UnsafePointer<swiftdpo_policy_options>!,
  _ accumulators: UnsafeMutablePointer<swiftdpo_partition_accumulator>!,
  _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in try partitionAdd(.f32, form(responses), options, accumulators) }
}

@_cdecl("swiftdpo_partition_add_f64") @implementation
public func swiftdpo_partition_add_f64(
  _ responses: UnsafePointer<swiftdpo_responses_f64>!, _ options: UnsafePointer<swiftdpo_policy_options>!,
  _ accumulators: UnsafeMutablePointer<swiftdpo_partition_accumulator>!,
  _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in try partitionAdd(.f64, form(responses), options, accumulators) }
}

private func partitionAdd(
  _ type: ElementType, _ responses: UnsafePointer<swiftdpo_responses_f64>?,
  _ options: UnsafePointer<swiftdpo_policy_options>?,
  _ accumulators: UnsafeMutablePointer<swiftdpo_partition_accumulator>?
) throws(Fault) {
  let responses = try read(responses, "responses")
  var prompts = try Prompts(type, responses, options)
  prompts.job.reference = nil
  prompts.job.rewards = try prompts.ledger.input(responses.rewards, prompts.type, prompts.elements, "rewards")
  let accumulators = try enter(accumulators, prompts.rows, &prompts.ledger, "accumulators", isResult: true)
  // Rewards of NaN or infinity would spoil all that comes after: they are refused in any case.
  try checkFinite(prompts.job.rewards, prompts.type, prompts.elements, "rewards")
  let job = prompts.job
  for row in 0..<prompts.rows {
    let beta = job.betas == nil ? job.beta : job.type.load(job.betas!, row)
    try checkAccumulator(accumulators[row], beta: beta, "accumulators", at: row)
  }
  prompts.run { job, rows in
    for row in rows {
      let sums = PartitionSums(accumulators[row])
      accumulators[row] = swiftdpo_partition_accumulator(
        sums.merged(with: kernels.partitionSums(job, row), exp: kernels.exp))
    }
  }
}

@_cdecl("swiftdpo_partition_merge") @implementation
public func swiftdpo_partition_merge(
  _ count: Int, _ into: UnsafeMutablePointer<swiftdpo_partition_accumulator>!,
  _ from: UnsafePointer<swiftdpo_partition_accumulator>!, _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in
    var ledger = Ledger()
    let from = try enter(UnsafeMutablePointer(mutating: from), count, &ledger, "from", isResult: false)
    let into = try enter(into, count, &ledger, "into", isResult: true)
    for index in 0..<count {
      try checkAccumulator(from[index], beta: from[index].beta, "from", at: index)
      try checkAccumulator(into[index], beta: into[index].beta, "into", at: index)
      let agree = from[index].count == 0 || into[index].count == 0 || from[index].beta == into[index].beta
      try require(agree, SWIFTDPO_ERROR_ACCUMULATOR, "from", at: index)
    }
    for index in 0..<count {
      let sums = PartitionSums(into[index]).merged(with: PartitionSums(from[index]), exp: kernels.exp)
      into[index] = swiftdpo_partition_accumulator(sums)
    }
  }
}

@_cdecl("swiftdpo_partition_estimate") @implementation
public func swiftdpo_partition_estimate(
  _ count: Int, _ accumulators: UnsafePointer<swiftdpo_partition_accumulator>!,
  _ estimates: UnsafePointer<swiftdpo_partition_estimates>!, _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in
    let estimates = try read(estimates, "estimates")
    var ledger = Ledger()
    let accumulators = try enter(
      UnsafeMutablePointer(mutating: accumulators), count, &ledger, "accumulators", isResult: false)
    let logPartitions = try ledger.result(estimates.log_partitions, count, "log_partitions")
    let standardErrors = try ledger.result(estimates.standard_errors, count, "standard_errors")
    let effective = try ledger.result(estimates.effective_sample_sizes, count, "effective_sample_sizes")
    let corrected = try ledger.result(estimates.corrected, count, "corrected")
    let shares = try ledger.result(estimates.largest_shares, count, "largest_shares")
    for index in 0..<count {
      try checkAccumulator(accumulators[index], beta: accumulators[index].beta, "accumulators", at: index)
      try require(accumulators[index].count > 0, SWIFTDPO_ERROR_ACCUMULATOR, "accumulators", at: index)
    }
    for index in 0..<count {
      let sums = PartitionSums(accumulators[index])
      let logPartition = sums.logPartition(log: kernels.log)
      let variance = sums.variance
      logPartitions?[index] = logPartition
      standardErrors?[index] = variance.squareRoot()
      effective?[index] = sums.effectiveSamples
      corrected?[index] = variance.isFinite ? logPartition + 0.5 * variance : logPartition
      shares?[index] = sums.largestShare
    }
  }
}

/// Accumulators as the doubles that they are, in the ledger.
private func enter(
  _ accumulators: UnsafeMutablePointer<swiftdpo_partition_accumulator>?, _ count: Int, _ ledger: inout Ledger,
  _ name: FieldName, isResult: Bool
) throws(Fault) -> UnsafeMutablePointer<swiftdpo_partition_accumulator> {
  let doubles = try product(count, 7, "count")
  let raw = accumulators.map { UnsafeMutableRawPointer($0) }
  if isResult {
    let pointer = raw?.assumingMemoryBound(to: Double.self)
    return UnsafeMutableRawPointer(try ledger.requiredResult(pointer, doubles, name))
      .assumingMemoryBound(to: swiftdpo_partition_accumulator.self)
  }
  let pointer = UnsafePointer(raw?.assumingMemoryBound(to: Double.self))
  return UnsafeMutableRawPointer(mutating: UnsafeRawPointer(try ledger.input(pointer, doubles, name)))
    .assumingMemoryBound(to: swiftdpo_partition_accumulator.self)
}

private func checkAccumulator(
  _ a: swiftdpo_partition_accumulator, beta: Double, _ name: FieldName, at index: Int
) throws(Fault) {
  if a.count == 0 { return }
  let sound =
    a.count >= 1 && a.count <= 0x1p53 && a.beta == beta && beta > 0 && beta.isFinite && a.best.isFinite
    && a.weight_sum >= 1 && a.weight_sum <= a.count && a.square_sum >= 1 && a.square_sum <= a.weight_sum
    && a.weight_sum_low.magnitude <= 1 && a.square_sum_low.magnitude <= 1
  try require(sound, SWIFTDPO_ERROR_ACCUMULATOR, name, at: index)
}

extension PartitionSums {
  fileprivate init(_ a: swiftdpo_partition_accumulator) {
    func lanes(_ value: Double) -> F64x8 { F64x8(repeating: value) }
    self.init(
      beta: lanes(a.beta), count: lanes(a.count), best: lanes(a.best),
      weight: DoubleDouble(high: lanes(a.weight_sum), low: lanes(a.weight_sum_low)),
      square: DoubleDouble(high: lanes(a.square_sum), low: lanes(a.square_sum_low)))
  }
}

extension swiftdpo_partition_accumulator {
  fileprivate init(_ sums: PartitionSums) {
    self.init(
      beta: sums.beta[0], count: sums.count[0], best: sums.best[0], weight_sum: sums.weight.high[0],
      weight_sum_low: sums.weight.low[0], square_sum: sums.square.high[0], square_sum_low: sums.square.low[0])
  }
}
