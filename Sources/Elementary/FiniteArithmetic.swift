import CPlatform

// Numbers of about 106 bits where nothing overflows: the loops over ranked items, which can't afford the care that
// `DoubleDouble`'s operators take of infinities. NaN goes through.

extension DoubleDouble {
  /// The sum of two numbers of one sign, to about 104 bits.
  @_transparent public func plus(_ other: DoubleDouble) -> DoubleDouble {
    platform_has_fma() ? plusInlined(other) : plusShared(other)
  }

  @inline(never) public func plusShared(_ other: DoubleDouble) -> DoubleDouble { plusInlined(other) }

  @_transparent public func plusInlined(_ other: DoubleDouble) -> DoubleDouble {
    let sum = high + other.high
    let part = sum - high
    let error = ((high - (sum - part)) + (other.high - part)) + (low + other.low)
    let rounded = sum + error
    return DoubleDouble(high: rounded, low: error - (rounded - sum))
  }

  /// The product of two numbers, its halves not renormalised.
  @_transparent public func times(_ other: DoubleDouble) -> DoubleDouble {
    platform_has_fma() ? timesInlined(other) : timesShared(other)
  }

  @inline(never) public func timesShared(_ other: DoubleDouble) -> DoubleDouble { timesInlined(other) }

  @_transparent public func timesInlined(_ other: DoubleDouble) -> DoubleDouble {
    let product = high * other.high
    let error = high.fma(other.high, -product) + high.fma(other.low, low * other.high)
    return DoubleDouble(high: product, low: error)
  }

  /// The product, rounded to a double.
  @_transparent public func roundedProduct(_ other: DoubleDouble) -> F64x8 {
    high.fma(other.high, high.fma(other.low, low * other.high))
  }

  /// Both halves times a factor: exact where that is a power of two, and else as good as a double.
  @_transparent public func scaled(_ factor: F64x8) -> DoubleDouble {
    DoubleDouble(high: high * factor, low: low * factor)
  }

  /// 1 / x, to about 104 bits.
  @_transparent public var reciprocal: DoubleDouble { platform_has_fma() ? reciprocalInlined : reciprocalShared }

  public var reciprocalShared: DoubleDouble { @inline(never) get { reciprocalInlined } }

  @_transparent public var reciprocalInlined: DoubleDouble {
    let inverse = 1 / high
    let remainder = (-inverse).fma(low, (-inverse).fma(high, 1))
    return DoubleDouble(high: inverse, low: inverse * remainder)
  }

  /// Rounded to a double.
  @_transparent public var rounded: F64x8 { high + low }
}
