import CPlatform
import CSwiftDPO
import Elementary
import Preference

/// What a call over pairs asks beyond plain DPO: its losses with their parameters, more data, more results.
struct Mixture {
  /// DPO's loss alone, and no results but the common ones.
  var isSigmoidAlone = true
  var terms = InlineArray<16, LossTerm>(repeating: LossTerm(.sigmoid, weight: 1))
  var gradTieStrength: UnsafeMutablePointer<Double>?
  var metrics: UnsafeMutablePointer<swiftdpo_pair_metrics>?
  var divergences: TokenDivergences?
  private var transport: OptimalTransport?

  init(
    _ pairs: swiftdpo_pairs_f64, _ options: swiftdpo_dpo_options, _ results: swiftdpo_pair_results_f64,
    _ tdpo: UnsafePointer<swiftdpo_tdpo_f64>?, _ job: inout PairwiseJob, _ ledger: inout Ledger
  ) throws(Fault) {
    let type = job.type
    let count = job.count
    var needs = Needs()
    needs.marginAlone = tdpo != nil
    job.termCount = try takeTerms(options, &terms, &needs, &ledger)
    try takeParameters(options, &job, needs)

    job.chosenLengths = try lengths(pairs.chosen_lengths, count, needs.lengths, "chosen_lengths", &ledger)
    job.rejectedLengths = try lengths(pairs.rejected_lengths, count, needs.lengths, "rejected_lengths", &ledger)
    job.ties = try ledger.optionalInput(pairs.ties, count, "ties")
    try checkFlags(job.ties, count, "ties")
    job.rewardGaps = try ledger.optionalInput(pairs.reward_gaps, type, count, "reward_gaps")
    try require(job.rewardGaps != nil || !needs.rewardGaps || count == 0, SWIFTDPO_ERROR_NULL_POINTER, "reward_gaps")
    try checkFinite(job.rewardGaps, type, count, "reward_gaps")
    job.sftLogps = try ledger.optionalInput(pairs.sft_logps, type, count, "sft_logps")
    let sftLengths = try lengths(pairs.sft_lengths, count, job.sftLogps != nil, "sft_lengths", &ledger)
    if needs.sft { try takeShare(job.sftLogps == nil ? job.chosenLengths : sftLengths, &job) }
    if needs.strictLabels { try checkStrictLabels(options, job) }
    if let tdpo { divergences = try takeDivergences(read(tdpo, "tdpo"), job, &ledger) }
    if needs.noReference {
      try require(job.refChosen == nil, SWIFTDPO_ERROR_REFERENCE, "ref_chosen_logps")
    }

    job.gradRefChosen = try ledger.result(results.grad_ref_chosen_logps, type, count, "grad_ref_chosen_logps")
    job.gradRefRejected = try ledger.result(results.grad_ref_rejected_logps, type, count, "grad_ref_rejected_logps")
    job.gradSFT = try ledger.result(results.grad_sft_logps, type, count, "grad_sft_logps")
    job.gradBetas = try ledger.result(results.grad_betas, type, count, "grad_betas")
    job.gradMargins = try ledger.result(results.grad_margins, type, count, "grad_margins")
    job.curvatures = try ledger.result(results.curvatures, type, count, "curvatures")
    gradTieStrength = try ledger.result(results.grad_tie_strength, 1, "grad_tie_strength")
    if let target = results.metrics {
      _ = try read(UnsafePointer(target), "metrics")
      try ledger.structResult(target, "metrics")
      metrics = target
      job.wantsMetrics = true
    }
    let more =
      job.gradRefChosen != nil || job.gradRefRejected != nil || job.gradSFT != nil || job.gradBetas != nil
      || job.gradMargins != nil || job.curvatures != nil || gradTieStrength != nil || metrics != nil
    isSigmoidAlone = needs.sigmoidAlone && !more && job.margin == 0 && tdpo == nil
    if needs.aot || needs.aotUnpaired {
      transport = try OptimalTransport(count, paired: needs.aot, unpaired: needs.aotUnpaired)
    }
  }

  /// Whether a call asks for more than DPO's loss and the common results. The header has what else there is at the end
  /// of its structs, behind `soft_labels` and `gradient_weights`.
  @inline(__always) static func isNeeded(
    _ pairs: UnsafePointer<swiftdpo_pairs_f64>, _ options: UnsafePointer<swiftdpo_dpo_options>,
    _ results: UnsafePointer<swiftdpo_pair_results_f64>
  ) -> Bool {
    let asked =
      UInt(bitPattern: options.pointee.loss_types) | UInt(bitPattern: options.pointee.loss_weights)
      | UInt(bitPattern: options.pointee.num_losses) | UInt(options.pointee.f_divergence.rawValue)
      | UInt(options.pointee.margin.bitPattern)
    return asked != 0 || !isZero(pairs, behind: 10) || !isZero(results, behind: 8)
  }

