import CSwiftDPO

/// A batch of logits [sequences, length, vocabulary] and the labels that they score, as Swift arrays.
struct Logits {
  var logits: [Float]
  var labels: [Int64]
  var sequences: Int
  var vocabulary: Int
  var stride = 0
  var options: swiftdpo_logps_options

  init(logits: [Float], labels: [Int64], sequences: Int, vocabulary: Int) {
    self.logits = logits
    self.labels = labels
    self.sequences = sequences
    self.vocabulary = vocabulary
    options = swiftdpo_logps_options()
    swiftdpo_logps_options_init(&options)
  }

  /// What the library says about the batch.
  struct Logps {
    var logps: [Double]
    var numTokens: [Int64]
    var tokenLogps: [Double]
    var logNormalizers: [Double]
  }

  var length: Int { sequences == 0 ? 0 : labels.count / sequences }

  func logps() throws(Refusal) -> Logps {
    var logps = [Double](repeating: .nan, count: sequences)
    var numTokens = [Int64](repeating: -1, count: sequences)
    var tokenLogps = [Double](repeating: .nan, count: sequences * length)
    var logNormalizers = tokenLogps
    try withInput { (input, options) throws(Refusal) in
      func call(
        _ logps: UnsafeMutablePointer<Double>, _ numTokens: UnsafeMutablePointer<Int64>,
        _ tokenLogps: UnsafeMutablePointer<Double>, _ logNormalizers: UnsafeMutablePointer<Double>
      ) throws(Refusal) {
        var results = swiftdpo_logps_results()
        swiftdpo_logps_results_init(&results)
        results.logps = logps
        results.num_tokens = numTokens
        results.token_logps = tokenLogps
        results.log_normalizers = logNormalizers
        try check { culprit in swiftdpo_sequence_logps_f32(input, options, &results, culprit) }
      }
      try call(&logps, &numTokens, &tokenLogps, &logNormalizers)
    }
    return Logps(logps: logps, numTokens: numTokens, tokenLogps: tokenLogps, logNormalizers: logNormalizers)
  }

  func gradient(_ gradLogps: [Double], logNormalizers: [Double]? = nil) throws(Refusal) -> [Float] {
    var gradient = [Float](repeating: .nan, count: logits.count)
    try withInput { (input, options) throws(Refusal) in
      try check { culprit in
        guard let logNormalizers else {
          return swiftdpo_sequence_logps_backward_f32(input, options, gradLogps, nil, &gradient, culprit)
        }
        return swiftdpo_sequence_logps_backward_f32(input, options, gradLogps, logNormalizers, &gradient, culprit)
      }
    }
    return gradient
  }

  private func withInput(
    _ body: (UnsafePointer<swiftdpo_logits_f32>, UnsafePointer<swiftdpo_logps_options>) throws(Refusal) -> Void
  ) throws(Refusal) {
    try logits.withUnsafeBufferPointer { (logits) throws(Refusal) in
      try labels.withUnsafeBufferPointer { (labels) throws(Refusal) in
        var input = swiftdpo_logits_f32()
        swiftdpo_logits_f32_init(&input)
        input.num_sequences = sequences
        input.sequence_length = length
        input.vocab_size = vocabulary
        input.row_stride = stride
        input.logits = logits.baseAddress
        input.labels = labels.baseAddress
        var options = options
        try body(&input, &options)
      }
    }
  }
}
