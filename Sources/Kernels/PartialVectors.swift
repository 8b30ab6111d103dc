import Elementary

// The ends of arrays, where fewer elements are left than a vector has lanes. Never inlined: a kernel has many of them,
// and they run once.

extension ElementType {
  /// `count` elements; the other lanes hold `filler`.
  @inline(__always) func load(_ array: UnsafeRawPointer, _ start: Int, count: Int, filler: Double) -> F64x8 {
    count == 8 && stride > 2 ? load8(array, start) : loadPart(array, start, count, filler)
  }

  @inline(__always) func store(_ values: F64x8, _ array: UnsafeMutableRawPointer, _ start: Int, count: Int) {
    if count == 8 && stride > 2 { store8(values, array, start) } else { storePart(values, array, start, count) }
  }

  @inline(never) func loadPart(
    _ array: UnsafeRawPointer, _ start: Int, _ count: Int, _ filler: Double
  ) -> F64x8 {
    var lanes = F64x8(repeating: filler)
    // The first comes last: if it is the only one, it stays in registers, since a vector that was written in parts is
    // read only once they are in memory.
    for lane in 1..<max(count, 1) { lanes[lane] = load(array, start + lane) }
    if count > 0 { lanes[0] = load(array, start) }
    return lanes
  }

  @inline(never) private func storePart(
    _ values: F64x8, _ array: UnsafeMutableRawPointer, _ start: Int, _ count: Int
  ) {
    for lane in 0..<count { store(values[lane], array, start + lane) }
  }
}
