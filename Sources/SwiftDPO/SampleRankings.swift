import CPlatform
import CSwiftDPO
import Elementary
import Preference

// Rankings by the Gumbel trick: scores with independent standard Gumbel numbers added, in falling order, are a draw from
// Plackett-Luce (Yellott 1977). Each number is a function of seed, group, sample and item alone.

@_cdecl("swiftdpo_philox4x32_10") @implementation
public func swiftdpo_philox4x32_10(
  _ counter: UnsafePointer<UInt32>!, _ key: UnsafePointer<UInt32>!, _ words: UnsafeMutablePointer<UInt32>!
) {
  guard let counter, let key, let words else { return }
  var philox = Philox(seed: 0)
  philox.key = (key[0], key[1])
  (words[0], words[1], words[2], words[3]) = philox.words(counter[0], counter[1], counter[2], counter[3])
}

@_cdecl("swiftdpo_sample_rankings_f64") @implementation
public func swiftdpo_sample_rankings_f64(
  _ rewards: UnsafePointer<Double>!, _ numGroups: Int, _ groupSize: Int, _ numSamples: Int, _ seed: UInt64,
  _ rankings: UnsafeMutablePointer<Int64>!, _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in
    var ledger = Ledger()
    let items = try product(numGroups, groupSize, "num_groups")
    try require(groupSize > 0 || numGroups == 0, SWIFTDPO_ERROR_COUNT, "group_size")
    let samples = try product(numGroups, numSamples, "num_samples")
    let places = try product(samples, groupSize, "num_samples")
    let rewards = try ledger.input(rewards, items, "rewards")
    guard let rankings = try ledger.result(rankings, places, "rankings") else {
      return try require(places == 0, SWIFTDPO_ERROR_NULL_POINTER, "rankings")
    }
    try checkFinite(rewards, .f64, items, "rewards")

    // The perturbed scores of the samples at work: one array for each task.
    let grain = 1024 / groupSize + 1
    let tasks = samples / grain + (samples % grain == 0 ? 0 : 1)
    let strands = tasks < Int(Threads.count) ? tasks : Int(Threads.count)
    let (numbers, overflow) = groupSize.multipliedReportingOverflow(by: strands)
    let (bytes, tooMany) = numbers.multipliedReportingOverflow(by: 8)
    guard !overflow, !tooMany, let memory = malloc(bytes) else {
      throw Fault(SWIFTDPO_ERROR_OUT_OF_MEMORY, "group_size")
    }
    defer { free(memory) }
    let philox = Philox(seed: seed)
    parallel(strands) { strand in
      let keys = memory.assumingMemoryBound(to: Double.self) + strand * groupSize
      var task = strand
      while task < tasks {
        let start = task * grain
        for index in start..<(samples - start > grain ? start + grain : samples) {
          let (group, sample) = (index / numSamples, index % numSamples)
          let ranking = rankings + index * groupSize
          for item in 0..<groupSize {
            let uniform = philox.uniform(group: group, sample: sample, item: item)
            keys[item] = rewards[group * groupSize + item] - kernels.log(-kernels.log(uniform))
            ranking[item] = Int64(item)
          }
          sortFalling(ranking, groupSize, keys)
        }
        task += strands
      }
    }
  }
}

/// A heap sort of items by their keys, the largest first; of equal keys the first item.
func sortFalling(_ items: UnsafeMutablePointer<Int64>, _ count: Int, _ keys: UnsafePointer<Double>) {
  func comesBefore(_ x: Int64, _ y: Int64) -> Bool {
    let (first, second) = (keys[Int(x)], keys[Int(y)])
    return first > second || (first == second && x < y)
  }
  /// The item that comes last of all below a place moves up to it.
  func siftDown(_ start: Int, _ end: Int) {
    var parent = start
    while 2 * parent + 1 < end {
      var child = 2 * parent + 1
      if child + 1 < end && comesBefore(items[child], items[child + 1]) { child += 1 }
      if !comesBefore(items[parent], items[child]) { return }
      (items[parent], items[child]) = (items[child], items[parent])
      parent = child
    }
  }
  var start = count / 2
  while start > 0 {
    start -= 1
    siftDown(start, count)
  }
  var end = count
  while end > 1 {
    end -= 1
    (items[0], items[end]) = (items[end], items[0])
    siftDown(0, end)
  }
}

@_cdecl("swiftdpo_ranking_marginals_f64") @implementation
public func swiftdpo_ranking_marginals_f64(
  _ rewards: UnsafePointer<Double>!, _ numGroups: Int, _ groupSize: Int, _ topOne: UnsafeMutablePointer<Double>!,
  _ expectedRanks: UnsafeMutablePointer<Double>!, _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in
    var ledger = Ledger()
    let items = try product(numGroups, groupSize, "num_groups")
    try require(groupSize > 0 || numGroups == 0, SWIFTDPO_ERROR_COUNT, "group_size")
    let rewards = try ledger.input(rewards, items, "rewards")
    let topOne = try ledger.result(topOne, items, "top_one_probabilities")
    let expectedRanks = try ledger.result(expectedRanks, items, "expected_ranks")
    try checkFinite(rewards, .f64, items, "rewards")
    for group in 0..<numGroups {
      let scores = rewards + group * groupSize
      var largest = scores[0]
      for item in 0..<groupSize where scores[item] > largest { largest = scores[item] }
      var sum = 0.0
      for item in 0..<groupSize { sum += kernels.exp(scores[item] - largest) }
      for item in 0..<groupSize { topOne?[group * groupSize + item] = kernels.exp(scores[item] - largest) / sum }
      guard let expectedRanks else { continue }
      // Each pair of items stands as Bradley-Terry says: the expected rank is 1 and the chances of all others to win.
      for item in 0..<groupSize {
        var rank = 1.0
        for other in 0..<groupSize where other != item { rank += 1 / (1 + kernels.exp(scores[item] - scores[other])) }
        expectedRanks[group * groupSize + item] = rank
      }
    }
  }
}
