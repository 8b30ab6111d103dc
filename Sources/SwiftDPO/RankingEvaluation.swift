import CPlatform
import CSwiftDPO
import Elementary
import Preference

// A checked batch of rankings, cut into tasks of whole blocks of eight groups.

/// The sum of the losses; everything else that was asked for is written.
///
/// - Parameter capacity: the most items that a group has, or shares.
func evaluate(_ job: inout RankingJob, capacity: Int, items: Int) throws(Fault) -> FixedOrderSum {
  let tasks = RankingTasks(job, capacity: capacity)
  if capacity <= RankingTasks.smallCapacity {
    if job.ties != .breslow {
      var fault: Fault?
      RankingTasks.withSmallWorkspace { workspace in fault = faultInTies(job, workspace) }
      if let fault { throw fault }
    }
    clearResults(of: job, items)
    return withUnsafePointer(to: job) { job in
      sumOfTasks(tasks.count) { sums in
        parallel(tasks.count) { task in
          RankingTasks.withSmallWorkspace { workspace in sums[task] = tasks.run(job, task, workspace) }
        }
      }
    }
  }

  // Long groups: a workspace for each thread that can be at work, had before anything is written.
  let ties = job.ties
  let strands = tasks.count < Int(Threads.count) ? tasks.count : Int(Threads.count)
  let (bytes, overflow) = RankingWorkspace.bytes(capacity: capacity, ties: ties).multipliedReportingOverflow(
    by: strands)
  let tooMany = overflow || capacity > Int.max / 2048
  let ratioBytes = RankingWorkspace.ratioBytes(capacity: capacity, isPlain: job.isPlain)
  let memory = tooMany ? nil : aligned_alloc(64, bytes == 0 ? 64 : bytes)
  defer { free(memory) }
  let ratios = tooMany ? nil : aligned_alloc(64, strands == 0 ? 64 : ratioBytes * strands)
  defer { free(ratios) }
  guard let memory, let ratios else { throw Fault(SWIFTDPO_ERROR_OUT_OF_MEMORY, "group_size") }
  func workspace(_ strand: Int) -> RankingWorkspace {
    RankingWorkspace(
      capacity: capacity, memory: memory + strand * RankingWorkspace.bytes(capacity: capacity, ties: ties),
      ratio: ratios + strand * ratioBytes)
  }
  if job.ties != .breslow && strands > 0 {
    if let fault = faultInTies(job, workspace(0)) { throw fault }
  }
  clearResults(of: job, items)
  return withUnsafePointer(to: job) { job in
    sumOfTasks(tasks.count) { sums in
      parallel(strands) { strand in
        var task = strand
        while task < tasks.count {
          sums[task] = tasks.run(job, task, workspace(strand))
          task += strands
        }
      }
    }
  }
}

/// Items that no list names get no gradient, and sums over lists begin at 0.
private func clearResults(of job: RankingJob, _ items: Int) {
  if let gradient = job.gradTieStrengths { gradient.initialize(repeating: 0, count: job.numTieStrengths) }
  if job.isPlain { return }
  let bytes = items * job.type.stride
  if let results = job.gradPolicy { memset(results, 0, bytes) }
  if let results = job.gradReference { memset(results, 0, bytes) }
  if let results = job.gradientWeights { memset(results, 0, bytes) }
  if let results = job.hessianProduct { memset(results, 0, bytes) }
}

/// How a batch is cut: by its data alone. Groups that share items add to the same results, and are one task.
private struct RankingTasks {
  static var most: Int { 64 }
  static var smallCapacity: Int { 64 }

  let count: Int
  private let grain: Int

  init(_ job: RankingJob, capacity: Int) {
    let groups = job.numGroups
    let worthwhile = 2048 / (capacity > 0 ? capacity : 1)
    let fewEnough = groups / Self.most + 1
    let isWhole = job.numSharedItems > 0 || job.ties != .breslow
    let wanted = isWhole ? groups : worthwhile > fewEnough ? worthwhile : fewEnough
    // Long groups are worked on one at a time, others eight at a time.
    let isLong = !isWhole && job.offsets == nil && groups > 0 && job.isCut(0)
    grain = isLong ? wanted : (wanted | 7) + 1
    count = groups / grain + (groups % grain == 0 ? 0 : 1)
  }

  func run(_ job: UnsafePointer<RankingJob>, _ task: Int, _ workspace: RankingWorkspace) -> FixedOrderSum {
    let start = task * grain
    let end = job.pointee.numGroups - start > grain ? start + grain : job.pointee.numGroups
    kernels.rankingRewards(job, start..<end)
    if job.pointee.ties == .breslow { return kernels.ranking(job, start..<end, workspace) }
    return tiedRankings(job, start..<end, workspace)
  }

  /// A workspace on the stack.
  static func withSmallWorkspace(_ body: (RankingWorkspace) -> Void) {
    // See `parallel`.
    #sourceLocation(file:"RankingEvaluation.swift",line:1)
    withoutActuallyEscaping(body) { body in
      withUnsafePointer(to: body) { pointer in
        platform_with_memory(
          { context, memory in
            context!.assumingMemoryBound(to: ((RankingWorkspace) -> Void).self)
              .pointee(RankingWorkspace(capacity: RankingTasks.smallCapacity, memory: memory!))
          }, UnsafeMutableRawPointer(mutating: UnsafeRawPointer(pointer)))
      }
    }
    #sourceLocation()
  }
}
