/// One row of logits whose gradient is asked for.
public struct LogitsRow<Element> {
  public var logits: UnsafePointer<Element>
  /// Where the gradient goes. It may be the logits' own row.
  public var gradient: UnsafeMutablePointer<Element>
  public var count: Int
  public var label: Int
  /// log sum over v of exp(logits[v])
  public var logSumExp: Double
  /// d loss / d log-probability of the label
  public var weight: Double

  @inlinable public init(
    logits: UnsafePointer<Element>, gradient: UnsafeMutablePointer<Element>, count: Int, label: Int, logSumExp: Double,
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
