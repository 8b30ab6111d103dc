import CSwiftDPO
import Testing

// How the door treats structs of older and newer headers: its own source in Door/, on a struct that has grown, as no
// struct of the header has so far.

extension StaticString {
  var cString: UnsafePointer<CChar> { UnsafeRawPointer(utf8Start).assumingMemoryBound(to: CChar.self) }
}

/// In the first release it ended behind `count`.
private struct Grown: GrowableStruct, Equatable {
  var struct_size = 0
  var beta = 0.0
  var count = 0
  var added = 0.0

  static let firstSize = 24

  static func setDefaults(_ value: inout Grown) { value.beta = 0.1 }
}

/// Memory of `words` words, of which the struct has the first `size` bytes.
private struct Memory {
  var words: [Int]

  init(_ words: Int, size: Int, beta: Double = 7) {
    self.words = Array(repeating: -1, count: words)
    self.words[0] = size
    self.words[1] = Int(bitPattern: UInt(beta.bitPattern))
    self.words[2] = 3
  }

  mutating func pointer<Result>(_ body: (UnsafeMutablePointer<Grown>) throws -> Result) rethrows -> Result {
    try words.withUnsafeMutableBytes { try body($0.baseAddress!.assumingMemoryBound(to: Grown.self)) }
  }

  mutating func read() throws -> Grown { try pointer { try SwiftDPOTests.read(UnsafePointer($0), "grown") } }

  mutating func refusal() -> Refusal? {
    do {
      _ = try read()
      return nil
    } catch let fault as Fault {
      return Refusal(fault.status, String(cString: fault.argument.cString), fault.index)
    } catch { return Refusal(SWIFTDPO_OK, "", 0) }
  }
}

@Suite struct GrowthTests {
  private let refused = Refusal(SWIFTDPO_ERROR_STRUCT_SIZE, "grown")

  @Test func `an older struct has 0 for fields that it lacks`() throws {
    var memory = Memory(4, size: 24)
    #expect(try memory.read() == Grown(struct_size: 32, beta: 7, count: 3, added: 0))
  }

  @Test func `a struct of this header is read whole`() throws {
    var memory = Memory(4, size: 32)
    memory.words[3] = Int(bitPattern: UInt((2.5).bitPattern))
    #expect(try memory.read() == Grown(struct_size: 32, beta: 7, count: 3, added: 2.5))
  }

  @Test func `of a newer struct the rest must be 0`() throws {
    var memory = Memory(6, size: 48)
    #expect(memory.refusal() == refused)
    memory.words[3...5] = [0, 0, 0]
    // The copy has this library's size: it is read again where one function calls another.
    #expect(try memory.read() == Grown(struct_size: 32, beta: 7, count: 3, added: 0))
    memory.words[5] = 1 << 56
    #expect(memory.refusal() == refused)
  }

  @Test(arguments: [0, 8, 16, 23, 32 + 4097, .max, .min, -1])
  func `other sizes are refused`(size: Int) {
    var memory = Memory(4, size: size)
    #expect(memory.refusal() == refused)
  }

  @Test func `an init function writes what each header has`() {
    var memory = Memory(4, size: 0)
    memory.pointer { initialize($0) }
    #expect(memory.words[0] == 24)
    #expect(memory.words[2...3] == [0, -1])
    memory.pointer { #expect($0.pointee.beta == 0.1) }
    initialize(nil as UnsafeMutablePointer<Grown>?)
  }

  @Test func `defaults are all fields'`() throws {
    #expect(try readOptional(nil, "grown") == Grown(struct_size: 32, beta: 0.1, count: 0, added: 0))
    #expect(initial() == Grown(struct_size: 32, beta: 0.1, count: 0, added: 0))
  }

  @Test(arguments: [24, 32, 48])
  func `results go to the fields that the caller has`(size: Int) throws {
    var memory = Memory(6, size: size)
    memory.words[3...5] = size == 24 ? [-1, -1, -1] : [0, 0, 0]
    let behind = memory.words
    _ = try memory.read()
    memory.pointer { pointer in
      update(pointer) { value in
        #expect(value.count == 3 && value.added == 0)
        value.count += 1
        value.added += 1
      }
    }
    #expect(memory.words[0] == size)
    #expect(memory.words[2] == 4)
    #expect(memory.words[3] == (size == 24 ? -1 : Int(bitPattern: UInt((1.0).bitPattern))))
    #expect(memory.words[4...5] == behind[4...5])
  }
}
