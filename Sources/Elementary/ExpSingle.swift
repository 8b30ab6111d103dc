import CPlatform

// The single-precision exponential of the row kernels, with the method of Exp.swift: here speed counts, since a language
// model's head asks for one exponential for each vocabulary entry.

/// e^x for x <= 0, and 0 where e^x would be subnormal (x < -87.3): sums whose largest term is 1 don't see it.
///
/// Edge cases: e^-inf = 0; NaN stays NaN. Arguments above 88 are outside its domain.
/// Postcondition: within 1 ulp where the result is normal.
@_transparent public func expNonPositive(_ x: F32x16) -> F32x16 {
  platform_has_fma() ? expNonPositiveInlined(x) : expNonPositiveShared(x)
}

@inline(never) public func expNonPositiveShared(_ x: F32x16) -> F32x16 { expNonPositiveInlined(x) }

@_transparent public func expNonPositiveInlined(_ x: F32x16) -> F32x16 {
  let rounder: Float = 0x1.8p23
  let shifted = x.fma(F32x16(repeating: 0x1.715476p0), rounder)  // log2(e)
  let n = shifted - rounder
  // r = x - n ln 2, with ln 2 in two parts.
  let r = n.fma(F32x16(repeating: 0x1.05c61p-29), n.fma(F32x16(repeating: -0x1.62e43p-1), x))

  var tail = F32x16(repeating: 0.0013814613260779772)
  tail = tail.fma(r, 0.008368709824171195)
  tail = tail.fma(r, 0.04166838736126115)
  tail = tail.fma(r, 0.1666652068983302)
  tail = tail.fma(r, 0.49999993451708435)
  let power = 1 + tail.fma(r * r, r)

  let bits = unsafeBitCast(shifted, to: SIMD16<UInt32>.self)
  let scale = unsafeBitCast((bits &+ 127) &<< 23, to: F32x16.self)
  // Below the threshold the exponent has wrapped around: whatever stands there is replaced.
  return (power * scale).replacing(with: 0, where: x .< -0x1.5d589ep6)
}
