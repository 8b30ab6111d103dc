import Elementary

/// Estimators of KL(pi || ref) from one sample y of pi (Schulman 2020), with d = log pi(y) - log ref(y):
///
///     k1 = d                  unbiased; often negative
///     k2 = d^2 / 2            biased, of small variance
///     k3 = e^-d - 1 + d       unbiased, and never negative
///
/// Their slopes by log pi(y) are 1, d = k1, and 1 - e^-d = k1 - k3.
public struct KLEstimates {
  public var k1: F64x8
  public var k2: F64x8
  public var k3: F64x8

  @_transparent public init(policy: F64x8, reference: F64x8) {
    let d = DoubleDouble.difference(policy, reference)
    k1 = d.high
    k2 = 0.5 * d.high * d.high
    k3 = expExcess(-d)
  }
}
