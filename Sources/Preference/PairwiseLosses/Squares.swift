import Elementary

/// IPO: (h - 1 / (2 beta))^2 with h = z / beta (Azar et al. 2023; beta is the paper's tau).
public enum IPOLoss: GeneralLoss {
  @_transparent public static func jet<Functions: ElementaryFunctions>(
    _ point: PairPoint, _ z: Logistic, _ functions: Functions.Type
  ) -> PairJet {
    let square = expectedSquare(point.z, point.p, point.q, point.beta, functions)
    var jet = PairJet(value: square.value, slope: square.slope, curvature: 2 / point.beta / point.beta)
    // (z - 1/2) / beta = h - (margin + 1/2) / beta
    if point.wantsBeta {
      jet.beta = squareByBeta(point, reach: F64x8(repeating: 0.5), margin: point.margin, functions)
    }
    return jet
  }
}

/// SPPO with hard labels: (a - 1 / (2 beta))^2 + (b + 1 / (2 beta))^2 (Wu et al. 2024).
public enum SPPOLoss: GeneralLoss {
  @_transparent public static func jet<Functions: ElementaryFunctions>(
    _ point: PairPoint, _ z: Logistic, _ functions: Functions.Type
  ) -> PairJet {
    let chosen = expectedSquare(point.chosen, point.p, point.q, point.beta, functions)
    let rejected = expectedSquare(point.rejected, point.q, point.p, point.beta, functions)
    var jet = PairJet(
      value: chosen.value + rejected.value, chosen: chosen.slope, rejected: rejected.slope,
      curvature: 1 / point.beta / point.beta)
    // (u - 1/2) / beta = a - (margin / 2 + 1/2) / beta, and (v + 1/2) / beta = b + the same; u - v = z
    if point.wantsBeta {
      jet.beta = squareByBeta(point, reach: F64x8(repeating: 1), margin: 0.5 * point.margin, functions)
    }
    return jet
  }
}

/// p ((x - 1/2) / beta)^2 + q ((x + 1/2) / beta)^2 where p + q = 1, and its slope by x.
@inline(never) public func expectedSquare<Functions: ElementaryFunctions>(
  _ x: DoubleDouble, _ p: F64x8, _ q: F64x8, _ beta: F64x8, _: Functions.Type
) -> Jet {
  let (half, one) = (F64x8(repeating: 0.5), F64x8(repeating: 1))
  // Where one of them is 0 in all pairs, there is one square.
  let hasFlipped = (q .!= 0).hasAny
  if !hasFlipped || !(p .!= 0).hasAny {
    let distance = (x - (hasFlipped ? -half : half)) / beta
    return Jet(value: distance.high * distance.high, slope: 2 * (distance / beta).high)
  }
  let right = Functions.quotient(x, less: DoubleDouble(half), over: beta, one)
  let flipped = Functions.quotient(x, less: DoubleDouble(-half), over: beta, one)
  // x - (p - q) / 2, by the smaller of p and q, which is not rounded.
  let isSure = p .>= q
  let lean = DoubleDouble.sum(half.selected(isSure, else: -half), (-q).selected(isSure, else: p))
  let distance = Functions.quotient(x, less: lean, over: beta, beta)
  return Jet(value: expected(p, right * right, q, flipped * flipped), slope: 2 * distance)
}

/// What beta adds where squares of (z - reach) / beta = ... - (margin + 1/2) / beta are expected; flipped, of
/// (z + reach) / beta = ... - (margin - 1/2) / beta.
@_transparent public func squareByBeta<Functions: ElementaryFunctions>(
  _ point: PairPoint, reach: F64x8, margin: F64x8, _ functions: Functions.Type
) -> F64x8 {
  let right = pull(point.z, less: reach, margin + 0.5, point.p, point.beta, functions)
  let flipped = pull(point.z, less: -reach, margin - 0.5, point.q, point.beta, functions)
  return 2 * right.saturatingSum(flipped) / point.beta
}

@inline(never) public func pull<Functions: ElementaryFunctions>(
  _ z: DoubleDouble, less reach: F64x8, _ margin: F64x8, _ p: F64x8, _ beta: F64x8, _: Functions.Type
) -> F64x8 {
  let distance = Functions.quotient(z, less: DoubleDouble(reach), over: beta, F64x8(repeating: 1))
  return distance.weighted(by: margin / beta).weighted(by: p)
}

/// Reward-aware preference optimization with squared distance: (z - target)^2 (Nvidia 2024, Nemotron-4; Sun et al. 2025).
public enum RewardSquaredLoss: MarginLoss {
  @_transparent public static func jet(_ point: PairPoint, _ z: Logistic) -> PairJet {
    let distance = (point.z - point.target).high
    return PairJet(value: distance * distance, slope: 2 * distance, curvature: F64x8(repeating: 2))
  }
}
