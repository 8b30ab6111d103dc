/// tanh x = sign(x) (1 - e^-2|x|) / (1 + e^-2|x|).
///
/// Edge cases: tanh(inf) = 1, tanh(-inf) = -1; NaN stays NaN.
/// Postcondition: within 2 ulp of 1 absolute. Near 0 the relative error grows: its use is c tanh(x / c), where c sets
/// the scale.
@_transparent public func tanh(_ x: F64x8) -> F64x8 {
  let e = exp(-2 * x.magnitude)
  let magnitude = (1 - e) / (1 + e)
  return magnitude.selected(x .>= 0, else: -magnitude)
}
