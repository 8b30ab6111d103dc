import CKernelChoice
import Elementary
import Preference

// AVX-512 is for the kernels that it makes faster. The others are in Seldom, and stay AVX2's: most of their time goes
// to calls and to what each call has to look at, which wider registers do not change.

#if KERNELS_AVX512
  @_cdecl("swiftdpo_kernels_avx512")
  public func kernels(_ memory: UnsafeMutableRawPointer) {
    swiftdpo_kernels_avx2(memory)
    let table = memory.assumingMemoryBound(to: KernelTable.self)
    table.pointee.pairwise = pairwise
    table.pointee.onePair = { onePair($0, $1, $2, $3) }
    table.pointee.ranking = ranking
    table.pointee.firstNonfinite = firstNonfinite
    table.pointee.areFinite = areFinite
    table.pointee.rowStatistics = rowStatistics
    table.pointee.logit = logit
    table.pointee.rowGradient = rowGradient
    table.pointee.elementwise = elementwise
  }
#endif
