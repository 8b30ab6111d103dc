import Elementary

/// How stored logits become the logits of the softmax: l = scale * softcap(x), softcap(x) = c tanh(x / c).
public struct LogitsForm {
  public var type: ElementType
  public var scale: Double
  /// c, or 0 for none
  public var softcap: Double

  public init(type: ElementType, scale: Double, softcap: Double) {
    self.type = type
    self.scale = scale
    self.softcap = softcap
  }
}

/// What one reading of a row of logits gives: sums over its entries l, relative to a base near their maximum.
public struct RowStatistics {
  /// The largest logit, or the lowest finite number where all are -inf.
  public var base: Double
  /// sum of exp(l - base)
  public var sum: Double
  /// sum of exp(l - base)^2, if asked for
  public var sumOfSquares = 0.0
  /// sum of exp(l - base) (l - base), if asked for
  public var weightedSum = 0.0
  /// sum of l, if asked for
  public var total = 0.0

  public init(base: Double, sum: Double) {
    self.base = base
    self.sum = sum
  }
}

/// One row whose gradient is asked for: weight (1[v = label] - exp(l[v] - logSumExp)) dl/dx.
public struct GradientRow {
  public var logits: UnsafeRawPointer
  /// Where the gradient goes. It may be the logits' own row.
  public var gradient: UnsafeMutableRawPointer
  public var count: Int
  /// The label's column, or -1 where it lies in another shard of the vocabulary.
  public var label: Int
  public var logSumExp: Double
  public var weight: Double

  public init(
    logits: UnsafeRawPointer, gradient: UnsafeMutableRawPointer, count: Int, label: Int, logSumExp: Double,
    weight: Double
  ) {
    self.logits = logits
    self.gradient = gradient
    self.count = count
    self.label = label
    self.logSumExp = logSumExp
    self.weight = weight
  }
}
