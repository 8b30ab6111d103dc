import CPlatform

/// Numbers of about 106 bits: the unevaluated sum `high + low`, with |low| at most half an ulp of `high`.
///
/// A margin is the small difference of large log-probabilities. Rounded to a double at each step it would be wrong by
/// hundreds of ulps of the loss; carried as two doubles it is exact but for its last bits.
///
/// `high` alone behaves as a double would: infinities and NaN go through it, and `low` is 0 beside them.
/// (Dekker 1971; Knuth, The Art of Computer Programming 2, 4.2.2; with fused multiply-add, Ogita, Rump and Oishi 2005.)
///
/// Where each multiply-add is a call already, operations are shared instead of inlined, here and in all of this module:
/// eight numbers fill a quarter of such a machine's registers, and code for them is long.
public struct DoubleDouble {
  public var high: F64x8
  public var low: F64x8

  @_transparent public init(high: F64x8, low: F64x8) {
    self.high = high
    self.low = low
  }

  @_transparent public init(_ value: F64x8) { self.init(high: value, low: F64x8(repeating: 0)) }

  /// `value + error` renormalised. What an infinite value leaves behind as its error, NaN or an infinity, counts as 0.
  @_transparent public static func normalized(_ value: F64x8, _ error: F64x8) -> Self {
    platform_has_fma() ? normalizedInlined(value, error) : normalizedShared(value, error)
  }

  @inline(never) public static func normalizedShared(_ value: F64x8, _ error: F64x8) -> Self {
    normalizedInlined(value, error)
  }

  @_transparent public static func normalizedInlined(_ value: F64x8, _ error: F64x8) -> Self {
    let error = error.finiteOrZero
    let high = value + error
    return Self(high: high, low: (error - (high - value)).finiteOrZero)
  }

  /// The exact sum of two doubles.
  @_transparent public static func sum(_ x: F64x8, _ y: F64x8) -> Self {
    platform_has_fma() ? sumInlined(x, y) : sumShared(x, y)
  }

  @inline(never) public static func sumShared(_ x: F64x8, _ y: F64x8) -> Self { sumInlined(x, y) }

  @_transparent public static func sumInlined(_ x: F64x8, _ y: F64x8) -> Self {
    let sum = x + y
    let part = sum - x
    let error = (x - (sum - part)) + (y - part)
    return Self(high: sum, low: F64x8(repeating: 0).selected(error .!= error, else: error))
  }

  /// The exact difference of two doubles.
  @_transparent public static func difference(_ x: F64x8, _ y: F64x8) -> Self { sum(x, -y) }

  @_transparent public static func + (x: Self, y: Self) -> Self {
    platform_has_fma() ? sumInlined(x, y) : sumShared(x, y)
  }

  @inline(never) public static func sumShared(_ x: Self, _ y: Self) -> Self { sumInlined(x, y) }

  @_transparent public static func sumInlined(_ x: Self, _ y: Self) -> Self {
    let sum = Self.sum(x.high, y.high)
    return normalized(sum.high, sum.low + (x.low + y.low))
  }

  @_transparent public static func + (x: Self, y: F64x8) -> Self {
    platform_has_fma() ? sumInlined(x, y) : sumShared(x, y)
  }

  @inline(never) public static func sumShared(_ x: Self, _ y: F64x8) -> Self { sumInlined(x, y) }

  @_transparent public static func sumInlined(_ x: Self, _ y: F64x8) -> Self {
    let sum = Self.sum(x.high, y)
    return normalized(sum.high, sum.low + x.low)
  }

  /// For long sums: adds a term where the mask is set, and leaves it to the reader to renormalise.
  @_transparent public func adding(_ term: Self, where mask: SIMDMask<F64x8.MaskStorage>) -> Self {
    platform_has_fma() ? addingInlined(term, mask) : addingShared(term, mask)
  }

  @inline(never) public func addingShared(_ term: Self, _ mask: SIMDMask<F64x8.MaskStorage>) -> Self {
    addingInlined(term, mask)
  }

  @_transparent public func addingInlined(_ term: Self, _ mask: SIMDMask<F64x8.MaskStorage>) -> Self {
    let zero = F64x8(repeating: 0)
    let sum = Self.sum(high, term.high.selected(mask, else: zero))
    return Self(high: sum.high, low: low + (sum.low + term.low.selected(mask, else: zero)))
  }

  @_transparent public static func - (x: Self, y: Self) -> Self { x + -y }

  @_transparent public static func - (x: Self, y: F64x8) -> Self { x + -y }

  @_transparent public static prefix func - (x: Self) -> Self { Self(high: -x.high, low: -x.low) }

  @_transparent public static func * (x: Self, factor: F64x8) -> Self {
    platform_has_fma() ? productInlined(x, factor) : productShared(x, factor)
  }

  @inline(never) public static func productShared(_ x: Self, _ factor: F64x8) -> Self { productInlined(x, factor) }

  @_transparent public static func productInlined(_ x: Self, _ factor: F64x8) -> Self {
    let product = x.high * factor
    let error = x.high.fma(factor, -product) + x.low * factor
    return normalized(product, error)
  }

  /// The exact product of two doubles.
  @_transparent public static func product(_ x: F64x8, _ y: F64x8) -> Self { Self(x) * y }

  /// The quotient, to about 100 bits; infinite where it is beyond the largest double.
  @_transparent public static func / (x: Self, divisor: F64x8) -> Self {
    platform_has_fma() ? quotientInlined(x, divisor) : quotientShared(x, divisor)
  }

  @inline(never) public static func quotientShared(_ x: Self, _ divisor: F64x8) -> Self { quotientInlined(x, divisor) }

  @_transparent public static func quotientInlined(_ x: Self, _ divisor: F64x8) -> Self {
    let quotient = x.high / divisor
    let remainder = quotient.fma(-divisor, x.high) + x.low
    return normalized(quotient, remainder / divisor)
  }

  @_transparent public var magnitude: Self { selected(high .>= 0, else: -self) }

  /// The larger of two in each lane.
  @_transparent public func larger(_ other: Self) -> Self {
    selected((high .> other.high) .| ((high .== other.high) .& (low .> other.low)), else: other)
  }

  /// `self` where the mask is set, `other` elsewhere.
  @_transparent public func selected(_ mask: SIMDMask<F64x8.MaskStorage>, else other: Self) -> Self {
    Self(high: high.selected(mask, else: other.high), low: low.selected(mask, else: other.low))
  }
}
