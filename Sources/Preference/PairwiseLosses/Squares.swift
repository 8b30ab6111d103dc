import Elementary

/// IPO: (h - 1 / (2 beta))^2 with h = z / beta (Azar et al. 2023; beta is the paper's tau).
public enum IPOLoss: MarginLoss {
  @_transparent public static func jet(_ point: PairPoint, _ z: Logistic) -> PairJet {
    let half = F64x8(repeating: 0.5)
    let short = ((point.z - half) / point.beta).high
    let shortFlipped = ((point.z + half) / point.beta).high
    let value = expected(point.p, short * short, point.q, shortFlipped * shortFlipped)
    var jet = PairJet(
      value: value,
      slope: 2 * expected(point.p, short, point.q, shortFlipped) / point.beta,
      curvature: 2 / point.beta / point.beta)
    // (z - 1/2) / beta = h - (margin + 1/2) / beta
    let (pull, pullFlipped) = ((point.margin + half) / point.beta, (point.margin - half) / point.beta)
    jet.beta = 2 * expected(point.p, short * pull, point.q, shortFlipped * pullFlipped) / point.beta
    return jet
  }
}

/// SPPO with hard labels: (a - 1 / (2 beta))^2 + (b + 1 / (2 beta))^2 (Wu et al. 2024).
public enum SPPOLoss: MarginLoss {
  @_transparent public static func jet(_ point: PairPoint, _ z: Logistic) -> PairJet {
    let half = F64x8(repeating: 0.5)
    let chosenShort = ((point.chosen - half) / point.beta).high
    let chosenFlipped = ((point.chosen + half) / point.beta).high
    let rejectedShort = ((point.rejected + half) / point.beta).high
    let rejectedFlipped = ((point.rejected - half) / point.beta).high
    let value = expected(
      point.p, chosenShort * chosenShort + rejectedShort * rejectedShort,
      point.q, chosenFlipped * chosenFlipped + rejectedFlipped * rejectedFlipped)
    var jet = PairJet(
      value: value,
      chosen: 2 * expected(point.p, chosenShort, point.q, chosenFlipped) / point.beta,
      rejected: 2 * expected(point.p, rejectedShort, point.q, rejectedFlipped) / point.beta,
      curvature: 1 / point.beta / point.beta)
    // (u - 1/2) / beta = a - (margin / 2 + 1/2) / beta, and (v + 1/2) / beta = b + the same
    let pull = (0.5 * point.margin + half) / point.beta
    let pullFlipped = (0.5 * point.margin - half) / point.beta
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
