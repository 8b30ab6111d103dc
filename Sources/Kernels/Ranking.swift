import Elementary
import Preference

/// Losses and gradients of ranked groups, eight groups at a time, each in its lane; long groups one at a time, each in all
/// eight. Returns the sum of their losses.
func ranking(
  _ pointer: UnsafePointer<RankingJob>, _ range: Range<Int>, _ workspace: RankingWorkspace
) -> FixedOrderSum {
  let job = pointer.pointee
  if !job.isPlain { workspace.plan.prepare(capacity: workspace.capacity) }
  var sum = FixedOrderSum()
  var start = range.lowerBound
  while start < range.upperBound {
    let left = range.upperBound - start
    let lanes = left < 8 ? left : 8
    func load(_ array: UnsafeRawPointer?, otherwise: Double) -> F64x8 {
      guard let array else { return F64x8(repeating: otherwise) }
      return job.type.load(array, start, count: lanes, filler: otherwise)
    }
    let beta = load(job.betas, otherwise: job.beta)
    let weight = load(job.weights, otherwise: 1)
    let block = RankingBlock(pointer, first: start, lanes: lanes, workspace: workspace)
    var loss = F64x8(repeating: 0)
    if block.steps > 0 { loss = rank(block, workspace, beta: beta, weight: weight) }
    for lane in 0..<lanes where job.isCut(start + lane) {
      let (beta, weight) = (F64x8(repeating: beta[lane]), F64x8(repeating: weight[lane]))
      loss[lane] = rankLong(pointer, start + lane, workspace, beta: beta, weight: weight)
    }
    loss *= weight
    if let losses = job.losses { job.type.store(loss, losses, start, count: lanes) }
    sum.add(lanes == 8 ? loss : loss.firstLanes(lanes))
    start += 8
  }
  return sum
}

/// Eight groups, one in each lane; those that have to be, or gain nothing from less, in more than double precision.
@inline(never) private func rank(
  _ block: RankingBlock, _ workspace: RankingWorkspace, beta: F64x8, weight: F64x8
) -> F64x8 {
  if block.job.pointee.type == .f64 || block.job.pointee.hasStageWeights || block.job.pointee.direction != nil {
    return rankExactly(block, workspace, beta: beta, weight: weight, lanes: 255)
  }
  let range = ratios(block, workspace)
  let single = range.isNarrow(beta: beta) .& (block.counts .> 2)
  let lanes = bits(single)
  var loss = F64x8(repeating: 0)
  if lanes != bits(block.counts .> 0) {
    loss = rankExactly(block, workspace, beta: beta, weight: weight, lanes: ~lanes & 255)
  }
  if lanes == 0 { return loss }
  return rankInSingle(block, workspace, range, beta: beta, weight: weight, lanes: lanes).selected(single, else: loss)
}

/// A long group, cut into eight runs where its scores lie near enough to each other.
@inline(never) private func rankLong(
  _ job: UnsafePointer<RankingJob>, _ group: Int, _ workspace: RankingWorkspace, beta: F64x8, weight: F64x8
) -> Double {
  let block = RankingBlock(job, group: group, isCut: true, workspace: workspace)
  let range = ratios(block, workspace).joined
  var sum = FixedOrderSum()
  if job.pointee.type != .f64 && range.isNarrow(beta: beta).hasAny {
    sum.add(rankInSingle(block, workspace, range, beta: beta, weight: weight, lanes: 255))
  } else if range.isNear(beta: beta).hasAny {
    sum.add(rankExactly(block, workspace, beta: beta, weight: weight, lanes: 255))
  } else {
    let workspace = workspace.inOneLane
    return rank(
      RankingBlock(job, group: group, isCut: false, workspace: workspace), workspace, beta: beta, weight: weight)[0]
  }
  return total(sum).high[0]
}

/// Bit l says whether lane l is set.
private func bits(_ mask: SIMDMask<F64x8.MaskStorage>) -> Int {
  var bits = 0
  for lane in 0..<8 where mask[lane] { bits |= 1 << lane }
  return bits
}

/// The smallest and the largest log-ratio of each lane.
struct RatioRange {
  var lowest: F64x8
  var highest: F64x8

  /// No two scores are too far apart for exponentials relative to one of them. False for NaN.
  @inline(__always) func isNear(beta: F64x8) -> SIMDMask<F64x8.MaskStorage> { (highest - lowest) * beta .<= mostNats }

  /// Scores are near enough to each other, and none is so large that a rounded log-ratio would show in single precision.
  @inline(__always) func isNarrow(beta: F64x8) -> SIMDMask<F64x8.MaskStorage> {
    let size = highest.selected(highest .> -lowest, else: -lowest)
    return (highest - lowest) * beta .<= 2 * mostNats .& (size * beta .< 0x1p22)
  }

  /// Of all lanes together.
  var joined: RatioRange {
    RatioRange(
      lowest: F64x8(repeating: -(-lowest).largest), highest: F64x8(repeating: highest.largest))
  }
}

/// Log-ratios, rounded to a double, and where they lie; NaN where one is not finite.
@inline(never) private func ratios(_ block: RankingBlock, _ workspace: RankingWorkspace) -> RatioRange {
  block.gather(block.job.pointee.policy, minus: block.job.pointee.reference, workspace.ratio)
  var range = RatioRange(lowest: F64x8(repeating: .infinity), highest: F64x8(repeating: -.infinity))
  let first = workspace.ratio[0]
  var spoiled = F64x8(repeating: 0)
  let full = block.fullSteps
  var step = 0
  while step < block.steps {
    var ratio = workspace.ratio[step]
    if step >= full {
      ratio = ratio.selected(block.counts .> Double(step), else: first)
      workspace.ratio[step] = ratio
    }
    range.lowest = ratio.selected(ratio .< range.lowest, else: range.lowest)
    range.highest = ratio.selected(ratio .> range.highest, else: range.highest)
    spoiled = spoiled + (ratio - ratio)
    step &+= 1
  }
  range.highest = range.highest + spoiled
  return range
}

/// In each lane the sum of those before it, or behind it.
@inline(never) func exclusiveSums(_ sums: DoubleDouble, behind: Bool) -> DoubleDouble {
  var result = DoubleDouble(F64x8(repeating: 0))
  var running = DoubleDouble(F64x8(repeating: 0))
  for index in 0..<8 {
    let lane = behind ? 7 - index : index
    result.high[lane] = running.high[0]
    result.low[lane] = running.low[0]
    running = running.plus(
      DoubleDouble(high: F64x8(repeating: sums.high[lane]), low: F64x8(repeating: sums.low[lane])))
  }
  return result
}
