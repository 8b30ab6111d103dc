/// The logistic function and its antiderivatives at one point z, from one exponential:
///
///     sigma(z) = 1 / (1 + e^-z)       softplus(z) = log(1 + e^z)       -log sigma(z) = softplus(-z)
///
/// Exact for any z: softplus(-z) = max(-z, 0) + log1p(e^-|z|), where nothing overflows and nothing cancels.
public struct Logistic {
  /// sigma(z)
  public let sigmoid: F64x8
  /// sigma(-z) = 1 - sigma(z), to full relative accuracy
  public let complement: F64x8
  /// log1p(e^-|z|), what softplus(z) and softplus(-z) have in common; in [0, ln 2]
  public let rest: F64x8

  /// log(1 + e^z)
  public let softplus: F64x8
  /// log(1 + e^-z) = -log sigma(z)
  public let negativeSoftplus: F64x8

  /// - Parameter z: `z.low` enters to first order, which is exact to well below an ulp.
  @_transparent public init(_ z: DoubleDouble) {
    let positive = z.high .>= 0
    let low = z.low.selected(positive, else: -z.low)
    let exponential = exp(-z.high.magnitude)
    let e = exponential.fma(-low, exponential)
    let larger = 1 / (1 + e)
    let smaller = e * larger
    sigmoid = larger.selected(positive, else: smaller)
    complement = smaller.selected(positive, else: larger)
    rest = log1pOfUnit(e)
    let linear = z.high.magnitude + (rest + low)
    softplus = linear.selected(positive, else: rest)
    negativeSoftplus = rest.selected(positive, else: linear)
  }
}
