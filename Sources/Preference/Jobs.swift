import Elementary

// What the door hands to the kernels: everything checked, defaults filled in. Arrays have elements of the job's type.

/// One of the losses of a batch, and the score that it compares.
public struct LossTerm {
  public var loss: PairwiseLossType
  public var weight: Double
  public var score: ScoreKind
  /// The exponent's factor of a power score.
  public var gain: Double
  /// Scores are per token: the log-ratio is divided by the number of tokens before the score is taken, or after.
  public var meanLogRatio: Bool
  public var meanScore: Bool

  @inlinable public init(_ loss: PairwiseLossType, weight: Double) {
    self.loss = loss
    self.weight = weight
    score = .logRatio
    gain = 0
    meanLogRatio = false
    meanScore = false
  }
}

/// What TDPO adds to a batch of pairs: D of each response, the sum over its steps of KL(reference || policy), and where
/// the gradients by it go.
public struct TokenDivergences {
  public var chosen: UnsafeRawPointer
  public var rejected: UnsafeRawPointer
  public var alpha: Double
  /// TDPO2: D of the chosen response is a constant.
  public var holdsChosen: Bool
  public var gradChosen: UnsafeMutableRawPointer?
  public var gradRejected: UnsafeMutableRawPointer?
  public var margins: UnsafeMutableRawPointer?

  @inlinable public init(chosen: UnsafeRawPointer, rejected: UnsafeRawPointer, alpha: Double, holdsChosen: Bool) {
    self.chosen = chosen
    self.rejected = rejected
    self.alpha = alpha
    self.holdsChosen = holdsChosen
  }
}

/// A batch of preference pairs. Optional arrays stand in for the scalar beside them.
public struct PairwiseJob {
  public var type: ElementType
  public var count: Int
  public var policyChosen: UnsafeRawPointer
  public var policyRejected: UnsafeRawPointer
  public var refChosen: UnsafeRawPointer?
  public var refRejected: UnsafeRawPointer?

  public var beta: Double
  public var betas: UnsafeRawPointer?
  public var margin: Double
  public var margins: UnsafeRawPointer?
  public var weights: UnsafeRawPointer?
  /// P(chosen is better) and its complement, where no pair has a label of its own.
  public var p: Double
  public var q: Double
  public var softLabels: UnsafeRawPointer?
  public var chosenLengths: UnsafePointer<Int64>?
  public var rejectedLengths: UnsafePointer<Int64>?
  /// 1 where neither response is better.
  public var ties: UnsafePointer<UInt8>?
  public var rewardGaps: UnsafeRawPointer?
  public var rewardScale: Double
  /// Log-probabilities of a further response that the sft term is about.
  public var sftLogps: UnsafeRawPointer?
  /// Pairs for each token of the sft term.
  public var sftShare: Double
  /// 1 / count for the mean, 1 for the sum.
  public var scale: Double

  /// The losses of a mixture.
  public var terms: UnsafePointer<LossTerm>!
  public var termCount: Int
  public var parameters: LossParameters
  public var divergences: UnsafePointer<TokenDivergences>?
  /// Optimal transport, aot: for each pair, the one whose reference margin has the rank of its policy margin, and the
  /// other way round. aot_unpaired: the one whose rejected response has the rank of its chosen one, and back.
  public var referencePartners: UnsafePointer<Int>?
  public var policyPartners: UnsafePointer<Int>?
  public var rejectedPartners: UnsafePointer<Int>?
  public var chosenPartners: UnsafePointer<Int>?

  public var losses: UnsafeMutableRawPointer?
  public var gradPolicyChosen: UnsafeMutableRawPointer?
  public var gradPolicyRejected: UnsafeMutableRawPointer?
  public var chosenRewards: UnsafeMutableRawPointer?
  public var rejectedRewards: UnsafeMutableRawPointer?
  public var gradientWeights: UnsafeMutableRawPointer?
  public var gradRefChosen: UnsafeMutableRawPointer?
  public var gradRefRejected: UnsafeMutableRawPointer?
  public var gradSFT: UnsafeMutableRawPointer?
  public var gradBetas: UnsafeMutableRawPointer?
  public var gradMargins: UnsafeMutableRawPointer?
  public var curvatures: UnsafeMutableRawPointer?
  public var wantsMetrics: Bool
  /// The sum of losses is NaN where a margin is not finite, though its loss may be. Of plain DPO in single precision.
  public var sumShowsNonfinite: Bool

