// Items that a ranking ties. d of them, the set T, are chosen from the set A of all that are left, with worths
// e_i = exp(s_i), whose sum over A without T is R.
//
//     Breslow      - log of the product over T of e_i / (R + sum over T of e)                   (PlackettLuce.swift)
//     Efron        - log of the product over l < d of e_l / (R + (1 - l/d) sum over T of e)     (Efron 1977)
//     average      - log of the mean, over all d! orders of T, of the probability to choose them in that order
//     Davidson     - log of f(T) / sum of f(S) over the subsets S of A with at most D items,
//                  f(S) = delta_|S| (product over S of e_i)^(1/|S|), delta_1 = 1
//                  (Davidson 1970; Turner, van Etten, Firth and Kosmidis 2020)
//
// Everything is held relative to the largest score in A, so that nothing overflows. All is computed in numbers that carry
// their derivative along a direction: the slopes' are the product of the Hessian with it, in the time of the gradient.

/// How items that a ranking ties are chosen.
public enum Ties: UInt8 {
  case breslow
  case efron
  case average
  case davidson

  /// The most items that may be tied: `average` visits all subsets of a tie, `davidson` holds D (D + 1) / 2 numbers for
  /// each item.
  public static var mostAveraged: Int { 10 }
  public static var mostStrengths: Int { 8 }
}

/// One group whose ties are not Breslow's. Arrays have an element for each step, from the last place to the first.
public struct TiedRanking {
  private let kernels: UnsafePointer<KernelTable>
  private let plan: RankingPlan
  private let ties: Ties
  private let scores: UnsafeMutablePointer<Dual>
  /// d loss / d score.
  private let slopes: UnsafeMutablePointer<Dual>
  /// The largest score from the last place up to a step.
  private let largest: UnsafeMutablePointer<Double>
  /// What the stage of a tie that ends with a step asks of the worths behind it, relative to the largest of those.
  private let asks: UnsafeMutablePointer<Dual>
  /// Davidson: the polynomials of the items behind each step, relative to `largest`.
  private let polynomials: UnsafeMutablePointer<Dual>

  public init(
    _ ties: Ties, _ workspace: RankingWorkspace, _ kernels: UnsafePointer<KernelTable>
  ) {
    self.ties = ties
    self.kernels = kernels
    plan = workspace.plan
    let numbers = UnsafeMutableRawPointer(workspace.numbers).assumingMemoryBound(to: Dual.self)
    scores = numbers
    slopes = scores + workspace.capacity
    asks = slopes + workspace.capacity
    polynomials = asks + workspace.capacity
    largest = UnsafeMutableRawPointer(polynomials + 36 &* workspace.capacity).assumingMemoryBound(to: Double.self)
  }

  public func setScore(_ step: Int, _ score: Double, direction: Double) { scores[step] = Dual(score, direction) }
  public func slope(_ step: Int) -> Double { slopes[step].value }
  public func curvature(_ step: Int) -> Double { slopes[step].tangent }

  private func exp(_ x: Double) -> Double { kernels.pointee.exp(x) }
  private func log(_ x: Double) -> Double { kernels.pointee.log(x) }
  private func exp(_ x: Dual) -> Dual {
    let power = exp(x.value)
    return Dual(power, power * x.tangent)
  }
  private func log(_ x: Dual) -> Dual { Dual(log(x.value), x.tangent / x.value) }

  /// log(1 + x) for x >= 0: what rounding does to 1 + x, it does to the quotient, too (Kahan).
  private func log1p(_ x: Dual) -> Dual {
    let sum = 1 + x.value
    return Dual(sum == 1 ? x.value : log(sum) * (x.value / (sum - 1)), x.tangent / sum)
  }

  // MARK: Efron and average

  /// The loss of a group whose scores are in place, and its gradient.
  public func evaluate(steps: Int) -> Double {
    var loss = 0.0
    var maximum = -Double.infinity
    var sum = Dual(0)
    var behind = Dual(0)  // the sum without the tie at work
    var behindAlone = Dual(0)  // the same relative to the largest score behind it, so at least 1 if there is one
    var first = 0  // where that begins
    for step in 0..<steps {
      let score = scores[step]
      let sumBefore = sum
      if score.value > maximum {
        let factor = exp(maximum - score.value)
        sum *= factor
        behind *= factor
        maximum = score.value
      }
      largest[step] = maximum
      slopes[step] = Dual(0)
      asks[step] = Dual(0)
      let pick = plan.weight(plan.picks, step)
      if pick == 0 || plan.weight(plan.gaps, step) == 0 {
        behind = sum
        behindAlone = sumBefore
        first = step
      }
      sum += exp(score - maximum)
      if plan.weight(plan.normalizers, step) == 0 { continue }
      if first == step {
        loss += pick * single(step, behind, pick)
      } else if ties == .efron {
        loss += pick * efron(step, first, behind, pick)
      } else {
        loss += pick * average(step, first, behindAlone, pick)
      }
    }

    // Back to the last place: what the stages so far have asked of the items that are still to come.
    var asked = Dual(0)
    for step in stride(from: steps &- 1, through: 0, by: -1) {
      slopes[step] += asked * exp(scores[step] - largest[step])
      if step > 0 { asked = exp(largest[step &- 1] - largest[step]) * asked + asks[step] }
    }
    return loss
  }

