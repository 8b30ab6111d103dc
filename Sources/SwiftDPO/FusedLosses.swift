import CPlatform
import CSwiftDPO
import Elementary
import Preference

// Losses over a fused head in one call. What a loss is made of is the loss's own function's business: here it is asked
// for the gradient of what is known so far, and for its results when all is.

/// What a loss is asked for.
private enum Question {
  /// d loss / d log-probabilities of the sequences.
  case gradient
  /// The caller's results.
  case results
}

/// What a loss is told: arrays with an element for each sequence.
private struct LossInput {
  let logps: UnsafeMutablePointer<Double>
  /// nil: the loss's own struct knows them, or there is no reference.
  let refLogps: UnsafeMutablePointer<Double>?
  let gradient: UnsafeMutablePointer<Double>
  let tokens: UnsafeMutablePointer<Int64>
}

/// A loss with what the caller gave for it.
private enum Loss {
  case pairs(swiftdpo_pairs_f64, UnsafePointer<swiftdpo_dpo_options>?, swiftdpo_pair_results_f64)
  case unpaired(swiftdpo_unpaired_f64, UnsafePointer<swiftdpo_unpaired_options>?, swiftdpo_unpaired_results_f64)
  case rankings(swiftdpo_rankings_f64, UnsafePointer<swiftdpo_plackett_luce_options>?, swiftdpo_ranking_results_f64)

  /// Whether it refuses log-probabilities that are infinite or NaN.
  var refusesNonfinite: Bool {
    get throws(Fault) {
      let policy =
        switch self {
        case .pairs(_, let options, _): try readOptional(options, "loss_options").nonfinite
        case .unpaired(_, let options, _): try readOptional(options, "loss_options").nonfinite
        case .rankings(_, let options, _): try readOptional(options, "loss_options").nonfinite
        }
      return policy == SWIFTDPO_NONFINITE_ERROR
    }
  }

  /// Asks the loss's own function; with the buffers of the head, only whether it would be refused.
  func ask(_ question: Question, _ input: LossInput, head: UnsafePointer<Ledger>? = nil) throws(Fault) {
    switch self {
    case .pairs(let given, let options, let results):
      var pairs = given
      pairs.policy_chosen_logps = UnsafePointer(input.logps)
      pairs.policy_rejected_logps = UnsafePointer(input.logps + given.count)
      if let known = input.refLogps {
        pairs.ref_chosen_logps = UnsafePointer(known)
        pairs.ref_rejected_logps = UnsafePointer(known + given.count)
      }
      if given.chosen_lengths == nil { pairs.chosen_lengths = UnsafePointer(input.tokens) }
      if given.rejected_lengths == nil { pairs.rejected_lengths = UnsafePointer(input.tokens + given.count) }
      var wanted = results
      if question == .gradient {
        wanted = initial()
        wanted.grad_policy_chosen_logps = input.gradient
        wanted.grad_policy_rejected_logps = input.gradient + given.count
      }
      try dpoLoss(.f64, &pairs, options, &wanted, inTheWayOf: head)

    case .unpaired(let given, let options, let results):
      var unpaired = given
      unpaired.policy_logps = UnsafePointer(input.logps)
      if let known = input.refLogps { unpaired.ref_logps = UnsafePointer(known) }
      var wanted = results
      if question == .gradient {
        wanted = initial()
        wanted.grad_policy_logps = input.gradient
      }
      try unpairedLoss(.f64, &unpaired, options, &wanted, inTheWayOf: head)

    case .rankings(let given, let options, let results):
      var rankings = given
      rankings.policy_logps = UnsafePointer(input.logps)
      if let known = input.refLogps { rankings.ref_logps = UnsafePointer(known) }
      var wanted = results
      if question == .gradient {
        wanted = initial()
        wanted.grad_policy_logps = input.gradient
      }
      try plackettLuceLoss(.f64, &rankings, options, &wanted, inTheWayOf: head)
    }
  }
}

