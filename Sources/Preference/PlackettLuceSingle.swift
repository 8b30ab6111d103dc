import CPlatform
import Elementary

// Plackett-Luce for results in single precision, in plain double: the passes of PlackettLuce.swift for groups whose
// scores lie within some 600 nats, in which no digit that a float holds is lost.

/// Two stages, the lower one first.
public struct SingleStages {
  /// 1 / S and w; 0 for stages that were not observed.
  public var inverses: (F64x8, F64x8)
  public var another: (F64x8, F64x8)
  /// S; 1 for stages that were not observed.
  public var sums: (F64x8, F64x8)

  @_transparent public init(below: F64x8, inverses: (F64x8, F64x8), middle: F64x8, sums: (F64x8, F64x8)) {
    self.inverses = inverses
    another = (below * inverses.0, middle * inverses.1)
    self.sums = sums
  }
}

/// The backward pass.
public struct SingleSuffix {
  public var sum: F64x8
  /// The sum of 1 / S_k over observed stages.
  public var inverses = F64x8(repeating: 0)
  public var loss = SingleLoss()

  @_transparent public init(sum: F64x8) { self.sum = sum }

  /// Puts two items on top of those below them: one division for both.
  @_transparent public mutating func prepend(_ first: F64x8, _ second: F64x8) -> SingleStages {
    let below = sum
    let middle = below + first
    sum = middle + second
    let quotient = 1 / (middle * sum)
    let inverse = (quotient * sum, quotient * middle)
    inverses = inverses + (inverse.0 + inverse.1)
    return SingleStages(below: below, inverses: inverse, middle: middle, sums: (middle, sum))
  }

  /// The same where some lanes' stages were not observed: their weight is 0, else 1.
  @_transparent public mutating func prepend(
    _ first: F64x8, _ second: F64x8, observed: (F64x8, F64x8)
  ) -> SingleStages {
    let one = F64x8(repeating: 1)
    let below = sum
    let middle = below + first
    sum = middle + second
    let quotient = 1 / (middle * sum)
    let inverse = (quotient * sum * observed.0, quotient * middle * observed.1)
    inverses = inverses + (inverse.0 + inverse.1)
    return SingleStages(
      below: below, inverses: inverse, middle: middle,
      sums: (middle.selected(observed.0 .> 0, else: one), sum.selected(observed.1 .> 0, else: one)))
  }

  /// The sum of -log p over the `steps` stages since the last call, `distances` the sum of the observed items' scores
  /// above the reference.
  @_transparent public mutating func takeLoss(steps: Int, distances: F64x8) -> F64x8 {
    let total = loss.total(steps: steps, distances: distances)
    loss = SingleLoss()
    return total
  }
}

/// The sum of -log p_k over some stages, from two logarithms at most. Where all p_k are near 1 that of their product,
/// held as what it lacks to 1; elsewhere that of the product of all S_k, held as a significand and an exponent.
public struct SingleLoss {
  public var lack = F64x8(repeating: 0)
  public var significand = F64x8(repeating: 1)
  public var exponent = SIMD8<UInt64>(repeating: 0)

  /// No more stages than that: their significands' product stays below 2^256.
  @_transparent public static var mostSteps: Int { 256 }

  @_transparent public init() {}

  @_transparent public mutating func add(_ stages: SingleStages) {
    add(stages.sums.0, stages.another.0)
    add(stages.sums.1, stages.another.1)
  }

  @_transparent public mutating func add(_ sum: F64x8, _ another: F64x8) {
    if platform_has_fma() { addInlined(sum, another) } else { addShared(sum, another) }
  }

  @inline(never) public mutating func addShared(_ sum: F64x8, _ another: F64x8) { addInlined(sum, another) }

  @_transparent public mutating func addInlined(_ sum: F64x8, _ another: F64x8) {
    lack = another.fma(1 - lack, lack)
    let bits = unsafeBitCast(sum, to: SIMD8<UInt64>.self)
    exponent = exponent &+ (bits &>> 52)
    significand = significand * unsafeBitCast((bits & 0x000f_ffff_ffff_ffff) | 0x3ff0_0000_0000_0000, to: F64x8.self)
  }

  @_transparent public func total(steps: Int, distances: F64x8) -> F64x8 {
    let power = unsafeBitCast(exponent | 0x4330_0000_0000_0000, to: F64x8.self) - (0x1p52 + 1023 * Double(steps))
    let far = power.fma(F64x8(repeating: 0x1.62e42fefa39efp-1), log(significand)) - distances
    let near = lack .< 0.25
    let small = F64x8(repeating: 0).selected(.!near, else: lack)
    return (-log1pReduced(-small, exponent: F64x8(repeating: 0))).selected(near, else: far)
  }
}

/// d loss / d s of an item, where `asked` is A_i and `another` is 0 for stages that were not observed.
@_transparent public func singleSlope(exponential: F64x8, asked: F64x8, another: F64x8) -> F64x8 {
  exponential.fma(asked, -another)
}
