import CPlatform
import Elementary

// The Plackett-Luce model (Luce 1959; Plackett 1975): a ranking is drawn from the best item on, each stage k choosing
// among the items that are left with probabilities proportional to exp(score).
//
//     loss = sum over stages k of  n_k LSE_k - v_k s_k,     LSE_k = log sum over j >= k of exp(s_j)
//
// with n_k = v_k = 1 for a full ranking. A stage that was not observed has n_k = v_k = 0: its item was there to be
// chosen, no more. Items that are tied share the sum over all that were left before them (Breslow 1974): then the first
// of d has n = d and the others 0, and v = 1 for each.
//
// Two passes, linear in the number of items. Backwards, with exponentials e_k = exp(s_k - s*) relative to a reference s*,
// the sums S_k of e_j over j >= k give the probabilities that the stage picks its item, or another:
//
//     p_k = e_k / S_k        w_k = S_{k+1} / S_k = 1 - p_k
//
// Forwards, the gradient, with A_i the sum of n_k / S_k over the stages k < i,
//
//     d loss / d s_i = sum over k <= i of n_k exp(s_i - LSE_k) - v_i = e_i A_i + (n_i p_i - v_i)
//
// where the last term is -n_i w_i if n_i = v_i: nothing cancels but what must. All sums have positive terms, so that
// their relative error is that of their terms if they are carried in more than double.

/// So many nats may a score be above the reference of its exponential.
public var mostNats: Double { @_transparent get { 300 } }

/// What A_i is held larger by, so that it keeps its digits where it is relative to a reference far above.
@usableFromInline let askedScale = 0x1p500

/// What one stage leaves for the forward pass.
public struct PlackettLuceStage {
  /// e_k, 1 / S_k, and w_k.
  public var exponential: DoubleDouble
  public var inverse: DoubleDouble
  public var another: F64x8

  @_transparent public init(exponential: DoubleDouble, inverse: DoubleDouble, another: F64x8) {
    self.exponential = exponential
    self.inverse = inverse
    self.another = another
  }

  /// p_k
  @_transparent public var chosen: DoubleDouble { exponential.times(inverse) }

  /// -log p_k, but for the distance of the item's score from the reference where p_k is too small for a double.
  @_transparent public var loss: (nearby: F64x8, isTiny: SIMDMask<F64x8.MaskStorage>) {
    let chosen = chosen
    let isTiny = chosen.high .< 0x1p-900
    // There e_k is nothing beside S_k.
    return (-log(ofShare: inverse.selected(isTiny, else: chosen), complement: another), isTiny)
  }
}

/// The backward pass: the items from the last one up to the current one.
///
/// Scores enter as differences of log-ratios alone, so that their size costs no digits. An item that is far above the
/// reference becomes the reference; all before it then count little.
public struct PlackettLuceSuffix {
  public var reference: LogRatio
  public var sum: DoubleDouble

  @_transparent public init(reference: LogRatio, sum: DoubleDouble) {
    self.reference = reference
    self.sum = sum
  }

  /// How far an item's score is above the reference. Where it is too far, the item becomes the reference, and what was
  /// relative to the old one is so to the new one after two multiplications with `rescale`: their product may be too
  /// small for a double.
  @_transparent public mutating func distance(
    of item: LogRatio, beta: F64x8, where mask: SIMDMask<F64x8.MaskStorage>
  ) -> (distance: DoubleDouble, rescale: F64x8) {
    let distance = item.rewardDifference(from: reference, beta: beta)
    let climbs = distance.high .> mostNats .& mask
    if !climbs.hasAny { return (distance, F64x8(repeating: 1)) }
    let zero = DoubleDouble(F64x8(repeating: 0))
    let half = expOfPair(zero.selected(.!climbs, else: distance.scaled(F64x8(repeating: -0.5))))
    sum = sum.times(half).times(half)
    reference = item.selected(climbs, else: reference)
    return (zero.selected(climbs, else: distance), half.rounded)
  }

  /// Puts an item on top of those below it.
  @_transparent public mutating func prepend(_ exponential: DoubleDouble) -> PlackettLuceStage {
    platform_has_fma() ? prependInlined(exponential) : prependShared(exponential)
  }

