import CSwiftDPO
import Elementary
import Preference

// Rankings whose ties are Efron's, averages or Davidson's, group by group. What they compute is in Preference/RankingTies.swift.

func tiedRankings(
  _ pointer: UnsafePointer<RankingJob>, _ range: Range<Int>, _ workspace: RankingWorkspace
) -> FixedOrderSum {
  let job = pointer.pointee
  let ranking = TiedRanking(job.ties, workspace, chosenKernels)
  var gradStrengths = InlineArray<8, Double>(repeating: 0)
  var sum = FixedOrderSum()
  workspace.plan.prepare(capacity: workspace.capacity)
  for group in range {
    let beta = job.betas == nil ? job.beta : job.type.load(job.betas!, group)
    let weight = job.weights == nil ? 1 : job.type.load(job.weights!, group)
    let sign: Double = job.choosesWorst ? -1 : 1
    let steps = workspace.plan.fill(pointer, group: group, lane: 0).count
    for step in 0..<steps {
      let item = workspace.plan.order[8 * step]
      let reference = job.reference == nil ? 0 : job.type.load(job.reference!, item)
      // A quarter of the difference is finite, and so is the difference of two scores within these bounds.
      let ratio = 0.25 * job.type.load(job.policy, item) - 0.25 * reference
      let score = 4 * (ratio * (sign * beta))
      let direction = job.direction == nil ? 0 : job.type.load(job.direction!, item)
      ranking.setScore(
        step, score > 1e300 ? 1e300 : score < -1e300 ? -1e300 : score, direction: sign * beta * direction)
    }

    var loss = 0.0
    if job.ties == .davidson {
      withUnsafeMutablePointer(to: &gradStrengths) { gradient in
        loss = ranking.evaluate(
          steps: steps, strengths: job.tieStrengths ?? UnsafePointer(bitPattern: 64)!, count: job.numTieStrengths,
          gradient: UnsafeMutableRawPointer(gradient).assumingMemoryBound(to: Double.self), weight: weight * job.scale)
      }
    } else {
      loss = ranking.evaluate(steps: steps)
    }

    loss *= weight
    if let losses = job.losses { job.type.store(loss, losses, group) }
    sum.add(F64x8(repeating: loss).firstLanes(1))
    let factor = sign * beta * (weight * job.scale)
    for step in 0..<steps {
      let item = workspace.plan.order[8 * step]
      add(ranking.slope(step) * factor, job.gradPolicy, item)
      add(-(ranking.slope(step) * factor), job.gradReference, item)
      add(ranking.curvature(step) * factor, job.hessianProduct, item)
    }
  }
  for size in 0..<job.numTieStrengths { job.gradTieStrengths?[size] = gradStrengths[size] }
  return sum

  func add(_ value: Double, _ array: UnsafeMutableRawPointer?, _ item: Int) {
    guard let array else { return }
    job.type.store(job.type.load(array, item) + value, array, item)
  }
}

/// What is wrong with the first tie that is too large for its kind.
func faultInTies(_ job: RankingJob, _ workspace: RankingWorkspace) -> Fault? {
  let most: Int
  switch job.ties {
  case .average: most = Ties.mostAveraged
  case .davidson: most = job.numTieStrengths + 1
  default: return nil
  }
  guard job.ranks != nil else { return nil }
  let plan = workspace.plan
  plan.prepare(capacity: workspace.capacity)
  return withUnsafePointer(to: job) { pointer in
    for group in 0..<job.numGroups {
      for step in 0..<plan.fill(pointer, group: group, lane: 0).count
      where plan.weight(plan.gaps, step) >= Double(most) * plan.weight(plan.picks, step)
        && plan.weight(plan.picks, step) > 0
      {
        return Fault(SWIFTDPO_ERROR_TIE, "ranks", at: job.entries(group).lowerBound)
      }
    }
    return nil
  }
}
