import Elementary

// The Plackett-Luce model (Luce 1959; Plackett 1975): a ranking is drawn from the best item on, each stage k choosing
// among the items that are left with probabilities proportional to exp(score).
//
//     loss = sum over stages k of softplus(-t_k),     t_k = s_k - LSE_{k+1},     LSE_k = log sum over j >= k of exp(s_j)
//     p_k = sigma(t_k)      the stage picks the item that the ranking has there
//     w_k = sigma(-t_k)     it picks another
//
// Two passes, linear in the number of items. Backwards, LSE_k = log(exp(s_k) + exp(LSE_{k+1})) gives p_k and w_k.
// Forwards, the gradient
//
//     d loss / d s_i = sum over k <= i of exp(s_i - LSE_k) - 1 = p_i C_i - w_i,     C_1 = 0,   C_{k+1} = (1 + C_k) w_k
//
// since exp(LSE_{k+1} - LSE_k) = w_k. Nothing is exponentiated but -|t|, so no score is too large, and nothing cancels
// but what must. For the last item p = 1 and w = 0. With two items t_1 is the margin of DPO and the loss is DPO's.

/// What one stage leaves for the forward pass.
public struct StageProbabilities {
  public var chosen: F64x8
  public var another: F64x8

  @_transparent public init(chosen: F64x8, another: F64x8) {
    self.chosen = chosen
    self.another = another
  }
}

/// The backward pass: the log-sum-exp of the items from the last one up to the current one.
///
/// It is held as the score of the largest item so far and the excess over it, which is in [0, log K]. Scores enter as
/// differences of log-ratios alone, so that their size costs no digits.
public struct PlackettLuceSuffix {
  public var largest: LogRatio
  public var excess = DoubleDouble(F64x8(repeating: 0))

  @_transparent public init(last: LogRatio) { largest = last }

  /// Puts an item on top of those below it. Returns the stage's loss and probabilities.
  @_transparent public mutating func prepend(_ item: LogRatio, beta: F64x8) -> (loss: F64x8, StageProbabilities) {
    let t = item.rewardDifference(from: largest, beta: beta) - excess
    let (jet, logistic) = bernoulliCrossEntropy(t, p: F64x8(repeating: 1), q: F64x8(repeating: 0))
    let above = t.high .>= 0
    largest = item.selected(above, else: largest)
    excess = DoubleDouble(F64x8(repeating: 0)).selected(above, else: excess) + logistic.rest
    return (jet.value, StageProbabilities(chosen: logistic.sigmoid, another: logistic.complement))
  }
}

/// The forward pass: how much the stages so far have asked of the items that were still to come.
public struct PlackettLucePrefix {
  public var carried = F64x8(repeating: 0)

  @_transparent public init() {}

  /// d loss / d s of the stage's item.
  @_transparent public mutating func slope(_ stage: StageProbabilities) -> F64x8 {
    let slope = stage.chosen.fma(carried, -stage.another)
    carried = (1 + carried) * stage.another
    return slope
  }
}
