import Elementary
import Preference

/// Losses, gradients and sums of pairs for any mixture of losses and any results, eight pairs at a time.
func pairwiseMixture(
  _ pointer: UnsafePointer<PairwiseJob>, _ range: Range<Int>, _ sums: UnsafeMutablePointer<PairwiseSums>
) {
  var start = range.lowerBound
  #if !KERNELS_COMPACT
    if pointer.pointee.isOfLogRatios {
      let whole = start + (range.upperBound - start) & ~7
      mixtureOfLogRatios(pointer, start..<whole, sums)
      start = whole
    }
  #endif
  while start < range.upperBound {
    let left = range.upperBound - start
    block(pointer, start, left < 8 ? left : 8, sums)
    start += 8
  }
}

/// Where eight consecutive pairs find what belongs to them: in their own place, or at their partners'.
struct Places {
  var start: Int
  var count: Int
  var policyChosen: UnsafePointer<Int>?
  var policyRejected: UnsafePointer<Int>?
  var refChosen: UnsafePointer<Int>?
  var refRejected: UnsafePointer<Int>?
  /// beta, margin, weight, label
  var parameters: UnsafePointer<Int>?

  /// For the gradient by the policy; of aot_unpaired, by the chosen responses.
  func policies(of loss: PairwiseLossType, in job: UnsafePointer<PairwiseJob>) -> Places {
    var places = self
    if loss == .aot {
      places.refChosen = job.pointee.referencePartners
      places.refRejected = job.pointee.referencePartners
    } else if loss == .aotUnpaired {
      places.policyRejected = job.pointee.rejectedPartners
      places.refRejected = job.pointee.rejectedPartners
    }
    return places
  }

  /// For the gradient of aot_unpaired by the rejected responses.
  func rejectedResponses(in job: UnsafePointer<PairwiseJob>) -> Places {
    var places = self
    places.policyChosen = job.pointee.chosenPartners
    places.refChosen = job.pointee.chosenPartners
    places.parameters = job.pointee.chosenPartners
    return places
  }

  /// For the gradient of aot by the reference.
  func references(in job: UnsafePointer<PairwiseJob>) -> Places {
    var places = self
    places.policyChosen = job.pointee.policyPartners
    places.policyRejected = job.pointee.policyPartners
    places.parameters = job.pointee.policyPartners
    return places
  }
}

/// What a term of a mixture adds to the results: its share of the loss and of each derivative.
private struct TermResult {
  var value: F64x8
  var chosen: F64x8
  var rejected: F64x8
  var beta: F64x8
  var margin: F64x8
  var curvature: F64x8
  var tieStrength: F64x8
  /// sigma(-z)
  var complement: F64x8

  @_optimize(size) @inline(never) mutating func add(_ other: UnsafePointer<TermResult>) {
    let theirs = UnsafeRawPointer(other).assumingMemoryBound(to: F64x8.self)
    forEachNumber(from: 0, to: 8) { index, number in number = number.saturatingSum(theirs[index]) }
  }

  /// What is not about log-probabilities: derivatives by beta, margin, z twice, and the strength of ties.
  @_optimize(size) @inline(never) mutating func scaleParameters(by share: F64x8) {
    forEachNumber(from: 3, to: 7) { _, number in number = number.weighted(by: share) }
  }

  /// One after another: there is little code for it then.
  @inline(__always) private mutating func forEachNumber(
    from first: Int, to end: Int, _ body: (Int, inout F64x8) -> Void
  ) {
    withUnsafeMutableBytes(of: &self) { bytes in
      let numbers = bytes.baseAddress!.assumingMemoryBound(to: F64x8.self)
      var index = first
      while index < end {
        body(index, &numbers[index])
        index += 1
      }
    }
  }
}

@inline(never)
func load(
  _ type: ElementType, _ array: UnsafeRawPointer?, _ places: Places, _ partners: UnsafePointer<Int>?,
  otherwise: Double
) -> F64x8 {
  guard let array else { return F64x8(repeating: otherwise) }
  guard let partners else { return type.load(array, places.start, count: places.count, filler: otherwise) }
  var lanes = F64x8(repeating: otherwise)
  var lane = 0
  while lane < places.count {
    lanes[lane] = type.load(array, partners[places.start + lane])
    lane += 1
  }
  return lanes
}

