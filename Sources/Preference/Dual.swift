/// A number with its derivative along a direction: what a computation in such numbers yields for a gradient is the
/// product of the Hessian with that direction, exactly, at a small multiple of the gradient's cost.
struct Dual {
  var value: Double
  var tangent: Double

  init(_ value: Double, _ tangent: Double = 0) {
    self.value = value
    self.tangent = tangent
  }

  static func + (x: Dual, y: Dual) -> Dual { Dual(x.value + y.value, x.tangent + y.tangent) }
  static func - (x: Dual, y: Dual) -> Dual { Dual(x.value - y.value, x.tangent - y.tangent) }
  static func * (x: Dual, y: Dual) -> Dual { Dual(x.value * y.value, x.tangent * y.value + x.value * y.tangent) }
  static func / (x: Dual, y: Dual) -> Dual {
    let quotient = x.value / y.value
    return Dual(quotient, (x.tangent - quotient * y.tangent) / y.value)
  }
  static prefix func - (x: Dual) -> Dual { Dual(-x.value, -x.tangent) }

  static func + (x: Dual, y: Double) -> Dual { Dual(x.value + y, x.tangent) }
  static func - (x: Dual, y: Double) -> Dual { Dual(x.value - y, x.tangent) }
  static func - (x: Double, y: Dual) -> Dual { Dual(x - y.value, -y.tangent) }
  static func * (x: Double, y: Dual) -> Dual { Dual(x * y.value, x * y.tangent) }
  static func / (x: Dual, y: Double) -> Dual { Dual(x.value / y, x.tangent / y) }
  static func / (x: Double, y: Dual) -> Dual { Dual(x) / y }

  static func += (x: inout Dual, y: Dual) { x = x + y }
  static func -= (x: inout Dual, y: Dual) { x = x - y }
  static func *= (x: inout Dual, y: Double) { x = y * x }
}
