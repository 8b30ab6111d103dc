import CPlatform
import CSwiftDPO
import Elementary
import Preference

/// The matching of equal ranks that the aot losses rest on: in one dimension, optimal transport is sorting.
///
/// Sorting is stable, so that equal margins keep the order of their pairs. Memory: two permutations for each matching,
/// and what sorting needs.
struct OptimalTransport {
  private let count: Int
  private let memory: UnsafeMutableRawPointer
  private let paired: Bool
  private let unpaired: Bool

  /// Arrays that a matching is made in: two orders, and three to sort in.
  private static let own = 5
  /// A key has so many digits, of so many values each.
  private static let (digits, values) = (8, 256)

  /// Memory for `count` pairs.
  init(_ count: Int, paired: Bool, unpaired: Bool) throws(Fault) {
    let arrays = Self.own + (paired ? 2 : 0) + (unpaired ? 2 : 0)
    let (bytes, overflow) = count.multipliedReportingOverflow(by: arrays * MemoryLayout<Int>.stride)
    let (size, overflows) = bytes.addingReportingOverflow(Self.digits * Self.values * MemoryLayout<Int>.stride)
    guard !overflow, !overflows, let memory = malloc(size) else { throw Fault(SWIFTDPO_ERROR_OUT_OF_MEMORY, "count") }
    self.count = count
    self.memory = memory
    self.paired = paired
    self.unpaired = unpaired
  }

  func free() { CPlatform.free(memory) }

  /// How often each value occurs as each digit.
  private var occurrences: UnsafeMutablePointer<Int> { memory.assumingMemoryBound(to: Int.self) }

  private func array(_ index: Int) -> UnsafeMutablePointer<Int> {
    occurrences + Self.digits * Self.values + index * count
  }

  func pair(_ job: inout PairwiseJob) {
    var next = Self.own
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

  /// The places of a difference's elements in ascending order, digit by digit of their keys from the lowest on.
  @_optimize(speed)
  private func sort(_ difference: Difference, _ type: ElementType, _ order: UnsafeMutablePointer<Int>) {
    let (digits, values) = (Self.digits, Self.values)
    occurrences.update(repeating: 0, count: digits * values)
    var (from, to) = (order, array(2))
    var (keys, nextKeys) = (array(3), array(4))
    for index in 0..<count {
      from[index] = index
      keys[index] = key(difference, type, index)
      for digit in 0..<digits { occurrences[digit * values + keys[index] >> (8 * digit) & 255] += 1 }
    }
    for digit in 0..<digits {
      let places = occurrences + digit * values
      let shift = 8 * digit
      // A digit that all keys have in common leaves the order as it is.
      if count == 0 || places[keys[0] >> shift & 255] == count { continue }
      var sum = 0
      for value in 0..<values {
        let occurring = places[value]
        places[value] = sum
        sum += occurring
      }
      for index in 0..<count {
        let value = keys[index] >> shift & 255
        let place = places[value]
        places[value] = place + 1
        nextKeys[place] = keys[index]
        to[place] = from[index]
      }
      swap(&from, &to)
      swap(&keys, &nextKeys)
    }
    if from != order { memcpy(order, from, count * MemoryLayout<Int>.stride) }
  }

  /// 64 bits, without a sign, that are ordered as the difference x - y is, NaN outside all numbers. A quarter of it
  /// doesn't overflow.
  private func key(_ difference: Difference, _ type: ElementType, _ index: Int) -> Int {
    let x = difference.0.map { type.load($0, index) } ?? 0
    let y = difference.1.map { type.load($0, index) } ?? 0
    let bits = Int(bitPattern: UInt((0.25 * x - 0.25 * y + 0).bitPattern))
    return bits < 0 ? ~bits : bits ^ Int.min
  }
}