/// A loss, and which sequences of the head it wants.
private struct LossCall {
  let loss: Loss
  let sequences: Int
  let groups: Groups
  /// The gradient of a group depends on the others' log-probabilities.
  var couplesBatch = false

  init(
    _ pairs: UnsafePointer<swiftdpo_pairs_f64>?, _ options: UnsafePointer<swiftdpo_dpo_options>?,
    _ results: UnsafePointer<swiftdpo_pair_results_f64>?, hasReference: Bool
  ) throws(Fault) {
    let given = try read(pairs, "pairs")
    let isChosen = SWIFTDPO_ERROR_CHOICE_OF_INPUT
    try require(given.policy_chosen_logps == nil, isChosen, "policy_chosen_logps")
    try require(given.policy_rejected_logps == nil, isChosen, "policy_rejected_logps")
    try require(!hasReference || given.ref_chosen_logps == nil, isChosen, "ref_chosen_logps")
    try require(!hasReference || given.ref_rejected_logps == nil, isChosen, "ref_rejected_logps")
    sequences = try product(given.count, 2, "count")
    groups = .pairs(given.count)
    loss = .pairs(given, options, try readOptional(results, "results"))
    // Which losses there may be is for their own function to check.
    let losses = try readOptional(options, "loss_options")
    if let types = losses.loss_types {
      for index in 0..<min(losses.num_losses, 16) {
        let type = types[index]
        couplesBatch = couplesBatch || type == SWIFTDPO_LOSS_AOT || type == SWIFTDPO_LOSS_AOT_UNPAIRED
      }
    }
  }

  init(
    _ unpaired: UnsafePointer<swiftdpo_unpaired_f64>?, _ options: UnsafePointer<swiftdpo_unpaired_options>?,
    _ results: UnsafePointer<swiftdpo_unpaired_results_f64>?, hasReference: Bool
  ) throws(Fault) {
    let given = try read(unpaired, "unpaired")
    try require(given.policy_logps == nil, SWIFTDPO_ERROR_CHOICE_OF_INPUT, "policy_logps")
    try require(!hasReference || given.ref_logps == nil, SWIFTDPO_ERROR_CHOICE_OF_INPUT, "ref_logps")
    sequences = try product(given.count, 1, "count")
    groups = .single
    loss = .unpaired(given, options, try readOptional(results, "results"))
  }

  init(
    _ rankings: UnsafePointer<swiftdpo_rankings_f64>?, _ options: UnsafePointer<swiftdpo_plackett_luce_options>?,
    _ results: UnsafePointer<swiftdpo_ranking_results_f64>?, hasReference: Bool
  ) throws(Fault) {
    let given = try read(rankings, "rankings")
    try require(given.policy_logps == nil, SWIFTDPO_ERROR_CHOICE_OF_INPUT, "policy_logps")
    try require(!hasReference || given.ref_logps == nil, SWIFTDPO_ERROR_CHOICE_OF_INPUT, "ref_logps")
    loss = .rankings(given, options, try readOptional(results, "results"))
    let count = try product(given.num_groups, 1, "num_groups")
    if given.num_shared_items > 0 {
      sequences = try product(given.num_shared_items, 1, "num_shared_items")
      groups = .single
      couplesBatch = true
    } else if let offsets = given.offsets {
      var ledger = Ledger()
      let boundaries = try ledger.input(UnsafePointer(offsets), product(count, 1, "num_groups") + 1, "offsets")
      try require(boundaries[0] == 0, SWIFTDPO_ERROR_OFFSETS, "offsets")
      for group in 0..<count {
        try require(boundaries[group + 1] >= boundaries[group], SWIFTDPO_ERROR_OFFSETS, "offsets", at: group + 1)
      }
      sequences = Int(boundaries[count])
      groups = .offsets(boundaries, count)
    } else {
      sequences = try product(count, given.group_size, "num_groups")
      groups = .runs(max(given.group_size, 1))
    }
  }
}