/// A quarter of the log-ratios.
@inline(never)
private func logRatio(
  _ type: ElementType, _ policy: UnsafeRawPointer?, _ policyPartners: UnsafePointer<Int>?,
  _ reference: UnsafeRawPointer?, _ referencePartners: UnsafePointer<Int>?, _ places: Places
) -> DoubleDouble {
  LogRatio(
    policy: load(type, policy, places, policyPartners, otherwise: 0),
    reference: load(type, reference, places, referencePartners, otherwise: 0)
  ).quarter
}

@inline(never)
private func reward(_ quarter: DoubleDouble, _ beta: F64x8, less hasMargin: Bool, _ margin: F64x8) -> DoubleDouble {
  let reward = quarter.reward(beta: beta)
  return hasMargin ? reward - margin : reward
}

/// z. Between log-ratios as they are, it is plain DPO's.
@inline(never)
private func reward(
  _ term: LossTerm, _ scores: PairScores, _ chosen: DoubleDouble, _ rejected: DoubleDouble, _ beta: F64x8,
  less hasMargin: Bool, _ margin: F64x8, single: Bool
) -> DoubleDouble {
  if term.score != .logRatio || term.meanScore || term.meanLogRatio {
    return reward(scores.quarterDifference, beta, less: hasMargin, margin)
  }
  let (chosen, rejected) = (LogRatio(quarter: chosen), LogRatio(quarter: rejected))
  if single {
    let z = chosen.singleRewardDifference(from: rejected, beta: beta)
    return DoubleDouble(hasMargin ? z - margin : z)
  }
  let z = chosen.rewardDifference(from: rejected, beta: beta)
  return hasMargin ? z - margin : z
}

/// p and q as a loss has them. Robust DPO's flip rate is a parameter of the loss, not a doubt about the label.
@inline(__always)
func labels(
  of loss: PairwiseLossType, _ job: UnsafePointer<PairwiseJob>, _ p: F64x8, _ q: F64x8
) -> (p: F64x8, q: F64x8) {
  loss == .robust && job.pointee.softLabels == nil ? (F64x8(repeating: 1), F64x8(repeating: 0)) : (p, q)
}

/// Numbers of tokens; a response without any counts as one, its log-probability being 0.
@inline(never)
private func tokens(_ lengths: UnsafePointer<Int64>?, _ places: Places, _ partners: UnsafePointer<Int>?) -> F64x8 {
  var lanes = F64x8(repeating: 1)
  guard let lengths else { return lanes }
  var lane = 0
  while lane < places.count {
    let length = lengths[partners == nil ? places.start + lane : partners![places.start + lane]]
    if length > 1 { lanes[lane] = Double(length) }
    lane += 1
  }
  return lanes
}

