import Elementary

/// The entry points of one build of the kernels. The door calls through it and knows nothing of instruction sets.
public struct KernelTable {
  /// Pairs `range` of the job; returns the sum of their losses.
  public var pairwise: (UnsafePointer<PairwiseJob>, Range<Int>) -> FixedOrderSum

  /// Groups `range` of the job, with a workspace of one entry for each item of a group; returns the sum of their losses.
  public var ranking: (UnsafePointer<RankingJob>, Range<Int>, UnsafeMutablePointer<StageProbabilities>) -> FixedOrderSum

  /// Index of the first NaN or infinity among `count` elements, or -1.
  public var firstNonfinite: (ElementType, UnsafeRawPointer, Int) -> Int

  /// log-sum-exp of a row of `count` logits; NaN or infinite where a logit is.
  public var logSumExpF32: (UnsafePointer<Float>, Int) -> Double

  /// gradient[v] = weight (1[v = label] - exp(logits[v] - logSumExp))
  public var logitsGradientF32: (LogitsRow<Float>) -> Void

  public init(
    pairwise: @escaping (UnsafePointer<PairwiseJob>, Range<Int>) -> FixedOrderSum,
    ranking: @escaping (UnsafePointer<RankingJob>, Range<Int>, UnsafeMutablePointer<StageProbabilities>) ->
      FixedOrderSum,
    firstNonfinite: @escaping (ElementType, UnsafeRawPointer, Int) -> Int,
    logSumExpF32: @escaping (UnsafePointer<Float>, Int) -> Double,
    logitsGradientF32: @escaping (LogitsRow<Float>) -> Void
  ) {
    self.pairwise = pairwise
    self.ranking = ranking
    self.firstNonfinite = firstNonfinite
    self.logSumExpF32 = logSumExpF32
    self.logitsGradientF32 = logitsGradientF32
  }
}
