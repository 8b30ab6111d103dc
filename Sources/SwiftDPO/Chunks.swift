import Elementary
import Preference

/// What a batch leaves beside the results of its elements.
protocol BatchSums {
  init()
  mutating func add(_ other: Self)
}

extension FixedOrderSum: BatchSums {}
extension PairwiseSums: BatchSums {}
extension UnpairedSums: BatchSums {}

/// Runs `body` over 0..<count in as many chunks as the count alone asks for, so that threads change no bits: so many
/// elements in each at least, and at most as many chunks as there are sums in `chunks`. Adds what each of them leaves.
func addInChunks<Sums: BatchSums, let most: Int>(
  _ count: Int, atLeast least: Int, _ chunks: InlineArray<most, Sums>, to sums: inout Sums,
  _ body: (Range<Int>, UnsafeMutablePointer<Sums>) -> Void
) {
  let share = (count + most - 1) / most
  let grain = share < least ? least : (share + 15) & ~15
  var chunks = chunks
  withUnsafeMutablePointer(to: &chunks) { chunks in
    let chunks = UnsafeMutableRawPointer(chunks).assumingMemoryBound(to: Sums.self)
    parallelRanges(count, grain: grain) { range in body(range, chunks + range.lowerBound / grain) }
  }
  for chunk in 0..<most { sums.add(chunks[chunk]) }
}

/// The same for what takes some 20 ns an element, and leaves large sums.
func addInChunks<Sums: BatchSums>(
  _ count: Int, to sums: inout Sums, _ body: (Range<Int>, UnsafeMutablePointer<Sums>) -> Void
) {
  let least = 1024
  if count <= least { return body(0..<count, &sums) }
  addInChunks(count, atLeast: least, InlineArray<16, Sums>(repeating: Sums()), to: &sums, body)
}
