import CPlatform
import CSwiftDPO
import Elementary
import Preference

// Exact partition functions over the tokens of a small reference. Both ways are one recursion, from the last token to
// the first, whose step is the optimal policy over the next token: rewards there are those of the token plus the value
// beta log Z of what follows.

@_cdecl("swiftdpo_count_responses") @implementation
public func swiftdpo_count_responses(
  _ vocabSize: Int, _ horizon: Int, _ hasEndToken: Int32, _ count: UnsafeMutablePointer<UInt64>!,
  _ logCount: UnsafeMutablePointer<Double>!, _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in
    try require(vocabSize > 0, SWIFTDPO_ERROR_COUNT, "vocab_size")
    try require(horizon > 0, SWIFTDPO_ERROR_COUNT, "horizon")
    let ends = try checkFlag(hasEndToken, "has_end_token")
    var ledger = Ledger()
    let count = try ledger.result(count, 1, "count")
    let logCount = try ledger.result(logCount, 1, "log_count")
    count?.pointee = responses(vocabSize, horizon, ends)
    logCount?.pointee = logResponses(vocabSize, horizon, ends)
  }
}

/// How many responses there are, or the largest integer where there are more.
private func responses(_ vocabulary: Int, _ horizon: Int, _ ends: Bool) -> UInt64 {
  if vocabulary == 1 { return 1 }
  // Each step leaves so many unfinished responses, and finishes one for each before it if there is an end token.
  let continuing = UInt64(ends ? vocabulary - 1 : vocabulary)
  var open: UInt64 = 1
  var finished: UInt64 = 0
  var step = 0
  while step < horizon {
    if continuing == 1 { return UInt64(horizon) + 1 }
    if ends {
      let (sum, overflow) = finished.addingReportingOverflow(open)
      if overflow { return .max }
      finished = sum
    }
    let (product, overflow) = open.multipliedReportingOverflow(by: continuing)
    if overflow { return .max }
    open = product
    step += 1
  }
  let (sum, overflow) = finished.addingReportingOverflow(open)
  return overflow ? .max : sum
}

/// With c tokens that continue: c^T, and with an end token (c^T - 1) / (c - 1) more.
private func logResponses(_ vocabulary: Int, _ horizon: Int, _ ends: Bool) -> Double {
  let exact = responses(vocabulary, horizon, ends)
  if exact < 1 << 53 { return kernels.log(Double(exact)) }
  let continuing = Double(ends ? vocabulary - 1 : vocabulary)
  let power = Double(horizon) * kernels.log(continuing)
  // Beyond 2^53 the -1 is below the last digit: c^T (1 + 1 / (c - 1)).
  return ends ? power + kernels.log(continuing / (continuing - 1)) : power
}

