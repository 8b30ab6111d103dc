import Elementary

// Kullback-Leibler divergences between the model's preference sigma(z) and a target preference.

/// KL(sigma(z) || sigma(t)) = sigma(z) (log sigma(z) - log sigma(t)) + sigma(-z) (log sigma(-z) - log sigma(-t)): the
/// reward-aware loss with forward KL (Nvidia 2024, Nemotron-4; Sun et al. 2025).
public enum RewardForwardKLLoss: GeneralLoss {
  @_transparent public static func jet<Functions: ElementaryFunctions>(
    _ point: PairPoint, _ z: Logistic, _: Functions.Type
  ) -> PairJet {
    let t = Functions.logistic(point.target)
    return modelSeekingKL(point.z, z, target: point.target, t.softplus, t.negativeSoftplus, Functions.self)
  }
}

/// KL(sigma(t) || sigma(z)): the same with backward KL; DPO with soft labels sigma(t), but for a constant.
public enum RewardBackwardKLLoss: GeneralLoss {
  @_transparent public static func jet<Functions: ElementaryFunctions>(
    _ point: PairPoint, _ z: Logistic, _: Functions.Type
  ) -> PairJet {
    let t = Functions.logistic(point.target)
    return PairJet(
      value: expected(
        t.sigmoid, z.negativeSoftplus - t.negativeSoftplus, t.complement, z.softplus - t.softplus
      ).atLeast(0),
      slope: t.complement * z.sigmoid - t.sigmoid * z.complement,
      curvature: z.steepness)
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
      point.z, z, target: DoubleDouble.difference(negativeLogQ, negativeLogP), negativeLogQ, negativeLogP,
      Functions.self)
  }
}

/// KL(sigma(z) || sigma(t)), given t, -log sigma(-t) and -log sigma(t). By z: sigma'(z) (z - t), which vanishes far away
/// on either side. Where sigma' is no normal number, it is taken as two equal factors.
@inline(never) public func modelSeekingKL<Functions: ElementaryFunctions>(
  _ point: DoubleDouble, _ z: Logistic, target: DoubleDouble, _ softplus: F64x8, _ negativeSoftplus: F64x8,
  _: Functions.Type
) -> PairJet {
  let distance = (point - target).high
  let root = Functions.exp(DoubleDouble(point.high.magnitude * -0.5))
  let isFar = point.high.magnitude .> 700
  let factor = root.selected(isFar, else: z.steepness)
  let slope = distance.weighted(by: factor).weighted(by: root.selected(isFar, else: F64x8(repeating: 1)))
  return PairJet(
    value: expected(
      z.sigmoid, negativeSoftplus - z.negativeSoftplus, z.complement, softplus - z.softplus
    ).atLeast(0),
    slope: slope,
    curvature: slope.weighted(by: z.complement - z.sigmoid) + z.steepness)
}
