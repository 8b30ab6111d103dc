import CPlatform
import CSwiftDPO

/// A struct of the header that begins with its size and may grow at its end.
protocol GrowableStruct {
  init()
  /// What is not zero before the caller sets it.
  static func setDefaults(_ value: inout Self)
}

extension GrowableStruct {
  static func setDefaults(_ value: inout Self) {}
}

/// The caller's struct as this library knows it. A struct from a newer header is fine as long as the fields that this
/// library does not know are zero.
@inline(__always)
func read<Struct: GrowableStruct>(_ pointer: UnsafePointer<Struct>?, _ name: FieldName) throws(Fault) -> Struct {
  try checkSize(pointer, MemoryLayout<Struct>.stride, name)
  return pointer!.pointee
}

/// As `read`, but NULL means the initial values.
func readOptional<Struct: GrowableStruct>(
  _ pointer: UnsafePointer<Struct>?, _ name: FieldName
) throws(Fault) -> Struct {
  if pointer != nil { return try read(pointer, name) }
  var initial = Struct()
  initialize(&initial)
  return initial
}

@inline(never)
private func checkSize(_ pointer: UnsafeRawPointer?, _ known: Int, _ name: FieldName) throws(Fault) {
  guard let pointer else { throw Fault(SWIFTDPO_ERROR_NULL_POINTER, name) }
  try require(Int(bitPattern: pointer) & (MemoryLayout<Int>.alignment - 1) == 0, SWIFTDPO_ERROR_MISALIGNED, name)
  let size = pointer.load(as: Int.self)
  try require(size >= known && size <= known + 4096, SWIFTDPO_ERROR_STRUCT_SIZE, name)
  for offset in known..<size {
    try require(pointer.load(fromByteOffset: offset, as: UInt8.self) == 0, SWIFTDPO_ERROR_STRUCT_SIZE, name)
  }
}

/// The body of every _init function. NULL is ignored.
@inline(__always)
func initialize<Struct: GrowableStruct>(_ pointer: UnsafeMutablePointer<Struct>?) {
  guard let pointer else { return }
  clear(pointer, MemoryLayout<Struct>.stride)
  Struct.setDefaults(&pointer.pointee)
}

/// All zero but for the size, which stands first.
@inline(never)
private func clear(_ pointer: UnsafeMutableRawPointer, _ size: Int) {
  memset(pointer, 0, size)
  pointer.storeBytes(of: size, as: Int.self)
}

/// The form of a struct that the door works with. Forms differ in what their arrays hold, and in nothing else: the door
/// reads all as the f64 one, and is told what the elements are. So each rule is compiled once.
@_transparent
func form<Given, Form>(_ pointer: UnsafePointer<Given>?) -> UnsafePointer<Form>? {
  UnsafeRawPointer(pointer)?.assumingMemoryBound(to: Form.self)
}

/// Whether all words behind the first `count` are 0: fields that were not set.
@inline(__always)
func isZero<Struct>(_ value: Struct, behind count: Int) -> Bool {
  withUnsafeBytes(of: value) { bytes in
    var word = count
    var sum = 0
    while word < MemoryLayout<Struct>.stride / 8 {
      sum |= bytes.load(fromByteOffset: 8 * word, as: Int.self)
      word += 1
    }
    return sum == 0
  }
}
