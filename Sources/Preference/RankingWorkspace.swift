import Elementary

/// A group, or a run of one, in the caller's arrays.
public struct RankingLane {
  public var items: Int
  public var end: Int

  @_transparent public init(items: Int, end: Int) {
    self.items = items
    self.end = end
  }
}

/// The memory in which a kernel works on eight groups, one in each lane. Arrays have an element for each step, and one
/// more, for loops that take two at a time.
public struct RankingWorkspace {
  /// The number of steps that there is room for.
  public let capacity: Int
  public let plan: RankingPlan
  /// Where each lane's entries end, and the items of its group begin.
  public let lanes: UnsafeMutablePointer<RankingLane>
  private let memory: UnsafeMutableRawPointer

  /// What the caller's arrays hold, and the vector that the Hessian is multiplied with.
  public var policy: UnsafeMutablePointer<F64x8> { array(0) }
  public var reference: UnsafeMutablePointer<F64x8> { array(1) }
  public var direction: UnsafeMutablePointer<F64x8> { array(2) }
  /// What the backward pass leaves for the forward pass, beside the exponentials in place of `policy` and `reference`.
  public var inverse: UnsafeMutablePointer<F64x8> { array(3) }
  public var inverseLow: UnsafeMutablePointer<F64x8> { array(4) }
  public var another: UnsafeMutablePointer<F64x8> { array(5) }
  public var rescale: UnsafeMutablePointer<F64x8> { array(6) }

  /// The passes in single precision: log-ratios, then exponentials, of all steps; the sums at the beginning of each tile,
  /// and those of scores above the reference. Of `inverse`, `another` and `policy` a tile alone is in use.
  public private(set) var ratio: UnsafeMutablePointer<F64x8>
  public var sums: UnsafeMutablePointer<F64x8> { array(1) }
  public var distances: UnsafeMutablePointer<F64x8> { array(4) }

  /// Steps that stay in the nearest cache: those of all groups that have a lane each.
  @_transparent public static var tile: Int { 128 }

  /// The same memory as 80 plain numbers for each step, for ties.
  public var numbers: UnsafeMutablePointer<Double> {
    UnsafeMutableRawPointer(array(0)).assumingMemoryBound(to: Double.self)
  }

  private static func arrays(_ ties: Ties) -> Int { ties == .breslow ? 7 : 10 }

  /// Bytes for groups of up to `capacity` items, a multiple of 64.
  public static func bytes(capacity: Int, ties: Ties) -> Int {
    128 &+ 64 &* arrays(ties) &* (capacity &+ 1) &+ RankingPlan.bytes(capacity: capacity)
  }

  /// Bytes for the log-ratios of groups of up to `capacity` items, each in one lane unless it is cut into eight runs.
  ///
  /// They have memory of their own: it is a small part of a workspace's, and nearly all that long groups touch. The
  /// allocator keeps so little for the next call, where pages that are new each time would cost more than the kernels.
  public static func ratioBytes(capacity: Int, isPlain: Bool) -> Int {
    let run = capacity / 8 &+ 1
    return 64 &* ((!isPlain ? capacity : run > RankingJob.longGroup ? run : RankingJob.longGroup) &+ 1)
  }

  /// - Parameters:
  ///   - memory: of `bytes(capacity:)`, aligned to 64.
  ///   - ratio: of `ratioBytes(capacity:isPlain:)`, aligned to 64. Nil: part of `memory`.
  public init(capacity: Int, memory: UnsafeMutableRawPointer, ratio: UnsafeMutableRawPointer? = nil) {
    self.capacity = capacity
    plan = RankingPlan(capacity: capacity, memory: memory)
    lanes = (memory + RankingPlan.bytes(capacity: capacity)).assumingMemoryBound(to: RankingLane.self)
    self.memory = memory + (RankingPlan.bytes(capacity: capacity) &+ 128)
    self.ratio = (ratio ?? self.memory + 128 &* (capacity &+ 1)).assumingMemoryBound(to: F64x8.self)
  }

  /// The same with room for the log-ratios of a long group in one lane.
  public var inOneLane: RankingWorkspace {
    var other = self
    other.ratio = array(2)
    return other
  }

  private func array(_ index: Int) -> UnsafeMutablePointer<F64x8> {
    (memory + 64 &* index &* (capacity &+ 1)).assumingMemoryBound(to: F64x8.self)
  }
}
