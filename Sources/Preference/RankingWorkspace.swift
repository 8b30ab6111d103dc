import Elementary

/// The memory in which a kernel works on eight groups, one in each lane. Arrays have an element for each step.
public struct RankingWorkspace {
  /// The number of steps that there is room for.
  public let capacity: Int
  public let plan: RankingPlan
  /// What the caller's arrays hold, and the vector that the Hessian is multiplied with.
  public let policy: UnsafeMutablePointer<F64x8>
  public let reference: UnsafeMutablePointer<F64x8>
  public let direction: UnsafeMutablePointer<F64x8>
  /// What the backward pass leaves for the forward pass; `direction` then holds what `PlackettLuceMean` returned.
  public let chosen: UnsafeMutablePointer<F64x8>
  public let another: UnsafeMutablePointer<F64x8>

  /// The same memory as 40 plain numbers for each step.
  public var numbers: UnsafeMutablePointer<Double> {
    UnsafeMutableRawPointer(policy).assumingMemoryBound(to: Double.self)
  }

  private static var arrays: Int { 5 }

  /// Bytes for groups of up to `capacity` items, a multiple of 64.
  public static func bytes(capacity: Int) -> Int { 64 &* arrays &* capacity &+ RankingPlan.bytes(capacity: capacity) }

  /// - Parameter memory: of `bytes(capacity:)`, aligned to 64.
  public init(capacity: Int, memory: UnsafeMutableRawPointer) {
    self.capacity = capacity
    func array(_ index: Int) -> UnsafeMutablePointer<F64x8> {
      (memory + 64 &* index &* capacity).assumingMemoryBound(to: F64x8.self)
    }
    policy = array(0)
    reference = array(1)
    direction = array(2)
    chosen = array(3)
    another = array(4)
    plan = RankingPlan(capacity: capacity, memory: memory + 64 &* Self.arrays &* capacity)
  }
}
