import Elementary

// The policy that maximises E[r] - beta KL(pi || ref) over listed responses:
//
//     pi*(y) = ref(y) e^(r(y) / beta) / Z,      Z = sum over y of ref(y) e^(r(y) / beta),      J(pi*) = beta log Z
//
// Rewards enter by their distance to the best one that the reference can give, t = (r - best) / beta <= 0: then no
// finite reward over- or underflows before its probability does, and beta log Z = best + beta log sum(ref e^t).

/// log ref(y) + (r(y) - best) / beta, to 106 bits: the log of an unnormalised probability.
@_transparent public func tilted(_ reference: F64x8, _ reward: F64x8, best: F64x8, beta: F64x8) -> DoubleDouble {
  // -inf where the reference cannot give the response, whatever its reward.
  let impossible = DoubleDouble(F64x8(repeating: -.infinity))
  let score = DoubleDouble.difference(reward, best) / beta + reference
  return impossible.selected(reference .== -.infinity, else: score)
}

/// What a row of responses sums to.
public struct TiltedSums {
  /// Sum of e^(score - largest score).
  public var weight = FixedOrderSum()
  /// Sum of e^(score - largest score) (r - best), at most 0.
  public var shortfall = FixedOrderSum()

  @_transparent public init() {}

  @_transparent public mutating func add(_ scoreBelowLargest: DoubleDouble, rewardBelowBest: F64x8) {
    let share = exp(scoreBelowLargest)
    weight.add(share)
    shortfall.add(F64x8(repeating: 0).selected(share .== 0, else: share * rewardBelowBest))
  }
}

/// The maximum and its parts, from a row's sums. All lanes are the same.
public struct OptimalValue {
  public let beta: F64x8
  public let best: F64x8
  /// log sum(ref e^t) = log Z - best / beta
  public let logSum: DoubleDouble
  /// 1 / sum of e^(score - largest score)
  public let share: F64x8
  /// E[r] - best under pi*
  public let shortfall: F64x8

  @_transparent public init(
    weight: DoubleDouble, shortfall total: DoubleDouble, largest: DoubleDouble, best: F64x8, beta: F64x8
  ) {
    self.beta = beta
    self.best = best
    logSum = DoubleDouble(high: log(weight.high), low: weight.low / weight.high) + largest
    share = 1 / weight.high
    shortfall = total.high / weight.high
  }

  /// log Z
  @_transparent public var logPartition: F64x8 { (DoubleDouble(best) / beta + logSum).high }

  /// J(pi*) = beta log Z
  @_transparent public var objective: F64x8 { (logSum * beta + best).high }

  /// E[r] under pi*
  @_transparent public var expectedReward: F64x8 { best + shortfall }

  /// KL(pi* || ref) = E[r] / beta - log Z
  @_transparent public var klDivergence: F64x8 { (DoubleDouble(shortfall) / beta - logSum).high }

  /// d log Z / d beta = -E[r] / beta^2
  @_transparent public var gradBeta: F64x8 { -(expectedReward / beta) / beta }

  /// log pi*(y)
  @_transparent public func logp(_ score: DoubleDouble) -> DoubleDouble { score - logSum }
}
