import CPlatform
import CSwiftDPO
import Elementary
import Preference

// Samples of the optimal policy out of samples of the reference. What is random is a function of the seed, the prompt and
// the sample or draw alone.

@_cdecl("swiftdpo_rejection_sample_f64") @implementation
public func swiftdpo_rejection_sample_f64(
  _ responses: UnsafePointer<swiftdpo_responses_f64>!, _ options: UnsafePointer<swiftdpo_policy_options>!,
  _ bounds: UnsafePointer<Double>!, _ seed: UInt64, _ accepted: UnsafeMutablePointer<UInt8>!,
  _ acceptanceRates: UnsafeMutablePointer<Double>!, _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in
    var samples = try Samples(responses, options)
    let bounds = try samples.prompts.ledger.optionalInput(bounds, samples.rows, "bounds")
    let accepted = try samples.prompts.ledger.result(accepted, samples.rows * samples.length, "accepted")
    let rates = try samples.prompts.ledger.result(acceptanceRates, samples.rows, "acceptance_rates")
    if let bounds {
      for row in 0..<samples.rows {
        try require(bounds[row].isFinite, SWIFTDPO_ERROR_NONFINITE, "bounds", at: row)
        for index in row * samples.length..<(row + 1) * samples.length {
          try require(samples.rewards[index] <= bounds[row], SWIFTDPO_ERROR_BOUND, "rewards", at: index)
        }
      }
    }
    let philox = Philox(seed: seed)
    for row in 0..<samples.rows {
      let rewards = samples.rewards + row * samples.length
      let bound = bounds?[row] ?? samples.best(row)
      var sum = 0.0
      for item in 0..<samples.length {
        let chance = kernels.exp((rewards[item] - bound) / samples.beta(row))
        sum += chance
        let accepts = philox.uniform(group: row, sample: 0, item: item) < chance
        accepted?[row * samples.length + item] = accepts ? 1 : 0
      }
      rates?[row] = sum / Double(samples.length)
    }
  }
}

@_cdecl("swiftdpo_importance_resample_f64") @implementation
public func swiftdpo_importance_resample_f64(
  _ responses: UnsafePointer<swiftdpo_responses_f64>!, _ options: UnsafePointer<swiftdpo_policy_options>!,
  _ numDraws: Int, _ seed: UInt64, _ indices: UnsafeMutablePointer<Int64>!,
  _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in
    var samples = try Samples(responses, options)
    let draws = try product(samples.rows, numDraws, "num_draws")
    let indices = try samples.prompts.ledger.requiredResult(indices, draws, "indices")
    let (bytes, overflow) = samples.length.multipliedReportingOverflow(by: 8)
    guard !overflow, let memory = malloc(bytes > 0 ? bytes : 1) else {
      throw Fault(SWIFTDPO_ERROR_OUT_OF_MEMORY, "num_responses")
    }
    defer { free(memory) }
    let cumulative = memory.assumingMemoryBound(to: Double.self)
    let philox = Philox(seed: seed)
    for row in 0..<samples.rows {
      let rewards = samples.rewards + row * samples.length
      let best = samples.best(row)
      var sum = 0.0
      for item in 0..<samples.length {
        sum += kernels.exp((rewards[item] - best) / samples.beta(row))
        cumulative[item] = sum
      }
      for draw in 0..<numDraws {
        let target = philox.uniform(group: row, sample: 1, item: draw) * sum
        // The first sample whose cumulative weight exceeds the target.
        var (low, high) = (0, samples.length - 1)
        while low < high {
          let middle = (low + high) / 2
          if cumulative[middle] > target { high = middle } else { low = middle + 1 }
        }
        indices[row * numDraws + draw] = Int64(low)
      }
    }
  }
}

@_cdecl("swiftdpo_best_of_n_kl_bound") @implementation
public func swiftdpo_best_of_n_kl_bound(_ n: Int) -> Double {
  // Counts above the largest signed integer come as negative ones.
  n == 0 ? 0 : bestOfNBound(Double(UInt(bitPattern: n)), log: kernels.log)
}

