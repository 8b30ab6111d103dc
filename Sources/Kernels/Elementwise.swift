import Elementary
import Preference

func elementwise(_ pointer: UnsafePointer<ElementwiseJob>, _ range: Range<Int>) {
  let job = pointer.pointee
  let type = job.type
  var start = range.lowerBound
  while start < range.upperBound {
    let left = range.upperBound - start
    let count = left < 8 ? left : 8
    let x = type.load(job.x, start, count: count, filler: 0)
    let y = type.load(job.y, start, count: count, filler: 0)
    @inline(__always) func store(_ values: F64x8, _ array: UnsafeMutableRawPointer?) {
      if let array { type.store(values, array, start, count: count) }
    }
    switch job.function {
    case .preferenceProbability:
      let (probability, logProbability) = preferenceProbability(chosenReward: x, rejectedReward: y)
      store(probability, job.first)
      store(logProbability, job.second)
    case .klEstimates:
      let estimates = KLEstimates(policy: x, reference: y)
      store(estimates.k1, job.first)
      store(estimates.k2, job.second)
      store(estimates.k3, job.third)
    }
    start += 8
  }
}