private func fusedLoss(
  _ policy: UnsafePointer<swiftdpo_linear_head_f32>?, _ reference: UnsafePointer<swiftdpo_linear_head_f32>?,
  _ type: ElementType,
  _ options: UnsafePointer<swiftdpo_logps_options>?, _ fused: UnsafePointer<swiftdpo_fused_options>?,
  _ results: UnsafePointer<swiftdpo_fused_results_f32>?, _ asked: LossCall
) throws(Fault) {
  let results = try readOptional(results, "fused_results")
  let loss = asked.loss
  let groups = asked.groups
  let sequences = asked.sequences
  var ledger = Ledger()
  let call = try FusedCall(policy, type, options, fused, &ledger)
  let batch = call.batch
  try require(batch.sequences == sequences, SWIFTDPO_ERROR_COUNT, "num_sequences")
  try require(batch.vocabularyStart == 0, SWIFTDPO_ERROR_COUNT, "vocab_start")
  let hasReference = reference != nil
  let referenceCall = hasReference ? try FusedCall(reference: reference, of: call, &ledger) : call
  let targets = try LogpsTargets(readOptional(results.logps, "logps"), batch, &ledger)
  try require(results.ref_logps == nil || hasReference, SWIFTDPO_ERROR_CHOICE_OF_INPUT, "ref_logps")
  let refLogps = try ledger.result(results.ref_logps, sequences, "ref_logps")
  let gradients = try HeadGradients(readOptional(results.gradients, "gradients"), call.head, batch, &ledger)

  let numbers = try Scratch<Double>(product(sequences, 3, "num_sequences"), "num_sequences")
  defer { numbers.free() }
  let tokens = try Scratch<Int64>(sequences, "num_sequences")
  defer { tokens.free() }
  let scored = try Scratch<ScoredRow>(batch.rows, "num_sequences")
  defer { scored.free() }
  let factors = try Scratch<Double>(batch.rows, "num_sequences")
  defer { factors.free() }
  for index in 0..<3 * sequences { numbers.values[index] = 0 }
  for index in 0..<sequences { tokens.values[index] = 0 }
  let input = LossInput(
    logps: numbers.values, refLogps: hasReference ? numbers.values + sequences : nil,
    gradient: numbers.values + 2 * sequences, tokens: tokens.values)
  try withUnsafePointer(to: ledger) { (head) throws(Fault) in try loss.ask(.results, input, head: head) }

  let head = try call.begin(groups)
  defer { head.end() }
  if hasReference {
    let known = LogpsTargets(logps: numbers.values + sequences, numTokens: nil)
    let head = try referenceCall.begin(.single, keeps: false, lender: head)
    defer { head.end() }
    if batch.refuseNonfinite { _ = try head.head.checkFinite(batch, head.plan.rows) }
    try head.scoreAll(scored.values, all: false, keepIn: nil)
    known.store(batch, head.plan.planned.values, scored.values)
  }

  let plan = head.plan
  let planned = plan.planned.values
  let known = LogpsTargets(logps: input.logps, numTokens: nil)
  for sequence in 0..<sequences {
    for row in batch.rows(of: sequence) where planned[row].label >= 0 { tokens.values[sequence] += 1 }
  }

  // Gradients may be written as soon as nothing can be refused any more.
  let cannotOverflow = batch.refuseNonfinite ? try head.head.checkFinite(batch, plan.rows) : false
  let isFinite =
    cannotOverflow && !head.masksLabel && head.scalesModestly
    && input.refLogps.map { kernels.firstNonfinite(.f64, $0, sequences) < 0 } ?? true
  let mayBeInfinite = try !loss.refusesNonfinite && (cannotOverflow || !batch.refuseNonfinite)
  let goesOn = (isFinite || mayBeInfinite) && !asked.couplesBatch && !gradients.areNone
  if goesOn {
    gradients.clear(call.head, batch, plan)
    for block in 0..<plan.blockCount {
      let chunks = plan.chunks(of: block)
      let keeper = head.keeper(chunks)
      for chunk in chunks {
        head.score(chunk, scored.values, all: targets.wantsAll, keepIn: head.kept(keeper, chunk, chunks))
      }
      for group in plan.groups(of: block) {
        groups.forEachSequence(group) { known.store($0, batch, planned, scored.values) }
      }
      // The other blocks' groups have numbers of no meaning here, and no part in this block's gradients.
      try loss.ask(.gradient, input)
      for group in plan.groups(of: block) {
        groups.forEachSequence(group) { head.weigh($0, input.gradient[$0], factors.values) }
      }
      head.differentiate(chunks, keeper, scored.values, factors.values, gradients)
    }
  } else {
    let chunks = 0..<plan.chunkCount
    let keeper = gradients.areNone ? nil : head.keeper(chunks)
    try head.scoreAll(scored.values, all: targets.wantsAll, keepIn: keeper)
    known.store(batch, planned, scored.values)
    try loss.ask(.gradient, input)
    if !gradients.areNone {
      gradients.clear(call.head, batch, plan)
      for sequence in 0..<sequences { head.weigh(sequence, input.gradient[sequence], factors.values) }
      head.differentiate(chunks, keeper, scored.values, factors.values, gradients)
    }
  }
  try loss.ask(.results, input)
  targets.store(batch, planned, scored.values)
  if let refLogps, let known = input.refLogps { refLogps.update(from: known, count: sequences) }
}

