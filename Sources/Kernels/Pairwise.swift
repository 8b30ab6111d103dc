import CPlatform
import Elementary
import Preference

/// Losses and gradients of pairs. Returns the sum of their losses.
func pairwise(_ job: UnsafePointer<PairwiseJob>, _ range: Range<Int>) -> FixedOrderSum {
  job.pointee.type == .f32 ? pairwiseInSingle(job, range) : pairwiseInDouble(job, range)
}

/// Eight pairs at a time.
@inline(never)
private func pairwiseInDouble(_ job: UnsafePointer<PairwiseJob>, _ range: Range<Int>) -> FixedOrderSum {
  var sum = FixedOrderSum()
  let whole = range.lowerBound + (range.upperBound - range.lowerBound) & ~7
  if range.lowerBound < whole { pairwiseBlocks(job, range.lowerBound, whole, &sum) }
  if whole < range.upperBound { pairwiseRest(job, whole, range.upperBound - whole, &sum) }
  return sum
}

/// Whole blocks, in passes over at most eight of them: what happens to a pair is one long chain of operations, and only
/// short passes let the processor work on the chains of many pairs at once. Margins carry about 100 bits.
@inline(never)
private func pairwiseBlocks(_ job: UnsafePointer<PairwiseJob>, _ first: Int, _ end: Int, _ sum: inout FixedOrderSum) {
  let hasSoftLabels = job.pointee.softLabels != nil
  let scale = F64x8(repeating: job.pointee.scale)
  let zero = F64x8(repeating: 0)
  var room = platform_unset_blocks()
  let sofar = sum
  sum = withUnsafeMutablePointer(to: &room) { room in
    let room = UnsafeMutableRawPointer(room).alignedUp(toMultipleOf: 64).assumingMemoryBound(to: Margins.self)
    var losses = sofar
    var start = first
    @inline(__always) func load(_ array: UnsafeRawPointer?, _ otherwise: Double) -> F64x8 {
      array == nil ? F64x8(repeating: otherwise) : ElementType.f64.load8(array.unsafelyUnwrapped, start)
    }
    @inline(__always) func store(_ values: F64x8, _ array: UnsafeMutableRawPointer?) {
      if array != nil { ElementType.f64.store8(values, array.unsafelyUnwrapped, start) }
    }
    var begin = first
    while begin < end {
      let stop = end &- begin < 64 ? end : begin &+ 64
      start = begin
      var block = room
      while start < stop {
        let (policyChosen, refChosen) = (load(job.pointee.policyChosen, 0), load(job.pointee.refChosen, 0))
        let (policyRejected, refRejected) = (load(job.pointee.policyRejected, 0), load(job.pointee.refRejected, 0))
        let beta = load(job.pointee.betas, job.pointee.beta)
        let chosen = LogRatio(policy: policyChosen, reference: refChosen)
        let rejected = LogRatio(policy: policyRejected, reference: refRejected)
        store(chosen.reward(beta: beta), job.pointee.chosenRewards)
        store(rejected.reward(beta: beta), job.pointee.rejectedRewards)
        block.pointee.z = chosen.rewardDifference(from: rejected, beta: beta)
        if job.pointee.margins != nil { block.pointee.z = block.pointee.z - load(job.pointee.margins, 0) }
        block += 1
        start &+= 8
      }

      let last = block
      block = room
      while block < last {
        block.pointee.exponential = Logistic.exponential(block.pointee.z)
        block += 1
      }
      block = room
      while block < last {
        block.pointee.rest = log1pOfUnit(block.pointee.exponential.rounded)
        block += 1
      }

      start = begin
      block = room
      while start < stop {
        let p = load(job.pointee.softLabels, job.pointee.p)
        let q = hasSoftLabels ? 1 - p : F64x8(repeating: job.pointee.q)
        let z = block.pointee.z
        let logistic = Logistic(z, exponential: block.pointee.exponential, rest: block.pointee.rest)
        let jet = bernoulliCrossEntropy(z, logistic, p: p, q: q)

        // A factor of 0 wins over one that overflowed.
        var (loss, factor) = (jet.value, scale)
        if job.pointee.weights != nil {
          let weight = load(job.pointee.weights, 1)
          loss = zero.selected(weight .== 0, else: loss * weight)
          factor = weight * scale
        }
        let beta = load(job.pointee.betas, job.pointee.beta)
        let gradient = zero.selected(jet.slope .== 0, else: jet.slope * (beta * factor))
        store(loss, job.pointee.losses)
        store(gradient, job.pointee.gradPolicyChosen)
        store(-gradient, job.pointee.gradPolicyRejected)
        store(logistic.complement, job.pointee.gradientWeights)
        losses.add(loss)
        block += 1
        start &+= 8
      }
      begin = stop
    }
    return losses
  }
}

