import CSwiftDPO
import Elementary
import Preference

@_cdecl("swiftdpo_dpo_loss_f32") @implementation
public func swiftdpo_dpo_loss_f32(
  _ pairs: UnsafePointer<swiftdpo_pairs_f32>!, _ options: UnsafePointer<swiftdpo_dpo_options>!,
  _ results: UnsafePointer<swiftdpo_pair_results_f32>!, _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answerDPO(form(pairs), options, form(results), culprit, .f32)
}

@_cdecl("swiftdpo_dpo_loss_f64") @implementation
public func swiftdpo_dpo_loss_f64(
  _ pairs: UnsafePointer<swiftdpo_pairs_f64>!, _ options: UnsafePointer<swiftdpo_dpo_options>!,
  _ results: UnsafePointer<swiftdpo_pair_results_f64>!, _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answerDPO(form(pairs), options, form(results), culprit, .f64)
}

@inline(never)
private func answerDPO(
  _ pairs: UnsafePointer<swiftdpo_pairs_f64>?, _ options: UnsafePointer<swiftdpo_dpo_options>?,
  _ results: UnsafePointer<swiftdpo_pair_results_f64>?, _ culprit: UnsafeMutablePointer<swiftdpo_culprit>?,
  _ type: ElementType
) -> swiftdpo_status {
  if didFewPairs(pairs, options, results, isSingle: type == .f32) { return SWIFTDPO_OK }
  return answer(culprit) { () throws(Fault) in try dpoLoss(type, pairs, options, results) }
}

/// - Parameters:
///   - tdpo: divergences that enter the margin.
///   - head: the buffers of a fused head that asks whether its loss would be refused: results are left alone.
@_optimize(speed)
func dpoLoss(
  _ type: ElementType, _ pairs: UnsafePointer<swiftdpo_pairs_f64>?, _ options: UnsafePointer<swiftdpo_dpo_options>?,
  _ results: UnsafePointer<swiftdpo_pair_results_f64>?, tdpo: UnsafePointer<swiftdpo_tdpo_f64>? = nil,
  inTheWayOf head: UnsafePointer<Ledger>? = nil
) throws(Fault) {
  let pairs = try read(pairs, "pairs")
  let options = try readOptional(options, "options")
  let results = try read(results, "results")
  let count = try product(pairs.count, 1, "count")

  try checkBeta(options.beta, "beta")
  try checkLabelSmoothing(options.label_smoothing)
  let scale = try checkReduction(options.reduction, count: count)
  let refuseNonfinite = try checkNonfinitePolicy(options.nonfinite)
  let referenceFree = try checkFlag(options.reference_free, "reference_free")
  try require(options.margin.isFinite, SWIFTDPO_ERROR_NONFINITE, "margin")

  var ledger = Ledger()
  ledger.join(head)
  var job = PairwiseJob(
    type: type, count: count,
    policyChosen: try ledger.input(pairs.policy_chosen_logps, type, count, "policy_chosen_logps"),
    policyRejected: try ledger.input(pairs.policy_rejected_logps, type, count, "policy_rejected_logps"))
  try require(
    (pairs.ref_chosen_logps == nil) == (pairs.ref_rejected_logps == nil), SWIFTDPO_ERROR_NULL_POINTER,
    pairs.ref_chosen_logps == nil ? "ref_chosen_logps" : "ref_rejected_logps")
  job.refChosen = try ledger.optionalInput(pairs.ref_chosen_logps, type, count, "ref_chosen_logps")
  job.refRejected = try ledger.optionalInput(pairs.ref_rejected_logps, type, count, "ref_rejected_logps")
  if referenceFree {
    job.refChosen = nil
    job.refRejected = nil
  }
  job.betas = try ledger.optionalInput(pairs.betas, type, count, "betas")
  job.margins = try ledger.optionalInput(pairs.margins, type, count, "margins")
  job.weights = try ledger.optionalInput(pairs.weights, type, count, "weights")
  job.softLabels = try ledger.optionalInput(pairs.soft_labels, type, count, "soft_labels")

  let loss = try ledger.result(results.loss, 1, "loss")
  job.losses = try ledger.result(results.losses, type, count, "losses")
  job.gradPolicyChosen = try ledger.result(results.grad_policy_chosen_logps, type, count, "grad_policy_chosen_logps")
  job.gradPolicyRejected = try ledger.result(
    results.grad_policy_rejected_logps, type, count, "grad_policy_rejected_logps")
  job.chosenRewards = try ledger.result(results.chosen_rewards, type, count, "chosen_rewards")
  job.rejectedRewards = try ledger.result(results.rejected_rewards, type, count, "rejected_rewards")
  job.gradientWeights = try ledger.result(results.gradient_weights, type, count, "gradient_weights")

  job.beta = options.beta
  job.margin = options.margin
  job.p = 1 - options.label_smoothing
  job.q = options.label_smoothing
  job.scale = scale

  let isMixture = withUnsafePointer(to: pairs) { pairs in
    withUnsafePointer(to: options) { options in
      withUnsafePointer(to: results) { Mixture.isNeeded(pairs, options, $0) }
    }
  }
  if isMixture || tdpo != nil {
    try mixtureLoss(pairs, options, results, tdpo, &job, &ledger, loss, refuseNonfinite, checksOnly: head != nil)
  } else {
    try withUnsafePointer(to: options) { (options) throws(Fault) in try checkParameters(options) }
    job.sumShowsNonfinite = options.nonfinite == SWIFTDPO_NONFINITE_ERROR_LATE && type == .f32 && head == nil
    try checkArrays(&job, refuseNonfinite && !job.sumShowsNonfinite)
    if head != nil { return }
    let sum = try sumOfLosses(&job)
    // A single pair's sum is its first lane.
    loss?.pointee = count == 1 ? sum.lanes.high[0] * scale : reduced(sum, scale)
  }
}

