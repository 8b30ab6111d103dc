import Elementary

// The two directions of r(x, y) = beta log pi(y|x) / ref(y|x) + beta log Z(x) (Rafailov et al. 2023, equation 5).

extension LogRatio {
  /// The reward that `policy` is optimal for, with log Z(x).
  @_transparent public func reward(beta: F64x8, logPartition: F64x8) -> F64x8 {
    let quarter = (self.quarter + 0.25 * logPartition) * beta
    return quarter.high * 4
  }
}

/// log pi(y|x) = log ref(y|x) + r(x, y) / beta - log Z(x).
@_transparent public func policyLogp(
  reward: F64x8, reference: F64x8, beta: F64x8, logPartition: F64x8
) -> F64x8 {
  let quarter = DoubleDouble(0.25 * reward) / beta
  return (DoubleDouble.difference(0.25 * reference, 0.25 * logPartition) + quarter).high * 4
}
