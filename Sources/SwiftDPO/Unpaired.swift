import CSwiftDPO
import Elementary
import Preference

@_cdecl("swiftdpo_unpaired_loss_f32") @implementation
public func swiftdpo_unpaired_loss_f32(
  _ unpaired: UnsafePointer<swiftdpo_unpaired_f32>!, _ options: UnsafePointer<swiftdpo_unpaired_options>!,
  _ results: UnsafePointer<swiftdpo_unpaired_results_f32>!, _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in try unpairedLoss(.f32, form(unpaired), options, form(results)) }
}

@_cdecl("swiftdpo_unpaired_loss_f64") @implementation
public func swiftdpo_unpaired_loss_f64(
  _ unpaired: UnsafePointer<swiftdpo_unpaired_f64>!, _ options: UnsafePointer<swiftdpo_unpaired_options>!,
  _ results: UnsafePointer<swiftdpo_unpaired_results_f64>!, _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in try unpairedLoss(.f64, form(unpaired), options, form(results)) }
}

/// - Parameter head: the buffers of a fused head that asks whether its loss would be refused: results are left alone.
func unpairedLoss(
  _ type: ElementType, _ unpaired: UnsafePointer<swiftdpo_unpaired_f64>?,
  _ options: UnsafePointer<swiftdpo_unpaired_options>?, _ results: UnsafePointer<swiftdpo_unpaired_results_f64>?,
  inTheWayOf head: UnsafePointer<Ledger>? = nil
) throws(Fault) {
  let unpaired = try read(unpaired, "unpaired")
  let options = try readOptional(options, "options")
  let results = try read(results, "results")
  let count = try product(unpaired.count, 1, "count")

  try checkBeta(options.beta, "beta")
  try checkFactor(options.desirable_weight, "desirable_weight")
  try checkFactor(options.undesirable_weight, "undesirable_weight")
  try require(options.baseline.isFinite, SWIFTDPO_ERROR_NONFINITE, "baseline")
  try require(
    options.loss_type.rawValue <= SWIFTDPO_UNPAIRED_BCO.rawValue, SWIFTDPO_ERROR_LOSS_TYPE, "loss_type")
  let scale = try checkReduction(options.reduction, count: count)
  let refuseNonfinite = try checkNonfinitePolicy(options.nonfinite)
  let referenceFree = try checkFlag(options.reference_free, "reference_free")

  var ledger = Ledger()
  ledger.join(head)
  var job = UnpairedJob(
    type: type, count: count, policy: try ledger.input(unpaired.policy_logps, type, count, "policy_logps"),
    desirable: try ledger.input(unpaired.desirable, count, "desirable"))
  job.reference = try ledger.optionalInput(unpaired.ref_logps, type, count, "ref_logps")
  if referenceFree { job.reference = nil }
  job.betas = try ledger.optionalInput(unpaired.betas, type, count, "betas")
  job.weights = try ledger.optionalInput(unpaired.weights, type, count, "weights")

  let loss = try ledger.result(results.loss, 1, "loss")
  job.losses = try ledger.result(results.losses, type, count, "losses")
  job.gradPolicy = try ledger.result(results.grad_policy_logps, type, count, "grad_policy_logps")
  job.rewards = try ledger.result(results.rewards, type, count, "rewards")
  job.gradBetas = try ledger.result(results.grad_betas, type, count, "grad_betas")
  job.curvatures = try ledger.result(results.curvatures, type, count, "curvatures")
  let gradBaseline = try ledger.result(results.grad_baseline, 1, "grad_baseline")
  if let metrics = results.metrics {
    _ = try read(UnsafePointer(metrics), "metrics")
    try ledger.structResult(metrics, "metrics")
  }

  try checkFlags(job.desirable, count, "desirable")
  try checkBetas(job.betas, type, count)
  try checkWeights(job.weights, type, count)
  if refuseNonfinite {
    try checkFinite(job.policy, type, count, "policy_logps")
    try checkFinite(job.reference, type, count, "ref_logps")
  }

  if head != nil { return }

  job.beta = options.beta
  job.desirableWeight = options.desirable_weight
  job.undesirableWeight = options.undesirable_weight
  job.isLogistic = options.loss_type == SWIFTDPO_UNPAIRED_BCO
  if options.loss_type == SWIFTDPO_UNPAIRED_KTO { job.klBaseline = options.baseline }
  if job.isLogistic { job.shift = options.baseline }
  job.scale = scale
  var sums = UnpairedSums()
  withUnsafePointer(to: &job) { job in addInChunks(count, to: &sums) { kernels.unpaired(job, $0, $1) } }

  loss?.pointee = reduced(sums.loss, scale)
  switch options.loss_type {
  case SWIFTDPO_UNPAIRED_KTO: gradBaseline?.pointee = -reduced(sums.slopeTimesBeta, scale)
  case SWIFTDPO_UNPAIRED_BCO: gradBaseline?.pointee = -reduced(sums.slope, scale)
  default: gradBaseline?.pointee = 0
  }
  if let metrics = results.metrics { update(metrics) { $0.add(sums, count) } }
}

