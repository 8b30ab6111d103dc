import Elementary

// Losses over lists of candidates that have targets instead of a ranking. With scores s_i and targets t_i:
//
//     cross-entropy   - sum over i of t_i log softmax(s)_i,  t a distribution           slope  softmax(s)_i - t_i
//     lambda          sum over t_i > t_j of  w_ij softplus(s_j - s_i)                    slope of s_i  -w_ij sigma(s_j - s_i)
//                     w_ij = |2^t_i - 2^t_j| |1 / log(1 + rank_i) - 1 / log(1 + rank_j)|,  rank_i the place of s_i, from 1
//     PRO             sum over k < K, best target first, of  log sum over i >= k of exp(c_ki s_i) - c_kk s_k
//                     c_ki = t_k - t_i for i > k, c_kk = the largest of them             slope  c_ki (softmax(c_k s)_i - [i = k])
//
// (LiPO-lambda, Liu et al. 2024, with the weights of LambdaRank, Burges et al. 2006, which are held constant; PRO, Song et
// al. 2023, whose c are inverse temperatures.)

public enum ListwiseLoss: UInt8 {
  case crossEntropy
  case lambda
  case pro
}

/// A batch of groups of candidates with targets.
public struct ListwiseJob {
  public var type: ElementType
  public var loss: ListwiseLoss
  public var numGroups: Int
  public var groupSize: Int
  public var offsets: UnsafePointer<Int64>?
  public var policy: UnsafeRawPointer
  public var reference: UnsafeRawPointer?
  public var targets: UnsafeRawPointer
  public var beta = 1.0
  public var betas: UnsafeRawPointer?
  public var weights: UnsafeRawPointer?
  public var scale = 1.0
  public var losses: UnsafeMutableRawPointer?
  public var gradPolicy: UnsafeMutableRawPointer?
  public var rewards: UnsafeMutableRawPointer?

  @inlinable public init(
    type: ElementType, loss: ListwiseLoss, numGroups: Int, groupSize: Int, policy: UnsafeRawPointer,
    targets: UnsafeRawPointer
  ) {
    self.type = type
    self.loss = loss
    self.numGroups = numGroups
    self.groupSize = groupSize
    self.policy = policy
    self.targets = targets
  }

  /// Where a group's candidates lie.
  @_transparent public func items(_ group: Int) -> Range<Int> {
    guard let offsets else { return Range(uncheckedBounds: (group &* groupSize, (group &+ 1) &* groupSize)) }
    return Range(
      uncheckedBounds: (Int(truncatingIfNeeded: offsets[group]), Int(truncatingIfNeeded: offsets[group &+ 1])))
  }
}

/// Memory for one group at work: arrays of vectors of eight candidates.
public struct ListwiseWorkspace {
  private let memory: UnsafeMutableRawPointer
  private let blocks: Int

  /// Eight arrays.
  public static func bytes(capacity: Int) -> Int { 8 &* 64 &* ((capacity &+ 7) / 8) }

  public init(capacity: Int, memory: UnsafeMutableRawPointer) {
    self.memory = memory
    blocks = (capacity &+ 7) / 8
  }

  public func array(_ index: Int) -> UnsafeMutablePointer<F64x8> {
    (memory + 64 &* index &* blocks).assumingMemoryBound(to: F64x8.self)
  }

  public func numbers(_ index: Int) -> UnsafeMutablePointer<Double> {
    UnsafeMutableRawPointer(array(index)).assumingMemoryBound(to: Double.self)
  }
}
