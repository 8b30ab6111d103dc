import Preference

// One C symbol for each build, since the modules' own names differ by build.
#if KERNELS_AVX512
  @_cdecl("swiftdpo_kernels_avx512")
#elseif KERNELS_AVX2
  @_cdecl("swiftdpo_kernels_avx2")
#else
  @_cdecl("swiftdpo_kernels_baseline")
#endif
public func kernels(_ table: UnsafeMutableRawPointer) {
  table.initializeMemory(
    as: KernelTable.self,
    to: KernelTable(
      pairwise: pairwise, ranking: ranking, firstNonfinite: firstNonfinite,
      logSumExpF32: logSumExpF32, logitsGradientF32: logitsGradientF32))
}
