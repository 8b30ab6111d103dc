import CPlatform

/// The single-precision exponential of the row kernels: x -> 2^-exponent e^(scale x), sixteen at a time.
///
/// With L = scale log2(e), e^(scale x) = 2^m 2^f, where m = round(x L) and |f| <= 1/2. L is held in two parts and
/// x L - m is formed by fused multiply-adds, so that no rounding but that of f itself remains; a polynomial gives 2^f: the
/// minimax one (tools/minimax.py), whose coefficients for `single` were moved in their last digits until no float was
/// off by 1 ulp. The common exponent of a row costs nothing: it is part of the number that rounds x L to an integer. So a
/// row's sums can change their scale by exact powers of two, and no maximum must be known beforehand.
///
/// Domain: |x L| below 2^20, results from 2^-126 to 2^127; `exactValue` replaces results below by 0. NaN stays NaN.
/// Postcondition: where the result is normal, as near as `Precision` says.
public struct RowExponential {
  /// Multiplications are what the kernels wait for: as many as the use needs.
  public enum Precision {
    /// Within 1 ulp.
    case single
    /// Within 1.7e-7 of the result: for sums over logits of 16 bits.
    case sum
    /// Within 2.9e-6 + 2^-25 |x L| of the result, without L's second part: for results of 16 bits.
    case half
  }

  public var high: F32x16
  public var low: F32x16
  /// 1.5 * 2^23 rounds to an integer, which stands in the sum's lowest bits; 127 is the bias of the result's exponent.
  public var origin: F32x16
  /// Below it the exponent of a result would leave the normal range.
  public var floor: F32x16

  /// The largest |x L|, with a margin, for which `shifted` is exact.
  @_transparent public static var largestExcess: Float { 0x1p20 }

  /// Scales whose constants are finite: beyond them -inf times 0, or 0 times infinity, would be NaN.
  @_transparent public static func takes(scale: Double) -> Bool { scale > 0x1p-100 && scale < 0x1p100 }

  /// - Precondition: `takes(scale:)`.
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
  @_transparent public func value(_ x: F32x16, _ precision: Precision) -> F32x16 {
    platform_has_fma() ? valueInlined(x, precision) : valueShared(x, precision)
  }

  @inline(never) public func valueShared(_ x: F32x16, _ precision: Precision) -> F32x16 { valueInlined(x, precision) }

  @_transparent public func valueInlined(_ x: F32x16, _ precision: Precision) -> F32x16 {
    let shifted = x.fma(high, origin)
    var f = x.fma(high, origin - shifted)
    if precision != .half { f = x.fma(low, f) }
    return Self.power(f, precision)
      * unsafeBitCast(unsafeBitCast(shifted, to: SIMD16<UInt32>.self) &<< 23, to: F32x16.self)
  }

  /// 2^f, |f| <= 1/2.
  @_transparent public static func power(_ f: F32x16, _ precision: Precision) -> F32x16 {
    var power: F32x16
    switch precision {
    case .single:
      power = F32x16(repeating: 0.00015228448319248855).fma(f, 0.0013390543172135949)
      power = power.fma(f, 0.009618707001209259)
      power = power.fma(f, 0.055503625422716141)
      power = power.fma(f, 0.24022649228572845)
      return power.fma(f, 0x1.62e43p-1).fma(f, 1)
    case .sum:
      power = F32x16(repeating: 0.001326472731307149).fma(f, 0.009671512991189957)
      power = power.fma(f, 0.05550733581185341)
      power = power.fma(f, 0.24022242426872253)
      return power.fma(f, 0.6931470036506653).fma(f, 1)
    case .half:
      power = F32x16(repeating: 0.009582852944731712).fma(f, 0.055906426161527634)
      power = power.fma(f, 0.24024099111557007)
      return power.fma(f, 0.6931241750717163).fma(f, 1)
    }
  }

  /// The exponential of any x, 0 where the result would be below the normal range.
  @_transparent public func exactValue(_ x: F32x16, _ precision: Precision) -> F32x16 {
    value(x, precision).replacing(with: 0, where: x .< floor)
  }
}

extension ElementType {
  /// What sums over exponentials of logits of this type need.
  @_transparent public var sumPrecision: RowExponential.Precision { self == .f32 ? .single : .sum }

  /// What exponentials need that are rounded to this type.
  @_transparent public var resultPrecision: RowExponential.Precision { self == .f32 ? .single : .half }
}
