import Elementary
import Preference

/// Statistics of a row of double-precision logits: the method of `rowStatisticsSingle`, in double throughout.
func rowStatisticsDouble(_ form: LogitsForm, _ row: UnsafeRawPointer, _ count: Int, _ all: Bool) -> RowStatistics {
  var sums = LaneSums()
  var base = -Double.greatestFiniteMagnitude
  var start = 0
  while start < count {
    let length = count - start < blockLength ? count - start : blockLength

    var largest = F64x8(repeating: -.greatestFiniteMagnitude)
    var index = 0
    while index < length {
      let values = logits8(form, row, start + index, length - index)
      largest = values.selected(values .> largest, else: largest)
      index &+= 8
    }
    var top = largest[0]
    for lane in 1..<8 where largest[lane] > top { top = largest[lane] }
    if top > base {
      sums.rebase(by: base - top)
      base = top
    }

    var sum = F64x8(repeating: 0)
    index = 0
    while index < length {
      let values = logits8(form, row, start + index, length - index)
      let distance = values - base
      let e = exp(distance)
      sum += e
      if all {
        sums.squares = e.fma(e, sums.squares)
        sums.weighted = e.fma(F64x8(repeating: 0).selected(e .== 0, else: distance), sums.weighted)
        let left = length - index
        sums.total += left >= 8 ? values.laneSum : values.firstLanes(left).laneSum
      }
      index &+= 8
    }
    sums.sumLow += sum
    start += length
  }
  return sums.statistics(base: base)
}

/// Eight logits in their final form; lanes beyond `left` hold -inf.
@inline(__always)
func logits8(_ form: LogitsForm, _ row: UnsafeRawPointer, _ index: Int, _ left: Int) -> F64x8 {
  let values =
    left >= 8 ? ElementType.f64.load8(row, index) : ElementType.f64.load(row, index, count: left, filler: -.infinity)
  if form.softcap == 0 { return values * form.scale }
  let capped = tanh(values / form.softcap) * (form.softcap * form.scale)
  return values.selected(values .== -.infinity, else: capped)
}
