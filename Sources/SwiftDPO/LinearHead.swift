import CPlatform
import CSwiftDPO
import Elementary
import Preference

/// The checked matrices of a head.
struct LinearHead {
  let type: ElementType
  let hidden: UnsafeRawPointer
  let weight: UnsafeRawPointer
  let bias: UnsafeRawPointer?
  /// Elements of a row of `hidden` and `weight`, and from one row of `hidden` to the next.
  let width: Int
  let stride: Int

  private let names: Names

  /// Which fields are to blame. The reference's have other names, for its struct is of the same type.
  private struct Names {
    let size: FieldName
    let stride: FieldName
    let hidden: FieldName
    let weight: FieldName
    let bias: FieldName

    static var policy: Names {
      Names(size: "hidden_size", stride: "hidden_stride", hidden: "hidden", weight: "weight", bias: "bias")
    }
    static var reference: Names {
      Names(
        size: "ref.hidden_size", stride: "ref.hidden_stride", hidden: "ref.hidden", weight: "ref.weight",
        bias: "ref.bias")
    }
  }

  /// - Parameter readsMatrices: false for calls to which the head only lends its shape.
  init(
    _ head: swiftdpo_linear_head_f32, _ type: ElementType, _ batch: LogitsBatch, isReference: Bool = false,
    _ ledger: inout Ledger, readsMatrices: Bool = true
  ) throws(Fault) {
    let names = isReference ? Names.reference : Names.policy
    self.names = names
    self.type = type
    width = try product(head.hidden_size, 1, names.size)
    // Sizes in 32 bits are what a BLAS has to have.
    try require(width <= Int(Int32.max), SWIFTDPO_ERROR_SIZE_OVERFLOW, names.size)
    try require(batch.vocabulary <= Int(Int32.max), SWIFTDPO_ERROR_SIZE_OVERFLOW, "vocab_size")
    try require(width > 0 || batch.rows == 0, SWIFTDPO_ERROR_COUNT, names.size)
    stride = head.hidden_stride == 0 ? width : try product(head.hidden_stride, 1, names.stride)
    try require(stride >= width, SWIFTDPO_ERROR_STRIDE, names.stride)
    let extent = batch.rows == 0 ? 0 : try product(batch.rows, stride, names.stride) - (stride - width)
    let entries = try product(batch.vocabulary, width, names.size)
    hidden = try ledger.input(UnsafeRawPointer(head.hidden), type, readsMatrices ? extent : 0, names.hidden)
    weight = try ledger.input(UnsafeRawPointer(head.weight), type, readsMatrices ? entries : 0, names.weight)
    bias = try ledger.optionalInput(
      UnsafeRawPointer(head.bias), type, readsMatrices ? batch.vocabulary : 0, names.bias)
  }

  func row(_ index: Int) -> UnsafeRawPointer { hidden + index * stride * type.stride }

  /// Refuses NaN and infinities, but for entries of the vocabulary that the bias masks.
  ///
  /// - Returns: whether no logit can overflow, so that finite matrices are all there is to check.
  func checkFinite(_ batch: LogitsBatch, _ rows: UnsafeBufferPointer<Int>) throws(Fault) -> Bool {
    var inWeight = 0.0
    try checkFinite(weight, batch.vocabulary * width, names.weight, at: 0, &inWeight)
    var inHidden = 0.0
    for index in rows { try checkFinite(row(index), width, names.hidden, at: index * stride, &inHidden) }
    var inBias = 0.0
    if let bias {
      for entry in 0..<batch.vocabulary {
        let value = type.load(bias, entry)
        try require(value < .infinity, SWIFTDPO_ERROR_NONFINITE, names.bias, at: entry)
        if value > -.infinity && abs(value) > inBias { inBias = abs(value) }
      }
    }
    return inWeight * inHidden * Double(width) + inBias < 0x1p126
  }

  private func checkFinite(
    _ array: UnsafeRawPointer, _ count: Int, _ name: FieldName, at start: Int, _ largest: inout Double
  ) throws(Fault) {
    let magnitude = largestMagnitude(type, array, count)
    if !magnitude.isFinite {
      throw Fault(SWIFTDPO_ERROR_NONFINITE, name, at: start + kernels.firstNonfinite(type, array, count))
    }
    if magnitude > largest { largest = magnitude }
  }

