import CPlatform
import Elementary
import Preference

/// Statistics of a row of logits of single or half precision, reading it once.
///
/// A block's sums run in four accumulators of 16 lanes, at most 16 terms in each lane, and go on in double precision:
/// however long the row, no sum of singles is long. Where a block raises the maximum, the sums so far are rescaled.
func rowStatisticsSingle(_ form: LogitsForm, _ row: UnsafeRawPointer, _ count: Int, _ all: Bool) -> RowStatistics {
  var buffer = BlockBuffer(repeating: 0)
  return withUnsafeMutablePointer(to: &buffer) { pointer in
    let buffer = UnsafeMutableRawPointer(pointer).assumingMemoryBound(to: Float.self)
    let scale = Float(form.scale)
    var sums = LaneSums()
    var base = -Float.greatestFiniteMagnitude
    var start = 0
    while start < count {
      let length = count - start < blockLength ? count - start : blockLength
      let block = LogitsBlock(form, row, start, length, buffer)
      let top = maximum(block) * scale
      if top > base {
        sums.rebase(by: Double(base) - Double(top))
        base = top
      }
      if all {
        addAll(block, scale, base, &sums)
        sums.total += totalOf(block, length) * Double(scale)
      } else {
        addExponentials(block, scale, base, &sums)
      }
      start += length
    }
    return sums.statistics(base: Double(base))
  }
}

/// Sums over a row so far, in double precision, in sixteen lanes.
struct LaneSums {
  var sumLow = F64x8(repeating: 0)
  var sumHigh = F64x8(repeating: 0)
  var squares = F64x8(repeating: 0)
  var weighted = F64x8(repeating: 0)
  var total = 0.0

  /// The base moves by `-distance`: e^(l - base) by the factor e^distance.
  mutating func rebase(by distance: Double) {
    let factor = exp(F64x8(repeating: distance))
    // What e^distance makes 0 was 0, or is nothing beside the new maximum.
    let moved = factor[0] > 0 ? F64x8(repeating: distance) : F64x8(repeating: 0)
    weighted = factor * (weighted + moved * (sumLow + sumHigh))
    squares *= factor * factor
    sumLow *= factor
    sumHigh *= factor
  }

  func statistics(base: Double) -> RowStatistics {
    var statistics = RowStatistics(base: base, sum: (sumLow + sumHigh).laneSum)
    statistics.sumOfSquares = squares.laneSum
    statistics.weightedSum = weighted.laneSum
    statistics.total = total
    return statistics
  }
}

@inline(__always) func vector(_ block: LogitsBlock, _ index: Int) -> F32x16 {
  UnsafeRawPointer(block.values + index).loadUnaligned(as: F32x16.self)
}

@inline(__always) private func maximum(_ block: LogitsBlock) -> Float {
  let lowest = F32x16(repeating: -Float.greatestFiniteMagnitude)
  var a = lowest
  var b = lowest
  var c = lowest
  var d = lowest
  @inline(__always) func raise(_ largest: inout F32x16, _ index: Int) {
    let values = vector(block, index)
    largest = largest.replacing(with: values, where: values .> largest)
  }
  var index = 0
  while index + 64 <= block.paddedCount {
    raise(&a, index)
    raise(&b, index + 16)
    raise(&c, index + 32)
    raise(&d, index + 48)
    index &+= 64
  }
  while index < block.paddedCount {
    raise(&a, index)
    index &+= 16
  }
  a = a.replacing(with: b, where: b .> a)
  c = c.replacing(with: d, where: d .> c)
  return a.replacing(with: c, where: c .> a).largest
}

@inline(__always)
private func addExponentials(_ block: LogitsBlock, _ scale: Float, _ base: Float, _ sums: inout LaneSums) {
  let scales = F32x16(repeating: scale)
  let shift = F32x16(repeating: -base)
  var a = F32x16(repeating: 0)
  var b = a
  var c = a
  var d = a
  var index = 0
  while index + 64 <= block.paddedCount {
    // The next block, while this one is computed.
    let ahead = UnsafeRawPointer(block.values + index + blockLength)
    platform_prefetch(ahead)
    platform_prefetch(ahead + 64)
    platform_prefetch(ahead + 128)
    platform_prefetch(ahead + 192)
    a += expNonPositive(vector(block, index).fma(scales, shift))
    b += expNonPositive(vector(block, index + 16).fma(scales, shift))
    c += expNonPositive(vector(block, index + 32).fma(scales, shift))
    d += expNonPositive(vector(block, index + 48).fma(scales, shift))
    index &+= 64
  }
  while index < block.paddedCount {
    a += expNonPositive(vector(block, index).fma(scales, shift))
    index &+= 16
  }
  let sum = (a + b) + (c + d)
  sums.sumLow += platform_widen(sum.lowHalf)
  sums.sumHigh += platform_widen(sum.highHalf)
}

/// The sum, the sum of squares and the sum weighted by l - base.
@inline(never)
private func addAll(_ block: LogitsBlock, _ scale: Float, _ base: Float, _ sums: inout LaneSums) {
  let scales = F32x16(repeating: scale)
  let shift = F32x16(repeating: -base)
  var index = 0
  while index < block.paddedCount {
    // Sixteen terms at most in each lane.
    var sum = F32x16(repeating: 0)
    var squares = sum
    var weighted = sum
    let end = index + 256 < block.paddedCount ? index + 256 : block.paddedCount
    while index < end {
      let distance = vector(block, index).fma(scales, shift)
      let e = expNonPositive(distance)
      sum += e
      squares = e.fma(e, squares)
      // An entry of probability 0 adds 0, however far below.
      weighted = e.fma(distance.replacing(with: 0, where: e .== 0), weighted)
      index &+= 16
    }
    sums.sumLow += platform_widen(sum.lowHalf)
    sums.sumHigh += platform_widen(sum.highHalf)
    sums.squares += platform_widen(squares.lowHalf) + platform_widen(squares.highHalf)
    sums.weighted += platform_widen(weighted.lowHalf) + platform_widen(weighted.highHalf)
  }
}

/// The sum of the first `count` entries, the filler left out.
@inline(never)
private func totalOf(_ block: LogitsBlock, _ count: Int) -> Double {
  var total = F64x8(repeating: 0)
  var index = 0
  while index + 8 <= count {
    total += ElementType.f32.load8(block.values, index)
    index &+= 8
  }
  var rest = 0.0
  while index < count {
    rest += Double(block.values[index])
    index &+= 1
  }
  return total.laneSum + rest
}
