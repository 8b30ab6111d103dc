import CPlatform
import CSwiftDPO
import Elementary
import Preference

@_cdecl("swiftdpo_sequence_logps_f32") @implementation
public func swiftdpo_sequence_logps_f32(
  _ logits: UnsafePointer<swiftdpo_logits_f32>!, _ options: UnsafePointer<swiftdpo_logps_options>!,
  _ results: UnsafePointer<swiftdpo_logps_results>!, _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in
    let results = try read(results, "results")
    var ledger = Ledger()
    let batch = try Batch(logits, options, &ledger)
    let rows = batch.sequences * batch.scoredLength
    let logps = try ledger.result(results.logps, batch.sequences, "logps")
    let numTokens = try ledger.result(results.num_tokens, batch.sequences, "num_tokens")
    let tokenLogps = try ledger.result(results.token_logps, rows, "token_logps")
    let logNormalizers = try ledger.result(results.log_normalizers, rows, "log_normalizers")
    try batch.checkLabels()

    // Results of each row wait here until all rows are known to be sound.
    let staged = try Staging(rows)
    defer { staged.free() }
    try batch.normalize(into: staged.values)

    for sequence in 0..<batch.sequences {
      var sum = DoubleDouble(F64x8(repeating: 0))
      var tokens = 0
      for position in 0..<batch.scoredLength {
        let row = sequence * batch.scoredLength + position
        let label = batch.label(sequence, position)
        let normalizer = staged.values[row]
        let logp = label == nil ? 0 : Double(batch.row(sequence, position)[label!]) - normalizer
        if label != nil {
          tokens += 1
          sum = sum + F64x8(repeating: logp)
        }
        tokenLogps?[row] = logp
        logNormalizers?[row] = normalizer
      }
      logps?[sequence] = batch.average && tokens > 0 ? sum.high[0] / Double(tokens) : sum.high[0]
      numTokens?[sequence] = Int64(tokens)
    }
  }
}

@_cdecl("swiftdpo_sequence_logps_backward_f32") @implementation
public func swiftdpo_sequence_logps_backward_f32(
  _ logits: UnsafePointer<swiftdpo_logits_f32>!, _ options: UnsafePointer<swiftdpo_logps_options>!,
  _ gradLogps: UnsafePointer<Double>!, _ logNormalizers: UnsafePointer<Double>!,
  _ gradLogits: UnsafeMutablePointer<Float>!, _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in
    var ledger = Ledger()
    let batch = try Batch(logits, options, &ledger)
    let rows = batch.sequences * batch.scoredLength
    let gradLogps = try ledger.input(gradLogps, batch.sequences, "grad_logps")
    let logNormalizers = try ledger.optionalInput(logNormalizers, rows, "log_normalizers")
    let gradient = try ledger.resultInPlace(gradLogits, of: batch.logits, .f32, batch.extent, "grad_logits")
      .assumingMemoryBound(to: Float.self)
    try batch.checkLabels()
    if batch.refuseNonfinite { try checkFinite(gradLogps, .f64, batch.sequences, "grad_logps") }

    let staged = try Staging(logNormalizers == nil ? rows : 0)
    defer { staged.free() }
    if logNormalizers == nil { try batch.normalize(into: staged.values) }
    let normalizers = logNormalizers ?? UnsafePointer(staged.values)

    let kernel = kernels.logitsGradientF32
    for sequence in 0..<batch.sequences {
      var tokens = 0
      for position in 0..<batch.scoredLength where batch.label(sequence, position) != nil { tokens += 1 }
      let weight = batch.average && tokens > 0 ? gradLogps[sequence] / Double(tokens) : gradLogps[sequence]
      for position in 0..<batch.length {
        let target = gradient + (sequence * batch.length + position) * batch.stride
        if position < batch.scoredLength, let label = batch.label(sequence, position) {
          kernel(
            LogitsRow(
              logits: batch.row(sequence, position), gradient: target, count: batch.vocabulary, label: label,
              logSumExp: normalizers[sequence * batch.scoredLength + position], weight: weight))
        } else {
          memset(target, 0, batch.vocabulary * MemoryLayout<Float>.stride)
        }
      }
    }
  }
}

