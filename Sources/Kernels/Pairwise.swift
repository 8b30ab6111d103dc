import Elementary
import Preference

/// Losses and gradients of pairs, eight at a time. Returns the sum of their losses.
func pairwise(_ job: UnsafePointer<PairwiseJob>, _ range: Range<Int>) -> FixedOrderSum {
  var sum = FixedOrderSum()
  let whole = range.lowerBound + (range.upperBound - range.lowerBound) & ~7
  pairwiseBlocks(job, range.lowerBound, whole, &sum)
  if whole < range.upperBound { pairwiseRest(job, whole, range.upperBound - whole, &sum) }
  return sum
}

/// Whole blocks: one loop for each type. They call nothing: around a call, all that is in registers would go through
/// memory.
private func pairwiseBlocks(_ job: UnsafePointer<PairwiseJob>, _ first: Int, _ end: Int, _ sum: inout FixedOrderSum) {
  if job.pointee.type == .f32 {
    pairwiseSingles(job, first, end, &sum)
  } else {
    pairwiseDoubles(job, first, end, &sum)
  }
}

@inline(never)
private func pairwiseSingles(_ job: UnsafePointer<PairwiseJob>, _ first: Int, _ end: Int, _ sum: inout FixedOrderSum) {
  pairwiseLoop(job, first, end, &sum, isSingle: true)
}

@inline(never)
private func pairwiseDoubles(_ job: UnsafePointer<PairwiseJob>, _ first: Int, _ end: Int, _ sum: inout FixedOrderSum) {
  pairwiseLoop(job, first, end, &sum, isSingle: false)
}

