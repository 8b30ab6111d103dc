import CPlatform
import CSwiftDPO
import Elementary
import Preference

/// Which sequences share a loss, so that their logits are best kept until it is known.
enum Groups {
  /// Each by itself.
  case single
  /// Sequence i and sequence i + count of 2 * count.
  case pairs(Int)
  /// So many in a row.
  case runs(Int)
  /// offsets[g] to offsets[g + 1].
  case offsets(UnsafePointer<Int64>, Int)

  func count(_ sequences: Int) -> Int {
    switch self {
    case .single: sequences
    case .pairs(let count): count
    case .runs(let length): sequences / length
    case .offsets(_, let count): count
    }
  }

  func forEachSequence(_ group: Int, _ body: (Int) -> Void) {
    switch self {
    case .single: body(group)
    case .pairs(let count):
      body(group)
      body(group + count)
    case .runs(let length): for item in 0..<length { body(group * length + item) }
    case .offsets(let offsets, _): for item in Int(offsets[group])..<Int(offsets[group + 1]) { body(item) }
    }
  }
}

/// The shapes of the products. They follow from the batch alone, so that the workspace has no influence on the bits.
struct TileShape {
  /// At most so many rows of hidden states in one product, and so many entries of the vocabulary.
  let rows: Int
  let columns: Int
  /// Tiles in a row.
  let count: Int
  /// Logits may wait for their gradient.
  let keeps: Bool

  /// What so many tiles at most say of their rows is merged together.
  static let wave = 32
  /// The gradient of the hidden states is added up in so many sums, over every other tile each: two threads have work
  /// without products of half the width, which would have the gradient of the logits packed twice.
  var lanes: Int { min(2, count) }

  /// The hidden states' width is multiplied in so many ranges, which follow one another in a lane as tiles do.
  static func ranges(_ width: Int) -> Int { (width + 1023) / 1024 }

  /// As many rows as let a pair of some hundred tokens wait in 48 MiB for its loss, but enough for a product to be worth
  /// packing the weight for; columns so that a tile of weights stays under 8 MiB in single precision.
  ///
  /// - Parameter keeps: false where logits are only read. Tiles are twice as high and half as wide then, in the same
  ///   memory: that packs less for each product.
  init(vocabulary: Int, width: Int, keeps: Bool = true) {
    let waiting = (48 << 20) / (4 * max(vocabulary, 1))
    let limit = max(64, (4 << 20) / max(width, 1))
    self.keeps = keeps
    rows = min(limit, min(1024, max(384, waiting))) * (keeps ? 1 : 2)
    let most = min(2048, max(512, (2 << 20) / max(width, 1))) / (keeps ? 1 : 2)
    var tiles = max(1, (vocabulary + most - 1) / most)
    if tiles > 1 { tiles += tiles & 1 }  // as many for one lane as for the other
    let even = (vocabulary + tiles - 1) / tiles
    columns = max(1, vocabulary < 16 ? vocabulary : (even + 15) & ~15)
    count = max(1, (vocabulary + columns - 1) / columns)
  }

  func columns(of tile: Int, _ vocabulary: Int) -> Range<Int> {
    let start = tile * columns
    return start..<min(start + columns, vocabulary)
  }
}

/// The rows that score a label, cut into chunks for the products and into blocks whose loss can be known at once.
struct RowPlan {
  let planned: Scratch<PlannedRow>
  /// The scored rows, in the order of groups.
  private let order: UnsafeMutablePointer<Int>
  private(set) var count = 0
  /// Chunk c is rows chunks[c] up to chunks[c + 1] of the order; block b is chunks blocks[b] up to blocks[b + 1], and
  /// groups firstGroups[b] up to firstGroups[b + 1].
  private let chunks: UnsafeMutablePointer<Int>
  private let blocks: UnsafeMutablePointer<Int>
  private let firstGroups: UnsafeMutablePointer<Int>
  /// Where these four stand.
  private let numbers: Scratch<Int>
  private(set) var chunkCount = 0
  private(set) var blockCount = 0

