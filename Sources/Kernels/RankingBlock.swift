import Elementary
import Preference

/// Eight ranked groups at work, one in each lane: the caller's numbers come in and go out here.
struct RankingBlock {
  let job: UnsafePointer<RankingJob>
  let first: Int
  let lanes: Int
  /// Nil: the groups have one size, and items stand in their place or where `rankings` says.
  let order: UnsafeMutablePointer<Int>?
  /// How many items take part in each group, and from which step on its stages were observed.
  var counts = F64x8(repeating: 0)
  var opens = F64x8(repeating: 0)
  var steps = 0

  init(_ job: UnsafePointer<RankingJob>, first: Int, lanes: Int, plan: RankingPlan) {
    self.job = job
    self.first = first
    self.lanes = lanes
    order = job.pointee.isPlain ? nil : plan.order
    for lane in 0..<lanes {
      var (count, opens) = (job.pointee.groupSize, 0)
      if order != nil { (count, opens) = plan.fill(job, group: first + lane, lane: lane) }
      counts[lane] = Double(count)
      self.opens[lane] = Double(opens)
      if count > steps { steps = count }
    }
  }

  /// Copies the items' numbers to their steps and lanes; 0 where a lane has no item.
  @inline(never) func gather(_ array: UnsafeRawPointer?, _ target: UnsafeMutablePointer<F64x8>) {
    let target = UnsafeMutableRawPointer(target).assumingMemoryBound(to: Double.self)
    guard let array else { return target.initialize(repeating: 0, count: 8 * steps) }
    let type = job.pointee.type
    for lane in 0..<8 {
      let count = Int(counts[lane])
      switch (type, order == nil && job.pointee.rankings == nil) {
      case (.f32, true): fetch(array.assumingMemoryBound(to: Float.self) + place(lane, 0), count, target + lane)
      case (.f64, true): fetch(array.assumingMemoryBound(to: Double.self) + place(lane, 0), count, target + lane)
      default: for step in 0..<count { target[8 * step + lane] = type.load(array, place(lane, step)) }
      }
      for step in count..<steps { target[8 * step + lane] = 0 }
    }
  }

  /// The way back. Numbers of items that groups share are added up.
  @inline(never) func scatter(_ source: UnsafeMutablePointer<F64x8>, _ array: UnsafeMutableRawPointer?) {
    guard let array else { return }
    let source = UnsafeMutableRawPointer(source).assumingMemoryBound(to: Double.self)
    let type = job.pointee.type
    let isShared = job.pointee.numSharedItems > 0
    for lane in 0..<lanes {
      for step in 0..<Int(counts[lane]) {
        let item = place(lane, step)
        let sofar = isShared ? type.load(array, item) : 0
        type.store(sofar + source[8 * step + lane], array, item)
      }
    }
  }

  /// Where the item that a lane has at a step lies in the caller's arrays.
  @inline(__always) private func place(_ lane: Int, _ step: Int) -> Int {
    if let order { return order[8 * step + lane] }
    let size = job.pointee.groupSize
    let base = (first + lane) * size
    guard let rankings = job.pointee.rankings else { return base + size - 1 - step }
    return base + Int(truncatingIfNeeded: rankings[base + size - 1 - step])
  }

  /// `count` elements, from the last one back.
  @inline(__always) private func fetch<Element: BinaryFloatingPoint>(
    _ last: UnsafePointer<Element>, _ count: Int, _ target: UnsafeMutablePointer<Double>
  ) {
    for step in 0..<count { target[8 * step] = Double(last[-step]) }
  }

  /// A number of each group.
  @inline(__always) func load(_ array: UnsafeRawPointer?, otherwise: Double) -> F64x8 {
    guard let array else { return F64x8(repeating: otherwise) }
    return job.pointee.type.load(array, first, count: lanes, filler: otherwise)
  }
}
