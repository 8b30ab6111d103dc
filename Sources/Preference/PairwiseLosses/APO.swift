import Elementary

// Anchored preference optimization (D'Oosterlinck et al. 2024). sigma'' = sigma' (sigma(-x) - sigma(x)).

/// APO-zero: sigma(-u) + sigma(v), which raises the chosen response and lowers the other.
public enum APOZeroLoss: PairwiseLoss {
  @_transparent public static func jet(_ point: PairPoint, _: Logistic, _ u: Logistic, _ v: Logistic) -> PairJet {
    let slopeU = u.steepness
    let slopeV = v.steepness
    let bendU = slopeU * (u.complement - u.sigmoid)
    let bendV = slopeV * (v.complement - v.sigmoid)
    let sure = point.p - point.q
    return PairJet(
      value: point.p * (u.complement + v.sigmoid) + point.q * (v.complement + u.sigmoid),
      chosen: -(sure * slopeU),
      rejected: sure * slopeV,
      curvature: 0.25 * sure * (bendV - bendU))
  }
}

/// APO-down: sigma(u) + sigma(-z), which lowers both responses, the rejected one further.
public enum APODownLoss: PairwiseLoss {
  @_transparent public static func jet(_ point: PairPoint, _ z: Logistic, _ u: Logistic, _ v: Logistic) -> PairJet {
    let slopeZ = (point.p - point.q) * z.steepness
    let slopeU = point.p * u.steepness
    let slopeV = point.q * v.steepness
    return PairJet(
      value: point.p * (u.sigmoid + z.complement) + point.q * (v.sigmoid + z.sigmoid),
      chosen: slopeU - slopeZ,
      rejected: slopeV + slopeZ,
      curvature: 0.25 * (slopeU * (u.complement - u.sigmoid) + slopeV * (v.complement - v.sigmoid))
        - slopeZ * (z.complement - z.sigmoid))
  }
}
