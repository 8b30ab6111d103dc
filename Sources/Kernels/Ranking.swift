import Elementary
import Preference

/// Losses and gradients of ranked groups, eight groups at a time, each in its lane. Returns the sum of their losses.
func ranking(
  _ pointer: UnsafePointer<RankingJob>, _ range: Range<Int>, _ workspace: RankingWorkspace
) -> FixedOrderSum {
  let job = pointer.pointee
  let hasStageWeights = job.hasStageWeights
  if !job.isPlain { workspace.plan.prepare(capacity: workspace.capacity) }
  var sum = FixedOrderSum()
  var start = range.lowerBound
  while start < range.upperBound {
    let left = range.upperBound - start
    let lanes = left < 8 ? left : 8
    let block = RankingBlock(pointer, first: start, lanes: lanes, plan: workspace.plan)
    start += 8

    block.gather(job.policy, workspace.policy)
    block.gather(job.reference, workspace.reference)
    if job.direction != nil { block.gather(job.direction, workspace.direction) }
    let beta = block.load(job.betas, otherwise: job.beta)
    let weight = block.load(job.weights, otherwise: 1)
    let loss = backward(job, block, workspace, beta: beta, hasStageWeights) * weight
    if let losses = job.losses { job.type.store(loss, losses, block.first, count: lanes) }
    sum.add(lanes == 8 ? loss : loss.firstLanes(lanes))

    forward(job, block, workspace, beta: beta, factor: weight * job.scale, hasStageWeights)
    block.scatter(workspace.policy, job.gradPolicy)
    block.scatter(workspace.reference, job.gradReference)
    block.scatter(workspace.another, job.gradientWeights)
    if job.direction != nil { block.scatter(workspace.direction, job.hessianProduct) }
  }
  return sum
}

/// The backward pass. Returns the losses.
///
/// A loss is the sum of what the items are below the largest and of logarithms of sums. Where observed stages count
/// once, sixteen logarithms are taken as that of one product, held as its excess over 1. Where they have weights, each
/// is taken; of items that are tied, those after the first then have no sum of their own, but their distance from the
/// first, step by step.
@inline(never) private func backward(
  _ job: RankingJob, _ block: RankingBlock, _ workspace: RankingWorkspace, beta: F64x8, _ hasStageWeights: Bool
) -> F64x8 {
  let zero = F64x8(repeating: 0)
  let one = F64x8(repeating: 1)
  if block.steps == 0 { return zero }
  let (counts, opens) = (block.counts, block.opens)
  let choosesWorst = job.choosesWorst
  let hasDirection = job.direction != nil

  var below = DoubleDouble(zero)
  var logarithms = DoubleDouble(zero)
  var product = zero
  var current = LogRatio(policy: workspace.policy[0], reference: workspace.reference[0])
  if choosesWorst { current = -current }
  var suffix = PlackettLuceSuffix(last: current)
  workspace.chosen[0] = one.selected(counts .> 0, else: zero)
  workspace.another[0] = zero
  var mean = PlackettLuceMean(last: workspace.direction[0])
  if hasDirection { workspace.direction[0] = zero }

  var step = 1
  while step < block.steps {
    let previous = current
    current = LogRatio(policy: workspace.policy[step], reference: workspace.reference[step])
    if choosesWorst { current = -current }
    let takesPart = counts .> Double(step)
    let (distance, stage) = suffix.prepend(current, beta: beta, where: takesPart)
    workspace.chosen[step] = stage.chosen
    workspace.another[step] = stage.another
    if hasDirection { workspace.direction[step] = mean.prepend(workspace.direction[step], stage) }

    if hasStageWeights {
      let normalizers = workspace.plan.normalizers[step].selected(takesPart, else: zero)
      let gaps = workspace.plan.gaps[step].selected(takesPart, else: zero)
      let gap = current.rewardDifference(from: previous, beta: beta)
      below = below.adding(distance * normalizers, where: normalizers .> 0).adding(gap * gaps, where: gaps .> 0)
      logarithms = logarithms + normalizers * log1pOfPositive(suffix.others)
    } else {
      let isObserved = counts.selected(opens .<= Double(step), else: zero) .> Double(step)
      below = below.adding(distance, where: isObserved)
      product = (1 + product).fma(suffix.others.selected(isObserved, else: zero), product)
      if step & 15 == 0 {
        logarithms = logarithms + log1pOfPositive(product)
        product = zero
      }
    }
    step += 1
  }
  logarithms = logarithms + log1pOfPositive(product)
  return below.high + (logarithms.high + (logarithms.low + below.low))
}

/// The forward pass: gradients replace what the workspace held of the policy and the reference, and the product with the
/// Hessian replaces the direction.
@inline(never) private func forward(
  _ job: RankingJob, _ block: RankingBlock, _ workspace: RankingWorkspace, beta: F64x8, factor: F64x8,
  _ hasStageWeights: Bool
) {
  let zero = F64x8(repeating: 0)
  let one = F64x8(repeating: 1)
  let (counts, opens) = (block.counts, block.opens)
  let hasDirection = job.direction != nil
  let slopes = beta * factor * (job.choosesWorst ? -1 : 1)
  let curvatures = beta * (beta * factor)
  var prefix = PlackettLucePrefix()
  var step = block.steps
  while step > 0 {
    step -= 1
    var normalizers = one.selected(opens .<= Double(step), else: zero)
    var picks = normalizers
    if hasStageWeights {
      normalizers = workspace.plan.normalizers[step].selected(counts .> Double(step), else: zero)
      picks = workspace.plan.picks[step].selected(counts .> Double(step), else: zero)
    }
    let stage = StageProbabilities(chosen: workspace.chosen[step], another: workspace.another[step])
    if hasDirection {
      let product = prefix.curvature(stage, normalizers: normalizers, excess: workspace.direction[step])
      workspace.direction[step] = product * curvatures
    }
    let slope = prefix.slope(stage, normalizers: normalizers, picks: picks) * slopes
    workspace.policy[step] = slope
    workspace.reference[step] = -slope
    workspace.another[step] = stage.another.selected(picks .> 0, else: zero)
  }
}
