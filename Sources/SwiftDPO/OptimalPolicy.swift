import CSwiftDPO
import Elementary
import Preference

@_cdecl("swiftdpo_optimal_policy_f32") @implementation
public func swiftdpo_optimal_policy_f32(
  _ responses: UnsafePointer<swiftdpo_responses_f32>!, _ options: UnsafePointer<swiftdpo_policy_options>!,
  _ results: UnsafePointer<swiftdpo_policy_results_f32>!, _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in try optimalPolicy(.f32, form(responses), options, form(results)) }
}

@_cdecl("swiftdpo_optimal_policy_f64") @implementation
public func swiftdpo_optimal_policy_f64(
  _ responses: UnsafePointer<swiftdpo_responses_f64>!, _ options: UnsafePointer<swiftdpo_policy_options>!,
  _ results: UnsafePointer<swiftdpo_policy_results_f64>!, _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in try optimalPolicy(.f64, form(responses), options, form(results)) }
}

@_cdecl("swiftdpo_implicit_rewards_f32") @implementation
public func swiftdpo_implicit_rewards_f32(
  _ responses: UnsafePointer<swiftdpo_responses_f32>!, _ options: UnsafePointer<swiftdpo_policy_options>!,
  _ rewards: UnsafeMutablePointer<Float>!, _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in try implicitRewards(.f32, form(responses), options, rewards) }
}

@_cdecl("swiftdpo_implicit_rewards_f64") @implementation
public func swiftdpo_implicit_rewards_f64(
  _ responses: UnsafePointer<swiftdpo_responses_f64>!, _ options: UnsafePointer<swiftdpo_policy_options>!,
  _ rewards: UnsafeMutablePointer<Double>!, _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in try implicitRewards(.f64, form(responses), options, rewards) }
}

@_cdecl("swiftdpo_policy_from_rewards_f32") @implementation
public func swiftdpo_policy_from_rewards_f32(
  _ responses: UnsafePointer<swiftdpo_responses_f32>!, _ options: UnsafePointer<swiftdpo_policy_options>!,
  _ policyLogps: UnsafeMutablePointer<Float>!, _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in try policyFromRewards(.f32, form(responses), options, policyLogps) }
}

@_cdecl("swiftdpo_policy_from_rewards_f64") @implementation
public func swiftdpo_policy_from_rewards_f64(
  _ responses: UnsafePointer<swiftdpo_responses_f64>!, _ options: UnsafePointer<swiftdpo_policy_options>!,
  _ policyLogps: UnsafeMutablePointer<Double>!, _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in try policyFromRewards(.f64, form(responses), options, policyLogps) }
}

/// What the calls over responses have in common: sizes, options, and the inputs that each of them reads.
struct Prompts {
  let type: ElementType
  let rows: Int
  let length: Int
  let elements: Int
  let refuseNonfinite: Bool
  var ledger = Ledger()
  var job: ResponsesJob

  init(
    _ type: ElementType, _ responses: swiftdpo_responses_f64, _ options: UnsafePointer<swiftdpo_policy_options>?
  ) throws(Fault) {
    let options = try readOptional(options, "options")
    self.type = type
    rows = responses.num_prompts
    length = responses.num_responses
    elements = try product(rows, length, "num_prompts")
    try require(length > 0 || rows == 0, SWIFTDPO_ERROR_COUNT, "num_responses")
    try checkBeta(options.beta, "beta")
    refuseNonfinite = try checkNonfinitePolicy(options.nonfinite)
    job = ResponsesJob(type: type, length: length, beta: options.beta)
    job.reference = try ledger.optionalInput(responses.ref_logps, type, elements, "ref_logps")
    job.betas = try ledger.optionalInput(responses.betas, type, rows, "betas")
    try checkBetas(job.betas, type, rows)
  }

  func checkFinite(_ array: UnsafeRawPointer?, _ name: FieldName) throws(Fault) {
    if refuseNonfinite { try SwiftDPO.checkFinite(array, type, elements, name) }
  }

  func run(_ kernel: (UnsafePointer<ResponsesJob>, Range<Int>) -> Void) {
    withUnsafePointer(to: job) { job in parallelRanges(rows, grain: grain(rowLength: length)) { kernel(job, $0) } }
  }
}

