import Elementary
import Preference

/// Rewards of the items of ranked groups. With one beta for all, the groups' items are one run; shared items have it
/// whether there are groups or not.
func rankingRewards(_ pointer: UnsafePointer<RankingJob>, _ range: Range<Int>) {
  let job = pointer.pointee
  guard let rewards = job.rewards else { return }
  if job.numSharedItems > 0 { return writeRewards(job, 0..<job.numSharedItems, beta: job.beta, rewards) }
  if range.isEmpty { return }
  if job.betas == nil {
    let items = job.items(range.lowerBound).lowerBound..<job.items(range.upperBound - 1).upperBound
    writeRewards(job, items, beta: job.beta, rewards)
  } else {
    for group in range { writeRewards(job, job.items(group), beta: job.type.load(job.betas!, group), rewards) }
  }
}

@inline(never)
private func writeRewards(_ job: RankingJob, _ items: Range<Int>, beta: Double, _ rewards: UnsafeMutableRawPointer) {
  let beta = F64x8(repeating: beta)
  var start = items.lowerBound
  // Differences of singles are as good in plain doubles.
  while job.type == .f32 && items.upperBound - start >= 8 {
    var ratio = job.type.load8(job.policy, start)
    if let reference = job.reference { ratio = ratio - job.type.load8(reference, start) }
    job.type.store8(ratio.fma(beta, 0), rewards, start)
    start += 8
  }
  while start < items.upperBound {
    let left = items.upperBound - start
    let count = left < 8 ? left : 8
    let policy = job.type.load(job.policy, start, count: count, filler: 0)
    var reference = F64x8(repeating: 0)
    if let array = job.reference { reference = job.type.load(array, start, count: count, filler: 0) }
    let ratio = LogRatio(policy: policy, reference: reference)
    job.type.store(ratio.reward(beta: beta), rewards, start, count: count)
    start += 8
  }
}
