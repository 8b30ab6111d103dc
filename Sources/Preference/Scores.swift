import Elementary

/// What a loss compares: a function of a response's log-ratio, with its derivative.
public enum ScoreKind: UInt8 {
  /// The log-ratio a itself: reverse KL.
  case logRatio
  /// (e^(g a) - 1) / g: forward KL with g = -1, the alpha-divergence with g = alpha - 1 (Wang et al. 2023, f-DPO), and
  /// AlphaPO's reward with g = -alpha (Gupta et al. 2025). The limit at g = 0 is a.
  case power
  /// log(2 sigma(a)): Jensen-Shannon (Wang et al. 2023)
  case jensenShannon
  /// The log-odds a - log(1 - e^a) of a response of probability e^a, a < 0 (ORPO; Hong et al. 2024)
  case logOdds
}

/// The score of a response, eight at once, held at a quarter of its size as log-ratios are.
public struct Score {
  public var quarter: DoubleDouble
  public var slope: F64x8

  @_transparent public init(quarter: DoubleDouble, slope: F64x8) {
    self.quarter = quarter
    self.slope = slope
  }
}

/// The elementary functions as a build of the kernels has them, out of line: formulas that are seldom asked for call
/// them, so that each formula adds little code.
public protocol ElementaryFunctions {
  static func exp(_ x: F64x8) -> F64x8
  /// The low part enters to first order.
  static func exp(_ x: DoubleDouble) -> F64x8
  static func log(_ x: F64x8) -> F64x8
  static func logistic(_ x: DoubleDouble) -> Logistic
  /// (x - y) / (first * second), rounded once.
  static func quotient(_ x: DoubleDouble, less y: DoubleDouble, over first: F64x8, _ second: F64x8) -> F64x8
  static func extendedExp(_ x: DoubleDouble) -> (exp: DoubleDouble, expm1: DoubleDouble)
  static func extendedLog(_ x: DoubleDouble) -> DoubleDouble
}

extension ScoreKind {
  /// The score of a log-ratio, which is given by its quarter.
  @_transparent public func score<Functions: ElementaryFunctions>(
    quarter x: DoubleDouble, gain: Double, _ functions: Functions.Type
  ) -> Score {
    switch self {
    case .logRatio: Score(quarter: x, slope: F64x8(repeating: 1))
    case .power: powerScore(quarter: x, gain, functions)
    case .jensenShannon: jensenShannonScore(quarter: x, functions)
    case .logOdds: logOddsScore(quarter: x, functions)
    }
  }
}

/// (e^(g x) - 1) / g, and its slope e^(g x).
@_transparent public func powerScore<Functions: ElementaryFunctions>(
  quarter x: DoubleDouble, _ g: Double, _: Functions.Type
) -> Score {
  let power = Functions.extendedExp((x * F64x8(repeating: g)).timesFour)
  return Score(quarter: power.expm1.scaled(0.25) / F64x8(repeating: g), slope: power.exp.high)
}

/// A quarter of the difference of two power scores, as e^(g max) (1 - e^(-|g (a - b)|)) / g: its sign and size are right
/// where the scores themselves overflow.
@_transparent public func powerScoreDifference<Functions: ElementaryFunctions>(
  quarter a: DoubleDouble, _ b: DoubleDouble, _ g: Double, _: Functions.Type
) -> DoubleDouble {
  let gain = F64x8(repeating: g)
  let gap = ((a - b) * gain).timesFour
  let above = gap.high .> 0
  let base = (a.selected(above, else: b) * gain).timesFour
  let root = Functions.extendedExp(base.scaled(0.5)).exp
  let share = -Functions.extendedExp(-gap.magnitude).expm1
  let size = share.scaled(0.25) * root * root / gain
  let zero = DoubleDouble(F64x8(repeating: 0))
  let difference = zero.selected(gap.high .== 0, else: size.selected(above, else: -size))
  // NaN goes through.
  return difference.selected(gap.high .== gap.high, else: gap)
}

/// log(2 sigma(x)) = min(x, 0) + log 2 - log(1 + e^-|x|), and its slope sigma(-x).
@_transparent public func jensenShannonScore<Functions: ElementaryFunctions>(
  quarter x: DoubleDouble, _: Functions.Type
) -> Score {
  let zero = DoubleDouble(F64x8(repeating: 0))
  let e = Functions.extendedExp(-x.magnitude.timesFour).exp
  let total = e + F64x8(repeating: 1)
  let most = DoubleDouble(high: F64x8(repeating: ln2), low: F64x8(repeating: 0x1.abc9e3b39803fp-56))
  let rest = most - Functions.extendedLog(total)
  return Score(
    quarter: x.selected(x.high .< 0, else: zero) + rest.scaled(0.25),
    slope: e.high.selected(x.high .> 0, else: F64x8(repeating: 1)) / total.high)
}

/// x - log(1 - e^x) and its slope 1 / (1 - e^x), for x < 0. Where x is 0 or, by rounding, above, -2^-1018 stands for it,
/// so that odds stay finite.
///
@_transparent public func logOddsScore<Functions: ElementaryFunctions>(
  quarter: DoubleDouble, _: Functions.Type
) -> Score {
  let certain = DoubleDouble(F64x8(repeating: -0x1p-1020))
  let quarter = certain.selected(quarter.high .> -0x1p-1020, else: quarter)
  let rest = -Functions.extendedExp(quarter.timesFour).expm1
  return Score(quarter: quarter - Functions.extendedLog(rest).scaled(0.25), slope: 1 / rest.high)
}
