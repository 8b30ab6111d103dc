import CSwiftDPO

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

  /// A buffer that must be there unless it has no elements. Its address is never used in that case.
  mutating func input<Element>(
    _ pointer: UnsafePointer<Element>?, _ elements: Int, _ name: StaticString
  ) throws(Fault) -> UnsafePointer<Element> {
    if elements == 0 { return UnsafePointer(bitPattern: MemoryLayout<Element>.alignment)! }
    guard let pointer else { throw Fault(SWIFTDPO_ERROR_NULL_POINTER, name) }
    try enter(UnsafeRawPointer(pointer), elements, Element.self, name, isResult: false)
    return pointer
  }

  mutating func optionalInput<Element>(
    _ pointer: UnsafePointer<Element>?, _ elements: Int, _ name: StaticString
  ) throws(Fault) -> UnsafePointer<Element>? {
    if elements == 0 || pointer == nil { return nil }
    return try input(pointer, elements, name)
  }

  /// Where a result goes; NULL skips it. It must not overlap an input or another result.
  mutating func result<Element>(
    _ pointer: UnsafeMutablePointer<Element>?, _ elements: Int, _ name: StaticString
  ) throws(Fault) -> UnsafeMutablePointer<Element>? {
    guard let pointer, elements > 0 else { return nil }
    try enter(UnsafeRawPointer(pointer), elements, Element.self, name, isResult: true)
    return pointer
  }

  /// A result that may stand in the place of `input` exactly.
  mutating func resultInPlace<Element>(
    _ pointer: UnsafeMutablePointer<Element>?, of input: UnsafePointer<Element>, _ elements: Int, _ name: StaticString
  ) throws(Fault) -> UnsafeMutablePointer<Element> {
    if elements == 0 { return UnsafeMutablePointer(mutating: input) }
    guard let pointer else { throw Fault(SWIFTDPO_ERROR_NULL_POINTER, name) }
    try enter(
      UnsafeRawPointer(pointer), elements, Element.self, name, isResult: true, except: UInt(bitPattern: input))
    return pointer
  }

  private mutating func enter<Element>(
    _ pointer: UnsafeRawPointer, _ elements: Int, _: Element.Type, _ name: StaticString, isResult: Bool,
    except twin: UInt? = nil
  ) throws(Fault) {
    let start = UInt(bitPattern: pointer)
    try require(start % UInt(MemoryLayout<Element>.alignment) == 0, SWIFTDPO_ERROR_MISALIGNED, name)
    let (bytes, tooMany) = UInt(bitPattern: elements).multipliedReportingOverflow(by: UInt(MemoryLayout<Element>.stride))
    let (end, beyond) = start.addingReportingOverflow(bytes)
    try require(!tooMany && !beyond && bytes <= UInt(Int.max), SWIFTDPO_ERROR_SIZE_OVERFLOW, name)

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
