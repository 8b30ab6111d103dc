import Elementary

/// A function of one variable with its first derivative.
public struct Jet {
  public var value: F64x8
  public var slope: F64x8

  @_transparent public init(value: F64x8, slope: F64x8) {
    self.value = value
    self.slope = slope
  }
}

/// Cross-entropy of a soft label p against sigma(z), with q = 1 - p:
///
///     f(z) = p softplus(-z) + q softplus(z),      f'(z) = q sigma(z) - p sigma(-z) = sigma(z) - p
///
/// At p = 1 this is -log sigma(z), the loss of DPO and of every stage of Plackett-Luce.
/// Edge cases: f = ln 2 at z = 0 for every p; f(inf) = 0 for p = 1 and f(-inf) = 0 for q = 1; NaN stays NaN.
@_transparent public func bernoulliCrossEntropy(_ z: DoubleDouble, p: F64x8, q: F64x8) -> (jet: Jet, Logistic) {
  let logistic = Logistic(z)
  return (bernoulliCrossEntropy(z, logistic, p: p, q: q), logistic)
}

/// The same where the logistic function at z is known. p and q sum to 1; they may lie outside [0, 1].
@_transparent public func bernoulliCrossEntropy(_ z: DoubleDouble, _ logistic: Logistic, p: F64x8, q: F64x8) -> Jet {
  let factor = q.selected(z.high .> 0, else: p)
  let correction = factor * z.low.selected(z.high .> 0, else: -z.low)
  // p max(-z, 0) + q max(z, 0): one of the factors times |z|, and 0 if that factor is 0, even for an infinite z.
  let linear = F64x8(repeating: 0).selected(factor .== 0, else: factor * z.high.magnitude)
  return Jet(value: linear + (logistic.rest + correction), slope: q * logistic.sigmoid - p * logistic.complement)
}

/// The same from what single precision has of the logistic function: a factor of 0 wins over an infinite one.
@_transparent public func bernoulliCrossEntropy(single logistic: Logistic, p: F64x8, q: F64x8) -> Jet {
  let zero = F64x8(repeating: 0)
  let value =
    zero.selected(p .== 0, else: p * logistic.negativeSoftplus) + zero.selected(q .== 0, else: q * logistic.softplus)
  return Jet(value: value, slope: q * logistic.sigmoid - p * logistic.complement)
}