private func optimalPolicy(
  _ type: ElementType, _ responses: UnsafePointer<swiftdpo_responses_f64>?,
  _ options: UnsafePointer<swiftdpo_policy_options>?, _ results: UnsafePointer<swiftdpo_policy_results_f64>?
) throws(Fault) {
  let responses = try read(responses, "responses")
  var prompts = try Prompts(type, responses, options)
  let results = try read(results, "results")
  let (rows, elements) = (prompts.rows, prompts.elements)
  prompts.job.rewards = try prompts.ledger.input(responses.rewards, type, elements, "rewards")
  prompts.job.policy = try prompts.ledger.optionalInput(responses.policy_logps, type, elements, "policy_logps")
  let compares = results.policy_objectives != nil || results.policy_gaps != nil
  try require(responses.policy_logps != nil || !compares || elements == 0, SWIFTDPO_ERROR_NULL_POINTER, "policy_logps")

  prompts.job.result = try prompts.ledger.result(results.logps, type, elements, "logps")
  prompts.job.logPartition = try prompts.ledger.result(results.log_partitions, rows, "log_partitions")
  prompts.job.objective = try prompts.ledger.result(results.objectives, rows, "objectives")
  prompts.job.expectedReward = try prompts.ledger.result(results.expected_rewards, rows, "expected_rewards")
  prompts.job.klDivergence = try prompts.ledger.result(results.kl_divergences, rows, "kl_divergences")
  prompts.job.gradRewards = try prompts.ledger.result(results.grad_rewards, type, elements, "grad_rewards")
  prompts.job.gradBeta = try prompts.ledger.result(results.grad_betas, rows, "grad_betas")
  prompts.job.policyObjective = try prompts.ledger.result(results.policy_objectives, rows, "policy_objectives")
  prompts.job.policyGap = try prompts.ledger.result(results.policy_gaps, rows, "policy_gaps")

  try prompts.checkFinite(prompts.job.rewards, "rewards")
  try checkReference(prompts.job.reference, type, rows, prompts.length, prompts.refuseNonfinite)
  try checkLogProbabilities(prompts.job.policy, type, elements, prompts.refuseNonfinite, "policy_logps")
  prompts.run { kernels.optimalPolicy($0, $1) }
}

private func implicitRewards(
  _ type: ElementType, _ responses: UnsafePointer<swiftdpo_responses_f64>?,
  _ options: UnsafePointer<swiftdpo_policy_options>?, _ rewards: UnsafeMutableRawPointer?
) throws(Fault) {
  let responses = try read(responses, "responses")
  var prompts = try Prompts(type, responses, options)
  prompts.job.policy = try prompts.ledger.input(responses.policy_logps, prompts.type, prompts.elements, "policy_logps")
  try prompts.checkFinite(prompts.job.policy, "policy_logps")
  try convert(&prompts, responses.log_partitions, rewards, "rewards", backwards: false)
}

private func policyFromRewards(
  _ type: ElementType, _ responses: UnsafePointer<swiftdpo_responses_f64>?,
  _ options: UnsafePointer<swiftdpo_policy_options>?, _ policyLogps: UnsafeMutableRawPointer?
) throws(Fault) {
  let responses = try read(responses, "responses")
  var prompts = try Prompts(type, responses, options)
  prompts.job.rewards = try prompts.ledger.input(responses.rewards, prompts.type, prompts.elements, "rewards")
  try prompts.checkFinite(prompts.job.rewards, "rewards")
  try convert(&prompts, responses.log_partitions, policyLogps, "policy_logps", backwards: true)
}

private func convert(
  _ prompts: inout Prompts, _ logPartitions: UnsafePointer<Double>?, _ result: UnsafeMutableRawPointer?,
  _ name: FieldName, backwards: Bool
) throws(Fault) {
  prompts.job.logPartitions = try prompts.ledger.optionalInput(logPartitions, prompts.rows, "log_partitions")
  prompts.job.result = try prompts.ledger.requiredResult(result, prompts.type, prompts.elements, name)
  try prompts.checkFinite(prompts.job.reference, "ref_logps")
  if prompts.refuseNonfinite { try checkFinite(logPartitions, .f64, prompts.rows, "log_partitions") }
  prompts.run { kernels.implicitRewards($0, $1, backwards) }
}

/// NaN and +inf are refused if so asked; -inf is legal but for all responses of a prompt.
@_optimize(speed)
func checkReference(
  _ array: UnsafeRawPointer?, _ type: ElementType, _ rows: Int, _ length: Int, _ refuseNonfinite: Bool
) throws(Fault) {
  guard let array, refuseNonfinite else { return }
  for row in 0..<rows {
    var supported = false
    for index in row * length..<(row + 1) * length {
      let logp = type.load(array, index)
      try require(logp < .infinity, SWIFTDPO_ERROR_NONFINITE, "ref_logps", at: index)
      if logp > -.infinity { supported = true }
    }
    try require(supported, SWIFTDPO_ERROR_SUPPORT, "ref_logps", at: row * length)
  }
}
