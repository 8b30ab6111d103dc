import CPlatform
import Elementary
import Preference

/// Losses and gradients of pairs in single precision, sixteen at a time. Returns the sum of their losses.
@inline(__always)
func pairwiseInSingle(_ job: UnsafePointer<PairwiseJob>, _ range: Range<Int>) -> FixedOrderSum {
  let count = range.upperBound &- range.lowerBound
  return count < 16 ? sumOf(few(job, range.lowerBound, count), count) : many(job, range)
}

/// The sum of sixteen losses, or fewer. Adding to 0 changes nothing.
@inline(__always)
private func sumOf(_ losses: F64x16, _ count: Int) -> FixedOrderSum {
  var sum = FixedOrderSum()
  sum.lanes.high = losses.low
  if count > 8 { sum.add(losses.high) }
  return sum
}

/// What follows from z alone, for most calls: -log sigma(z) of each pair, and one factor for all gradients. Nil for others.
@inline(__always)
private func commonFactor(_ job: UnsafePointer<PairwiseJob>) -> Float? {
  if job.pointee.betas != nil || job.pointee.weights != nil || job.pointee.softLabels != nil { return nil }
  let factor = Float(job.pointee.beta * job.pointee.scale)
  return job.pointee.q == 0 && factor.isNormal ? factor : nil
}

@inline(never)
private func many(_ job: UnsafePointer<PairwiseJob>, _ range: Range<Int>) -> FixedOrderSum {
  let factor = commonFactor(job)
  var sum = FixedOrderSum()
  var start = range.lowerBound
  while start &+ 16 <= range.upperBound {
    let end = range.upperBound &- start < 128 ? start &+ (range.upperBound &- start) & ~15 : start &+ 128
    pass(job, start, end, factor, &sum)
    start = end
  }
  if start < range.upperBound { sum.add(few(job, start, range.upperBound &- start)) }
  return sum
}

/// Sixteen pairs between the passes.
struct MarginBlock {
  var z: F64x16
  var margin: ReducedMargin
  var logistic: LogisticInSingle
}

#if KERNELS_COMPACT
  /// At most eight blocks.
  private func pass(
    _ job: UnsafePointer<PairwiseJob>, _ first: Int, _ end: Int, _ factor: Float?, _ sum: inout FixedOrderSum
  ) {
    var start = first
    while start < end {
      sum.add(few(job, start, 16))
      start &+= 16
    }
  }
#else
  /// At most eight blocks, in passes over them: what happens to a pair is one long chain of operations, and only short
  /// passes let the processor work on the chains of many pairs at once.
  @inline(__always)
  private func pass(
    _ job: UnsafePointer<PairwiseJob>, _ first: Int, _ end: Int, _ factor: Float?, _ sum: inout FixedOrderSum
  ) {
    var room = platform_unset_blocks()
    var total = sum
    withUnsafeMutablePointer(to: &room) { room in
      let blocks = UnsafeMutableRawPointer(room).alignedUp(toMultipleOf: 64).assumingMemoryBound(to: MarginBlock.self)
      var sizes = SIMD16<UInt32>(repeating: 0)
      var start = first
      var block = blocks
      while start < end {
        let z = margins(job, start, 16, isWhole: true)
        let margin = ReducedMargin(z)
        block.pointee.z = z
        block.pointee.margin = margin
        sizes = platform_larger_words(sizes, margin.sizes)
        block += 1
        start &+= 16
      }
      let last = block
      block = blocks
      while block < last {
        block.pointee.logistic = LogisticInSingle(block.pointee.margin)
        block += 1
      }
      let simpleFactor = ReducedMargin.areInDomain(sizes) ? factor : nil
      start = first
      block = blocks
      while start < end {
        if let factor = simpleFactor {
          total.add(finishPlain(job, start, 16, isWhole: true, block.pointee.z, block.pointee.logistic, factor))
        } else {
          total.add(finishMargins(job, start, 16, block))
        }
        block += 1
        start &+= 16
      }
    }
    sum = total
  }
#endif

/// One block, of sixteen pairs or fewer. Returns their losses; here and below, those of pairs that are not there are 0.
@inline(never)
private func few(_ job: UnsafePointer<PairwiseJob>, _ start: Int, _ count: Int) -> F64x16 {
  let z = margins(job, start, count, isWhole: false)
  let margin = ReducedMargin(z)
  let logistic = LogisticInSingle(margin)
  if ReducedMargin.areInDomain(margin.sizes), let factor = commonFactor(job) {
    return finishPlain(job, start, count, isWhole: false, z, logistic, factor)
  }
  var block = MarginBlock(z: z, margin: margin, logistic: logistic)
  return finishMargins(job, start, count, &block)
}

extension FixedOrderSum {
  @inline(__always) fileprivate mutating func add(_ terms: F64x16) {
    add(terms.low)
    add(terms.high)
  }
}

@inline(__always)
private func load(_ array: UnsafeRawPointer?, _ start: Int, _ count: Int, isWhole: Bool) -> F64x16 {
  guard let array else { return F64x16(repeating: 0) }
  let place = array + 4 &* start
  if isWhole { return F64x16(low: ElementType.f32.load8(place, 0), high: ElementType.f32.load8(place, 8)) }
  return F64x16(platform_load_first(place.assumingMemoryBound(to: Float.self), count))
}

