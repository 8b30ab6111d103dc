import CSwiftDPO
import Elementary
import Preference

// What weighs or bounds the tokens of responses before they are summed.

@_cdecl("swiftdpo_wpo_weights") @implementation
public func swiftdpo_wpo_weights(
  _ tokenLogps: UnsafePointer<Double>!, _ logSumSquares: UnsafePointer<Double>!, _ numTokens: UnsafePointer<Int64>!,
  _ sequences: Int, _ length: Int, _ weights: UnsafeMutablePointer<Double>!,
  _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in
    let rows = try product(sequences, length, "num_sequences")
    var ledger = Ledger()
    let tokenLogps = try ledger.input(tokenLogps, rows, "token_logps")
    let logSumSquares = try ledger.optionalInput(logSumSquares, rows, "log_sum_squares")
    let numTokens = try ledger.input(numTokens, sequences, "num_tokens")
    let weights = try ledger.requiredResult(weights, sequences, "weights")
    try checkFinite(tokenLogps, .f64, rows, "token_logps")
    try checkFinite(logSumSquares, .f64, rows, "log_sum_squares")
    for sequence in 0..<sequences {
      try require(numTokens[sequence] >= 0, SWIFTDPO_ERROR_LENGTH, "num_tokens", at: sequence)
    }
    for sequence in 0..<sequences {
      let sum = orderedSum(length) { token in
        let row = sequence * length + token
        return (tokenLogps[row], logSumSquares?[row] ?? 0)
      }
      weights[sequence] = kernels.exp(sum / Double(max(numTokens[sequence], 1)))
    }
  }
}

@_cdecl("swiftdpo_humanline_clamp") @implementation
public func swiftdpo_humanline_clamp(
  _ policy: UnsafePointer<Double>!, _ reference: UnsafePointer<Double>!, _ sequences: Int, _ length: Int,
  _ low: Double, _ high: Double, _ logRatios: UnsafeMutablePointer<Double>!, _ passes: UnsafeMutablePointer<Double>!,
  _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in
    let rows = try product(sequences, length, "num_sequences")
    var ledger = Ledger()
    let policy = try ledger.input(policy, rows, "policy_token_logps")
    let reference = try ledger.input(reference, rows, "ref_token_logps")
    let logRatios = try ledger.result(logRatios, sequences, "log_ratios")
    let passes = try ledger.result(passes, rows, "passes")
    try require(low <= 0 && low.isFinite, SWIFTDPO_ERROR_PARAMETER, "low")
    try require(high >= 0 && high.isFinite, SWIFTDPO_ERROR_PARAMETER, "high")
    try checkFinite(policy, .f64, rows, "policy_token_logps")
    try checkFinite(reference, .f64, rows, "ref_token_logps")
    // Without tokens there may be any number of sequences.
    if rows == 0 && logRatios == nil { return }
    for sequence in 0..<sequences {
      let sum = orderedSum(length) { token in
        let row = sequence * length + token
        let ratio = policy[row] - reference[row]
        passes?[row] = ratio >= low && ratio <= high ? 1 : 0
        if ratio < low { return (low, 0) }
        return ratio > high ? (high, 0) : (policy[row], reference[row])
      }
      logRatios?[sequence] = sum
    }
  }
}

/// The sum of x - y over terms (x, y), in their order, to about 106 bits.
private func orderedSum(_ count: Int, _ term: (Int) -> (Double, Double)) -> Double {
  var sum = DoubleDouble(F64x8(repeating: 0))
  for index in 0..<count {
    let (x, y) = term(index)
    sum = sum + DoubleDouble.difference(F64x8(repeating: x), F64x8(repeating: y))
  }
  return sum.high[0]
}
