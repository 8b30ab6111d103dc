import CPlatform
import Elementary
import Preference

/// Statistics of a row of logits, reading it once: in single precision where the row allows it, else in double.
func rowStatistics(_ form: LogitsForm, _ row: UnsafeRawPointer, _ count: Int, _ all: Bool) -> RowStatistics {
  if form.type != .f64 && form.softcap == 0 {
    let single = all ? statisticsInSingle(form, row, count) : sumInSingle(form, row, count)
    if let single { return single }
  }
  return statisticsInDouble(form, row, count, all)
}

/// Logits of one block: they stay in the nearest cache if the block must be computed again.
private let blockLength = 1024

/// A block's terms may exceed 1 by this power of two before the scale is changed.
private let headroom: Float = 60

/// Sums of exponentials over a row so far, in double precision, in sixteen lanes: 2^-exponent sum of e^l.
private struct ScaledSums {
  var exponent: Int32
  var low = F64x8(repeating: 0)
  var high = F64x8(repeating: 0)

  init(exponent: Int32) { self.exponent = exponent }

  mutating func add(_ sum: F32x16) {
    low += platform_widen(sum.lowHalf)
    high += platform_widen(sum.highHalf)
  }

  mutating func raise(by excess: Int32) {
    exponent += excess
    let factor = powerOfTwo(-excess)
    low *= factor
    high *= factor
  }

  var total: Double { (low + high).laneSum }
}

/// 2^k, or 0 below the normal range.
private func powerOfTwo(_ k: Int32) -> Double { k < -1022 ? 0 : Double(bitPattern: UInt64(Int64(k) + 1023) << 52) }

private let ln2 = 0x1.62e42fefa39efp-1

/// The largest term of a row of single-precision sums, to be taken out of them and put back exactly.
///
/// Relative to the largest logit its own term is 1. With that the sum is at least 1, no log-probability is above 0, and
/// a row of one entry has exactly 0.
private struct LargestTerm {
  let logit: Double
  /// What the sums contain for it.
  let approximate: Double
  /// From the sums' scale to that of the largest logit.
  let factor: Double

  init(_ form: LogitsForm, _ largest: Float, exponent: Int32) {
    logit = Double(largest) * form.scale
    approximate = Double(
      RowExponential(scale: form.scale, exponent: exponent).exactValue(F32x16(repeating: largest))[0])
    factor = exp(F64x8(repeating: Double(exponent) * ln2 - logit))[0]
  }

  func statistics(_ sum: Double) -> RowStatistics {
    RowStatistics(base: logit, sum: 1 + (sum - approximate) * factor)
  }
}

/// The sum alone; nil if a logit is too large for `RowExponential`.
///
/// A block's sums run in four accumulators of 16 lanes, at most 16 terms in each lane, and go on in double precision:
/// however long the row, no sum of singles is long. A block that raises the largest logit rescales the sums by a power
/// of two, which is exact; one that raises it beyond the headroom is computed again.
private func sumInSingle(_ form: LogitsForm, _ row: UnsafeRawPointer, _ count: Int) -> RowStatistics? {
  guard var start = firstBlock(form, row, count) else { return nil }
  var sums = ScaledSums(exponent: start.exponent)
  var largest = -Float.infinity
  while start.index < count {
    let length = count - start.index < blockLength ? count - start.index : blockLength
    let exponential = RowExponential(scale: form.scale, exponent: sums.exponent)
    let block = sumBlock(form.type, exponential, row, start.index, length)
    let excess = exponential.excess(block.top)
    if excess > headroom {
      if excess > RowExponential.largestExcess { return nil }
      sums.raise(by: Int32(excess))
      continue
    }
    sums.add(block.sum)
    largest = block.top > largest ? block.top : largest
    if excess > 0 { sums.raise(by: Int32(excess)) }
    start.index += length
  }
  if largest == -.infinity { return .nothing }
  return LargestTerm(form, largest, exponent: sums.exponent).statistics(sums.total)
}

