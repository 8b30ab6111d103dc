import Elementary
import Preference

/// Statistics of a row of logits, reading it once: in single precision where the row allows it, else in double.
func rowStatistics(_ form: LogitsForm, _ row: UnsafeRawPointer, _ count: Int, _ all: Bool) -> RowStatistics {
  if form.type != .f64 && form.softcap == 0 && RowExponential.takes(scale: form.scale),
    let single = statisticsInSingle(form, row, count, all)
  {
    return single
  }
  return statisticsInDouble(form, row, count, all)
}

/// nil if a logit is too large for `RowExponential`, or NaN where the row begins.
///
/// Sums of a block go on in double precision: however long the row, no sum of singles is long. A block that raises the
/// largest logit rescales the sums by a power of two, which is exact; one that raises it beyond the headroom is
/// computed again.
private func statisticsInSingle(
  _ form: LogitsForm, _ row: UnsafeRawPointer, _ count: Int, _ all: Bool
) -> RowStatistics? {
  guard var start = firstBlock(form, row, count) else { return nil }
  var sums = ScaledSums(exponent: start.exponent)
  var moments = RowMoments(form, exponent: start.exponent, skippedBlocks: start.index > 0)
  var largest = -Float.infinity

  func raise(by excess: Float) {
    sums.raise(by: Int32(excess))
    if all { moments.raise(form, by: Int32(excess), sums) }
  }

  while start.index < count {
    let length = count - start.index < blockLength ? count - start.index : blockLength
    let exponential = RowExponential(scale: form.scale, exponent: sums.exponent)
    let block = sumBlock(form.type, exponential, row, start.index, length)
    let excess = exponential.excess(block.top)
    if excess > headroom {
      if excess > RowExponential.largestExcess { return nil }
      raise(by: excess)
      continue
    }
    sums.add(block.sum)
    if all { moments.add(form, exponential, row, start.index, length) }
    if excess > 0 { raise(by: excess) }
    largest = block.top > largest ? block.top : largest
    start.index += length
  }

  if largest == -.infinity { return .nothing }
  let top = LargestTerm(form, largest, exponent: sums.exponent)
  var statistics = top.statistics(sums.total)
  if all { moments.add(to: &statistics, form, top, sums) }
  return statistics
}
