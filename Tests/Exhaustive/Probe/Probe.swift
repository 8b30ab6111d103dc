import Elementary

// The elementary functions over arrays, for the exhaustive test alone: the library does not export them.

/// Results of one precision after those of another, `count` each: single, sum, half.
@_cdecl("probe_exp_f32")
public func probeExpF32(_ count: Int, _ x: UnsafePointer<Float>, _ y: UnsafeMutablePointer<Float>) {
  let exponential = RowExponential(scale: 1, exponent: 0)
  for start in stride(from: 0, to: count, by: 16) {
    let values = UnsafeRawPointer(x + start).loadUnaligned(as: F32x16.self)
    let results = UnsafeMutableRawPointer(y + start)
    results.storeBytes(of: exponential.exactValue(values, .single), as: F32x16.self)
    results.storeBytes(of: exponential.exactValue(values, .sum), toByteOffset: 4 * count, as: F32x16.self)
    results.storeBytes(of: exponential.exactValue(values, .half), toByteOffset: 8 * count, as: F32x16.self)
  }
}

@_cdecl("probe_exp_f64")
public func probeExpF64(_ count: Int, _ x: UnsafePointer<Double>, _ y: UnsafeMutablePointer<Double>) {
  for start in stride(from: 0, to: count, by: 8) {
    ElementType.f64.store8(exp(ElementType.f64.load8(x, start)), y, start)
  }
}

@_cdecl("probe_exp_of_margin")
public func probeExpOfMargin(_ count: Int, _ x: UnsafePointer<Double>, _ y: UnsafeMutablePointer<Double>) {
  for start in stride(from: 0, to: count, by: 8) {
    ElementType.f64.store8(expOfMargin(ElementType.f64.load8(x, start)), y, start)
  }
}

@_cdecl("probe_log_f64")
public func probeLogF64(_ count: Int, _ x: UnsafePointer<Double>, _ y: UnsafeMutablePointer<Double>) {
  for start in stride(from: 0, to: count, by: 8) {
    ElementType.f64.store8(log(ElementType.f64.load8(x, start)), y, start)
  }
}

@_cdecl("probe_log1p_f64")
public func probeLog1pF64(_ count: Int, _ x: UnsafePointer<Double>, _ y: UnsafeMutablePointer<Double>) {
  for start in stride(from: 0, to: count, by: 8) {
    ElementType.f64.store8(log1pOfUnit(ElementType.f64.load8(x, start)), y, start)
  }
}

@_cdecl("probe_log1p_f32")
public func probeLog1pF32(_ count: Int, _ x: UnsafePointer<Float>, _ y: UnsafeMutablePointer<Float>) {
  for start in stride(from: 0, to: count, by: 16) {
    let values = UnsafeRawPointer(x + start).loadUnaligned(as: F32x16.self)
    UnsafeMutableRawPointer(y + start).storeBytes(of: log1pOfUnit(values), as: F32x16.self)
  }
}

/// sigma(-z), then -log sigma(z), `count` each.
@_cdecl("probe_logistic_f32")
public func probeLogisticF32(_ count: Int, _ z: UnsafePointer<Float>, _ y: UnsafeMutablePointer<Float>) {
  for start in stride(from: 0, to: count, by: 16) {
    let values = UnsafeRawPointer(z + start).loadUnaligned(as: F32x16.self)
    let margin = FixedPointMargin(F64x16(values))
    let logistic = LogisticInSingle(margin)
    let results = UnsafeMutableRawPointer(y + start)
    results.storeBytes(of: logistic.complement, as: F32x16.self)
    results.storeBytes(of: margin.shortfall(plus: logistic.rest), toByteOffset: 4 * count, as: F32x16.self)
  }
}
