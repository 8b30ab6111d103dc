import CSwiftDPO
import Elementary
import Preference

// The rules that options and parameters obey, each in one place. Some are asked twice: by a check that names what is
// wrong, and by the short way (FewPairs.swift), which has no time for names.

/// Above 0 and finite, as one comparison: numbers with a sign, and NaN, come last in the order of bit patterns.
@inline(__always) func isPositive(_ value: Double) -> Bool {
  value.bitPattern &- 1 < Double.infinity.bitPattern - 1
}

func checkBeta(_ beta: Double, _ name: FieldName, at index: Int = 0) throws(Fault) {
  try require(isPositive(beta), SWIFTDPO_ERROR_BETA, name, at: index)
}

@inline(__always) func isLabelSmoothing(_ value: Double) -> Bool { value >= 0 && value < 0.5 }

func checkLabelSmoothing(_ value: Double) throws(Fault) {
  try require(isLabelSmoothing(value), SWIFTDPO_ERROR_LABEL_SMOOTHING, "label_smoothing")
}

extension swiftdpo_reduction {
  /// They are numbered from 0 on.
  @inline(__always) var isKnown: Bool { rawValue <= SWIFTDPO_REDUCTION_NONE.rawValue }

  /// 1 / count for the mean, 1 for the sum and for no reduction.
  @inline(__always) func scale(_ count: Int) -> Double {
    self == SWIFTDPO_REDUCTION_MEAN ? 1 / Double(max(count, 1)) : 1
  }
}

/// What results are multiplied by.
func checkReduction(_ reduction: swiftdpo_reduction, count: Int) throws(Fault) -> Double {
  try require(reduction.isKnown, SWIFTDPO_ERROR_REDUCTION, "reduction")
  return reduction.scale(count)
}

extension swiftdpo_nonfinite {
  @inline(__always) var isKnown: Bool { rawValue <= SWIFTDPO_NONFINITE_ERROR_LATE.rawValue }
}

/// Whether NaN and infinities are to be refused.
func checkNonfinitePolicy(_ policy: swiftdpo_nonfinite) throws(Fault) -> Bool {
  try require(policy.isKnown, SWIFTDPO_ERROR_NONFINITE_POLICY, "nonfinite")
  return policy != SWIFTDPO_NONFINITE_PROPAGATE
}

func checkFlag(_ flag: Int32, _ name: FieldName) throws(Fault) -> Bool {
  try require(flag == 0 || flag == 1, SWIFTDPO_ERROR_FLAG, name)
  return flag == 1
}

/// Where numbers may lie.
struct Interval {
  var low: Double
  var high: Double
  /// Without its ends.
  var isOpen = false

  static var positive: Interval { Interval(low: 0, high: .infinity, isOpen: true) }
  static var finite: Interval { Interval(low: -.greatestFiniteMagnitude, high: .greatestFiniteMagnitude) }
  static var nonnegative: Interval { Interval(low: 0, high: .greatestFiniteMagnitude) }
  static var probability: Interval { Interval(low: 0, high: 1) }
  static var undecidedProbability: Interval { Interval(low: 0, high: 1, isOpen: true) }
  /// Rounding of up to 0.01 is let through.
  static var logProbability: Interval { Interval(low: -.infinity, high: 0.01) }

  /// False for NaN.
  @inline(__always) private func contains(_ x: Double) -> Bool {
    isOpen ? x > low && x < high : x >= low && x <= high
  }

  /// The first element from `start` on that lies outside, or `count`.
  @_optimize(speed) @inline(never)
  func firstOutside(_ array: UnsafeRawPointer, _ type: ElementType, _ start: Int, _ count: Int) -> Int {
    var index = start
    switch type {
    case .f32:
      let elements = array.assumingMemoryBound(to: Float.self)
      while index < count && contains(Double(elements[index])) { index &+= 1 }
    case .f64:
      let elements = array.assumingMemoryBound(to: Double.self)
      while index < count && contains(elements[index]) { index &+= 1 }
    case .bf16, .f16:
      while index < count && contains(type.loadHalf(array, index)) { index &+= 1 }
    }
    return index
  }
}

/// All elements lie in an interval.
func checkAll(
  _ array: UnsafeRawPointer?, _ type: ElementType, _ count: Int, in interval: Interval, _ status: swiftdpo_status,
  _ name: FieldName
) throws(Fault) {
  guard let array else { return }
  let index = interval.firstOutside(array, type, 0, count)
  try require(index >= count, status, name, at: index)
}

func checkBetas(_ array: UnsafeRawPointer?, _ type: ElementType, _ count: Int) throws(Fault) {
  try checkAll(array, type, count, in: .positive, SWIFTDPO_ERROR_BETA, "betas")
}

func checkWeights(_ array: UnsafeRawPointer?, _ type: ElementType, _ count: Int) throws(Fault) {
  try checkAll(array, type, count, in: .nonnegative, SWIFTDPO_ERROR_WEIGHT, "weights")
}

@inline(never)
func checkFinite(
  _ array: UnsafeRawPointer?, _ type: ElementType, _ count: Int, _ name: FieldName
) throws(Fault) {
  guard let array else { return }
  // A few elements are sooner looked at than handed over.
  if count < 16 { return try checkAll(array, type, count, in: .finite, SWIFTDPO_ERROR_NONFINITE, name) }
  let index = kernels.firstNonfinite(type, array, count)
  try require(index < 0, SWIFTDPO_ERROR_NONFINITE, name, at: index)
}

/// All elements of a mask are 0 or 1.
@_optimize(speed)
func checkFlags(_ flags: UnsafePointer<UInt8>?, _ count: Int, _ name: FieldName) throws(Fault) {
  guard let flags else { return }
  for index in 0..<count { try require(flags[index] <= 1, SWIFTDPO_ERROR_FLAG, name, at: index) }
}