  @inlinable public init(
    type: ElementType, count: Int, policyChosen: UnsafeRawPointer, policyRejected: UnsafeRawPointer
  ) {
    self.type = type
    self.count = count
    self.policyChosen = policyChosen
    self.policyRejected = policyRejected
    beta = 1
    margin = 0
    p = 1
    q = 0
    rewardScale = 1
    sftShare = 0
    scale = 1
    termCount = 1
    parameters = LossParameters()
    wantsMetrics = false
    sumShowsNonfinite = false
  }
}

/// The sums of a batch that a loss over pairs leaves.
public struct PairwiseSums {
  public var loss = FixedOrderSum()
  public var gradTieStrength = FixedOrderSum()
  public var chosenRewards = FixedOrderSum()
  public var rejectedRewards = FixedOrderSum()
  public var chosenLogps = FixedOrderSum()
  public var rejectedLogps = FixedOrderSum()
  public var gradientWeights = FixedOrderSum()
  /// Estimates of KL(policy || reference) from the responses at hand: k1, k2, k3 for chosen, then for rejected.
  public var kl = InlineArray<6, FixedOrderSum>(repeating: FixedOrderSum())
  public var correct = 0
  public var tied = 0

  @_transparent public init() {}

  @inline(never) public mutating func add(_ other: PairwiseSums) {
    loss.addSaturating(other.loss)
    gradTieStrength.addSaturating(other.gradTieStrength)
    chosenRewards.addSaturating(other.chosenRewards)
    rejectedRewards.addSaturating(other.rejectedRewards)
    chosenLogps.addSaturating(other.chosenLogps)
    rejectedLogps.addSaturating(other.rejectedLogps)
    gradientWeights.addSaturating(other.gradientWeights)
    for index in 0..<6 { kl[index].addSaturating(other.kl[index]) }
    correct &+= other.correct
    tied &+= other.tied
  }
}

/// What the items that a list does not name have to do with the choices that it records.
public enum UnlistedItems: UInt8 {
  /// There are none.
  case none
  /// Nothing: they were not there to be chosen.
  case absent
  /// They were there to be chosen at every stage, and remain.
  case remain
}

/// A batch of ranked groups.
///
/// An entry is a place in the lists: entry e of group g lies at `entries(g).lowerBound + e`. Without `numSharedItems`
/// each group has as many items as entries, laid out alike; with it all groups rank the same items.
public struct RankingJob {
  public var type: ElementType
  public var numGroups: Int
  /// Entries of each group, unless `offsets` says where each begins.
  public var groupSize: Int
  public var offsets: UnsafePointer<Int64>?
  public var numSharedItems = 0

  public var policy: UnsafeRawPointer
  public var reference: UnsafeRawPointer?
  /// The item of each entry, or -1 behind the last one. Nil: items stand in the order of the entries.
  public var rankings: UnsafePointer<Int64>?
  /// The rank of each entry from 1 on; 0 below all of those; -1 for an item that was not there. Nil: as they stand.
  public var ranks: UnsafePointer<Int64>?
  public var unlisted = UnlistedItems.none
  /// How many choices of each group were observed.
  public var top = Int.max
  /// The stages choose the worst item of those left, and lists run from the worst.
  public var choosesWorst = false
  public var ties = Ties.breslow
  /// delta_2, delta_3, ... of Davidson's ties, and their gradient.
  public var tieStrengths: UnsafePointer<Double>?
  public var numTieStrengths = 0
  public var gradTieStrengths: UnsafeMutablePointer<Double>?
  /// The factor of each place. Nil: 1.
  public var positionWeights: UnsafeRawPointer?

  public var beta: Double
  public var betas: UnsafeRawPointer?
  public var weights: UnsafeRawPointer?
  public var scale: Double
  /// The vector that the Hessian is multiplied with, laid out as the items.
  public var direction: UnsafeRawPointer?

