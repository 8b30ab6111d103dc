import Elementary

/// The entry points of one build of the kernels. The door calls through it and knows nothing of instruction sets.
public struct KernelTable {
  /// Pairs `range` of the job; returns the sum of their losses.
  public var pairwise: (UnsafePointer<PairwiseJob>, Range<Int>) -> FixedOrderSum

  /// Plain DPO of one pair of singles: policy's and reference's log-probabilities of the chosen and the rejected response, or
  /// NULL for both of the reference; then where results go, in the order of the header's struct; beta and the loss's scale.
  /// False where it is left to `pairwise`: then nothing has been written.
  public var onePair:
    @convention(c) (UnsafePointer<UnsafeRawPointer?>, UnsafePointer<UnsafeMutableRawPointer?>, Double, Double) -> Bool

  /// `pairwise` for any losses and results.
  public var pairwiseMixture: (UnsafePointer<PairwiseJob>, Range<Int>, UnsafeMutablePointer<PairwiseSums>) -> Void

  /// Single responses `range` of the job; adds to the sums.
  public var unpaired: (UnsafePointer<UnpairedJob>, Range<Int>, UnsafeMutablePointer<UnpairedSums>) -> Void

  /// Groups `range` of the job, which begins at a multiple of eight; returns the sum of their losses.
  public var ranking: (UnsafePointer<RankingJob>, Range<Int>, RankingWorkspace) -> FixedOrderSum

  /// Rewards of the items of groups `range` of the job.
  public var rankingRewards: (UnsafePointer<RankingJob>, Range<Int>) -> Void

  /// Groups `range` of candidates with targets; returns the sum of their losses.
  public var listwise: (UnsafePointer<ListwiseJob>, Range<Int>, ListwiseWorkspace) -> FixedOrderSum

  /// Index of the first NaN or infinity among `count` elements, or -1.
  public var firstNonfinite: (ElementType, UnsafeRawPointer, Int) -> Int

  /// Whether the four arrays of a batch of pairs, or the two if there is no reference, hold finite singles whose sums are
  /// finite, too: then they need not be looked through for the first that is none.
  public var areFinite: (UnsafePointer<PairwiseJob>) -> Bool

  /// Statistics of a row of `count` logits; the last argument asks for all of them, not the sum alone.
  public var rowStatistics: (LogitsForm, UnsafeRawPointer, Int, Bool) -> RowStatistics

  /// One logit as the statistics see it.
  public var logit: (LogitsForm, UnsafeRawPointer, Int) -> Double

  /// The gradient of one row.
  public var rowGradient: (LogitsForm, GradientRow) -> Void

  /// log x
  public var log: @convention(c) (Double) -> Double

  /// e^x
  public var exp: @convention(c) (Double) -> Double

  /// What a sum comes to, rounded.
  public var total: (UnsafePointer<FixedOrderSum>) -> Double

  /// Divergences of rows `range`.
  public var divergence: (UnsafePointer<DivergenceJob>, Range<Int>) -> Void

  /// Optimal policies of rows `range`.
  public var optimalPolicy: (UnsafePointer<ResponsesJob>, Range<Int>) -> Void

  /// Sums over the samples of one row.
  public var partitionSums: (UnsafePointer<ResponsesJob>, Int) -> PartitionSums

  /// Rewards of policies of rows `range`; policies of rewards if the last argument says so.
  public var implicitRewards: (UnsafePointer<ResponsesJob>, Range<Int>, Bool) -> Void

  /// Elements `range` of a function of two arrays.
  public var elementwise: (UnsafePointer<ElementwiseJob>, Range<Int>) -> Void

  public init(
    pairwise: @escaping (UnsafePointer<PairwiseJob>, Range<Int>) -> FixedOrderSum,
    onePair:
      @escaping @convention(c) (
        UnsafePointer<UnsafeRawPointer?>, UnsafePointer<UnsafeMutableRawPointer?>, Double, Double
      ) -> Bool,
    pairwiseMixture: @escaping (UnsafePointer<PairwiseJob>, Range<Int>, UnsafeMutablePointer<PairwiseSums>) -> Void,
    unpaired: @escaping (UnsafePointer<UnpairedJob>, Range<Int>, UnsafeMutablePointer<UnpairedSums>) -> Void,
    ranking: @escaping (UnsafePointer<RankingJob>, Range<Int>, RankingWorkspace) -> FixedOrderSum,
    rankingRewards: @escaping (UnsafePointer<RankingJob>, Range<Int>) -> Void,
    listwise: @escaping (UnsafePointer<ListwiseJob>, Range<Int>, ListwiseWorkspace) -> FixedOrderSum,
    firstNonfinite: @escaping (ElementType, UnsafeRawPointer, Int) -> Int,
    areFinite: @escaping (UnsafePointer<PairwiseJob>) -> Bool,
    rowStatistics: @escaping (LogitsForm, UnsafeRawPointer, Int, Bool) -> RowStatistics,
    logit: @escaping (LogitsForm, UnsafeRawPointer, Int) -> Double,
    rowGradient: @escaping (LogitsForm, GradientRow) -> Void,
    log: @escaping @convention(c) (Double) -> Double,
    exp: @escaping @convention(c) (Double) -> Double,
    total: @escaping (UnsafePointer<FixedOrderSum>) -> Double,
    divergence: @escaping (UnsafePointer<DivergenceJob>, Range<Int>) -> Void,
    optimalPolicy: @escaping (UnsafePointer<ResponsesJob>, Range<Int>) -> Void,
    partitionSums: @escaping (UnsafePointer<ResponsesJob>, Int) -> PartitionSums,
    implicitRewards: @escaping (UnsafePointer<ResponsesJob>, Range<Int>, Bool) -> Void,
    elementwise: @escaping (UnsafePointer<ElementwiseJob>, Range<Int>) -> Void
  ) {
    self.pairwise = pairwise
    self.onePair = onePair
    self.pairwiseMixture = pairwiseMixture
    self.unpaired = unpaired
    self.ranking = ranking
    self.rankingRewards = rankingRewards
    self.listwise = listwise
    self.firstNonfinite = firstNonfinite
    self.areFinite = areFinite
    self.rowStatistics = rowStatistics
    self.logit = logit
    self.rowGradient = rowGradient
    self.log = log
    self.exp = exp
    self.total = total
    self.divergence = divergence
    self.optimalPolicy = optimalPolicy
    self.partitionSums = partitionSums
    self.implicitRewards = implicitRewards
    self.elementwise = elementwise
  }
}
