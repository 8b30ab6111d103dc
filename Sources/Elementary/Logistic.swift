import CPlatform

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
  /// sigma'(z) = sigma(z) sigma(-z), rounded once more than e^-|z| if `precisely` is asked for
  public let steepness: F64x8
  /// log1p(e^-|z|), what softplus(z) and softplus(-z) have in common; in [0, ln 2]
  public let rest: F64x8

  /// log(1 + e^z)
  public let softplus: F64x8
  /// log(1 + e^-z) = -log sigma(z)
  public let negativeSoftplus: F64x8

  /// - Parameter z: `z.low` enters to first order, which is exact to well below an ulp.
  @_transparent public init(_ z: DoubleDouble, precisely: Bool = false) {
    let e = Self.exponential(z)
    self.init(z, exponential: e, rest: log1pOfUnit(e), precisely: precisely)
  }

  /// For results in single precision: the numbers of `LogisticInSingle`, and beyond its domain those of doubles.
  @_transparent public init(single z: F64x8) {
    let e = expOfMargin(-z.magnitude)
    let (larger, rest) = (1 / (1 + e), log1pOfUnit(e))
    let margin = FixedPointMargin(F64x16(low: z, high: F64x8(repeating: 0)))
    let single = margin.exponential
    let (sides, singleRest) = (LogisticInSingle.Sides(exponential: single), log1pOfUnit(single))
    let isOutside = .!(z.magnitude .< 80)
    self.init(
      z, larger: larger.selected(isOutside, else: platform_widen_low(sides.larger)),
      smaller: (e * larger).selected(isOutside, else: platform_widen_low(sides.smaller)),
      rest: rest.selected(isOutside, else: platform_widen_low(singleRest)),
      linear: (z.magnitude + rest).selected(isOutside, else: platform_widen_low(margin.size(plus: singleRest))))
  }

  /// sigma(|z|), sigma(-|z|), log1p(e^-|z|) and |z| + log1p(e^-|z|), as single precision has them.
  @_transparent public init(_ z: F64x8, larger: F64x8, smaller: F64x8, rest: F64x8, linear: F64x8) {
    self.init(z, larger: larger, smaller: smaller, steepness: larger * smaller, rest: rest, linear: linear)
  }

  /// e^-|z|
  @_transparent public static func exponential(_ z: DoubleDouble) -> F64x8 {
    let low = z.low.selected(z.high .>= 0, else: -z.low)
    let e = exp(-z.high.magnitude)
    return e.fma(-low, e)
  }

  /// The same where e^-|z| and its `rest` are known.
  @_transparent public init(
    _ z: DoubleDouble, exponential e: F64x8, rest: F64x8, precisely: Bool = false
  ) {
    let low = z.low.selected(z.high .>= 0, else: -z.low)
    self.init(
      z.high, exponential: e, rest: rest, linear: z.high.magnitude + (rest + low), precisely: precisely)
  }

  @_transparent public init(_ z: F64x8, exponential e: F64x8, rest: F64x8, linear: F64x8, precisely: Bool) {
    let total = 1 + e
    let larger = 1 / total
    let smaller = e * larger
    var steepness = larger * smaller
    if precisely {
      // e / (1 + e)^2 with what the sum, the quotient and the square were rounded by.
      let share = DoubleDouble(high: total, low: e - (total - 1)).reciprocal
      let square = share.times(share)
      steepness = e.fma(square.high, e * square.low)
    }
    self.init(z, larger: larger, smaller: smaller, steepness: steepness, rest: rest, linear: linear)
  }

  @_transparent public init(
    _ z: F64x8, larger: F64x8, smaller: F64x8, steepness: F64x8, rest: F64x8, linear: F64x8
  ) {
    let positive = z .>= 0
    self.steepness = steepness
    sigmoid = larger.selected(positive, else: smaller)
    complement = smaller.selected(positive, else: larger)
    self.rest = rest
    softplus = linear.selected(positive, else: rest)
    negativeSoftplus = rest.selected(positive, else: linear)
  }
}
