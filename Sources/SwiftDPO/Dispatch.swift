import CKernelChoice
import CPlatform
import Elementary
import Preference

@_cdecl("swiftdpo_load") @implementation
public func swiftdpo_load(_ table: UnsafeMutableRawPointer!, _ isa: Int32) {
  #if arch(x86_64)
    switch UInt32(bitPattern: isa) {
    case platform_isa_avx512.rawValue: swiftdpo_kernels_avx512(table)
    case platform_isa_avx2.rawValue: swiftdpo_kernels_avx2(table)
    default: swiftdpo_kernels_baseline(table)
    }
  #else
    swiftdpo_kernels_baseline(table)
  #endif
}

/// The kernels chosen at load.
var kernels: KernelTable {
  @inline(__always) _read { yield chosenKernels.pointee }
}

var chosenKernels: UnsafePointer<KernelTable> { chosen_kernels().assumingMemoryBound(to: KernelTable.self) }

extension StaticString {
  var cString: UnsafePointer<CChar> { UnsafeRawPointer(utf8Start).assumingMemoryBound(to: CChar.self) }
}
