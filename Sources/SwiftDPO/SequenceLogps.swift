import CPlatform
import CSwiftDPO
import Elementary
import Preference

@_cdecl("swiftdpo_sequence_logps_f32") @implementation
public func swiftdpo_sequence_logps_f32(
  _ logits: UnsafePointer<swiftdpo_logits_f32>!, _ options: UnsafePointer<swiftdpo_logps_options>!,
  _ results: UnsafePointer<swiftdpo_logps_results>!, _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in try sequenceLogps(.f32, form(logits), options, results) }
}

@_cdecl("swiftdpo_sequence_logps_f64") @implementation
public func swiftdpo_sequence_logps_f64(
  _ logits: UnsafePointer<swiftdpo_logits_f64>!, _ options: UnsafePointer<swiftdpo_logps_options>!,
  _ results: UnsafePointer<swiftdpo_logps_results>!, _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in try sequenceLogps(.f64, form(logits), options, results) }
}

@_cdecl("swiftdpo_sequence_logps_bf16") @implementation
public func swiftdpo_sequence_logps_bf16(
  _ logits: UnsafePointer<swiftdpo_logits_half>!, _ options: UnsafePointer<swiftdpo_logps_options>!,
  _ results: UnsafePointer<swiftdpo_logps_results>!, _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in try sequenceLogps(.bf16, form(logits), options, results) }
}

@_cdecl("swiftdpo_sequence_logps_f16") @implementation
public func swiftdpo_sequence_logps_f16(
  _ logits: UnsafePointer<swiftdpo_logits_half>!, _ options: UnsafePointer<swiftdpo_logps_options>!,
  _ results: UnsafePointer<swiftdpo_logps_results>!, _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in try sequenceLogps(.f16, form(logits), options, results) }
}

private func sequenceLogps(
  _ type: ElementType, _ logits: UnsafePointer<swiftdpo_logits_f64>?,
  _ options: UnsafePointer<swiftdpo_logps_options>?,
  _ results: UnsafePointer<swiftdpo_logps_results>?
) throws(Fault) {
  let results = try read(results, "results")
  var ledger = Ledger()
  let batch = try LogitsBatch(type, logits, options, &ledger)
  try require(batch.vocabularyStart == 0, SWIFTDPO_ERROR_COUNT, "vocab_start")
  let targets = try LogpsTargets(results, batch, &ledger)

  let plan = try Scratch<PlannedRow>(batch.rows, "num_sequences")
  defer { plan.free() }
  try batch.plan(plan.values)
  let rows = try Scratch<ScoredRow>(batch.rows, "num_sequences")
  defer { rows.free() }

  parallelRanges(batch.rows, grain: batch.grain) { range in
    for row in range where plan.values[row].label >= 0 {
      rows.values[row] = ScoredRow(batch, row, plan.values[row].label, all: targets.wantsAll)
    }
  }
  if batch.refuseNonfinite {
    for row in 0..<batch.rows where plan.values[row].label >= 0 && !rows.values[row].logNormalizer.isFinite {
      throw Fault(SWIFTDPO_ERROR_NONFINITE, "logits", at: batch.firstBadLogit(row))
    }
  }
  targets.store(batch, plan.values, rows.values)
}

/// What one reading of a row says of it and of its label.
struct ScoredRow {
  var labelLogit: Double
  /// log sum of exp(l - base)
  var logSum: Double
  var statistics: RowStatistics

  init(_ batch: LogitsBatch, _ row: Int, _ label: Int, all: Bool) {
    statistics = kernels.rowStatistics(batch.form, batch.row(row), batch.vocabulary, all)
    labelLogit = kernels.logit(batch.form, batch.row(row), label)
    logSum = kernels.log(statistics.sum)
  }

  /// From the statistics of all shards of the vocabulary.
  init(labelLogit: Double, maximum: Double, sum: Double) {
    self.labelLogit = labelLogit
    statistics = RowStatistics(base: maximum, sum: sum)
    logSum = kernels.log(sum)
  }

  var logNormalizer: Double { statistics.base + logSum }

  /// log p of the label. The large numbers are subtracted first.
  var logp: Double { notAboveZero((labelLogit - statistics.base) - logSum) }

  /// - sum p log p = LSE - sum p l, relative to the base
  var entropy: Double { 0 - notAboveZero(statistics.weightedSum / statistics.sum - logSum) }

  /// log sum p^2 = log sum e^2 - 2 log sum e
  var logSumSquares: Double { notAboveZero(kernels.log(statistics.sumOfSquares) - 2 * logSum) }

  /// No rounding makes a probability larger than 1.
  private func notAboveZero(_ logarithm: Double) -> Double { logarithm > 0 ? 0 : logarithm }

