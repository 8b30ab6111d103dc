import CSwiftDPO
import Elementary
import Preference

@_cdecl("swiftdpo_divergence_f32") @implementation
public func swiftdpo_divergence_f32(
  _ distributions: UnsafePointer<swiftdpo_distributions_f32>!, _ options: UnsafePointer<swiftdpo_divergence_options>!,
  _ results: UnsafePointer<swiftdpo_divergence_results_f32>!, _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in try divergence(.f32, form(distributions), options, form(results)) }
}

@_cdecl("swiftdpo_divergence_f64") @implementation
public func swiftdpo_divergence_f64(
  _ distributions: UnsafePointer<swiftdpo_distributions_f64>!, _ options: UnsafePointer<swiftdpo_divergence_options>!,
  _ results: UnsafePointer<swiftdpo_divergence_results_f64>!, _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in try divergence(.f64, form(distributions), options, form(results)) }
}

private func divergence(
  _ type: ElementType, _ distributions: UnsafePointer<swiftdpo_distributions_f64>?,
  _ options: UnsafePointer<swiftdpo_divergence_options>?, _ results: UnsafePointer<swiftdpo_divergence_results_f64>?
) throws(Fault) {
  let distributions = try read(distributions, "distributions")
  let options = try readOptional(options, "options")
  let results = try read(results, "results")
  let (rows, length) = (distributions.num_rows, distributions.num_outcomes)
  let outcomes = try product(rows, length, "num_rows")
  try require(length > 0 || rows == 0, SWIFTDPO_ERROR_COUNT, "num_outcomes")
  let refuseNonfinite = try checkNonfinitePolicy(options.nonfinite)

  var ledger = Ledger()
  var job = DivergenceJob(
    type: type, length: length, logP: try ledger.input(distributions.logp, type, outcomes, "logp"),
    logQ: try ledger.input(distributions.logq, type, outcomes, "logq"))
  job.values = try ledger.result(results.divergences, rows, "divergences")
  job.gradP = try ledger.result(results.grad_logp, type, outcomes, "grad_logp")
  job.gradQ = try ledger.result(results.grad_logq, type, outcomes, "grad_logq")
  switch options.kind {
  case SWIFTDPO_DIVERGENCE_KL: job.kind = .kl
  case SWIFTDPO_DIVERGENCE_REVERSE_KL:
    swap(&job.logP, &job.logQ)
    swap(&job.gradP, &job.gradQ)
  case SWIFTDPO_DIVERGENCE_GENERALIZED_KL: job.kind = .generalizedKL
  case SWIFTDPO_DIVERGENCE_JENSEN_SHANNON: job.kind = .jensenShannon
  default: throw Fault(SWIFTDPO_ERROR_DIVERGENCE_KIND, "kind")
  }
  try checkLogProbabilities(distributions.logp, type, outcomes, refuseNonfinite, "logp")
  try checkLogProbabilities(distributions.logq, type, outcomes, refuseNonfinite, "logq")

  withUnsafePointer(to: job) { job in
    parallelRanges(rows, grain: grain(rowLength: length)) { kernels.divergence(job, $0) }
  }
}

/// Rows of one task: some 8192 elements, so that handing a task over is cheap against it.
func grain(rowLength: Int) -> Int { rowLength >= 8192 ? 1 : 8192 / (rowLength > 0 ? rowLength : 1) }

/// Log-probabilities, -inf among them. NaN and +inf are refused if so asked.
func checkLogProbabilities(
  _ array: UnsafeRawPointer?, _ type: ElementType, _ count: Int, _ refuseNonfinite: Bool, _ name: FieldName
) throws(Fault) {
  guard let array else { return }
  var index = Interval.logProbability.firstOutside(array, type, 0, count)
  while index < count {
    let finite = type.load(array, index) < .infinity
    try require(finite || !refuseNonfinite, SWIFTDPO_ERROR_NONFINITE, name, at: index)
    try require(!finite, SWIFTDPO_ERROR_LOG_PROBABILITY, name, at: index)
    index = Interval.logProbability.firstOutside(array, type, index + 1, count)
  }
}