  /// The stage at `step` asks `amount` of each worth behind the step `first`, relative to the largest here.
  private func ask(_ amount: Dual, _ step: Int, _ first: Int) {
    if first > 0 { asks[first] = exp(largest[first &- 1] - largest[step]) * amount }
  }

  private func single(_ step: Int, _ behind: Dual, _ pick: Double) -> Double {
    let own = exp(scores[step] - largest[step])
    slopes[step] -= pick * (behind / (behind + own))
    ask(pick / (behind + own), step, step)
    let sum = own.value == 1 ? log1p(behind) : log(behind + own)
    return (largest[step] - scores[step].value) + sum.value
  }

  private func efron(_ step: Int, _ first: Int, _ behind: Dual, _ pick: Double) -> Double {
    let count = step &- first &+ 1
    var sum = Dual(0)
    var loss = 0.0
    for item in first...step {
      sum += exp(scores[item] - largest[step])
      loss += largest[step] - scores[item].value
    }
    var asked = Dual(0)
    var own = Dual(0)
    for chosen in 0..<count {
      let share = Double(count &- chosen) / Double(count)
      let total = behind + share * sum
      loss += log(total.value)
      asked += 1 / total
      own += share / total
    }
    for item in first...step { slopes[item] += pick * (own * exp(scores[item] - largest[step]) - 1) }
    ask(pick * asked, step, first)
    return loss
  }

  /// Sums over all orders by way of all subsets: of those that were chosen first, the logarithm of the probability that
  /// they were; of those that are left, that of their sum. Logarithms, since items of a tie may be far apart.
  private func average(_ step: Int, _ first: Int, _ behindAlone: Dual, _ pick: Double) -> Double {
    let count = step &- first &+ 1
    let maximum = largest[step]
    let subsets = 1 << count
    var sums = InlineArray<1024, Dual>(repeating: Dual(0))  // of what is left when a subset has been chosen
    var chosen = InlineArray<1024, Dual>(repeating: Dual(0))
    var sumSlopes = InlineArray<1024, Dual>(repeating: Dual(0))
    var chosenSlopes = InlineArray<1024, Dual>(repeating: Dual(0))
    func score(_ item: Int) -> Dual { scores[first &+ item] - maximum }

    let full = subsets &- 1
    sums[full] = first > 0 ? log(behindAlone) + (largest[first &- 1] - maximum) : Dual(-.infinity)
    for subset in stride(from: full &- 1, through: 0, by: -1) {
      let item = (~subset & full).trailingZeroBitCount
      sums[subset] = logSum(sums[subset | 1 << item], score(item))
    }
    for subset in 1..<subsets {
      var total = Dual(-.infinity)
      for item in 0..<count where subset >> item & 1 == 1 {
        let rest = subset ^ 1 << item
        total = logSum(total, chosen[rest] + (score(item) - sums[rest]))
      }
      chosen[subset] = total
    }

    chosenSlopes[full] = Dual(-1)
    for subset in stride(from: full, to: 0, by: -1) where chosenSlopes[subset].value != 0 {
      // Shares of the items to have been the last, which add up to 1 even where rounding has hurt the logarithms.
      var shares = InlineArray<10, Dual>(repeating: Dual(0))
      var total = Dual(0)
      for item in 0..<count where subset >> item & 1 == 1 {
        let rest = subset ^ 1 << item
        shares[item] = exp(chosen[rest] + (score(item) - sums[rest]) - chosen[subset])
        total += shares[item]
      }
      for item in 0..<count where subset >> item & 1 == 1 {
        let rest = subset ^ 1 << item
        let share = chosenSlopes[subset] * (shares[item] / total)
        chosenSlopes[rest] += share
        sumSlopes[rest] -= share
        slopes[first &+ item] += pick * share
      }
    }
    for subset in 0..<full {
      let item = (~subset & full).trailingZeroBitCount
      let rest = subset | 1 << item
      let own = exp(score(item) - sums[subset])
      let others = exp(sums[rest] - sums[subset])
      slopes[first &+ item] += pick * (sumSlopes[subset] * (own / (own + others)))
      sumSlopes[rest] += sumSlopes[subset] * (others / (own + others))
    }
    if first > 0 { asks[first] = pick * (sumSlopes[full] / behindAlone) }
    var orders = 0.0
    for size in 2...count { orders += log(Double(size)) }
    return orders - chosen[full].value
  }

