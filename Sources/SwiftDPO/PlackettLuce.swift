import CSwiftDPO
import Elementary
import Preference

@_cdecl("swiftdpo_plackett_luce_loss_f32") @implementation
public func swiftdpo_plackett_luce_loss_f32(
  _ rankings: UnsafePointer<swiftdpo_rankings_f32>!, _ options: UnsafePointer<swiftdpo_plackett_luce_options>!,
  _ results: UnsafePointer<swiftdpo_ranking_results_f32>!, _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in try plackettLuceLoss(.f32, form(rankings), options, form(results)) }
}

@_cdecl("swiftdpo_plackett_luce_loss_f64") @implementation
public func swiftdpo_plackett_luce_loss_f64(
  _ rankings: UnsafePointer<swiftdpo_rankings_f64>!, _ options: UnsafePointer<swiftdpo_plackett_luce_options>!,
  _ results: UnsafePointer<swiftdpo_ranking_results_f64>!, _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in try plackettLuceLoss(.f64, form(rankings), options, form(results)) }
}

@_cdecl("swiftdpo_plackett_luce_loss_bf16") @implementation
public func swiftdpo_plackett_luce_loss_bf16(
  _ rankings: UnsafePointer<swiftdpo_rankings_half>!, _ options: UnsafePointer<swiftdpo_plackett_luce_options>!,
  _ results: UnsafePointer<swiftdpo_ranking_results_half>!, _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in try plackettLuceLoss(.bf16, form(rankings), options, form(results)) }
}

@_cdecl("swiftdpo_plackett_luce_loss_f16") @implementation
public func swiftdpo_plackett_luce_loss_f16(
  _ rankings: UnsafePointer<swiftdpo_rankings_half>!, _ options: UnsafePointer<swiftdpo_plackett_luce_options>!,
  _ results: UnsafePointer<swiftdpo_ranking_results_half>!, _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in try plackettLuceLoss(.f16, form(rankings), options, form(results)) }
}