private func checkFactor(_ factor: Double, _ name: FieldName) throws(Fault) {
  try require(factor >= 0 && factor.isFinite, SWIFTDPO_ERROR_WEIGHT, name)
}

extension swiftdpo_unpaired_metrics {
  mutating func add(_ sums: UnpairedSums, _ count: Int) {
    num_desirable &+= sums.numDesirable
    num_undesirable &+= count - sums.numDesirable
    losses += reduced(sums.loss, 1)
    desirable_rewards += reduced(sums.desirableRewards, 1)
    undesirable_rewards += reduced(sums.undesirableRewards, 1)
    desirable_logps += reduced(sums.desirableLogps, 1)
    undesirable_logps += reduced(sums.undesirableLogps, 1)
  }
}

// MARK: The structs

extension swiftdpo_unpaired_f32: GrowableStruct {}
extension swiftdpo_unpaired_results_f32: GrowableStruct {}
extension swiftdpo_unpaired_f64: GrowableStruct {}
extension swiftdpo_unpaired_results_f64: GrowableStruct {}
extension swiftdpo_unpaired_metrics: GrowableStruct {}

extension swiftdpo_unpaired_options: GrowableStruct {
  static func setDefaults(_ value: inout Self) {
    value.beta = 0.1
    value.desirable_weight = 1
    value.undesirable_weight = 1
  }
}

@_cdecl("swiftdpo_unpaired_f32_init") @implementation
public func swiftdpo_unpaired_f32_init(_ unpaired: UnsafeMutablePointer<swiftdpo_unpaired_f32>!) {
  initialize(unpaired)
}

@_cdecl("swiftdpo_unpaired_f64_init") @implementation
public func swiftdpo_unpaired_f64_init(_ unpaired: UnsafeMutablePointer<swiftdpo_unpaired_f64>!) {
  initialize(unpaired)
}

@_cdecl("swiftdpo_unpaired_options_init") @implementation
public func swiftdpo_unpaired_options_init(_ options: UnsafeMutablePointer<swiftdpo_unpaired_options>!) {
  initialize(options)
}

@_cdecl("swiftdpo_unpaired_metrics_init") @implementation
public func swiftdpo_unpaired_metrics_init(_ metrics: UnsafeMutablePointer<swiftdpo_unpaired_metrics>!) {
  initialize(metrics)
}

@_cdecl("swiftdpo_unpaired_results_f32_init") @implementation
public func swiftdpo_unpaired_results_f32_init(_ results: UnsafeMutablePointer<swiftdpo_unpaired_results_f32>!) {
  initialize(results)
}

@_cdecl("swiftdpo_unpaired_results_f64_init") @implementation
public func swiftdpo_unpaired_results_f64_init(_ results: UnsafeMutablePointer<swiftdpo_unpaired_results_f64>!) {
  initialize(results)
}
