import CPlatform
import Elementary
import Preference

/// Index of the first NaN or infinity, or -1. The common case, none, is one pass of compares.
@inline(__always)
func firstNonfinite<Element: BinaryFloatingPoint & SIMDScalar>(_ array: UnsafePointer<Element>, _ count: Int) -> Int {
  var block = 0
  while block < count {
    let end = min(block + 1024, count)
    if count < 16 || spoils(array, block, end) {
      for index in block..<end where !array[index].isFinite { return index }
    }
    block = end
  }
  return -1
}

/// Whether an element from `start` to `end` is NaN or infinite. There are 16 at least before the end.
@inline(__always)
private func spoils<Element: BinaryFloatingPoint & SIMDScalar>(
  _ array: UnsafePointer<Element>, _ start: Int, _ end: Int
) -> Bool {
  @inline(__always) func load(_ index: Int) -> SIMD16<Element> {
    UnsafeRawPointer(array + index).loadUnaligned(as: SIMD16<Element>.self)
  }
  // The last 16 are looked at twice where they are no block of their own.
  let last = load(end - 16)
  // x - x is 0 for finite x and NaN for others, and NaN survives a sum. Two sums: one would wait for itself.
  var (spoiled, others) = (last - last, SIMD16<Element>(repeating: 0))
  var index = start
  while index + 32 <= end {
    let (values, next) = (load(index), load(index + 16))
    spoiled += values - values
    others += next - next
    index += 32
  }
  if index + 16 < end {
    let values = load(index)
    others += values - values
  }
  // By halves: comparing vectors whose type is a parameter is one comparison after the other.
  let sixteen = spoiled + others
  let eight = sixteen.lowHalf + sixteen.highHalf
  let four = eight.lowHalf + eight.highHalf
  let two = four.lowHalf + four.highHalf
  return two[0] + two[1] != 0
}

func firstNonfinite(_ type: ElementType, _ array: UnsafeRawPointer, _ count: Int) -> Int {
  switch type {
  case .f32: firstNonfinite(array.assumingMemoryBound(to: Float.self), count)
  case .f64: firstNonfinite(array.assumingMemoryBound(to: Double.self), count)
  case .bf16, .f16: firstNonfiniteHalf(type, array, count)
  }
}

private func firstNonfiniteHalf(_ type: ElementType, _ array: UnsafeRawPointer, _ count: Int) -> Int {
  for index in 0..<count where !type.load(array, index).isFinite { return index }
  return -1
}

/// Four arrays at once: a sum is finite only if its terms are. In doubled bits, which have no sign, infinity comes behind
/// the finite numbers, and NaN behind that.
func areFinite(_ job: UnsafePointer<PairwiseJob>) -> Bool {
  let (policyChosen, policyRejected) = (job.pointee.policyChosen, job.pointee.policyRejected)
  let refChosen = job.pointee.refChosen ?? policyChosen
  let refRejected = job.pointee.refRejected ?? policyRejected
  let count = job.pointee.count
  @inline(__always) func doubledBits(_ load: (UnsafeRawPointer) -> F32x16) -> SIMD16<UInt32> {
    let sum = platform_sum_singles(
      platform_sum_singles(load(policyChosen), load(policyRejected)),
      platform_sum_singles(load(refChosen), load(refRejected)))
    let bits = unsafeBitCast(sum, to: SIMD16<UInt32>.self)
    return bits &+ bits
  }
  var largest = SIMD16<UInt32>(repeating: 0)
  var index = 0
  while index &+ 16 <= count {
    largest = platform_larger_words(largest, doubledBits { ($0 + 4 &* index).loadUnaligned(as: F32x16.self) })
    index &+= 16
  }
  if index < count {
    largest = platform_larger_words(
      largest,
      doubledBits { platform_load_first(($0 + 4 &* index).assumingMemoryBound(to: Float.self), count &- index) })
  }
  return platform_largest_word(largest) < 0xff00_0000
}
