import CPlatform
import Elementary
import Preference

// What sums over a row in single precision have in common: blocks, a scale that moves by powers of two, and the largest
// term.

/// Logits of one block: they stay in the nearest cache if the block must be computed again.
let blockLength = 1024

/// A block's terms may exceed 1 by this power of two before the scale is changed.
let headroom: Float = 60

/// Sums of exponentials over a row so far, in double precision, in sixteen lanes: 2^-exponent sum of e^l.
struct ScaledSums {
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
    let factor = exp2(-excess)
    low *= factor
    high *= factor
  }

  var total: Double { (low + high).laneSum }
}

/// 2^k, or 0 below the normal range.
func exp2(_ k: Int32) -> Double { k < -1022 ? 0 : Double(bitPattern: UInt64(Int64(k) + 1023) << 52) }

/// The largest term of a row of single-precision sums, to be taken out of them and put back exactly.
///
/// Relative to the largest logit its own term is 1. With that the sum is at least 1, no log-probability is above 0, and
/// a row of one entry has exactly 0.
struct LargestTerm {
  let logit: Double
  /// What the sums contain for it.
  let approximate: Double
  /// From the sums' scale to that of the largest logit.
  let factor: Double

  init(_ form: LogitsForm, _ largest: Float, exponent: Int32) {
    logit = Double(largest) * form.scale
    approximate = Double(
      RowExponential(scale: form.scale, exponent: exponent)
        .exactValue(F32x16(repeating: largest), form.type.sumPrecision)[0])
    factor = exp(F64x8(repeating: Double(exponent) * ln2 - logit))[0]
  }

  func statistics(_ sum: Double) -> RowStatistics {
    RowStatistics(base: logit, sum: 1 + (sum - approximate) * factor)
  }
}

/// Where a row begins to count: the first block with a logit above -inf, and a scale to begin with, that of the first
/// few logits. nil if that is too far from 0, or if there is a NaN before it.
///
/// Whatever it is, the blocks raise it to the scale of the row's largest logit, rounded to the next power of two.
func firstBlock(_ form: LogitsForm, _ row: UnsafeRawPointer, _ count: Int) -> (index: Int, exponent: Int32)? {
  var index = 0
  while index < count {
    let values = form.type.logits16(row, index, count - index)
    if any(values .!= values) { return nil }
    let power = (Double(values.largest) * form.scale * log2e).rounded(.down)
    if power > -.infinity { return power.magnitude > 0x1p20 ? nil : (index & ~(blockLength - 1), Int32(power)) }
    index &+= 16
  }
  return (count, 0)
}

extension RowStatistics {
  /// Of a row that is -inf throughout.
  static var nothing: RowStatistics { RowStatistics(base: -.greatestFiniteMagnitude, sum: 0) }
}
