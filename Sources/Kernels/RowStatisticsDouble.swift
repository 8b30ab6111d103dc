import Elementary
import Preference

/// Statistics in double precision throughout, for any type and form: relative to the largest logit so far.
@inline(never)
func statisticsInDouble(
  _ form: LogitsForm, _ row: UnsafeRawPointer, _ count: Int, _ all: Bool
) -> RowStatistics {
  var base = -Double.greatestFiniteMagnitude
  var sums = F64x8(repeating: 0)
  var squares = sums
  var weighted = sums
  var total = 0.0
  var start = 0
  while start < count {
    let end = count - start < blockLength ? count : start + blockLength
    var largest = F64x8(repeating: -.greatestFiniteMagnitude)
    var index = start
    while index < end {
      let logits = logits8(form, row, index, end - index)
      largest = logits.selected(logits .> largest, else: largest)
      index &+= 8
    }
    var top = base
    for lane in 0..<8 where largest[lane] > top { top = largest[lane] }
    if top > base {
      // Finite numbers may be further apart than the largest one.
      let distance = 0.5 * base - 0.5 * top < -400 ? -800 : base - top
      let factor = exp(F64x8(repeating: distance))
      weighted = factor * (weighted + distance * sums)
      squares *= factor * factor
      sums *= factor
      base = top
    }

    var sum = F64x8(repeating: 0)
    index = start
    while index < end {
      let logits = logits8(form, row, index, end - index)
      let distance = logits - base
      let e = exp(distance)
      sum += e
      if all {
        squares = e.fma(e, squares)
        weighted = e.fma(F64x8(repeating: 0).selected(e .== 0, else: distance), weighted)
        let left = end - index
        total += left >= 8 ? logits.laneSum : logits.firstLanes(left).laneSum
      }
      index &+= 8
    }
    sums += sum
    start = end
  }
  var statistics = RowStatistics(base: base, sum: sums.laneSum)
  statistics.sumOfSquares = squares.laneSum
  statistics.weightedSum = weighted.laneSum
  statistics.total = total
  return statistics
}
