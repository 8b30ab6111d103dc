import Elementary
import Preference

/// Losses and gradients of pairs, eight at a time. Returns the sum of their losses.
func pairwise(_ pointer: UnsafePointer<PairwiseJob>, _ range: Range<Int>) -> FixedOrderSum {
  let job = pointer.pointee
  let type = job.type
  var sum = FixedOrderSum()
  var start = range.lowerBound
  while start < range.upperBound {
    let left = range.upperBound - start
    let count = left < 8 ? left : 8
    @inline(__always) func load(_ array: UnsafeRawPointer?, _ otherwise: Double) -> F64x8 {
      guard let array else { return F64x8(repeating: otherwise) }
      return type.load(array, start, count: count, filler: otherwise)
    }
    @inline(__always) func store(_ values: F64x8, _ array: UnsafeMutableRawPointer?) {
      if let array { type.store(values, array, start, count: count) }
    }

    let chosen = LogRatio(policy: load(job.policyChosen, 0), reference: load(job.refChosen, 0))
    let rejected = LogRatio(policy: load(job.policyRejected, 0), reference: load(job.refRejected, 0))
    let beta = load(job.betas, job.beta)
    let weight = load(job.weights, 1)
    let p = load(job.softLabels, job.p)
    let q = job.softLabels == nil ? F64x8(repeating: job.q) : 1 - p

    var z = chosen.rewardDifference(from: rejected, beta: beta)
    if job.margins != nil { z = z - load(job.margins, 0) }
    let (jet, logistic) = bernoulliCrossEntropy(z, p: p, q: q)

    let loss = jet.value * weight
    let factor = beta * (weight * job.scale)
    store(loss, job.losses)
    store(jet.slope * factor, job.gradPolicyChosen)
    store(-(jet.slope * factor), job.gradPolicyRejected)
    if job.chosenRewards != nil { store(chosen.reward(beta: beta), job.chosenRewards) }
    if job.rejectedRewards != nil { store(rejected.reward(beta: beta), job.rejectedRewards) }
    store(logistic.complement, job.gradientWeights)
    sum.add(count == 8 ? loss : loss.firstLanes(count))
    start += 8
  }
  return sum
}