/// Plain DPO of all pairs. Where the sum shows what is not finite, it is found now; finite numbers can have an infinite
/// margin too.
@inline(__always)
private func sumOfLosses(_ job: inout PairwiseJob) throws(Fault) -> FixedOrderSum {
  let sum = sumInChunks(&job)
  if !job.sumShowsNonfinite || !reduced(sum, 1).isNaN { return sum }
  try checkArrays(&job, true)
  job.sumShowsNonfinite = false
  return sumInChunks(&job)
}

/// Any losses, any data, any results.
@inline(never)
private func mixtureLoss(
  _ pairs: swiftdpo_pairs_f64, _ options: swiftdpo_dpo_options, _ results: swiftdpo_pair_results_f64,
  _ tdpo: UnsafePointer<swiftdpo_tdpo_f64>?, _ job: inout PairwiseJob, _ ledger: inout Ledger,
  _ loss: UnsafeMutablePointer<Double>?, _ refuseNonfinite: Bool, checksOnly: Bool
) throws(Fault) {
  let mixture = try Mixture(pairs, options, results, tdpo, &job, &ledger)
  defer { mixture.free() }
  try checkArrays(&job, refuseNonfinite)
  if checksOnly { return }
  if mixture.isSigmoidAlone {
    let sum = sumInChunks(&job)
    loss?.pointee = reduced(sum, job.scale)
    return
  }
  mixture.pair(&job)
  var sums = PairwiseSums()
  withUnsafePointer(to: mixture.terms) { terms in
    job.terms = UnsafeRawPointer(terms).assumingMemoryBound(to: LossTerm.self)
    guard var divergences = mixture.divergences else { return addMixture(&job, &sums) }
    withUnsafePointer(to: &divergences) { divergences in
      job.divergences = divergences
      addMixture(&job, &sums)
    }
  }
  loss?.pointee = reduced(sums.loss, job.scale)
  mixture.gradTieStrength?.pointee = reduced(sums.gradTieStrength, 1)
  if let metrics = mixture.metrics { update(metrics) { $0.add(sums, job.count) } }
}

private func addMixture(_ job: UnsafePointer<PairwiseJob>, _ sums: inout PairwiseSums) {
  addInChunks(job.pointee.count, to: &sums) { kernels.pairwiseMixture(job, $0, $1) }
}

/// Parameters are in their ranges, and log-probabilities finite if so asked. The job stays as it is: it is not copied.
private func checkArrays(_ job: inout PairwiseJob, _ refuseNonfinite: Bool) throws(Fault) {
  let (type, count) = (job.type, job.count)
  try checkBetas(job.betas, type, count)
  try checkFinite(job.margins, type, count, "margins")
  try checkWeights(job.weights, type, count)
  try checkAll(job.softLabels, type, count, in: .probability, SWIFTDPO_ERROR_SOFT_LABEL, "soft_labels")
  if refuseNonfinite && !(type == .f32 && job.sftLogps == nil && kernels.areFinite(&job)) {
    try checkFinite(job.policyChosen, type, count, "policy_chosen_logps")
    try checkFinite(job.policyRejected, type, count, "policy_rejected_logps")
    try checkFinite(job.refChosen, type, count, "ref_chosen_logps")
    try checkFinite(job.refRejected, type, count, "ref_rejected_logps")
    try checkFinite(job.sftLogps, type, count, "sft_logps")
  }
}

/// So many pairs are worth a thread.
let leastChunk = 4096

@inline(never)
private func sumInChunks(_ job: inout PairwiseJob) -> FixedOrderSum {
  let count = job.count
  if count <= leastChunk { return kernels.pairwise(&job, 0..<count) }
  var total = FixedOrderSum()
  withUnsafePointer(to: &job) { job in
    addInChunks(count, atLeast: leastChunk, InlineArray<32, FixedOrderSum>(repeating: FixedOrderSum()), to: &total) {
      $1.pointee = kernels.pairwise(job, $0)
    }
  }
  return total
}

/// The sum of a batch's losses times the reduction's scale. Of infinities of opposite sign, the one in the first lane
/// stands.
@_optimize(speed) @inline(never)
func reduced(_ sum: FixedOrderSum, _ scale: Double) -> Double {
  let total = withUnsafePointer(to: sum) { sum in kernels.total(sum) }
  if total == total { return total * scale }
  var first = 0.0
  for lane in 0..<8 {
    let value = sum.lanes.high[lane]
    if value != value { return value }
    if first == 0 && value.isInfinite { first = value }
  }
  return first
}
