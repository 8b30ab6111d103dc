import Elementary

// Models of comparisons that may end in a tie (Rao and Kupper 1967; Davidson 1970; for DPO Chen et al. 2024,
// arXiv:2409.17431). The probabilities of win, loss and tie sum to 1.

/// Rao-Kupper with nu > 1, A = log nu: a win costs softplus(A - z), a tie softplus(A - z) + softplus(A + z) - log(nu^2 - 1).
public enum RaoKupperLoss: GeneralLoss {
  @_transparent public static func jet<Functions: ElementaryFunctions>(
    _ point: PairPoint, _: Logistic, _: Functions.Type
  ) -> PairJet {
    let threshold = DoubleDouble(
      high: F64x8(repeating: point.parameters.logTieStrength), low: F64x8(repeating: point.parameters.logTieStrengthLow)
    )
    let win = Functions.logistic(threshold - point.z)
    let loss = Functions.logistic(threshold + point.z)
    let nu = point.parameters.tieStrength
    let bendWin = win.steepness
    let bendLoss = loss.steepness
    let decided = PairJet(
      value: expected(point.p, win.softplus, point.q, loss.softplus),
      slope: point.q * loss.sigmoid - point.p * win.sigmoid,
      curvature: point.p * bendWin + point.q * bendLoss)
    let tied = PairJet(
      value: win.softplus + loss.softplus - point.parameters.logTieNormalizer,
      slope: loss.sigmoid - win.sigmoid,
      curvature: bendWin + bendLoss)
    var jet = tied.selected(point.tied, else: decided)
    // By nu = e^A, which also stands in the constant.
    let byThreshold = point.p * win.sigmoid + point.q * loss.sigmoid
    let byThresholdTied = win.sigmoid + loss.sigmoid - 2 * (nu / (nu - 1)) * (nu / (nu + 1))
    jet.tieStrength = byThresholdTied.selected(point.tied, else: byThreshold) / nu
    return jet
  }
}

/// Davidson with nu > 0: win, tie and loss have odds 1 : 2 nu e^(-z/2) : e^-z.
///
/// With w = e^(-|z|/2) and S = 1 + 2 nu w + w^2 the response that is ahead wins with 1/S, the other with w^2/S, and they
/// tie with 2 nu w/S.
public enum DavidsonLoss: GeneralLoss {
  @_transparent public static func jet<Functions: ElementaryFunctions>(
    _ point: PairPoint, _: Logistic, _: Functions.Type
  ) -> PairJet {
    let nu = point.parameters.tieStrength
    let ahead = point.z.high .>= 0
    let distance = point.z.selected(ahead, else: -point.z)
    let w = Functions.exp(DoubleDouble(high: -0.5 * distance.high, low: -0.5 * distance.low))
    let odds = w * (w + 2 * nu)
    let total = log1p(odds, Functions.log(1 + odds))
    let share = 1 / (1 + odds)
    let tie = 2 * nu * w * share
    let behind = w * w * share
    // Probabilities that the chosen response wins and loses.
    let win = share.selected(ahead, else: behind)
    let loss = behind.selected(ahead, else: share)

    let costOfLoss = distance.high + (total + distance.low)
    let decided = expected(
      point.p, total.selected(ahead, else: costOfLoss), point.q, costOfLoss.selected(ahead, else: total))
    let tied = 0.5 * distance.high + (total + 0.5 * distance.low - point.parameters.logTieOdds)
    let slope = point.q * (win + 0.5 * tie) - point.p * (loss + 0.5 * tie)
    // d^2 log S / dz^2 is the variance of the outcome, in which a win is 1, a tie 1/2 and a loss 0.
    let variance = win * loss + 0.25 * tie * (win + loss)
    var jet = PairJet(
      value: tied.selected(point.tied, else: decided),
      slope: (0.5 * (win - loss)).selected(point.tied, else: slope), curvature: variance)
    jet.tieStrength = ((tie - 1) / nu).selected(point.tied, else: 2 * w * share)
    return jet
  }
}

extension PairJet {
  @_transparent public func selected(_ mask: Lanes, else other: PairJet) -> PairJet {
    PairJet(
      value: value.selected(mask, else: other.value), chosen: chosen.selected(mask, else: other.chosen),
      rejected: rejected.selected(mask, else: other.rejected),
      curvature: curvature.selected(mask, else: other.curvature))
  }
}

extension LossParameters {
  /// nu, and the logarithms that the models of ties need of it.
  public mutating func setTieStrength(_ nu: Double) {
    tieStrength = nu
    func logarithm(_ x: Double) -> Double { log(F64x8(repeating: x))[0] }
    let threshold = extendedLog(DoubleDouble(F64x8(repeating: nu)), F64x8(repeating: logarithm(nu))) {
      extendedExp($0).exp
    }
    logTieStrength = threshold.high[0]
    logTieStrengthLow = threshold.low[0]
    logTieOdds = logarithm(2 * nu)
    logTieNormalizer = logarithm(nu - 1) + logarithm(nu + 1)
  }
}
