import Elementary

// What the door hands to the kernels: everything checked, defaults filled in.

/// A batch of preference pairs. Optional arrays stand in for the scalar beside them.
public struct PairwiseJob<Element: Storage> {
  public var count = 0
  public var policyChosen: UnsafePointer<Element>
  public var policyRejected: UnsafePointer<Element>
  public var refChosen: UnsafePointer<Element>?
  public var refRejected: UnsafePointer<Element>?

  public var beta: Double
  public var betas: UnsafePointer<Element>?
  public var margins: UnsafePointer<Element>?
  public var weights: UnsafePointer<Element>?
  /// P(chosen is better) and its complement, where no pair has a label of its own.
  public var p: Double
  public var q: Double
  public var softLabels: UnsafePointer<Element>?
  /// 1 / count for the mean, 1 for the sum.
  public var scale: Double

  public var losses: UnsafeMutablePointer<Element>?
  public var gradPolicyChosen: UnsafeMutablePointer<Element>?
  public var gradPolicyRejected: UnsafeMutablePointer<Element>?
  public var chosenRewards: UnsafeMutablePointer<Element>?
  public var rejectedRewards: UnsafeMutablePointer<Element>?
  public var gradientWeights: UnsafeMutablePointer<Element>?

  public init(count: Int, policyChosen: UnsafePointer<Element>, policyRejected: UnsafePointer<Element>) {
    self.count = count
    self.policyChosen = policyChosen
    self.policyRejected = policyRejected
    beta = 1
    p = 1
    q = 0
    scale = 1
  }
}

/// A batch of ranked groups of equal size.
public struct RankingJob<Element: Storage> {
  public var numGroups: Int
  public var groupSize: Int
  public var policy: UnsafePointer<Element>
  public var reference: UnsafePointer<Element>?
  public var rankings: UnsafePointer<Int64>?
  public var beta: Double
  public var betas: UnsafePointer<Element>?
  public var weights: UnsafePointer<Element>?
  public var scale: Double

  public var losses: UnsafeMutablePointer<Element>?
  public var gradPolicy: UnsafeMutablePointer<Element>?
  public var rewards: UnsafeMutablePointer<Element>?
  public var gradientWeights: UnsafeMutablePointer<Element>?

  public init(numGroups: Int, groupSize: Int, policy: UnsafePointer<Element>) {
    self.numGroups = numGroups
    self.groupSize = groupSize
    self.policy = policy
    beta = 1
    scale = 1
  }
}
