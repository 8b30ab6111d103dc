import CPlatform
import CSwiftDPO
import Elementary
import Preference

/// A checked batch of logits: which rows there are, and which label each scores.
struct LogitsBatch {
  let form: LogitsForm
  let sequences: Int
  let rows: Int
  let vocabulary: Int
  let vocabularyStart: Int
  let stride: Int
  /// Elements from the first logit to the last, gaps between rows included.
  let extent: Int
  let logits: UnsafeRawPointer
  let average: Bool
  let refuseNonfinite: Bool

  private let length: Int
  private let shift: Int
  private let offsets: UnsafePointer<Int64>?
  private let labels: UnsafePointer<Int64>?
  private let labels32: UnsafePointer<Int32>?
  private let ignoreIndex: Int64
  private let mask: UnsafePointer<UInt8>?
  private let weights: UnsafePointer<Double>?
  private let ldLengths: UnsafePointer<Int64>?
  private let ldAlpha: Double

  /// - Parameter readsLogits: false for calls to which the logits only lend their shape.
  init(
    _ type: ElementType, _ logits: UnsafePointer<swiftdpo_logits_f64>?,
    _ options: UnsafePointer<swiftdpo_logps_options>?, _ ledger: inout Ledger, readsLogits: Bool = true
  ) throws(Fault) {
    let source = try read(logits, "logits")
    let options = try readOptional(options, "options")
    shift = try checkFlag(options.shift, "shift") ? 1 : 0
    average = try checkFlag(options.average, "average")
    refuseNonfinite = try checkNonfinitePolicy(options.nonfinite)
    ignoreIndex = options.ignore_index
    try require(options.logit_scale > 0 && options.logit_scale.isFinite, SWIFTDPO_ERROR_LOGIT_SCALE, "logit_scale")
    try require(options.softcap >= 0 && options.softcap.isFinite, SWIFTDPO_ERROR_SOFTCAP, "softcap")
    try require(options.ld_alpha >= 0 && options.ld_alpha <= 1, SWIFTDPO_ERROR_LD_ALPHA, "ld_alpha")
    form = LogitsForm(type: type, scale: options.logit_scale, softcap: options.softcap)
    ldAlpha = options.ld_alpha

    sequences = try product(source.num_sequences, 1, "num_sequences")
    if let given = source.offsets {
      let boundaries = sequences.addingReportingOverflow(1)
      try require(!boundaries.overflow, SWIFTDPO_ERROR_SIZE_OVERFLOW, "num_sequences")
      let offsets = try ledger.input(given, boundaries.partialValue, "offsets")
      try require(offsets[0] == 0, SWIFTDPO_ERROR_OFFSETS, "offsets")
      for index in 0..<sequences {
        try require(offsets[index + 1] >= offsets[index], SWIFTDPO_ERROR_OFFSETS, "offsets", at: index + 1)
      }
      self.offsets = offsets
      length = 0
      rows = Int(offsets[sequences])
    } else {
      offsets = nil
      length = try product(source.sequence_length, 1, "sequence_length")
      rows = try product(sequences, length, "sequence_length")
    }

    vocabulary = try product(source.vocab_size, 1, "vocab_size")
    vocabularyStart = try product(source.vocab_start, 1, "vocab_start")
    try require(vocabulary > 0 || rows == 0, SWIFTDPO_ERROR_COUNT, "vocab_size")
    try require(
      !vocabulary.addingReportingOverflow(vocabularyStart).overflow, SWIFTDPO_ERROR_SIZE_OVERFLOW, "vocab_start")
    stride = source.row_stride == 0 ? vocabulary : try product(source.row_stride, 1, "row_stride")
    try require(stride >= vocabulary, SWIFTDPO_ERROR_STRIDE, "row_stride")
    extent = rows == 0 ? 0 : try product(rows, stride, "row_stride") - (stride - vocabulary)
    self.logits = try ledger.input(UnsafeRawPointer(source.logits), type, readsLogits ? extent : 0, "logits")

    labels = try ledger.optionalInput(source.labels, rows, "labels")
    labels32 = try ledger.optionalInput(source.labels_i32, rows, "labels_i32")
    try require(rows == 0 || (labels == nil) != (labels32 == nil), SWIFTDPO_ERROR_NULL_POINTER, "labels")
    mask = try ledger.optionalInput(source.mask, rows, "mask")
    weights = try ledger.optionalInput(source.token_weights, rows, "token_weights")
    ldLengths = try ledger.optionalInput(source.ld_lengths, sequences, "ld_lengths")
    try require(ldAlpha == 1 || ldLengths != nil || sequences == 0, SWIFTDPO_ERROR_NULL_POINTER, "ld_lengths")
  }

