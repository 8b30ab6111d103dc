/// A sum whose bits depend on its terms and their positions alone: eight running sums of about 106 bits, added up in
/// pairs at the end.
public struct FixedOrderSum {
  public var lanes = DoubleDouble(F64x8(repeating: 0))

  @_transparent public init() {}

  /// The sum's error is kept beside it, and put in its place by `total`. Beside an infinite sum it is NaN, which counts
  /// as 0 there.
  @_transparent public mutating func add(_ terms: F64x8) {
    let sum = lanes.high + terms
    let part = sum - lanes.high
    lanes.low = lanes.low + ((lanes.high - (sum - part)) + (terms - part))
    lanes.high = sum
  }

  @_transparent public mutating func add(_ terms: DoubleDouble) { lanes = lanes + terms }

  @_transparent public mutating func add(_ other: FixedOrderSum) { lanes = lanes + other.lanes }

  /// Of infinities of opposite sign, the first stands.
  @inline(never) public mutating func addSaturating(_ other: FixedOrderSum) {
    let saturated = lanes.high.saturatingSum(other.lanes.high)
    add(other)
    lanes.high = lanes.high.selected(lanes.high .== lanes.high, else: saturated)
  }

  /// The sum in all lanes.
  @_transparent public var total: DoubleDouble {
    // Each step leaves the sums of neighbours, twice over; the third leaves the whole in every lane.
    DoubleDouble.normalized(lanes.high, lanes.low).sumOfNeighbours.sumOfNeighbours.sumOfNeighbours
  }
}

extension DoubleDouble {
  @_transparent public var sumOfNeighbours: DoubleDouble { evenLanes + oddLanes }

  /// The largest lane, in all lanes.
  @_transparent public var largestLane: DoubleDouble {
    var largest = evenLanes.larger(oddLanes)
    largest = largest.evenLanes.larger(largest.oddLanes)
    return largest.evenLanes.larger(largest.oddLanes)
  }

  @_transparent public var evenLanes: DoubleDouble {
    DoubleDouble(
      high: F64x8(lowHalf: high.evenHalf, highHalf: high.oddHalf),
      low: F64x8(lowHalf: low.evenHalf, highHalf: low.oddHalf))
  }

  @_transparent public var oddLanes: DoubleDouble {
    DoubleDouble(
      high: F64x8(lowHalf: high.oddHalf, highHalf: high.evenHalf),
      low: F64x8(lowHalf: low.oddHalf, highHalf: low.evenHalf))
  }
}
