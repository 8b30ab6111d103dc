import CPlatform
import CSwiftDPO

/// A struct of the header that begins with its size and may grow at its end.
protocol GrowableStruct {
  /// What every field is before the caller sets it.
  static var initial: Self { get }
}

/// The caller's struct as this library knows it: fields that its header lacked keep their initial value. A struct from
/// a newer header is fine as long as the fields that this library does not know are zero.
func read<Struct: GrowableStruct>(_ pointer: UnsafePointer<Struct>?, _ name: StaticString) throws(Fault) -> Struct {
  guard let pointer else { throw Fault(SWIFTDPO_ERROR_NULL_POINTER, name) }
  let raw = UnsafeRawPointer(pointer)
  try require(Int(bitPattern: raw) % MemoryLayout<Struct>.alignment == 0, SWIFTDPO_ERROR_MISALIGNED, name)

  let known = MemoryLayout<Struct>.stride
  let size = raw.load(as: Int.self)
  let plausible = size >= known && size <= known + 4096
  try require(plausible, SWIFTDPO_ERROR_STRUCT_SIZE, name)
  for offset in known..<size {
    try require(raw.load(fromByteOffset: offset, as: UInt8.self) == 0, SWIFTDPO_ERROR_STRUCT_SIZE, name)
  }

  var copy = Struct.initial
  withUnsafeMutableBytes(of: &copy) { _ = memcpy($0.baseAddress!, raw, known) }
  return copy
}

/// As `read`, but NULL means the initial values.
func readOptional<Struct: GrowableStruct>(
  _ pointer: UnsafePointer<Struct>?, _ name: StaticString
) throws(Fault) -> Struct {
  if pointer == nil { return Struct.initial }
  return try read(pointer, name)
}

/// The body of every _init function. NULL is ignored.
func initialize<Struct: GrowableStruct>(_ pointer: UnsafeMutablePointer<Struct>?) {
  pointer?.initialize(to: Struct.initial)
}
