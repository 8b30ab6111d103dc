import CPlatform

/// -|z| log2(e) = n + f at sixteen margins z, with n the nearest integer: e^-|z| = 2^n 2^f.
///
/// z is a double, since an error in it is one of as many ulps of e^-|z| as z has bits before the point; f is a single.
public struct ReducedMargin {
  /// |f| <= 1/2
  public let f: F32x16
  /// The bits of 2^n
  public let power: SIMD16<UInt32>
  /// The upper halves of the bits of z: its sign and its size
  public let upper: SIMD16<UInt32>

  @_transparent public init(_ z: F64x16) { self = platform_has_fma() ? Self(inlined: z) : .shared(z) }

  @inline(never) public static func shared(_ z: F64x16) -> Self { Self(inlined: z) }

  @_transparent public init(inlined z: F64x16) {
    // The sum's lowest bits hold n + 127, the exponent of a single.
    let origin = F64x16(repeating: rounder + 127)
    let distance = z.magnitude
    let scale = F64x16(repeating: -log2e)
    let shifted = distance.fma(scale, origin)
    f = distance.fma(scale, origin - shifted).narrowed
    power = platform_lower_words(shifted.low, shifted.high) &<< 23
    upper = platform_upper_words(z.low, z.high)
  }

  /// e^-|z|
  @_transparent public var exponential: F32x16 {
    RowExponential.power(f, .single) * unsafeBitCast(power, to: F32x16.self)
  }

  /// |z|, in an order of its own, in which NaN comes last.
  @_transparent public var sizes: SIMD16<UInt32> { upper &+ upper }

  /// Whether all lanes of those sizes, and of smaller ones, are in the domain of `LogisticInSingle`: |z| < 80.
  @_transparent public static func areInDomain(_ sizes: SIMD16<UInt32>) -> Bool {
    platform_largest_word(sizes) < 2 * 0x4054_0000
  }
}

/// The logistic function at sixteen margins z in single precision.
///
/// Domain: |z| < 80, where e^-|z| is a normal number. Other lanes hold some number.
/// Postcondition: within 3 ulp, `rest` within 3.5.
public struct LogisticInSingle {
  /// sigma(-z)
  public let complement: F32x16
  /// log1p(e^-|z|)
  public let rest: F32x16

  @_transparent public init(_ z: ReducedMargin) {
    self = platform_has_fma() ? Self(z, exponential: z.exponential) : .shared(z)
  }

  @inline(never) public static func shared(_ z: ReducedMargin) -> Self { Self(z, exponential: z.exponential) }

  /// `e` is `z.exponential`.
  @_transparent public init(_ z: ReducedMargin, exponential e: F32x16) {
    let sides = Sides(exponential: e)
    complement = platform_select_single(
      platform_exceeds(unsafeBitCast(z.upper, to: SIMD16<Int32>.self), -1), sides.smaller, sides.larger)
    rest = log1pOfUnit(e)
  }

  /// sigma(z) on both sides of 0.
  public struct Sides {
    /// sigma(|z|)
    public let larger: F32x16
    /// sigma(-|z|)
    public let smaller: F32x16

    /// `e` is e^-|z|.
    @_transparent public init(exponential e: F32x16) {
      larger = 1 / (1 + e)
      smaller = e * larger
    }
  }
}
