import Elementary
import Preference

// One C symbol for each build, since the modules' own names differ by build.
#if KERNELS_AVX2
  @_cdecl("swiftdpo_kernels_avx2")
#else
  @_cdecl("swiftdpo_kernels_baseline")
#endif
public func kernels(_ table: UnsafeMutableRawPointer) {
  table.initializeMemory(
    as: KernelTable.self,
    to: KernelTable(
      pairwise: pairwise, onePair: { onePair($0, $1, $2, $3) }, pairwiseMixture: pairwiseMixture,
      unpaired: unpaired, ranking: ranking,
      rankingRewards: rankingRewards, listwise: listwise,
      firstNonfinite: firstNonfinite,
      areFinite: areFinite,
      rowStatistics: rowStatistics, logit: logit, rowGradient: rowGradient,
      log: { log(F64x8(repeating: $0))[0] }, exp: { exp(F64x8(repeating: $0))[0] },
      total: { total($0.pointee).high[0] },
      divergence: divergence, optimalPolicy: optimalPolicy, partitionSums: partitionSums,
      implicitRewards: implicitRewards, elementwise: elementwise))
}
