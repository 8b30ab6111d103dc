import CPlatform

// Logarithms. log((1 + s) / (1 - s)) = 2 atanh(s) = 2 s + s^3 T(s^2), with a minimax polynomial T from tools/minimax.py.
// With s = f / (2 + f) that is log(1 + f), written as f - (f^2/2 - s (f^2/2 + s^2 T)) so that f, which is exact, carries
// the leading digits (the arrangement is that of Ng's log1p in FreeBSD's msun, 1993).

/// ln 2 to 33 bits, and the rest: the product of the first with an exponent is exact.
@usableFromInline let ln2High = 0x1.62e42feep-1
@usableFromInline let ln2Low = 0x1.a39ef35793c76p-33

/// log(1 + f) + k ln 2 for f in [sqrt(1/2) - 1, sqrt(2) - 1].
@_transparent public func log1pReduced(_ f: F64x8, exponent k: F64x8, correction: F64x8 = F64x8(repeating: 0)) -> F64x8
{
  log1pReduced(f, high: k * ln2High, low: k.fma(F64x8(repeating: ln2Low), correction))
}

/// log(1 + f) + high + low.
@_transparent public func log1pReduced(_ f: F64x8, high: F64x8, low: F64x8) -> F64x8 {
  let s = f / (2 + f)
  let z = s * s
  var tail = F64x8(repeating: 0.14797244084737451)
  tail = tail.fma(z, 0.15313978974263415)
  tail = tail.fma(z, 0.1818356450966982)
  tail = tail.fma(z, 0.22222198629921636)
  tail = tail.fma(z, 0.2857142874109451)
  tail = tail.fma(z, 0.3999999999942503)
  tail = tail.fma(z, 0.6666666666666732)
  let halfSquare = 0.5 * f * f
  return high + (f - (halfSquare - s.fma(halfSquare + z * tail, low)))
}

/// log(1 + u) for u in [0, 1].
///
/// Edge cases: NaN stays NaN; for subnormal u the result is u.
/// Postcondition: within 1 ulp.
@_transparent public func log1pOfUnit(_ u: F64x8) -> F64x8 {
  platform_has_fma() ? log1pOfUnitInlined(u) : log1pOfUnitShared(u)
}

@inline(never) public func log1pOfUnitShared(_ u: F64x8) -> F64x8 { log1pOfUnitInlined(u) }

@_transparent public func log1pOfUnitInlined(_ u: F64x8) -> F64x8 {
  let upper = 1 + u .> 0x1.6a09e68p0  // sqrt(2)
  let zero = F64x8(repeating: 0)
  return log1pReduced(
    ((u - 1) * 0.5).selected(upper, else: u), high: F64x8(repeating: ln2High).selected(upper, else: zero),
    low: F64x8(repeating: ln2Low).selected(upper, else: zero))
}

/// log(1 + u) for u in [0, 1], in single precision. The powers of u are taken in two strands, which do not wait for each
/// other.
///
/// Edge cases: NaN stays NaN; for subnormal u the result is u.
/// Postcondition: within 3 ulp.
@_transparent public func log1pOfUnit(_ u: F32x16) -> F32x16 {
  let square = u * u
  var even = F32x16(repeating: -0.003318471608182949).fma(square, -0.05766443200979741)
  var odd = F32x16(repeating: 0.020204579658080434).fma(square, 0.1068055399923979)
  even = even.fma(square, -0.1535539521802905)
  odd = odd.fma(square, 0.19695400087869316)
  even = even.fma(square, -0.24958587317587128)
  odd = odd.fma(square, 0.3333051130845323)
  even = even.fma(square, -0.49999932763126553)
  return odd.fma(u, even).fma(square, u)
}

/// log(1 + x) for any x >= 0; the bits of `log1pOfUnit` where x <= 1.
///
/// Edge cases: NaN stays NaN. Arguments of 2^1022 and more are outside its domain.
/// Postcondition: within 1 ulp.
@_transparent public func log1pOfPositive(_ x: F64x8) -> F64x8 {
  // 1 + x = 2^k m with m in (sqrt(1/2), sqrt(2)]: where the sum rounds doesn't matter, since m - 1 comes from x itself.
  let bits = unsafeBitCast(1 + x, to: SIMD8<UInt64>.self) &+ (0x3ff0_0000_0000_0000 &- 0x3ff6_a09e_6800_0001)
  let exponent = (bits &>> 52) &- 1022
  let k = unsafeBitCast(exponent | 0x4330_0000_0000_0000, to: F64x8.self) - 0x1p52
  let scale = unsafeBitCast((1023 &- exponent) &<< 52, to: F64x8.self)
  return log1pReduced(x.fma(scale, scale - 1), exponent: k)
}

