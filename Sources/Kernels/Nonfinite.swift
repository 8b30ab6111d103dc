import Elementary

/// Index of the first NaN or infinity, or -1. The common case, none, is one pass of compares.
@inline(__always)
func firstNonfinite<Element: BinaryFloatingPoint & SIMDScalar>(_ array: UnsafePointer<Element>, _ count: Int) -> Int {
  var block = 0
  while block < count {
    let end = min(block + 1024, count)
    // x - x is 0 for finite x and NaN for others, and NaN survives a sum. Two sums: one would wait for itself.
    var (spoiled, others) = (SIMD16<Element>(repeating: 0), SIMD16<Element>(repeating: 0))
    var index = block
    while index + 32 <= end {
      let values = UnsafeRawPointer(array + index).loadUnaligned(as: SIMD16<Element>.self)
      let next = UnsafeRawPointer(array + index + 16).loadUnaligned(as: SIMD16<Element>.self)
      spoiled += values - values
      others += next - next
      index += 32
    }
    spoiled += others
    var tail: Element = 0
    while index < end {
      tail += array[index] - array[index]
      index += 1
    }
    if tail != 0 || any(spoiled .!= 0) {
      for index in block..<end where !array[index].isFinite { return index }
    }
    block = end
  }
  return -1
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
