import CPlatform

/// The element types of the caller's buffers. Whatever they are, the arithmetic is in double precision, so that a
/// kernel asks for the type only where it loads and stores: one body of code serves them all.
public enum ElementType: UInt8 {
  case f32
  case f64

  @_transparent public var stride: Int { self == .f32 ? 4 : 8 }

  /// The element at an index.
  @_transparent public func load(_ array: UnsafeRawPointer, _ index: Int) -> Double {
    self == .f32 ? Double((array + 4 * index).load(as: Float.self)) : (array + 8 * index).load(as: Double.self)
  }

  /// Rounds to nearest, and stores.
  @_transparent public func store(_ value: Double, _ array: UnsafeMutableRawPointer, _ index: Int) {
    if self == .f32 {
      (array + 4 * index).storeBytes(of: Float(value), as: Float.self)
    } else {
      (array + 8 * index).storeBytes(of: value, as: Double.self)
    }
  }

  /// Eight consecutive elements.
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
}
