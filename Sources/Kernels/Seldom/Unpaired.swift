import Elementary
import Preference

/// Losses and gradients of single responses, eight at a time.
func unpaired(_ pointer: UnsafePointer<UnpairedJob>, _ range: Range<Int>, _ sums: UnsafeMutablePointer<UnpairedSums>) {
  let job = pointer.pointee
  let type = job.type
  let zero = F64x8(repeating: 0)
  var start = range.lowerBound
  while start < range.upperBound {
    let left = range.upperBound - start
    let count = left < 8 ? left : 8
    func load(_ array: UnsafeRawPointer?, _ otherwise: Double) -> F64x8 {
      guard let array else { return F64x8(repeating: otherwise) }
      return type.load(array, start, count: count, filler: otherwise)
    }
    func store(_ values: F64x8, _ array: UnsafeMutableRawPointer?) {
      if let array { type.store(values, array, start, count: count) }
    }
    func add(_ values: F64x8, _ sum: inout FixedOrderSum) { accumulate(values, count, &sum) }

    var flags = SIMD8<Int64>(repeating: 0)
    var lane = 0
    while lane < count {
      flags[lane] = Int64(job.desirable[start + lane])
      sums.pointee.numDesirable &+= Int(job.desirable[start + lane])
      lane += 1
    }
    let desirable = flags .!= 0
    let beta = load(job.betas, job.beta)
    let classWeight = F64x8(repeating: job.desirableWeight).selected(
      desirable, else: F64x8(repeating: job.undesirableWeight))
    let weight = classWeight * load(job.weights, 1)
    let policy = load(job.policy, 0)
    let ratio = LogRatio(policy: policy, reference: load(job.reference, 0))
    let reward = ratio.reward(beta: beta)
    // The baseline is taken off the log-ratio, or its product with beta from the reward: one of them is 0.
    let relative = ratio.quarter - F64x8(repeating: 0.25 * job.klBaseline)
    let x = relative.reward(beta: beta) - F64x8(repeating: job.shift)
    let logistic = OutOfLine.logistic(x.selected(desirable, else: -x))
    let jet = job.isLogistic ? bcoLoss(logistic) : ktoLoss(logistic)

    // Two weights together may have overflowed where the slope is 0.
    let weighted = jet.slope.weighted(by: weight)
    let slope = weighted.selected(desirable, else: -weighted)
    store(jet.value.weighted(by: weight), job.losses)
    store(slope * beta * job.scale, job.gradPolicy)
    store(reward, job.rewards)
    store((relative.high * 4).weighted(by: slope) * job.scale, job.gradBetas)
    store(jet.curvature.weighted(by: weight) * job.scale, job.curvatures)
    add(jet.value.weighted(by: weight), &sums.pointee.loss)
    add(slope, &sums.pointee.slope)
    add(slope * beta, &sums.pointee.slopeTimesBeta)
    add(reward.selected(desirable, else: zero), &sums.pointee.desirableRewards)
    add(zero.selected(desirable, else: reward), &sums.pointee.undesirableRewards)
    add(policy.selected(desirable, else: zero), &sums.pointee.desirableLogps)
    add(zero.selected(desirable, else: policy), &sums.pointee.undesirableLogps)
    start += 8
  }
}
