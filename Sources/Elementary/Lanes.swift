import CPlatform

/// Eight numbers computed at once, each on its own: the unit of work of all arithmetic in double precision.
///
/// The width is fixed, whatever the machine's registers hold, so that sums over lanes have the same order everywhere.
public typealias F64x8 = SIMD8<Double>

/// Sixteen numbers at once: the unit of work over single-precision logits.
public typealias F32x16 = SIMD16<Float>

extension SIMD where Scalar: FloatingPoint {
  /// `self` where the mask is set, `other` elsewhere.
  @_transparent public func selected(_ mask: SIMDMask<MaskStorage>, else other: Self) -> Self {
    other.replacing(with: self, where: mask)
  }
}

extension SIMD8 where Scalar == Double {
  @_transparent public func selected(_ mask: SIMDMask<SIMD8<Int64>>, else other: Self) -> Self {
    platform_select(unsafeBitCast(mask, to: SIMD8<Int64>.self), self, other)
  }

  /// `self * factor + addend`, rounded once.
  @_transparent public func fma(_ factor: Self, _ addend: Self) -> Self {
    platform_has_fma() ? platform_fma(self, factor, addend) : fmaShared(factor, addend)
  }

  @inline(never) public func fmaShared(_ factor: Self, _ addend: Self) -> Self { platform_fma(self, factor, addend) }

  @_transparent public func fma(_ factor: Self, _ addend: Double) -> Self { fma(factor, Self(repeating: addend)) }

  /// The absolute value: the sign bit cleared.
  @_transparent public var magnitude: Self {
    unsafeBitCast(unsafeBitCast(self, to: SIMD8<UInt64>.self) & 0x7fff_ffff_ffff_ffff, to: Self.self)
  }

  /// The larger of each lane and `bound`; NaN stays NaN.
  @_transparent public func atLeast(_ bound: Double) -> Self {
    let bound = Self(repeating: bound)
    return bound.selected(self .< bound, else: self)
  }

  /// The smaller of each lane and `bound`; NaN stays NaN.
  @_transparent public func atMost(_ bound: Double) -> Self {
    let bound = Self(repeating: bound)
    return bound.selected(self .> bound, else: self)
  }
}

extension SIMD8 where Scalar == Double {
  /// The product, in which a factor of 0 wins over an infinite one: a term that has no weight does not count.
  @_transparent public func weighted(by weight: Self) -> Self {
    platform_has_fma() ? weightedInlined(weight) : weightedShared(weight)
  }

  @inline(never) public func weightedShared(_ weight: Self) -> Self { weightedInlined(weight) }

  @_transparent public func weightedInlined(_ weight: Self) -> Self {
    let zero = Self(repeating: 0)
    return zero.selected(self .== 0, else: zero.selected(weight .== 0, else: self * weight))
  }

  /// The sum, in which the first of two infinities of opposite sign stands: they are finite numbers beyond the type, not
  /// undefined ones.
  @_transparent public func saturatingSum(_ other: Self) -> Self {
    let sum = self + other
    return selected((sum .!= sum) .& (other .== other), else: sum)
  }

  /// 0 in place of NaN and infinities.
  @_transparent public var finiteOrZero: Self {
    selected(magnitude .< Self(repeating: .infinity), else: Self(repeating: 0))
  }

  /// The nearest single, where that is a normal number: a factor of results in single precision.
  @_transparent public var inSingle: Self {
    let single = platform_widen(platform_narrow(self))
    let size = single.magnitude
    return single.selected((size .>= 0x1p-126) .& (size .< Self(repeating: .infinity)), else: self)
  }

  /// 0 in place of NaN.
  @_transparent public var orZero: Self { Self(repeating: 0).selected(self .!= self, else: self) }

  /// The first `count` lanes, and 0 in the others.
  @_transparent public func firstLanes(_ count: Int) -> Self { platform_first_lanes(self, Int64(count)) }
}

extension SIMD16 where Scalar == Float {
  /// `self * factor + addend`, rounded once.
  @_transparent public func fma(_ factor: Self, _ addend: Self) -> Self { platform_fmaf(self, factor, addend) }

  @_transparent public func fma(_ factor: Self, _ addend: Float) -> Self { fma(factor, Self(repeating: addend)) }

