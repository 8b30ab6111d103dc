import CPlatform
import Elementary
import Preference

// What most calls ask: losses of log-ratios as they are, and the common results. The numbers are those of
// PairwiseMixture.swift, bit for bit; only what nobody asked for is not computed.

extension PairwiseJob {
  /// Nothing is asked but losses of log-ratios, their gradients by the policy, rewards and sigma(-z).
  @inline(never) var isOfLogRatios: Bool {
    if divergences != nil || wantsMetrics || ties != nil || gradRefChosen != nil || gradRefRejected != nil {
      return false
    }
    if gradSFT != nil || gradBetas != nil || gradMargins != nil || curvatures != nil { return false }
    for index in 0..<termCount {
      let term = terms[index]
      if term.score != .logRatio || term.meanScore || term.meanLogRatio { return false }
      if !term.loss.isOfLogRatios || (term.loss == .sigmoid && type == .f32) { return false }
    }
    return true
  }

  fileprivate var hasMargin: Bool { margins != nil || margin != 0 }

  fileprivate var needsLogistic: Bool { has { $0.needsLogistic } }

  fileprivate var looksAtResponses: Bool { has { $0.isOfResponses } }

  private func has(_ property: (PairwiseLossType) -> Bool) -> Bool {
    for index in 0..<termCount where property(terms[index].loss) { return true }
    return false
  }
}

extension PairwiseLossType {
  /// It needs no other data, and a pair's result is about that pair alone.
  fileprivate var isOfLogRatios: Bool {
    switch self {
    case .sigmoid, .robust, .hinge, .slic, .ipo, .exoPair, .discopop: true
    case .ncaPair, .bcoPair, .sppoHard, .apoZero, .apoDown: true
    default: false
    }
  }

  /// It looks at u and v.
  fileprivate var isOfResponses: Bool {
    switch self {
    case .ncaPair, .bcoPair, .sppoHard, .apoZero, .apoDown: true
    default: false
    }
  }

  /// It needs the logistic function at z.
  fileprivate var needsLogistic: Bool {
    switch self {
    case .hinge, .slic, .ipo, .ncaPair, .bcoPair, .sppoHard, .apoZero: false
    default: true
    }
  }
}

/// Eight pairs between the passes.
private struct LogRatioBlock {
  var z: DoubleDouble
  /// e^-|z|
  var exponential: DoubleDouble
  var rest: F64x8
  var logistic: Logistic
}

/// Whole eights, in passes over at most eight of them: what happens to a pair is one long chain of operations, and only
/// short passes let the processor work on the chains of many pairs at once.
func mixtureOfLogRatios(
  _ job: UnsafePointer<PairwiseJob>, _ range: Range<Int>, _ sums: UnsafeMutablePointer<PairwiseSums>
) {
  let needsLogistic = job.pointee.gradientWeights != nil || job.pointee.needsLogistic
  let looksAtResponses = job.pointee.looksAtResponses
  var room = platform_unset_blocks()
  withUnsafeMutablePointer(to: &room) { room in
    let blocks = UnsafeMutableRawPointer(room).alignedUp(toMultipleOf: 64).assumingMemoryBound(to: LogRatioBlock.self)
    var first = range.lowerBound
    while first < range.upperBound {
      let end = range.upperBound &- first < 64 ? range.upperBound : first &+ 64
      findMargins(job, first, end, blocks)
      if needsLogistic { findLogistics(blocks, blocks + (end &- first) / 8) }
      finish(job, first, end, blocks, looksAtResponses, &sums.pointee.loss)
      first = end
    }
  }
}

/// z and the rewards.
@inline(never)
private func findMargins(
  _ job: UnsafePointer<PairwiseJob>, _ first: Int, _ end: Int, _ blocks: UnsafeMutablePointer<LogRatioBlock>
) {
  var (start, block) = (first, blocks)
  while start < end {
    let lanes = Eight(job.pointee.type, start)
    let (chosen, rejected) = lanes.logRatios(job)
    let beta = lanes.load(job.pointee.betas, otherwise: job.pointee.beta)
    lanes.store(chosen.reward(beta: beta), job.pointee.chosenRewards)
    lanes.store(rejected.reward(beta: beta), job.pointee.rejectedRewards)
    block.pointee.z = chosen.rewardDifference(from: rejected, beta: beta)
    if job.pointee.hasMargin {
      block.pointee.z = block.pointee.z - lanes.load(job.pointee.margins, otherwise: job.pointee.margin)
    }
    block += 1
    start &+= 8
  }
}

@inline(never)
private func findLogistics(_ first: UnsafeMutablePointer<LogRatioBlock>, _ end: UnsafeMutablePointer<LogRatioBlock>) {
  var block = first
  while block < end {
    block.pointee.exponential = Logistic.exponential(block.pointee.z)
    block += 1
  }
  block = first
  while block < end {
    block.pointee.rest = log1pOfUnit(block.pointee.exponential.rounded)
    block += 1
  }
  block = first
  while block < end {
    block.pointee.logistic = Logistic(
      block.pointee.z, exponential: block.pointee.exponential, rest: block.pointee.rest, precisely: true)
    block += 1
  }
}

/// What a pass evaluates.
private protocol Losses {
  static func evaluate(_ loss: PairwiseLossType, _ point: PairPoint, _ z: Logistic) -> PairJet
}

