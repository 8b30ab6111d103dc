import CPlatform
import Elementary
import Preference

/// Any labels, weights and margins, eight pairs at a time.
@inline(never)
func finishMargins(
  _ job: UnsafePointer<PairwiseJob>, _ start: Int, _ count: Int, _ z: F64x16, _ block: UnsafePointer<MarginBlock>
) -> F64x16 {
  #if KERNELS_COMPACT
    var (first, second) = (OutOfLine.logistic(single: z.low), OutOfLine.logistic(single: z.high))
  #else
    let sides = LogisticInSingle.Sides(exponential: block.pointee.exponential)
    let (larger, smaller) = (F64x16(sides.larger), F64x16(sides.smaller))
    let rest = F64x16(block.pointee.logistic.rest)
    let linear = F64x16(block.pointee.margin.size(plus: block.pointee.logistic.rest))
    var first = Logistic(z.low, larger: larger.low, smaller: smaller.low, rest: rest.low, linear: linear.low)
    var second = Logistic(z.high, larger: larger.high, smaller: smaller.high, rest: rest.high, linear: linear.high)
    if !FixedPointMargin.areInDomain(FixedPointMargin.sizes(z)) {
      first = OutOfLine.logistic(single: z.low)
      second = OutOfLine.logistic(single: z.high)
    }
  #endif
  var losses = F64x16(repeating: 0)
  losses.low = finishEight(job, start, count < 8 ? count : 8, &first)
  if count > 8 { losses.high = finishEight(job, start &+ 8, count &- 8, &second) }
  return losses
}

@inline(never)
private func finishEight(
  _ job: UnsafePointer<PairwiseJob>, _ start: Int, _ count: Int, _ point: UnsafePointer<Logistic>
) -> F64x8 {
  let type = ElementType.f32
  let logistic = point.pointee
  @inline(__always) func load(_ array: UnsafeRawPointer?, _ otherwise: Double) -> F64x8 {
    guard let array else { return F64x8(repeating: otherwise) }
    return type.load(array, start, count: count, filler: otherwise)
  }
  @inline(__always) func store(_ values: F64x8, _ array: UnsafeMutableRawPointer?) {
    if let array { type.store(values, array, start, count: count) }
  }
  let zero = F64x8(repeating: 0)
  let p = load(job.pointee.softLabels, job.pointee.p)
  let q = job.pointee.softLabels == nil ? F64x8(repeating: job.pointee.q) : 1 - p
  let jet = bernoulliCrossEntropy(single: logistic, p: p, q: q)

  // A factor of 0 wins over one that overflowed.
  var (loss, factor) = (jet.value, F64x8(repeating: job.pointee.scale))
  if job.pointee.weights != nil {
    let weight = load(job.pointee.weights, 1)
    loss = zero.selected(weight .== 0, else: loss * weight)
    factor = weight * factor
  }
  let beta = load(job.pointee.betas, job.pointee.beta)
  let gradient = zero.selected(jet.slope .== 0, else: jet.slope * (beta * factor).inSingle)
  store(loss, job.pointee.losses)
  store(gradient, job.pointee.gradPolicyChosen)
  store(-gradient, job.pointee.gradPolicyRejected)
  store(logistic.complement, job.pointee.gradientWeights)
  return count < 8 ? loss.firstLanes(count) : loss
}