  /// The sign bit turned.
  @_transparent public static prefix func - (x: Self) -> Self {
    unsafeBitCast(unsafeBitCast(x, to: SIMD16<UInt32>.self) ^ 0x8000_0000, to: Self.self)
  }
}

/// Sixteen doubles: what sixteen singles become where they need more digits.
public struct F64x16 {
  public var low: F64x8
  public var high: F64x8

  @_transparent public init(low: F64x8, high: F64x8) {
    self.low = low
    self.high = high
  }

  @_transparent public init(_ singles: F32x16) {
    low = platform_widen_low(singles)
    high = platform_widen_high(singles)
  }

  @_transparent public init(repeating value: Double) {
    self.init(low: F64x8(repeating: value), high: F64x8(repeating: value))
  }

  /// Rounded to nearest.
  @_transparent public var narrowed: F32x16 { platform_narrow_both(low, high) }

  @_transparent public static func + (x: Self, y: Self) -> Self { Self(low: x.low + y.low, high: x.high + y.high) }
  @_transparent public static func - (x: Self, y: Self) -> Self { Self(low: x.low - y.low, high: x.high - y.high) }
  @_transparent public static func * (x: Self, y: Self) -> Self { Self(low: x.low * y.low, high: x.high * y.high) }

  @_transparent public func fma(_ factor: Self, _ addend: Self) -> Self {
    Self(low: low.fma(factor.low, addend.low), high: high.fma(factor.high, addend.high))
  }

  @_transparent public var magnitude: Self { Self(low: low.magnitude, high: high.magnitude) }
}

// The standard library's operators work lane by lane, which the optimiser does not always put together again.
extension SIMD8 where Scalar == Double {
  @_transparent public static func + (x: Self, y: Self) -> Self { platform_sum(x, y) }
  @_transparent public static func - (x: Self, y: Self) -> Self { platform_difference(x, y) }
  @_transparent public static func * (x: Self, y: Self) -> Self { platform_product(x, y) }
  @_transparent public static func / (x: Self, y: Self) -> Self { platform_quotient(x, y) }
  @_transparent public static func + (x: Double, y: Self) -> Self { Self(repeating: x) + y }
  @_transparent public static func + (x: Self, y: Double) -> Self { x + Self(repeating: y) }
  @_transparent public static func - (x: Double, y: Self) -> Self { Self(repeating: x) - y }
  @_transparent public static func - (x: Self, y: Double) -> Self { x - Self(repeating: y) }
  @_transparent public static func * (x: Double, y: Self) -> Self { Self(repeating: x) * y }
  @_transparent public static func * (x: Self, y: Double) -> Self { x * Self(repeating: y) }
  @_transparent public static func / (x: Double, y: Self) -> Self { Self(repeating: x) / y }
  @_transparent public static func / (x: Self, y: Double) -> Self { x / Self(repeating: y) }
  @_transparent public static func .< (x: Self, y: Double) -> SIMDMask<MaskStorage> { x .< Self(repeating: y) }
  @_transparent public static func .> (x: Self, y: Double) -> SIMDMask<MaskStorage> { x .> Self(repeating: y) }
  @_transparent public static func .>= (x: Self, y: Double) -> SIMDMask<MaskStorage> { x .>= Self(repeating: y) }
  @_transparent public static func .== (x: Self, y: Double) -> SIMDMask<MaskStorage> { x .== Self(repeating: y) }
  @_transparent public static func .!= (x: Self, y: Double) -> SIMDMask<MaskStorage> { x .!= Self(repeating: y) }
  @_transparent public static func .<= (x: Self, y: Double) -> SIMDMask<MaskStorage> { x .<= Self(repeating: y) }
}

extension SIMD8 where Scalar == Double {
  /// The largest lane.
  @_transparent public var largest: Double {
    let quarter = lowHalf.replacing(with: highHalf, where: highHalf .> lowHalf)
    let pair = quarter.lowHalf.replacing(with: quarter.highHalf, where: quarter.highHalf .> quarter.lowHalf)
    return pair[1] > pair[0] ? pair[1] : pair[0]
  }
}

extension SIMDMask where Storage == SIMD8<Int64> {
  /// Whether it is set in any lane.
  @_transparent public var hasAny: Bool { platform_any(unsafeBitCast(self, to: SIMD8<Int64>.self)) }
}