  /// log(e^x + e^y)
  private func logSum(_ x: Dual, _ y: Dual) -> Dual {
    let (high, low) = x.value > y.value ? (x, y) : (y, x)
    return low.value == -.infinity ? high : high + log1p(exp(low - high))
  }

  // MARK: Davidson

  /// The loss of a group whose scores are in place, and its gradient. `strengths` are delta_2, ..., delta_D; the gradient
  /// by them is added to `gradient`, times `weight`.
  public func evaluate(
    steps: Int, strengths: UnsafePointer<Double>, count: Int, gradient: UnsafeMutablePointer<Double>, weight: Double
  ) -> Double {
    let most = count &+ 1
    let size = most &* (most &+ 1) / 2
    func strength(_ tied: Int) -> Double { tied == 1 ? 1 : strengths[tied &- 2] }
    var loss = 0.0
    var maximum = -Double.infinity
    var first = 0
    // e(k, j), at k (k - 1) / 2 + j - 1: the elementary symmetric polynomial of degree j in the k-th roots of the worths.
    var current = InlineArray<36, Dual>(repeating: Dual(0))
    for step in 0..<steps {
      let score = scores[step]
      if score.value > maximum {
        rescale(&current, most, by: maximum - score.value)
        maximum = score.value
      }
      largest[step] = maximum
      slopes[step] = Dual(0)
      asks[step] = Dual(0)
      for index in 0..<size { polynomials[size &* step &+ index] = current[index] }
      for k in 1...most {
        let row = k &* (k &- 1) / 2 &- 1
        let root = exp((score - maximum) / Double(k))
        for j in stride(from: k, to: 1, by: -1) { current[row &+ j] += root * current[row &+ j &- 1] }
        current[row &+ 1] += root
      }

      let pick = plan.weight(plan.picks, step)
      if pick == 0 || plan.weight(plan.gaps, step) == 0 { first = step }
      if plan.weight(plan.normalizers, step) == 0 { continue }
      var total = Dual(0)
      for k in 1...most { total += strength(k) * current[k &* (k &+ 1) / 2 &- 1] }
      let tied = step &- first &+ 1
      asks[step] = pick / total
      var below = 0.0
      for item in first...step {
        below += maximum - scores[item].value
        slopes[item] -= Dual(pick / Double(tied))
      }
      loss += pick * (below / Double(tied) + (log(total.value) - log(strength(tied))))
      if most > 1 {
        for k in 2...most { gradient[k &- 2] += weight * (pick * (current[k &* (k &+ 1) / 2 &- 1] / total).value) }
      }
      if tied > 1 { gradient[tied &- 2] -= weight * (pick / strength(tied)) }
    }

    // Back to the last place: d loss / d e(k, j) of the items from a step on.
    var adjoint = InlineArray<36, Dual>(repeating: Dual(0))
    for step in stride(from: steps &- 1, through: 0, by: -1) {
      let before = polynomials + size &* step
      for k in 1...most {
        let row = k &* (k &- 1) / 2 &- 1
        adjoint[row &+ k] += strength(k) * asks[step]
        let root = exp((scores[step] - largest[step]) / Double(k))
        var slope = adjoint[row &+ 1]
        for j in stride(from: 2, through: k, by: 1) {
          slope += adjoint[row &+ j] * before[row &+ j &- 1]
          adjoint[row &+ j &- 1] += root * adjoint[row &+ j]
        }
        slopes[step] += slope * root / Double(k)
      }
      if step > 0 && largest[step &- 1] < largest[step] {
        rescale(&adjoint, most, by: largest[step &- 1] - largest[step])
      }
    }
    return loss
  }

  /// From one reference to another that is `shift` away: worths are products with e^shift.
  private func rescale(_ polynomials: inout InlineArray<36, Dual>, _ most: Int, by shift: Double) {
    for k in 1...most {
      for j in 1...k { polynomials[k &* (k &- 1) / 2 &- 1 &+ j] *= exp(shift * Double(j) / Double(k)) }
    }
  }
}