@_cdecl("swiftdpo_token_partition") @implementation
public func swiftdpo_token_partition(
  _ model: UnsafePointer<swiftdpo_token_model>!, _ options: UnsafePointer<swiftdpo_partition_options>!,
  _ logPartition: UnsafeMutablePointer<Double>!, _ values: UnsafeMutablePointer<Double>!,
  _ policyLogps: UnsafeMutablePointer<Double>!, _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in
    let model = try read(model, "model")
    let options = try readOptional(options, "options")
    try checkBeta(options.beta, "beta")
    let (states, vocabulary, horizon) = (model.num_states, model.vocab_size, model.horizon)
    try checkTokens(vocabulary, horizon, model.end_token)
    try require(states > 0, SWIFTDPO_ERROR_COUNT, "num_states")
    let table = try product(states, vocabulary, "num_states")
    let terms = try product(table, horizon, "horizon")
    try require(UInt64(terms) <= options.max_terms, SWIFTDPO_ERROR_TERMS, "max_terms")
    try require(model.initial_state >= 0 && model.initial_state < states, SWIFTDPO_ERROR_STATE, "initial_state")

    var ledger = Ledger()
    let logps = try ledger.input(model.logps, table, "logps")
    let rewards = try ledger.input(model.rewards, table, "rewards")
    let next = try ledger.optionalInput(model.next_states, table, "next_states")
    try require(next != nil || states == vocabulary, SWIFTDPO_ERROR_NULL_POINTER, "next_states")
    let logPartition = try ledger.result(logPartition, 1, "log_partition")
    let values = try ledger.result(values, try product(horizon, states, "horizon"), "values")
    let policyLogps = try ledger.result(policyLogps, terms, "policy_logps")

    try checkFinite(rewards, .f64, table, "rewards")
    for state in 0..<states {
      try checkNextLogps(logps + state * vocabulary, vocabulary, "logps", at: state * vocabulary)
    }
    if let next {
      for index in 0..<table {
        let inside = next[index] >= 0 && next[index] < Int64(states)
        try require(inside, SWIFTDPO_ERROR_STATE, "next_states", at: index)
      }
    }

    // The rewards of a step with the value of what follows; the values of this step and of the one after it; log Z.
    let memory = try Doubles(table, 3 * states)
    defer { memory.free() }
    let future = memory.second
    let current = memory.second + states
    for state in 0..<states { future[state] = 0 }
    var job = ResponsesJob(type: .f64, length: vocabulary, beta: options.beta)
    job.reference = UnsafeRawPointer(logps)
    job.rewards = UnsafeRawPointer(memory.first)
    job.objective = current
    job.logPartition = memory.second + 2 * states

    var step = horizon - 1
    while step >= 0 {
      for state in 0..<states {
        for token in 0..<vocabulary {
          let index = state * vocabulary + token
          let follows = Int64(token) == model.end_token ? 0 : future[next.map { Int($0[index]) } ?? token]
          memory.first[index] = rewards[index] + follows
        }
      }
      job.result = policyLogps.map { UnsafeMutableRawPointer($0 + step * table) }
      withUnsafePointer(to: job) { job in
        parallelRanges(states, grain: grain(rowLength: vocabulary)) { kernels.optimalPolicy(job, $0) }
      }
      for state in 0..<states {
        future[state] = current[state]
        values?[step * states + state] = current[state]
      }
      step -= 1
    }
    logPartition?.pointee = memory.second[2 * states + model.initial_state]
  }
}