extension FusedHead {
  /// Adds the gradients of chunks that are scored.
  fileprivate func differentiate(
    _ chunks: Range<Int>, _ keeper: UnsafeMutablePointer<Float>?, _ scored: UnsafePointer<ScoredRow>,
    _ factors: UnsafePointer<Double>, _ gradients: HeadGradients
  ) {
    for chunk in chunks {
      differentiate(
        chunk, kept: kept(keeper, chunk, chunks), normalizers: { scored[$0].logNormalizer }, factors: factors,
        gradients,
        isFirst: chunk == 0)
    }
  }

  /// A label that counts has probability 0: its sequence's log-probability is -inf, which losses refuse.
  fileprivate var masksLabel: Bool {
    guard let bias = head.bias else { return false }
    for row in plan.rows where head.type.load(bias, plan.planned.values[row].label) == -.infinity { return true }
    return false
  }

  /// Neither the scale nor a token's weight is so large that a sum of finite logits could overflow with it.
  fileprivate var scalesModestly: Bool {
    if abs(batch.form.scale) > 0x1p400 { return false }
    for row in plan.rows where abs(plan.planned.values[row].weight) > 0x1p400 { return false }
    return true
  }
}

@_cdecl("swiftdpo_fused_linear_dpo_loss_f32") @implementation
public func swiftdpo_fused_linear_dpo_loss_f32(
  _ policy: UnsafePointer<swiftdpo_linear_head_f32>!, _ ref: UnsafePointer<swiftdpo_linear_head_f32>!,
  _ options: UnsafePointer<swiftdpo_logps_options>!, _ fused: UnsafePointer<swiftdpo_fused_options>!,
  _ pairs: UnsafePointer<swiftdpo_pairs_f64>!, _ lossOptions: UnsafePointer<swiftdpo_dpo_options>!,
  _ results: UnsafePointer<swiftdpo_pair_results_f64>!, _ fusedResults: UnsafePointer<swiftdpo_fused_results_f32>!,
  _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in
    try fusedLoss(
      form(policy), form(ref), .f32, options, fused, form(fusedResults),
      LossCall(pairs, lossOptions, results, hasReference: ref != nil))
  }
}

