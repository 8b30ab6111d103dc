import Elementary
import Preference

/// One body of each elementary function for all formulas that are not worth more.
enum OutOfLine: ElementaryFunctions {
  @inline(never) static func exp(_ x: F64x8) -> F64x8 { Elementary.exp(x) }
  @inline(never) static func exp(_ x: DoubleDouble) -> F64x8 {
    let power = exp(x.high)
    let low = x.low.orZero.selected(power .< F64x8(repeating: .infinity), else: F64x8(repeating: 0))
    return power.fma(low, power)
  }
  @inline(never) static func expm1(_ x: F64x8) -> F64x8 { Elementary.expm1(x, exp(x), log(exp(x))) }
  @inline(never) static func log(_ x: F64x8) -> F64x8 { Elementary.log(x) }
  @inline(never) static func logistic(_ x: DoubleDouble) -> Logistic { Logistic(x) }
}
