import Elementary

// Losses that judge the implicit reward of each response by itself.

/// NCA for pairs: softplus(-u) + softplus(u) / 2 + softplus(v) / 2 (Chen et al. 2024).
public enum NCALoss: PairwiseLoss {
  @_transparent public static func jet(_ point: PairPoint, _: Logistic, _ u: Logistic, _ v: Logistic) -> PairJet {
    let better = expected(point.p, u.negativeSoftplus, point.q, v.negativeSoftplus)
    return PairJet(
      value: better + 0.5 * u.softplus + 0.5 * v.softplus,
      chosen: 0.5 * u.sigmoid - point.p * u.complement,
      rejected: 0.5 * v.sigmoid - point.q * v.complement,
      curvature: 0.25 * ((point.p + 0.5) * u.steepness + (point.q + 0.5) * v.steepness))
  }
}

/// The classifier of BCO on pairs: softplus(-u) + softplus(v) (Jung et al. 2024), without its running shift.
public enum BCOPairLoss: PairwiseLoss {
  @_transparent public static func jet(_ point: PairPoint, _: Logistic, _ u: Logistic, _ v: Logistic) -> PairJet {
    PairJet(
      value: expected(point.p, u.negativeSoftplus + v.softplus, point.q, v.negativeSoftplus + u.softplus),
      chosen: point.q * u.sigmoid - point.p * u.complement,
      rejected: point.p * v.sigmoid - point.q * v.complement,
      curvature: 0.25 * (u.steepness + v.steepness))
  }
}
