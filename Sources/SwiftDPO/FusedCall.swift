import CPlatform
import CSwiftDPO
import Elementary
import Preference

/// What every call over a head begins with: the checked head, its batch, and how it is to be multiplied.
struct FusedCall {
  let batch: LogitsBatch
  let head: LinearHead
  private let product: MatrixProduct
  private let workspaceSize: Int
  private let givenWorkspace: UnsafeMutableRawPointer?

  init(
    _ head: UnsafePointer<swiftdpo_linear_head_f32>?, _ type: ElementType,
    _ options: UnsafePointer<swiftdpo_logps_options>?,
    _ fused: UnsafePointer<swiftdpo_fused_options>?, _ ledger: inout Ledger
  ) throws(Fault) {
    let source = try read(head, "head")
    let fused = try readOptional(fused, "fused")
    batch = try LogitsBatch(source, options, &ledger)
    self.head = try LinearHead(source, type, batch, &ledger)
    product = try MatrixProduct(fused)
    workspaceSize = try SwiftDPO.product(fused.workspace_size, 1, "workspace_size")
    givenWorkspace = try ledger.result(
      fused.workspace?.assumingMemoryBound(to: UInt8.self), workspaceSize, "workspace"
    ).map { UnsafeMutableRawPointer($0) }
    try require(Int(bitPattern: givenWorkspace) % 64 == 0, SWIFTDPO_ERROR_MISALIGNED, "workspace")
  }

  /// The reference's head over the same batch, in the same workspace.
  init(reference: UnsafePointer<swiftdpo_linear_head_f32>?, of policy: FusedCall, _ ledger: inout Ledger) throws(Fault)
  {
    batch = policy.batch
    head = try LinearHead(
      try read(reference, "ref"), policy.head.type, batch, isReference: true, &ledger)
    product = policy.product
    workspaceSize = policy.workspaceSize
    givenWorkspace = policy.givenWorkspace
  }

  /// The head with its rows planned and its workspace at hand, to be ended by its owner.
  ///
  /// - Parameters:
  ///   - keeps: false if logits are only read, once.
  ///   - lender: a head that is not at work before this one is ended, whose memory serves if it suffices.
  func begin(
    _ groups: Groups, absentLabels: Bool = false, keeps: Bool = true, lender: FusedHead? = nil
  ) throws(Fault) -> FusedHead {
    let shape = TileShape(vocabulary: batch.vocabulary, width: head.width, keeps: keeps)
    let plan = try RowPlan(batch, shape, groups, absentLabels: absentLabels)
    do throws(Fault) {
      let bounds = workspaceBounds(batch, head, rows: plan.count, takesBF16: product.takesBF16)
      try require(workspaceSize >= bounds.least, SWIFTDPO_ERROR_WORKSPACE, "workspace_size")
      let space = Workspace(
        shape, width: head.width, head.type, takesBF16: product.takesBF16, vocabulary: batch.vocabulary,
        rows: plan.count)
      var size = min(workspaceSize, space.most)
      var given = givenWorkspace
      if given == nil, let lender, lender.size >= space.least {
        given = lender.memory
        size = lender.size
      }
      let own = given == nil ? platform_take_memory(size) : nil
      guard let memory = given ?? own else { throw Fault(SWIFTDPO_ERROR_OUT_OF_MEMORY, "workspace_size") }
      product.begin()
      return FusedHead(
        head: head, batch: batch, plan: plan, shape: shape, product: product, space: space,
        memory: memory, own: own, size: size)
    } catch {
      plan.free()
      throw error
    }
  }
}

/// What suffices for tiles of either shape, and beyond which memory is of no use to either.
private func workspaceBounds(
  _ batch: LogitsBatch, _ head: LinearHead, rows: Int, takesBF16: Bool
) -> (least: Int, most: Int) {
  var bounds = (least: 0, most: 0)
  for shape in 0..<2 {
    let shape = TileShape(vocabulary: batch.vocabulary, width: head.width, keeps: shape == 0)
    let space = Workspace(
      shape, width: head.width, head.type, takesBF16: takesBF16, vocabulary: batch.vocabulary, rows: rows)
    bounds.least = max(bounds.least, space.least)
    bounds.most = max(bounds.most, space.most)
  }
  return bounds
}