/// Where a row begins to count: the first block with a logit above -inf, and the scale of its largest. nil if that is
/// too far from 0, or if there is a NaN.
private func firstBlock(_ form: LogitsForm, _ row: UnsafeRawPointer, _ count: Int) -> (index: Int, exponent: Int32)? {
  var start = 0
  while start < count {
    let end = count - start < blockLength ? count : start + blockLength
    var top = F32x16(repeating: -.infinity)
    var isNaN = false
    var index = start
    while index < end {
      let values = form.type.logits16(row, index, end - index)
      if any(values .!= values) { isNaN = true }
      top = top.raised(to: values)
      index &+= 16
    }
    let largest = Double(top.largest) * form.scale * 0x1.71547652b82fep0
    if isNaN { return nil }
    if largest > -.infinity { return largest.magnitude > 0x1p20 ? nil : (start, Int32(largest)) }
    start = end
  }
  return (count, 0)
}

/// A block's exponentials summed in sixteen lanes, and its largest logit, or the exponential's floor if that is larger.
private struct BlockSum {
  var sum: F32x16
  var top: Float
}

/// One body for each type where speed counts, and one for all where it does not.
@inline(__always)
private func sumBlock(
  _ type: ElementType, _ exponential: RowExponential, _ row: UnsafeRawPointer, _ start: Int, _ length: Int
) -> BlockSum {
  #if KERNELS_BASELINE
    return sumBlockOfAny(type, exponential, row, start, length)
  #else
    switch type {
    case .bf16: return sumBlockOfBF16(exponential, row, start, length)
    case .f16: return sumBlockOfF16(exponential, row, start, length)
    default: return sumBlockOfF32(exponential, row, start, length)
    }
  #endif
}

#if KERNELS_BASELINE
  @inline(never)
  private func sumBlockOfAny(
    _ type: ElementType, _ exponential: RowExponential, _ row: UnsafeRawPointer, _ start: Int, _ length: Int
  ) -> BlockSum { sumBlockOfType(type, exponential, row, start, length) }
#else
  @inline(never)
  private func sumBlockOfF32(
    _ exponential: RowExponential, _ row: UnsafeRawPointer, _ start: Int, _ length: Int
  ) -> BlockSum { sumBlockOfType(.f32, exponential, row, start, length) }

  @inline(never)
  private func sumBlockOfBF16(
    _ exponential: RowExponential, _ row: UnsafeRawPointer, _ start: Int, _ length: Int
  ) -> BlockSum { sumBlockOfType(.bf16, exponential, row, start, length) }

  @inline(never)
  private func sumBlockOfF16(
    _ exponential: RowExponential, _ row: UnsafeRawPointer, _ start: Int, _ length: Int
  ) -> BlockSum { sumBlockOfType(.f16, exponential, row, start, length) }
#endif

@inline(__always)
private func sumBlockOfType(
  _ type: ElementType, _ exponential: RowExponential, _ row: UnsafeRawPointer, _ start: Int, _ length: Int
) -> BlockSum {
  let zero = F32x16(repeating: 0)
  var (a, b, c, d) = (zero, zero, zero, zero)
  var (top, otherTop) = (exponential.floor, exponential.floor)
  var index = 0
  while index + 64 <= length {
    let ahead = row + type.stride * (start + index + prefetchDistance)
    platform_prefetch(ahead)
    platform_prefetch(ahead + 64)
    if type == .f32 {
      platform_prefetch(ahead + 128)
      platform_prefetch(ahead + 192)
    }
    let w = exponential.bounded(type.load16(row, start + index))
    let x = exponential.bounded(type.load16(row, start + index + 16))
    let y = exponential.bounded(type.load16(row, start + index + 32))
    let z = exponential.bounded(type.load16(row, start + index + 48))
    top = top.raised(to: w).raised(to: y)
    otherTop = otherTop.raised(to: x).raised(to: z)
    a += exponential.value(w)
    b += exponential.value(x)
    c += exponential.value(y)
    d += exponential.value(z)
    index &+= 64
  }
  while index < length {
    let logits = exponential.bounded(type.logits16(row, start + index, length - index))
    top = top.raised(to: logits)
    a += exponential.value(logits)
    index &+= 16
  }
  return BlockSum(sum: (a + b) + (c + d), top: top.raised(to: otherTop).largest)
}

