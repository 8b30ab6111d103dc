import Elementary

/// max(0, 1 - z) (SLiC-HF, Zhao et al. 2023, on log-ratios; RSO, Liu et al. 2023). The slope at the kink is 0.
public enum HingeLoss: MarginLoss {
  @_transparent public static func jet(_ point: PairPoint, _ z: Logistic) -> PairJet { hinge(point, at: 1) }
}

/// max(0, -z): SLiC's calibration term, whose margin is that of the pair (Zhao et al. 2023).
public enum SLiCLoss: MarginLoss {
  @_transparent public static func jet(_ point: PairPoint, _ z: Logistic) -> PairJet { hinge(point, at: 0) }
}

/// p max(0, kink - z) + q max(0, kink + z)
@_transparent public func hinge(_ point: PairPoint, at kink: Double) -> PairJet {
  let zero = F64x8(repeating: 0)
  let short = (-point.z + F64x8(repeating: kink)).high
  let shortFlipped = (point.z + F64x8(repeating: kink)).high
  return PairJet(
    value: expected(point.p, short.atLeast(0), point.q, shortFlipped.atLeast(0)),
    slope: point.q.selected(shortFlipped .> 0, else: zero) - point.p.selected(short .> 0, else: zero),
    curvature: zero)
}