extension FusedHead {
  /// The log-normalizers and labels' logits of chunks. Refuses those that come to nothing.
  func scoreAll(
    _ scored: UnsafeMutablePointer<ScoredRow>, all: Bool, keepIn keeper: UnsafeMutablePointer<Float>?
  ) throws(Fault) {
    let chunks = 0..<plan.chunkCount
    for chunk in chunks { score(chunk, scored, all: all, keepIn: kept(keeper, chunk, chunks)) }
    if !batch.refuseNonfinite { return }
    for row in plan.rows where !scored[row].logNormalizer.isFinite { throw head.overflow(row) }
  }

  /// d loss / d log-probability of the label of each of a sequence's rows.
  func weigh(_ sequence: Int, _ gradLogp: Double, _ factors: UnsafeMutablePointer<Double>) {
    let rows = batch.rows(of: sequence)
    var tokens = 0
    for row in rows where plan.planned.values[row].label >= 0 { tokens += 1 }
    let gradient = batch.average && tokens > 0 ? gradLogp / Double(tokens) : gradLogp
    for row in rows { factors[row] = plan.planned.values[row].weight * gradient }
  }
}

// MARK: The two-call form

private func fusedLogps(
  _ head: UnsafePointer<swiftdpo_linear_head_f32>?, _ type: ElementType,
  _ options: UnsafePointer<swiftdpo_logps_options>?,
  _ fused: UnsafePointer<swiftdpo_fused_options>?, _ results: UnsafePointer<swiftdpo_logps_results>?
) throws(Fault) {
  let results = try read(results, "results")
  var ledger = Ledger()
  let call = try FusedCall(head, type, options, fused, &ledger)
  let batch = call.batch
  try require(batch.vocabularyStart == 0, SWIFTDPO_ERROR_COUNT, "vocab_start")
  let targets = try LogpsTargets(results, batch, &ledger)
  let scored = try Scratch<ScoredRow>(batch.rows, "num_sequences")
  defer { scored.free() }
  let fused = try call.begin(.single, keeps: false)
  defer { fused.end() }
  if batch.refuseNonfinite { _ = try fused.head.checkFinite(batch, fused.plan.rows) }
  try fused.scoreAll(scored.values, all: targets.wantsAll, keepIn: nil)
  targets.store(batch, fused.plan.planned.values, scored.values)
}

private func fusedShard(
  _ head: UnsafePointer<swiftdpo_linear_head_f32>?, _ type: ElementType,
  _ options: UnsafePointer<swiftdpo_logps_options>?,
  _ fused: UnsafePointer<swiftdpo_fused_options>?, _ results: UnsafePointer<swiftdpo_shard_statistics>?
) throws(Fault) {
  let results = try read(results, "results")
  var ledger = Ledger()
  let call = try FusedCall(head, type, options, fused, &ledger)
  let batch = call.batch
  let shard = try ShardStatistics(results, batch.rows, &ledger)
  let scored = try Scratch<ScoredRow>(batch.rows, "num_sequences")
  defer { scored.free() }
  let fused = try call.begin(.single, absentLabels: true, keeps: false)
  defer { fused.end() }
  if batch.refuseNonfinite { _ = try fused.head.checkFinite(batch, fused.plan.rows) }
  for chunk in 0..<fused.plan.chunkCount { fused.score(chunk, scored.values, all: false, keepIn: nil) }
  if batch.refuseNonfinite {
    for row in fused.plan.rows where !(scored.values[row].statistics.sum.isFinite) { throw fused.head.overflow(row) }
  }
  for row in 0..<batch.rows {
    let statistics = scored.values[row].statistics
    let counts = fused.plan.planned.values[row].label >= 0
    let isEmpty = !counts || statistics.sum == 0
    shard[row] = ShardRow(
      maximum: isEmpty ? -.infinity : statistics.base, sum: isEmpty ? 0 : statistics.sum,
      labelLogit: counts ? scored.values[row].labelLogit : .nan)
  }
}

