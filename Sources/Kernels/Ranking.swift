import Elementary
import Preference

/// Losses and gradients of ranked groups, eight groups at a time. Returns the sum of their losses.
@inline(__always)
func ranking<Element: Storage>(
  _ pointer: UnsafePointer<RankingJob<Element>>, _ range: Range<Int>,
  _ stages: UnsafeMutablePointer<StageProbabilities>
) -> FixedOrderSum {
  let job = pointer.pointee
  let size = job.groupSize
  var sum = FixedOrderSum()
  var start = range.lowerBound
  while start < range.upperBound {
    let count = min(8, range.upperBound - start)
    let first = start

    /// The flat index of the item that group `lane` has at stage k.
    @inline(__always) func item(_ lane: Int, _ k: Int) -> Int {
      let base = (first + lane) * size
      guard let rankings = job.rankings else { return base + k }
      return base + Int(truncatingIfNeeded: rankings[base + k])
    }
    @inline(__always) func gather(_ array: UnsafePointer<Element>?, _ k: Int) -> F64x8 {
      var lanes = F64x8(repeating: 0)
      guard let array else { return lanes }
      for lane in 0..<count { lanes[lane] = array[item(lane, k)].double }
      return lanes
    }
    @inline(__always) func scatter(_ values: F64x8, _ array: UnsafeMutablePointer<Element>?, _ k: Int) {
      guard let array else { return }
      for lane in 0..<count { array[item(lane, k)] = Element(rounding: values[lane]) }
    }
    @inline(__always) func load(_ array: UnsafePointer<Element>?, _ otherwise: Double) -> F64x8 {
      guard let array else { return F64x8(repeating: otherwise) }
      return Element.load(array + first, count: count, filler: otherwise)
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
    if let losses = job.losses { Element.store(loss, losses + first, count: count) }
    sum.add(count == 8 ? loss : loss.firstLanes(count))
    start += 8
  }
  return sum
}

func rankingF32(
  _ job: UnsafePointer<RankingJob<Float>>, _ range: Range<Int>, _ stages: UnsafeMutablePointer<StageProbabilities>
) -> FixedOrderSum { ranking(job, range, stages) }

func rankingF64(
  _ job: UnsafePointer<RankingJob<Double>>, _ range: Range<Int>, _ stages: UnsafeMutablePointer<StageProbabilities>
) -> FixedOrderSum { ranking(job, range, stages) }
