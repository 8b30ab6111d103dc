import Elementary
import Preference

// Plackett-Luce in more than double precision.

/// - Parameter lanes: those whose results are wanted.
@inline(never) func rankExactly(
  _ block: RankingBlock, _ workspace: RankingWorkspace, beta: F64x8, weight: F64x8, lanes: Int
) -> F64x8 {
  let job = block.job
  block.gather(job.pointee.policy, workspace.policy)
  block.gather(job.pointee.reference, workspace.reference)
  if job.pointee.direction != nil { block.gather(job.pointee.direction, workspace.direction) }
  var asked = DoubleDouble(F64x8(repeating: 0))
  let loss = backward(block, workspace, beta: beta, asked: &asked)
  forward(block, workspace, beta: beta, factor: weight * job.pointee.scale, asked: asked)
  let steps = 0..<block.steps
  block.scatter(workspace.policy, steps, job.pointee.gradPolicy, lanes: lanes)
  block.scatter(workspace.reference, steps, job.pointee.gradReference, lanes: lanes)
  block.scatter(workspace.another, steps, job.pointee.gradientWeights, lanes: lanes)
  if job.pointee.direction != nil {
    block.scatter(workspace.direction, steps, job.pointee.hessianProduct, lanes: lanes)
  }
  return loss
}

/// The backward pass: exponentials replace what the workspace held of the policy and the reference. Returns the losses.
///
/// A loss is the sum of the observed stages' -log p. Where stages have weights, items that are tied have a sum of their own
/// only for the first; the others add their distance from it, step by step.
///
/// - Parameter asked: what the lanes before each one ask of its items, where they are runs of one group.
@inline(never) private func backward(
  _ block: RankingBlock, _ workspace: RankingWorkspace, beta: F64x8, asked: inout DoubleDouble
) -> F64x8 {
  let zero = F64x8(repeating: 0)
  let one = F64x8(repeating: 1)
  let counts = block.counts
  let choosesWorst = block.job.pointee.choosesWorst
  let hasDirection = block.job.pointee.direction != nil
  let hasStageWeights = block.job.pointee.hasStageWeights

  func item(_ step: Int) -> LogRatio {
    let ratio = LogRatio(policy: workspace.policy[step], reference: workspace.reference[step])
    return choosesWorst ? -ratio : ratio
  }
  var current = item(0)
  var suffix = PlackettLuceSuffix(reference: current, sum: DoubleDouble(zero))
  if block.isCut {
    suffix.reference = current.inFirstLane
    suffix.sum = exclusiveSums(exponentials(block, workspace, suffix, beta: beta), behind: true)
  }
  var mean = PlackettLuceMean(last: workspace.direction[0])
  var inverses = DoubleDouble(zero)
  var loss = DoubleDouble(zero)

  var step = 0
  while step < block.steps {
    let takesPart = counts .> Double(step)
    var normalizers = one.selected(takesPart .& (block.opens .<= Double(step)), else: zero)
    var picks = normalizers
    if hasStageWeights {
      normalizers = workspace.plan.normalizers[step].selected(takesPart, else: zero)
      picks = workspace.plan.picks[step].selected(takesPart, else: zero)
    }
    var distance = DoubleDouble(zero)
    var rescale = one
    var exponential = DoubleDouble(high: workspace.policy[step], low: workspace.reference[step])
    let previous = current
    if !block.isCut {
      current = item(step)
      (distance, rescale) = suffix.distance(of: current, beta: beta, where: takesPart)
      // Lanes without an item have a first one all the same, so that no sum is 0.
      let isThere = takesPart .| (zero .== Double(step))
      exponential = expOfPair(distance).selected(isThere, else: DoubleDouble(zero))
    }
    var stage = suffix.prepend(exponential)
    var (term, isTiny) = stage.loss
    if step == 1 {
      let pairs = counts .== 2 .& (normalizers .== picks)
      if pairs.hasAny {
        let loss = pairStage(
          &stage, current, previous, beta: beta, pairs, single: block.job.pointee.type == .f32)
        term = loss.selected(pairs, else: term)
        isTiny = isTiny .& .!pairs
        workspace.policy[0] = one.selected(pairs, else: workspace.policy[0])
        workspace.reference[0] = zero.selected(pairs, else: workspace.reference[0])
        rescale = one.selected(pairs, else: rescale)
      }
    }
    let isObserved = normalizers .> 0
    loss = loss.adding(DoubleDouble(hasStageWeights ? term * normalizers : term), where: isObserved)
    if isTiny.hasAny { loss = loss.adding(-distance * normalizers, where: isObserved .& isTiny) }
    if hasStageWeights {
      let gaps = workspace.plan.gaps[step].selected(takesPart, else: zero)
      loss = loss.adding(current.rewardDifference(from: previous, beta: beta) * gaps, where: gaps .> 0)
    }

    workspace.policy[step] = stage.exponential.high
    workspace.reference[step] = stage.exponential.low
    workspace.inverse[step] = stage.inverse.high
    workspace.inverseLow[step] = stage.inverse.low
    workspace.another[step] = stage.another
    workspace.rescale[step] = rescale
    if hasDirection {
      workspace.direction[step] = mean.prepend(workspace.direction[step], chosen: stage.chosen.rounded)
    }
    if block.isCut { inverses = inverses.plus(stage.inverse.scaled(normalizers)) }
    step += 1
  }
  if block.isCut { asked = exclusiveSums(inverses, behind: false) }
  return loss.rounded
}

