import Elementary

/// The order in which eight groups, one in each lane, are worked through: the last place first, so that a group's end is
/// where its lane begins, however many items it has.
///
/// Step j of a lane with n items is place n - 1 - j. Arrays have eight elements for each step, one for each lane.
public struct RankingPlan {
  /// The item of each step, as an index into the job's arrays of items.
  public var order: UnsafeMutablePointer<Int>
  /// For jobs whose stages have weights: n_k and v_k of each stage, and the weight of the items tied with the stage's
  /// and above it.
  public var normalizers: UnsafeMutablePointer<F64x8>
  public var picks: UnsafeMutablePointer<F64x8>
  public var gaps: UnsafeMutablePointer<F64x8>
  /// One number for each rank or item of a group, 0 between calls.
  private var scratch: UnsafeMutablePointer<Int>

  /// For groups of at most `capacity` items and entries.
  public init(capacity: Int, memory: UnsafeMutableRawPointer) {
    order = memory.assumingMemoryBound(to: Int.self)
    normalizers = (memory + 64 &* capacity).assumingMemoryBound(to: F64x8.self)
    picks = (memory + 128 &* capacity).assumingMemoryBound(to: F64x8.self)
    gaps = (memory + 192 &* capacity).assumingMemoryBound(to: F64x8.self)
    scratch = (memory + 256 &* capacity).assumingMemoryBound(to: Int.self)
  }

  /// The size of a plan's memory, a multiple of 64.
  public static func bytes(capacity: Int) -> Int { 256 &* capacity &+ (8 &* (capacity &+ 2) &+ 63) & ~63 }

  /// A weight of the first lane.
  public func weight(_ array: UnsafeMutablePointer<F64x8>, _ step: Int) -> Double {
    UnsafeRawPointer(array).load(fromByteOffset: 64 &* step, as: Double.self)
  }

  /// To be called once, before the first lane is filled.
  public func prepare(capacity: Int) { scratch.initialize(repeating: 0, count: capacity &+ 2) }

  /// Plans one lane. Returns how many items take part, and the first step whose stage was observed.
  public func fill(_ job: UnsafePointer<RankingJob>, group: Int, lane: Int) -> (count: Int, opens: Int) {
    let entries = job.pointee.entries(group)
    let items = job.pointee.items(group)
    let rankings = job.pointee.rankings
    func item(_ entry: Int) -> Int {
      guard let rankings else { return entry }
      return items.lowerBound &+ Int(truncatingIfNeeded: rankings[entry])
    }

    var listed = 0
    for entry in entries where takesPart(job, entry) { listed &+= 1 }
    let count = rankings != nil && job.pointee.unlisted == .remain ? items.count : listed
    var ranked = listed
    if let ranks = job.pointee.ranks {
      ranked = placeByRank(job, ranks, entries, count, lane, item)
      weighBlocks(job, ranks: entries.count, count, lane)
      for rank in 0...entries.count &+ 1 { scratch[rank] = 0 }
    } else {
      for place in 0..<listed { order[8 &* (count &- 1 &- place) &+ lane] = item(entries.lowerBound &+ place) }
      if job.pointee.hasStageWeights { weighPlaces(job, ranked, count, lane) }
    }
    if count > listed { appendUnlisted(items, listed, count, lane) }
    let observed = ranked < job.pointee.top ? ranked : job.pointee.top
    return (count, count &- observed)
  }

  /// An entry behind the end of its list has no item, whatever its rank.
  private func takesPart(_ job: UnsafePointer<RankingJob>, _ entry: Int) -> Bool {
    if let rankings = job.pointee.rankings, rankings[entry] < 0 { return false }
    if let ranks = job.pointee.ranks, ranks[entry] < 0 { return false }
    return true
  }

  /// A counting sort: by rank, entries of one rank in their order, the unranked last. Returns how many are ranked, and
  /// leaves in scratch[r] the place behind the last item of rank r.
  private func placeByRank(
    _ job: UnsafePointer<RankingJob>, _ ranks: UnsafePointer<Int64>, _ entries: Range<Int>, _ count: Int, _ lane: Int,
    _ item: (Int) -> Int
  ) -> Int {
    // The unranked come as if they had the rank behind the last.
    func rank(_ entry: Int) -> Int { ranks[entry] > 0 ? Int(truncatingIfNeeded: ranks[entry]) : entries.count &+ 1 }
    // First where each rank begins; then each item moves its rank's place on.
    for entry in entries where takesPart(job, entry) { scratch[rank(entry)] &+= 1 }
    var place = 0
    var ranked = 0
    for rank in 1...entries.count &+ 1 {
      ranked = place
      place &+= scratch[rank]
      scratch[rank] = ranked
    }
    for entry in entries where takesPart(job, entry) {
      order[8 &* (count &- 1 &- scratch[rank(entry)]) &+ lane] = item(entry)
      scratch[rank(entry)] &+= 1
    }
    return ranked
  }

  /// Stage weights of items with ranks, from the places where the ranks end: d items that are tied share the weight of
  /// their first place and its sum. They count if that place is among the observed ones.
  private func weighBlocks(_ job: UnsafePointer<RankingJob>, ranks: Int, _ count: Int, _ lane: Int) {
    var start = 0
    for rank in 1...ranks &+ 1 {
      let end = scratch[rank]
      let weight = rank <= ranks && start < job.pointee.top && start < end ? placeWeight(job, start) : 0
      for place in start..<end {
        setWeights(
          count &- 1 &- place, lane, normalizer: place == start ? Double(end &- start) * weight : 0, pick: weight,
          gap: Double(end &- 1 &- place) * weight)
      }
      start = end
    }
    clearWeights(start, count, lane)
  }

  private func weighPlaces(_ job: UnsafePointer<RankingJob>, _ ranked: Int, _ count: Int, _ lane: Int) {
    for place in 0..<ranked {
      let weight = place < job.pointee.top ? placeWeight(job, place) : 0
      setWeights(count &- 1 &- place, lane, normalizer: weight, pick: weight, gap: 0)
    }
    clearWeights(ranked, count, lane)
  }

  private func placeWeight(_ job: UnsafePointer<RankingJob>, _ place: Int) -> Double {
    guard let weights = job.pointee.positionWeights else { return 1 }
    return job.pointee.type.load(weights, place)
  }

  /// The items that no list names were there, but no stage chose them.
  private func clearWeights(_ first: Int, _ count: Int, _ lane: Int) {
    for place in first..<count { setWeights(count &- 1 &- place, lane, normalizer: 0, pick: 0, gap: 0) }
  }

  private func setWeights(_ step: Int, _ lane: Int, normalizer: Double, pick: Double, gap: Double) {
    func set(_ array: UnsafeMutablePointer<F64x8>, _ value: Double) {
      UnsafeMutableRawPointer(array).storeBytes(of: value, toByteOffset: 64 &* step &+ 8 &* lane, as: Double.self)
    }
    set(normalizers, normalizer)
    set(picks, pick)
    set(gaps, gap)
  }

  private func appendUnlisted(_ items: Range<Int>, _ listed: Int, _ count: Int, _ lane: Int) {
    var place = 0
    while place < listed {
      scratch[order[8 &* (count &- 1 &- place) &+ lane] &- items.lowerBound] = 1
      place &+= 1
    }
    for item in items {
      if scratch[item &- items.lowerBound] == 0 {
        order[8 &* (count &- 1 &- place) &+ lane] = item
        place &+= 1
      }
      scratch[item &- items.lowerBound] = 0
    }
  }
}