private func fusedBackward(
  _ head: UnsafePointer<swiftdpo_linear_head_f32>?, _ type: ElementType,
  _ options: UnsafePointer<swiftdpo_logps_options>?,
  _ fused: UnsafePointer<swiftdpo_fused_options>?, _ gradLogps: UnsafePointer<Double>?,
  _ logNormalizers: UnsafePointer<Double>?, _ gradients: UnsafePointer<swiftdpo_linear_gradients_f32>?
) throws(Fault) {
  let gradients = try read(gradients, "gradients")
  var ledger = Ledger()
  let call = try FusedCall(head, type, options, fused, &ledger)
  let batch = call.batch
  let gradLogps = try ledger.input(gradLogps, batch.sequences, "grad_logps")
  let normalizers = try ledger.optionalInput(logNormalizers, batch.rows, "log_normalizers")
  let isShard = batch.vocabularyStart > 0
  try require(normalizers != nil || !isShard || batch.rows == 0, SWIFTDPO_ERROR_NULL_POINTER, "log_normalizers")
  let targets = try HeadGradients(gradients, call.head, batch, &ledger)
  if batch.refuseNonfinite {
    try checkFinite(gradLogps, .f64, batch.sequences, "grad_logps")
    try checkFinite(normalizers, .f64, batch.rows, "log_normalizers")
  }

  let factors = try Scratch<Double>(batch.rows, "num_sequences")
  defer { factors.free() }
  let scored = try Scratch<ScoredRow>(normalizers == nil ? batch.rows : 0, "num_sequences")
  defer { scored.free() }
  let fused = try call.begin(.single, absentLabels: normalizers != nil)
  defer { fused.end() }
  if batch.refuseNonfinite { _ = try fused.head.checkFinite(batch, fused.plan.rows) }
  let chunks = 0..<fused.plan.chunkCount
  let keeper = normalizers == nil ? fused.keeper(chunks) : nil
  if normalizers == nil { try fused.scoreAll(scored.values, all: false, keepIn: keeper) }
  for sequence in 0..<batch.sequences { fused.weigh(sequence, gradLogps[sequence], factors.values) }
  targets.clear(call.head, batch, fused.plan)
  for chunk in chunks {
    fused.differentiate(
      chunk, kept: fused.kept(keeper, chunk, chunks),
      normalizers: { row in normalizers.map { $0[row] } ?? scored.values[row].logNormalizer },
      factors: factors.values, targets, isFirst: chunk == 0)
  }
}

private func fusedWorkspace(
  _ head: UnsafePointer<swiftdpo_linear_head_f32>?, _ type: ElementType,
  _ options: UnsafePointer<swiftdpo_logps_options>?,
  _ least: UnsafeMutablePointer<Int>?, _ most: UnsafeMutablePointer<Int>?
) throws(Fault) {
  let source = try read(head, "head")
  var ledger = Ledger()
  let batch = try LogitsBatch(source, options, &ledger)
  let head = try LinearHead(source, type, batch, &ledger, readsMatrices: false)
  let least = try ledger.result(least, 1, "least")
  let most = try ledger.result(most, 1, "most")
  let shape = TileShape(vocabulary: batch.vocabulary, width: head.width)
  let plan = try RowPlan(batch, shape, .single, absentLabels: true)
  defer { plan.free() }
  let bounds = workspaceBounds(batch, head, rows: plan.count, takesBF16: false)
  least?.pointee = bounds.least
  most?.pointee = bounds.most
}