/// Any losses.
private enum AnyLosses: Losses {
  @inline(__always) static func evaluate(_ loss: PairwiseLossType, _ point: PairPoint, _ z: Logistic) -> PairJet {
    jet(of: loss, point, z)
  }
}

/// One loss, in a body of its own: for short ones, which the way to the table would take longer than.
private enum HingeAlone: Losses {
  @inline(__always) static func evaluate(_: PairwiseLossType, _ point: PairPoint, _ z: Logistic) -> PairJet {
    HingeLoss.jet(point, z)
  }
}

private enum IPOAlone: Losses {
  @inline(__always) static func evaluate(_: PairwiseLossType, _ point: PairPoint, _ z: Logistic) -> PairJet {
    IPOLoss.jet(point, z, OutOfLine.self)
  }
}

/// Losses and gradients.
@inline(__always)
private func finish(
  _ job: UnsafePointer<PairwiseJob>, _ first: Int, _ end: Int, _ blocks: UnsafePointer<LogRatioBlock>,
  _ looksAtResponses: Bool, _ sum: inout FixedOrderSum
) {
  if job.pointee.termCount == 1 {
    switch job.pointee.terms[0].loss {
    case .hinge: return finish(job, first, end, blocks, false, &sum, HingeAlone.self)
    case .ipo: return finish(job, first, end, blocks, false, &sum, IPOAlone.self)
    default: break
    }
  }
  finish(job, first, end, blocks, looksAtResponses, &sum, AnyLosses.self)
}

@inline(never)
private func finish<Kind: Losses>(
  _ job: UnsafePointer<PairwiseJob>, _ first: Int, _ end: Int, _ blocks: UnsafePointer<LogRatioBlock>,
  _ looksAtResponses: Bool, _ sum: inout FixedOrderSum, _: Kind.Type
) {
  let zero = F64x8(repeating: 0)
  var (start, block) = (first, blocks)
  while start < end {
    let lanes = Eight(job.pointee.type, start)
    var point = PairPoint(
      z: block.pointee.z, chosen: DoubleDouble(zero), rejected: DoubleDouble(zero),
      beta: lanes.load(job.pointee.betas, otherwise: job.pointee.beta),
      margin: lanes.load(job.pointee.margins, otherwise: job.pointee.margin),
      p: lanes.load(job.pointee.softLabels, otherwise: job.pointee.p), q: F64x8(repeating: job.pointee.q),
      target: DoubleDouble(zero), tied: zero .!= zero, parameters: job.pointee.parameters)
    if job.pointee.softLabels != nil { point.q = 1 - point.p }
    if looksAtResponses { findResponses(job, lanes, &point) }
    let (p, q) = (point.p, point.q)
    let weights = lanes.load(job.pointee.weights, otherwise: 1)
    var (value, byChosen, byRejected) = (zero, zero, zero)
    var index = 0
    while index < job.pointee.termCount {
      let term = job.pointee.terms[index]
      (point.p, point.q) = labels(of: term.loss, job, p, q)
      let jet = Kind.evaluate(term.loss, point, block.pointee.logistic)
      let weight = weights * term.weight
      let factor = point.beta * (weight * job.pointee.scale)
      value = value.saturatingSum(jet.value.weighted(by: weight))
      byChosen = byChosen.saturatingSum(jet.chosen.weighted(by: factor))
      byRejected = byRejected.saturatingSum(jet.rejected.weighted(by: factor))
      index += 1
    }
    lanes.store(value, job.pointee.losses)
    lanes.store(byChosen, job.pointee.gradPolicyChosen)
    lanes.store(byRejected, job.pointee.gradPolicyRejected)
    if job.pointee.gradientWeights != nil {
      lanes.store(block.pointee.logistic.complement, job.pointee.gradientWeights)
    }
    accumulate(value, 8, &sum)
    block += 1
    start &+= 8
  }
}

/// u and v.
@inline(never)
private func findResponses(_ job: UnsafePointer<PairwiseJob>, _ lanes: Eight, _ point: inout PairPoint) {
  let (chosen, rejected) = lanes.logRatios(job)
  point.chosen = chosen.quarter.reward(beta: point.beta)
  point.rejected = rejected.quarter.reward(beta: point.beta)
  if job.pointee.hasMargin {
    point.chosen = point.chosen - 0.5 * point.margin
    point.rejected = point.rejected - -0.5 * point.margin
  }
}

/// Eight consecutive pairs.
private struct Eight {
  let type: ElementType
  let start: Int

  @inline(__always) init(_ type: ElementType, _ start: Int) { (self.type, self.start) = (type, start) }

  @inline(__always) func load(_ array: UnsafeRawPointer?, otherwise: Double) -> F64x8 {
    guard let array else { return F64x8(repeating: otherwise) }
    return type.load8(array, start)
  }

  @inline(__always) func logRatios(_ job: UnsafePointer<PairwiseJob>) -> (chosen: LogRatio, rejected: LogRatio) {
    (
      LogRatio(
        policy: load(job.pointee.policyChosen, otherwise: 0), reference: load(job.pointee.refChosen, otherwise: 0)),
      LogRatio(
        policy: load(job.pointee.policyRejected, otherwise: 0), reference: load(job.pointee.refRejected, otherwise: 0))
    )
  }

  @inline(__always) func store(_ values: F64x8, _ array: UnsafeMutableRawPointer?) {
    if let array { type.store8(values, array, start) }
  }
}
