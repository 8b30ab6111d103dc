import CPlatform
import CSwiftDPO
import Elementary
import Preference

/// A head at work: logits made tile by tile, read, turned into their gradient, and multiplied away.
///
/// A chunk of rows passes over all tiles of the vocabulary; what is known of its rows is merged in their order. The
/// products' shapes, and the order in which they are added up, follow from the batch alone.
struct FusedHead {
  let head: LinearHead
  let batch: LogitsBatch
  let plan: RowPlan
  let shape: TileShape
  let product: MatrixProduct
  let space: Workspace
  let memory: UnsafeMutableRawPointer
  /// The same, unless it is the caller's.
  let own: UnsafeMutableRawPointer?
  /// Of the memory.
  let size: Int

  /// Bytes for logits.
  private var capacity: Int { size - space.tiles }

  func end() {
    product.end()
    free(own)
    plan.free()
  }

  /// The type in which matrices are multiplied.
  private var type: ElementType { head.type == .bf16 && product.takesBF16 ? .bf16 : .f32 }

  private func chunkOfHidden() -> UnsafeMutableRawPointer { memory + space.hidden }

  /// Gathers a chunk's rows of hidden states, in the type of the products.
  private func gather(_ rows: UnsafeBufferPointer<Int>) {
    let stride = head.width * type.stride
    for index in rows.indices {
      convert(head.row(rows[index]), head.type, chunkOfHidden() + index * stride, type, head.width)
    }
  }

  /// A tile's rows of the weight, in the type of the products.
  private func weight(_ tile: Tile) -> MatrixProduct.Operand {
    let start = head.type == type ? rowsOfWeight(tile) : UnsafeRawPointer(widened(tile))
    return MatrixProduct.Operand(start: start, stride: head.width)
  }

  private func rowsOfWeight(_ tile: Tile) -> UnsafeRawPointer {
    head.weight + tile.columns.lowerBound * head.width * head.type.stride
  }

  private func widened(_ tile: Tile) -> UnsafeMutableRawPointer {
    memory + space.weight + 4 * tile.place * shape.columns * head.width
  }

  private func widen(_ tile: Tile) {
    if head.type == type { return }
    convert(rowsOfWeight(tile), head.type, widened(tile), type, tile.columns.count * head.width)
  }

  /// The logits of a chunk in a tile's columns, with the bias already where the product is added.
  private func makeLogits(_ rows: Int, _ tile: Tile) {
    widen(tile)
    let count = tile.columns.count
    if let bias = head.bias {
      convert(bias + tile.columns.lowerBound * head.type.stride, head.type, tile.logits, .f32, count)
      for row in 1..<rows { memcpy(tile.logits + row * count, tile.logits, 4 * count) }
    }
    var weight = weight(tile)
    weight.transposed = true
    product(
      rows, count, head.width, type,
      MatrixProduct.Operand(start: UnsafeRawPointer(chunkOfHidden()), stride: head.width), weight,
      beta: head.bias == nil ? 0 : 1, tile.logits, count)
  }

  /// How many tiles are worked on at once, which has no influence on what the products are.
  private func places(_ rows: Int, _ kept: UnsafeMutablePointer<Float>?) -> Int {
    var most = product.isConcurrent ? Int(Threads.count) : 1
    if kept == nil { most = min(most, capacity / (4 * rows * shape.columns)) }
    if let widened = space.widened { most = min(most, widened) }
    return most
  }

  /// A tile of a chunk, whose logits are kept or stand in a place until the next tile has it.
  private func tile(_ index: Int, _ rows: Int, _ kept: UnsafeMutablePointer<Float>?, place: Int) -> Tile {
    Tile(
      columns: shape.columns(of: index, batch.vocabulary), place: place,
      logits: (kept ?? tileOfLogits) + rows * (kept == nil ? place : index) * shape.columns)
  }

  private func forEachRow(_ count: Int, _ columns: Int, _ body: (Int) -> Void) {
    parallelRanges(count, grain: max(1, (1 << 16) / columns)) { range in for row in range { body(row) } }
  }

  // MARK: Forward

  /// Logits of a chunk, tile by tile, and what they say of its rows. They are left in `kept`, if there is room.
  func score(
    _ chunk: Int, _ scored: UnsafeMutablePointer<ScoredRow>, all: Bool, keepIn kept: UnsafeMutablePointer<Float>?
  ) {
    let rows = plan.rows(of: chunk)
    gather(rows)
    for row in rows { scored[row] = ScoredRow() }
    let statistics = (memory + space.sums).assumingMemoryBound(to: RowStatistics.self)
    let places = places(rows.count, kept)
    var first = 0
    while first < shape.count {
      let count = min(TileShape.wave, shape.count - first)
      parallel(count, places: places, sideBySide: product.isConcurrent) { slot, place in
        let tile = tile(first + slot, rows.count, kept, place: place)
        let columns = tile.columns
        makeLogits(rows.count, tile)
        // At once, by the thread that has them in its caches.
        forEachRow(rows.count, columns.count) { index in
          let row = rows[index]
          let line = UnsafeRawPointer(tile.logits + index * columns.count)
          statistics[slot * rows.count + index] = kernels.rowStatistics(batch.form, line, columns.count, all)
          let label = batch.column(plan.planned.values[row].label) - columns.lowerBound
          if label >= 0 && label < columns.count { scored[row].labelLogit = kernels.logit(batch.form, line, label) }
        }
      }
      for slot in 0..<count {
        for index in rows.indices { scored[rows[index]].merge(statistics[slot * rows.count + index]) }
      }
      first += count
    }
    for row in rows { scored[row].close() }
  }