/// In passes over at most four blocks at a time: what happens to a pair is one long chain of operations, and only short
/// passes let the processor work on the chains of many pairs at once. Margins of doubles carry about 100 bits, those of
/// singles are doubles.
@inline(__always)
private func pairwiseLoop(
  _ job: UnsafePointer<PairwiseJob>, _ first: Int, _ end: Int, _ sum: inout FixedOrderSum, isSingle: Bool
) {
  let hasSoftLabels = job.pointee.softLabels != nil
  let scale = F64x8(repeating: job.pointee.scale)
  let type: ElementType = isSingle ? .f32 : .f64
  let zero = F64x8(repeating: 0)
  var room = InlineArray<4, Margins>(repeating: Margins(z: DoubleDouble(zero), exponential: zero, rest: zero))
  let sofar = sum
  sum = withUnsafeMutablePointer(to: &room) { room in
    let room = UnsafeMutableRawPointer(room).assumingMemoryBound(to: Margins.self)
    var losses = sofar
    var start = first
    @inline(__always) func load(_ array: UnsafeRawPointer?, _ otherwise: Double) -> F64x8 {
      array == nil ? F64x8(repeating: otherwise) : type.load8(array.unsafelyUnwrapped, start)
    }
    @inline(__always) func store(_ values: F64x8, _ array: UnsafeMutableRawPointer?) {
      if array != nil { type.store8(values, array.unsafelyUnwrapped, start) }
    }
    var begin = first
    while begin < end {
      let stop = end &- begin < 32 ? end : begin &+ 32
      start = begin
      var block = room
      while start < stop {
        let (policyChosen, refChosen) = (load(job.pointee.policyChosen, 0), load(job.pointee.refChosen, 0))
        let (policyRejected, refRejected) = (load(job.pointee.policyRejected, 0), load(job.pointee.refRejected, 0))
        let beta = load(job.pointee.betas, job.pointee.beta)
        if isSingle {
          // As LogRatio has it, to the sign of a zero.
          let (chosen, rejected) = (policyChosen + -refChosen, policyRejected + -refRejected)
          store(chosen * beta, job.pointee.chosenRewards)
          store(rejected * beta, job.pointee.rejectedRewards)
          block.pointee.z.high = (chosen - rejected) * beta
          if job.pointee.margins != nil { block.pointee.z.high -= load(job.pointee.margins, 0) }
        } else {
          let chosen = LogRatio(policy: policyChosen, reference: refChosen)
          let rejected = LogRatio(policy: policyRejected, reference: refRejected)
          store(chosen.reward(beta: beta), job.pointee.chosenRewards)
          store(rejected.reward(beta: beta), job.pointee.rejectedRewards)
          block.pointee.z = chosen.rewardDifference(from: rejected, beta: beta)
          if job.pointee.margins != nil { block.pointee.z = block.pointee.z - load(job.pointee.margins, 0) }
        }
        block += 1
        start &+= 8
      }

      let last = block
      block = room
      while block < last {
        let z = block.pointee.z
        block.pointee.exponential = isSingle ? expOfMargin(-z.high.magnitude) : Logistic.exponential(z)
        block += 1
      }
      block = room
      while block < last {
        block.pointee.rest = log1pOfUnit(block.pointee.exponential)
        block += 1
      }

      start = begin
      block = room
      while start < stop {
        let (exponential, rest) = (block.pointee.exponential, block.pointee.rest)
        let p = load(job.pointee.softLabels, job.pointee.p)
        let q = hasSoftLabels ? 1 - p : F64x8(repeating: job.pointee.q)
        let logistic: Logistic
        let jet: Jet
        if isSingle {
          let z = block.pointee.z.high
          logistic = Logistic(single: z, exponential: exponential, rest: rest)
          jet = bernoulliCrossEntropy(single: z, logistic, p: p, q: q)
        } else {
          let z = block.pointee.z
          logistic = Logistic(z, exponential: exponential, rest: rest)
          jet = bernoulliCrossEntropy(z, logistic, p: p, q: q)
        }

        let beta = load(job.pointee.betas, job.pointee.beta)
        let weight = load(job.pointee.weights, 1)
        // A factor of 0 wins over one that overflowed.
        let loss = zero.selected(weight .== 0, else: jet.value * weight)
        let gradient = zero.selected(jet.slope .== 0, else: jet.slope * (beta * (weight * scale)))
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
  var exponential: F64x8
  var rest: F64x8
}

/// The last pairs, fewer than eight: moved to where there is room for eight, and back. What pads them weighs nothing.
@inline(never)
private func pairwiseRest(_ job: UnsafePointer<PairwiseJob>, _ start: Int, _ count: Int, _ sum: inout FixedOrderSum) {
  let type = job.pointee.type
  let one = F64x8(repeating: 1)
  var room = InlineArray<14, F64x8>(repeating: one)
  var copy = job.pointee
  withUnsafeMutablePointer(to: &room) { room in
    let base = UnsafeMutableRawPointer(room)
    var next = 0
    func place() -> UnsafeMutableRawPointer {
      next &+= 1
      return base + 64 &* (next &- 1)
    }
    func padded(_ array: UnsafeRawPointer) -> UnsafeRawPointer {
      let target = place()
      // Numbers for lanes that don't count: 1 is a legal value of every array.
      ElementType.store8(one, target, single: type == .f32)
      move(array + start &* type.stride, target, count, type)
      return UnsafeRawPointer(target)
    }
    copy.policyChosen = padded(copy.policyChosen)
    copy.policyRejected = padded(copy.policyRejected)
    copy.refChosen = copy.refChosen.map(padded)
    copy.refRejected = copy.refRejected.map(padded)
    copy.betas = copy.betas.map(padded)
    copy.margins = copy.margins.map(padded)
    copy.softLabels = copy.softLabels.map(padded)
    let weights = place()
    ElementType.store8(one.firstLanes(count), weights, single: type == .f32)
    if let given = copy.weights { move(given + start &* type.stride, weights, count, type) }
    copy.weights = UnsafeRawPointer(weights)

    func target(_ array: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? { array == nil ? nil : place() }
    copy.losses = target(copy.losses)
    copy.gradPolicyChosen = target(copy.gradPolicyChosen)
    copy.gradPolicyRejected = target(copy.gradPolicyRejected)
    copy.chosenRewards = target(copy.chosenRewards)
    copy.rejectedRewards = target(copy.rejectedRewards)
    copy.gradientWeights = target(copy.gradientWeights)
    pairwiseBlocks(&copy, 0, 8, &sum)

    func back(_ from: UnsafeMutableRawPointer?, _ to: UnsafeMutableRawPointer?) {
      if let from, let to { move(UnsafeRawPointer(from), to + start &* type.stride, count, type) }
    }
    back(copy.losses, job.pointee.losses)
    back(copy.gradPolicyChosen, job.pointee.gradPolicyChosen)
    back(copy.gradPolicyRejected, job.pointee.gradPolicyRejected)
    back(copy.chosenRewards, job.pointee.chosenRewards)
    back(copy.rejectedRewards, job.pointee.rejectedRewards)
    back(copy.gradientWeights, job.pointee.gradientWeights)
  }
}

/// `count` elements, bit for bit.
@inline(never)
private func move(_ from: UnsafeRawPointer, _ to: UnsafeMutableRawPointer, _ count: Int, _ type: ElementType) {
  var index = 0
  while index < count {
    if type == .f32 {
      to.storeBytes(
        of: from.load(fromByteOffset: 4 &* index, as: UInt32.self), toByteOffset: 4 &* index, as: UInt32.self)
    } else {
      to.storeBytes(
        of: from.load(fromByteOffset: 8 &* index, as: UInt64.self), toByteOffset: 8 &* index, as: UInt64.self)
    }
    index &+= 1
  }
}

extension ElementType {
  @inline(__always) fileprivate static func store8(_ values: F64x8, _ array: UnsafeMutableRawPointer, single: Bool) {
    if single { ElementType.f32.store8(values, array, 0) } else { ElementType.f64.store8(values, array, 0) }
  }
}
