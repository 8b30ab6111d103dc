import Elementary
import Preference

/// One body of each elementary function for all formulas that are not worth more.
enum OutOfLine: ElementaryFunctions {
  @inline(never) static func exp(_ x: F64x8) -> F64x8 { Elementary.exp(x) }
  @inline(never) static func exp(_ x: DoubleDouble) -> F64x8 {
    let power = exp(x.high)
    return power.fma(x.low.orZero, power).selected(power .< F64x8(repeating: .infinity), else: power)
  }
  @inline(never) static func sum(_ x: F64x8, _ y: F64x8) -> F64x8 { x.saturatingSum(y) }
  @inline(never) static func expm1(_ x: F64x8) -> F64x8 { Elementary.expm1(x, exp(x), log(exp(x))) }
  @inline(never) static func log(_ x: F64x8) -> F64x8 { Elementary.log(x) }
  @inline(never) static func logistic(_ x: DoubleDouble) -> Logistic { Logistic(x, precisely: true) }
  @inline(never) static func extendedExp(_ x: DoubleDouble) -> (exp: DoubleDouble, expm1: DoubleDouble) {
    Elementary.extendedExp(x)
  }
  @inline(never) static func extendedLog(_ x: DoubleDouble) -> DoubleDouble {
    Elementary.extendedLog(x, log(x.high)) { extendedExp($0).exp }
  }
  @inline(never) static func quotient(
    _ x: DoubleDouble, less y: DoubleDouble, over first: F64x8, _ second: F64x8
  ) -> F64x8 {
    quotient(quotient(difference(x, y), first), second).high
  }
  @inline(never) static func difference(_ x: DoubleDouble, _ y: DoubleDouble) -> DoubleDouble { x - y }
  @inline(never) static func quotient(_ x: DoubleDouble, _ y: F64x8) -> DoubleDouble { x / y }
  @inline(never) static func logistic(single x: F64x8) -> Logistic { Logistic(single: x) }
}
