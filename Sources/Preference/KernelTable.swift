import Elementary

/// The entry points of one build of the kernels. The door calls through it and knows nothing of instruction sets.
public struct KernelTable {
  /// Pairs `range` of the job; returns the sum of their losses.
  public typealias Pairwise<Element: Storage> = (UnsafePointer<PairwiseJob<Element>>, Range<Int>) -> FixedOrderSum
  /// Groups `range` of the job, with a workspace of `StageProbabilities` for each item of a group.
  public typealias Ranking<Element: Storage> = (
    UnsafePointer<RankingJob<Element>>, Range<Int>, UnsafeMutablePointer<StageProbabilities>
  ) -> FixedOrderSum
  /// Index of the first NaN or infinity among `count` elements, or -1.
  public typealias FirstNonfinite<Element: Storage> = (UnsafePointer<Element>, Int) -> Int

  public var pairwiseF32: Pairwise<Float>
  public var pairwiseF64: Pairwise<Double>
  public var rankingF32: Ranking<Float>
  public var rankingF64: Ranking<Double>
  public var firstNonfiniteF32: FirstNonfinite<Float>
  public var firstNonfiniteF64: FirstNonfinite<Double>
  /// log-sum-exp of a row of `count` logits; NaN or infinite where a logit is.
  public var logSumExpF32: (UnsafePointer<Float>, Int) -> Double
  /// target[v] = g (1[v = label] - exp(row[v] - logSumExp)); the target may be the row.
  public var logitsGradientF32: (LogitsRow<Float>) -> Void
  /// target[v] = 0
  public init(
    pairwiseF32: @escaping Pairwise<Float>, pairwiseF64: @escaping Pairwise<Double>,
    rankingF32: @escaping Ranking<Float>, rankingF64: @escaping Ranking<Double>,
    firstNonfiniteF32: @escaping FirstNonfinite<Float>, firstNonfiniteF64: @escaping FirstNonfinite<Double>,
    logSumExpF32: @escaping (UnsafePointer<Float>, Int) -> Double,
    logitsGradientF32: @escaping (LogitsRow<Float>) -> Void
  ) {
    self.pairwiseF32 = pairwiseF32
    self.pairwiseF64 = pairwiseF64
    self.rankingF32 = rankingF32
    self.rankingF64 = rankingF64
    self.firstNonfiniteF32 = firstNonfiniteF32
    self.firstNonfiniteF64 = firstNonfiniteF64
    self.logSumExpF32 = logSumExpF32
    self.logitsGradientF32 = logitsGradientF32
  }
}