  /// Finds the partners of optimal transport, once everything has been checked.
  func pair(_ job: inout PairwiseJob) { transport?.pair(&job) }

  func free() { transport?.free() }
}

/// What the losses of a mixture ask for.
private struct Needs {
  var sigmoidAlone = false
  /// Asked of them: losses of z and nothing else.
  var marginAlone = false
  var lengths = false
  var rewardGaps = false
  var sft = false
  var strictLabels = false
  var noReference = false
  var raoKupper = false
  var davidson = false
  var aot = false
  var aotUnpaired = false
}

/// Returns how many there are.
private func takeTerms(
  _ options: swiftdpo_dpo_options, _ terms: inout InlineArray<16, LossTerm>, _ needs: inout Needs,
  _ ledger: inout Ledger
) throws(Fault) -> Int {
  let divergence = options.f_divergence.rawValue
  try require(divergence <= SWIFTDPO_ALPHA_DIVERGENCE.rawValue, SWIFTDPO_ERROR_F_DIVERGENCE, "f_divergence")
  let count = options.num_losses
  if options.loss_types == nil {
    try require(count == 0, SWIFTDPO_ERROR_NULL_POINTER, "loss_types")
    try require(options.loss_weights == nil, SWIFTDPO_ERROR_NULL_POINTER, "loss_types")
    needs.sigmoidAlone = divergence == 0
    terms[0] = try term(.sigmoid, 1, options, at: 0, &needs)
    return 1
  }
  try require(count >= 1 && count <= 16, SWIFTDPO_ERROR_LOSS_TYPE, "num_losses")
  let losses = try ledger.input(UnsafePointer(options.loss_types), count, "loss_types")
  let weights = try ledger.optionalInput(options.loss_weights, count, "loss_weights")
  for index in 0..<count {
    guard let loss = PairwiseLossType(rawValue: Int32(bitPattern: losses[index].rawValue)) else {
      throw Fault(SWIFTDPO_ERROR_LOSS_TYPE, "loss_types", at: index)
    }
    let weight = weights?[index] ?? 1
    try require(weight >= 0 && weight.isFinite, SWIFTDPO_ERROR_WEIGHT, "loss_weights", at: index)
    terms[index] = try term(loss, weight, options, at: index, &needs)
  }
  needs.sigmoidAlone = count == 1 && terms[0].loss == .sigmoid && terms[0].weight == 1 && divergence == 0
  return count
}

/// A loss with the score that it compares.
private func term(
  _ loss: PairwiseLossType, _ weight: Double, _ options: swiftdpo_dpo_options, at index: Int, _ needs: inout Needs
) throws(Fault) -> LossTerm {
  var term = LossTerm(loss, weight: weight)
  var takesDivergence = true
  switch loss {
  case .sigmoid, .robust, .hinge, .ipo, .discopop, .slic: break
  case .exoPair: needs.strictLabels = true
  case .sigmoidNorm, .ipoNorm:
    needs.lengths = true
    term.meanScore = true
  case .rewardBackwardKL, .rewardForwardKL, .rewardSquared: needs.rewardGaps = true
  case .raoKupper: needs.raoKupper = true
  case .davidson: needs.davidson = true
  case .sft: needs.sft = true
  case .ncaPair, .bcoPair, .sppoHard, .apoZero, .apoDown: takesDivergence = false
  case .aot:
    takesDivergence = false
    needs.aot = true
  case .aotUnpaired:
    takesDivergence = false
    needs.aotUnpaired = true
  case .alphaPO:
    takesDivergence = false
    needs.lengths = true
    term.meanLogRatio = true
    if options.alphapo_alpha != 0 {
      term.score = .power
      term.gain = -options.alphapo_alpha
    }
  case .oddsRatio:
    takesDivergence = false
    needs.lengths = true
    needs.noReference = true
    term.meanLogRatio = true
    term.score = .logOdds
  }
  try require(
    takesDivergence || options.f_divergence == SWIFTDPO_REVERSE_KL, SWIFTDPO_ERROR_F_DIVERGENCE, "loss_types", at: index
  )
  try require(takesDivergence || !needs.marginAlone, SWIFTDPO_ERROR_CHOICE_OF_INPUT, "loss_types", at: index)
  if takesDivergence {
    switch options.f_divergence {
    case SWIFTDPO_FORWARD_KL:
      term.score = .power
      term.gain = -1
    case SWIFTDPO_JS_DIVERGENCE: term.score = .jensenShannon
    case SWIFTDPO_ALPHA_DIVERGENCE where options.f_alpha_divergence_coef != 1:
      term.score = .power
      term.gain = options.f_alpha_divergence_coef - 1
    default: break
    }
  }
  return term
}

