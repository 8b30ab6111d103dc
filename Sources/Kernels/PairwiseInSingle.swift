import CPlatform
import Elementary
import Preference

/// Losses and gradients of pairs in single precision, sixteen at a time. Returns the sum of their losses.
@inline(__always)
func pairwiseInSingle(_ job: UnsafePointer<PairwiseJob>, _ range: Range<Int>) -> FixedOrderSum {
  let count = range.upperBound &- range.lowerBound
  return count < 16 ? sum(few(job, range.lowerBound, count), count) : many(job, range)
}

/// The sum of sixteen losses, or fewer. Adding to 0 changes nothing.
@inline(__always)
private func sum(_ losses: F64x16, _ count: Int) -> FixedOrderSum {
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
  var margin: FixedPointMargin
  /// e^-|z|
  var exponential: F32x16
  var logistic: LogisticInSingle

  /// -log sigma(z)
  @inline(__always) var losses: F32x16 { margin.shortfall(plus: logistic.rest) }
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
      @inline(__always) func keepMargins(_ margins: (Int) -> F64x16) {
        while start < end {
          let z = margins(start)
          block.pointee.margin = FixedPointMargin(z)
          sizes = platform_larger_words(sizes, FixedPointMargin.sizes(z))
          block += 1
          start &+= 16
        }
      }
      if let plain = PlainMargins(job) {
        if plain.chosenRewards == nil {
          keepMargins { plain.sixteen($0, hasRewards: false) }
        } else {
          keepMargins { plain.sixteen($0, hasRewards: true) }
        }
      } else {
        keepMargins { margins(job, $0, 16) }
      }
      let last = block
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
      if let factor, FixedPointMargin.areInDomain(sizes) {
        var sums = F64x8(repeating: 0)
        var least = SIMD16<UInt32>(repeating: .max)
        while start < end {
          let losses = block.pointee.losses
          sums = sums + platform_widen_low(losses) + platform_widen_high(losses)
          least = platform_smaller_words(least, unsafeBitCast(losses, to: SIMD16<UInt32>.self))
          storePlain(job, start, 16, isWhole: true, losses, block.pointee.logistic.complement, factor)
          block += 1
          start &+= 16
        }
        if platform_smallest_word(least) >= leastOfExactSum {
          total.add(sums)
        } else {
          addOneByOne(blocks, last, &total)
        }
      } else {
        while start < end {
          let z = margins(job, start, 16)
          total.add(finishMargins(job, start, 16, z, block) + shown(z, job))
          block += 1
          start &+= 16
        }
      }
    }
    sum = total
  }

  /// The bits of 2^-19. From there on losses are multiples of 2^-42, and below 81 in the domain: a double holds every
  /// digit of the sixteen that a pass adds up in each lane.
  private let leastOfExactSum: UInt32 = 0x3600_0000

  @inline(never)
  private func addOneByOne(
    _ first: UnsafePointer<MarginBlock>, _ end: UnsafePointer<MarginBlock>, _ sum: inout FixedOrderSum
  ) {
    var block = first
    while block < end {
      sum.add(F64x16(block.pointee.losses))
      block += 1
    }
  }
#endif

/// One block, of sixteen pairs or fewer. Returns their losses; here and below, those of pairs that are not there are 0.
@inline(never)
private func few(_ job: UnsafePointer<PairwiseJob>, _ start: Int, _ count: Int) -> F64x16 {
  let z = margins(job, start, count)
  let margin = FixedPointMargin(z)
  var block = MarginBlock(margin: margin, exponential: margin.exponential, logistic: LogisticInSingle(margin))
  if FixedPointMargin.areInDomain(FixedPointMargin.sizes(z)), let factor = commonFactor(job) {
    let losses = block.losses
    storePlain(job, start, count, isWhole: false, losses, block.logistic.complement, factor)
    return F64x16(losses).firstLanes(count)
  }
  return finishMargins(job, start, count, z, &block) + shown(z, job)
}

/// What margins add to the sum where that shows whether all are finite: 0, or NaN.
@inline(__always)
private func shown(_ z: F64x16, _ job: UnsafePointer<PairwiseJob>) -> F64x16 {
  job.pointee.sumShowsNonfinite ? z - z : F64x16(repeating: 0)
}

extension F64x16 {
  @inline(__always) func firstLanes(_ count: Int) -> F64x16 {
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
func load(_ array: UnsafeRawPointer?, _ start: Int, _ count: Int) -> F64x16 {
  guard let array else { return F64x16(repeating: 0) }
  return F64x16(platform_load_first((array + 4 &* start).assumingMemoryBound(to: Float.self), count))
}

@inline(__always)
func store(
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

/// `margins` of pairs with a reference, of the same beta and without margins of their own: with nothing to choose between,
/// all fits the registers.
private struct PlainMargins {
  let policyChosen, policyRejected, refChosen, refRejected: UnsafeRawPointer
  let beta: Double
  /// Both, or none.
  let chosenRewards, rejectedRewards: UnsafeMutableRawPointer?

  /// Nil for other pairs.
  @inline(__always) init?(_ job: UnsafePointer<PairwiseJob>) {
    guard let refChosen = job.pointee.refChosen, let refRejected = job.pointee.refRejected,
      job.pointee.betas == nil && job.pointee.margins == nil,
      (job.pointee.chosenRewards == nil) == (job.pointee.rejectedRewards == nil)
    else { return nil }
    (policyChosen, policyRejected) = (job.pointee.policyChosen, job.pointee.policyRejected)
    (self.refChosen, self.refRejected) = (refChosen, refRejected)
    beta = job.pointee.beta
    (chosenRewards, rejectedRewards) = (job.pointee.chosenRewards, job.pointee.rejectedRewards)
  }

  /// z of sixteen pairs, and their rewards.
  @inline(__always) func sixteen(_ start: Int, hasRewards: Bool) -> F64x16 {
    F64x16(low: eight(start, hasRewards: hasRewards), high: eight(start &+ 8, hasRewards: hasRewards))
  }

  @_transparent private func eight(_ start: Int, hasRewards: Bool) -> F64x8 {
    @inline(__always) func at(_ array: UnsafeRawPointer) -> F64x8 { ElementType.f32.load8(array, start) }
    let chosen = at(policyChosen) - at(refChosen)
    let rejected = at(policyRejected) - at(refRejected)
    let beta = F64x8(repeating: beta)
    if hasRewards {
      let zero = F64x8(repeating: 0)
      ElementType.f32.store8(chosen.fma(beta, zero), chosenRewards.unsafelyUnwrapped, start)
      ElementType.f32.store8(rejected.fma(beta, zero), rejectedRewards.unsafelyUnwrapped, start)
    }
    return (chosen - rejected) * beta
  }
}

/// What `finishMargins` has for p = 1 and q = 0 where no pair has a parameter of its own.
@inline(__always)
private func storePlain(
  _ job: UnsafePointer<PairwiseJob>, _ start: Int, _ count: Int, isWhole: Bool, _ losses: F32x16,
  _ complement: F32x16, _ factor: Float
) {
  @inline(__always) func put(_ values: @autoclosure () -> F32x16, _ array: UnsafeMutableRawPointer?) {
    store(values(), array, start, count, isWhole: isWhole)
  }
  let gradient = complement * F32x16(repeating: -factor)
  put(losses, job.pointee.losses)
  put(gradient, job.pointee.gradPolicyChosen)
  put(-gradient, job.pointee.gradPolicyRejected)
  put(complement, job.pointee.gradientWeights)
}
