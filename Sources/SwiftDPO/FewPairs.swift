import CPlatform
import CSwiftDPO
import Elementary
import Preference

/// The short way of the call that is made most often: DPO of pairs that one thread computes, with or without a
/// reference. A few pairs are soon computed, and the many checks of `dpoLoss`, each with a name for what it finds,
/// took longer. Here they are one question. Where its answer is no, `dpoLoss` says what is wrong, or does what is
/// asked; nothing has been written then, but where a late error allows it.
@_optimize(speed) @inline(never)
func didFewPairs(
  _ pairs: UnsafePointer<swiftdpo_pairs_f64>?, _ options: UnsafePointer<swiftdpo_dpo_options>?,
  _ results: UnsafePointer<swiftdpo_pair_results_f64>?, isSingle: Bool
) -> Bool {
  guard let pairs, let options, let results else { return false }
  let structs = UInt(bitPattern: pairs) | UInt(bitPattern: options) | UInt(bitPattern: results)
  if structs & 7 != 0 || !isOfThisSize(pairs) || !isOfThisSize(options) || !isOfThisSize(results) { return false }
  if !isZero(pairs, behind: 6) || Mixture.isNeeded(pairs, options, results) { return false }
  let (beta, labelSmoothing) = (options.pointee.beta, options.pointee.label_smoothing)
  if !isPositive(beta) || !isLabelSmoothing(labelSmoothing) { return false }
  let (reduction, nonfinite) = (options.pointee.reduction, options.pointee.nonfinite)
  if !reduction.isKnown || !nonfinite.isKnown || options.pointee.reference_free != 0 { return false }
  if firstWrongParameter(options, tieStrengthAbove: 0) != nil { return false }
  let count = pairs.pointee.count
  // Doubles are looked at one by one below.
  if count < 1 || count > (isSingle ? leastChunk : 16) { return false }

  let policyChosen = UInt(bitPattern: pairs.pointee.policy_chosen_logps)
  let policyRejected = UInt(bitPattern: pairs.pointee.policy_rejected_logps)
  let refChosen = UInt(bitPattern: pairs.pointee.ref_chosen_logps)
  let refRejected = UInt(bitPattern: pairs.pointee.ref_rejected_logps)
  let gradChosen = UInt(bitPattern: results.pointee.grad_policy_chosen_logps)
  let gradRejected = UInt(bitPattern: results.pointee.grad_policy_rejected_logps)
  let loss = UInt(bitPattern: results.pointee.loss)
  let others =
    UInt(bitPattern: results.pointee.losses) | UInt(bitPattern: results.pointee.chosen_rewards)
    | UInt(bitPattern: results.pointee.rejected_rewards) | UInt(bitPattern: results.pointee.gradient_weights)
  if policyChosen == 0 || policyRejected == 0 || (refChosen == 0) != (refRejected == 0) { return false }
  // The upper half of the address space is left to the long way: so no buffer ends beyond it.
  let upperHalf: UInt = 1 << 63
  let partOfElement: UInt = isSingle ? 3 : 7
  let arrays = policyChosen | policyRejected | refChosen | refRejected | gradChosen | gradRejected | others
  if arrays & (upperHalf | partOfElement) != 0 || loss & (upperHalf | 7) != 0 { return false }

  // What is not there lies at 0, where nothing else does.
  let size = UInt(bitPattern: count) &* (partOfElement &+ 1)
  let inputs = (UnsafeRawPointer(pairs) + 16).assumingMemoryBound(to: UnsafeRawPointer?.self)
  if platform_may_overlap(inputs, UInt32(truncatingIfNeeded: size), loss, gradChosen, gradRejected) { return false }
  let (number, first) = (Ledger.Bytes(start: loss, size: 8), Ledger.Bytes(start: gradChosen, size: size))
  let second = Ledger.Bytes(start: gradRejected, size: size)
  if !first.isApart(from: second) || !first.isApart(from: number) || !second.isApart(from: number) { return false }
  if others != 0 && !areOthersApart(pairs, results, size) { return false }

  let scale = reduction.scale(count)
  if isSingle && labelSmoothing == 0 && count == 1 {
    let places = (UnsafeRawPointer(results) + 8).assumingMemoryBound(to: UnsafeMutableRawPointer?.self)
    // Where a value is not finite, the margin is not.
    if kernels.onePair(inputs, places, beta, scale) { return true }
  }
  return didOtherFewPairs(pairs, results, count, isSingle, beta, labelSmoothing, scale, nonfinite)
}

