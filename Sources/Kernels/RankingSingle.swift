import Elementary
import Preference

// Plackett-Luce in double precision, for results in single precision.

/// - Parameters:
///   - range: where the log-ratios of each lane lie, or, if the lanes are runs of one group, those of all.
///   - lanes: those whose results are wanted.
@inline(never) func rankInSingle(
  _ block: RankingBlock, _ workspace: RankingWorkspace, _ range: RatioRange, beta: F64x8, weight: F64x8, lanes: Int
) -> F64x8 {
  let job = block.job
  let sign: Double = job.pointee.choosesWorst ? -1 : 1
  let highest = job.pointee.choosesWorst ? range.lowest : range.highest
  // Exponentials from e^-300 to e^300.
  let totals = exponentials(block, workspace, reference: highest, beta: beta * sign)
  let zero = F64x8(repeating: 0)
  var (sum, asked) = (zero, zero)
  if block.isCut { sum = exclusiveSums(DoubleDouble(totals), behind: true).high }
  let (loss, inverses) = backward(block, workspace, sum: sum)
  if block.isCut { asked = exclusiveSums(DoubleDouble(inverses), behind: false).high }
  forward(block, workspace, asked: asked, slopes: beta * sign * (weight * job.pointee.scale), lanes: lanes)
  return loss
}

/// 1 where a stage was observed, else 0.
@inline(__always) private func observed(_ block: RankingBlock, _ step: Int) -> F64x8 {
  F64x8(repeating: 1).selected(
    block.counts .> Double(step) .& (block.opens .<= Double(step)), else: F64x8(repeating: 0))
}

/// Exponentials replace the log-ratios; of each `SingleLoss.mostSteps` steps the sum of the observed items' scores above
/// the reference is kept. Returns the sums of the exponentials.
@inline(never) private func exponentials(
  _ block: RankingBlock, _ workspace: RankingWorkspace, reference: F64x8, beta: F64x8
) -> F64x8 {
  let zero = F64x8(repeating: 0)
  let offset = F64x8(repeating: 300)
  let ratios = workspace.ratio
  let steps = block.steps
  var sum = zero
  var step = 0
  ratios[steps] = reference
  while step < steps {
    let end = step &+ SingleLoss.mostSteps < steps ? step &+ SingleLoss.mostSteps : steps
    let full = end < block.fullSteps ? end : block.fullSteps
    let distances = workspace.distances + step / SingleLoss.mostSteps
    var distance = zero
    while step < end {
      var (first, second) = (
        (ratios[step] - reference).fma(beta, offset), (ratios[step &+ 1] - reference).fma(beta, offset)
      )
      var (lower, upper) = (expForSingle(first), expForSingle(second))
      if step &+ 1 >= full {
        if step > 0 { lower = lower.selected(block.counts .> Double(step), else: zero) }
        upper = upper.selected(block.counts .> Double(step &+ 1), else: zero)
        first = first * observed(block, step)
        second = second * observed(block, step &+ 1)
      }
      ratios[step] = lower
      ratios[step &+ 1] = upper
      sum = sum + lower + upper
      distance = distance + (first + second)
      step &+= 2
    }
    distances.pointee = distance
  }
  return sum
}

/// The backward pass. Returns the losses, and the sums of 1 / S over the observed stages.
///
/// It keeps what the forward pass wants of the last tile alone, and where the sums of each tile begin: to compute the
/// others' again is cheaper than to fetch them.
@inline(never) private func backward(
  _ block: RankingBlock, _ workspace: RankingWorkspace, sum: F64x8
) -> (loss: F64x8, inverses: F64x8) {
  var suffix = SingleSuffix(sum: sum)
  var loss = F64x8(repeating: 0)
  var taken = 0
  var step = 0
  while step < block.steps {
    workspace.sums[step / RankingWorkspace.tile] = suffix.sum
    let end = block.endOfTile(step)
    var place = 0
    while step < end {
      let (lower, upper) = (workspace.ratio[step], workspace.ratio[step &+ 1])
      let stages: SingleStages
      if step &+ 1 < block.fullSteps {
        stages = suffix.prepend(lower, upper)
      } else {
        stages = suffix.prepend(lower, upper, observed: (observed(block, step), observed(block, step &+ 1)))
      }
      suffix.loss.add(stages)
      workspace.keep(stages, place)
      step &+= 2
      place &+= 2
    }
    if step % SingleLoss.mostSteps == 0 || step >= block.steps {
      loss = loss + suffix.takeLoss(steps: step &- taken, distances: workspace.distances[taken / SingleLoss.mostSteps])
      taken = step
    }
  }
  return (loss, suffix.inverses)
}

/// The forward pass: gradients go where the caller wants them, tile by tile.
@inline(never) private func forward(
  _ block: RankingBlock, _ workspace: RankingWorkspace, asked: F64x8, slopes: F64x8, lanes: Int
) {
  let job = block.job
  var asked = asked
  var end = block.steps
  while end > 0 {
    let first = (end &- 1) / RankingWorkspace.tile &* RankingWorkspace.tile
    if end < block.steps { recall(block, workspace, first..<end) }
    var step = end
    while step > first {
      step &-= 1
      let place = step &- first
      let slope = singleSlope(
        exponential: workspace.ratio[step], asked: asked, another: workspace.another[place])
      workspace.policy[place] = slope * slopes
      asked = asked + workspace.inverse[place]
    }
    block.scatter(workspace.policy, first..<end, job.pointee.gradPolicy, lanes: lanes)
    block.scatter(workspace.another, first..<end, job.pointee.gradientWeights, lanes: lanes)
    if job.pointee.gradReference != nil {
      for place in 0..<end &- first { workspace.policy[place] = -workspace.policy[place] }
      block.scatter(workspace.policy, first..<end, job.pointee.gradReference, lanes: lanes)
    }
    end = first
  }
}

/// What the backward pass found for a tile.
@inline(never) private func recall(_ block: RankingBlock, _ workspace: RankingWorkspace, _ steps: Range<Int>) {
  var suffix = SingleSuffix(sum: workspace.sums[steps.lowerBound / RankingWorkspace.tile])
  let isFull = steps.upperBound <= block.fullSteps
  var step = steps.lowerBound
  while step < steps.upperBound {
    let (lower, upper) = (workspace.ratio[step], workspace.ratio[step &+ 1])
    let stages: SingleStages
    if isFull {
      stages = suffix.prepend(lower, upper)
    } else {
      stages = suffix.prepend(lower, upper, observed: (observed(block, step), observed(block, step &+ 1)))
    }
    workspace.keep(stages, step &- steps.lowerBound)
    step &+= 2
  }
}

extension RankingWorkspace {
  @inline(__always) fileprivate func keep(_ stages: SingleStages, _ place: Int) {
    inverse[place] = stages.inverses.0
    inverse[place &+ 1] = stages.inverses.1
    another[place] = stages.another.0
    another[place &+ 1] = stages.another.1
  }
}
