import Elementary
import Preference

/// Losses and gradients of groups `range`, one group at a time, eight candidates at once. Returns the sum of the losses.
func listwise(
  _ pointer: UnsafePointer<ListwiseJob>, _ range: Range<Int>, _ workspace: ListwiseWorkspace
) -> FixedOrderSum {
  let job = pointer.pointee
  var sum = FixedOrderSum()
  for group in range {
    let beta = job.betas == nil ? job.beta : job.type.load(job.betas!, group)
    let weight = job.weights == nil ? 1 : job.type.load(job.weights!, group)
    let list = CandidateList(job, job.items(group), workspace, beta: F64x8(repeating: beta))
    var loss = 0.0
    if list.count > 0 {
      switch job.loss {
      case .crossEntropy: loss = crossEntropy(list)
      case .lambda: loss = lambda(list)
      case .pro: loss = pro(list)
      }
    }
    loss *= weight
    if let losses = job.losses { job.type.store(loss, losses, group) }
    sum.add(F64x8(repeating: loss).firstLanes(1))
    list.storeGradient(job, factor: beta * (weight * job.scale))
  }
  return sum
}

/// One group's candidates in vectors of eight; the lanes behind the last one hold 0.
private struct CandidateList {
  let start: Int
  let count: Int
  let blocks: Int
  let beta: F64x8
  let ratioHigh, ratioLow, targets, slopes, first, second, third: UnsafeMutablePointer<F64x8>
  let places: UnsafeMutablePointer<Double>

  init(_ job: ListwiseJob, _ items: Range<Int>, _ workspace: ListwiseWorkspace, beta: F64x8) {
    start = items.lowerBound
    count = items.count
    blocks = (count + 7) / 8
    self.beta = beta
    ratioHigh = workspace.array(0)
    ratioLow = workspace.array(1)
    targets = workspace.array(2)
    slopes = workspace.array(3)
    first = workspace.array(4)
    second = workspace.array(5)
    third = workspace.array(6)
    places = workspace.numbers(7)
    for block in 0..<blocks {
      let (index, lanes) = (start + 8 * block, lanes(block))
      let policy = job.type.load(job.policy, index, count: lanes, filler: 0)
      var reference = F64x8(repeating: 0)
      if let array = job.reference { reference = job.type.load(array, index, count: lanes, filler: 0) }
      let ratio = LogRatio(policy: policy, reference: reference)
      ratioHigh[block] = ratio.quarter.high
      ratioLow[block] = ratio.quarter.low
      targets[block] = job.type.load(job.targets, index, count: lanes, filler: 0)
      slopes[block] = F64x8(repeating: 0)
      if let rewards = job.rewards { job.type.store(ratio.reward(beta: beta), rewards, index, count: lanes) }
    }
  }

  func lanes(_ block: Int) -> Int { count - 8 * block < 8 ? count - 8 * block : 8 }

  func ratio(_ block: Int) -> LogRatio {
    LogRatio(quarter: DoubleDouble(high: ratioHigh[block], low: ratioLow[block]))
  }

  /// One candidate's log-ratio in all lanes.
  func ratio(of item: Int) -> LogRatio {
    LogRatio(
      quarter: DoubleDouble(
        high: F64x8(repeating: number(ratioHigh, item)), low: F64x8(repeating: number(ratioLow, item))))
  }

  func number(_ array: UnsafeMutablePointer<F64x8>, _ item: Int) -> Double {
    UnsafeRawPointer(array).load(fromByteOffset: 8 * item, as: Double.self)
  }

  /// For each candidate, how many come before it in falling order of a key, of equals those that stand before it.
  @inline(never) func rank(_ isBefore: (Int, Int) -> Bool) {
    for item in 0..<count {
      var place = 0
      for other in 0..<count where isBefore(other, item) || (other < item && !isBefore(item, other)) { place += 1 }
      places[item] = Double(place)
    }
  }

  func storeGradient(_ job: ListwiseJob, factor: Double) {
    guard let gradient = job.gradPolicy else { return }
    for block in 0..<blocks {
      job.type.store(slopes[block] * factor, gradient, start + 8 * block, count: lanes(block))
    }
  }
}

@inline(never) private func sumOf(_ sum: FixedOrderSum) -> Double { total(sum).high[0] }

/// All terms are at least 0: with d_i the distance below the largest score, - sum of t_i (-d_i - log sum of e^-d).
@inline(never) private func crossEntropy(_ list: CandidateList) -> Double {
  var best = 0
  for item in 1..<list.count where list.ratio(of: item).exceeds(list.ratio(of: best)) { best = item }
  let largest = list.ratio(of: best)
  var (others, targets, below) = (FixedOrderSum(), FixedOrderSum(), FixedOrderSum())
  for block in 0..<list.blocks {
    let distance = difference(list.ratio(block), largest, list.beta)
    var exponential = OutOfLine.exp(distance).firstLanes(list.lanes(block))
    list.first[block] = exponential
    if best / 8 == block { exponential[best % 8] = 0 }
    others.add(exponential)
    targets.add(list.targets[block])
    below.add((-distance.high).weighted(by: list.targets[block]))
  }
  let (rest, all) = (sumOf(others), sumOf(targets))
  let share = 1 / (1 + rest)
  for block in 0..<list.blocks {
    list.slopes[block] = (list.first[block] * share).fma(F64x8(repeating: all), -list.targets[block])
  }
  return all * log1pOfPositive(F64x8(repeating: rest))[0] + sumOf(below)
}