@inline(__always)
private func store(
  _ values: @autoclosure () -> F32x16, _ array: UnsafeMutableRawPointer?, _ start: Int, _ count: Int, isWhole: Bool
) {
  guard let array else { return }
  let place = array + 4 &* start
  if isWhole {
    place.storeBytes(of: values(), as: F32x16.self)
  } else {
    platform_store_first(values(), place.assumingMemoryBound(to: Float.self), count)
  }
}

/// z of sixteen pairs, and their rewards. In doubles: exact differences of singles, but for their last bit.
@inline(__always)
private func margins(_ job: UnsafePointer<PairwiseJob>, _ start: Int, _ count: Int, isWhole: Bool) -> F64x16 {
  @inline(__always) func at(_ array: UnsafeRawPointer?) -> F64x16 { load(array, start, count, isWhole: isWhole) }
  let chosen = at(job.pointee.policyChosen) - at(job.pointee.refChosen)
  let rejected = at(job.pointee.policyRejected) - at(job.pointee.refRejected)
  let beta = job.pointee.betas == nil ? F64x16(repeating: job.pointee.beta) : at(job.pointee.betas)
  // A reward of 0 is positive, as LogRatio's is.
  let zero = F64x16(repeating: 0)
  store(chosen.fma(beta, zero).narrowed, job.pointee.chosenRewards, start, count, isWhole: isWhole)
  store(rejected.fma(beta, zero).narrowed, job.pointee.rejectedRewards, start, count, isWhole: isWhole)
  let z = (chosen - rejected) * beta
  return job.pointee.margins == nil ? z : z - at(job.pointee.margins)
}

/// What `finishMargins` has for p = 1 and q = 0 where no pair has a parameter of its own.
@inline(__always)
private func finishPlain(
  _ job: UnsafePointer<PairwiseJob>, _ start: Int, _ count: Int, isWhole: Bool, _ z: F64x16,
  _ logistic: LogisticInSingle, _ factor: Float
) -> F64x16 {
  @inline(__always) func put(_ values: @autoclosure () -> F32x16, _ array: UnsafeMutableRawPointer?) {
    store(values(), array, start, count, isWhole: isWhole)
  }
  let losses = plainLosses(z, logistic)
  let complement = logistic.complement
  let gradient = complement * F32x16(repeating: -factor)
  put(losses.narrowed, job.pointee.losses)
  put(gradient, job.pointee.gradPolicyChosen)
  put(-gradient, job.pointee.gradPolicyRejected)
  put(complement, job.pointee.gradientWeights)
  return isWhole ? losses : F64x16(low: losses.low.firstLanes(count), high: losses.high.firstLanes(count &- 8))
}

/// Up to sixteen pairs of plain DPO, as their caller's structs name them: no job is made for so few. Where a margin is
/// outside the domain, or no number, nothing is done. All that stands in the structs is read before anything is written.
func fewPairs(
  _ inputs: UnsafePointer<UnsafeRawPointer?>, _ results: UnsafePointer<UnsafeMutableRawPointer?>, _ count: Int,
  _ beta: Double, _ scale: Double
) -> Bool {
  #if KERNELS_COMPACT
    return false
  #else
    let factor = Float(beta * scale)
    @inline(__always) func at(_ array: UnsafeRawPointer?) -> F64x16 { load(array, 0, count, isWhole: false) }
    let chosen = at(inputs[0]) - at(inputs[2])
    let rejected = at(inputs[1]) - at(inputs[3])
    let beta = F64x16(repeating: beta)
    let z = (chosen - rejected) * beta
    let margin = ReducedMargin(z)
    guard factor.isNormal && ReducedMargin.areInDomain(margin.sizes) else { return false }
    let (loss, losses, chosenRewards, rejectedRewards) = (results[0], results[1], results[4], results[5])
    let (gradChosen, gradRejected, gradientWeights) = (results[2], results[3], results[6])
    let logistic = LogisticInSingle(margin)
    @inline(__always) func put(_ values: @autoclosure () -> F32x16, _ array: UnsafeMutableRawPointer?) {
      store(values(), array, 0, count, isWhole: false)
    }
    let zero = F64x16(repeating: 0)
    put(chosen.fma(beta, zero).narrowed, chosenRewards)
    put(rejected.fma(beta, zero).narrowed, rejectedRewards)
    let all = plainLosses(z, logistic)
    let gradient = logistic.complement * F32x16(repeating: -factor)
    put(gradient, gradChosen)
    put(-gradient, gradRejected)
    put(all.narrowed, losses)
    put(logistic.complement, gradientWeights)
    if let loss {
      var sum = all.low[0]
      if count > 1 {
        sum = total(sumOf(F64x16(low: all.low.firstLanes(count), high: all.high.firstLanes(count &- 8)), count)).high[0]
      }
      loss.storeBytes(of: sum * scale, as: Double.self)
    }
    return true
  #endif
}

/// -log sigma(z)
@inline(__always)
private func plainLosses(_ z: F64x16, _ logistic: LogisticInSingle) -> F64x16 {
  let zero = F64x8(repeating: 0)
  let rest = F64x16(logistic.rest)
  return F64x16(low: rest.low - platform_smaller(z.low, zero), high: rest.high - platform_smaller(z.high, zero))
}
