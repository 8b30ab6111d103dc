import Elementary

// Divergences between two distributions over the same listed outcomes, one outcome at a time. Log-probabilities come in,
// so that no outcome is too unlikely to be told from an impossible one; l = log p - log q.

/// One outcome's share of a divergence, and the derivatives by its two log-probabilities, each on its own.
public struct DivergenceTerm {
  public var value: F64x8
  public var slopeP: F64x8
  public var slopeQ: F64x8

  @_transparent public init(value: F64x8, slopeP: F64x8, slopeQ: F64x8) {
    self.value = value
    self.slopeP = slopeP
    self.slopeQ = slopeQ
  }
}

/// The log-probabilities of one outcome, what divergences are functions of.
public struct Outcome {
  public let logP: F64x8
  public let logQ: F64x8
  public let p: F64x8
  public let q: F64x8
  /// log p - log q, to 106 bits; 0 where both are impossible.
  public let logRatio: DoubleDouble

  @_transparent public init(logP: F64x8, logQ: F64x8) {
    self.logP = logP
    self.logQ = logQ
    p = exp(logP)
    q = exp(logQ)
    let zero = DoubleDouble(F64x8(repeating: 0))
    logRatio = zero.selected((logP .== logQ), else: DoubleDouble.difference(logP, logQ))
  }

  /// p l of Kullback and Leibler (1951). By continuity 0 where p = 0; infinite where q = 0 and p is not, however small.
  @_transparent public var relativeEntropy: F64x8 {
    let impossible = logP .== -.infinity
    let infinity = F64x8(repeating: .infinity)
    let possible = infinity.selected(logRatio.high .== infinity, else: p * logRatio.high)
    return F64x8(repeating: 0).selected(impossible, else: possible)
  }

  /// KL(p || q): p l, with slopes p (l + 1) and -p.
  @_transparent public var klDivergence: DivergenceTerm {
    let value = relativeEntropy
    return DivergenceTerm(value: value, slopeP: value + p, slopeQ: -p)
  }

  /// p l - p + q, the same divergence for rows that need not sum to 1 (Csiszar 1975). Its slopes are p l and q - p.
  ///
  /// Between distributions it is KL(p || q), without the terms that then cancel: no share is negative, and each is as
  /// accurate as others however near p and q are. It is p times the estimator k3.
  @_transparent public var generalizedKLDivergence: DivergenceTerm {
    let l = logRatio.high
    let near = l.magnitude .<= 1
    // For p > q: p (e^-l - 1 + l). For p < q, where e^-l is large: q (1 - (1 - l) e^l).
    let excess = expExcessNear(-l.atLeast(-1).atMost(1))
    let above = p * ((l - 1) + exp(-logRatio.magnitude))
    let below = q * (1 - (1 - l) * exp(-logRatio.magnitude))
    let tails = above.selected(l .> 0, else: below)
    let finite = (p * excess).selected(near, else: tails)
    let slope = (p * (excess - l)).selected(near, else: q - p)
    return DivergenceTerm(
      value: shareOfSupport(finite, impossibleP: q), slopeP: relativeEntropy, slopeQ: slope)
  }

  /// Jensen-Shannon (Lin 1991): [p log(p/m) + q log(q/m)] / 2 with m = (p + q) / 2, and slopes p log(p/m) / 2 and
  /// q log(q/m) / 2.
  ///
  /// With s = (p - q) / (p + q) that is m / 2 [(1 + s) log(1 + s) + (1 - s) log(1 - s)], an even series in s.
  @_transparent public var jensenShannon: DivergenceTerm {
    let magnitude = logRatio.magnitude
    let u = magnitude.high
    let e = exp(-magnitude)
    let larger = p.selected(logRatio.high .>= 0, else: q)
    let smaller = q.selected(logRatio.high .>= 0, else: p)
    let near = u .<= 1

    // s = (1 - e) / (1 + e), where 1 - e = u - (e^-u - 1 + u) does not cancel.
    let capped = u.atMost(1)
    let s = ((capped - expExcessNear(-capped)) / (1 + e)).selected(near, else: (1 - e) / (1 + e))
    let rest = log1pOfUnit(e)
    // log(1 + s) = ln 2 - log1p(e) and log(1 - s) = ln 2 - u - log1p(e).
    let logLarger = log1pReduced(s, exponent: F64x8(repeating: 0)).selected(s .<= 0x1.8p-2, else: ln2 - rest)
    let logSmaller = log1pReduced(-s, exponent: F64x8(repeating: 0)).selected(s .<= 0x1p-2, else: (ln2 - rest) - u)
    let zero = F64x8(repeating: 0)
    let slopeLarger = 0.5 * larger * logLarger
    let slopeSmaller = zero.selected(smaller .== 0, else: 0.5 * smaller * logSmaller)

    let series = 0.5 * (0.5 * (larger + smaller)) * (s * s) * jensenShannonTail(s * s)
    let value = series.selected(near, else: slopeLarger + slopeSmaller)
    let ordered = logRatio.high .>= 0
    return DivergenceTerm(
      value: value, slopeP: slopeLarger.selected(ordered, else: slopeSmaller),
      slopeQ: slopeSmaller.selected(ordered, else: slopeLarger))
  }

  /// A share of the generalized divergence, where a probability may be 0: q for p = 0, infinite for q = 0 < p.
  @_transparent public func shareOfSupport(_ finite: F64x8, impossibleP: F64x8) -> F64x8 {
    let infinity = F64x8(repeating: .infinity)
    let share = infinity.selected(logRatio.high .== infinity, else: finite)
    return impossibleP.selected(logRatio.high .== -infinity, else: share)
  }
}

/// The series of (1 + s) log(1 + s) + (1 - s) log(1 - s) over s^2, in z = s^2, up to z = 1/4.
@_transparent public func jensenShannonTail(_ z: F64x8) -> F64x8 {
  var tail = F64x8(repeating: 0.014258698407740078)
  tail = tail.fma(z, -0.008746161553841945)
  tail = tail.fma(z, 0.0098312444532269)
  tail = tail.fma(z, 0.00230265559653706)
  tail = tail.fma(z, 0.0057059592832861186)
  tail = tail.fma(z, 0.0064690463867514685)
  tail = tail.fma(z, 0.008340387068473704)
  tail = tail.fma(z, 0.010988496000104826)
  tail = tail.fma(z, 0.015151540558545593)
  tail = tail.fma(z, 0.022222221412776112)
  tail = tail.fma(z, 0.03571428572969764)
  tail = tail.fma(z, 0.06666666666651379)
  tail = tail.fma(z, 0.16666666666666727)
  tail = tail.fma(z, 1)
  return tail
}
