import Elementary

// Z(x) = E_ref[e^(r / beta)] from n samples of the reference: the mean of w_i = e^(r_i / beta). Weights are held relative
// to that of the best reward, so that none overflows, and sums in 106 bits, so that nothing cancels in
//
//     relative variance of the mean = (n sum w^2 - (sum w)^2) / ((n - 1) (sum w)^2)
//     standard error of log Z = its root (delta method)         effective samples = (sum w)^2 / sum w^2

/// What samples leave behind: enough to add more, or those of another worker. All lanes are the same.
public struct PartitionSums {
  public var beta: F64x8
  public var count: F64x8
  public var best: F64x8
  public var weight: DoubleDouble
  public var square: DoubleDouble

  @inlinable public init(beta: F64x8, count: F64x8, best: F64x8, weight: DoubleDouble, square: DoubleDouble) {
    self.beta = beta
    self.count = count
    self.best = best
    self.weight = weight
    self.square = square
  }

  /// The sums of both, in units of the better of their best weights.
  public func merged(with other: PartitionSums, exp: (Double) -> Double) -> PartitionSums {
    if other.count[0] == 0 { return self }
    if count[0] == 0 { return other }
    if other.best[0] > best[0] { return other.merged(with: self, exp: exp) }
    let below = DoubleDouble.difference(other.best, best) / beta
    let scale = F64x8(repeating: exp(below.high[0]) * (1 + below.low[0]))
    return PartitionSums(
      beta: beta, count: count + other.count, best: best, weight: weight + other.weight * scale,
      square: square + other.square * scale * scale)
  }

  /// log of the mean weight: the estimate of log Z. Its bias is - variance / 2, to first order.
  public func logPartition(log: (Double) -> Double) -> Double {
    let mean = weight / count
    let logMean = DoubleDouble.sum(F64x8(repeating: log(mean.high[0])), mean.low / mean.high)
    return (DoubleDouble(best) / beta + logMean).high[0]
  }

  /// Variance of that estimate; infinite for a single sample, which says nothing of it.
  public var variance: Double {
    if count[0] < 2 { return .infinity }
    let squareOfSum = weight * weight.high + DoubleDouble.product(weight.high, weight.low)
    let excess = (square * count - squareOfSum).high[0]
    return excess <= 0 ? 0 : excess / ((count[0] - 1) * squareOfSum.high[0])
  }

  /// How many samples of pi* these are worth (Kong 1992).
  public var effectiveSamples: Double { weight.high[0] * (weight.high[0] / square.high[0]) }

  /// The best sample's share of the estimate.
  public var largestShare: Double { 1 / weight.high[0] }
}
