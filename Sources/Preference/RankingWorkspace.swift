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
  public var ratio: UnsafeMutablePointer<F64x8> { array(2) }
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

  /// - Parameter memory: of `bytes(capacity:)`, aligned to 64.
  public init(capacity: Int, memory: UnsafeMutableRawPointer) {
    self.capacity = capacity
    plan = RankingPlan(capacity: capacity, memory: memory)
    lanes = (memory + RankingPlan.bytes(capacity: capacity)).assumingMemoryBound(to: RankingLane.self)
    self.memory = memory + (RankingPlan.bytes(capacity: capacity) &+ 128)
  }

  private func array(_ index: Int) -> UnsafeMutablePointer<F64x8> {
    (memory + 64 &* index &* (capacity &+ 1)).assumingMemoryBound(to: F64x8.self)
  }
}