  private var tileOfLogits: UnsafeMutablePointer<Float> {
    (memory + space.tiles).assumingMemoryBound(to: Float.self)
  }

  /// Where the logits of chunks wait, each behind those before it; nil if there is no room for all of them.
  func keeper(_ chunks: Range<Int>) -> UnsafeMutablePointer<Float>? {
    let rows = plan.rows(before: chunks.upperBound) - plan.rows(before: chunks.lowerBound)
    let (bytes, overflow) = rows.multipliedReportingOverflow(by: 4 * batch.vocabulary)
    return !overflow && bytes <= capacity ? tileOfLogits : nil
  }

  func kept(_ keeper: UnsafeMutablePointer<Float>?, _ chunk: Int, _ chunks: Range<Int>) -> UnsafeMutablePointer<Float>?
  {
    keeper.map { $0 + (plan.rows(before: chunk) - plan.rows(before: chunks.lowerBound)) * batch.vocabulary }
  }

  // MARK: Backward

  /// Adds a chunk's share of the gradients.
  ///
  /// - Parameters:
  ///   - kept: the chunk's logits; nil: to be made again.
  ///   - factors: d loss / d log-probability of each row's label.
  ///   - isFirst: the sums begin here.
  func differentiate(
    _ chunk: Int, kept: UnsafeMutablePointer<Float>?, normalizers: (Int) -> Double,
    factors: UnsafePointer<Double>, _ gradients: HeadGradients, isFirst: Bool
  ) {
    let rows = plan.rows(of: chunk)
    gather(rows)
    let hidden = MatrixProduct.Operand(start: UnsafeRawPointer(chunkOfHidden()), stride: head.width)
    let sums = (memory + space.sums).assumingMemoryBound(to: Float.self)
    let sizeOfSum = rows.count * head.width
    let ones = ones(rows.count)
    let sum: Float = isFirst && !gradients.accumulates ? 0 : 1
    let ranges = TileShape.ranges(head.width)
    let lanes = shape.lanes
    // Of each range of the hidden states' width in each lane: how many tiles are in its sum.
    let turns = (memory + space.turns).assumingMemoryBound(to: Int.self)
    for index in 0..<lanes * ranges { turns[index] = 0 }
    parallel(shape.count, places: places(rows.count, kept), sideBySide: product.isConcurrent) { number, place in
      let tile = tile(number, rows.count, kept, place: place)
      let columns = tile.columns
      if kept == nil { makeLogits(rows.count, tile) } else if gradients.hidden != nil { widen(tile) }
      forEachRow(rows.count, columns.count) { index in
        let row = rows[index]
        let line = UnsafeMutableRawPointer(tile.logits + index * columns.count)
        let label = batch.column(plan.planned.values[row].label) - columns.lowerBound
        kernels.rowGradient(
          batch.form,
          GradientRow(
            logits: line, gradient: line, count: columns.count,
            label: label >= 0 && label < columns.count ? label : -1, logSumExp: normalizers(row),
            weight: factors[row]))
      }
      if type == .bf16 { round(tile.logits, rows.count * columns.count) }
      let gradient = MatrixProduct.Operand(start: UnsafeRawPointer(tile.logits), stride: columns.count)
      if let target = gradients.weight {
        var across = gradient
        across.transposed = true
        product(
          columns.count, head.width, rows.count, type, across, hidden, beta: sum,
          target + columns.lowerBound * head.width, head.width)
      }
      if let target = gradients.bias {
        product(
          1, columns.count, rows.count, type, ones, gradient, beta: sum, target + columns.lowerBound, columns.count)
      }
      // Last, since the tile before it in the lane is to be in the sum by then.
      for range in 0..<(gradients.hidden == nil ? 0 : ranges) {
        let start = head.width * range / ranges
        let turn = turns + number % lanes * ranges + range
        var weight = weight(tile)
        weight.start += start * type.stride
        platform_await_turn(turn, number / lanes)
        product(
          rows.count, head.width * (range + 1) / ranges - start, columns.count, type, gradient, weight,
          beta: number < lanes ? 0 : 1, sums + number % lanes * sizeOfSum + start, head.width)
        platform_pass_turn(turn)
      }
    }
    if let target = gradients.hidden {
      if lanes > 1 { for index in 0..<sizeOfSum { sums[index] += sums[sizeOfSum + index] } }
      for index in rows.indices {
        convert(
          UnsafeRawPointer(sums + index * head.width), .f32,
          target + rows[index] * head.width * head.type.stride, head.type, head.width)
      }
    }
  }

