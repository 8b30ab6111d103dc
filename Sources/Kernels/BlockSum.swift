import CPlatform
import Elementary
import Preference

/// A block's exponentials summed in sixteen lanes, and its largest logit, or the exponential's floor if that is larger.
///
/// The sums run in four accumulators, at most 16 terms in each lane.
struct BlockSum {
  var sum: F32x16
  var top: Float
}

/// One body for each type where speed counts, and one for all where it does not.
@inline(__always)
func sumBlock(
  _ type: ElementType, _ exponential: RowExponential, _ row: UnsafeRawPointer, _ start: Int, _ length: Int
) -> BlockSum {
  #if KERNELS_COMPACT
    return sumBlockOfAny(type, exponential, row, start, length)
  #else
    switch type {
    case .bf16: return sumBlockOfBF16(exponential, row, start, length)
    case .f16: return sumBlockOfF16(exponential, row, start, length)
    default: return sumBlockOfF32(exponential, row, start, length)
    }
  #endif
}

#if KERNELS_COMPACT
  /// The accumulators of the fast loop, in turn.
  @inline(never)
  private func sumBlockOfAny(
    _ type: ElementType, _ exponential: RowExponential, _ row: UnsafeRawPointer, _ start: Int, _ length: Int
  ) -> BlockSum {
    var sums = InlineArray<4, F32x16>(repeating: F32x16(repeating: 0))
    var tops = InlineArray<2, F32x16>(repeating: exponential.floor)
    let whole = length & ~63
    var index = 0
    while index < length {
      let turn = index < whole ? index >> 4 & 3 : 0
      let logits = exponential.bounded(type.logits16(row, start + index, length - index))
      tops[turn & 1] = tops[turn & 1].raised(to: logits)
      sums[turn] += exponential.value(logits, type.sumPrecision)
      index &+= 16
    }
    return BlockSum(sum: (sums[0] + sums[1]) + (sums[2] + sums[3]), top: tops[0].raised(to: tops[1]).largest)
  }
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
      a += exponential.value(w, type.sumPrecision)
      b += exponential.value(x, type.sumPrecision)
      c += exponential.value(y, type.sumPrecision)
      d += exponential.value(z, type.sumPrecision)
      index &+= 64
    }
    while index < length {
      let logits = exponential.bounded(type.logits16(row, start + index, length - index))
      top = top.raised(to: logits)
      a += exponential.value(logits, type.sumPrecision)
      index &+= 16
    }
    return BlockSum(sum: (a + b) + (c + d), top: top.raised(to: otherTop).largest)
  }

  /// Logits from a load to the one that is fetched meanwhile.
  private let prefetchDistance = 512
#endif