/// Eight pairs between the passes: z, e^-|z| and log(1 + e^-|z|).
private struct Margins {
  var z: DoubleDouble
  var exponential: DoubleDouble
  var rest: F64x8
}

/// The last pairs, fewer than eight: moved to where there is room for eight, and back. What pads them weighs nothing.
@inline(never)
private func pairwiseRest(_ job: UnsafePointer<PairwiseJob>, _ start: Int, _ count: Int, _ sum: inout FixedOrderSum) {
  let byte = start &* 8
  var room = platform_unset_blocks()
  var copy = job.pointee
  withUnsafeMutablePointer(to: &room) { room in
    let base = UnsafeMutableRawPointer(room).alignedUp(toMultipleOf: 64)
    func padded(_ array: UnsafeRawPointer?, _ place: Int) -> UnsafeRawPointer? {
      pad(array, byte, count, base + 64 &* place)
    }
    copy.policyChosen = padded(copy.policyChosen, 0).unsafelyUnwrapped
    copy.policyRejected = padded(copy.policyRejected, 1).unsafelyUnwrapped
    copy.refChosen = padded(copy.refChosen, 2)
    copy.refRejected = padded(copy.refRejected, 3)
    copy.betas = padded(copy.betas, 4)
    copy.margins = padded(copy.margins, 5)
    copy.softLabels = padded(copy.softLabels, 6)
    let weights = base + 64 &* 7
    let given = padded(copy.weights, 7).map { ElementType.f64.load8($0, 0) } ?? F64x8(repeating: 1)
    ElementType.f64.store8(given.firstLanes(count), weights, 0)
    copy.weights = UnsafeRawPointer(weights)

    func target(_ array: UnsafeMutableRawPointer?, _ place: Int) -> UnsafeMutableRawPointer? {
      array == nil ? nil : base + 64 &* place
    }
    copy.losses = target(copy.losses, 8)
    copy.gradPolicyChosen = target(copy.gradPolicyChosen, 9)
    copy.gradPolicyRejected = target(copy.gradPolicyRejected, 10)
    copy.chosenRewards = target(copy.chosenRewards, 11)
    copy.rejectedRewards = target(copy.rejectedRewards, 12)
    copy.gradientWeights = target(copy.gradientWeights, 13)
    pairwiseBlocks(&copy, 0, 8, &sum)

    let bytes = count &* 8
    unpad(copy.losses, job.pointee.losses, byte, bytes)
    unpad(copy.gradPolicyChosen, job.pointee.gradPolicyChosen, byte, bytes)
    unpad(copy.gradPolicyRejected, job.pointee.gradPolicyRejected, byte, bytes)
    unpad(copy.chosenRewards, job.pointee.chosenRewards, byte, bytes)
    unpad(copy.rejectedRewards, job.pointee.rejectedRewards, byte, bytes)
    unpad(copy.gradientWeights, job.pointee.gradientWeights, byte, bytes)
  }
}

/// `count` elements of an array, if there is one, and 1 in the other lanes: a legal value of every array.
@inline(never)
private func pad(
  _ array: UnsafeRawPointer?, _ byte: Int, _ count: Int, _ place: UnsafeMutableRawPointer
) -> UnsafeRawPointer? {
  guard let array else { return nil }
  ElementType.f64.store8(ElementType.f64.loadPart(array + byte, 0, count, 1), place, 0)
  return UnsafeRawPointer(place)
}

/// The first elements of a vector, bit for bit, to a result that is wanted.
@inline(never)
private func unpad(
  _ place: UnsafeMutableRawPointer?, _ array: UnsafeMutableRawPointer?, _ byte: Int, _ bytes: Int
) {
  guard let place, let array else { return }
  var offset = 0
  while offset < bytes {
    (array + byte + offset).storeBytes(of: place.load(fromByteOffset: offset, as: UInt64.self), as: UInt64.self)
    offset &+= 8
  }
}