  var flag: swiftdpo_row_flag {
    if !logNormalizer.isFinite { return SWIFTDPO_ROW_NONFINITE }
    return labelLogit == -.infinity ? SWIFTDPO_ROW_IMPOSSIBLE : SWIFTDPO_ROW_SOUND
  }
}

/// The checked buffers of swiftdpo_logps_results.
struct LogpsTargets {
  private let logps: UnsafeMutablePointer<Double>?
  private let numTokens: UnsafeMutablePointer<Int64>?
  private let tokenLogps: UnsafeMutablePointer<Double>?
  private let logNormalizers: UnsafeMutablePointer<Double>?
  private let entropies: UnsafeMutablePointer<Double>?
  private let logSumSquares: UnsafeMutablePointer<Double>?
  private let meanLogits: UnsafeMutablePointer<Double>?
  private let topOne: UnsafeMutablePointer<UInt8>?
  private let rowFlags: UnsafeMutablePointer<UInt8>?

  init(_ results: swiftdpo_logps_results, _ batch: LogitsBatch, _ ledger: inout Ledger) throws(Fault) {
    logps = try ledger.result(results.logps, batch.sequences, "logps")
    numTokens = try ledger.result(results.num_tokens, batch.sequences, "num_tokens")
    tokenLogps = try ledger.result(results.token_logps, batch.rows, "token_logps")
    logNormalizers = try ledger.result(results.log_normalizers, batch.rows, "log_normalizers")
    entropies = try ledger.result(results.entropies, batch.rows, "entropies")
    logSumSquares = try ledger.result(results.log_sum_squares, batch.rows, "log_sum_squares")
    meanLogits = try ledger.result(results.mean_logits, batch.rows, "mean_logits")
    topOne = try ledger.result(results.top_1, batch.rows, "top_1")
    rowFlags = try ledger.result(results.row_flags, batch.rows, "row_flags")
  }

  /// For the library's own use: sequences' log-probabilities and numbers of tokens alone.
  init(logps: UnsafeMutablePointer<Double>, numTokens: UnsafeMutablePointer<Int64>?) {
    self.logps = logps
    self.numTokens = numTokens
    tokenLogps = nil
    logNormalizers = nil
    entropies = nil
    logSumSquares = nil
    meanLogits = nil
    topOne = nil
    rowFlags = nil
  }

  /// Whether a result asks for more than a row's sum.
  var wantsAll: Bool { entropies != nil || logSumSquares != nil || meanLogits != nil }

  var wantsDistribution: Bool { wantsAll || topOne != nil }

  func store(_ batch: LogitsBatch, _ plan: UnsafePointer<PlannedRow>, _ rows: UnsafePointer<ScoredRow>) {
    // Without rows there may be any number of sequences.
    if batch.rows == 0 && logps == nil && numTokens == nil { return }
    for sequence in 0..<batch.sequences { store(sequence, batch, plan, rows) }
  }

  func store(
    _ sequence: Int, _ batch: LogitsBatch, _ plan: UnsafePointer<PlannedRow>, _ rows: UnsafePointer<ScoredRow>
  ) {
    var sum = ScalarSum()
    var tokens = 0
    for row in batch.rows(of: sequence) {
      let counts = plan[row].label >= 0
      let logp = counts ? rows[row].logp : 0
      if counts {
        // A token of weight 0 adds nothing, even where its probability is 0.
        if plan[row].weight != 0 { sum.add(plan[row].weight * logp) }
        tokens += 1
      }
      tokenLogps?[row] = logp
      logNormalizers?[row] = counts ? rows[row].logNormalizer : 0
      entropies?[row] = counts ? rows[row].entropy : 0
      logSumSquares?[row] = counts ? rows[row].logSumSquares : 0
      meanLogits?[row] = counts ? rows[row].statistics.total / Double(batch.vocabulary) : 0
      topOne?[row] = counts && rows[row].labelLogit >= rows[row].statistics.base ? 1 : 0
      rowFlags?[row] = counts ? UInt8(truncatingIfNeeded: rows[row].flag.rawValue) : 0
    }
    logps?[sequence] = batch.average && tokens > 0 ? sum.value / Double(tokens) : sum.value
    numTokens?[sequence] = Int64(tokens)
  }
}

/// A compensated sum in a fixed order (Neumaier 1974). Infinities and NaN go through it.
struct ScalarSum {
  private var sum = 0.0
  private var error = 0.0

  mutating func add(_ term: Double) {
    let next = sum + term
    error += abs(sum) >= abs(term) ? (sum - next) + term : (term - next) + sum
    sum = next
  }

  var value: Double { sum.isFinite ? sum + error : sum }
}
