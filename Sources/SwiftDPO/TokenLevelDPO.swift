import CSwiftDPO
import Elementary
import Preference

// TDPO: DPO with the divergences of both responses in its margin.

extension swiftdpo_tdpo_f32: GrowableStruct {
  static func setDefaults(_ value: inout Self) { value.alpha = 0.5 }
}

extension swiftdpo_tdpo_f64: GrowableStruct {
  static func setDefaults(_ value: inout Self) { value.alpha = 0.5 }
}

@_cdecl("swiftdpo_tdpo_f32_init") @implementation
public func swiftdpo_tdpo_f32_init(_ tdpo: UnsafeMutablePointer<swiftdpo_tdpo_f32>!) { initialize(tdpo) }

@_cdecl("swiftdpo_tdpo_f64_init") @implementation
public func swiftdpo_tdpo_f64_init(_ tdpo: UnsafeMutablePointer<swiftdpo_tdpo_f64>!) { initialize(tdpo) }

@_cdecl("swiftdpo_tdpo_loss_f32") @implementation
public func swiftdpo_tdpo_loss_f32(
  _ pairs: UnsafePointer<swiftdpo_pairs_f32>!, _ tdpo: UnsafePointer<swiftdpo_tdpo_f32>!,
  _ options: UnsafePointer<swiftdpo_dpo_options>!, _ results: UnsafePointer<swiftdpo_pair_results_f32>!,
  _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answerTDPO(form(pairs), form(tdpo), options, form(results), culprit, .f32)
}

@_cdecl("swiftdpo_tdpo_loss_f64") @implementation
public func swiftdpo_tdpo_loss_f64(
  _ pairs: UnsafePointer<swiftdpo_pairs_f64>!, _ tdpo: UnsafePointer<swiftdpo_tdpo_f64>!,
  _ options: UnsafePointer<swiftdpo_dpo_options>!, _ results: UnsafePointer<swiftdpo_pair_results_f64>!,
  _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answerTDPO(form(pairs), form(tdpo), options, form(results), culprit, .f64)
}

@inline(never)
private func answerTDPO(
  _ pairs: UnsafePointer<swiftdpo_pairs_f64>?, _ tdpo: UnsafePointer<swiftdpo_tdpo_f64>?,
  _ options: UnsafePointer<swiftdpo_dpo_options>?, _ results: UnsafePointer<swiftdpo_pair_results_f64>?,
  _ culprit: UnsafeMutablePointer<swiftdpo_culprit>?, _ type: ElementType
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in
    guard let tdpo else { throw Fault(SWIFTDPO_ERROR_NULL_POINTER, "tdpo") }
    try dpoLoss(type, pairs, options, results, tdpo: tdpo)
  }
}

/// The divergences of a batch, checked.
func takeDivergences(
  _ tdpo: swiftdpo_tdpo_f64, _ job: PairwiseJob, _ ledger: inout Ledger
) throws(Fault) -> TokenDivergences {
  let (type, count) = (job.type, job.count)
  let isFirst = tdpo.loss_type == SWIFTDPO_TDPO1
  try require(isFirst || tdpo.loss_type == SWIFTDPO_TDPO2, SWIFTDPO_ERROR_LOSS_TYPE, "loss_type")
  try require(tdpo.alpha >= 0 && tdpo.alpha.isFinite, SWIFTDPO_ERROR_PARAMETER, "alpha")
  var divergences = TokenDivergences(
    chosen: try ledger.input(tdpo.chosen_kl, type, count, "chosen_kl"),
    rejected: try ledger.input(tdpo.rejected_kl, type, count, "rejected_kl"),
    alpha: isFirst ? 1 : tdpo.alpha, holdsChosen: !isFirst)
  try checkFinite(divergences.chosen, type, count, "chosen_kl")
  try checkFinite(divergences.rejected, type, count, "rejected_kl")
  divergences.gradChosen = try ledger.result(tdpo.grad_chosen_kl, type, count, "grad_chosen_kl")
  divergences.gradRejected = try ledger.result(tdpo.grad_rejected_kl, type, count, "grad_rejected_kl")
  divergences.margins = try ledger.result(tdpo.kl_margins, type, count, "kl_margins")
  return divergences
}
