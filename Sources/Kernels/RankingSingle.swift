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
  forward(block, workspace, asked: asked, slopes: beta * sign * (weight * job.pointee.scale))
  block.scatter(workspace.policy, job.pointee.gradPolicy, lanes: lanes)
  block.scatter(workspace.another, job.pointee.gradientWeights, lanes: lanes)
  if job.pointee.gradReference != nil {
    for step in 0..<block.steps { workspace.policy[step] = -workspace.policy[step] }
    block.scatter(workspace.policy, job.pointee.gradReference, lanes: lanes)
  }
  return loss
}

/// 1 where a stage was observed, else 0.
@inline(__always) private func observed(_ block: RankingBlock, _ step: Int) -> F64x8 {
  F64x8(repeating: 1).selected(
    block.counts .> Double(step) .& (block.opens .<= Double(step)), else: F64x8(repeating: 0))
}

/// Scores above the reference replace the log-ratios, and exponentials the policy's log-probabilities. Returns their sums.
@inline(never) private func exponentials(
  _ block: RankingBlock, _ workspace: RankingWorkspace, reference: F64x8, beta: F64x8
) -> F64x8 {
  let zero = F64x8(repeating: 0)
  let offset = F64x8(repeating: 300)
  var sum = zero
  var step = 0
  while step < block.steps {
    let distance = (workspace.ratio[step] - reference).fma(beta, offset)
    var exponential = expForSingle(distance)
    if !block.isFull(step) && step > 0 { exponential = exponential.selected(block.counts .> Double(step), else: zero) }
    workspace.ratio[step] = distance
    workspace.policy[step] = exponential
    sum = sum + exponential
    step &+= 1
  }
  workspace.policy[step] = zero
  workspace.ratio[step] = zero
  return sum
}

/// The backward pass. Returns the losses, and the sums of 1 / S over the observed stages.
@inline(never) private func backward(
  _ block: RankingBlock, _ workspace: RankingWorkspace, sum: F64x8
) -> (loss: F64x8, inverses: F64x8) {
  let zero = F64x8(repeating: 0)
  var suffix = SingleSuffix(sum: sum)
  var loss = zero
  var distances = zero
  var taken = 0
  var step = 0
  while step < block.steps {
    var weights: (F64x8, F64x8)?
    if !block.isFull(step &+ 1) { weights = (observed(block, step), observed(block, step &+ 1)) }
    let (inverses, another) = suffix.prepend(
      workspace.policy[step], workspace.policy[step &+ 1], observed: weights)
    if let weights {
      distances = distances + (workspace.ratio[step] * weights.0 + workspace.ratio[step &+ 1] * weights.1)
    } else {
      distances = distances + (workspace.ratio[step] + workspace.ratio[step &+ 1])
    }
    workspace.inverse[step] = inverses.0
    workspace.inverse[step &+ 1] = inverses.1
    workspace.another[step] = another.0
    workspace.another[step &+ 1] = another.1
    step &+= 2
    if step & 255 == 0 || step >= block.steps {
      loss = loss + suffix.takeLoss(steps: step &- taken, distances: distances)
      distances = zero
      taken = step
    }
  }
  return (loss, suffix.inverses)
}

/// The forward pass: gradients replace the exponentials.
@inline(never) private func forward(
  _ block: RankingBlock, _ workspace: RankingWorkspace, asked: F64x8, slopes: F64x8
) {
  var asked = asked
  var step = block.steps
  while step > 0 {
    step &-= 1
    let slope = singleSlope(
      exponential: workspace.policy[step], asked: asked, another: workspace.another[step])
    workspace.policy[step] = slope * slopes
    asked = asked + workspace.inverse[step]
  }
}