/// Logits from a load to the one that is fetched meanwhile.
private let prefetchDistance = 512

/// All statistics; nil if a logit is too large for `RowExponential`.
private func statisticsInSingle(_ form: LogitsForm, _ row: UnsafeRawPointer, _ count: Int) -> RowStatistics? {
  guard var start = firstBlock(form, row, count) else { return nil }
  var sums = ScaledSums(exponent: start.exponent)
  var squares = F64x8(repeating: 0)
  var weighted = F64x8(repeating: 0)
  /// `weighted` holds sums of e^l (x - centre).
  var centre = Float(Double(sums.exponent) * ln2 / form.scale)
  var largest = -Float.infinity
  // A block that was passed over holds -inf alone.
  var total = start.index > 0 ? -Double.infinity : 0
  while start.index < count {
    let length = count - start.index < 256 ? count - start.index : 256
    let exponential = RowExponential(scale: form.scale, exponent: sums.exponent)
    // At most 16 terms in each lane.
    var sum = F32x16(repeating: 0)
    var square = sum
    var weight = sum
    var top = exponential.floor
    var index = 0
    while index < length {
      let logits = form.type.logits16(row, start.index + index, length - index)
      top = top.raised(to: logits)
      let e = exponential.exactValue(logits)
      sum += e
      square = e.fma(e, square)
      // An entry of probability 0 adds 0, however far below.
      weight = e.fma((logits - centre).replacing(with: 0, where: e .== 0), weight)
      index &+= 16
    }
    let blockLargest = top.largest
    let excess = exponential.excess(blockLargest)
    if excess > RowExponential.largestExcess { return nil }
    if excess > headroom {
      raise(Int32(excess))
      continue
    }
    sums.add(sum)
    squares += platform_widen(square.lowHalf) + platform_widen(square.highHalf)
    weighted += platform_widen(weight.lowHalf) + platform_widen(weight.highHalf)
    total += totalOf(form.type, row, start.index, length)
    largest = blockLargest > largest ? blockLargest : largest
    if excess > 0 { raise(Int32(excess)) }
    start.index += length
  }

  func raise(_ excess: Int32) {
    sums.raise(by: excess)
    let factor = powerOfTwo(-excess)
    let moved = Float(Double(sums.exponent) * ln2 / form.scale)
    // What the factor makes 0 stays 0, however far the centre moves.
    weighted = factor * weighted + (Double(centre) - Double(moved)) * (sums.low + sums.high)
    squares *= factor * factor
    centre = moved
  }

  if largest == -.infinity { return .nothing }
  let top = LargestTerm(form, largest, exponent: sums.exponent)
  var statistics = top.statistics(sums.total)
  let square = top.approximate * top.approximate
  statistics.sumOfSquares = 1 + (squares.laneSum - square) * top.factor * top.factor
  // From x - centre to l - base.
  let shift = Double(centre) * form.scale - top.logit
  statistics.weightedSum = top.factor * (weighted.laneSum * form.scale + shift * sums.total)
  statistics.total = total * form.scale
  return statistics
}

extension RowStatistics {
  /// Of a row that is -inf throughout.
  fileprivate static var nothing: RowStatistics { RowStatistics(base: -.greatestFiniteMagnitude, sum: 0) }
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

/// Statistics in double precision throughout, for any type and form: relative to the largest logit so far.
@inline(never)
private func statisticsInDouble(
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
