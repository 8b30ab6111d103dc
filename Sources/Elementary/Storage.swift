/// An element type of the caller's buffers. Whatever it is, the arithmetic is in double precision.
public protocol Storage: Comparable {
  /// Eight consecutive elements.
  static func load8(_ source: UnsafePointer<Self>) -> F64x8
  /// Rounds to the type, to nearest, and stores eight consecutive elements.
  static func store8(_ values: F64x8, _ target: UnsafeMutablePointer<Self>)
  init(rounding value: Double)
  var double: Double { get }
}

extension Float: Storage {
  @inline(__always) public static func load8(_ source: UnsafePointer<Float>) -> F64x8 {
    F64x8(UnsafeRawPointer(source).loadUnaligned(as: SIMD8<Float>.self))
  }
  @inline(__always) public static func store8(_ values: F64x8, _ target: UnsafeMutablePointer<Float>) {
    UnsafeMutableRawPointer(target).storeBytes(of: SIMD8<Float>(values), as: SIMD8<Float>.self)
  }
  @inline(__always) public init(rounding value: Double) { self = Float(value) }
  @inline(__always) public var double: Double { Double(self) }
}

extension Double: Storage {
  @inline(__always) public static func load8(_ source: UnsafePointer<Double>) -> F64x8 {
    UnsafeRawPointer(source).loadUnaligned(as: F64x8.self)
  }
  @inline(__always) public static func store8(_ values: F64x8, _ target: UnsafeMutablePointer<Double>) {
    UnsafeMutableRawPointer(target).storeBytes(of: values, as: F64x8.self)
  }
  @inline(__always) public init(rounding value: Double) { self = value }
  @inline(__always) public var double: Double { self }
}

extension Storage {
  /// The first `count` of eight elements; the other lanes hold `filler`.
  @inline(__always) public static func load(_ source: UnsafePointer<Self>, count: Int, filler: Double) -> F64x8 {
    if count == 8 { return load8(source) }
    var lanes = F64x8(repeating: filler)
    for lane in 0..<count { lanes[lane] = source[lane].double }
    return lanes
  }

  /// Stores the first `count` of eight lanes.
  @inline(__always) public static func store(_ values: F64x8, _ target: UnsafeMutablePointer<Self>, count: Int) {
    if count == 8 { return store8(values, target) }
    for lane in 0..<count { target[lane] = Self(rounding: values[lane]) }
  }
}
