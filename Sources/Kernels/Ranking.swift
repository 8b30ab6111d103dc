import Elementary
import Preference

/// Losses and gradients of ranked groups, eight groups at a time. Returns the sum of their losses.
func ranking(
  _ pointer: UnsafePointer<RankingJob>, _ range: Range<Int>, _ stages: UnsafeMutablePointer<StageProbabilities>
) -> FixedOrderSum {
  let job = pointer.pointee
  let type = job.type
  let size = job.groupSize
  var sum = FixedOrderSum()
  var start = range.lowerBound
  while start < range.upperBound {
    let left = range.upperBound - start
    let count = left < 8 ? left : 8
    let first = start

    /// The flat index of the item that group `lane` has at stage k.
    @inline(__always) func item(_ lane: Int, _ k: Int) -> Int {
      let base = (first + lane) * size
      guard let rankings = job.rankings else { return base + k }
      return base + Int(truncatingIfNeeded: rankings[base + k])
    }
    @inline(__always) func gather(_ array: UnsafeRawPointer?, _ k: Int) -> F64x8 {
      var lanes = F64x8(repeating: 0)
      guard let array else { return lanes }
      for lane in 0..<count { lanes[lane] = type.load(array, item(lane, k)) }
      return lanes
    }
    @inline(__always) func scatter(_ values: F64x8, _ array: UnsafeMutableRawPointer?, _ k: Int) {
      guard let array else { return }
      for lane in 0..<count { type.store(values[lane], array, item(lane, k)) }
    }
    @inline(__always) func load(_ array: UnsafeRawPointer?, _ otherwise: Double) -> F64x8 {
      guard let array else { return F64x8(repeating: otherwise) }
      return type.load(array, first, count: count, filler: otherwise)
    }

    let beta = load(job.betas, job.beta)
    let weight = load(job.weights, 1)

    var stage = size - 1
    var ratio = LogRatio(policy: gather(job.policy, stage), reference: gather(job.reference, stage))
    var suffix = PlackettLuceSuffix(last: ratio)
    var total = DoubleDouble(F64x8(repeating: 0))
    stages[stage] = StageProbabilities(chosen: F64x8(repeating: 1), another: F64x8(repeating: 0))
    while true {
      if job.rewards != nil { scatter(ratio.reward(beta: beta), job.rewards, stage) }
      if stage == 0 { break }
      stage -= 1
      ratio = LogRatio(policy: gather(job.policy, stage), reference: gather(job.reference, stage))
      let (loss, probabilities) = suffix.prepend(ratio, beta: beta)
      total = total + loss
      stages[stage] = probabilities
    }

    let factor = beta * (weight * job.scale)
    if job.gradPolicy != nil || job.gradientWeights != nil {
      var prefix = PlackettLucePrefix()
      for k in 0..<size {
        scatter(prefix.slope(stages[k]) * factor, job.gradPolicy, k)
        scatter(stages[k].another, job.gradientWeights, k)
      }
    }

    let loss = total.high * weight
    if let losses = job.losses { type.store(loss, losses, first, count: count) }
    sum.add(count == 8 ? loss : loss.firstLanes(count))
    start += 8
  }
  return sum
}