/// Two items are a pair, and their numbers those of DPO, to the last bit. Returns the loss, and changes the lanes in the
/// mask to a stage that the forward pass leaves as it is.
@inline(never) private func pairStage(
  _ stage: inout PlackettLuceStage, _ item: LogRatio, _ other: LogRatio, beta: F64x8,
  _ mask: SIMDMask<F64x8.MaskStorage>, single: Bool
) -> F64x8 {
  let (p, q) = (F64x8(repeating: 1), F64x8(repeating: 0))
  let jet: Jet
  let logistic: Logistic
  if single {
    let z = item.singleRewardDifference(from: other, beta: beta)
    logistic = OutOfLine.logistic(single: z)
    jet = bernoulliCrossEntropy(single: logistic, p: p, q: q)
  } else {
    (jet, logistic) = bernoulliCrossEntropy(item.rewardDifference(from: other, beta: beta), p: p, q: q)
  }
  stage.another = logistic.complement.selected(mask, else: stage.another)
  stage.inverse = DoubleDouble(logistic.complement).selected(mask, else: stage.inverse)
  return jet.value
}

/// The exponentials of a group that is cut into runs, and their sum in each.
@inline(never) private func exponentials(
  _ block: RankingBlock, _ workspace: RankingWorkspace, _ start: PlackettLuceSuffix, beta: F64x8
) -> DoubleDouble {
  let choosesWorst = block.job.pointee.choosesWorst
  let zero = DoubleDouble(F64x8(repeating: 0))
  var sum = zero
  var step = 0
  while step < block.steps {
    let ratio = LogRatio(policy: workspace.policy[step], reference: workspace.reference[step])
    let item = choosesWorst ? -ratio : ratio
    let exponential = expOfPair(item.rewardDifference(from: start.reference, beta: beta))
      .selected(block.counts .> Double(step), else: zero)
    workspace.policy[step] = exponential.high
    workspace.reference[step] = exponential.low
    sum = sum.plus(exponential)
    step += 1
  }
  return sum
}

/// The forward pass: gradients replace the exponentials, and the product with the Hessian replaces the direction.
@inline(never) private func forward(
  _ block: RankingBlock, _ workspace: RankingWorkspace, beta: F64x8, factor: F64x8, asked: DoubleDouble
) {
  let zero = F64x8(repeating: 0)
  let one = F64x8(repeating: 1)
  let hasDirection = block.job.pointee.direction != nil
  let hasStageWeights = block.job.pointee.hasStageWeights
  // A pair's gradient is rounded as DPO's is.
  let product = beta * factor * (block.job.pointee.choosesWorst ? -1 : 1)
  let error = (beta * (block.job.pointee.choosesWorst ? -1 : 1)).fma(factor, -product)
  let isPair = block.counts .== 2
  let slopes = DoubleDouble(
    high: block.job.pointee.type == .f32 ? product.inSingle.selected(isPair, else: product) : product,
    low: zero.selected(isPair, else: error))
  let curvatures = beta * (beta * factor)
  var prefix = PlackettLucePrefix(asked: asked)
  var step = block.steps
  while step > 0 {
    step -= 1
    let takesPart = block.counts .> Double(step)
    var normalizers = one.selected(takesPart .& (block.opens .<= Double(step)), else: zero)
    var picks = normalizers
    if hasStageWeights {
      normalizers = workspace.plan.normalizers[step].selected(takesPart, else: zero)
      picks = workspace.plan.picks[step].selected(takesPart, else: zero)
    }
    let stage = PlackettLuceStage(
      exponential: DoubleDouble(high: workspace.policy[step], low: workspace.reference[step]),
      inverse: DoubleDouble(high: workspace.inverse[step], low: workspace.inverseLow[step]),
      another: workspace.another[step])
    if hasDirection {
      let product = prefix.curvature(
        chosen: stage.chosen.rounded.selected(takesPart, else: zero),
        another: stage.another.selected(takesPart, else: one), normalizers: normalizers,
        excess: workspace.direction[step])
      workspace.direction[step] = product * curvatures
    }
    let slope = prefix.slope(
      stage, normalizers: normalizers, picks: picks, rescale: workspace.rescale[step]
    ).times(slopes).rounded
    workspace.policy[step] = slope
    workspace.reference[step] = -slope
    workspace.another[step] = stage.another.selected(picks .> 0, else: zero)
  }
}