@_cdecl("swiftdpo_fused_linear_logps_f32") @implementation
public func swiftdpo_fused_linear_logps_f32(
  _ head: UnsafePointer<swiftdpo_linear_head_f32>!, _ options: UnsafePointer<swiftdpo_logps_options>!,
  _ fused: UnsafePointer<swiftdpo_fused_options>!, _ results: UnsafePointer<swiftdpo_logps_results>!,
  _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in try fusedLogps(form(head), .f32, options, fused, results) }
}

@_cdecl("swiftdpo_fused_linear_logps_bf16") @implementation
public func swiftdpo_fused_linear_logps_bf16(
  _ head: UnsafePointer<swiftdpo_linear_head_half>!, _ options: UnsafePointer<swiftdpo_logps_options>!,
  _ fused: UnsafePointer<swiftdpo_fused_options>!, _ results: UnsafePointer<swiftdpo_logps_results>!,
  _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in try fusedLogps(form(head), .bf16, options, fused, results) }
}

@_cdecl("swiftdpo_fused_linear_logps_f16") @implementation
public func swiftdpo_fused_linear_logps_f16(
  _ head: UnsafePointer<swiftdpo_linear_head_half>!, _ options: UnsafePointer<swiftdpo_logps_options>!,
  _ fused: UnsafePointer<swiftdpo_fused_options>!, _ results: UnsafePointer<swiftdpo_logps_results>!,
  _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in try fusedLogps(form(head), .f16, options, fused, results) }
}

@_cdecl("swiftdpo_fused_linear_logps_backward_f32") @implementation
public func swiftdpo_fused_linear_logps_backward_f32(
  _ head: UnsafePointer<swiftdpo_linear_head_f32>!, _ options: UnsafePointer<swiftdpo_logps_options>!,
  _ fused: UnsafePointer<swiftdpo_fused_options>!, _ gradLogps: UnsafePointer<Double>!,
  _ logNormalizers: UnsafePointer<Double>!, _ gradients: UnsafePointer<swiftdpo_linear_gradients_f32>!,
  _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in
    try fusedBackward(
      form(head), .f32, options, fused, gradLogps, logNormalizers, form(gradients))
  }
}

@_cdecl("swiftdpo_fused_linear_logps_backward_bf16") @implementation
public func swiftdpo_fused_linear_logps_backward_bf16(
  _ head: UnsafePointer<swiftdpo_linear_head_half>!, _ options: UnsafePointer<swiftdpo_logps_options>!,
  _ fused: UnsafePointer<swiftdpo_fused_options>!, _ gradLogps: UnsafePointer<Double>!,
  _ logNormalizers: UnsafePointer<Double>!, _ gradients: UnsafePointer<swiftdpo_linear_gradients_half>!,
  _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in
    try fusedBackward(
      form(head), .bf16, options, fused, gradLogps, logNormalizers, form(gradients))
  }
}

@_cdecl("swiftdpo_fused_linear_logps_backward_f16") @implementation
public func swiftdpo_fused_linear_logps_backward_f16(
  _ head: UnsafePointer<swiftdpo_linear_head_half>!, _ options: UnsafePointer<swiftdpo_logps_options>!,
  _ fused: UnsafePointer<swiftdpo_fused_options>!, _ gradLogps: UnsafePointer<Double>!,
  _ logNormalizers: UnsafePointer<Double>!, _ gradients: UnsafePointer<swiftdpo_linear_gradients_half>!,
  _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in
    try fusedBackward(
      form(head), .f16, options, fused, gradLogps, logNormalizers, form(gradients))
  }
}

@_cdecl("swiftdpo_fused_linear_vocab_shard_f32") @implementation
public func swiftdpo_fused_linear_vocab_shard_f32(
  _ head: UnsafePointer<swiftdpo_linear_head_f32>!, _ options: UnsafePointer<swiftdpo_logps_options>!,
  _ fused: UnsafePointer<swiftdpo_fused_options>!, _ results: UnsafePointer<swiftdpo_shard_statistics>!,
  _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in try fusedShard(form(head), .f32, options, fused, results) }
}

