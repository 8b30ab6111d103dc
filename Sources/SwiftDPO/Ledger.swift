import CPlatform
import CSwiftDPO
import Elementary

/// The buffers of one call. Each is checked as it is entered: present, aligned, within the address space, and not in
/// the way of another. It lives on the stack.
struct Ledger {
  /// Where a buffer lies: not empty, and not beyond the end of the address space.
  struct Bytes {
    var start: UInt
    var size: UInt

    /// Whether no byte is in both.
    @inline(__always) func isApart(from other: Bytes) -> Bool {
      // The distance to the other's last byte, around the address space if need be.
      other.start &- start &+ (other.size &- 1) >= size &+ other.size &- 1
    }
  }

  private var room = platform_unset_room()
  private var count = 0
  /// Bit i: the call writes buffer i.
  private var results: UInt64 = 0

  /// Begins with the buffers of another one, if there is one.
  @inline(never) mutating func join(_ other: UnsafePointer<Ledger>?) {
    if let other { self = other.pointee }
  }

  // MARK: Buffers whose element type is a parameter

  /// A buffer that must be there. Without elements its address doesn't matter.
  mutating func input(
    _ pointer: UnsafeRawPointer?, _ type: ElementType, _ elements: Int, _ name: FieldName
  ) throws(Fault) -> UnsafeRawPointer {
    try enterRequired(pointer, elements, size: type.stride, name, isResult: false)
  }

  mutating func optionalInput(
    _ pointer: UnsafeRawPointer?, _ type: ElementType, _ elements: Int, _ name: FieldName
  ) throws(Fault) -> UnsafeRawPointer? {
    try enter(pointer, elements, size: type.stride, name, isResult: false)
  }

  /// Where a result goes; NULL skips it. It must not overlap an input or another result.
  mutating func result(
    _ pointer: UnsafeMutableRawPointer?, _ type: ElementType, _ elements: Int, _ name: FieldName
  ) throws(Fault) -> UnsafeMutableRawPointer? {
    UnsafeMutableRawPointer(mutating: try enter(pointer, elements, size: type.stride, name, isResult: true))
  }

  mutating func requiredResult(
    _ pointer: UnsafeMutableRawPointer?, _ type: ElementType, _ elements: Int, _ name: FieldName
  ) throws(Fault) -> UnsafeMutableRawPointer {
    UnsafeMutableRawPointer(mutating: try enterRequired(pointer, elements, size: type.stride, name, isResult: true))
  }

  /// A required result that may stand in the place of `input` exactly.
  mutating func resultInPlace(
    _ pointer: UnsafeMutableRawPointer?, of input: UnsafeRawPointer, _ type: ElementType, _ elements: Int,
    _ name: FieldName
  ) throws(Fault) -> UnsafeMutableRawPointer {
    if elements == 0 { return UnsafeMutableRawPointer(mutating: input) }
    guard let pointer else { throw Fault(SWIFTDPO_ERROR_NULL_POINTER, name) }
    _ = try check(pointer, elements, size: type.stride, name, isResult: true, inPlaceOf: input)
    return pointer
  }

  // MARK: Buffers of one fixed type

  @inline(__always) mutating func input<Value>(
    _ pointer: UnsafePointer<Value>?, _ elements: Int, _ name: FieldName
  ) throws(Fault) -> UnsafePointer<Value> {
    try enterRequired(pointer, elements, size: MemoryLayout<Value>.stride, name, isResult: false)
      .assumingMemoryBound(to: Value.self)
  }

  @inline(__always) mutating func optionalInput<Value>(
    _ pointer: UnsafePointer<Value>?, _ elements: Int, _ name: FieldName
  ) throws(Fault) -> UnsafePointer<Value>? {
    try enter(pointer, elements, size: MemoryLayout<Value>.stride, name, isResult: false)?
      .assumingMemoryBound(to: Value.self)
  }

  @inline(__always) mutating func result<Value>(
    _ pointer: UnsafeMutablePointer<Value>?, _ elements: Int, _ name: FieldName
  ) throws(Fault) -> UnsafeMutablePointer<Value>? {
    UnsafeMutableRawPointer(
      mutating: try enter(pointer, elements, size: MemoryLayout<Value>.stride, name, isResult: true))?
      .assumingMemoryBound(to: Value.self)
  }

