import CPlatform
import CSwiftDPO
import Elementary
import Preference

@_cdecl("swiftdpo_plackett_luce_loss_f32") @implementation
public func swiftdpo_plackett_luce_loss_f32(
  _ rankings: UnsafePointer<swiftdpo_rankings_f32>!, _ options: UnsafePointer<swiftdpo_plackett_luce_options>!,
  _ results: UnsafePointer<swiftdpo_ranking_results_f32>!, _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in try plackettLuceLoss(rankings, options, results) }
}

@_cdecl("swiftdpo_plackett_luce_loss_f64") @implementation
public func swiftdpo_plackett_luce_loss_f64(
  _ rankings: UnsafePointer<swiftdpo_rankings_f64>!, _ options: UnsafePointer<swiftdpo_plackett_luce_options>!,
  _ results: UnsafePointer<swiftdpo_ranking_results_f64>!, _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in try plackettLuceLoss(rankings, options, results) }
}

private func plackettLuceLoss<P: Rankings, R: RankingResults>(
  _ rankings: UnsafePointer<P>?, _ options: UnsafePointer<swiftdpo_plackett_luce_options>?,
  _ results: UnsafePointer<R>?
) throws(Fault) where P.Value == R.Value {
  let rankings = try read(rankings, "rankings")
  let options = try readOptional(options, "options")
  let results = try read(results, "results")
  let type = P.Value.type
  let (groups, size) = (rankings.num_groups, rankings.group_size)
  let items = try product(groups, size, "num_groups")
  try require(size > 0 || groups == 0, SWIFTDPO_ERROR_COUNT, "group_size")

  try checkBeta(options.beta, "beta")
  let scale = try checkReduction(options.reduction, count: groups)
  let refuseNonfinite = try checkNonfinitePolicy(options.nonfinite)

  var ledger = Ledger()
  var job = RankingJob(
    type: type, numGroups: groups, groupSize: size,
    policy: try ledger.input(rankings.policy_logps, type, items, "policy_logps"))
  job.reference = try ledger.optionalInput(rankings.ref_logps, type, items, "ref_logps")
  job.rankings = try ledger.optionalInput(rankings.rankings, items, "rankings")
  job.betas = try ledger.optionalInput(rankings.betas, type, groups, "betas")
  job.weights = try ledger.optionalInput(rankings.weights, type, groups, "weights")

  let loss = try ledger.result(results.loss, 1, "loss")
  job.losses = try ledger.result(results.losses, type, groups, "losses")
  job.gradPolicy = try ledger.result(results.grad_policy_logps, type, items, "grad_policy_logps")
  job.rewards = try ledger.result(results.rewards, type, items, "rewards")
  job.gradientWeights = try ledger.result(results.gradient_weights, type, items, "gradient_weights")

  try checkBetas(job.betas, type, groups)
  try checkWeights(job.weights, type, groups)
  try checkPermutations(job.rankings, groups: groups, size: size)
  if refuseNonfinite {
    try checkFinite(job.policy, type, items, "policy_logps")
    try checkFinite(job.reference, type, items, "ref_logps")
  }

  job.beta = options.beta
  job.scale = scale
  let sum = try withStages(size) { stages in kernels.ranking(&job, 0..<groups, stages) }
  loss?.pointee = reduced(sum, scale)
}

/// A workspace of one entry for each item of a group: on the stack for groups of ordinary size.
private func withStages(
  _ size: Int, _ body: (UnsafeMutablePointer<StageProbabilities>) -> FixedOrderSum
) throws(Fault) -> FixedOrderSum {
  if size <= 64 {
    let zero = F64x8(repeating: 0)
    var stages = InlineArray<64, StageProbabilities>(repeating: StageProbabilities(chosen: zero, another: zero))
    return withUnsafeMutablePointer(to: &stages) { pointer in
      body(UnsafeMutableRawPointer(pointer).assumingMemoryBound(to: StageProbabilities.self))
    }
  }
  let (bytes, overflow) = size.multipliedReportingOverflow(by: MemoryLayout<StageProbabilities>.stride)
  guard !overflow, let memory = aligned_alloc(64, bytes) else { throw Fault(SWIFTDPO_ERROR_OUT_OF_MEMORY, "group_size") }
  defer { free(memory) }
  return body(memory.assumingMemoryBound(to: StageProbabilities.self))
}

/// Each group lists each of its items once. Marks items in a window of bits on the stack; groups larger than the window
/// are read once for each window.
private func checkPermutations(_ rankings: UnsafePointer<Int64>?, groups: Int, size: Int) throws(Fault) {
  guard let rankings = rankings else { return }
  let window = 1 << 14
  for group in 0..<groups {
    let ranking = rankings + group * size
    var start = 0
    while start < size {
      var seen = InlineArray<256, UInt64>(repeating: 0)
      for position in 0..<size {
        let item = ranking[position]
        let index = group * size + position
        try require(item >= 0 && item < Int64(size), SWIFTDPO_ERROR_NOT_A_RANKING, "rankings", at: index)
        let offset = Int(item) - start
        if offset < 0 || offset >= window { continue }
        let bit: UInt64 = 1 << UInt64(offset & 63)
        try require(seen[offset >> 6] & bit == 0, SWIFTDPO_ERROR_NOT_A_RANKING, "rankings", at: index)
        seen[offset >> 6] |= bit
      }
      start += window
    }
  }
}
