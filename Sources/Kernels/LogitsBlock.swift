import CPlatform
import Elementary
import Preference

// Rows are worked through in blocks that fit the nearest cache: first a block's maximum, then its exponentials. What
// is not a plain run of single-precision numbers (halves, capped logits, the end of a row) is first made one, in a
// buffer of a block's size; so the arithmetic exists once.

/// Logits of one block.
let blockLength = 1024

typealias BlockBuffer = InlineArray<1024, Float>

/// A block as single-precision numbers whose count is a multiple of 16: the row's own memory where it can serve, else
/// the buffer, filled up with -inf.
struct LogitsBlock {
  var values: UnsafePointer<Float>
  /// Rounded up to whole vectors.
  var paddedCount: Int

  @inline(__always)
  init(_ form: LogitsForm, _ row: UnsafeRawPointer, _ start: Int, _ count: Int, _ buffer: UnsafeMutablePointer<Float>) {
    paddedCount = (count + 15) & ~15
    if form.type == .f32 && form.softcap == 0 && count == paddedCount {
      values = row.assumingMemoryBound(to: Float.self) + start
    } else {
      stageBlock(form, row, start, count, buffer)
      values = UnsafePointer(buffer)
    }
  }
}

/// Writes `count` logits as single-precision numbers, capped if the form says so but not scaled, and -inf up to a whole
/// number of vectors.
@inline(never)
func stageBlock(
  _ form: LogitsForm, _ row: UnsafeRawPointer, _ start: Int, _ count: Int, _ buffer: UnsafeMutablePointer<Float>
) {
  let target = UnsafeMutableRawPointer(buffer)
  let stride = form.type.stride
  var index = 0
  while index + 16 <= count {
    // The block after this one, while there is time.
    platform_prefetch(row + stride * (start + index + blockLength))
    target.storeBytes(of: form.type.load16(row, start + index), toByteOffset: 4 * index, as: F32x16.self)
    index &+= 16
  }
  if index < count {
    var lanes = F32x16(repeating: -.infinity)
    for lane in 0..<(count - index) { lanes[lane] = Float(form.type.load(row, start + index + lane)) }
    target.storeBytes(of: lanes, toByteOffset: 4 * index, as: F32x16.self)
  }
  if form.softcap > 0 { capBlock(buffer, (count + 15) & ~15, form.softcap) }
}

/// x -> c tanh(x / c), in double precision.
@inline(never)
private func capBlock(_ buffer: UnsafeMutablePointer<Float>, _ count: Int, _ softcap: Double) {
  var index = 0
  while index < count {
    let values = ElementType.f32.load8(buffer, index)
    // The filler stays -inf.
    let capped = values.selected(values .== -.infinity, else: tanh(values / softcap) * softcap)
    ElementType.f32.store8(capped, buffer, index)
    index &+= 8
  }
}

extension SIMD16 where Scalar == Float {
  /// The largest lane; NaN lanes don't count, and NaN only if all are.
  @inline(__always) var largest: Float {
    let eight = lowHalf.replacing(with: highHalf, where: highHalf .> lowHalf)
    let four = eight.lowHalf.replacing(with: eight.highHalf, where: eight.highHalf .> eight.lowHalf)
    let two = four.lowHalf.replacing(with: four.highHalf, where: four.highHalf .> four.lowHalf)
    return two[1] > two[0] ? two[1] : two[0]
  }
}

extension SIMD8 where Scalar == Double {
  /// The sum of the lanes, in pairs.
  @inline(__always) var laneSum: Double {
    let four = lowHalf + highHalf
    let two = four.lowHalf + four.highHalf
    return two[0] + two[1]
  }
}
