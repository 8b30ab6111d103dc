import Elementary
import Preference

/// The optimal policy of each row, and how far another policy falls short of it. Four passes over a row: its best reward,
/// its largest score, its sums, its results.
func optimalPolicy(_ pointer: UnsafePointer<ResponsesJob>, _ range: Range<Int>) {
  let job = pointer.pointee
  let type = job.type
  for row in range {
    var responses = TiltedRow(pointer, row)
    responses.findBest()
    var scores = DoubleDouble(F64x8(repeating: -.infinity))
    var column = 0
    while column < job.length {
      scores = scores.larger(responses.block(column).score)
      column += 8
    }
    let largest = scores.largestLane

    var sums = TiltedSums()
    column = 0
    while column < job.length {
      let block = responses.block(column)
      sums.add(block.score - largest, rewardBelowBest: block.reward - responses.best)
      column += 8
    }
    let value = OptimalValue(
      weight: total(sums.weight), shortfall: total(sums.shortfall), largest: largest, best: responses.best,
      beta: responses.beta)
    job.logPartition?[row] = value.logPartition[0]
    job.objective?[row] = value.objective[0]
    job.expectedReward?[row] = value.expectedReward[0]
    job.klDivergence?[row] = value.klDivergence[0]
    job.gradBeta?[row] = value.gradBeta[0]

    column = 0
    while column < job.length && (job.result != nil || job.gradRewards != nil) {
      let block = responses.block(column)
      let start = row * job.length + column
      if let result = job.result { type.store(value.logp(block.score).high, result, start, count: block.count) }
      if let gradient = job.gradRewards {
        type.store(exp(block.score - largest) * value.share / responses.beta, gradient, start, count: block.count)
      }
      column += 8
    }
    if job.policy != nil { comparePolicy(responses, value) }
  }
}

/// J(pi) by its definition, and beta KL(pi || pi*).
@inline(never) private func comparePolicy(_ responses: TiltedRow, _ value: OptimalValue) {
  let job = responses.job.pointee
  let zero = F64x8(repeating: 0)
  var expected = FixedOrderSum()
  var divergence = FixedOrderSum()
  var distance = FixedOrderSum()
  var column = 0
  while column < job.length {
    let block = responses.block(column)
    let policy = responses.load(job.policy, column, block.count, filler: -.infinity)
    let fromReference = outcome(logP: policy, logQ: block.reference)
    expected.add(zero.selected(fromReference.p .== 0, else: fromReference.p * block.reward))
    divergence.add(fromReference.relativeEntropy)
    distance.add(generalizedKL(outcome(logP: policy, logQ: value.logp(block.score).high)).value)
    column += 8
  }
  job.policyObjective?[responses.row] = (total(expected) - total(divergence) * responses.beta).high[0]
  job.policyGap?[responses.row] = (total(distance) * responses.beta).high[0]
}

/// A row of responses, whose scores are computed anew in each pass: cheaper than to store them.
struct TiltedRow {
  /// Eight responses. Lanes beyond the row have a reference of -inf.
  struct Block {
    var count: Int
    var reference: F64x8
    var reward: F64x8
    var score: DoubleDouble
  }

  let job: UnsafePointer<ResponsesJob>
  let row: Int
  let beta: F64x8
  /// The best reward among responses that the reference can give.
  var best = F64x8(repeating: -.infinity)

  init(_ job: UnsafePointer<ResponsesJob>, _ row: Int) {
    self.job = job
    self.row = row
    let betas = job.pointee.betas
    beta = F64x8(repeating: betas == nil ? job.pointee.beta : job.pointee.type.load(betas!, row))
  }

  @inline(never) mutating func findBest() {
    var lanes = best
    var column = 0
    while column < job.pointee.length {
      let block = self.block(column)
      let possible = best.selected(block.reference .== -.infinity, else: block.reward)
      lanes = possible.selected(possible .> lanes, else: lanes)
      column += 8
    }
    best = F64x8(repeating: lanes.largest)
  }

  @inline(never) func block(_ column: Int) -> Block {
    let left = job.pointee.length - column
    let count = left < 8 ? left : 8
    let reference = load(job.pointee.reference, column, count, filler: -.infinity)
    let reward = load(job.pointee.rewards, column, count, filler: 0)
    return Block(
      count: count, reference: reference, reward: reward, score: tilted(reference, reward, best: best, beta: beta))
  }

  /// Elements of the row; zeros where there is no array, and `filler` in lanes beyond the row.
  func load(_ array: UnsafeRawPointer?, _ column: Int, _ count: Int, filler: Double) -> F64x8 {
    guard let array else {
      let inside = SIMD8<Int64>(0, 1, 2, 3, 4, 5, 6, 7) .< SIMD8(repeating: Int64(count))
      return F64x8(repeating: 0).selected(inside, else: F64x8(repeating: filler))
    }
    return job.pointee.type.load(array, row * job.pointee.length + column, count: count, filler: filler)
  }
}
