import Elementary

// Losses of single responses, as functions of y: x for a desirable response, -x for another.

/// KTO's sigma(-y) (Ethayarajh et al. 2024): value, slope and curvature by y.
@_transparent public func ktoLoss(_ y: Logistic) -> (value: F64x8, slope: F64x8, curvature: F64x8) {
  (y.complement, -y.steepness, -(y.steepness * (y.complement - y.sigmoid)))
}

/// BCO's softplus(-y) (Jung et al. 2024).
@_transparent public func bcoLoss(_ y: Logistic) -> (value: F64x8, slope: F64x8, curvature: F64x8) {
  (y.negativeSoftplus, -y.complement, y.steepness)
}
