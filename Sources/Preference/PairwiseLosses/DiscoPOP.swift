import Elementary

/// DiscoPOP's log-ratio modulated loss (Lu et al. 2024): with m = sigma(z / tau),
///
///     (1 - m) softplus(-z) + m e^-z
///
/// The second term is taken as e^(log m - z): below z = -89 the product of its factors would be 0 * inf in singles.
public enum DiscoPOPLoss: SureLoss {
  @_transparent public static func jet<Functions: ElementaryFunctions>(
    _ point: PairPoint, _ z: Logistic, _ functions: Functions.Type
  ) -> PairJet {
    let tau = F64x8(repeating: point.parameters.discopopTau)
    let scaled = point.z / tau
    let blend = functions.logistic(scaled)
    let (m, c) = (blend.sigmoid, blend.complement)

    // m e^-z = e^(min(z / tau, 0) - z) max(m, c): where z / tau >= 0 the larger factor is m, elsewhere it is c.
    let negative = point.z.high .< 0
    // Far away, where z / tau - z would be inf - inf, it has the sign of (1 / tau - 1) z.
    let limit = DoubleDouble(F64x8(repeating: 0).selected(tau .== 1, else: (tau - 1) * .infinity))
    let growth = scaled - point.z
    let exponent = growth.selected(growth.high .== growth.high, else: limit).selected(negative, else: -point.z)
    let e = functions.exp(exponent) * c.selected(negative, else: m)

    // Slopes of a blend as steep as can be: so small a tau would leave 0 times an infinity.
    let width = tau.atLeast(0x1p-500)
    let rate = c / width
    let softplus = z.negativeSoftplus.atMost(0x1p1000)
    let rise = m / width * softplus
    let slope = e.weighted(by: rate - 1) - c * (rise + z.complement)
    // By z, m has the slope c m / tau.
    let bend = rate.fma((c - m) / width - 2, 1)
    let others = rise * ((m - c) / width) + 2 * (m / width) * z.complement + z.steepness
    return PairJet(
      value: z.negativeSoftplus.weighted(by: c) + e, slope: slope, curvature: e.weighted(by: bend) + c * others)
  }
}