@_cdecl("swiftdpo_fused_linear_vocab_shard_bf16") @implementation
public func swiftdpo_fused_linear_vocab_shard_bf16(
  _ head: UnsafePointer<swiftdpo_linear_head_half>!, _ options: UnsafePointer<swiftdpo_logps_options>!,
  _ fused: UnsafePointer<swiftdpo_fused_options>!, _ results: UnsafePointer<swiftdpo_shard_statistics>!,
  _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in try fusedShard(form(head), .bf16, options, fused, results) }
}

@_cdecl("swiftdpo_fused_linear_vocab_shard_f16") @implementation
public func swiftdpo_fused_linear_vocab_shard_f16(
  _ head: UnsafePointer<swiftdpo_linear_head_half>!, _ options: UnsafePointer<swiftdpo_logps_options>!,
  _ fused: UnsafePointer<swiftdpo_fused_options>!, _ results: UnsafePointer<swiftdpo_shard_statistics>!,
  _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in try fusedShard(form(head), .f16, options, fused, results) }
}

@_cdecl("swiftdpo_fused_linear_workspace_f32") @implementation
public func swiftdpo_fused_linear_workspace_f32(
  _ head: UnsafePointer<swiftdpo_linear_head_f32>!, _ options: UnsafePointer<swiftdpo_logps_options>!,
  _ least: UnsafeMutablePointer<Int>!, _ most: UnsafeMutablePointer<Int>!,
  _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in try fusedWorkspace(form(head), .f32, options, least, most) }
}

@_cdecl("swiftdpo_fused_linear_workspace_bf16") @implementation
public func swiftdpo_fused_linear_workspace_bf16(
  _ head: UnsafePointer<swiftdpo_linear_head_half>!, _ options: UnsafePointer<swiftdpo_logps_options>!,
  _ least: UnsafeMutablePointer<Int>!, _ most: UnsafeMutablePointer<Int>!,
  _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in try fusedWorkspace(form(head), .bf16, options, least, most) }
}

@_cdecl("swiftdpo_fused_linear_workspace_f16") @implementation
public func swiftdpo_fused_linear_workspace_f16(
  _ head: UnsafePointer<swiftdpo_linear_head_half>!, _ options: UnsafePointer<swiftdpo_logps_options>!,
  _ least: UnsafeMutablePointer<Int>!, _ most: UnsafeMutablePointer<Int>!,
  _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in try fusedWorkspace(form(head), .f16, options, least, most) }
}

// MARK: The structs

extension swiftdpo_linear_head_f32: GrowableStruct {}
extension swiftdpo_linear_head_half: GrowableStruct {}
extension swiftdpo_linear_gradients_f32: GrowableStruct {}
extension swiftdpo_linear_gradients_half: GrowableStruct {}

extension swiftdpo_fused_options: GrowableStruct {
  static func setDefaults(_ value: inout Self) { value.workspace_size = 64 << 20 }
}

@_cdecl("swiftdpo_linear_head_f32_init") @implementation
public func swiftdpo_linear_head_f32_init(_ head: UnsafeMutablePointer<swiftdpo_linear_head_f32>!) { initialize(head) }

@_cdecl("swiftdpo_linear_head_half_init") @implementation
public func swiftdpo_linear_head_half_init(_ head: UnsafeMutablePointer<swiftdpo_linear_head_half>!) {
  initialize(head)
}

@_cdecl("swiftdpo_linear_gradients_f32_init") @implementation
public func swiftdpo_linear_gradients_f32_init(_ gradients: UnsafeMutablePointer<swiftdpo_linear_gradients_f32>!) {
  initialize(gradients)
}

@_cdecl("swiftdpo_linear_gradients_half_init") @implementation
public func swiftdpo_linear_gradients_half_init(_ gradients: UnsafeMutablePointer<swiftdpo_linear_gradients_half>!) {
  initialize(gradients)
}

@_cdecl("swiftdpo_fused_options_init") @implementation
public func swiftdpo_fused_options_init(_ options: UnsafeMutablePointer<swiftdpo_fused_options>!) {
  initialize(options)
}
