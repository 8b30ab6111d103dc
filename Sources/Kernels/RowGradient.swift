import CPlatform
import Elementary
import Preference

/// The gradient of one row, one reading and one writing of it, in place or not.
func rowGradient(_ form: LogitsForm, _ row: GradientRow) {
  // The label's own entry keeps full accuracy: 1 - p in double precision. It is read before it is overwritten.
  let labelEntry = row.label < 0 ? 0 : gradientOfLabel(form, row)
  if form.type != .f64 && form.softcap == 0, let softmax = SoftmaxInSingle(form, row) {
    #if KERNELS_COMPACT
      gradientInSingle(form.type, softmax, row)
    #else
      switch form.type {
      case .bf16: gradientInSingle(.bf16, softmax, row)
      case .f16: gradientInSingle(.f16, softmax, row)
      default: gradientInSingle(.f32, softmax, row)
      }
    #endif
  } else {
    gradientInDouble(form, row)
  }
  if row.label >= 0 { form.type.store(labelEntry, row.gradient, row.label) }
}

@inline(never)
private func gradientOfLabel(_ form: LogitsForm, _ row: GradientRow) -> Double {
  let logits = logits8(form, row.logits + form.type.stride * row.label, 0, 1)
  let p = exp(logits - row.logSumExp)
  return (row.weight * (1 - p) * slope(form, logits))[0]
}

/// e^(l - LSE) times the weight as 2^-n e^l times a factor near the weight.
private struct SoftmaxInSingle {
  var exponential: RowExponential
  /// -weight e^(n ln 2 - LSE) dl/dx
  var factor: F32x16

  /// nil if the log-sum-exp or the scale is too much for single precision.
  init?(_ form: LogitsForm, _ row: GradientRow) {
    let exponent = row.logSumExp * log2e
    guard exponent > -0x1p20 && exponent < 0x1p20 && RowExponential.takes(scale: form.scale) else { return nil }
    let n = Int32(exponent)
    exponential = RowExponential(scale: form.scale, exponent: n)
    let rest = exp(F64x8(repeating: Double(n) * ln2 - row.logSumExp))[0]
    factor = F32x16(repeating: Float(-row.weight * rest * form.scale))
  }
}

@inline(__always)
private func gradientInSingle(_ type: ElementType, _ softmax: SoftmaxInSingle, _ row: GradientRow) {
  @inline(__always) func gradient(_ logits: F32x16) -> F32x16 {
    softmax.exponential.exactValue(logits, type.resultPrecision) * softmax.factor
  }
  var index = 0
  #if !KERNELS_COMPACT
    while index + 64 <= row.count {
      let a = gradient(type.load16(row.logits, index))
      let b = gradient(type.load16(row.logits, index + 16))
      let c = gradient(type.load16(row.logits, index + 32))
      let d = gradient(type.load16(row.logits, index + 48))
      type.store16(a, row.gradient, index)
      type.store16(b, row.gradient, index + 16)
      type.store16(c, row.gradient, index + 32)
      type.store16(d, row.gradient, index + 48)
      index &+= 64
    }
  #endif
  while index < row.count {
    let left = row.count - index
    type.storeGradients16(gradient(type.logits16(row.logits, index, left)), row.gradient, index, left)
    index &+= 16
  }
}

/// The gradient in double precision, for any type and form.
@inline(never)
private func gradientInDouble(_ form: LogitsForm, _ row: GradientRow) {
  var index = 0
  while index < row.count {
    let left = row.count - index < 8 ? row.count - index : 8
    let logits = logits8(form, row.logits, index, left)
    let p = exp(logits - row.logSumExp)
    // A masked entry has p = 0, whatever its slope.
    let gradients = F64x8(repeating: 0).selected(p .== 0, else: -row.weight * p * slope(form, logits))
    if form.type == .f64 {
      ElementType.f64.store(gradients, row.gradient, index, count: left)
    } else {
      for lane in 0..<left { form.type.store(gradients[lane], row.gradient, index + lane) }
    }
    index &+= 8
  }
}