@inline(never) private func lambda(_ list: CandidateList) -> Double {
  list.rank { list.ratio(of: $0).exceeds(list.ratio(of: $1)) }
  // 2^t and 1 / log(1 + rank)
  let places = UnsafeMutableRawPointer(list.places).assumingMemoryBound(to: F64x8.self)
  for block in 0..<list.blocks {
    list.first[block] = OutOfLine.exp(
      DoubleDouble.product(list.targets[block], F64x8(repeating: 0x1.62e42fefa39efp-1)))
    list.second[block] = 1 / OutOfLine.log(places[block].firstLanes(list.lanes(block)) + 2)
  }
  var loss = FixedOrderSum()
  let zero = F64x8(repeating: 0)
  for item in 0..<list.count {
    let target = list.number(list.targets, item)
    let (gain, discount) = (list.number(list.first, item), list.number(list.second, item))
    let ratio = list.ratio(of: item)
    var own = FixedOrderSum()
    for block in 0..<list.blocks {
      let isWorse = list.targets[block] .< target
      let weight = ((gain - list.first[block]) * (discount - list.second[block]).magnitude)
        .selected(isWorse, else: zero).firstLanes(list.lanes(block))
      let z = difference(ratio, list.ratio(block), list.beta)
      let logistic = OutOfLine.logistic(z)
      // NaN has no place, and so no weight, but is not to be lost.
      let term = logistic.negativeSoftplus.weighted(by: weight)
      loss.add(z.high.selected(isWorse .& (z.high .!= z.high), else: term))
      let slope = logistic.complement * weight
      list.slopes[block] = list.slopes[block] + slope
      own.add(slope)
    }
    add(-sumOf(own), list.slopes, item)
  }
  return sumOf(loss)
}

@inline(never) private func pro(_ list: CandidateList) -> Double {
  list.rank { list.number(list.targets, $0) > list.number(list.targets, $1) }
  var (lowest, loss) = (list.number(list.targets, 0), FixedOrderSum())
  for item in 1..<list.count where list.number(list.targets, item) < lowest { lowest = list.number(list.targets, item) }
  let places = UnsafeMutableRawPointer(list.places).assumingMemoryBound(to: F64x8.self)
  for item in 0..<list.count where Int(list.places[item]) < list.count - 1 {
    let (place, target) = (list.places[item], list.number(list.targets, item))
    let ownScore = DoubleDouble(list.ratio(of: item).reward(beta: list.beta)) * F64x8(repeating: target - lowest)
    // What each exponent is above that of the stage's own, and the largest of them.
    var largest = 0.0
    for block in 0..<list.blocks {
      let score = list.ratio(block).reward(beta: list.beta)
      let gap = target - list.targets[block]
      let above = (DoubleDouble.product(score, gap) - ownScore).high
      let isLeft = places[block].firstLanes(list.lanes(block)) .> place
      list.first[block] = above.selected(isLeft, else: F64x8(repeating: -.infinity))
      list.second[block] = gap
      for lane in 0..<8 where isLeft[lane] && above[lane] > largest { largest = above[lane] }
    }
    var others = FixedOrderSum()
    for block in 0..<list.blocks {
      list.third[block] = OutOfLine.exp(list.first[block] - largest)
      others.add(list.third[block])
    }
    let own = OutOfLine.exp(F64x8(repeating: -largest))[0]
    let rest = sumOf(others)
    let total = own + rest
    let logarithm = largest == 0 ? log1pOfPositive(F64x8(repeating: rest)) : OutOfLine.log(F64x8(repeating: total))
    loss.add((logarithm + largest).firstLanes(1))
    for block in 0..<list.blocks {
      list.slopes[block] = (list.third[block] / total).fma(list.second[block], list.slopes[block])
    }
    add(-(rest / total) * (target - lowest), list.slopes, item)
  }
  return sumOf(loss)
}

private func add(_ value: Double, _ array: UnsafeMutablePointer<F64x8>, _ item: Int) {
  UnsafeMutableRawPointer(array).assumingMemoryBound(to: Double.self)[item] += value
}

@inline(never) private func difference(_ x: LogRatio, _ y: LogRatio, _ beta: F64x8) -> DoubleDouble {
  x.rewardDifference(from: y, beta: beta)
}

extension LogRatio {
  /// Of the first lanes.
  fileprivate func exceeds(_ other: LogRatio) -> Bool {
    quarter.high[0] > other.quarter.high[0]
      || (quarter.high[0] == other.quarter.high[0] && quarter.low[0] > other.quarter.low[0])
  }
}
