import Elementary

/// The memory in which a kernel works on eight groups, one in each lane. Arrays have an element for each step, and one
/// more, for loops that take two at a time.
public struct RankingWorkspace {
  /// The number of steps that there is room for.
  public let capacity: Int
  public let plan: RankingPlan
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

  /// Log-ratios, in the passes in single precision.
  public var ratio: UnsafeMutablePointer<F64x8> { array(2) }

  /// The same memory as 80 plain numbers for each step, for ties.
  public var numbers: UnsafeMutablePointer<Double> {
    UnsafeMutableRawPointer(array(0)).assumingMemoryBound(to: Double.self)
  }

  private static func arrays(_ ties: Ties) -> Int { ties == .breslow ? 7 : 10 }

  /// Bytes for groups of up to `capacity` items, a multiple of 64.
  public static func bytes(capacity: Int, ties: Ties) -> Int {
    64 &* arrays(ties) &* (capacity &+ 1) &+ RankingPlan.bytes(capacity: capacity)
  }

  /// - Parameter memory: of `bytes(capacity:)`, aligned to 64.
  public init(capacity: Int, memory: UnsafeMutableRawPointer) {
    self.capacity = capacity
    plan = RankingPlan(capacity: capacity, memory: memory)
    self.memory = memory + RankingPlan.bytes(capacity: capacity)
  }

  private func array(_ index: Int) -> UnsafeMutablePointer<F64x8> {
    (memory + 64 &* index &* (capacity &+ 1)).assumingMemoryBound(to: F64x8.self)
  }
}
