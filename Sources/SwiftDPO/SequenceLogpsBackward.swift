import CPlatform
import CSwiftDPO
import Elementary
import Preference

@_cdecl("swiftdpo_sequence_logps_backward_f32") @implementation
public func swiftdpo_sequence_logps_backward_f32(
  _ logits: UnsafePointer<swiftdpo_logits_f32>!, _ options: UnsafePointer<swiftdpo_logps_options>!,
  _ gradLogps: UnsafePointer<Double>!, _ logNormalizers: UnsafePointer<Double>!,
  _ gradLogits: UnsafeMutablePointer<Float>!, _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in
    try sequenceLogpsBackward(.f32, form(logits), options, gradLogps, logNormalizers, gradLogits)
  }
}

@_cdecl("swiftdpo_sequence_logps_backward_f64") @implementation
public func swiftdpo_sequence_logps_backward_f64(
  _ logits: UnsafePointer<swiftdpo_logits_f64>!, _ options: UnsafePointer<swiftdpo_logps_options>!,
  _ gradLogps: UnsafePointer<Double>!, _ logNormalizers: UnsafePointer<Double>!,
  _ gradLogits: UnsafeMutablePointer<Double>!, _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in
    try sequenceLogpsBackward(.f64, form(logits), options, gradLogps, logNormalizers, gradLogits)
  }
}

@_cdecl("swiftdpo_sequence_logps_backward_bf16") @implementation
public func swiftdpo_sequence_logps_backward_bf16(
  _ logits: UnsafePointer<swiftdpo_logits_half>!, _ options: UnsafePointer<swiftdpo_logps_options>!,
  _ gradLogps: UnsafePointer<Double>!, _ logNormalizers: UnsafePointer<Double>!,
  _ gradLogits: UnsafeMutablePointer<UInt16>!, _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in
    try sequenceLogpsBackward(.bf16, form(logits), options, gradLogps, logNormalizers, gradLogits)
  }
}

@_cdecl("swiftdpo_sequence_logps_backward_f16") @implementation
public func swiftdpo_sequence_logps_backward_f16(
  _ logits: UnsafePointer<swiftdpo_logits_half>!, _ options: UnsafePointer<swiftdpo_logps_options>!,
  _ gradLogps: UnsafePointer<Double>!, _ logNormalizers: UnsafePointer<Double>!,
  _ gradLogits: UnsafeMutablePointer<UInt16>!, _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in
    try sequenceLogpsBackward(.f16, form(logits), options, gradLogps, logNormalizers, gradLogits)
  }
}

private func sequenceLogpsBackward(
  _ type: ElementType, _ logits: UnsafePointer<swiftdpo_logits_f64>?,
  _ options: UnsafePointer<swiftdpo_logps_options>?,
  _ gradLogps: UnsafePointer<Double>?, _ logNormalizers: UnsafePointer<Double>?, _ gradLogits: UnsafeMutableRawPointer?
) throws(Fault) {
  var ledger = Ledger()
  let batch = try LogitsBatch(type, logits, options, &ledger)
  let gradLogps = try ledger.input(gradLogps, batch.sequences, "grad_logps")
  let logNormalizers = try ledger.optionalInput(logNormalizers, batch.rows, "log_normalizers")
  let isShard = batch.vocabularyStart > 0
  try require(
    logNormalizers != nil || !isShard || batch.rows == 0, SWIFTDPO_ERROR_NULL_POINTER, "log_normalizers")
  let gradient = try ledger.resultInPlace(gradLogits, of: batch.logits, type, batch.extent, "grad_logits")
  if batch.refuseNonfinite {
    try checkFinite(gradLogps, .f64, batch.sequences, "grad_logps")
    try checkFinite(logNormalizers, .f64, batch.rows, "log_normalizers")
  }

  let plan = try Scratch<PlannedRow>(batch.rows, "num_sequences")
  defer { plan.free() }
  // With normalizers, a label may lie in another shard; without, the columns are the whole vocabulary.
  try batch.plan(plan.values, absentLabels: logNormalizers != nil)
  weigh(batch, plan.values, gradLogps)

  let own = try Scratch<Double>(logNormalizers == nil ? batch.rows : 0, "num_sequences")
  defer { own.free() }
  if logNormalizers == nil { try normalize(batch, plan.values, own.values) }
  let normalizers = logNormalizers ?? UnsafePointer(own.values)

  parallelRanges(batch.rows, grain: batch.grain) { range in
    for row in range {
      let target = gradient + row * batch.stride * type.stride
      let planned = plan.values[row]
      if planned.label < 0 {
        memset(target, 0, batch.vocabulary * type.stride)
      } else {
        kernels.rowGradient(
          batch.form,
          GradientRow(
            logits: batch.row(row), gradient: target, count: batch.vocabulary, label: batch.column(planned.label),
            logSumExp: normalizers[row], weight: planned.weight))
      }
    }
  }
}

/// Turns each token's weight into d loss / d log-probability of its label.
private func weigh(
  _ batch: LogitsBatch, _ plan: UnsafeMutablePointer<PlannedRow>, _ gradLogps: UnsafePointer<Double>
) {
  for sequence in 0..<batch.sequences {
    let rows = batch.rows(of: sequence)
    var tokens = 0
    for row in rows where plan[row].label >= 0 { tokens += 1 }
    let gradient = batch.average && tokens > 0 ? gradLogps[sequence] / Double(tokens) : gradLogps[sequence]
    for row in rows { plan[row].weight *= gradient }
  }
}

/// The log-sum-exp of each row that scores a label.
private func normalize(
  _ batch: LogitsBatch, _ plan: UnsafePointer<PlannedRow>, _ normalizers: UnsafeMutablePointer<Double>
) throws(Fault) {
  parallelRanges(batch.rows, grain: batch.grain) { range in
    for row in range where plan[row].label >= 0 {
      let statistics = kernels.rowStatistics(batch.form, batch.row(row), batch.vocabulary, false)
      normalizers[row] = statistics.base + kernels.log(statistics.sum)
    }
  }
  if !batch.refuseNonfinite { return }
  for row in 0..<batch.rows where plan[row].label >= 0 && !normalizers[row].isFinite {
    throw Fault(SWIFTDPO_ERROR_NONFINITE, "logits", at: batch.firstBadLogit(row))
  }
}
