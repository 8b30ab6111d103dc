import Elementary
import Preference

// TDPO: what the policy has moved away from the reference by at the steps of a pair's responses, beside what these are
// compared by (Zeng et al. 2024).

/// A quarter of alpha * (D(rejected) - D(chosen)), which TDPO takes from the difference of log-ratios.
@inline(never)
func divergenceLead(
  _ divergences: UnsafePointer<TokenDivergences>, _ type: ElementType, _ places: Places
) -> DoubleDouble {
  let chosen = load(type, divergences.pointee.chosen, places, nil, otherwise: 0)
  let rejected = load(type, divergences.pointee.rejected, places, nil, otherwise: 0)
  return DoubleDouble.difference(0.25 * rejected, 0.25 * chosen) * F64x8(repeating: divergences.pointee.alpha)
}

/// x - y, where an infinite x stands: both may be numbers beyond the type. With y = 0 no bit changes.
@inline(never)
func lessened(_ x: DoubleDouble, by y: DoubleDouble) -> DoubleDouble {
  OutOfLine.difference(x, y).selected(x.high - x.high .== 0, else: x)
}
