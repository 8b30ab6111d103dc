import CPlatform
import Elementary
import Preference

/// The gradient of one row, one reading and one writing of it, in place or not.
func rowGradient(_ form: LogitsForm, _ row: GradientRow) {
  // The label's own entry keeps full accuracy: 1 - p in double precision. It is read before it is overwritten.
  let labelEntry = row.label < 0 ? 0 : labelGradient(form, row)
  if form.type == .f64 {
    rowGradientDouble(form, row)
  } else if form.softcap > 0 {
    rowGradientCapped(form, row)
  } else {
    rowGradientPlain(form, row)
  }
  if row.label >= 0 { form.type.store(labelEntry, row.gradient, row.label) }
}

@inline(never)
private func labelGradient(_ form: LogitsForm, _ row: GradientRow) -> Double {
  let logit = logit(form, row.logits, row.label)
  let p = exp(F64x8(repeating: logit - row.logSumExp))[0]
  return row.weight * (1 - p) * slope(form, logit)
}

/// dl/dx = scale (1 - tanh(x/c)^2), with tanh(x/c) = l / (scale c).
@inline(__always) private func slope(_ form: LogitsForm, _ logit: Double) -> Double {
  if form.softcap == 0 { return form.scale }
  let tanh = logit / (form.scale * form.softcap)
  return form.scale * (1 - tanh * tanh)
}

/// exp(l - LSE) = exp(l - base) e^(base - LSE), with the base a single-precision number near LSE.
private struct SoftmaxFactors {
  var base: Float
  /// -weight e^(base - LSE)
  var factor: Double

  init(_ row: GradientRow) {
    base = Float(row.logSumExp)
    factor = -row.weight * exp(F64x8(repeating: Double(base) - row.logSumExp))[0]
  }
}

/// One body for each type where speed counts, and one for all where it does not.
@inline(__always)
private func rowGradientPlain(_ form: LogitsForm, _ row: GradientRow) {
  #if KERNELS_BASELINE
    rowGradientPlain(form.type, form.scale, row)
  #else
    switch form.type {
    case .bf16: rowGradientPlain(.bf16, form.scale, row)
    case .f16: rowGradientPlain(.f16, form.scale, row)
    default: rowGradientPlain(.f32, form.scale, row)
    }
  #endif
}

@inline(__always)
private func rowGradientPlain(_ type: ElementType, _ scale: Double, _ row: GradientRow) {
  let factors = SoftmaxFactors(row)
  let scales = F32x16(repeating: Float(scale))
  let shift = F32x16(repeating: -factors.base)
  let factor = F32x16(repeating: Float(factors.factor * scale))
  @inline(__always) func gradient(_ logits: F32x16) -> F32x16 {
    expNonPositive(logits.fma(scales, shift)) * factor
  }
  var index = 0
  while index + 64 <= row.count {
    let ahead = row.logits + type.stride * (index + 512)
    platform_prefetch(ahead)
    platform_prefetch(ahead + 64)
    if type == .f32 {
      platform_prefetch(ahead + 128)
      platform_prefetch(ahead + 192)
    }
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
  while index < row.count {
    let left = row.count - index
    if left >= 16 {
      type.store16(gradient(type.load16(row.logits, index)), row.gradient, index)
    } else {
      var logits = F32x16(repeating: -.infinity)
      for lane in 0..<left { logits[lane] = Float(type.load(row.logits, index + lane)) }
      let gradients = gradient(logits)
      for lane in 0..<left { type.store(Double(gradients[lane]), row.gradient, index + lane) }
    }
    index &+= 16
  }
}

@inline(never)
private func rowGradientCapped(_ form: LogitsForm, _ row: GradientRow) {
  var buffer = BlockBuffer(repeating: 0)
  withUnsafeMutablePointer(to: &buffer) { pointer in
    let buffer = UnsafeMutableRawPointer(pointer).assumingMemoryBound(to: Float.self)
    let factors = SoftmaxFactors(row)
    let scale = F32x16(repeating: Float(form.scale))
    let shift = F32x16(repeating: -factors.base)
    let factor = F32x16(repeating: Float(factors.factor * form.scale))
    var start = 0
    while start < row.count {
      let length = row.count - start < blockLength ? row.count - start : blockLength
      let block = LogitsBlock(form, row.logits, start, length, buffer)
      var index = 0
      while index < length {
        let capped = vector(block, index)
        let p = expNonPositive(capped.fma(scale, shift)) * factor
        let tanh = capped / Float(form.softcap)
        // A masked entry has p = 0, whatever its tanh.
        let gradients = (p * (1 - tanh * tanh)).replacing(with: 0, where: p .== 0)
        let left = length - index < 16 ? length - index : 16
        if left == 16 {
          form.type.store16(gradients, row.gradient, start + index)
        } else {
          for lane in 0..<left { form.type.store(Double(gradients[lane]), row.gradient, start + index + lane) }
        }
        index &+= 16
      }
      start += length
    }
  }
}

@inline(never)
private func rowGradientDouble(_ form: LogitsForm, _ row: GradientRow) {
  var index = 0
  while index < row.count {
    let left = row.count - index < 8 ? row.count - index : 8
    let logits = logits8(form, row.logits, index, left)
    let p = exp(logits - row.logSumExp)
    var slope = F64x8(repeating: form.scale)
    if form.softcap > 0 {
      let tanh = logits / (form.scale * form.softcap)
      slope = F64x8(repeating: 0).selected(p .== 0, else: slope * (1 - tanh * tanh))
    }
    ElementType.f64.store(-row.weight * p * slope, row.gradient, index, count: left)
    index &+= 8
  }
}

/// One logit in its final form, as the statistics and the gradient see it.
@inline(never)
func logit(_ form: LogitsForm, _ row: UnsafeRawPointer, _ index: Int) -> Double {
  let value = form.type.load(row, index)
  if form.type == .f64 { return logits8(form, row + 8 * index, 0, 1)[0] }
  // Scale and capped logit are single-precision numbers in the kernels.
  let scale = Double(Float(form.scale))
  if form.softcap == 0 || value == -.infinity { return value * scale }
  return Double(Float((tanh(F64x8(repeating: value / form.softcap)) * form.softcap)[0])) * scale
}

func rowStatistics(_ form: LogitsForm, _ row: UnsafeRawPointer, _ count: Int, _ all: Bool) -> RowStatistics {
  form.type == .f64 ? rowStatisticsDouble(form, row, count, all) : rowStatisticsSingle(form, row, count, all)
}
