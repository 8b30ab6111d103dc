import CPlatform
import Elementary
import Preference

/// One pair of plain DPO, as its caller's structs name it: no job is made for it. Where the margin is outside the domain, or
/// no number, nothing is done. All that stands in the structs is read before anything is written. Of the lanes, only the
/// first is looked at: the compiler leaves out what it can of the others.
func onePair(
  _ inputs: UnsafePointer<UnsafeRawPointer?>, _ results: UnsafePointer<UnsafeMutableRawPointer?>, _ beta: Double,
  _ scale: Double
) -> Bool {
  #if KERNELS_COMPACT
    return false
  #else
    let factor = Float(beta * scale)
    @inline(__always) func at(_ array: UnsafeRawPointer?) -> Double {
      guard let array else { return 0 }
      return Double(array.load(as: Float.self))
    }
    let chosen = at(inputs[0]) - at(inputs[2])
    let rejected = at(inputs[1]) - at(inputs[3])
    let z = (chosen - rejected) * beta
    guard factor.isNormal && z.magnitude < 80 else { return false }
    let to = PlainResults(results)
    @inline(__always) func put(_ value: @autoclosure () -> Float, _ place: UnsafeMutableRawPointer?) {
      if let place { place.storeBytes(of: value(), as: Float.self) }
    }
    // A reward of 0 is positive, as LogRatio's is.
    put(Float(chosen * beta + 0), to.chosenRewards)
    put(Float(rejected * beta + 0), to.rejectedRewards)
    let margin = FixedPointMargin(repeating: z)
    let logistic = LogisticInSingle(margin)
    let complement = logistic.complement[0]
    put(complement * -factor, to.gradChosen)
    put(-(complement * -factor), to.gradRejected)
    put(complement, to.gradientWeights)
    let value = margin.shortfall(plus: logistic.rest)[0]
    put(value, to.losses)
    if let loss = to.loss { loss.storeBytes(of: Double(value) * scale, as: Double.self) }
    return true
  #endif
}

#if !KERNELS_COMPACT
  /// Where the results go, in the order of `swiftdpo_pair_results_f32`.
  private struct PlainResults {
    typealias Place = UnsafeMutableRawPointer?
    let loss, losses, gradChosen, gradRejected, chosenRewards, rejectedRewards, gradientWeights: Place

    @inline(__always) init(_ results: UnsafePointer<UnsafeMutableRawPointer?>) {
      (loss, losses, gradChosen, gradRejected) = (results[0], results[1], results[2], results[3])
      (chosenRewards, rejectedRewards, gradientWeights) = (results[4], results[5], results[6])
    }
  }
#endif