@_cdecl("swiftdpo_enumerate_partition") @implementation
public func swiftdpo_enumerate_partition(
  _ model: UnsafePointer<swiftdpo_response_model>!, _ options: UnsafePointer<swiftdpo_partition_options>!,
  _ logPartition: UnsafeMutablePointer<Double>!, _ numTerms: UnsafeMutablePointer<UInt64>!,
  _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in
    let model = try read(model, "model")
    let options = try readOptional(options, "options")
    try checkBeta(options.beta, "beta")
    let (vocabulary, horizon) = (model.vocab_size, model.horizon)
    try checkTokens(vocabulary, horizon, model.end_token)
    guard let nextLogps = model.next_logps else { throw Fault(SWIFTDPO_ERROR_NULL_POINTER, "next_logps") }
    guard let rewardOf = model.reward else { throw Fault(SWIFTDPO_ERROR_NULL_POINTER, "reward") }
    var ledger = Ledger()
    let logPartition = try ledger.result(logPartition, 1, "log_partition")
    let numTerms = try ledger.result(numTerms, 1, "num_terms")
    let count = responses(vocabulary, horizon, model.end_token >= 0)
    try require(count <= options.max_terms, SWIFTDPO_ERROR_TERMS, "max_terms")

    // For each open prefix: its next tokens' log-probabilities, and their rewards, values included.
    let table = try product(horizon, vocabulary, "horizon")
    let memory = try Doubles(table, table)
    defer { memory.free() }
    let prefixes = try Doubles(horizon, 0)
    defer { prefixes.free() }
    let prefix = UnsafeMutableRawPointer(prefixes.first).assumingMemoryBound(to: Int64.self)
    var job = ResponsesJob(type: .f64, length: vocabulary, beta: options.beta)
    var terms: UInt64 = 0
    var depth = 0
    var token = 0
    while true {
      let logps = memory.first + depth * vocabulary
      let values = memory.second + depth * vocabulary
      if token == 0 {
        try require(
          nextLogps(model.context, prefix, depth, logps) == 0, SWIFTDPO_ERROR_CALLBACK, "next_logps", at: depth)
        try checkNextLogps(UnsafePointer(logps), vocabulary, "next_logps", at: 0)
      }
      if token < vocabulary {
        prefix[depth] = Int64(token)
        if logps[token] == -.infinity {
          values[token] = 0
          token += 1
        } else if Int64(token) == model.end_token || depth + 1 == horizon {
          var reward = 0.0
          let status = rewardOf(model.context, prefix, depth + 1, &reward)
          try require(status == 0, SWIFTDPO_ERROR_CALLBACK, "reward", at: Int(truncatingIfNeeded: terms))
          try require(reward.isFinite, SWIFTDPO_ERROR_NONFINITE, "reward", at: Int(truncatingIfNeeded: terms))
          values[token] = reward
          terms += 1
          token += 1
        } else {
          depth += 1
          token = 0
        }
        continue
      }
      // All tokens of this prefix are known: its value goes to the one before.
      var value = 0.0
      var logZ = 0.0
      job.reference = UnsafeRawPointer(logps)
      job.rewards = UnsafeRawPointer(values)
      withUnsafeMutablePointer(to: &value) { valuePointer in
        withUnsafeMutablePointer(to: &logZ) { logPointer in
          job.objective = valuePointer
          job.logPartition = logPointer
          withUnsafePointer(to: job) { kernels.optimalPolicy($0, 0..<1) }
        }
      }
      if depth == 0 {
        logPartition?.pointee = logZ
        numTerms?.pointee = terms
        return
      }
      depth -= 1
      token = Int(prefix[depth])
      memory.second[depth * vocabulary + token] = value
      token += 1
    }
  }
}

private func checkTokens(_ vocabulary: Int, _ horizon: Int, _ endToken: Int64) throws(Fault) {
  try require(vocabulary > 0, SWIFTDPO_ERROR_COUNT, "vocab_size")
  try require(horizon > 0, SWIFTDPO_ERROR_COUNT, "horizon")
  try require(endToken >= -1 && endToken < Int64(vocabulary), SWIFTDPO_ERROR_LABEL, "end_token")
}

/// Log-probabilities of the next token: not NaN, at most 0, not all -inf.
private func checkNextLogps(
  _ logps: UnsafePointer<Double>, _ vocabulary: Int, _ name: FieldName, at start: Int
) throws(Fault) {
  var supported = false
  for token in 0..<vocabulary {
    try require(logps[token] < .infinity, SWIFTDPO_ERROR_NONFINITE, name, at: start + token)
    try require(logps[token] <= 0.01, SWIFTDPO_ERROR_LOG_PROBABILITY, name, at: start + token)
    if logps[token] > -.infinity { supported = true }
  }
  try require(supported, SWIFTDPO_ERROR_SUPPORT, name, at: start)
}

/// Temporary memory for two arrays.
private struct Doubles {
  let first: UnsafeMutablePointer<Double>
  let second: UnsafeMutablePointer<Double>
  private let memory: UnsafeMutableRawPointer

  init(_ count: Int, _ secondCount: Int) throws(Fault) {
    let (sum, tooMany) = count.addingReportingOverflow(secondCount)
    let (bytes, tooLarge) = sum.multipliedReportingOverflow(by: MemoryLayout<Double>.stride)
    guard !tooMany, !tooLarge, let memory = malloc(bytes > 0 ? bytes : 1) else {
      throw Fault(SWIFTDPO_ERROR_OUT_OF_MEMORY, "horizon")
    }
    self.memory = memory
    first = memory.assumingMemoryBound(to: Double.self)
    second = first + count
  }

  func free() { CPlatform.free(memory) }
}
