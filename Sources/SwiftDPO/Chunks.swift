import Elementary
import Preference

/// What a batch leaves beside the results of its elements.
protocol BatchSums {
  init()
  mutating func add(_ other: Self)
}

extension PairwiseSums: BatchSums {}
extension UnpairedSums: BatchSums {}

/// Runs `body` over 0..<count in as many chunks as the count alone asks for, so that threads change no bits, and adds
/// what each chunk leaves.
func addInChunks<Sums: BatchSums>(
  _ count: Int, to sums: inout Sums, _ body: (Range<Int>, UnsafeMutablePointer<Sums>) -> Void
) {
  let (least, most) = (1024, 16)
  if count <= least { return body(0..<count, &sums) }
  let share = (count + most - 1) / most
  let grain = share < least ? least : (share + 15) & ~15
  var chunks = InlineArray<16, Sums>(repeating: Sums())
  withUnsafeMutablePointer(to: &chunks) { chunks in
    let chunks = UnsafeMutableRawPointer(chunks).assumingMemoryBound(to: Sums.self)
    parallelRanges(count, grain: grain) { range in body(range, chunks + range.lowerBound / grain) }
  }
  for chunk in 0..<most { sums.add(chunks[chunk]) }
}
