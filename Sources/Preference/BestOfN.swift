import Elementary

/// 1 - (1 - x)^n: the chance that one of n samples at least is among a share x of all. Nothing cancels for small x.
public func chanceAmong(_ n: Double, share x: Double) -> Double {
  if x >= 1 { return 1 }
  let lanes = F64x8(repeating: x)
  let each = x <= 0.25 ? log1pReduced(-lanes, exponent: F64x8(repeating: 0)) : log(1 - lanes)
  let none = n * each  // log of the chance that none is
  let some = none .> -1
  return (-(none + expExcessNear(none.atLeast(-1)))).selected(some, else: 1 - exp(none))[0]
}

/// log n - (n - 1) / n, which KL(best of n || ref) never exceeds, and equals where no two responses have one reward and
/// each is rare (Beirami et al. 2024).
public func bestOfNBound(_ n: Double, log: (Double) -> Double) -> Double { log(n) - (n - 1) / n }
