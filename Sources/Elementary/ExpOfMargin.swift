import CPlatform

// What results in single precision need no more of. Their own rounding is 2^-25; an error of 2^-34 before it changes one
// in a thousand of them, and by no more than their last digit. Coefficients from tools/minimax.py.

/// e^x for x <= 0.
///
/// Edge cases: exactly 1 at 0, below -708 it stays there (no single is so small), 0 at -inf; NaN stays NaN.
/// Postcondition: within 2^-34 of the result, relatively.
@_transparent public func expOfMargin(_ x: F64x8) -> F64x8 {
  platform_has_fma() ? expOfMarginInlined(x) : expOfMarginShared(x)
}

@inline(never) public func expOfMarginShared(_ x: F64x8) -> F64x8 { expOfMarginInlined(x) }

@_transparent public func expOfMarginInlined(_ x: F64x8) -> F64x8 {
  let bounded = x.atLeast(-708)
  let shifted = bounded.fma(F64x8(repeating: log2e), rounder)
  let r = (shifted - rounder).fma(F64x8(repeating: -ln2), bounded)
  var power = F64x8(repeating: 0.00019767671881257853)
  power = power.fma(r, 0.0013945897746737413)
  power = power.fma(r, 0.008333568898183001)
  power = power.fma(r, 0.041666272551911514)
  power = power.fma(r, 0.1666666516380079)
  power = power.fma(r, 0.5000000077146055)
  power = power.fma(r, 1.0000000002085947)
  power = power.fma(r, 1)
  return F64x8(repeating: 0).selected(x .== -.infinity, else: power * powerOfTwo(shifted))
}
