import CSwiftDPO

/// A struct of the header that begins with its size and may grow at its end: the caller's header may be older than this
/// library, or newer. Fields that only one of them knows are 0, which means what the library did before it had them.
protocol GrowableStruct {
  init()
  var struct_size: Int { get set }
  /// What it had in the first release of this ABI version: a literal from the day on which it grows. Callers have at
  /// least that, and nothing behind it is theirs unless `struct_size` says so.
  static var firstSize: Int { get }
  /// What is not zero before the caller sets it: fields of the first release alone.
  static func setDefaults(_ value: inout Self)
}

extension GrowableStruct {
  static var firstSize: Int { MemoryLayout<Self>.stride }
  static func setDefaults(_ value: inout Self) {}

  @_transparent fileprivate static var hasGrown: Bool { firstSize < MemoryLayout<Self>.stride }
}

/// The caller's struct as this library knows it.
@inline(__always)
func read<Struct: GrowableStruct>(_ pointer: UnsafePointer<Struct>?, _ name: FieldName) throws(Fault) -> Struct {
  try checkSize(pointer, MemoryLayout<Struct>.stride, MemoryLayout<Struct>.stride - Struct.firstSize, name)
  return known(pointer!)
}

/// As `read`, but NULL means the initial values.
func readOptional<Struct: GrowableStruct>(
  _ pointer: UnsafePointer<Struct>?, _ name: FieldName
) throws(Fault) -> Struct {
  if let pointer { return try read(pointer, name) }
  return initial()
}

/// Writes to fields of a struct that has been read once: to those that the caller has.
@inline(__always)
func update<Struct: GrowableStruct>(_ pointer: UnsafeMutablePointer<Struct>, _ body: (inout Struct) -> Void) {
  if !Struct.hasGrown { return body(&pointer.pointee) }
  var value = known(UnsafePointer(pointer))
  body(&value)
  value.struct_size = pointer.pointee.struct_size
  copy(value, to: pointer, value.struct_size)
}

/// All fields with their initial values.
@inline(__always)
func initial<Struct: GrowableStruct>() -> Struct {
  var value = Struct()
  value.struct_size = MemoryLayout<Struct>.stride
  Struct.setDefaults(&value)
  return value
}

/// The body of every _init function, which is not told how much memory there is: it writes what each header has. NULL is
/// ignored.
@inline(__always)
func initialize<Struct: GrowableStruct>(_ pointer: UnsafeMutablePointer<Struct>?) {
  guard let pointer else { return }
  if !Struct.hasGrown {
    clear(pointer, MemoryLayout<Struct>.stride)
    return Struct.setDefaults(&pointer.pointee)
  }
  var value: Struct = initial()
  value.struct_size = Struct.firstSize
  copy(value, to: pointer, Struct.firstSize)
}

/// A struct whose size has been checked; its copy has this library's.
@inline(__always)
private func known<Struct: GrowableStruct>(_ pointer: UnsafePointer<Struct>) -> Struct {
  var value: Struct
  if Struct.hasGrown {
    value = Struct()
    withUnsafeMutableBytes(of: &value) { bytes in
      bytes.copyMemory(
        from: UnsafeRawBufferPointer(start: pointer, count: min(pointer.pointee.struct_size, bytes.count)))
    }
  } else {
    value = pointer.pointee
  }
  value.struct_size = MemoryLayout<Struct>.stride
  return value
}

/// `added`: how much of what is known came after the first release.
@inline(never)
private func checkSize(
  _ pointer: UnsafeRawPointer?, _ known: Int, _ added: Int, _ name: FieldName
) throws(Fault) {
  guard let pointer else { throw Fault(SWIFTDPO_ERROR_NULL_POINTER, name) }
  try require(Int(bitPattern: pointer) & (MemoryLayout<Int>.alignment - 1) == 0, SWIFTDPO_ERROR_MISALIGNED, name)
  let size = pointer.load(as: Int.self)
  try require(size >= known - added && size <= known + 4096, SWIFTDPO_ERROR_STRUCT_SIZE, name)
  var offset = known
  while offset < size {
    try require(pointer.load(fromByteOffset: offset, as: UInt8.self) == 0, SWIFTDPO_ERROR_STRUCT_SIZE, name)
    offset += 1
  }
}

/// All zero but for the size, which stands first.
@inline(never)
private func clear(_ pointer: UnsafeMutableRawPointer, _ size: Int) {
  pointer.initializeMemory(as: UInt8.self, repeating: 0, count: size)
  pointer.storeBytes(of: size, as: Int.self)
}

/// As much of a struct as a caller has whose own has this size.
@inline(__always)
private func copy<Struct: GrowableStruct>(_ value: Struct, to pointer: UnsafeMutablePointer<Struct>, _ size: Int) {
  withUnsafeBytes(of: value) {
    UnsafeMutableRawPointer(pointer).copyMemory(from: $0.baseAddress!, byteCount: min(size, $0.count))
  }
}

/// The form of a struct that the door works with. Forms differ in what their arrays hold, and in nothing else: the door
/// reads all as the f64 one, and is told what the elements are. So each rule is compiled once.
@_transparent
func form<Given, Form>(_ pointer: UnsafePointer<Given>?) -> UnsafePointer<Form>? {
  UnsafeRawPointer(pointer)?.assumingMemoryBound(to: Form.self)
}

/// Whether all words behind the first `count` are 0: fields that were not set.
@inline(__always)
func isZero<Struct>(_ pointer: UnsafePointer<Struct>, behind count: Int) -> Bool {
  var word = count
  var sum: UInt = 0
  while word < MemoryLayout<Struct>.stride / 8 {
    sum |= UnsafeRawPointer(pointer).load(fromByteOffset: 8 * word, as: UInt.self)
    word += 1
  }
  return sum == 0
}
