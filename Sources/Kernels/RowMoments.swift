import CPlatform
import Elementary
import Preference

/// What a row's statistics hold besides the sum of exponentials: sums of their squares, of the logits weighted by them,
/// and of the logits. Their scale is that of the `ScaledSums` beside them.
struct RowMoments {
  private var squares = F64x8(repeating: 0)
  /// Sums of e^l (x - centre), with the centre near the largest x, so that the terms are small.
  private var weighted = F64x8(repeating: 0)
  private var centre: Float
  private var total: Double

  /// - Parameter skippedBlocks: whether the row began with blocks of -inf alone.
  init(_ form: LogitsForm, exponent: Int32, skippedBlocks: Bool) {
    centre = Self.centre(form, exponent)
    total = skippedBlocks ? -.infinity : 0
  }

  private static func centre(_ form: LogitsForm, _ exponent: Int32) -> Float {
    Float(Double(exponent) * ln2 / form.scale)
  }

  /// Adds a block that has been summed and is still at hand.
  @inline(never)
  mutating func add(
    _ form: LogitsForm, _ exponential: RowExponential, _ row: UnsafeRawPointer, _ start: Int, _ length: Int
  ) {
    var index = 0
    while index < length {
      // At most 16 terms in each lane.
      let end = index + 256 < length ? index + 256 : length
      var square = F32x16(repeating: 0)
      var weight = square
      while index < end {
        let logits = form.type.logits16(row, start + index, length - index)
        let e = exponential.exactValue(logits, form.type.sumPrecision)
        square = e.fma(e, square)
        // An entry of probability 0 adds 0, however far below.
        weight = e.fma((logits - centre).replacing(with: 0, where: e .== 0), weight)
        index &+= 16
      }
      squares += platform_widen(square.lowHalf) + platform_widen(square.highHalf)
      weighted += platform_widen(weight.lowHalf) + platform_widen(weight.highHalf)
    }
    total += totalOf(form.type, row, start, length)
  }

  /// Follows the sums, which have just been raised.
  mutating func raise(_ form: LogitsForm, by excess: Int32, _ sums: ScaledSums) {
    let factor = exp2(-excess)
    let moved = Self.centre(form, sums.exponent)
    weighted = factor * weighted + (Double(centre) - Double(moved)) * (sums.low + sums.high)
    squares *= factor * factor
    centre = moved
  }

  func add(to statistics: inout RowStatistics, _ form: LogitsForm, _ top: LargestTerm, _ sums: ScaledSums) {
    let square = top.approximate * top.approximate
    statistics.sumOfSquares = 1 + (squares.laneSum - square) * top.factor * top.factor
    // From x - centre to l - base.
    let shift = Double(centre) * form.scale - top.logit
    statistics.weightedSum = top.factor * (weighted.laneSum * form.scale + shift * sums.total)
    statistics.total = total * form.scale
  }
}

/// The sum of `count` logits.
@inline(never)
private func totalOf(_ type: ElementType, _ row: UnsafeRawPointer, _ start: Int, _ count: Int) -> Double {
  var total = F64x8(repeating: 0)
  var index = 0
  while index + 16 <= count {
    let values = type.load16(row, start + index)
    total += platform_widen(values.lowHalf) + platform_widen(values.highHalf)
    index &+= 16
  }
  var rest = 0.0
  while index < count {
    rest += type.load(row, start + index)
    index &+= 1
  }
  return total.laneSum + rest
}