/// Doubles, smoothed labels, margins far out, and all of more than one pair.
@_optimize(speed) @inline(never)
private func didOtherFewPairs(
  _ pairs: UnsafePointer<swiftdpo_pairs_f64>, _ results: UnsafePointer<swiftdpo_pair_results_f64>, _ count: Int,
  _ isSingle: Bool, _ beta: Double, _ labelSmoothing: Double, _ scale: Double, _ nonfinite: swiftdpo_nonfinite
) -> Bool {
  var job = PairwiseJob(
    type: isSingle ? .f32 : .f64, count: count,
    policyChosen: UnsafeRawPointer(pairs.pointee.policy_chosen_logps).unsafelyUnwrapped,
    policyRejected: UnsafeRawPointer(pairs.pointee.policy_rejected_logps).unsafelyUnwrapped)
  job.refChosen = UnsafeRawPointer(pairs.pointee.ref_chosen_logps)
  job.refRejected = UnsafeRawPointer(pairs.pointee.ref_rejected_logps)
  job.sumShowsNonfinite = isSingle && nonfinite == SWIFTDPO_NONFINITE_ERROR_LATE
  if !job.sumShowsNonfinite && nonfinite != SWIFTDPO_NONFINITE_PROPAGATE
    && !(isSingle ? kernels.areFinite(&job) : areFewDoublesFinite(job))
  {
    return false
  }

  job.losses = UnsafeMutableRawPointer(results.pointee.losses)
  job.gradPolicyChosen = UnsafeMutableRawPointer(results.pointee.grad_policy_chosen_logps)
  job.gradPolicyRejected = UnsafeMutableRawPointer(results.pointee.grad_policy_rejected_logps)
  job.chosenRewards = UnsafeMutableRawPointer(results.pointee.chosen_rewards)
  job.rejectedRewards = UnsafeMutableRawPointer(results.pointee.rejected_rewards)
  job.gradientWeights = UnsafeMutableRawPointer(results.pointee.gradient_weights)
  job.beta = beta
  job.p = 1 - labelSmoothing
  job.q = labelSmoothing
  job.scale = scale
  let sum = kernels.pairwise(&job, 0..<count)
  // A single pair's sum is its first lane.
  let loss = count == 1 ? sum.lanes.high[0] * scale : reduced(sum, scale)
  if job.sumShowsNonfinite && loss.isNaN { return false }
  results.pointee.loss?.pointee = loss
  return true
}

/// An element ends with its exponent.
@inline(__always)
private func areFewDoublesFinite(_ job: PairwiseJob) -> Bool {
  let exponent = UInt32(Double.infinity.bitPattern >> 32)
  var offset = 4
  @inline(__always) func isFinite(_ array: UnsafeRawPointer) -> Bool {
    ~array.load(fromByteOffset: offset, as: UInt32.self) & exponent != 0
  }
  repeat {
    if !isFinite(job.policyChosen) || !isFinite(job.policyRejected) { return false }
    if let refChosen = job.refChosen, let refRejected = job.refRejected,
      !isFinite(refChosen) || !isFinite(refRejected)
    {
      return false
    }
    offset &+= 8
  } while offset < job.count &* 8
  return true
}

@inline(__always)
private func isOfThisSize<Struct: GrowableStruct>(_ pointer: UnsafePointer<Struct>) -> Bool {
  UnsafeRawPointer(pointer).load(as: Int.self) == MemoryLayout<Struct>.stride
}

/// The results that are asked for less often, beside what was looked at before: the loss, which is the first, and both
/// gradients.
@_optimize(speed) @inline(never)
private func areOthersApart(
  _ pairs: UnsafePointer<swiftdpo_pairs_f64>, _ results: UnsafePointer<swiftdpo_pair_results_f64>, _ size: UInt
) -> Bool {
  let inputs = UnsafeRawPointer(pairs).assumingMemoryBound(to: UInt.self) + 2
  let outputs = UnsafeRawPointer(results).assumingMemoryBound(to: UInt.self) + 1
  @inline(__always) func areApart(_ first: UInt, _ second: UInt) -> Bool {
    Ledger.Bytes(start: first, size: size).isApart(from: Ledger.Bytes(start: second, size: size))
  }
  for index in 1..<7 where outputs[index] != 0 {
    let result = outputs[index]
    for other in 1..<index where !areApart(result, outputs[other]) { return false }
    let isGradient = index == 2 || index == 3
    if isGradient { continue }
    for input in 0..<4 where !areApart(result, inputs[input]) { return false }
    if !Ledger.Bytes(start: result, size: size).isApart(from: Ledger.Bytes(start: outputs[0], size: 8)) { return false }
  }
  return true
}
