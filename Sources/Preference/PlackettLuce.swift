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
// Two passes, linear in the number of items. Backwards, the sum S_k of exp(s_j - s*) over j >= k, with s* the largest of
// those scores, gives the probabilities that the stage picks its item, or another:
//
//     p_k = exp(s_k - LSE_k)        w_k = exp(LSE_{k+1} - LSE_k) = 1 - p_k
//
// Forwards, the gradient
//
//     d loss / d s_i = sum over k <= i of n_k exp(s_i - LSE_k) - v_i = p_i (C_i + n_i) - v_i,
//     C_1 = 0,  C_{k+1} = (C_k + n_k) w_k
//
// Nothing is exponentiated but -|difference of scores|, so no score is too large, and nothing cancels but what must.
// With two items the loss is DPO's, to the last bit.

/// What one stage leaves for the forward pass.
public struct StageProbabilities {
  public var chosen: F64x8
  public var another: F64x8

  @_transparent public init(chosen: F64x8, another: F64x8) {
    self.chosen = chosen
    self.another = another
  }
}

/// The backward pass: the items from the last one up to the current one.
///
/// Their sum of exponentials is held as the largest item and the sum of the others relative to it, which is at least 0
/// and below their number. Scores enter as differences of log-ratios alone, so that their size costs no digits.
public struct PlackettLuceSuffix {
  public var largest: LogRatio
  public var others = F64x8(repeating: 0)

  @_transparent public init(last: LogRatio) { largest = last }

  /// Puts an item on top of those below it, in the lanes of `mask`. Returns the item's score below the largest of all,
  /// at least 0, and the stage's probabilities; LSE_k - s_k = below + log(1 + others).
  @_transparent public mutating func prepend(
    _ item: LogRatio, beta: F64x8, where mask: SIMDMask<F64x8.MaskStorage>
  ) -> (below: DoubleDouble, StageProbabilities) {
    let zero = F64x8(repeating: 0)
    let difference = item.rewardDifference(from: largest, beta: beta)
    let above = item.isAtLeast(largest)
    let low = difference.low.selected(above, else: -difference.low)
    let exponential = exp(-difference.high.magnitude)
    let e = exponential.fma(-low, exponential)

    // The new item is the largest: the sum so far, 1 + others, shrinks to e (1 + others). Else the item adds e to it.
    let sum = e.selected(above, else: F64x8(repeating: 1)).fma(others, e)
    let share = 1 / (1 + sum)
    let chosen = share.selected(above, else: e * share)
    let another = sum.selected(above, else: 1 + others) * share

    let below = DoubleDouble(zero).selected(difference.high .> 0, else: -difference)
    largest = item.selected(above, else: largest).selected(mask, else: largest)
    others = sum.selected(mask, else: others)
    return (
      below,
      StageProbabilities(chosen: chosen.selected(mask, else: zero), another: another.selected(mask, else: zero))
    )
  }
}

/// The mean of a direction under the probabilities of each stage, for products with the Hessian.
public struct PlackettLuceMean {
  public var mean: F64x8

  @_transparent public init(last direction: F64x8) { mean = direction }

  /// Puts an item on top of those below it. Returns how much its direction exceeds their mean.
  @_transparent public mutating func prepend(_ direction: F64x8, _ stage: StageProbabilities) -> F64x8 {
    let excess = direction - mean
    mean = mean + stage.chosen * excess
    return excess
  }
}

/// The forward pass: how much the stages so far have asked of the items that are still to come.
public struct PlackettLucePrefix {
  public var carried = F64x8(repeating: 0)
  public var carriedMean = F64x8(repeating: 0)

  @_transparent public init() {}

  /// d loss / d s of the stage's item, whose stage counts `normalizers` (n) and `picks` (v) times.
  @_transparent public mutating func slope(
    _ stage: StageProbabilities, normalizers: F64x8, picks: F64x8
  ) -> F64x8 {
    // n p - v, which is -n w where n = v.
    let own = (-(normalizers * stage.another)).selected(
      normalizers .== picks, else: normalizers.fma(stage.chosen, -picks))
    let slope = stage.chosen.fma(carried, own)
    carried = (normalizers + carried) * stage.another
    return slope
  }

  /// The item's part of the Hessian's product with a direction u:
  ///
  ///     sum over k <= i of n_k p_k(i) (u_i - mean_k(u)) = p_i (w_i e_i (C_i + n_i) - G_i),    e_i = u_i - mean_{i+1}(u)
  ///     G_{i+1} = w_i (G_i + (C_i + n_i) p_i e_i)
  ///
  /// where G_i stands for the sum over k < i of what stage k asks of its later items times mean_k(u) - mean_i(u). To be
  /// called before `slope`.
  @_transparent public mutating func curvature(
    _ stage: StageProbabilities, normalizers: F64x8, excess: F64x8
  ) -> F64x8 {
    let asked = (carried + normalizers) * excess
    let product = stage.chosen * (asked * stage.another - carriedMean)
    carriedMean = stage.another * stage.chosen.fma(asked, carriedMean)
    return product
  }
}
