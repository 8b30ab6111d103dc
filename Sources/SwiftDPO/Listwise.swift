import CPlatform
import CSwiftDPO
import Elementary
import Preference

extension swiftdpo_lists_f32: GrowableStruct {}
extension swiftdpo_lists_f64: GrowableStruct {}
extension swiftdpo_list_results_f32: GrowableStruct {}
extension swiftdpo_list_results_f64: GrowableStruct {}
extension swiftdpo_listwise_options: GrowableStruct {
  static func setDefaults(_ value: inout Self) { value.beta = 0.1 }
}

@_cdecl("swiftdpo_lists_f32_init") @implementation
public func swiftdpo_lists_f32_init(_ lists: UnsafeMutablePointer<swiftdpo_lists_f32>!) { initialize(lists) }

@_cdecl("swiftdpo_lists_f64_init") @implementation
public func swiftdpo_lists_f64_init(_ lists: UnsafeMutablePointer<swiftdpo_lists_f64>!) { initialize(lists) }

@_cdecl("swiftdpo_list_results_f32_init") @implementation
public func swiftdpo_list_results_f32_init(_ results: UnsafeMutablePointer<swiftdpo_list_results_f32>!) {
  initialize(results)
}

@_cdecl("swiftdpo_list_results_f64_init") @implementation
public func swiftdpo_list_results_f64_init(_ results: UnsafeMutablePointer<swiftdpo_list_results_f64>!) {
  initialize(results)
}

@_cdecl("swiftdpo_listwise_options_init") @implementation
public func swiftdpo_listwise_options_init(_ options: UnsafeMutablePointer<swiftdpo_listwise_options>!) {
  initialize(options)
}

@_cdecl("swiftdpo_listwise_loss_f32") @implementation
public func swiftdpo_listwise_loss_f32(
  _ lists: UnsafePointer<swiftdpo_lists_f32>!, _ options: UnsafePointer<swiftdpo_listwise_options>!,
  _ results: UnsafePointer<swiftdpo_list_results_f32>!, _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in try listwiseLoss(.f32, form(lists), options, form(results)) }
}

@_cdecl("swiftdpo_listwise_loss_f64") @implementation
public func swiftdpo_listwise_loss_f64(
  _ lists: UnsafePointer<swiftdpo_lists_f64>!, _ options: UnsafePointer<swiftdpo_listwise_options>!,
  _ results: UnsafePointer<swiftdpo_list_results_f64>!, _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in try listwiseLoss(.f64, form(lists), options, form(results)) }
}

private func listwiseLoss(
  _ type: ElementType, _ lists: UnsafePointer<swiftdpo_lists_f64>?,
  _ options: UnsafePointer<swiftdpo_listwise_options>?, _ results: UnsafePointer<swiftdpo_list_results_f64>?
) throws(Fault) {
  let lists = try read(lists, "lists")
  let options = try readOptional(options, "options")
  let results = try read(results, "results")
  let groups = lists.num_groups
  let kind = try checkListwiseLoss(options.loss_type)
  try checkBeta(options.beta, "beta")
  let scale = try checkReduction(options.reduction, count: groups)
  let refuseNonfinite = try checkNonfinitePolicy(options.nonfinite)

  var ledger = Ledger()
  let offsets = try ledger.optionalInput(lists.offsets, product(groups, 1, "num_groups") &+ 1, "offsets")
  let (items, largest) = try countEntries(groups, lists.group_size, offsets)
  var job = ListwiseJob(
    type: type, loss: kind, numGroups: groups, groupSize: lists.group_size,
    policy: try ledger.input(lists.policy_logps, type, items, "policy_logps"),
    targets: try ledger.input(lists.targets, type, items, "targets"))
  job.offsets = offsets
  job.reference = try ledger.optionalInput(lists.ref_logps, type, items, "ref_logps")
  job.betas = try ledger.optionalInput(lists.betas, type, groups, "betas")
  job.weights = try ledger.optionalInput(lists.weights, type, groups, "weights")
  let loss = try ledger.result(results.loss, 1, "loss")
  job.losses = try ledger.result(results.losses, type, groups, "losses")
  job.gradPolicy = try ledger.result(results.grad_policy_logps, type, items, "grad_policy_logps")
  job.rewards = try ledger.result(results.rewards, type, items, "rewards")
  job.beta = options.beta
  job.scale = scale

  try checkBetas(job.betas, type, groups)
  try checkWeights(job.weights, type, groups)
  try checkTargets(job, items)
  if refuseNonfinite {
    try checkFinite(job.policy, type, items, "policy_logps")
    try checkFinite(job.reference, type, items, "ref_logps")
  }
  let sum = try evaluate(job, capacity: largest)
  loss?.pointee = reduced(sum, scale)
}

private func checkListwiseLoss(_ type: swiftdpo_listwise_loss_type) throws(Fault) -> ListwiseLoss {
  switch type {
  case SWIFTDPO_LISTWISE_CROSS_ENTROPY: return .crossEntropy
  case SWIFTDPO_LISTWISE_LAMBDA: return .lambda
  case SWIFTDPO_LISTWISE_PRO: return .pro
  default: throw Fault(SWIFTDPO_ERROR_LOSS_TYPE, "loss_type")
  }
}

/// Distributions for the cross-entropy; grades whose powers of 2 are finite for lambda; any rewards for PRO.
private func checkTargets(_ job: ListwiseJob, _ items: Int) throws(Fault) {
  try checkFinite(job.targets, job.type, items, "targets")
  switch job.loss {
  case .crossEntropy:
    try checkAll(job.targets, job.type, items, in: .nonnegative, SWIFTDPO_ERROR_TARGET, "targets")
    for group in 0..<job.numGroups {
      var sum = 0.0
      for item in job.items(group) { sum += job.type.load(job.targets, item) }
      let isDistribution = job.items(group).isEmpty || abs(sum - 1) <= 1e-3
      try require(isDistribution, SWIFTDPO_ERROR_TARGET, "targets", at: job.items(group).lowerBound)
    }
  case .lambda:
    try checkAll(
      job.targets, job.type, items, in: Interval(low: -512, high: 512), SWIFTDPO_ERROR_TARGET, "targets")
  case .pro: break
  }
}

/// Cut into tasks by its data alone, each with a workspace of its own.
private func evaluate(_ job: ListwiseJob, capacity: Int) throws(Fault) -> FixedOrderSum {
  let most = 64
  let work = job.loss == .crossEntropy ? capacity : capacity.multipliedReportingOverflow(by: capacity).partialValue
  let worthwhile = 4096 / (work > 0 ? work : 1) + 1
  let fewEnough = (job.numGroups + most - 1) / most
  let grain = worthwhile > fewEnough ? worthwhile : fewEnough
  let tasks = job.numGroups / grain + (job.numGroups % grain == 0 ? 0 : 1)
  let bytes = ListwiseWorkspace.bytes(capacity: capacity)
  let (all, overflow) = bytes.multipliedReportingOverflow(by: tasks)
  guard !overflow, let memory = aligned_alloc(64, all == 0 ? 64 : all) else {
    throw Fault(SWIFTDPO_ERROR_OUT_OF_MEMORY, "group_size")
  }
  defer { free(memory) }
  return withUnsafePointer(to: job) { job in
    sumOfTasks(tasks) { sums in
      parallel(tasks) { task in
        let start = task * grain
        let end = job.pointee.numGroups - start > grain ? start + grain : job.pointee.numGroups
        sums[task] = kernels.listwise(
          job, start..<end, ListwiseWorkspace(capacity: capacity, memory: memory + task * bytes))
      }
    }
  }
}
