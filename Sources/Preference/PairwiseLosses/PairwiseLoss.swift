import Elementary

// What a loss over pairs of responses is. Each loss is a small type in a file of this folder; docs/adding-a-loss.md
// says how to write one. The kernels evaluate it; they see to scores, weights, reductions and element types.

/// A set of lanes.
public typealias Lanes = SIMDMask<F64x8.MaskStorage>

/// Where losses are evaluated: eight pairs at once.
public struct PairPoint {
  /// z = beta * (score of chosen - score of rejected) - margin
  public var z: DoubleDouble
  /// u = beta * (score of chosen) - margin / 2, for losses that look at each response by itself
  public var chosen: DoubleDouble
  /// v = beta * (score of rejected) + margin / 2, so that z = u - v
  public var rejected: DoubleDouble
  public var beta: F64x8
  /// Probability that the chosen response is the better one, and its complement.
  public var p: F64x8
  public var q: F64x8
  public var margin: F64x8
  /// Difference of the given rewards, scaled: what z should be (reward-aware losses).
  public var target: DoubleDouble
  /// Pairs that were judged to be equally good.
  public var tied: Lanes
  public var parameters: LossParameters
  /// Whether the derivative by beta is asked for.
  public var wantsBeta = false

  @_transparent public init(
    z: DoubleDouble, chosen: DoubleDouble, rejected: DoubleDouble, beta: F64x8, margin: F64x8, p: F64x8, q: F64x8,
    target: DoubleDouble, tied: Lanes, parameters: LossParameters
  ) {
    self.z = z
    self.chosen = chosen
    self.rejected = rejected
    self.beta = beta
    self.margin = margin
    self.p = p
    self.q = q
    self.target = target
    self.tied = tied
    self.parameters = parameters
  }
}

/// Parameters of single losses, each one number for the batch.
public struct LossParameters {
  /// Robust DPO: the known rate at which labels are flipped.
  public var flipRate = 0.0
  /// DiscoPOP: temperature of the blend.
  public var discopopTau = 0.05
  /// Rao-Kupper's and Davidson's nu, with log nu, log(nu^2 - 1) and log(2 nu).
  public var tieStrength = 2.0
  public var logTieStrength = 0.0
  public var logTieStrengthLow = 0.0
  public var logTieNormalizer = 0.0
  public var logTieOdds = 0.0

  @inlinable public init() {}
}

/// A loss and its derivatives at a point.
public struct PairJet {
  public var value: F64x8
  /// By u and by v. A loss of the margin alone has opposite ones.
  public var chosen: F64x8
  public var rejected: F64x8
  /// Second derivative along z, at u + v fixed.
  public var curvature: F64x8
  /// By beta. Nil: as u and v carry it.
  public var beta: F64x8?
  /// By the strength of ties.
  public var tieStrength = F64x8(repeating: 0)

  /// A loss of u and v.
  @_transparent public init(value: F64x8, chosen: F64x8, rejected: F64x8, curvature: F64x8) {
    self.value = value
    self.chosen = chosen
    self.rejected = rejected
    self.curvature = curvature
  }

  /// A loss of z.
  @_transparent public init(value: F64x8, slope: F64x8, curvature: F64x8) {
    self.init(value: value, chosen: slope, rejected: -slope, curvature: curvature)
  }
}

/// A loss that needs the logistic function at z, u and v.
public protocol PairwiseLoss {
  static func jet(_ point: PairPoint, _ z: Logistic, _ u: Logistic, _ v: Logistic) -> PairJet
}

/// A loss that needs the logistic function at z alone, or not at all.
public protocol MarginLoss {
  static func jet(_ point: PairPoint, _ z: Logistic) -> PairJet
}

/// A loss that needs other elementary functions as well.
public protocol GeneralLoss {
  static func jet<Functions: ElementaryFunctions>(
    _ point: PairPoint, _ z: Logistic, _ functions: Functions.Type
  ) -> PairJet
}

/// The same for labels that are surely right: in doubt, the kernels take the expected value over both labels.
public protocol SureLoss: GeneralLoss {}

extension PairPoint {
  /// The responses exchanged, with a sure label.
  @_transparent public var flipped: PairPoint {
    var point = self
    point.z = -z
    point.chosen = rejected
    point.rejected = chosen
    return point
  }
}

extension PairJet {
  /// p times the loss of a label that is right, plus q times that of a flipped one.
  @_transparent public init(p: F64x8, _ right: PairJet, q: F64x8, flipped: PairJet) {
    self.init(
      value: expected(p, right.value, q, flipped.value),
      chosen: expected(p, right.chosen, q, flipped.rejected),
      rejected: expected(p, right.rejected, q, flipped.chosen),
      curvature: expected(p, right.curvature, q, flipped.curvature))
  }
}

/// Expected value under a label that is right with probability p: p x + q y, where what has no weight does not count.
@_transparent public func expected(_ p: F64x8, _ x: F64x8, _ q: F64x8, _ y: F64x8) -> F64x8 {
  x.weighted(by: p) + y.weighted(by: q)
}
