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
  /// sigma'(z) = sigma(z) sigma(-z), rounded once if `precisely` is asked for
  public let steepness: F64x8
  /// log1p(e^-|z|), what softplus(z) and softplus(-z) have in common; in [0, ln 2]
  public let rest: F64x8

  /// log(1 + e^z)
  public let softplus: F64x8
  /// log(1 + e^-z) = -log sigma(z)
  public let negativeSoftplus: F64x8

  @_transparent public init(_ z: DoubleDouble, precisely: Bool = false) {
    let e = Self.exponential(z)
    self.init(z, exponential: e, rest: log1pOfUnit(e.rounded), precisely: precisely)
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
  @_transparent public static func exponential(_ z: DoubleDouble) -> DoubleDouble {
    expOfNegativePair(DoubleDouble(high: -z.high.magnitude, low: z.low.selected(z.high .< 0, else: -z.low)))
  }

  /// The same where e^-|z| and its `rest` are known.
  @_transparent public init(
    _ z: DoubleDouble, exponential e: DoubleDouble, rest: F64x8, precisely: Bool = false
  ) {
    let low = z.low.selected(z.high .>= 0, else: -z.low)
    self.init(
      z.high, exponential: e, rest: rest, linear: z.high.magnitude + (rest + low), precisely: precisely)
  }

  /// Both sides are rounded once: 1 / (1 + e) has what the sum and the quotient were rounded by.
  @_transparent public init(_ z: F64x8, exponential e: DoubleDouble, rest: F64x8, linear: F64x8, precisely: Bool) {
    let total = 1 + e.high
    let share = DoubleDouble(high: total, low: (e.high - (total - 1)) + e.low).reciprocal
    let larger = share.rounded
    let smaller = e.roundedProduct(share)
    // e / (1 + e)^2
    let steepness = precisely ? e.roundedProduct(share.times(share)) : larger * smaller
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