  @inline(never) public mutating func prependShared(_ exponential: DoubleDouble) -> PlackettLuceStage {
    prependInlined(exponential)
  }

  @_transparent public mutating func prependInlined(_ exponential: DoubleDouble) -> PlackettLuceStage {
    let below = sum
    sum = sum.plus(exponential)
    let inverse = sum.reciprocal
    return PlackettLuceStage(exponential: exponential, inverse: inverse, another: below.times(inverse).rounded)
  }
}

/// The mean of a direction under the probabilities of each stage, for products with the Hessian.
public struct PlackettLuceMean {
  public var mean: F64x8

  @_transparent public init(last direction: F64x8) { mean = direction }

  /// Puts an item on top of those below it. Returns how much its direction exceeds their mean.
  @_transparent public mutating func prepend(_ direction: F64x8, chosen: F64x8) -> F64x8 {
    let excess = direction - mean
    mean = mean + chosen * excess
    return excess
  }
}

/// The forward pass: how much the stages so far have asked of the items that are still to come.
public struct PlackettLucePrefix {
  /// A_i times `askedScale`, relative to the current reference.
  public var asked: DoubleDouble
  /// C_i = A_i S_i and G_i, for products with the Hessian.
  public var carried = F64x8(repeating: 0)
  public var carriedMean = F64x8(repeating: 0)

  @_transparent public init(asked: DoubleDouble) { self.asked = asked.scaled(F64x8(repeating: askedScale)) }

  /// d loss / d s of the stage's item, whose stage counts `normalizers` (n) and `picks` (v) times.
  @_transparent public mutating func slope(
    _ stage: PlackettLuceStage, normalizers: F64x8, picks: F64x8, rescale: F64x8
  ) -> DoubleDouble {
    platform_has_fma()
      ? slopeInlined(stage, normalizers, picks, rescale) : slopeShared(stage, normalizers, picks, rescale)
  }

  @inline(never) public mutating func slopeShared(
    _ stage: PlackettLuceStage, _ normalizers: F64x8, _ picks: F64x8, _ rescale: F64x8
  ) -> DoubleDouble { slopeInlined(stage, normalizers, picks, rescale) }

  @_transparent public mutating func slopeInlined(
    _ stage: PlackettLuceStage, _ normalizers: F64x8, _ picks: F64x8, _ rescale: F64x8
  ) -> DoubleDouble {
    let exact = DoubleDouble(normalizers).times(DoubleDouble(stage.another))
    let chosen = stage.chosen
    let other = normalizers.fma(chosen.high, -picks)
    let same = normalizers .== picks
    let own = (-exact.high).selected(same, else: other)
    let low = (-exact.low).selected(same, else: normalizers * chosen.low)
    let others = stage.exponential.times(asked).scaled(F64x8(repeating: 1 / askedScale))
    let sum = others.high + own
    let part = sum - others.high
    let error = ((others.high - (sum - part)) + (own - part)) + (others.low + low)
    asked = asked.plus(stage.inverse.times(DoubleDouble(normalizers * askedScale)))
      .times(DoubleDouble(rescale)).times(DoubleDouble(rescale))
    return DoubleDouble(high: sum, low: error)
  }

  /// The item's part of the Hessian's product with a direction u:
  ///
  ///     sum over k <= i of n_k p_k(i) (u_i - mean_k(u)) = p_i (w_i e_i (C_i + n_i) - G_i),    e_i = u_i - mean_{i+1}(u)
  ///     C_{i+1} = (C_i + n_i) w_i,        G_{i+1} = w_i (G_i + (C_i + n_i) p_i e_i)
  ///
  /// where G_i stands for the sum over k < i of what stage k asks of its later items times mean_k(u) - mean_i(u).
  @_transparent public mutating func curvature(
    chosen: F64x8, another: F64x8, normalizers: F64x8, excess: F64x8
  ) -> F64x8 {
    let asked = (carried + normalizers) * excess
    let product = chosen * (asked * another - carriedMean)
    carriedMean = another * chosen.fma(asked, carriedMean)
    carried = (normalizers + carried) * another
    return product
  }
}
