import Elementary
import Preference

/// log sum over v of exp(row[v]), reading the row once.
///
/// Blocks of 1024 logits: a block's maximum, then its exponentials relative to the largest logit so far. A block's sums
/// run in four accumulators of 16 single-precision lanes, at most 16 terms each, and are carried on in double
/// precision: however long the row, no sum of singles is long.
func logSumExpF32(_ row: UnsafePointer<Float>, _ count: Int) -> Double {
  var maximum = -Float.greatestFiniteMagnitude
  var sumLow = F64x8(repeating: 0)
  var sumHigh = F64x8(repeating: 0)
  var start = 0
  while start < count {
    let length = min(1024, count - start)
    let block = row + start
    var lanes = F32x16(repeating: maximum)
    forEachVector(block, length, filler: -.infinity) { values in
      lanes = lanes.replacing(with: values, where: values .> lanes)
    }
    let blockMaximum = lanes.max()
    if blockMaximum > maximum {
      // The first block rescales sums of 0.
      let factor = exp(F64x8(repeating: Double(maximum) - Double(blockMaximum)))
      sumLow *= factor
      sumHigh *= factor
      maximum = blockMaximum
    }
    let base = F32x16(repeating: maximum)
    var sums = InlineArray<4, F32x16>(repeating: F32x16(repeating: 0))
    var turn = 0
    forEachVector(block, length, filler: -.infinity) { values in
      sums[turn & 3] += expNonPositive(values - base)
      turn &+= 1
    }
    let sum = (sums[0] + sums[1]) + (sums[2] + sums[3])
    sumLow += F64x8(sum.lowHalf)
    sumHigh += F64x8(sum.highHalf)
    start += length
  }
  let sums = sumLow + sumHigh
  let quarter = sums.lowHalf + sums.highHalf
  let pair = quarter.lowHalf + quarter.highHalf
  return Double(maximum) + log(F64x8(repeating: pair[0] + pair[1]))[0]
}

func logitsGradientF32(_ row: LogitsRow<Float>) {
  // exp(x - LSE) = exp(x - b) exp(b - LSE), with b the nearest single-precision number.
  let base = Float(row.logSumExp)
  let shift = exp(F64x8(repeating: Double(base) - row.logSumExp))[0]
  let scale = F32x16(repeating: Float(-row.weight * shift))
  let bases = F32x16(repeating: base)
  let label = row.logits[row.label]
  var start = 0
  while start < row.count {
    let length = min(16, row.count - start)
    let values = load(row.logits + start, length, filler: -.infinity)
    let gradient = expNonPositive(values - bases) * scale
    store(gradient, row.gradient + start, length)
    start += 16
  }
  // The label's own entry is weight (1 - p); 1 - p in double precision.
  let p = exp(F64x8(repeating: Double(label) - row.logSumExp))[0]
  row.gradient[row.label] = Float(row.weight * (1 - p))
}

@inline(__always) func load(_ source: UnsafePointer<Float>, _ count: Int, filler: Float) -> F32x16 {
  if count == 16 { return UnsafeRawPointer(source).loadUnaligned(as: F32x16.self) }
  var lanes = F32x16(repeating: filler)
  for lane in 0..<count { lanes[lane] = source[lane] }
  return lanes
}

@inline(__always) func store(_ values: F32x16, _ target: UnsafeMutablePointer<Float>, _ count: Int) {
  if count == 16 { return UnsafeMutableRawPointer(target).storeBytes(of: values, as: F32x16.self) }
  for lane in 0..<count { target[lane] = values[lane] }
}

@inline(__always)
func forEachVector(_ source: UnsafePointer<Float>, _ count: Int, filler: Float, _ body: (F32x16) -> Void) {
  var index = 0
  while index + 16 <= count {
    body(load(source + index, 16, filler: filler))
    index &+= 16
  }
  if index < count { body(load(source + index, count - index, filler: filler)) }
}
