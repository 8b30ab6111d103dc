import CPlatform

// Exponentials. e^x = 2^n e^r with n the nearest integer to x / ln 2 and |r| <= ln 2 / 2, where a polynomial gives e^r.
// The coefficients are minimax, from tools/minimax.py.
//
// The library has its own because libm's last digits differ between versions and machines: these are the same bits
// wherever IEEE 754 is, the multiply-adds fused.

/// Adding 1.5 * 2^52 rounds a double of moderate size to an integer, which then stands in the sum's lowest bits.
@usableFromInline let rounder = 0x1.8p52

/// e^x.
///
/// Edge cases: e^-inf = 0, e^inf = inf, NaN stays NaN. Results below the normal range are rounded to subnormal numbers.
/// Postcondition: within 1 ulp.
@_transparent public func exp(_ x: F64x8) -> F64x8 { platform_has_fma() ? expInlined(x) : expShared(x) }

@inline(never) public func expShared(_ x: F64x8) -> F64x8 { expInlined(x) }

@_transparent public func expInlined(_ x: F64x8) -> F64x8 {
  let bounded = x.atLeast(-760).atMost(720)
  let shifted = bounded.fma(F64x8(repeating: log2e), rounder)
  let n = shifted - rounder
  // r = x - n ln 2, with ln 2 in two parts: the first product is exact, and so is the difference. What rounding the
  // second takes from r is added back at the end.
  let high = n.fma(F64x8(repeating: -ln2High), bounded)
  let r = n.fma(F64x8(repeating: -ln2Low), high)
  let lost = n.fma(F64x8(repeating: -ln2Low), high - r)

  let power = 1 + (expTail(r).fma(r * r, lost) + r)

  // 2^n in two factors: n reaches from below the smallest exponent to above the largest.
  let half = n.fma(F64x8(repeating: 0.5), rounder)
  return power * powerOfTwo(half) * powerOfTwo(shifted - (half - rounder))
}

/// e^x to about 56 bits, as two halves, for an argument of about 106 bits.
///
/// Edge cases: 0 below -740; NaN stays NaN. Arguments above 709 are outside its domain.
/// Postcondition: within 0.1 ulp of a double where the result is above 1e-290.
@_transparent public func expOfPair(_ x: DoubleDouble) -> DoubleDouble {
  platform_has_fma() ? expOfPairInlined(x) : expOfPairShared(x)
}

@inline(never) public func expOfPairShared(_ x: DoubleDouble) -> DoubleDouble { expOfPairInlined(x) }

@_transparent public func expOfPairInlined(_ x: DoubleDouble) -> DoubleDouble {
  DoubleDouble(F64x8(repeating: 0)).selected(x.high .< -740, else: expOfNegativePairInlined(x))
}

/// e^x to about 56 bits, as two halves, for x <= 0 of about 106 bits.
///
/// Edge cases: 0 at -inf; NaN stays NaN. Results below the normal range are rounded to subnormal numbers.
/// Postcondition: within 0.1 ulp of a double where the result is above 1e-290.
@_transparent public func expOfNegativePair(_ x: DoubleDouble) -> DoubleDouble {
  platform_has_fma() ? expOfNegativePairInlined(x) : expOfNegativePairShared(x)
}

@inline(never) public func expOfNegativePairShared(_ x: DoubleDouble) -> DoubleDouble { expOfNegativePairInlined(x) }

@_transparent public func expOfNegativePairInlined(_ x: DoubleDouble) -> DoubleDouble {
  // Far below, where the result is 0, the lower half may be of any size.
  let bounded = x.selected(x.high .> -760, else: DoubleDouble(x.high.atLeast(-760)))
  let shifted = bounded.high.fma(F64x8(repeating: 0x1.71547652b82fep0), rounder)
  let n = shifted - rounder
  let high = n.fma(F64x8(repeating: -ln2High), bounded.high)
  let r = n.fma(F64x8(repeating: -ln2Low), high)
  let lost = n.fma(F64x8(repeating: -ln2Low), high - r) + bounded.low
  // e^r - 1 = r + rest, and 1 + that: what each of the two sums rounds off is kept.
  let rest = expTail(r) * (r * r)
  let excess = r + rest
  let sum = 1 + excess
  let low = sum.fma(lost, (excess - (sum - 1)) + (rest - (excess - r)))
  let half = n.fma(F64x8(repeating: 0.5), rounder)
  let (first, second) = (powerOfTwo(half), powerOfTwo(shifted - (half - rounder)))
  return DoubleDouble(high: sum * first * second, low: low * first * second)
}

/// e^x for |x| <= 600, within some 100 ulp where that is large: enough for results in single precision.
@_transparent public func expForSingle(_ x: F64x8) -> F64x8 {
  platform_has_fma() ? expForSingleInlined(x) : expForSingleShared(x)
}

@inline(never) public func expForSingleShared(_ x: F64x8) -> F64x8 { expForSingleInlined(x) }

@_transparent public func expForSingleInlined(_ x: F64x8) -> F64x8 {
  let shifted = x.fma(F64x8(repeating: 0x1.71547652b82fep0), rounder)
  let r = (shifted - rounder).fma(F64x8(repeating: -0x1.62e42fefa39efp-1), x)
  let power = 1 + expTail(r).fma(r * r, r)
  let bits = unsafeBitCast(power, to: SIMD8<UInt64>.self) &+ (unsafeBitCast(shifted, to: SIMD8<UInt64>.self) &<< 52)
  return unsafeBitCast(bits, to: F64x8.self)
}

/// (e^r - 1 - r) / r^2 for |r| <= ln 2 / 2.
@_transparent public func expTail(_ r: F64x8) -> F64x8 {
  var tail = F64x8(repeating: 2.5000072292151244e-08)
  tail = tail.fma(r, 2.7630233914958636e-07)
  tail = tail.fma(r, 2.7557586266408486e-06)
  tail = tail.fma(r, 2.4801493136197254e-05)
  tail = tail.fma(r, 0.00019841269506779664)
  tail = tail.fma(r, 0.001388888894359769)
  tail = tail.fma(r, 0.008333333333494333)
  tail = tail.fma(r, 0.041666666666530267)
  tail = tail.fma(r, 0.16666666666666413)
  return tail.fma(r, 0.5000000000000011)
}

/// 2^n for the integer n that was rounded by adding `rounder`; n in -1022...1023.
@_transparent public func powerOfTwo(_ shifted: F64x8) -> F64x8 {
  let bits = unsafeBitCast(shifted, to: SIMD8<UInt64>.self)
  return unsafeBitCast((bits &+ 1023) &<< 52, to: F64x8.self)
}

/// e^x - 1, to full relative accuracy near 0 as well, given u = e^x rounded and log u: (u - 1) x / log u (Kahan).
///
/// Edge cases: e^-inf - 1 = -1, inf for large x, NaN stays NaN; for tiny x the result is x.
/// Postcondition: within 3 ulp.
@_transparent public func expm1(_ x: F64x8, _ u: F64x8, _ logarithm: F64x8) -> F64x8 {
  let quotient = ((u - 1) * (x / logarithm)).selected(u .!= 1, else: x)
  return quotient.selected(x.magnitude .< 1, else: u - 1)
}
