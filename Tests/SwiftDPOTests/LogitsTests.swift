import CSwiftDPO
import Foundation
import Testing

@Suite struct LogitsTests {
  /// Two sequences of three tokens over a vocabulary of four; the first token of each is the prompt.
  static let batch = Logits(
    logits: (0..<24).map { Float(sin(Double($0 * $0))) * 3 }, labels: [-100, 2, 0, -100, 3, -100], sequences: 2,
    vocabulary: 4)

  static func logSoftmax(_ row: ArraySlice<Float>, _ entry: Int) -> Double {
    let row = row.map(Double.init)
    return row[entry] - log(row.map(exp).reduce(0, +))
  }

  @Test func `log-probabilities are sums of log-softmax`() throws {
    let batch = Self.batch
    let out = try batch.logps()
    let expected = [
      Self.logSoftmax(batch.logits[0..<4], 2) + Self.logSoftmax(batch.logits[4..<8], 0),
      Self.logSoftmax(batch.logits[12..<16], 3),
    ]
    for (logp, expected) in zip(out.logps, expected) { #expect((logp - expected).magnitude < 1e-6) }
    #expect(out.numTokens == [2, 1])
    #expect([2, 4, 5].allSatisfy { out.tokenLogps[$0] == 0 })
    #expect(out.logps[0] == out.tokenLogps[0] + out.tokenLogps[1])
  }

  @Test func `without shift, logits score the label beside them`() throws {
    var batch = Self.batch
    batch.options.shift = 0
    let out = try batch.logps()
    let expected = Self.logSoftmax(batch.logits[4..<8], 2) + Self.logSoftmax(batch.logits[8..<12], 0)
    #expect((out.logps[0] - expected).magnitude < 1e-6)
  }

  @Test func `averages divide by the tokens that count`() throws {
    var batch = Self.batch
    let sums = try batch.logps()
    batch.options.average = 1
    let means = try batch.logps()
    #expect(means.logps == [sums.logps[0] / 2, sums.logps[1]])
    batch.labels = batch.labels.map { _ in -100 }
    #expect(try batch.logps().logps == [0, 0])
  }

  @Test func `the gradient is that of the log-probability`() throws {
    let batch = Self.batch
    let gradient = try batch.gradient([0.5, -2])
    let step: Float = 0x1p-7
    for i in batch.logits.indices {
      func value(_ shift: Float) throws -> Double {
        var moved = batch
        moved.logits[i] += shift
        let logps = try moved.logps().logps
        return 0.5 * logps[0] - 2 * logps[1]
      }
      let slope = try (value(step) - value(-step)) / (2 * Double(step))
      #expect((slope - Double(gradient[i])).magnitude < 1e-4)
    }
  }

  @Test func `normalizers of the forward call save the second reading`() throws {
    let batch = Self.batch
    let normalizers = try batch.logps().logNormalizers
    #expect(try batch.gradient([1, 1], logNormalizers: normalizers) == batch.gradient([1, 1]))
  }

  @Test func `a masked entry has probability 0`() throws {
    var batch = Self.batch
    batch.logits[1] = -.infinity
    #expect(try batch.gradient([1, 1])[1] == 0)
    #expect(try batch.logps().logps.allSatisfy(\.isFinite))
    batch.logits[2] = -.infinity
    #expect(try batch.logps().logps[0] == -.infinity)
  }

  @Test func `errors name field, element and rule`() {
    func refusal(_ change: (inout Logits) -> Void) -> Refusal? {
      var batch = Self.batch
      change(&batch)
      do {
        _ = try batch.logps()
        return nil
      } catch {
        return error
      }
    }
    #expect(refusal { _ in } == nil)
    #expect(refusal { $0.labels[1] = 4 } == Refusal(SWIFTDPO_ERROR_LABEL, "labels", 1))
    #expect(refusal { $0.labels[4] = -1 } == Refusal(SWIFTDPO_ERROR_LABEL, "labels", 4))
    #expect(refusal { $0.logits[6] = .nan } == Refusal(SWIFTDPO_ERROR_NONFINITE, "logits", 6))
    #expect(refusal { $0.logits[13] = .infinity } == Refusal(SWIFTDPO_ERROR_NONFINITE, "logits", 13))
    #expect(refusal { $0.stride = 3 } == Refusal(SWIFTDPO_ERROR_STRIDE, "row_stride"))
    #expect(refusal { $0.options.shift = 2 } == Refusal(SWIFTDPO_ERROR_FLAG, "shift"))
    #expect(refusal { $0.options.average = -1 } == Refusal(SWIFTDPO_ERROR_FLAG, "average"))
  }
}
