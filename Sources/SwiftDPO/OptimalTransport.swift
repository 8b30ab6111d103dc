import CPlatform
import CSwiftDPO
import Elementary
import Preference

/// The matching of equal ranks that the aot losses rest on: in one dimension, optimal transport is sorting.
///
/// Sorting is stable, so that equal margins keep the order of their pairs. Memory: two permutations for each matching,
/// and two arrays to sort in.
struct OptimalTransport {
  private let count: Int
  private let memory: UnsafeMutableRawPointer
  private let paired: Bool
  private let unpaired: Bool

  /// Memory for `count` pairs.
  init(_ count: Int, paired: Bool, unpaired: Bool) throws(Fault) {
    let arrays = 4 + (paired ? 2 : 0) + (unpaired ? 2 : 0)
    let (bytes, overflow) = count.multipliedReportingOverflow(by: arrays * MemoryLayout<Int>.stride)
    guard !overflow, let memory = malloc(bytes + 1) else { throw Fault(SWIFTDPO_ERROR_OUT_OF_MEMORY, "count") }
    self.count = count
    self.memory = memory
    self.paired = paired
    self.unpaired = unpaired
  }

  func free() { CPlatform.free(memory) }

  private func array(_ index: Int) -> UnsafeMutablePointer<Int> {
    (memory + index * count * MemoryLayout<Int>.stride).assumingMemoryBound(to: Int.self)
  }

  func pair(_ job: inout PairwiseJob) {
    var next = 4
    if paired {
      match(
        (job.policyChosen, job.policyRejected), (job.refChosen, job.refRejected), job.type, array(next), array(next + 1)
      )
      job.referencePartners = UnsafePointer(array(next))
      job.policyPartners = UnsafePointer(array(next + 1))
      next += 2
    }
    if unpaired {
      match(
        (job.policyChosen, job.refChosen), (job.policyRejected, job.refRejected), job.type, array(next), array(next + 1)
      )
      job.rejectedPartners = UnsafePointer(array(next))
      job.chosenPartners = UnsafePointer(array(next + 1))
    }
  }

  private typealias Difference = (UnsafeRawPointer?, UnsafeRawPointer?)

  /// forward[i] is the place in `second` of the rank that i has in `first`; backward the inverse.
  private func match(
    _ first: Difference, _ second: Difference, _ type: ElementType, _ forward: UnsafeMutablePointer<Int>,
    _ backward: UnsafeMutablePointer<Int>
  ) {
    let firstOrder = array(0)
    let secondOrder = array(1)
    sort(first, type, firstOrder)
    sort(second, type, secondOrder)
    for rank in 0..<count {
      forward[firstOrder[rank]] = secondOrder[rank]
      backward[secondOrder[rank]] = firstOrder[rank]
    }
  }

  /// The places of a difference's elements in ascending order, by merging runs of doubling length.
  private func sort(_ difference: Difference, _ type: ElementType, _ order: UnsafeMutablePointer<Int>) {
    let other = array(2)
    let keys = array(3)
    for index in 0..<count {
      order[index] = index
      keys[index] = key(difference, type, index)
    }
    var from = order
    var to = other
    var run = 1
    while run < count {
      var start = 0
      while start < count {
        let middle = min(start + run, count)
        let end = min(middle + run, count)
        var left = start
        var right = middle
        for place in start..<end {
          // Equal keys: the left one first.
          let takeLeft = left < middle && (right >= end || keys[from[left]] <= keys[from[right]])
          to[place] = takeLeft ? from[left] : from[right]
          if takeLeft { left += 1 } else { right += 1 }
        }
        start = end
      }
      swap(&from, &to)
      run *= 2
    }
    if from != order { memcpy(order, from, count * MemoryLayout<Int>.stride) }
  }

  /// An integer that is ordered as the difference x - y is, NaN outside all numbers. A quarter of it doesn't overflow.
  private func key(_ difference: Difference, _ type: ElementType, _ index: Int) -> Int {
    let x = difference.0.map { type.load($0, index) } ?? 0
    let y = difference.1.map { type.load($0, index) } ?? 0
    let bits = Int(bitPattern: UInt((0.25 * x - 0.25 * y + 0).bitPattern))
    return bits < 0 ? Int.min &- bits : bits
  }
}