/// The first parameter of a loss that is not in its range, whether its loss is asked for or not.
@inline(__always)
func firstWrongParameter(
  _ options: UnsafePointer<swiftdpo_dpo_options>, tieStrengthAbove bound: Double
) -> FieldName? {
  if !isPositive(options.pointee.discopop_tau) { return "discopop_tau" }
  if !options.pointee.f_alpha_divergence_coef.isFinite { return "f_alpha_divergence_coef" }
  if !options.pointee.alphapo_alpha.isFinite { return "alphapo_alpha" }
  if !options.pointee.reward_scale.isFinite { return "reward_scale" }
  let nu = options.pointee.tie_strength
  return nu > bound && nu <= 0x1p1000 ? nil : "tie_strength"
}

@inline(never)
func checkParameters(
  _ options: UnsafePointer<swiftdpo_dpo_options>, tieStrengthAbove bound: Double = 0
) throws(Fault) {
  if let name = firstWrongParameter(options, tieStrengthAbove: bound) { throw Fault(SWIFTDPO_ERROR_PARAMETER, name) }
}

private func takeParameters(
  _ options: swiftdpo_dpo_options, _ job: inout PairwiseJob, _ needs: Needs
) throws(Fault) {
  try withUnsafePointer(to: options) { (options) throws(Fault) in
    try checkParameters(options, tieStrengthAbove: needs.raoKupper ? 1 : 0)
  }
  let nu = options.tie_strength
  job.parameters.flipRate = options.label_smoothing
  job.parameters.discopopTau = options.discopop_tau
  job.rewardScale = options.reward_scale
  if needs.raoKupper || needs.davidson { job.parameters.setTieStrength(nu) }
}

/// Numbers of tokens, each at least 0.
private func lengths(
  _ pointer: UnsafePointer<Int64>?, _ count: Int, _ required: Bool, _ name: FieldName, _ ledger: inout Ledger
) throws(Fault) -> UnsafePointer<Int64>? {
  guard let lengths = try ledger.optionalInput(pointer, count, name) else {
    try require(!required || count == 0, SWIFTDPO_ERROR_NULL_POINTER, name)
    return nil
  }
  for index in 0..<count { try require(lengths[index] >= 0, SWIFTDPO_ERROR_LENGTH, name, at: index) }
  return lengths
}

/// The weight of a log-probability in the sft term: one share of the batch's tokens.
private func takeShare(_ lengths: UnsafePointer<Int64>?, _ job: inout PairwiseJob) throws(Fault) {
  if job.count == 0 { return }
  guard let lengths else { throw Fault(SWIFTDPO_ERROR_NULL_POINTER, "chosen_lengths") }
  var tokens = 0.0
  for index in 0..<job.count { tokens += Double(lengths[index]) }
  job.sftShare = tokens > 0 ? Double(job.count) / tokens : 0
}

/// A target preference of 0 or 1 is infinitely far from any model's.
private func checkStrictLabels(_ options: swiftdpo_dpo_options, _ job: PairwiseJob) throws(Fault) {
  if job.softLabels == nil {
    try require(options.label_smoothing > 0, SWIFTDPO_ERROR_LABEL_SMOOTHING, "label_smoothing")
  }
  try checkAll(
    job.softLabels, job.type, job.count, in: .undecidedProbability, SWIFTDPO_ERROR_SOFT_LABEL, "soft_labels")
}

extension swiftdpo_pair_metrics {
  mutating func add(_ sums: PairwiseSums, _ pairs: Int) {
    count &+= pairs
    num_correct &+= sums.correct
    num_tied &+= sums.tied
    losses += reduced(sums.loss, 1)
    chosen_rewards += reduced(sums.chosenRewards, 1)
    rejected_rewards += reduced(sums.rejectedRewards, 1)
    chosen_logps += reduced(sums.chosenLogps, 1)
    rejected_logps += reduced(sums.rejectedLogps, 1)
    gradient_weights += reduced(sums.gradientWeights, 1)
    chosen_kl_k1 += reduced(sums.kl[0], 1)
    chosen_kl_k2 += reduced(sums.kl[1], 1)
    chosen_kl_k3 += reduced(sums.kl[2], 1)
    rejected_kl_k1 += reduced(sums.kl[3], 1)
    rejected_kl_k2 += reduced(sums.kl[4], 1)
    rejected_kl_k3 += reduced(sums.kl[5], 1)
  }
}
