import Elementary
import Preference

/// Rewards of policies, or policies of rewards, for rows `range`. Rows of one response are taken eight at a time.
func implicitRewards(_ pointer: UnsafePointer<ResponsesJob>, _ range: Range<Int>, backwards: Bool) {
  let job = pointer.pointee
  let type = job.type
  let single = job.length == 1
  var row = range.lowerBound
  while row < range.upperBound {
    let rows = single ? range.upperBound - row : 1
    let end = (row + rows) * job.length
    var start = row * job.length
    while start < end {
      let left = end - start
      let count = left < 8 ? left : 8
      @inline(__always) func load(_ array: UnsafeRawPointer?, _ filler: Double) -> F64x8 {
        guard let array else { return F64x8(repeating: filler) }
        return type.load(array, start, count: count, filler: filler)
      }
      @inline(__always) func rowValue(_ array: UnsafeRawPointer?, _ type: ElementType, _ filler: Double) -> F64x8 {
        guard let array else { return F64x8(repeating: filler) }
        if single { return type.load(array, start, count: count, filler: filler) }
        return F64x8(repeating: type.load(array, row))
      }
      let beta = rowValue(job.betas, type, job.beta)
      let logPartition = rowValue(job.logPartitions.map { UnsafeRawPointer($0) }, .f64, 0)
      let reference = load(job.reference, 0)
      let result =
        backwards
        ? policyLogp(reward: load(job.rewards, 0), reference: reference, beta: beta, logPartition: logPartition)
        : LogRatio(policy: load(job.policy, 0), reference: reference).reward(beta: beta, logPartition: logPartition)
      type.store(result, job.result!, start, count: count)
      start += 8
    }
    row += rows
  }
}
