import CSwiftDPO
import Elementary

/// The buffers of one call. Each is checked as it is entered: present, aligned, within the address space, and not in
/// the way of another. Enter inputs first, then results. It lives on the stack.
struct Ledger {
  private struct Entry {
    var start: UInt
    var end: UInt
    var isResult: Bool
  }

  private var entries = InlineArray<32, Entry>(repeating: Entry(start: 0, end: 0, isResult: false))
  private var count = 0

  // MARK: Buffers whose element type is a parameter

  /// A buffer that must be there. Without elements its address doesn't matter.
  mutating func input(
    _ pointer: UnsafeRawPointer?, _ type: ElementType, _ elements: Int, _ name: StaticString
  ) throws(Fault) -> UnsafeRawPointer {
    guard let buffer = try optionalInput(pointer, type, elements, name) else {
      try require(elements == 0, SWIFTDPO_ERROR_NULL_POINTER, name)
      return UnsafeRawPointer(bitPattern: 64)!
    }
    return buffer
  }

  mutating func optionalInput(
    _ pointer: UnsafeRawPointer?, _ type: ElementType, _ elements: Int, _ name: StaticString
  ) throws(Fault) -> UnsafeRawPointer? {
    guard let pointer, elements > 0 else { return nil }
    try enter(pointer, elements, size: type.stride, name, isResult: false)
    return pointer
  }

  /// Where a result goes; NULL skips it. It must not overlap an input or another result.
  mutating func result(
    _ pointer: UnsafeMutableRawPointer?, _ type: ElementType, _ elements: Int, _ name: StaticString
  ) throws(Fault) -> UnsafeMutableRawPointer? {
    guard let pointer, elements > 0 else { return nil }
    try enter(UnsafeRawPointer(pointer), elements, size: type.stride, name, isResult: true)
    return pointer
  }

  /// A required result that may stand in the place of `input` exactly.
  mutating func resultInPlace(
    _ pointer: UnsafeMutableRawPointer?, of input: UnsafeRawPointer, _ type: ElementType, _ elements: Int,
    _ name: StaticString
  ) throws(Fault) -> UnsafeMutableRawPointer {
    if elements == 0 { return UnsafeMutableRawPointer(mutating: input) }
    guard let pointer else { throw Fault(SWIFTDPO_ERROR_NULL_POINTER, name) }
    try enter(
      UnsafeRawPointer(pointer), elements, size: type.stride, name, isResult: true, except: UInt(bitPattern: input))
    return pointer
  }

  // MARK: Buffers of one fixed type

  mutating func input<Value>(
    _ pointer: UnsafePointer<Value>?, _ elements: Int, _ name: StaticString
  ) throws(Fault) -> UnsafePointer<Value> {
    guard let buffer = try optionalInput(pointer, elements, name) else {
      try require(elements == 0, SWIFTDPO_ERROR_NULL_POINTER, name)
      return UnsafePointer(bitPattern: 64)!
    }
    return buffer
  }

  mutating func optionalInput<Value>(
    _ pointer: UnsafePointer<Value>?, _ elements: Int, _ name: StaticString
  ) throws(Fault) -> UnsafePointer<Value>? {
    guard let pointer, elements > 0 else { return nil }
    try enter(UnsafeRawPointer(pointer), elements, size: MemoryLayout<Value>.stride, name, isResult: false)
    return pointer
  }

  mutating func result<Value>(
    _ pointer: UnsafeMutablePointer<Value>?, _ elements: Int, _ name: StaticString
  ) throws(Fault) -> UnsafeMutablePointer<Value>? {
    guard let pointer, elements > 0 else { return nil }
    try enter(UnsafeRawPointer(pointer), elements, size: MemoryLayout<Value>.stride, name, isResult: true)
    return pointer
  }

  mutating func requiredResult<Value>(
    _ pointer: UnsafeMutablePointer<Value>?, _ elements: Int, _ name: StaticString
  ) throws(Fault) -> UnsafeMutablePointer<Value> {
    guard let buffer = try result(pointer, elements, name) else {
      try require(elements == 0, SWIFTDPO_ERROR_NULL_POINTER, name)
      return UnsafeMutablePointer(bitPattern: 64)!
    }
    return buffer
  }

  /// A struct that the call writes.
  mutating func structResult<Value>(_ pointer: UnsafeMutablePointer<Value>, _ name: StaticString) throws(Fault) {
    try enter(UnsafeRawPointer(pointer), MemoryLayout<Value>.stride / 8, size: 8, name, isResult: true)
  }

  // MARK: The rules

  /// Elements are scalars: their size is their alignment.
  private mutating func enter(
    _ pointer: UnsafeRawPointer, _ elements: Int, size: Int, _ name: StaticString, isResult: Bool,
    except twin: UInt? = nil
  ) throws(Fault) {
    let start = UInt(bitPattern: pointer)
    try require(start & UInt(size - 1) == 0, SWIFTDPO_ERROR_MISALIGNED, name)
    let (bytes, tooMany) = elements.multipliedReportingOverflow(by: size)
    let (end, beyond) = start.addingReportingOverflow(UInt(bitPattern: bytes))
    try require(!tooMany && !beyond, SWIFTDPO_ERROR_SIZE_OVERFLOW, name)

    for index in 0..<count {
      let other = entries[index]
      let overlaps = start < other.end && other.start < end
      let inPlace = start == twin && other.start == twin && end == other.end && !other.isResult
      try require(!overlaps || inPlace || !(isResult || other.isResult), SWIFTDPO_ERROR_OVERLAP, name)
    }
    entries[count] = Entry(start: start, end: end, isResult: isResult)
    count += 1
  }
}

/// The product of two counts of a struct. Counts above the largest signed integer overflow, too.
func product(_ x: Int, _ y: Int, _ name: StaticString) throws(Fault) -> Int {
  let (result, overflow) = x.multipliedReportingOverflow(by: y)
  try require(!overflow && x >= 0 && y >= 0, SWIFTDPO_ERROR_SIZE_OVERFLOW, name)
  return result
}
