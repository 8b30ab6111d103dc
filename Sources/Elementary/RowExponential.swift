import CPlatform

/// The single-precision exponential of the row kernels: x -> 2^-exponent e^(scale x), sixteen at a time.
///
/// With L = scale log2(e), e^(scale x) = 2^m 2^f, where m = round(x L) and |f| <= 1/2. L is held in two parts and
/// x L - m is formed by fused multiply-adds, so that no rounding but that of f itself remains; a polynomial gives 2^f: the
/// minimax one (tools/minimax.py), its coefficients moved in their last digits until no float was off by 1 ulp. The common exponent of a row costs nothing: it is part of the number that rounds x L to
/// an integer. So a row's sums can change their scale by exact powers of two, and no maximum must be known beforehand.
///
/// Domain: |x L| below 2^20, results from 2^-126 to 2^127; `exactValue` replaces results below by 0. NaN stays NaN.
/// Postcondition: within 1 ulp where the result is normal.
public struct RowExponential {
  public var high: F32x16
  public var low: F32x16
  /// 1.5 * 2^23 rounds to an integer, which stands in the sum's lowest bits; 127 is the bias of the result's exponent.
  public var origin: F32x16
  /// Below it the exponent of a result would leave the normal range.
  public var floor: F32x16

  /// The largest |x L|, with a margin, for which `shifted` is exact.
  @_transparent public static var largestExcess: Float { 0x1p20 }

  @_transparent public init(scale: Double, exponent: Int32) {
    let wide = scale * log2e
    let narrow = Float(wide)
    high = F32x16(repeating: narrow)
    low = F32x16(repeating: Float(wide - Double(narrow)))
    origin = F32x16(repeating: 0x1.8p23 + 127 - Float(exponent))
    floor = F32x16(repeating: Float(Double(exponent - 126) / wide))
  }

  /// x, or `floor` where it is below: what is lost is nothing in a sum whose largest term is near 1.
  @_transparent public func bounded(_ x: F32x16) -> F32x16 { floor.selected(x .< floor, else: x) }

  /// How many powers of two the result for x exceeds 1 by.
  @_transparent public func excess(_ x: Float) -> Float {
    F32x16(repeating: x).fma(high, origin)[0] - (0x1.8p23 + 127)
  }

  /// The exponential of a bounded x.
  @_transparent public func value(_ x: F32x16) -> F32x16 { platform_has_fma() ? valueInlined(x) : valueShared(x) }

  @inline(never) public func valueShared(_ x: F32x16) -> F32x16 { valueInlined(x) }

  @_transparent public func valueInlined(_ x: F32x16) -> F32x16 {
    let shifted = x.fma(high, origin)
    let f = x.fma(low, x.fma(high, origin - shifted))
    var power = F32x16(repeating: 0.00015228448319248855)
    power = power.fma(f, 0.0013390543172135949)
    power = power.fma(f, 0.009618707001209259)
    power = power.fma(f, 0.055503625422716141)
    power = power.fma(f, 0.24022649228572845)
    power = power.fma(f, 0x1.62e43p-1)
    power = power.fma(f, 1)
    return power * unsafeBitCast(unsafeBitCast(shifted, to: SIMD16<UInt32>.self) &<< 23, to: F32x16.self)
  }

  /// The exponential of any x, 0 where the result would be below the normal range.
  @_transparent public func exactValue(_ x: F32x16) -> F32x16 {
    value(x).replacing(with: 0, where: x .< floor)
  }
}
