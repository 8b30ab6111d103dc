import CPlatform
import Elementary

/// log pi(y|x) - log ref(y|x), exactly: what a policy has learned about a response relative to the reference.
///
/// It is held at a quarter of its size: then neither it nor a difference of two overflows for any finite
/// log-probabilities, so that no finite input leads to inf - inf.
public struct LogRatio {
  public var quarter: DoubleDouble

  @_transparent public init(policy: F64x8, reference: F64x8) {
    quarter = DoubleDouble.difference(0.25 * policy, 0.25 * reference)
  }

  @_transparent public init(quarter: DoubleDouble) { self.quarter = quarter }

  /// The log-ratio itself, infinite where it exceeds the largest double.
  @_transparent public var value: DoubleDouble { quarter.timesFour }

  /// The implicit reward beta * log pi(y|x) / ref(y|x), without beta log Z(x) (Rafailov et al. 2023, equation 5).
  @_transparent public func reward(beta: F64x8) -> F64x8 { quarter.high * beta * 4 }

  /// beta * (self - other): the difference of two rewards, from which any beta log Z(x) has cancelled.
  ///
  /// Exact to about 100 bits. Where it exceeds the largest double it is an infinity of the right sign.
  @_transparent public func rewardDifference(from other: LogRatio, beta: F64x8) -> DoubleDouble {
    platform_has_fma()
      ? rewardDifferenceInlined(from: other, beta: beta) : rewardDifferenceShared(from: other, beta: beta)
  }

  @inline(never) public func rewardDifferenceShared(from other: LogRatio, beta: F64x8) -> DoubleDouble {
    rewardDifferenceInlined(from: other, beta: beta)
  }

  @_transparent public func rewardDifferenceInlined(from other: LogRatio, beta: F64x8) -> DoubleDouble {
    // As (quarter - other.quarter) * beta, renormalised once at the end.
    let difference = DoubleDouble.difference(quarter.high, other.quarter.high)
    let low = difference.low + (quarter.low - other.quarter.low)
    let product = difference.high * beta
    let error = low.fma(beta, difference.high.fma(beta, -product))
    return DoubleDouble.normalized(product, error).timesFour
  }

  /// The same in plain doubles: exact differences of singles but for the last bit, for results in single precision.
  @_transparent public func singleRewardDifference(from other: LogRatio, beta: F64x8) -> F64x8 {
    (quarter.high - other.quarter.high) * beta * 4
  }

  /// The first lane's, in all lanes.
  @_transparent public var inFirstLane: LogRatio {
    LogRatio(
      quarter: DoubleDouble(
        high: F64x8(repeating: quarter.high[0]), low: F64x8(repeating: quarter.low[0])))
  }

  @_transparent public static prefix func - (ratio: Self) -> Self { LogRatio(quarter: -ratio.quarter) }

  @_transparent public func selected(_ mask: SIMDMask<F64x8.MaskStorage>, else other: LogRatio) -> LogRatio {
    LogRatio(quarter: quarter.selected(mask, else: other.quarter))
  }
}

extension DoubleDouble {
  /// beta times a number that is given by its quarter.
  @_transparent public func reward(beta: F64x8) -> DoubleDouble { (self * beta).timesFour }

  @_transparent public var timesFour: DoubleDouble { DoubleDouble(high: high * 4, low: low * 4) }
}