  /// The rows of one sequence.
  func rows(of sequence: Int) -> Range<Int> {
    guard let offsets else { return (sequence * length)..<(sequence * length + length) }
    return Int(offsets[sequence])..<Int(offsets[sequence + 1])
  }

  /// Which label each row scores, and with which weight, after checking them: labels that count are in the vocabulary
  /// (or with `absentLabels` at least not negative), masks 0 or 1, weights finite. Adds up each sequence's tokens.
  func plan(
    _ plan: UnsafeMutablePointer<PlannedRow>, absentLabels: Bool = false
  ) throws(Fault) {
    let labelsName: FieldName = labels == nil ? "labels_i32" : "labels"
    if rows == 0 { return }
    for row in 0..<rows { plan[row] = PlannedRow() }
    for sequence in 0..<sequences {
      let rows = rows(of: sequence)
      var fullWeight = ldLengths.map { $0[sequence] } ?? .max
      for position in rows.dropFirst(shift) {
        if let mask {
          try require(mask[position] <= 1, SWIFTDPO_ERROR_FLAG, "mask", at: position)
          if mask[position] == 0 { continue }
        }
        let label = labels.map { $0[position] } ?? Int64(labels32![position])
        if label == ignoreIndex { continue }
        let known = label >= 0 && (absentLabels || label < Int64(vocabulary))
        try require(known, SWIFTDPO_ERROR_LABEL, labelsName, at: position)
        var weight = weights.map { $0[position] } ?? 1
        try require(weight.isFinite, SWIFTDPO_ERROR_NONFINITE, "token_weights", at: position)
        if fullWeight > 0 { fullWeight -= 1 } else { weight *= ldAlpha }
        plan[position - shift] = PlannedRow(label: Int(label), weight: weight)
      }
    }
  }

  func row(_ index: Int) -> UnsafeRawPointer { logits + index * stride * form.type.stride }

  /// The column of a token id, or -1 where it lies in another shard.
  func column(_ label: Int) -> Int {
    let column = label - vocabularyStart
    return column >= 0 && column < vocabulary ? column : -1
  }

  /// The flat index of the first logit of a row that is NaN or +inf; for a row that is -inf throughout, of its start.
  func firstBadLogit(_ row: Int) -> Int {
    for column in 0..<vocabulary {
      let logit = form.type.load(self.row(row), column)
      if logit.isNaN || logit == .infinity { return row * stride + column }
    }
    return row * stride
  }
}

/// What a row of logits has to do.
struct PlannedRow {
  /// The token id that it scores, or -1 if none counts.
  var label = -1
  var weight = 0.0
}

/// Temporary memory for `count` values, freed by its owner.
struct Scratch<Value> {
  let values: UnsafeMutablePointer<Value>
  private let memory: UnsafeMutableRawPointer

  init(_ count: Int, _ name: FieldName) throws(Fault) {
    let (bytes, overflow) = count.multipliedReportingOverflow(by: MemoryLayout<Value>.stride)
    guard !overflow, let memory = malloc(max(bytes, 1)) else { throw Fault(SWIFTDPO_ERROR_OUT_OF_MEMORY, name) }
    self.memory = memory
    values = memory.assumingMemoryBound(to: Value.self)
  }

  func free() { CPlatform.free(memory) }
}

extension LogitsBatch {
  /// Rows for one task: about a quarter of a megabyte of logits.
  var grain: Int { max(1, (1 << 18) / form.type.stride / max(1, vocabulary)) }
}