  /// Where the logits of a row come to nothing: its hidden state is the nearest to blame.
  func overflow(_ row: Int) -> Fault { Fault(SWIFTDPO_ERROR_NONFINITE, names.hidden, at: row * stride) }
}

/// The largest magnitude of an array; infinity if there is a NaN. Without its sign, a number's bits rise with it.
private func largestMagnitude(_ type: ElementType, _ array: UnsafeRawPointer, _ count: Int) -> Double {
  let grain = 1 << 18
  let tasks = (count + grain - 1) / grain
  // Tasks beyond 64 take the ranges of those before.
  var maxima = InlineArray<64, Double>(repeating: 0)
  withUnsafeMutablePointer(to: &maxima) { maxima in
    let maxima = UnsafeMutableRawPointer(maxima).assumingMemoryBound(to: Double.self)
    parallel(tasks < 64 ? tasks : 64) { task in
      var range = task
      var largest = 0.0
      while range < tasks {
        let start = range * grain
        let found = largestMagnitudeInRange(
          type, array + start * type.stride, count - start < grain ? count - start : grain)
        if found > largest { largest = found }
        range += 64
      }
      maxima[task] = largest
    }
  }
  var largest = 0.0
  for task in 0..<64 where maxima[task] > largest { largest = maxima[task] }
  return largest
}

@_optimize(speed)
private func largestMagnitudeInRange(_ type: ElementType, _ array: UnsafeRawPointer, _ count: Int) -> Double {
  if type == .f32 {
    var top = SIMD16<Int32>(repeating: 0)
    var index = 0
    while index + 16 <= count {
      let bits = (array + 4 * index).loadUnaligned(as: SIMD16<Int32>.self) & 0x7fff_ffff
      top.replace(with: bits, where: bits .> top)
      index += 16
    }
    var largest: Int32 = 0
    for lane in 0..<16 where top[lane] > largest { largest = top[lane] }
    while index < count {
      let bits = (array + 4 * index).load(as: Int32.self) & 0x7fff_ffff
      if bits > largest { largest = bits }
      index += 1
    }
    let value = Float(bitPattern: UInt32(bitPattern: largest))
    return value.isFinite ? Double(value) : .infinity
  }
  var top = SIMD16<Int16>(repeating: 0)
  var index = 0
  while index + 16 <= count {
    let bits = (array + 2 * index).loadUnaligned(as: SIMD16<Int16>.self) & 0x7fff
    top.replace(with: bits, where: bits .> top)
    index += 16
  }
  var largest: Int16 = 0
  for lane in 0..<16 where top[lane] > largest { largest = top[lane] }
  while index < count {
    let bits = (array + 2 * index).load(as: Int16.self) & 0x7fff
    if bits > largest { largest = bits }
    index += 1
  }
  let value = withUnsafePointer(to: largest) { type.load(UnsafeRawPointer($0), 0) }
  return value.isFinite ? value : .infinity
}

extension LogitsBatch {
  /// The rows of a head and their labels. Logits themselves are made in single precision.
  init(
    _ head: swiftdpo_linear_head_f32, _ options: UnsafePointer<swiftdpo_logps_options>?, _ ledger: inout Ledger
  ) throws(Fault) {
    var shape: swiftdpo_logits_f64 = initial()
    shape.num_sequences = head.num_sequences
    shape.sequence_length = head.sequence_length
    shape.vocab_size = head.vocab_size
    shape.labels = head.labels
    shape.labels_i32 = head.labels_i32
    shape.offsets = head.offsets
    shape.mask = head.mask
    shape.token_weights = head.token_weights
    shape.ld_lengths = head.ld_lengths
    shape.vocab_start = head.vocab_start
    self = try withUnsafePointer(to: shape) { (shape) throws(Fault) -> LogitsBatch in
      try LogitsBatch(.f32, shape, options, &ledger, readsLogits: false)
    }
  }
}
