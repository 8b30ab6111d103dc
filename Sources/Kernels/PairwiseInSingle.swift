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
  /// e^-|z|
  var exponential: F32x16
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
      let isPlain = hasPlainMargins(job)
      while start < end {
        if isPlain {
          block.pointee.z.low = plainMargins(job, start)
          block.pointee.z.high = plainMargins(job, start &+ 8)
        } else {
          block.pointee.z = margins(job, start, 16)
        }
        block += 1
        start &+= 16
      }
      let last = block
      block = blocks
      while block < last {
        let margin = ReducedMargin(block.pointee.z)
        block.pointee.margin = margin
        sizes = platform_larger_words(sizes, margin.sizes)
        block += 1
      }
      block = blocks
      while block < last {
        block.pointee.exponential = block.pointee.margin.exponential
        block += 1
      }
      block = blocks
      while block < last {
        block.pointee.logistic = LogisticInSingle(block.pointee.margin, exponential: block.pointee.exponential)
        block += 1
      }
      start = first
      block = blocks
      if let factor, ReducedMargin.areInDomain(sizes) {
        while start < end {
          let losses = plainLosses(block.pointee.z, block.pointee.logistic)
          total.add(losses)
          storePlain(job, start, 16, isWhole: true, losses, block.pointee.logistic.complement, factor)
          block += 1
          start &+= 16
        }
      } else {
        while start < end {
          total.add(finishMargins(job, start, 16, block))
          block += 1
          start &+= 16
        }
      }
    }
    sum = total
  }
#endif

/// One block, of sixteen pairs or fewer. Returns their losses; here and below, those of pairs that are not there are 0.
@inline(never)
private func few(_ job: UnsafePointer<PairwiseJob>, _ start: Int, _ count: Int) -> F64x16 {
  let z = margins(job, start, count)
  let margin = ReducedMargin(z)
  let logistic = LogisticInSingle(margin)
  if ReducedMargin.areInDomain(margin.sizes), let factor = commonFactor(job) {
    let losses = plainLosses(z, logistic)
    storePlain(job, start, count, isWhole: false, losses, logistic.complement, factor)
    return losses.firstLanes(count)
  }
  var block = MarginBlock(z: z, margin: margin, exponential: margin.exponential, logistic: logistic)
  return finishMargins(job, start, count, &block)
}

extension F64x16 {
  @inline(__always) fileprivate func firstLanes(_ count: Int) -> F64x16 {
    F64x16(low: low.firstLanes(count), high: high.firstLanes(count &- 8))
  }
}

extension FixedOrderSum {
  @inline(__always) fileprivate mutating func add(_ terms: F64x16) {
    add(terms.low)
    add(terms.high)
  }
}

@inline(__always)
private func load(_ array: UnsafeRawPointer?, _ start: Int, _ count: Int) -> F64x16 {
  guard let array else { return F64x16(repeating: 0) }
  return F64x16(platform_load_first((array + 4 &* start).assumingMemoryBound(to: Float.self), count))
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
@inline(never)
private func margins(_ job: UnsafePointer<PairwiseJob>, _ start: Int, _ count: Int) -> F64x16 {
  @inline(__always) func at(_ array: UnsafeRawPointer?) -> F64x16 { load(array, start, count) }
  @inline(__always) func put(_ rewards: F64x16, _ array: UnsafeMutableRawPointer?) {
    store(rewards.narrowed, array, start, count, isWhole: count == 16)
  }
  let chosen = at(job.pointee.policyChosen) - at(job.pointee.refChosen)
  let rejected = at(job.pointee.policyRejected) - at(job.pointee.refRejected)
  let beta = job.pointee.betas == nil ? F64x16(repeating: job.pointee.beta) : at(job.pointee.betas)
  // A reward of 0 is positive, as LogRatio's is.
  let zero = F64x16(repeating: 0)
  put(chosen.fma(beta, zero), job.pointee.chosenRewards)
  put(rejected.fma(beta, zero), job.pointee.rejectedRewards)
  let z = (chosen - rejected) * beta
  return job.pointee.margins == nil ? z : z - at(job.pointee.margins)
}

/// Whether `plainMargins` has all that `margins` has.
@inline(__always)
private func hasPlainMargins(_ job: UnsafePointer<PairwiseJob>) -> Bool {
  job.pointee.refChosen != nil && job.pointee.refRejected != nil && job.pointee.betas == nil
    && job.pointee.margins == nil
}

/// `margins` of eight pairs with a reference, of the same beta and without a margin of their own: with nothing to choose
/// between, all fits the registers.
@_transparent
private func plainMargins(_ job: UnsafePointer<PairwiseJob>, _ start: Int) -> F64x8 {
  @inline(__always) func at(_ array: UnsafeRawPointer) -> F64x8 { ElementType.f32.load8(array, start) }
  let chosen = at(job.pointee.policyChosen) - at(job.pointee.refChosen.unsafelyUnwrapped)
  let rejected = at(job.pointee.policyRejected) - at(job.pointee.refRejected.unsafelyUnwrapped)
  let beta = F64x8(repeating: job.pointee.beta)
  @inline(__always) func put(_ ratios: F64x8, _ rewards: UnsafeMutableRawPointer?) {
    if let rewards { ElementType.f32.store8(ratios.fma(beta, F64x8(repeating: 0)), rewards, start) }
  }
  put(chosen, job.pointee.chosenRewards)
  put(rejected, job.pointee.rejectedRewards)
  return (chosen - rejected) * beta
}

/// What `finishMargins` has for p = 1 and q = 0 where no pair has a parameter of its own.
@inline(__always)
private func storePlain(
  _ job: UnsafePointer<PairwiseJob>, _ start: Int, _ count: Int, isWhole: Bool, _ losses: F64x16,
  _ complement: F32x16, _ factor: Float
) {
  @inline(__always) func put(_ values: @autoclosure () -> F32x16, _ array: UnsafeMutableRawPointer?) {
    store(values(), array, start, count, isWhole: isWhole)
  }
  let gradient = complement * F32x16(repeating: -factor)
  put(losses.narrowed, job.pointee.losses)
  put(gradient, job.pointee.gradPolicyChosen)
  put(-gradient, job.pointee.gradPolicyRejected)
  put(complement, job.pointee.gradientWeights)
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
    @inline(__always) func at(_ array: UnsafeRawPointer?) -> F64x16 { load(array, 0, count) }
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
        sum = total(sumOf(all.firstLanes(count), count)).high[0]
      }
      loss.storeBytes(of: sum * scale, as: Double.self)
    }
    return true
  #endif
}

/// -log sigma(z)
@inline(__always)
private func plainLosses(_ z: F64x16, _ logistic: LogisticInSingle) -> F64x16 {
  // The smaller of z and +0 would take two instructions.
  let zero = F64x8(repeating: -0.0)
  let rest = F64x16(logistic.rest)
  return F64x16(low: rest.low - platform_smaller(z.low, zero), high: rest.high - platform_smaller(z.high, zero))
}