  /// Numbers in bf16, from where they stand on: none is written before what it takes the place of is read.
  private func round(_ gradients: UnsafeMutablePointer<Float>, _ count: Int) {
    convertRange(UnsafeRawPointer(gradients), .f32, UnsafeMutableRawPointer(gradients), .bf16, 0..<count)
  }

  private func ones(_ count: Int) -> MatrixProduct.Operand {
    let line = memory + space.ones
    for index in 0..<count { type.store(1, line, index) }
    return MatrixProduct.Operand(start: UnsafeRawPointer(line), stride: count)
  }
}

/// Copies numbers from one type to another, rounding to nearest.
private func convert(
  _ source: UnsafeRawPointer, _ from: ElementType, _ target: UnsafeMutableRawPointer, _ to: ElementType, _ count: Int
) {
  if from == to {
    memcpy(target, source, count * to.stride)
    return
  }
  parallelRanges(count, grain: 1 << 16) { convertRange(source, from, target, to, $0) }
}

@_optimize(speed)
private func convertRange(
  _ source: UnsafeRawPointer, _ from: ElementType, _ target: UnsafeMutableRawPointer, _ to: ElementType,
  _ range: Range<Int>
) {
  var index = range.lowerBound
  while index + 16 <= range.upperBound {
    to.store16(from.load16(source, index), target, index)
    index += 16
  }
  while index < range.upperBound {
    to.store(from.load(source, index), target, index)
    index += 1
  }
}

/// Columns of a chunk's logits, or of their gradient.
private struct Tile {
  let columns: Range<Int>
  /// Which of those that are worked on at once.
  let place: Int
  let logits: UnsafeMutablePointer<Float>
}

extension ScoredRow {
  /// Of no logits so far.
  init() { self.init(labelLogit: .nan, maximum: -.greatestFiniteMagnitude, sum: 0) }

  /// The statistics of further logits of the row. Tiles are merged in their order.
  mutating func merge(_ other: RowStatistics) {
    if other.sum == 0 && !other.base.isNaN {
      // -inf throughout: nothing but its mean.
      statistics.total += other.total
      return
    }
    if statistics.sum == 0 && !statistics.base.isNaN {
      let total = statistics.total
      statistics = other
      statistics.total += total
      return
    }
    let raises = other.base > statistics.base
    let base = raises ? other.base : statistics.base
    statistics.rescale(to: base)
    var other = other
    other.rescale(to: base)
    statistics.sum += other.sum
    statistics.sumOfSquares += other.sumOfSquares
    statistics.weightedSum += other.weightedSum
    statistics.total += other.total
  }

  /// All logits of the row are merged.
  mutating func close() {
    let all = statistics
    self = ScoredRow(labelLogit: labelLogit, maximum: all.base, sum: all.sum)
    statistics = all
  }
}

extension RowStatistics {
  /// The same sums relative to another base.
  fileprivate mutating func rescale(to base: Double) {
    if base == self.base { return }
    let distance = self.base - base
    let factor = kernels.exp(distance)
    weightedSum = factor == 0 ? 0 : factor * (weightedSum + distance * sum)
    sumOfSquares *= factor * factor
    sum *= factor
    self.base = base
  }
}

/// The checked buffers of swiftdpo_linear_gradients.
struct HeadGradients {
  var hidden: UnsafeMutableRawPointer?
  var weight: UnsafeMutablePointer<Float>?
  var bias: UnsafeMutablePointer<Float>?
  var accumulates = false

  /// None.
  init() {}

  init(
    _ gradients: swiftdpo_linear_gradients_f32, _ head: LinearHead, _ batch: LogitsBatch, _ ledger: inout Ledger
  ) throws(Fault) {
    accumulates = try checkFlag(gradients.accumulate, "accumulate")
    hidden = try ledger.result(
      UnsafeMutableRawPointer(gradients.grad_hidden), head.type, product(batch.rows, head.width, "hidden_size"),
      "grad_hidden")
    weight = try ledger.result(gradients.grad_weight, batch.vocabulary * head.width, "grad_weight")
    bias = try ledger.result(gradients.grad_bias, batch.vocabulary, "grad_bias")
  }

  var areNone: Bool { hidden == nil && weight == nil && bias == nil }

  /// What rows that score nothing have; and all of it, where no row does.
  func clear(_ head: LinearHead, _ batch: LogitsBatch, _ plan: RowPlan) {
    let width = head.width * head.type.stride
    if let hidden {
      for row in 0..<batch.rows where plan.planned.values[row].label < 0 { memset(hidden + row * width, 0, width) }
    }
    if plan.count == 0 && !accumulates {
      if let weight { memset(weight, 0, 4 * batch.vocabulary * head.width) }
      if let bias { memset(bias, 0, 4 * batch.vocabulary) }
    }
  }
}