@inline(never)
private func evaluate(_ job: UnsafePointer<PairwiseJob>, _ term: LossTerm, _ places: Places) -> TermResult {
  let type = job.pointee.type
  let own: UnsafePointer<Int>? = places.parameters
  let chosen = logRatio(
    type, job.pointee.policyChosen, places.policyChosen, job.pointee.refChosen, places.refChosen, places)
  let rejected = logRatio(
    type, job.pointee.policyRejected, places.policyRejected, job.pointee.refRejected, places.refRejected, places)
  let beta = load(type, job.pointee.betas, places, own, otherwise: job.pointee.beta)
  let margin = load(type, job.pointee.margins, places, own, otherwise: job.pointee.margin)
  let hasMargin = job.pointee.margins != nil || job.pointee.margin != 0
  let weight = load(type, job.pointee.weights, places, own, otherwise: 1) * term.weight
  let given = load(type, job.pointee.softLabels, places, own, otherwise: job.pointee.p)
  let (p, q) = labels(
    of: term.loss, job, given, job.pointee.softLabels == nil ? F64x8(repeating: job.pointee.q) : 1 - given)

  var scores = PairScores(
    term, chosen: chosen, rejected: rejected, tokens: tokens(job.pointee.chosenLengths, places, places.policyChosen),
    tokens(job.pointee.rejectedLengths, places, places.policyRejected))
  // Odds ratios are compared as they are.
  let factor = term.loss == .oddsRatio ? F64x8(repeating: 1) : beta
  let single = type == .f32 && term.loss == .sigmoid
  var z = reward(term, scores, chosen, rejected, factor, less: hasMargin, margin, single: single)
  if let divergences = job.pointee.divergences {
    let lead = divergenceLead(divergences, type, places)
    z = lessened(z, by: lead.reward(beta: factor))
    scores.quarterDifference = lessened(scores.quarterDifference, by: lead)
  }
  let u = reward(scores.chosen.quarter, factor, less: hasMargin, 0.5 * margin)
  let v = reward(scores.rejected.quarter, factor, less: hasMargin, -0.5 * margin)
  let gap = load(type, job.pointee.rewardGaps, places, own, otherwise: 0)
  var tied = SIMD8<Int64>(repeating: 0)
  if let ties = job.pointee.ties {
    var lane = 0
    while lane < places.count {
      tied[lane] = Int64(ties[own == nil ? places.start + lane : own![places.start + lane]])
      lane += 1
    }
  }
  // A target beyond the largest double stays finite, so that an infinite z has a distance from it.
  var target = DoubleDouble.product(gap, F64x8(repeating: job.pointee.rewardScale))
  target.high = target.high.atLeast(-.greatestFiniteMagnitude).atMost(.greatestFiniteMagnitude)
  var point = PairPoint(
    z: z, chosen: u, rejected: v, beta: beta, margin: margin, p: p, q: q,
    target: target, tied: tied .!= 0,
    parameters: job.pointee.parameters)
  point.wantsBeta = job.pointee.gradBetas != nil
  let logistic = single ? OutOfLine.logistic(single: z.high) : OutOfLine.logistic(z)
  var jet = jet(of: term.loss, point, logistic)
  if single { jet.value = bernoulliCrossEntropy(single: logistic, p: p, q: q).value }

  let share = weight * job.pointee.scale
  let common = single ? (factor * share).inSingle : factor * share
  // By the margin, half of what moves u and v apart; by beta, through z = u - v where that is all, or through u and v.
  let apart = 0.5 * OutOfLine.sum(jet.chosen, -jet.rejected)
  let throughZ = 4 * scores.quarterDifference.high.weighted(by: apart)
  let throughBoth =
    4
    * OutOfLine.sum(
      scores.chosen.quarter.high.weighted(by: jet.chosen), scores.rejected.quarter.high.weighted(by: jet.rejected))
  var result = TermResult(
    value: jet.value.weighted(by: weight),
    chosen: jet.chosen.weighted(by: common).weighted(by: scores.chosen.slope),
    rejected: jet.rejected.weighted(by: common).weighted(by: scores.rejected.slope),
    beta: jet.beta ?? throughZ.selected(jet.chosen .== -jet.rejected, else: throughBoth),
    margin: -apart,
    curvature: jet.curvature,
    tieStrength: jet.tieStrength,
    complement: logistic.complement)
  result.scaleParameters(by: share)
  return result
}