@_cdecl("swiftdpo_fused_linear_dpo_loss_bf16") @implementation
public func swiftdpo_fused_linear_dpo_loss_bf16(
  _ policy: UnsafePointer<swiftdpo_linear_head_half>!, _ ref: UnsafePointer<swiftdpo_linear_head_half>!,
  _ options: UnsafePointer<swiftdpo_logps_options>!, _ fused: UnsafePointer<swiftdpo_fused_options>!,
  _ pairs: UnsafePointer<swiftdpo_pairs_f64>!, _ lossOptions: UnsafePointer<swiftdpo_dpo_options>!,
  _ results: UnsafePointer<swiftdpo_pair_results_f64>!, _ fusedResults: UnsafePointer<swiftdpo_fused_results_half>!,
  _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in
    try fusedLoss(
      form(policy), form(ref), .bf16, options, fused, form(fusedResults),
      LossCall(pairs, lossOptions, results, hasReference: ref != nil))
  }
}

@_cdecl("swiftdpo_fused_linear_dpo_loss_f16") @implementation
public func swiftdpo_fused_linear_dpo_loss_f16(
  _ policy: UnsafePointer<swiftdpo_linear_head_half>!, _ ref: UnsafePointer<swiftdpo_linear_head_half>!,
  _ options: UnsafePointer<swiftdpo_logps_options>!, _ fused: UnsafePointer<swiftdpo_fused_options>!,
  _ pairs: UnsafePointer<swiftdpo_pairs_f64>!, _ lossOptions: UnsafePointer<swiftdpo_dpo_options>!,
  _ results: UnsafePointer<swiftdpo_pair_results_f64>!, _ fusedResults: UnsafePointer<swiftdpo_fused_results_half>!,
  _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in
    try fusedLoss(
      form(policy), form(ref), .f16, options, fused, form(fusedResults),
      LossCall(pairs, lossOptions, results, hasReference: ref != nil))
  }
}

@_cdecl("swiftdpo_fused_linear_unpaired_loss_f32") @implementation
public func swiftdpo_fused_linear_unpaired_loss_f32(
  _ policy: UnsafePointer<swiftdpo_linear_head_f32>!, _ ref: UnsafePointer<swiftdpo_linear_head_f32>!,
  _ options: UnsafePointer<swiftdpo_logps_options>!, _ fused: UnsafePointer<swiftdpo_fused_options>!,
  _ unpaired: UnsafePointer<swiftdpo_unpaired_f64>!, _ lossOptions: UnsafePointer<swiftdpo_unpaired_options>!,
  _ results: UnsafePointer<swiftdpo_unpaired_results_f64>!, _ fusedResults: UnsafePointer<swiftdpo_fused_results_f32>!,
  _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in
    try fusedLoss(
      form(policy), form(ref), .f32, options, fused, form(fusedResults),
      LossCall(unpaired, lossOptions, results, hasReference: ref != nil))
  }
}

@_cdecl("swiftdpo_fused_linear_unpaired_loss_bf16") @implementation
public func swiftdpo_fused_linear_unpaired_loss_bf16(
  _ policy: UnsafePointer<swiftdpo_linear_head_half>!, _ ref: UnsafePointer<swiftdpo_linear_head_half>!,
  _ options: UnsafePointer<swiftdpo_logps_options>!, _ fused: UnsafePointer<swiftdpo_fused_options>!,
  _ unpaired: UnsafePointer<swiftdpo_unpaired_f64>!, _ lossOptions: UnsafePointer<swiftdpo_unpaired_options>!,
  _ results: UnsafePointer<swiftdpo_unpaired_results_f64>!, _ fusedResults: UnsafePointer<swiftdpo_fused_results_half>!,
  _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in
    try fusedLoss(
      form(policy), form(ref), .bf16, options, fused, form(fusedResults),
      LossCall(unpaired, lossOptions, results, hasReference: ref != nil))
  }
}

@_cdecl("swiftdpo_fused_linear_unpaired_loss_f16") @implementation
public func swiftdpo_fused_linear_unpaired_loss_f16(
  _ policy: UnsafePointer<swiftdpo_linear_head_half>!, _ ref: UnsafePointer<swiftdpo_linear_head_half>!,
  _ options: UnsafePointer<swiftdpo_logps_options>!, _ fused: UnsafePointer<swiftdpo_fused_options>!,
  _ unpaired: UnsafePointer<swiftdpo_unpaired_f64>!, _ lossOptions: UnsafePointer<swiftdpo_unpaired_options>!,
  _ results: UnsafePointer<swiftdpo_unpaired_results_f64>!, _ fusedResults: UnsafePointer<swiftdpo_fused_results_half>!,
  _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in
    try fusedLoss(
      form(policy), form(ref), .f16, options, fused, form(fusedResults),
      LossCall(unpaired, lossOptions, results, hasReference: ref != nil))
  }
}

