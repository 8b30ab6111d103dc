import CPlatform
import Elementary
import Preference

// Logits as the arithmetic wants them: sixteen in single precision, or eight in double.

extension ElementType {
  /// Sixteen logits; where fewer are left, -inf in the other lanes.
  @inline(__always) func logits16(_ row: UnsafeRawPointer, _ index: Int, _ left: Int) -> F32x16 {
    left >= 16 ? load16(row, index) : partOf16(row, index, left)
  }

  @inline(never) private func partOf16(_ row: UnsafeRawPointer, _ index: Int, _ left: Int) -> F32x16 {
    var lanes = F32x16(repeating: -.infinity)
    for lane in 0..<left { lanes[lane] = Float(load(row, index + lane)) }
    return lanes
  }

  @inline(__always)
  func storeGradients16(_ values: F32x16, _ row: UnsafeMutableRawPointer, _ index: Int, _ left: Int) {
    if left >= 16 { store16(values, row, index) } else { storePartOf16(values, row, index, left) }
  }

  @inline(never)
  private func storePartOf16(_ values: F32x16, _ row: UnsafeMutableRawPointer, _ index: Int, _ left: Int) {
    for lane in 0..<left { store(Double(values[lane]), row, index + lane) }
  }
}

/// Eight logits l = scale * softcap(x) in double precision, whatever their type; lanes beyond `left` hold -inf.
@inline(never)
func logits8(_ form: LogitsForm, _ row: UnsafeRawPointer, _ index: Int, _ left: Int) -> F64x8 {
  var values = F64x8(repeating: -.infinity)
  if left >= 8 && (form.type == .f32 || form.type == .f64) {
    values = form.type.load8(row, index)
  } else {
    for lane in 0..<(left < 8 ? left : 8) { values[lane] = form.type.load(row, index + lane) }
  }
  if form.softcap == 0 { return values * form.scale }
  let capped = tanh(values / form.softcap) * (form.softcap * form.scale)
  // Masked entries stay masked, and no cap hides +inf.
  return values.selected(isInfinite(values), else: capped)
}

/// One logit l as the arithmetic in double precision sees it.
func logit(_ form: LogitsForm, _ row: UnsafeRawPointer, _ index: Int) -> Double {
  logits8(form, row + form.type.stride * index, 0, 1)[0]
}

/// dl/dx = scale (1 - tanh(x/c)^2), with tanh(x/c) = l / (scale c).
@inline(__always) func slope(_ form: LogitsForm, _ logits: F64x8) -> F64x8 {
  if form.softcap == 0 { return F64x8(repeating: form.scale) }
  let tanh = logits / (form.scale * form.softcap)
  return F64x8(repeating: 0).selected(isInfinite(logits), else: form.scale * (1 - tanh * tanh))
}

@inline(__always) private func isInfinite(_ values: F64x8) -> SIMDMask<F64x8.MaskStorage> {
  (values .== .infinity) .| (values .== -.infinity)
}

extension SIMD16 where Scalar == Float {
  /// The largest lane; NaN lanes don't count, and NaN only if all are.
  @inline(__always) var largest: Float {
    let eight = lowHalf.replacing(with: highHalf, where: highHalf .> lowHalf)
    let four = eight.lowHalf.replacing(with: eight.highHalf, where: eight.highHalf .> eight.lowHalf)
    let two = four.lowHalf.replacing(with: four.highHalf, where: four.highHalf .> four.lowHalf)
    return two[1] > two[0] ? two[1] : two[0]
  }

  /// The larger of each two lanes; a NaN lane of `values` does not count.
  @inline(__always) func raised(to values: Self) -> Self { replacing(with: values, where: values .> self) }
}

extension SIMD8 where Scalar == Double {
  /// The sum of the lanes, in pairs.
  @inline(__always) var laneSum: Double {
    let four = lowHalf + highHalf
    let two = four.lowHalf + four.highHalf
    return two[0] + two[1]
  }
}
