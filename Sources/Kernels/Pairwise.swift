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

/// The loop proper. It calls nothing: around a call, all that is in registers would go through memory.
@inline(never)
private func pairwiseBlocks(_ job: UnsafePointer<PairwiseJob>, _ first: Int, _ end: Int, _ sum: inout FixedOrderSum) {
  let isSingle = job.pointee.type == .f32
  let hasSoftLabels = job.pointee.softLabels != nil
  let scale = F64x8(repeating: job.pointee.scale)
  var losses = sum
  var start = first
  while start < end {
    @inline(__always) func load(_ array: UnsafeRawPointer?, _ otherwise: Double) -> F64x8 {
      guard let array else { return F64x8(repeating: otherwise) }
      return isSingle ? ElementType.f32.load8(array, start) : ElementType.f64.load8(array, start)
    }
    @inline(__always) func store(_ values: F64x8, _ array: UnsafeMutableRawPointer?) {
      guard let array else { return }
      if isSingle { ElementType.f32.store8(values, array, start) } else { ElementType.f64.store8(values, array, start) }
    }

    let chosen = LogRatio(policy: load(job.pointee.policyChosen, 0), reference: load(job.pointee.refChosen, 0))
    let rejected = LogRatio(policy: load(job.pointee.policyRejected, 0), reference: load(job.pointee.refRejected, 0))
    let beta = load(job.pointee.betas, job.pointee.beta)
    store(chosen.reward(beta: beta), job.pointee.chosenRewards)
    store(rejected.reward(beta: beta), job.pointee.rejectedRewards)
    var z = chosen.rewardDifference(from: rejected, beta: beta)
    if job.pointee.margins != nil { z = z - load(job.pointee.margins, 0) }

    let p = load(job.pointee.softLabels, job.pointee.p)
    let q = hasSoftLabels ? 1 - p : F64x8(repeating: job.pointee.q)
    let (jet, logistic) = bernoulliCrossEntropy(z, p: p, q: q)

    let weight = load(job.pointee.weights, 1)
    let loss = jet.value * weight
    let gradient = jet.slope * (beta * (weight * scale))
    store(loss, job.pointee.losses)
    store(gradient, job.pointee.gradPolicyChosen)
    store(-gradient, job.pointee.gradPolicyRejected)
    store(logistic.complement, job.pointee.gradientWeights)
    losses.add(loss)
    start &+= 8
  }
  sum = losses
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
