import Elementary

// Kullback-Leibler divergences between the model's preference sigma(z) and a target preference.

/// KL(sigma(z) || sigma(t)) = sigma(z) (log sigma(z) - log sigma(t)) + sigma(-z) (log sigma(-z) - log sigma(-t)): the
/// reward-aware loss with forward KL (Nvidia 2024, Nemotron-4; Sun et al. 2025).
public enum RewardForwardKLLoss: PairwiseLoss {
  @_transparent public static func points(_ point: PairPoint) -> (DoubleDouble, DoubleDouble) {
    (point.target, point.target)
  }

  @_transparent public static func jet(_ point: PairPoint, _ z: Logistic, _ t: Logistic, _: Logistic) -> PairJet {
    modelSeekingKL(point.z, z, target: point.target, t.softplus, t.negativeSoftplus)
  }
}

/// KL(sigma(t) || sigma(z)): the same with backward KL; DPO with soft labels sigma(t), but for a constant.
public enum RewardBackwardKLLoss: PairwiseLoss {
  @_transparent public static func points(_ point: PairPoint) -> (DoubleDouble, DoubleDouble) {
    (point.target, point.target)
  }

  @_transparent public static func jet(_ point: PairPoint, _ z: Logistic, _ t: Logistic, _: Logistic) -> PairJet {
    PairJet(
      value: expected(
        t.sigmoid, z.negativeSoftplus - t.negativeSoftplus, t.complement, z.softplus - t.softplus
      ).atLeast(0),
      slope: t.complement * z.sigmoid - t.sigmoid * z.complement,
      curvature: z.sigmoid * z.complement)
  }
}

/// EXO for pairs: KL(sigma(z) || p) with p in (0, 1) (Ji et al. 2024).
public enum EXOLoss: GeneralLoss {
  @_transparent public static func jet<Functions: ElementaryFunctions>(
    _ point: PairPoint, _ z: Logistic, _: Functions.Type
  ) -> PairJet {
    let negativeLogP = -log(ofShare: point.p, complement: point.q, Functions.log(point.p))
    let negativeLogQ = -log(ofShare: point.q, complement: point.p, Functions.log(point.q))
    return modelSeekingKL(
      point.z, z, target: DoubleDouble.difference(negativeLogQ, negativeLogP), negativeLogQ, negativeLogP)
  }
}

/// KL(sigma(z) || sigma(t)), given t, -log sigma(-t) and -log sigma(t). By z: sigma'(z) (z - t), which vanishes far away
/// on either side.
@_transparent public func modelSeekingKL(
  _ point: DoubleDouble, _ z: Logistic, target: DoubleDouble, _ softplus: F64x8, _ negativeSoftplus: F64x8
) -> PairJet {
  let weight = z.sigmoid * z.complement
  let slope = (point - target).high.weighted(by: weight)
  return PairJet(
    value: expected(
      z.sigmoid, negativeSoftplus - z.negativeSoftplus, z.complement, softplus - z.softplus
    ).atLeast(0),
    slope: slope,
    curvature: slope * (z.complement - z.sigmoid) + weight)
}
