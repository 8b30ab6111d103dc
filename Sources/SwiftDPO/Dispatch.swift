import CKernelChoice
import CPlatform
import Elementary
import Preference

/// The builds of the kernels, from the one that runs everywhere to the fastest.
enum InstructionSet: Int32 {
  case baseline = 0
  case avx2 = 1
  case avx512 = 2

  /// The name that SWIFTDPO_ISA and swiftdpo_build_info use.
  var name: StaticString {
    switch self {
    case .baseline:
      #if arch(arm64)
        "neon"
      #else
        "baseline"
      #endif
    case .avx2: "avx2"
    case .avx512: "avx512"
    }
  }

  static var inUse: InstructionSet { InstructionSet(rawValue: chosen_isa()) ?? .baseline }

  /// The best that this machine has, or a lesser one that SWIFTDPO_ISA names.
  static func choose() -> InstructionSet {
    let best = InstructionSet(rawValue: platform_detect_isa()) ?? .baseline
    guard let wish = getenv("SWIFTDPO_ISA") else { return best }
    var rank: Int32 = 0
    while rank <= best.rawValue {
      if let candidate = InstructionSet(rawValue: rank), strcmp(wish, candidate.name.cString) == 0 { return candidate }
      rank += 1
    }
    return best
  }
}

@_cdecl("swiftdpo_load") @implementation
public func swiftdpo_load(_ table: UnsafeMutableRawPointer!) -> Int32 {
  let chosen = InstructionSet.choose()
  switch chosen {
  case .baseline: swiftdpo_kernels_baseline(table)
  #if arch(x86_64)
    case .avx2: swiftdpo_kernels_avx2(table)
    case .avx512: swiftdpo_kernels_avx512(table)
  #else
    default: break
  #endif
  }
  return chosen.rawValue
}

/// The kernels chosen at load.
var kernels: KernelTable {
  @inline(__always) _read { yield chosenKernels.pointee }
}

var chosenKernels: UnsafePointer<KernelTable> { chosen_kernels().assumingMemoryBound(to: KernelTable.self) }

extension StaticString {
  var cString: UnsafePointer<CChar> { UnsafeRawPointer(utf8Start).assumingMemoryBound(to: CChar.self) }
}

/// An element type as Swift has it, for buffers whose type the header gives.
protocol Element {
  static var type: ElementType { get }
}

extension Float: Element {
  static var type: ElementType { .f32 }
}

extension Double: Element {
  static var type: ElementType { .f64 }
}