@_cdecl("swiftdpo_fused_linear_plackett_luce_loss_f32") @implementation
public func swiftdpo_fused_linear_plackett_luce_loss_f32(
  _ policy: UnsafePointer<swiftdpo_linear_head_f32>!, _ ref: UnsafePointer<swiftdpo_linear_head_f32>!,
  _ options: UnsafePointer<swiftdpo_logps_options>!, _ fused: UnsafePointer<swiftdpo_fused_options>!,
  _ rankings: UnsafePointer<swiftdpo_rankings_f64>!, _ lossOptions: UnsafePointer<swiftdpo_plackett_luce_options>!,
  _ results: UnsafePointer<swiftdpo_ranking_results_f64>!, _ fusedResults: UnsafePointer<swiftdpo_fused_results_f32>!,
  _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in
    try fusedLoss(
      form(policy), form(ref), .f32, options, fused, form(fusedResults),
      LossCall(rankings, lossOptions, results, hasReference: ref != nil))
  }
}

@_cdecl("swiftdpo_fused_linear_plackett_luce_loss_bf16") @implementation
public func swiftdpo_fused_linear_plackett_luce_loss_bf16(
  _ policy: UnsafePointer<swiftdpo_linear_head_half>!, _ ref: UnsafePointer<swiftdpo_linear_head_half>!,
  _ options: UnsafePointer<swiftdpo_logps_options>!, _ fused: UnsafePointer<swiftdpo_fused_options>!,
  _ rankings: UnsafePointer<swiftdpo_rankings_f64>!, _ lossOptions: UnsafePointer<swiftdpo_plackett_luce_options>!,
  _ results: UnsafePointer<swiftdpo_ranking_results_f64>!, _ fusedResults: UnsafePointer<swiftdpo_fused_results_half>!,
  _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in
    try fusedLoss(
      form(policy), form(ref), .bf16, options, fused, form(fusedResults),
      LossCall(rankings, lossOptions, results, hasReference: ref != nil))
  }
}

@_cdecl("swiftdpo_fused_linear_plackett_luce_loss_f16") @implementation
public func swiftdpo_fused_linear_plackett_luce_loss_f16(
  _ policy: UnsafePointer<swiftdpo_linear_head_half>!, _ ref: UnsafePointer<swiftdpo_linear_head_half>!,
  _ options: UnsafePointer<swiftdpo_logps_options>!, _ fused: UnsafePointer<swiftdpo_fused_options>!,
  _ rankings: UnsafePointer<swiftdpo_rankings_f64>!, _ lossOptions: UnsafePointer<swiftdpo_plackett_luce_options>!,
  _ results: UnsafePointer<swiftdpo_ranking_results_f64>!, _ fusedResults: UnsafePointer<swiftdpo_fused_results_half>!,
  _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in
    try fusedLoss(
      form(policy), form(ref), .f16, options, fused, form(fusedResults),
      LossCall(rankings, lossOptions, results, hasReference: ref != nil))
  }
}

extension swiftdpo_fused_results_f32: GrowableStruct {}
extension swiftdpo_fused_results_half: GrowableStruct {}

@_cdecl("swiftdpo_fused_results_f32_init") @implementation
public func swiftdpo_fused_results_f32_init(_ results: UnsafeMutablePointer<swiftdpo_fused_results_f32>!) {
  initialize(results)
}

@_cdecl("swiftdpo_fused_results_half_init") @implementation
public func swiftdpo_fused_results_half_init(_ results: UnsafeMutablePointer<swiftdpo_fused_results_half>!) {
  initialize(results)
}