  @inline(__always) mutating func requiredResult<Value>(
    _ pointer: UnsafeMutablePointer<Value>?, _ elements: Int, _ name: FieldName
  ) throws(Fault) -> UnsafeMutablePointer<Value> {
    UnsafeMutableRawPointer(
      mutating: try enterRequired(pointer, elements, size: MemoryLayout<Value>.stride, name, isResult: true)
    ).assumingMemoryBound(to: Value.self)
  }

  /// A struct that the call writes.
  @inline(__always) mutating func structResult<Struct: GrowableStruct>(
    _ pointer: UnsafeMutablePointer<Struct>, _ name: FieldName
  ) throws(Fault) {
    _ = try enter(pointer, pointer.pointee.struct_size / 8, size: 8, name, isResult: true)
  }

  // MARK: The rules

  /// Nil where there is no buffer, or nothing in it: so it is with most, and costs a call two comparisons.
  @inline(never) private mutating func enter(
    _ pointer: UnsafeRawPointer?, _ elements: Int, size: Int, _ name: FieldName, isResult: Bool
  ) throws(Fault) -> UnsafeRawPointer? {
    guard let pointer, elements > 0 else { return nil }
    return try check(pointer, elements, size: size, name, isResult: isResult, inPlaceOf: nil)
  }

  @inline(never) private mutating func check(
    _ pointer: UnsafeRawPointer, _ elements: Int, size: Int, _ name: FieldName, isResult: Bool,
    inPlaceOf input: UnsafeRawPointer?
  ) throws(Fault) -> UnsafeRawPointer? {
    // Elements are scalars: their size is their alignment.
    let start = UInt(bitPattern: pointer)
    try require(start & UInt(size - 1) == 0, SWIFTDPO_ERROR_MISALIGNED, name)
    let (bytes, tooMany) = elements.multipliedReportingOverflow(by: size)
    let buffer = Bytes(start: start, size: UInt(bitPattern: bytes))
    try require(!tooMany && start <= UInt.max - buffer.size, SWIFTDPO_ERROR_SIZE_OVERFLOW, name)
    try require(count < Self.most, SWIFTDPO_ERROR_COUNT, name)
    let (count, results) = (count, results)
    let isApart = withUnsafeMutablePointer(to: &room) { room in
      let buffers = UnsafeMutableRawPointer(room).assumingMemoryBound(to: Bytes.self)
      for index in 0..<count {
        let other = buffers[index]
        if buffer.isApart(from: other) { continue }
        // Inputs may overlap each other.
        let otherIsResult = results >> UInt64(index) & 1 == 1
        let inPlace = pointer == input && other.start == start && other.size == buffer.size && !otherIsResult
        if !inPlace && (isResult || otherIsResult) { return false }
      }
      buffers[count] = buffer
      return true
    }
    try require(isApart, SWIFTDPO_ERROR_OVERLAP, name)
    if isResult { self.results |= 1 << UInt64(count) }
    self.count += 1
    return pointer
  }

  private static var most: Int { MemoryLayout<platform_room>.size / MemoryLayout<Bytes>.stride }

  private mutating func enterRequired(
    _ pointer: UnsafeRawPointer?, _ elements: Int, size: Int, _ name: FieldName, isResult: Bool
  ) throws(Fault) -> UnsafeRawPointer {
    if let buffer = try enter(pointer, elements, size: size, name, isResult: isResult) { return buffer }
    try require(elements == 0, SWIFTDPO_ERROR_NULL_POINTER, name)
    return UnsafeRawPointer(bitPattern: 64)!
  }
}

/// The product of two counts of a struct. Counts above the largest signed integer overflow, too.
@inline(never)
func product(_ x: Int, _ y: Int, _ name: FieldName) throws(Fault) -> Int {
  let (result, overflow) = x.multipliedReportingOverflow(by: y)
  try require(!overflow && x >= 0 && y >= 0, SWIFTDPO_ERROR_SIZE_OVERFLOW, name)
  return result
}
