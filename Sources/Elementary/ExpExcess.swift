import CPlatform

// What an exponential has beyond its tangent at 0. It is the summand of every divergence between near distributions,
// where e^x - 1 - x itself would cancel to nothing. Coefficients from tools/minimax.py.

/// e^x - 1 - x, which is at least 0 and near x^2 / 2 for small x.
///
/// Edge cases: 0 at 0, inf at -inf and at inf; NaN stays NaN.
/// Postcondition: within 4 ulp.
@_transparent public func expExcess(_ x: DoubleDouble) -> F64x8 {
  let far = (exp(x) - 1) - x.high
  return expExcessNear(x.high).selected(x.high.magnitude .<= 1, else: far)
}

/// e^x - 1 - x for x in [-1, 1]. Postcondition: within 2 ulp.
@_transparent public func expExcessNear(_ x: F64x8) -> F64x8 {
  platform_has_fma() ? expExcessNearInlined(x) : expExcessNearShared(x)
}

@inline(never) public func expExcessNearShared(_ x: F64x8) -> F64x8 { expExcessNearInlined(x) }

@_transparent public func expExcessNearInlined(_ x: F64x8) -> F64x8 {
  var tail = F64x8(repeating: 4.7988588450681834e-14)
  tail = tail.fma(x, 7.752866407013716e-13)
  tail = tail.fma(x, 1.147124066674447e-11)
  tail = tail.fma(x, 1.6057462261697464e-10)
  tail = tail.fma(x, 2.0876744828507955e-09)
  tail = tail.fma(x, 2.50521204130555e-08)
  tail = tail.fma(x, 2.755731932490912e-07)
  tail = tail.fma(x, 2.755731917507805e-06)
  tail = tail.fma(x, 2.4801587301197134e-05)
  tail = tail.fma(x, 0.00019841269841371754)
  tail = tail.fma(x, 0.001388888888888958)
  tail = tail.fma(x, 0.00833333333333324)
  tail = tail.fma(x, 0.041666666666666664)
  tail = tail.fma(x, 0.16666666666666666)
  tail = tail.fma(x, 0.5)
  return x * x * tail
}

/// e^x for an argument of about 106 bits. Postcondition: within 1 ulp.
@_transparent public func exp(_ x: DoubleDouble) -> F64x8 {
  let power = exp(x.high)
  return power.selected(power .== .infinity, else: power.fma(x.low, power))
}
