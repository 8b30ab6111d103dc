import CPlatform
import CSwiftDPO
import Elementary
import Preference

@_cdecl("swiftdpo_vocab_shard_f32") @implementation
public func swiftdpo_vocab_shard_f32(
  _ logits: UnsafePointer<swiftdpo_logits_f32>!, _ options: UnsafePointer<swiftdpo_logps_options>!,
  _ results: UnsafePointer<swiftdpo_shard_statistics>!, _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in try vocabularyShard(.f32, form(logits), options, results) }
}

@_cdecl("swiftdpo_vocab_shard_f64") @implementation
public func swiftdpo_vocab_shard_f64(
  _ logits: UnsafePointer<swiftdpo_logits_f64>!, _ options: UnsafePointer<swiftdpo_logps_options>!,
  _ results: UnsafePointer<swiftdpo_shard_statistics>!, _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in try vocabularyShard(.f64, form(logits), options, results) }
}

@_cdecl("swiftdpo_vocab_shard_bf16") @implementation
public func swiftdpo_vocab_shard_bf16(
  _ logits: UnsafePointer<swiftdpo_logits_half>!, _ options: UnsafePointer<swiftdpo_logps_options>!,
  _ results: UnsafePointer<swiftdpo_shard_statistics>!, _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in try vocabularyShard(.bf16, form(logits), options, results) }
}

@_cdecl("swiftdpo_vocab_shard_f16") @implementation
public func swiftdpo_vocab_shard_f16(
  _ logits: UnsafePointer<swiftdpo_logits_half>!, _ options: UnsafePointer<swiftdpo_logps_options>!,
  _ results: UnsafePointer<swiftdpo_shard_statistics>!, _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in try vocabularyShard(.f16, form(logits), options, results) }
}

private func vocabularyShard(
  _ type: ElementType, _ logits: UnsafePointer<swiftdpo_logits_f64>?,
  _ options: UnsafePointer<swiftdpo_logps_options>?,
  _ results: UnsafePointer<swiftdpo_shard_statistics>?
) throws(Fault) {
  let results = try read(results, "results")
  var ledger = Ledger()
  let batch = try LogitsBatch(type, logits, options, &ledger)
  let shard = try ShardStatistics(results, batch.rows, &ledger)

  let plan = try Scratch<PlannedRow>(batch.rows, "num_sequences")
  defer { plan.free() }
  try batch.plan(plan.values, absentLabels: true)
  let rows = try Scratch<ShardRow>(batch.rows, "num_sequences")
  defer { rows.free() }
  parallelRanges(batch.rows, grain: batch.grain) { range in
    for row in range { rows.values[row] = ShardRow(batch, row, plan.values[row].label) }
  }
  if batch.refuseNonfinite {
    for row in 0..<batch.rows where !(rows.values[row].sum.isFinite && rows.values[row].maximum < .infinity) {
      throw Fault(SWIFTDPO_ERROR_NONFINITE, "logits", at: batch.firstBadLogit(row))
    }
  }
  for row in 0..<batch.rows { shard[row] = rows.values[row] }
}

/// max l, sum exp(l - max) and the label's logit (NaN if absent) of one row of a shard.
struct ShardRow {
  var maximum = -Double.infinity
  var sum = 0.0
  var labelLogit = Double.nan

  init(maximum: Double, sum: Double, labelLogit: Double) {
    self.maximum = maximum
    self.sum = sum
    self.labelLogit = labelLogit
  }

  init(_ batch: LogitsBatch, _ row: Int, _ label: Int) {
    if label < 0 { return }
    let statistics = kernels.rowStatistics(batch.form, batch.row(row), batch.vocabulary, false)
    // A shard that is -inf throughout is legal: it adds nothing to the others.
    if statistics.sum != 0 {
      maximum = statistics.base
      sum = statistics.sum
    }
    let column = batch.column(label)
    if column >= 0 { labelLogit = kernels.logit(batch.form, batch.row(row), column) }
  }

