import Elementary

/// P(y_w preferred to y_l) = sigma(r_w - r_l) (Bradley and Terry 1952), from which any constant in both rewards, such as
/// beta log Z(x), has cancelled. Its logarithm is -softplus(r_l - r_w), which stays finite where the probability is 0.
///
/// Edge cases: 1/2 for equal rewards, infinite ones of one sign included.
@_transparent public func preferenceProbability(
  chosenReward: F64x8, rejectedReward: F64x8
) -> (probability: F64x8, logProbability: F64x8) {
  // At half their size, finite rewards have a finite difference.
  let half = DoubleDouble.difference(0.5 * chosenReward, 0.5 * rejectedReward)
  let zero = DoubleDouble(F64x8(repeating: 0))
  let difference = zero.selected(
    chosenReward .== rejectedReward, else: DoubleDouble(high: half.high * 2, low: half.low * 2))
  let (jet, logistic) = bernoulliCrossEntropy(difference, p: F64x8(repeating: 1), q: F64x8(repeating: 0))
  return (logistic.sigmoid, -jet.value)
}
