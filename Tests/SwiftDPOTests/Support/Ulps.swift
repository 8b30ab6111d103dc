/// How many doubles lie between two, counting one end: 0 for equal numbers, 1 for neighbours.
func ulps(_ a: Double, _ b: Double) -> UInt64 {
  if a.isNaN || b.isNaN { return .max }
  func place(_ x: Double) -> Int64 {
    let bits = Int64(bitPattern: x.magnitude.bitPattern)
    return x.sign == .minus ? -bits : bits
  }
  return (place(a) - place(b)).magnitude
}

/// A number from the decimal digits of a reference value.
func exact(_ digits: String) -> Double {
  guard let value = Double(digits) else { preconditionFailure("\(digits) is no number") }
  return value
}
