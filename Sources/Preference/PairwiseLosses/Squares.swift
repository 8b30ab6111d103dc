import Elementary

/// IPO: (h - 1 / (2 beta))^2 with h = z / beta (Azar et al. 2023; beta is the paper's tau).
public enum IPOLoss: GeneralLoss {
  @_transparent public static func jet<Functions: ElementaryFunctions>(
    _ point: PairPoint, _ z: Logistic, _: Functions.Type
  ) -> PairJet {
    let short = Functions.quotient(point.z, plus: -0.5, point.beta)
    let shortFlipped = Functions.quotient(point.z, plus: 0.5, point.beta)
    let value = expected(point.p, short * short, point.q, shortFlipped * shortFlipped)
    var jet = PairJet(
      value: value,
      slope: 2 * expected(point.p, short, point.q, shortFlipped) / point.beta,
      curvature: 2 / point.beta / point.beta)
    // (z - 1/2) / beta = h - (margin + 1/2) / beta
    let (pull, pullFlipped) = ((point.margin + 0.5) / point.beta, (point.margin - 0.5) / point.beta)
    jet.beta = 2 * expected(point.p, short * pull, point.q, shortFlipped * pullFlipped) / point.beta
    return jet
  }
}

/// SPPO with hard labels: (a - 1 / (2 beta))^2 + (b + 1 / (2 beta))^2 (Wu et al. 2024).
public enum SPPOLoss: GeneralLoss {
  @_transparent public static func jet<Functions: ElementaryFunctions>(
    _ point: PairPoint, _ z: Logistic, _: Functions.Type
  ) -> PairJet {
    let chosenShort = Functions.quotient(point.chosen, plus: -0.5, point.beta)
    let chosenFlipped = Functions.quotient(point.chosen, plus: 0.5, point.beta)
    let rejectedShort = Functions.quotient(point.rejected, plus: 0.5, point.beta)
    let rejectedFlipped = Functions.quotient(point.rejected, plus: -0.5, point.beta)
    let value = expected(
      point.p, chosenShort * chosenShort + rejectedShort * rejectedShort,
      point.q, chosenFlipped * chosenFlipped + rejectedFlipped * rejectedFlipped)
    var jet = PairJet(
      value: value,
      chosen: 2 * expected(point.p, chosenShort, point.q, chosenFlipped) / point.beta,
      rejected: 2 * expected(point.p, rejectedShort, point.q, rejectedFlipped) / point.beta,
      curvature: 1 / point.beta / point.beta)
    // (u - 1/2) / beta = a - (margin / 2 + 1/2) / beta, and (v + 1/2) / beta = b + the same
    let pull = (0.5 * point.margin + 0.5) / point.beta
    let pullFlipped = (0.5 * point.margin - 0.5) / point.beta
    jet.beta =
      2
      * expected(
        point.p, (chosenShort - rejectedShort) * pull, point.q, (chosenFlipped - rejectedFlipped) * pullFlipped)
      / point.beta
    return jet
  }
}

/// Reward-aware preference optimization with squared distance: (z - target)^2 (Nvidia 2024, Nemotron-4; Sun et al. 2025).
public enum RewardSquaredLoss: MarginLoss {
  @_transparent public static func jet(_ point: PairPoint, _ z: Logistic) -> PairJet {
    let distance = (point.z - point.target).high
    return PairJet(value: distance * distance, slope: 2 * distance, curvature: F64x8(repeating: 2))
  }
}
