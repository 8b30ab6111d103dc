import CPlatform

/// Sixteen margins z as -z log2(e) in fixed point: what single precision needs of them.
///
/// An error in z is one of as many ulps of e^-|z| as z has bits before the point, so that a single would not do.
public struct FixedPointMargin {
  /// In units of 2^-24
  public let value: SIMD16<Int32>

  @_transparent public init(_ z: F64x16) { self = platform_has_fma() ? Self(inlined: z) : .shared(z) }

  @inline(never) public static func shared(_ z: F64x16) -> Self { Self(inlined: z) }

  @_transparent public init(inlined z: F64x16) {
    let words = platform_lower_words(Self.shifted(z.low), Self.shifted(z.high))
    value = unsafeBitCast(words, to: SIMD16<Int32>.self)
  }

  /// One margin, in all lanes.
  @_transparent public init(repeating z: Double) {
    let word = platform_first_word(Self.shifted(F64x8(repeating: z)))
    value = unsafeBitCast(word, to: SIMD16<Int32>.self)
  }

  /// The sum's last digit is 2^-24, and its lowest 32 bits hold the number.
  @_transparent public static func shifted(_ z: F64x8) -> F64x8 {
    z.fma(F64x8(repeating: -log2e), F64x8(repeating: 0x1.8p28))
  }

  /// e^-|z| = 2^n 2^f, with n the nearest integer and |f| <= 1/2.
  @_transparent public var exponential: F32x16 {
    let size = unsafeBitCast(platform_magnitude(value), to: SIMD16<UInt32>.self)
    // Halves go to the lower n, as the sign of f below has it.
    let power = (((127 << 24) + (1 << 23) - 1) &- size) &>> 1 & 0x7f80_0000
    let f = platform_singles(unsafeBitCast(size &<< 8, to: SIMD16<Int32>.self)) * F32x16(repeating: -0x1p-32)
    return RowExponential.power(f, .single) * unsafeBitCast(power, to: F32x16.self)
  }

  /// |z| + rest, where the rest is log1p(e^-|z|): beside it, |z|'s last digits don't count.
  @_transparent public func size(plus rest: F32x16) -> F32x16 {
    platform_singles(platform_magnitude(value)).fma(Self.nats, rest)
  }

  /// The same for max(-z, 0): -log sigma(z).
  @_transparent public func shortfall(plus rest: F32x16) -> F32x16 {
    platform_singles(platform_larger(value, SIMD16<Int32>(repeating: 0))).fma(Self.nats, rest)
  }

  /// One unit of `value`.
  @_transparent public static var nats: F32x16 { F32x16(repeating: Float(ln2) * 0x1p-24) }

  /// |z|, in an order of its own, in which NaN comes last; the lanes are in any order.
  @_transparent public static func sizes(_ z: F64x16) -> SIMD16<UInt32> {
    let upper = platform_upper_words_in_any_order(z.low, z.high)
    return upper &+ upper
  }

  /// Whether all numbers of those sizes, and of smaller ones, are in the domain of `LogisticInSingle`: |z| < 80.
  @_transparent public static func areInDomain(_ sizes: SIMD16<UInt32>) -> Bool {
    platform_largest_word(sizes) < 2 * 0x4054_0000
  }
}

/// The logistic function at sixteen margins z in single precision.
///
/// Domain: |z| < 80, where e^-|z| is a normal number. Other lanes hold some number.
/// Postcondition: within 3.5 ulp, -log sigma(z) likewise.
public struct LogisticInSingle {
  /// sigma(-z)
  public let complement: F32x16
  /// log1p(e^-|z|)
  public let rest: F32x16

  @_transparent public init(_ z: FixedPointMargin) {
    self = platform_has_fma() ? Self(z, exponential: z.exponential) : .shared(z)
  }

  @inline(never) public static func shared(_ z: FixedPointMargin) -> Self { Self(z, exponential: z.exponential) }

  /// `e` is `z.exponential`.
  @_transparent public init(_ z: FixedPointMargin, exponential e: F32x16) {
    let sides = Sides(exponential: e)
    complement = platform_select_single(platform_exceeds(z.value, -1), sides.larger, sides.smaller)
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
