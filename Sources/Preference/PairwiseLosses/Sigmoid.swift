import Elementary

/// DPO: -p log sigma(z) - q log sigma(-z) (Rafailov et al. 2023; p < 1 is cDPO, Mitchell 2023).
public enum SigmoidLoss: MarginLoss {
  @_transparent public static func jet(_ point: PairPoint, _ z: Logistic) -> PairJet {
    let jet = bernoulliCrossEntropy(point.z, z, p: point.p, q: point.q)
    return PairJet(value: jet.value, slope: jet.slope, curvature: z.steepness)
  }
}

/// Robust DPO: the unbiased estimate of DPO's loss where labels are flipped at a known rate e (Chowdhury et al. 2024),
///
///     ((1 - e) softplus(-z) - e softplus(z)) / (1 - 2 e)
///
/// for a label that is surely right; in general DPO's with p' = (p - e) / (1 - 2 e), which may lie outside [0, 1].
public enum RobustLoss: MarginLoss {
  @_transparent public static func jet(_ point: PairPoint, _ z: Logistic) -> PairJet {
    let e = point.parameters.flipRate
    let scale = 1 - 2 * e
    let jet = bernoulliCrossEntropy(point.z, z, p: (point.p - e) / scale, q: (point.q - e) / scale)
    return PairJet(value: jet.value, slope: jet.slope, curvature: z.steepness)
  }
}

/// The odds-ratio term of ORPO: beta times DPO's loss, where z is a difference of log-odds without a factor of beta
/// (Hong et al. 2024).
public enum OddsRatioLoss: MarginLoss {
  @_transparent public static func jet(_ point: PairPoint, _ z: Logistic) -> PairJet {
    let jet = bernoulliCrossEntropy(point.z, z, p: point.p, q: point.q)
    var result = PairJet(
      value: jet.value.weighted(by: point.beta), slope: jet.slope * point.beta,
      curvature: z.steepness * point.beta)
    result.beta = jet.value
    return result
  }
}
