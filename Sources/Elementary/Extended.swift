import CPlatform

// Elementary functions to more than a double's digits, about 2^-64 of the result. Scores need them: a margin of some
// hundreds of nats goes into an exponential, and what it lacks in its last bits is missing there in the first ones.

extension DoubleDouble {
  /// The product of two, to some 102 bits; infinite where it is beyond the largest double.
  @_transparent public static func * (x: Self, y: Self) -> Self {
    platform_has_fma() ? productInlined(x, y) : productShared(x, y)
  }

  @inline(never) public static func productShared(_ x: Self, _ y: Self) -> Self { productInlined(x, y) }

  @_transparent public static func productInlined(_ x: Self, _ y: Self) -> Self {
    let product = x.high * y.high
    let error = x.high.fma(y.high, -product) + (x.high * y.low + x.low * y.high)
    return normalized(product, error)
  }

  /// By a power of two.
  @_transparent public func scaled(_ power: Double) -> Self { Self(high: power * high, low: power * low) }
}

/// e^x and e^x - 1.
///
/// E = e^r - 1 by its series for r = (x - n ln 2) / 256, then eight times E -> 2 E + E^2, which doubles r. Nothing
/// cancels near 0.
/// Edge cases: 0 and -1 at -inf; inf where the result exceeds the largest double; NaN stays NaN.
@_transparent public func extendedExp(_ x: DoubleDouble) -> (exp: DoubleDouble, expm1: DoubleDouble) {
  platform_has_fma() ? extendedExpInlined(x) : extendedExpShared(x)
}

@inline(never) public func extendedExpShared(_ x: DoubleDouble) -> (exp: DoubleDouble, expm1: DoubleDouble) {
  extendedExpInlined(x)
}

@_transparent public func extendedExpInlined(_ x: DoubleDouble) -> (exp: DoubleDouble, expm1: DoubleDouble) {
  let high = x.high.atLeast(-760).atMost(720)
  let shifted = high.fma(F64x8(repeating: log2e), rounder)
  let n = shifted - rounder
  let low = x.low.selected(high .== x.high, else: F64x8(repeating: 0))
  // The first part of ln 2 has 33 bits: its product with n is exact.
  let rest = DoubleDouble.product(n, F64x8(repeating: -ln2Low)) + low
  let r = (DoubleDouble.sum(high, n * -ln2High) + rest).scaled(0x1p-8)

  // (e^r - 1 - r) / r^2 for |r| < 0.0014
  var series = F64x8(repeating: 1.0 / 720)
  series = series.fma(r.high, 1.0 / 120)
  series = series.fma(r.high, 1.0 / 24)
  series = series.fma(r.high, 1.0 / 6)
  series = series.fma(r.high, 0.5)
  var power = r + DoubleDouble.product(series * r.high, r.high)
  var doublings = 0
  while doublings < 8 {
    power = power.scaled(2) + power * power
    doublings &+= 1
  }

  // 2^n in two factors: n reaches from below the smallest exponent to above the largest.
  let half = n.fma(F64x8(repeating: 0.5), rounder)
  let one = F64x8(repeating: 1)
  let exp = (power + one) * powerOfTwo(half) * powerOfTwo(shifted - (half - rounder))
  return (exp, power.selected(n .== 0, else: exp - one))
}

/// log x for x from 1e-307 to 1e307, given log of its double and a function for e^x: log x = L + (x e^-L - 1).
///
/// Postcondition: within 2^-64, or 2^-64 of the result where that is larger.
@_transparent public func extendedLog(
  _ x: DoubleDouble, _ logarithm: F64x8, _ exp: (DoubleDouble) -> DoubleDouble
) -> DoubleDouble {
  (x * exp(DoubleDouble(-logarithm)) - F64x8(repeating: 1)) + logarithm
}