/// log x.
///
/// Edge cases: log 0 = -inf, log inf = inf, NaN for x < 0 or NaN. Subnormal arguments are as accurate as others.
/// Postcondition: within 1 ulp.
@_transparent public func log(_ x: F64x8) -> F64x8 { platform_has_fma() ? logInlined(x) : logShared(x) }

@inline(never) public func logShared(_ x: F64x8) -> F64x8 { logInlined(x) }

@_transparent public func logInlined(_ x: F64x8) -> F64x8 {
  let subnormal = x .< 0x1p-1022
  let scaled = (x * 0x1p54).selected(subnormal, else: x)
  // Move the exponent so that the significand lies in [sqrt(1/2), sqrt(2)).
  let bits = unsafeBitCast(scaled, to: SIMD8<UInt64>.self) &+ (0x3ff0_0000_0000_0000 &- 0x3fe6_a09e_667f_3bcd)
  let significand = unsafeBitCast(
    (bits & 0x000f_ffff_ffff_ffff) &+ 0x3fe6_a09e_667f_3bcd, to: F64x8.self)
  // The biased exponent as a double, by writing it into the low bits of 2^52.
  let exponent = unsafeBitCast((bits &>> 52) | 0x4330_0000_0000_0000, to: F64x8.self) - 0x1p52
  let k = exponent - F64x8(repeating: 1077).selected(subnormal, else: F64x8(repeating: 1023))
  let result = log1pReduced(significand - 1, exponent: k)

  let infinity = F64x8(repeating: .infinity)
  return (-infinity).selected(
    x .== 0,
    else: infinity.selected(
      x .== infinity,
      else: F64x8(repeating: .nan).selected(
        .!(x .>= 0), else: result)))
}

/// log(1 + x) for x >= 0, given log of the rounded 1 + x.
///
/// Edge cases: log(1 + inf) = inf, NaN stays NaN; for tiny x the result is x.
/// Postcondition: within 2 ulp.
@_transparent public func log1p(_ x: F64x8, _ logarithm: F64x8) -> F64x8 {
  let sum = 1 + x
  let lost = x - (sum - 1)
  return logarithm + (lost / sum).orZero
}

/// log s for a share s in (0, 1] of about 106 bits whose complement 1 - s is known as well: near 1 the complement has the
/// digits, elsewhere s itself. Subnormal shares are outside its domain; NaN stays NaN.
/// Postcondition: within 2 ulp.
@_transparent public func log(ofShare s: DoubleDouble, complement: F64x8) -> F64x8 {
  platform_has_fma() ? logOfShareInlined(s, complement) : logOfShareShared(s, complement)
}

@inline(never) public func logOfShareShared(_ s: DoubleDouble, _ complement: F64x8) -> F64x8 {
  logOfShareInlined(s, complement)
}

@_transparent public func logOfShareInlined(_ s: DoubleDouble, _ complement: F64x8) -> F64x8 {
  let near = complement .< 0.25
  let zero = F64x8(repeating: 0)
  let bits = unsafeBitCast(s.high, to: SIMD8<UInt64>.self) &+ (0x3ff0_0000_0000_0000 &- 0x3fe6_a09e_667f_3bcd)
  let significand = unsafeBitCast((bits & 0x000f_ffff_ffff_ffff) &+ 0x3fe6_a09e_667f_3bcd, to: F64x8.self)
  let exponent = bits &>> 52
  let k = unsafeBitCast(exponent | 0x4330_0000_0000_0000, to: F64x8.self) - (0x1p52 + 1023)
  let low = s.low * unsafeBitCast((2046 &- exponent) &<< 52, to: F64x8.self)
  let result = log1pReduced(
    (-complement).selected(near, else: (significand - 1) + low), exponent: zero.selected(near, else: k))
  return result.selected(complement .== complement, else: complement)
}

/// log s for a share s in [0, 1] whose complement 1 - s is known as well: near 1 the complement has the digits.
@_transparent public func log(ofShare s: F64x8, complement: F64x8, _ logarithm: F64x8) -> F64x8 {
  let near = complement .< 0.25
  let reduced = log1pReduced(-complement.selected(near, else: F64x8(repeating: 0)), exponent: F64x8(repeating: 0))
  return reduced.selected(near, else: logarithm)
}