  public var losses: UnsafeMutableRawPointer?
  public var gradPolicy: UnsafeMutableRawPointer?
  public var gradReference: UnsafeMutableRawPointer?
  public var rewards: UnsafeMutableRawPointer?
  public var gradientWeights: UnsafeMutableRawPointer?
  public var hessianProduct: UnsafeMutableRawPointer?

  @inlinable public init(type: ElementType, numGroups: Int, groupSize: Int, policy: UnsafeRawPointer) {
    self.type = type
    self.numGroups = numGroups
    self.groupSize = groupSize
    self.policy = policy
    beta = 1
    scale = 1
  }

  /// Where a group's entries lie.
  @_transparent public func entries(_ group: Int) -> Range<Int> {
    guard let offsets else { return Range(uncheckedBounds: (group &* groupSize, (group &+ 1) &* groupSize)) }
    return Range(
      uncheckedBounds: (
        Int(truncatingIfNeeded: offsets[group]), Int(truncatingIfNeeded: offsets[group &+ 1])
      ))
  }

  /// Where a group's items lie.
  @_transparent public func items(_ group: Int) -> Range<Int> {
    numSharedItems > 0 ? Range(uncheckedBounds: (0, numSharedItems)) : entries(group)
  }

  /// Stages do not count once each.
  @_transparent public var hasStageWeights: Bool { ranks != nil || positionWeights != nil || ties != .breslow }

  /// Every item takes part, and stands where its entry or `rankings` says.
  @_transparent public var isPlain: Bool { numSharedItems == 0 && unlisted == .none && !hasStageWeights }

  /// Groups of so many items are cut into eight runs, one for each lane; smaller ones have a lane each.
  @_transparent public static var longGroup: Int { 128 }

  @_transparent public func isCut(_ group: Int) -> Bool {
    isPlain && direction == nil && entries(group).count >= Self.longGroup
  }
}

/// A batch of single responses. x = beta * log-ratio - beta * klBaseline - shift.
public struct UnpairedJob {
  public var type: ElementType
  public var count: Int
  public var policy: UnsafeRawPointer
  public var reference: UnsafeRawPointer?
  public var desirable: UnsafePointer<UInt8>
  public var beta = 1.0
  public var betas: UnsafeRawPointer?
  public var weights: UnsafeRawPointer?
  public var desirableWeight = 1.0
  public var undesirableWeight = 1.0
  /// KTO's baseline, in nats, and BCO's, a reward. The one that is not used is 0.
  public var klBaseline = 0.0
  public var shift = 0.0
  /// BCO's logistic loss, or else KTO's sigmoid.
  public var isLogistic = false
  public var scale = 1.0

  public var losses: UnsafeMutableRawPointer?
  public var gradPolicy: UnsafeMutableRawPointer?
  public var rewards: UnsafeMutableRawPointer?
  public var gradBetas: UnsafeMutableRawPointer?
  public var curvatures: UnsafeMutableRawPointer?

  @inlinable public init(
    type: ElementType, count: Int, policy: UnsafeRawPointer, desirable: UnsafePointer<UInt8>
  ) {
    self.type = type
    self.count = count
    self.policy = policy
    self.desirable = desirable
  }
}

/// The sums of a batch of single responses.
public struct UnpairedSums {
  public var loss = FixedOrderSum()
  /// d loss / dx, with its sign, and times beta: the gradient by either baseline.
  public var slope = FixedOrderSum()
  public var slopeTimesBeta = FixedOrderSum()
  public var desirableRewards = FixedOrderSum()
  public var undesirableRewards = FixedOrderSum()
  public var desirableLogps = FixedOrderSum()
  public var undesirableLogps = FixedOrderSum()
  public var numDesirable = 0

  @_transparent public init() {}

  @inline(never) public mutating func add(_ other: UnpairedSums) {
    loss.addSaturating(other.loss)
    slope.addSaturating(other.slope)
    slopeTimesBeta.addSaturating(other.slopeTimesBeta)
    desirableRewards.addSaturating(other.desirableRewards)
    undesirableRewards.addSaturating(other.undesirableRewards)
    desirableLogps.addSaturating(other.desirableLogps)
    undesirableLogps.addSaturating(other.undesirableLogps)
    numDesirable &+= other.numDesirable
  }
}
