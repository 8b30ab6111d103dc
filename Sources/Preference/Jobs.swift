import Elementary

// What the door hands to the kernels: everything checked, defaults filled in. Arrays have elements of the job's type.

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
  public var margins: UnsafeRawPointer?
  public var weights: UnsafeRawPointer?
  /// P(chosen is better) and its complement, where no pair has a label of its own.
  public var p: Double
  public var q: Double
  public var softLabels: UnsafeRawPointer?
  /// 1 / count for the mean, 1 for the sum.
  public var scale: Double

  public var losses: UnsafeMutableRawPointer?
  public var gradPolicyChosen: UnsafeMutableRawPointer?
  public var gradPolicyRejected: UnsafeMutableRawPointer?
  public var chosenRewards: UnsafeMutableRawPointer?
  public var rejectedRewards: UnsafeMutableRawPointer?
  public var gradientWeights: UnsafeMutableRawPointer?

  @inlinable public init(type: ElementType, count: Int, policyChosen: UnsafeRawPointer, policyRejected: UnsafeRawPointer) {
    self.type = type
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
public struct RankingJob {
  public var type: ElementType
  public var numGroups: Int
  public var groupSize: Int
  public var policy: UnsafeRawPointer
  public var reference: UnsafeRawPointer?
  public var rankings: UnsafePointer<Int64>?
  public var beta: Double
  public var betas: UnsafeRawPointer?
  public var weights: UnsafeRawPointer?
  public var scale: Double

  public var losses: UnsafeMutableRawPointer?
  public var gradPolicy: UnsafeMutableRawPointer?
  public var rewards: UnsafeMutableRawPointer?
  public var gradientWeights: UnsafeMutableRawPointer?

  @inlinable public init(type: ElementType, numGroups: Int, groupSize: Int, policy: UnsafeRawPointer) {
    self.type = type
    self.numGroups = numGroups
    self.groupSize = groupSize
    self.policy = policy
    beta = 1
    scale = 1
  }
}
