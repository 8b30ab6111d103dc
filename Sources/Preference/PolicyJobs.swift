import Elementary

// What the door hands to the kernels over rows of listed outcomes. Arrays [rows, length] have elements of the job's type;
// what is one number for each row is in double precision.

public enum DivergenceKind {
  case kl
  case generalizedKL
  case jensenShannon
}

public struct DivergenceJob {
  public var kind = DivergenceKind.kl
  public var type: ElementType
  public var length: Int
  public var logP: UnsafeRawPointer
  public var logQ: UnsafeRawPointer
  public var values: UnsafeMutablePointer<Double>?
  public var gradP: UnsafeMutableRawPointer?
  public var gradQ: UnsafeMutableRawPointer?

  @inlinable public init(type: ElementType, length: Int, logP: UnsafeRawPointer, logQ: UnsafeRawPointer) {
    self.type = type
    self.length = length
    self.logP = logP
    self.logQ = logQ
  }
}

/// Responses to prompts. A kernel reads what it is about.
public struct ResponsesJob {
  public var type: ElementType
  public var length: Int
  public var reference: UnsafeRawPointer?
  public var rewards: UnsafeRawPointer?
  public var policy: UnsafeRawPointer?
  public var beta: Double
  public var betas: UnsafeRawPointer?
  public var logPartitions: UnsafePointer<Double>?

  /// Log-probabilities or rewards, as the call asks.
  public var result: UnsafeMutableRawPointer?
  public var gradRewards: UnsafeMutableRawPointer?
  public var logPartition: UnsafeMutablePointer<Double>?
  public var objective: UnsafeMutablePointer<Double>?
  public var expectedReward: UnsafeMutablePointer<Double>?
  public var klDivergence: UnsafeMutablePointer<Double>?
  public var gradBeta: UnsafeMutablePointer<Double>?
  public var policyObjective: UnsafeMutablePointer<Double>?
  public var policyGap: UnsafeMutablePointer<Double>?

  @inlinable public init(type: ElementType, length: Int, beta: Double) {
    self.type = type
    self.length = length
    self.beta = beta
  }
}

/// Functions of two arrays, element by element.
public struct ElementwiseJob {
  public enum Function {
    /// Probability and its logarithm, of chosen and rejected rewards.
    case preferenceProbability
    /// k1, k2 and k3, of policy and reference log-probabilities.
    case klEstimates
  }
  public var function: Function
  public var type: ElementType
  public var x: UnsafeRawPointer
  public var y: UnsafeRawPointer
  public var first: UnsafeMutableRawPointer?
  public var second: UnsafeMutableRawPointer?
  public var third: UnsafeMutableRawPointer?

  @inlinable public init(_ function: Function, type: ElementType, x: UnsafeRawPointer, y: UnsafeRawPointer) {
    self.function = function
    self.type = type
    self.x = x
    self.y = y
  }
}
