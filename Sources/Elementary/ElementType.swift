import CPlatform

/// The element types of the caller's buffers. Whatever they are, arithmetic over log-probabilities is in double
/// precision, so that a kernel asks for the type only where it loads and stores: one body of code serves them all.
public enum ElementType: UInt8 {
  case f32
  case f64
  case bf16
  case f16

  @_transparent public var stride: Int { self == .f64 ? 8 : self == .f32 ? 4 : 2 }

  /// The element at an index.
  @_transparent public func load(_ array: UnsafeRawPointer, _ index: Int) -> Double {
    switch self {
    case .f32: Double((array + 4 * index).load(as: Float.self))
    case .f64: (array + 8 * index).load(as: Double.self)
    case .bf16, .f16: loadHalf(array, index)
    }
  }

  /// Rounds to nearest, and stores.
  @_transparent public func store(_ value: Double, _ array: UnsafeMutableRawPointer, _ index: Int) {
    switch self {
    case .f32: (array + 4 * index).storeBytes(of: Float(value), as: Float.self)
    case .f64: (array + 8 * index).storeBytes(of: value, as: Double.self)
    case .bf16, .f16: storeHalf(value, array, index)
    }
  }

  /// Eight consecutive elements of single or double precision.
  @_transparent public func load8(_ array: UnsafeRawPointer, _ index: Int) -> F64x8 {
    self == .f32
      ? platform_widen((array + 4 * index).loadUnaligned(as: SIMD8<Float>.self))
      : (array + 8 * index).loadUnaligned(as: F64x8.self)
  }

  @_transparent public func store8(_ values: F64x8, _ array: UnsafeMutableRawPointer, _ index: Int) {
    if self == .f32 {
      (array + 4 * index).storeBytes(of: platform_narrow(values), as: SIMD8<Float>.self)
    } else {
      (array + 8 * index).storeBytes(of: values, as: F64x8.self)
    }
  }

  /// Sixteen consecutive elements of half or single precision, exactly.
  @_transparent public func load16(_ array: UnsafeRawPointer, _ index: Int) -> F32x16 {
    switch self {
    case .bf16: platform_from_bf16((array + 2 * index).loadUnaligned(as: SIMD16<UInt16>.self))
    case .f16: platform_from_f16((array + 2 * index).loadUnaligned(as: SIMD16<UInt16>.self))
    default: (array + 4 * index).loadUnaligned(as: F32x16.self)
    }
  }

  @_transparent public func store16(_ values: F32x16, _ array: UnsafeMutableRawPointer, _ index: Int) {
    switch self {
    case .bf16: (array + 2 * index).storeBytes(of: platform_to_bf16(values), as: SIMD16<UInt16>.self)
    case .f16: (array + 2 * index).storeBytes(of: platform_to_f16(values), as: SIMD16<UInt16>.self)
    default: (array + 4 * index).storeBytes(of: values, as: F32x16.self)
    }
  }

  /// One element of half precision. Out of line: single elements of halves are never where time is spent.
  @inline(never) public func loadHalf(_ array: UnsafeRawPointer, _ index: Int) -> Double {
    let bits = SIMD16<UInt16>(repeating: (array + 2 * index).load(as: UInt16.self))
    return Double((self == .bf16 ? platform_from_bf16(bits) : platform_from_f16(bits))[0])
  }

  /// The double is rounded to odd in single precision first, so that the second rounding is to nearest of the double.
  @inline(never) public func storeHalf(_ value: Double, _ array: UnsafeMutableRawPointer, _ index: Int) {
    let single = F32x16(repeating: roundedToOdd(value))
    let bits = self == .bf16 ? platform_to_bf16(single) : platform_to_f16(single)
    (array + 2 * index).storeBytes(of: bits[0], as: UInt16.self)
  }
}

/// `value` in single precision: if inexact, the neighbour with the odd significand (Boldo and Melquiond 2008).
private func roundedToOdd(_ value: Double) -> Float {
  let nearest = Float(value)
  if Double(nearest) == value || !nearest.isFinite || nearest.bitPattern & 1 == 1 { return nearest }
  let awayFromZero = abs(Double(nearest)) < abs(value)
  return Float(bitPattern: awayFromZero ? nearest.bitPattern &+ 1 : nearest.bitPattern &- 1)
}