@inline(never)
private func block(
  _ job: UnsafePointer<PairwiseJob>, _ start: Int, _ count: Int, _ sums: UnsafeMutablePointer<PairwiseSums>
) {
  let type = job.pointee.type
  let zero = F64x8(repeating: 0)
  let scale = job.pointee.scale
  let own = Places(start: start, count: count)
  var total = TermResult(
    value: zero, chosen: zero, rejected: zero, beta: zero, margin: zero, curvature: zero, tieStrength: zero,
    complement: zero)
  var bySFT = zero
  // A reference's log-probability enters with the opposite sign, and has no part in the sft term.
  var byRefChosen = zero
  var byRefRejected = zero
  var index = 0
  while index < job.pointee.termCount {
    let term = job.pointee.terms[index]
    if term.loss == .sft {
      let logps = load(type, job.pointee.sftLogps ?? job.pointee.policyChosen, own, nil, otherwise: 0)
      let weight = (load(type, job.pointee.weights, own, nil, otherwise: 1) * term.weight)
        .weighted(by: F64x8(repeating: job.pointee.sftShare))
      total.value = OutOfLine.sum(total.value, -logps.weighted(by: weight))
      let share = weight * scale
      if job.pointee.sftLogps == nil { total.chosen = OutOfLine.sum(total.chosen, -share) } else { bySFT -= share }
    } else {
      var result = evaluate(job, term, own.policies(of: term.loss, in: job))
      // What belongs to a partner's loss is evaluated from there, so that nothing is scattered.
      if term.loss == .aotUnpaired { result.rejected = evaluate(job, term, own.rejectedResponses(in: job)).rejected }
      if index > 0 { result.complement = zero }
      total.add(&result)
      if term.loss == .aot {
        if job.pointee.gradRefChosen != nil || job.pointee.gradRefRejected != nil {
          let there = evaluate(job, term, own.references(in: job))
          byRefChosen = OutOfLine.sum(byRefChosen, -there.chosen)
          byRefRejected = OutOfLine.sum(byRefRejected, -there.rejected)
        }
      } else {
        byRefChosen = OutOfLine.sum(byRefChosen, -result.chosen)
        byRefRejected = OutOfLine.sum(byRefRejected, -result.rejected)
      }
    }
    index += 1
  }

  func store(_ values: F64x8, _ array: UnsafeMutableRawPointer?) {
    if let array { type.store(values, array, start, count: count) }
  }
  func add(_ values: F64x8, _ sum: inout FixedOrderSum) { accumulate(values, count, &sum) }
  store(total.value, job.pointee.losses)
  store(total.chosen, job.pointee.gradPolicyChosen)
  store(total.rejected, job.pointee.gradPolicyRejected)
  store(bySFT, job.pointee.gradSFT)
  store(total.beta, job.pointee.gradBetas)
  store(total.margin, job.pointee.gradMargins)
  store(total.curvature, job.pointee.curvatures)
  store(total.complement, job.pointee.gradientWeights)
  add(total.value, &sums.pointee.loss)
  add(total.tieStrength, &sums.pointee.gradTieStrength)
  store(byRefChosen, job.pointee.gradRefChosen)
  store(byRefRejected, job.pointee.gradRefRejected)
  if let divergences = job.pointee.divergences {
    let beta = load(type, job.pointee.betas, own, nil, otherwise: job.pointee.beta)
    let gradient = total.margin.weighted(by: beta * divergences.pointee.alpha)
    store(gradient, divergences.pointee.gradRejected)
    store(divergences.pointee.holdsChosen ? zero : -gradient, divergences.pointee.gradChosen)
    store(divergenceLead(divergences, type, own).reward(beta: beta).high, divergences.pointee.margins)
  }
  rewards(job, own, total.complement, sums)
}

/// Rewards, and the sums that metrics are made of. These are about log-ratios as they are, whatever the loss.
@inline(never)
private func rewards(
  _ job: UnsafePointer<PairwiseJob>, _ own: Places, _ complement: F64x8, _ sums: UnsafeMutablePointer<PairwiseSums>
) {
  let type = job.pointee.type
  let count = own.count
  let chosen = logRatio(type, job.pointee.policyChosen, nil, job.pointee.refChosen, nil, own)
  let rejected = logRatio(type, job.pointee.policyRejected, nil, job.pointee.refRejected, nil, own)
  let beta = load(type, job.pointee.betas, own, nil, otherwise: job.pointee.beta)
  let chosenReward = LogRatio(quarter: chosen).reward(beta: beta)
  let rejectedReward = LogRatio(quarter: rejected).reward(beta: beta)
  if let array = job.pointee.chosenRewards { type.store(chosenReward, array, own.start, count: count) }
  if let array = job.pointee.rejectedRewards { type.store(rejectedReward, array, own.start, count: count) }

  if !job.pointee.wantsMetrics { return }
  let lead = OutOfLine.difference(chosen, rejected).high
  var lane = 0
  while lane < count {
    if lead[lane] > 0 { sums.pointee.correct &+= 1 }
    if lead[lane] == 0 { sums.pointee.tied &+= 1 }
    lane += 1
  }
  func add(_ values: F64x8, _ sum: inout FixedOrderSum) { accumulate(values, count, &sum) }
  add(chosenReward, &sums.pointee.chosenRewards)
  add(rejectedReward, &sums.pointee.rejectedRewards)
  add(load(type, job.pointee.policyChosen, own, nil, otherwise: 0), &sums.pointee.chosenLogps)
  add(load(type, job.pointee.policyRejected, own, nil, otherwise: 0), &sums.pointee.rejectedLogps)
  add(complement, &sums.pointee.gradientWeights)
  func addKL(_ ratio: F64x8, _ first: Int) {
    add(ratio, &sums.pointee.kl[first])
    add(0.5 * ratio * ratio, &sums.pointee.kl[first + 1])
    add(OutOfLine.sum(OutOfLine.expm1(-ratio), ratio).atLeast(0), &sums.pointee.kl[first + 2])
  }
  addKL(chosen.high * 4, 0)
  addKL(rejected.high * 4, 3)
}
