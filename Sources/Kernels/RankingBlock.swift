import CPlatform
import Elementary
import Preference

/// Ranked groups at work: eight, one in each lane, or the eight runs that one long group is cut into. The caller's numbers
/// come in and go out here.
struct RankingBlock {
  let job: UnsafePointer<RankingJob>
  /// The item of each step and lane. Nil: items stand in their place or where `rankings` says.
  let order: UnsafeMutablePointer<Int>?
  let isCut: Bool
  /// Where each lane's entries end, and the items of its group begin.
  private var ends = InlineArray<8, Int>(repeating: 0)
  private var items = InlineArray<8, Int>(repeating: 0)
  /// How many items take part in each lane, and from which step on its stages were observed.
  var counts = F64x8(repeating: 0)
  var opens = F64x8(repeating: 0)
  var steps = 0
  /// The smallest number of items of a lane.
  private var fewest = Int.max

  /// One group in each lane, but for long ones, whose lanes stay empty.
  init(_ job: UnsafePointer<RankingJob>, first: Int, lanes: Int, plan: RankingPlan) {
    self.job = job
    isCut = false
    order = job.pointee.isPlain ? nil : plan.order
    for lane in 0..<lanes {
      let group = first + lane
      let entries = job.pointee.entries(group)
      if order != nil {
        let (count, opens) = plan.fill(job, group: group, lane: lane)
        setLane(lane, items: entries.lowerBound, end: entries.upperBound, count: count, opens: opens)
      } else if !job.pointee.isCut(group) {
        let count = entries.count
        let top = job.pointee.top
        setLane(
          lane, items: entries.lowerBound, end: entries.upperBound, count: count, opens: count < top ? 0 : count - top)
      } else {
        fewest = 0
      }
    }
    if lanes < 8 { fewest = 0 }
  }

  /// One group in the first lane, or cut into runs of which the first holds the best items.
  init(_ job: UnsafePointer<RankingJob>, group: Int, isCut: Bool) {
    self.job = job
    self.isCut = isCut
    order = nil
    let entries = job.pointee.entries(group)
    let lanes = isCut ? 8 : 1
    let run = (entries.count + lanes - 1) / lanes
    var start = entries.lowerBound
    for lane in 0..<lanes {
      let end = entries.upperBound - start < run ? entries.upperBound : start + run
      let observed = job.pointee.top < start - entries.lowerBound ? 0 : job.pointee.top - (start - entries.lowerBound)
      let count = end - start
      setLane(
        lane, items: entries.lowerBound, end: end, count: count, opens: count < observed ? 0 : count - observed)
      start = end
    }
    if !isCut { fewest = 0 }
  }

  private mutating func setLane(_ lane: Int, items: Int, end: Int, count: Int, opens: Int) {
    self.items[lane] = items
    ends[lane] = end
    counts[lane] = Double(count)
    self.opens[lane] = Double(opens)
    if count > steps { steps = count }
    if count < fewest { fewest = count }
  }

  /// Whether all lanes' stages at a step were observed.
  @inline(__always) func isFull(_ step: Int) -> Bool { step < fewest && step >= latestOpening }

  private var latestOpening: Int { job.pointee.top == Int.max && order == nil ? 0 : Int.max }

  /// Copies the items' numbers to their steps and lanes; 0 where a lane has no item.
  @inline(never) func gather(_ array: UnsafeRawPointer?, _ target: UnsafeMutablePointer<F64x8>) {
    guard let array else {
      var step = 0
      while step < steps {
        target[step] = F64x8(repeating: 0)
        step &+= 1
      }
      return
    }
    let type = job.pointee.type
    let whole = wholeTiles
    var step = 0
    while step < whole {
      var tile = InlineArray<8, F64x8>(repeating: F64x8(repeating: 0))
      for lane in 0..<8 { tile[lane] = type.load8(array, ends[lane] &- 8 &- step) }
      withUnsafeMutablePointer(to: &tile) { platform_transpose($0) }
      for row in 0..<8 { target[step &+ row] = tile[7 &- row] }
      step &+= 8
    }
    let elements = UnsafeMutableRawPointer(target).assumingMemoryBound(to: Double.self)
    for lane in 0..<8 {
      let count = Int(counts[lane])
      var step = whole
      while step < steps {
        elements[8 &* step &+ lane] = step < count ? type.load(array, place(lane, step)) : 0
        step &+= 1
      }
    }
  }

  /// The way back, from the lanes in `mask`. Numbers of items that groups share are added up.
  @inline(never) func scatter(_ source: UnsafeMutablePointer<F64x8>, _ array: UnsafeMutableRawPointer?, lanes mask: Int)
  {
    guard let array else { return }
    let type = job.pointee.type
    let whole = mask == 255 ? wholeTiles : 0
    var step = 0
    while step < whole {
      var tile = InlineArray<8, F64x8>(repeating: F64x8(repeating: 0))
      for row in 0..<8 { tile[7 &- row] = source[step &+ row] }
      withUnsafeMutablePointer(to: &tile) { platform_transpose($0) }
      for lane in 0..<8 { type.store8(tile[lane], array, ends[lane] &- 8 &- step) }
      step &+= 8
    }
    let elements = UnsafeMutableRawPointer(source).assumingMemoryBound(to: Double.self)
    let isShared = job.pointee.numSharedItems > 0
    for lane in 0..<8 where mask >> lane & 1 == 1 {
      let count = Int(counts[lane])
      var step = whole
      while step < count {
        let item = place(lane, step)
        let sofar = isShared ? type.load(array, item) : 0
        type.store(sofar + elements[8 &* step &+ lane], array, item)
        step &+= 1
      }
    }
  }

  /// So many steps, a multiple of eight, are runs of neighbours in each lane of the caller's arrays.
  private var wholeTiles: Int {
    order == nil && job.pointee.rankings == nil && job.pointee.type.stride > 2 ? fewest & ~7 : 0
  }

  /// Where the item that a lane has at a step lies in the caller's arrays.
  @inline(__always) private func place(_ lane: Int, _ step: Int) -> Int {
    if let order { return order[8 &* step &+ lane] }
    let entry = ends[lane] &- 1 &- step
    guard let rankings = job.pointee.rankings else { return entry }
    return items[lane] &+ Int(truncatingIfNeeded: rankings[entry])
  }
}
