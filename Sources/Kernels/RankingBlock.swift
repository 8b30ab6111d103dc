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
  private let lanes: UnsafeMutablePointer<RankingLane>
  /// How many items take part in each lane, and from which step on its stages were observed.
  var counts = F64x8(repeating: 0)
  var opens = F64x8(repeating: 0)
  var steps = 0
  /// The smallest number of items of a lane.
  private var fewest = Int.max

  /// One group in each lane, but for long ones, whose lanes stay empty.
  init(_ job: UnsafePointer<RankingJob>, first: Int, lanes: Int, workspace: RankingWorkspace) {
    self.job = job
    isCut = false
    order = job.pointee.isPlain ? nil : workspace.plan.order
    self.lanes = workspace.lanes
    for lane in 0..<lanes {
      let group = first + lane
      let entries = job.pointee.entries(group)
      if order != nil {
        let (count, opens) = workspace.plan.fill(job, group: group, lane: lane)
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
  init(_ job: UnsafePointer<RankingJob>, group: Int, isCut: Bool, workspace: RankingWorkspace) {
    self.job = job
    self.isCut = isCut
    self.lanes = workspace.lanes
    order = nil
    let entries = job.pointee.entries(group)
    let count = isCut ? 8 : 1
    let run = (entries.count + count - 1) / count
    var start = entries.lowerBound
    for lane in 0..<count {
      let end = entries.upperBound - start < run ? entries.upperBound : start + run
      let observed = job.pointee.top < start - entries.lowerBound ? 0 : job.pointee.top - (start - entries.lowerBound)
      let size = end - start
      setLane(lane, items: entries.lowerBound, end: end, count: size, opens: size < observed ? 0 : size - observed)
      start = end
    }
    if !isCut { fewest = 0 }
  }

  private mutating func setLane(_ lane: Int, items: Int, end: Int, count: Int, opens: Int) {
    lanes[lane] = RankingLane(items: items, end: end)
    counts[lane] = Double(count)
    self.opens[lane] = Double(opens)
    if count > steps { steps = count }
    if count < fewest { fewest = count }
  }

  /// So many first steps have an item in each lane, whose stage was observed.
  var fullSteps: Int { job.pointee.top == Int.max && order == nil ? fewest : 0 }

  /// Where the tile ends that begins at a step.
  func endOfTile(_ step: Int) -> Int {
    step &+ RankingWorkspace.tile < steps ? step &+ RankingWorkspace.tile : steps
  }

  /// Copies the items' numbers to their steps and lanes, less those of `other`; 0 where a lane has no item.
  @inline(never) func gather(
    _ array: UnsafeRawPointer?, minus other: UnsafeRawPointer? = nil, _ target: UnsafeMutablePointer<F64x8>
  ) {
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
      for lane in 0..<8 {
        let start = lanes[lane].end &- 8 &- step
        tile[lane] = type.load8(array, start)
        if let other { tile[lane] = tile[lane] - type.load8(other, start) }
      }
      withUnsafeMutablePointer(to: &tile) { platform_transpose($0) }
      for row in 0..<8 { target[step &+ row] = tile[7 &- row] }
      step &+= 8
    }
    let elements = UnsafeMutableRawPointer(target).assumingMemoryBound(to: Double.self)
    // Tile by tile, lest each lane's numbers drive those of the last one out of the cache.
    while step < steps {
      let end = endOfTile(step)
      for lane in 0..<8 {
        let count = Int(counts[lane])
        let filled = count < end ? count : end
        var place = step
        if type == .f32 && platform_has_fma(), let list = list(lane) {
          let own = array + 4 &* lanes[lane].items
          let others = other.map { $0 + 4 &* lanes[lane].items }
          while place < filled {
            let item = Int(truncatingIfNeeded: list[-place])
            var element = ElementType.f32.load(own, item)
            if let others { element = element - ElementType.f32.load(others, item) }
            elements[8 &* place &+ lane] = element
            place &+= 1
          }
        }
        while place < filled {
          let item = self.place(lane, place)
          var element = type.load(array, item)
          if let other { element = element - type.load(other, item) }
          elements[8 &* place &+ lane] = element
          place &+= 1
        }
        while place < end {
          elements[8 &* place &+ lane] = 0
          place &+= 1
        }
      }
      step = end
    }
  }

  /// The way back of some steps, the first a multiple of eight, from the lanes in `mask`. Numbers of items that groups
  /// share are added up.
  @inline(never) func scatter(
    _ source: UnsafeMutablePointer<F64x8>, _ steps: Range<Int>, _ array: UnsafeMutableRawPointer?, lanes mask: Int
  ) {
    guard let array else { return }
    let type = job.pointee.type
    let whole = mask == 255 ? wholeTiles : 0
    var step = steps.lowerBound
    while step < whole && step &+ 8 <= steps.upperBound {
      let rows = source + (step &- steps.lowerBound)
      if type == .f32 && platform_has_fma() {
        var tile = InlineArray<8, SIMD8<Float>>(repeating: SIMD8<Float>(repeating: 0))
        for row in 0..<8 { tile[7 &- row] = platform_narrow(rows[row]) }
        withUnsafeMutablePointer(to: &tile) { platform_transpose_singles($0) }
        for lane in 0..<8 {
          (array + 4 &* (lanes[lane].end &- 8 &- step)).storeBytes(of: tile[lane], as: SIMD8<Float>.self)
        }
      } else {
        var tile = InlineArray<8, F64x8>(repeating: F64x8(repeating: 0))
        for row in 0..<8 { tile[7 &- row] = rows[row] }
        withUnsafeMutablePointer(to: &tile) { platform_transpose($0) }
        for lane in 0..<8 {
          type.store8(tile[lane], array, lanes[lane].end &- 8 &- step)
        }
      }
      step &+= 8
    }
    let elements = UnsafeMutableRawPointer(source).assumingMemoryBound(to: Double.self)
    let isShared = job.pointee.numSharedItems > 0
    while step < steps.upperBound {
      let tile = endOfTile(step)
      let end = tile < steps.upperBound ? tile : steps.upperBound
      for lane in 0..<8 where mask >> lane & 1 == 1 {
        let count = Int(counts[lane])
        let filled = count < end ? count : end
        var place = step
        if type == .f32 && platform_has_fma(), let list = list(lane) {
          let own = array + 4 &* lanes[lane].items
          while place < filled {
            let element = elements[8 &* (place &- steps.lowerBound) &+ lane]
            ElementType.f32.store(element, own, Int(truncatingIfNeeded: list[-place]))
            place &+= 1
          }
        }
        while place < filled {
          let item = self.place(lane, place)
          let sofar = isShared ? type.load(array, item) : 0
          type.store(sofar + elements[8 &* (place &- steps.lowerBound) &+ lane], array, item)
          place &+= 1
        }
      }
      step = end
    }
  }

  /// So many steps, a multiple of eight, are runs of neighbours in each lane of the caller's arrays.
  private var wholeTiles: Int {
    order == nil && job.pointee.rankings == nil && job.pointee.type.stride > 2 ? fewest & ~7 : 0
  }

  /// The caller's list of a lane's items, whose element -j is that of step j.
  @inline(__always) private func list(_ lane: Int) -> UnsafePointer<Int64>? {
    guard order == nil, let rankings = job.pointee.rankings else { return nil }
    return rankings + (lanes[lane].end &- 1)
  }

  /// Where the item that a lane has at a step lies in the caller's arrays.
  @inline(__always) private func place(_ lane: Int, _ step: Int) -> Int {
    if let order { return order[8 &* step &+ lane] }
    let entry = lanes[lane].end &- 1 &- step
    guard let rankings = job.pointee.rankings else { return entry }
    return lanes[lane].items &+ Int(truncatingIfNeeded: rankings[entry])
  }
}