  /// The statistics of both shards together.
  func merged(with other: ShardRow) -> ShardRow {
    let (upper, lower) = maximum >= other.maximum ? (self, other) : (other, self)
    // Equal maxima, infinite ones among them, keep their scale.
    let factor = upper.maximum == lower.maximum ? 1 : kernels.exp(lower.maximum - upper.maximum)
    return ShardRow(
      maximum: upper.maximum, sum: upper.sum + lower.sum * factor,
      labelLogit: labelLogit.isNaN ? other.labelLogit : labelLogit)
  }
}

/// The checked buffers of swiftdpo_shard_statistics.
struct ShardStatistics {
  let maxima: UnsafeMutablePointer<Double>
  let sums: UnsafeMutablePointer<Double>
  let labelLogits: UnsafeMutablePointer<Double>

  init(_ statistics: swiftdpo_shard_statistics, _ rows: Int, _ ledger: inout Ledger) throws(Fault) {
    maxima = try ledger.requiredResult(statistics.maxima, rows, "maxima")
    sums = try ledger.requiredResult(statistics.sums, rows, "sums")
    labelLogits = try ledger.requiredResult(statistics.label_logits, rows, "label_logits")
  }

  subscript(row: Int) -> ShardRow {
    get { ShardRow(maximum: maxima[row], sum: sums[row], labelLogit: labelLogits[row]) }
    nonmutating set {
      maxima[row] = newValue.maximum
      sums[row] = newValue.sum
      labelLogits[row] = newValue.labelLogit
    }
  }
}

@_cdecl("swiftdpo_vocab_shard_merge") @implementation
public func swiftdpo_vocab_shard_merge(
  _ rows: Int, _ into: UnsafePointer<swiftdpo_shard_statistics>!, _ other: UnsafePointer<swiftdpo_shard_statistics>!,
  _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in
    let rows = try product(rows, 1, "rows")
    var ledger = Ledger()
    let into = try ShardStatistics(try read(into, "into"), rows, &ledger)
    let other = try ShardStatistics(try read(other, "other"), rows, &ledger)
    for row in 0..<rows { into[row] = into[row].merged(with: other[row]) }
  }
}

@_cdecl("swiftdpo_vocab_shard_logps") @implementation
public func swiftdpo_vocab_shard_logps(
  _ logits: UnsafePointer<swiftdpo_logits_f32>!, _ options: UnsafePointer<swiftdpo_logps_options>!,
  _ merged: UnsafePointer<swiftdpo_shard_statistics>!, _ results: UnsafePointer<swiftdpo_logps_results>!,
  _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in
    let merged = try read(merged, "merged")
    let results = try read(results, "results")
    var ledger = Ledger()
    let batch = try LogitsBatch(.f32, form(logits), options, &ledger, readsLogits: false)
    let maxima = try ledger.input(UnsafePointer(merged.maxima), batch.rows, "maxima")
    let sums = try ledger.input(UnsafePointer(merged.sums), batch.rows, "sums")
    let labelLogits = try ledger.input(UnsafePointer(merged.label_logits), batch.rows, "label_logits")
    let targets = try LogpsTargets(results, batch, &ledger)
    try require(!targets.wantsDistribution, SWIFTDPO_ERROR_SHARDED, "results")

    let plan = try Scratch<PlannedRow>(batch.rows, "num_sequences")
    defer { plan.free() }
    try batch.plan(plan.values, absentLabels: true)
    let rows = try Scratch<ScoredRow>(batch.rows, "num_sequences")
    defer { rows.free() }
    for row in 0..<batch.rows where plan.values[row].label >= 0 {
      let scored = ScoredRow(labelLogit: labelLogits[row], maximum: maxima[row], sum: sums[row])
      // A label that no shard has is out of the vocabulary. NaN that is a logit makes the row's sum NaN as well.
      let isNobodys = scored.labelLogit.isNaN && (batch.refuseNonfinite || scored.logNormalizer < .infinity)
      try require(!isNobodys, SWIFTDPO_ERROR_LABEL, "label_logits", at: row)
      if batch.refuseNonfinite {
        try require(scored.logNormalizer.isFinite, SWIFTDPO_ERROR_NONFINITE, "maxima", at: row)
      }
      rows.values[row] = scored
    }
    targets.store(batch, plan.values, rows.values)
  }
}