@_cdecl("swiftdpo_best_of_n_f64") @implementation
public func swiftdpo_best_of_n_f64(
  _ responses: UnsafePointer<swiftdpo_responses_f64>!, _ n: Int, _ logps: UnsafeMutablePointer<Double>!,
  _ klDivergences: UnsafeMutablePointer<Double>!, _ expectedRewards: UnsafeMutablePointer<Double>!,
  _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in
    var samples = try Samples(responses, nil)
    let (rows, length) = (samples.rows, samples.length)
    try require(n >= 1, SWIFTDPO_ERROR_COUNT, "n")
    let reference = try samples.prompts.ledger.input(responses.pointee.ref_logps, rows * length, "ref_logps")
    let logps = try samples.prompts.ledger.result(logps, rows * length, "logps")
    let kls = try samples.prompts.ledger.result(klDivergences, rows, "kl_divergences")
    let expected = try samples.prompts.ledger.result(expectedRewards, rows, "expected_rewards")
    try checkReference(UnsafeRawPointer(reference), .f64, rows, length, true)
    try checkLogProbabilities(UnsafeRawPointer(reference), .f64, rows * length, true, "ref_logps")
    let (bytes, overflow) = length.multipliedReportingOverflow(by: 8)
    guard !overflow, let memory = malloc(bytes > 0 ? bytes : 1) else {
      throw Fault(SWIFTDPO_ERROR_OUT_OF_MEMORY, "num_responses")
    }
    defer { free(memory) }
    let order = memory.assumingMemoryBound(to: Int64.self)

    for row in 0..<rows {
      let rewards = samples.rewards + row * length
      let base = row * length
      for item in 0..<length { order[item] = Int64(item) }
      sortFalling(order, length, rewards)
      // From the worst level of reward up: its mass, and that of all below and on it.
      var below = 0.0
      var total = 0.0
      for item in 0..<length { total += kernels.exp(reference[base + item]) }
      var kl = 0.0
      var reward = 0.0
      var end = length
      while end > 0 {
        var start = end
        let level = rewards[Int(order[end - 1])]
        var mass = 0.0
        while start > 0, rewards[Int(order[start - 1])] == level {
          start -= 1
          mass += kernels.exp(reference[base + Int(order[start])])
        }
        let upTo = below + mass
        // All n are at most of this level, and not all below it.
        let share = mass / upTo
        let logAtMost = start == 0 ? 0 : Double(n) * kernels.log(upTo / total)
        let logLift = logAtMost + kernels.log(chanceAmong(Double(n), share: share)) - kernels.log(mass / total)
        let probability = mass > 0 ? kernels.exp(logLift) * (mass / total) : 0
        if probability > 0 {
          kl += probability * logLift
          reward += probability * level
        }
        for place in start..<end {
          let index = base + Int(order[place])
          logps?[index] = mass > 0 ? reference[index] - kernels.log(total) + logLift : -.infinity
        }
        below = upTo
        end = start
      }
      kls?[row] = kl
      expected?[row] = reward
    }
  }
}

/// Rewards of samples of the reference for each prompt.
private struct Samples {
  var prompts: Prompts
  let rewards: UnsafePointer<Double>
  let rows: Int
  let length: Int

  init(
    _ responses: UnsafePointer<swiftdpo_responses_f64>?, _ options: UnsafePointer<swiftdpo_policy_options>?
  ) throws(Fault) {
    var responses = try read(responses, "responses")
    responses.ref_logps = nil
    prompts = try Prompts(.f64, responses, options)
    rows = prompts.rows
    length = prompts.length
    rewards = try prompts.ledger.input(responses.rewards, prompts.elements, "rewards")
    try checkFinite(rewards, .f64, prompts.elements, "rewards")
  }

  func beta(_ row: Int) -> Double {
    prompts.job.betas == nil ? prompts.job.beta : ElementType.f64.load(prompts.job.betas!, row)
  }

  func best(_ row: Int) -> Double {
    var best = rewards[row * length]
    for item in 0..<length where rewards[row * length + item] > best { best = rewards[row * length + item] }
    return best
  }
}