/// - Parameter head: the buffers of a fused head that asks whether its loss would be refused: results are left alone.
func plackettLuceLoss(
  _ type: ElementType, _ rankings: UnsafePointer<swiftdpo_rankings_f64>?,
  _ options: UnsafePointer<swiftdpo_plackett_luce_options>?, _ results: UnsafePointer<swiftdpo_ranking_results_f64>?,
  inTheWayOf head: UnsafePointer<Ledger>? = nil
) throws(Fault) {
  let rankings = try read(rankings, "rankings")
  let options = try readOptional(options, "options")
  let results = try read(results, "results")
  let groups = rankings.num_groups

  try checkBeta(options.beta, "beta")
  let scale = try checkReduction(options.reduction, count: groups)
  let refuseNonfinite = try checkNonfinitePolicy(options.nonfinite)
  let unlisted = try checkUnlisted(options.unlisted)
  let ties = try checkTies(options.ties)
  let choosesWorst = try checkFirstChoice(options.first_choice)

  var ledger = Ledger()
  ledger.join(head)
  let offsets = try ledger.optionalInput(rankings.offsets, product(groups, 1, "num_groups") &+ 1, "offsets")
  let (entries, largest) = try countEntries(groups, rankings.group_size, offsets)
  let shared = try product(rankings.num_shared_items, 1, "num_shared_items")
  let items = shared > 0 ? shared : entries
  var job = RankingJob(
    type: type, numGroups: groups, groupSize: rankings.group_size,
    policy: try ledger.input(rankings.policy_logps, type, items, "policy_logps"))
  job.offsets = offsets
  job.unlisted = unlisted
  job.numSharedItems = shared
  job.reference = try ledger.optionalInput(rankings.ref_logps, type, items, "ref_logps")
  job.rankings = try ledger.optionalInput(rankings.rankings, entries, "rankings")
  job.betas = try ledger.optionalInput(rankings.betas, type, groups, "betas")
  job.weights = try ledger.optionalInput(rankings.weights, type, groups, "weights")
  job.ranks = try ledger.optionalInput(rankings.ranks, entries, "ranks")
  let places = try product(rankings.num_position_weights, 1, "num_position_weights")
  job.positionWeights = try ledger.optionalInput(rankings.position_weights, type, places, "position_weights")
  job.direction = try ledger.optionalInput(rankings.direction, type, items, "direction")

  job.ties = ties
  let strengths = try product(rankings.num_tie_strengths, 1, "num_tie_strengths")
  job.tieStrengths = try ledger.optionalInput(rankings.tie_strengths, strengths, "tie_strengths")
  job.numTieStrengths = ties == .davidson ? strengths : 0

  let loss = try ledger.result(results.loss, 1, "loss")
  job.losses = try ledger.result(results.losses, type, groups, "losses")
  job.gradPolicy = try ledger.result(results.grad_policy_logps, type, items, "grad_policy_logps")
  job.rewards = try ledger.result(results.rewards, type, items, "rewards")
  job.gradientWeights = try ledger.result(results.gradient_weights, type, items, "gradient_weights")
  job.gradReference = try ledger.result(results.grad_ref_logps, type, items, "grad_ref_logps")
  job.gradTieStrengths = try ledger.result(results.grad_tie_strengths, strengths, "grad_tie_strengths")
  job.hessianProduct = try ledger.result(results.hessian_product, type, items, "hessian_product")

  if shared > 0 {
    try require(job.rankings != nil || entries == 0, SWIFTDPO_ERROR_CHOICE_OF_INPUT, "rankings")
    try require(results.gradient_weights == nil, SWIFTDPO_ERROR_CHOICE_OF_INPUT, "gradient_weights")
  } else {
    try require(job.rankings == nil || job.ranks == nil, SWIFTDPO_ERROR_CHOICE_OF_INPUT, "ranks")
  }
  if ties != .breslow {
    try require(results.gradient_weights == nil, SWIFTDPO_ERROR_CHOICE_OF_INPUT, "gradient_weights")
  }
  try require(
    job.hessianProduct == nil || job.direction != nil, SWIFTDPO_ERROR_NULL_POINTER, "direction")
  try require(job.positionWeights == nil || places >= largest, SWIFTDPO_ERROR_COUNT, "num_position_weights")
  try checkAll(job.positionWeights, type, places, in: .nonnegative, SWIFTDPO_ERROR_WEIGHT, "position_weights")
  try checkBetas(job.betas, type, groups)
  try checkWeights(job.weights, type, groups)
  try checkFinite(job.direction, type, items, "direction")
  let capacity = shared > largest ? shared : largest
  try checkRankings(job, capacity: capacity)
  try checkRanks(job)
  try checkTieStrengths(job)
  if refuseNonfinite {
    try checkFinite(job.policy, type, items, "policy_logps")
    try checkFinite(job.reference, type, items, "ref_logps")
  }

  if head != nil { return }

  job.beta = options.beta
  job.scale = scale
  job.choosesWorst = choosesWorst
  if options.top > 0 { job.top = options.top }

  let sum = try evaluate(&job, capacity: capacity, items: items)
  loss?.pointee = reduced(sum, scale)
  if groups == 0 { withUnsafePointer(to: job) { kernels.rankingRewards($0, 0..<0) } }
  // No other kind of ties depends on them.
  if ties != .davidson { job.gradTieStrengths?.initialize(repeating: 0, count: strengths) }
}

/// The number of entries of all groups, and of the largest.
func countEntries(
  _ groups: Int, _ size: Int, _ offsets: UnsafePointer<Int64>?
) throws(Fault) -> (total: Int, largest: Int) {
  guard let offsets else {
    try require(size > 0 || groups == 0, SWIFTDPO_ERROR_COUNT, "group_size")
    return (try product(groups, size, "num_groups"), size)
  }
  try require(offsets[0] == 0, SWIFTDPO_ERROR_OFFSETS, "offsets")
  var largest = 0
  for group in 0..<groups {
    let (size, overflow) = offsets[group + 1].subtractingReportingOverflow(offsets[group])
    try require(!overflow && size >= 0, SWIFTDPO_ERROR_OFFSETS, "offsets", at: group + 1)
    if Int(size) > largest { largest = Int(size) }
  }
  return (Int(offsets[groups]), largest)
}