  init(
    _ batch: LogitsBatch, _ shape: TileShape, _ groups: Groups, absentLabels: Bool = false
  ) throws(Fault) {
    let groupCount = groups.count(batch.sequences)
    // There is no memory for more, and sums of such counts would overflow.
    try require(batch.rows >> 58 == 0 && groupCount >> 58 == 0, SWIFTDPO_ERROR_OUT_OF_MEMORY, "num_sequences")
    planned = try Scratch(batch.rows, "num_sequences")
    do throws(Fault) { numbers = try Scratch(2 * batch.rows + 3 * groupCount + 6, "num_sequences") } catch {
      planned.free()
      throw error
    }
    order = numbers.values
    chunks = order + batch.rows
    blocks = chunks + batch.rows + groupCount + 2
    firstGroups = blocks + groupCount + 2
    do throws(Fault) { try batch.plan(planned.values, absentLabels: absentLabels) } catch {
      free()
      throw error
    }

    blocks[0] = 0
    firstGroups[0] = 0
    chunks[0] = 0
    var start = 0
    for group in 0..<groupCount {
      let before = count
      append(group, groups, batch)
      // Groups that no longer fit begin the next block.
      if before > start && count - start > shape.rows {
        closeBlock(start..<before, shape, before: group)
        start = before
      }
    }
    closeBlock(start..<count, shape, before: groupCount)
  }

  private mutating func append(_ group: Int, _ groups: Groups, _ batch: LogitsBatch) {
    groups.forEachSequence(group) { sequence in
      for row in batch.rows(of: sequence) where planned.values[row].label >= 0 {
        order[count] = row
        count += 1
      }
    }
  }

  /// The rows of a block in as many even chunks as they need.
  private mutating func closeBlock(_ rows: Range<Int>, _ shape: TileShape, before group: Int) {
    let pieces = (rows.count + shape.rows - 1) / shape.rows
    for piece in 0..<pieces {
      chunkCount += 1
      chunks[chunkCount] = rows.lowerBound + rows.count * (piece + 1) / pieces
    }
    blockCount += 1
    blocks[blockCount] = chunkCount
    firstGroups[blockCount] = group
  }

  func free() {
    planned.free()
    numbers.free()
  }

  var rows: UnsafeBufferPointer<Int> { UnsafeBufferPointer(start: order, count: count) }

  /// The scored rows of a chunk.
  func rows(of chunk: Int) -> UnsafeBufferPointer<Int> {
    let start = chunks[chunk]
    return UnsafeBufferPointer(start: order + start, count: chunks[chunk + 1] - start)
  }

  func chunks(of block: Int) -> Range<Int> { blocks[block]..<blocks[block + 1] }

  func groups(of block: Int) -> Range<Int> { firstGroups[block]..<firstGroups[block + 1] }

  /// How many scored rows there are before a chunk.
  func rows(before chunk: Int) -> Int { chunks[chunk] }
}

/// Temporary memory: a chunk of rows, what tiles of weights are widened to, and behind that tiles of logits.
struct Workspace {
  /// Offsets of the parts in bytes.
  let hidden: Int
  /// The gradient of the hidden states, in lanes; before there is one, what tiles of logits say of their rows.
  let sums: Int
  let weight: Int
  let ones: Int
  /// Whose turn it is to be added to the gradient of the hidden states.
  let turns: Int
  let tiles: Int
  /// Tiles of weights that can be widened at once; nil: none needs to be.
  let widened: Int?
  /// With two tiles, for two threads to work on, and with the logits of the largest block.
  let least: Int
  let most: Int

  init(_ shape: TileShape, width: Int, _ type: ElementType, takesBF16: Bool, vocabulary: Int, rows: Int) {
    var end = 0
    func part(_ count: Int, _ bytes: Int) -> Int {
      let start = end
      end = (start + count * bytes + 63) & ~63
      return start
    }
    let rowsOfChunk = min(shape.rows, rows)
    let two = shape.lanes
    widened = type != .f32 && !(type == .bf16 && takesBF16) ? two : nil
    // Both factors are bounded by the shape of a tile: no product overflows.
    hidden = part(rowsOfChunk * width, 4)
    let statistics = min(TileShape.wave, shape.count) * MemoryLayout<RowStatistics>.stride
    sums = part(rowsOfChunk, max(statistics, shape.keeps ? 4 * two * width : 0))
    weight = part((widened ?? 0) * shape.columns * width, 4)
    ones = part(rowsOfChunk, 4)
    turns = part(two * TileShape.ranges(width), MemoryLayout<Int>.stride)
    tiles = end
    _ = part(two * rowsOfChunk * shape.columns, 4)
    least = end
    let logits = rows.multipliedReportingOverflow(by: 4 * vocabulary)
    let all = tiles.addingReportingOverflow(logits.partialValue)
    most = logits.overflow || all.overflow ? Int.max : max(least, all.partialValue)
  }
}