/// A checked batch of logits: which row scores which label.
private struct Batch {
  let sequences: Int
  let length: Int
  /// Positions of each sequence whose logits score a label: one less than its length if labels are shifted.
  let scoredLength: Int
  let vocabulary: Int
  let stride: Int
  /// Elements from the first logit to the last, rows' gaps included.
  let extent: Int
  let logits: UnsafePointer<Float>
  let labels: UnsafePointer<Int64>
  let ignoreIndex: Int64
  let shift: Int
  let average: Bool
  let refuseNonfinite: Bool

  init(
    _ logits: UnsafePointer<swiftdpo_logits_f32>?, _ options: UnsafePointer<swiftdpo_logps_options>?,
    _ ledger: inout Ledger
  ) throws(Fault) {
    let source = try read(logits, "logits")
    let options = try readOptional(options, "options")
    shift = try checkFlag(options.shift, "shift") ? 1 : 0
    average = try checkFlag(options.average, "average")
    refuseNonfinite = try checkNonfinitePolicy(options.nonfinite)
    ignoreIndex = options.ignore_index

    sequences = source.num_sequences
    length = source.sequence_length
    vocabulary = source.vocab_size
    scoredLength = max(length - shift, 0)
    let rows = try product(sequences, length, "num_sequences")
    try require(vocabulary > 0 || rows == 0, SWIFTDPO_ERROR_COUNT, "vocab_size")
    stride = source.row_stride == 0 ? vocabulary : source.row_stride
    try require(stride >= vocabulary, SWIFTDPO_ERROR_STRIDE, "row_stride")
    extent = rows == 0 ? 0 : try product(rows, stride, "row_stride") - (stride - vocabulary)
    self.logits = try ledger.input(source.logits, extent, "logits")
    labels = try ledger.input(source.labels, rows, "labels")
  }

  func row(_ sequence: Int, _ position: Int) -> UnsafePointer<Float> {
    logits + (sequence * length + position) * stride
  }

  /// The label that the logits at a position score, or nil where it does not count.
  func label(_ sequence: Int, _ position: Int) -> Int? {
    let label = labels[sequence * length + position + shift]
    return label == ignoreIndex ? nil : Int(label)
  }

  func checkLabels() throws(Fault) {
    for sequence in 0..<sequences {
      for position in 0..<scoredLength {
        let index = sequence * length + position + shift
        let label = labels[index]
        let sound = label == ignoreIndex || (label >= 0 && label < Int64(vocabulary))
        try require(sound, SWIFTDPO_ERROR_LABEL, "labels", at: index)
      }
    }
  }

  /// The log-sum-exp of each row that scores a label that counts, and 0 for the others.
  func normalize(into normalizers: UnsafeMutablePointer<Double>) throws(Fault) {
    let kernel = kernels.logSumExpF32
    for sequence in 0..<sequences {
      for position in 0..<scoredLength {
        let index = sequence * scoredLength + position
        normalizers[index] = 0
        if label(sequence, position) == nil { continue }
        let value = kernel(row(sequence, position), vocabulary)
        normalizers[index] = value
        if refuseNonfinite && !value.isFinite { throw Fault(SWIFTDPO_ERROR_NONFINITE, "logits", at: culprit(sequence, position)) }
      }
    }
  }

  /// The first logit of a row that is NaN or +inf; for a row that is -inf throughout, its start.
  private func culprit(_ sequence: Int, _ position: Int) -> Int {
    let start = (sequence * length + position) * stride
    for entry in 0..<vocabulary {
      let logit = logits[start + entry]
      if logit.isNaN || logit == .infinity { return start + entry }
    }
    return start
  }
}

/// Temporary results, one for each row.
private struct Staging {
  let values: UnsafeMutablePointer<Double>
  private let memory: UnsafeMutableRawPointer?

  init(_ count: Int) throws(Fault) {
    let (bytes, overflow) = count.multipliedReportingOverflow(by: MemoryLayout<Double>.stride)
    memory = overflow ? nil : malloc(max(bytes, 1))
    guard let memory else { throw Fault(SWIFTDPO_ERROR_OUT_OF_MEMORY, "num_sequences") }
    values = memory.assumingMemoryBound(to: Double.self)
  }

  func free() { CPlatform.free(memory) }
}
