import CSwiftDPO
import Foundation
import Testing

@Suite struct RankingTests {
  @Test func `two items are a pair, bit for bit`() throws {
    for z in stride(from: -800.0, through: 800, by: 12.34) {
      let scores = [z - 20, -20], ref = [0.3, z / 7]
      let pair = try Pairs(
        policyChosen: [scores[0]], policyRejected: [scores[1]], refChosen: [ref[0]], refRejected: [ref[1]]
      ).evaluate()
      let list = try Rankings(policy: scores, ref: ref, groups: 1, beta: 0.1).evaluate()
      #expect(list.loss.bitPattern == pair.loss.bitPattern)
      #expect(list.gradient == [pair.gradChosen[0], pair.gradRejected[0]])
      #expect(list.rewards == [pair.chosenRewards[0], pair.rejectedRewards[0]])
      #expect(list.gradientWeights == [pair.gradientWeights[0], 0])
    }
  }

  @Test func `equal items leave log K! behind`() throws {
    for size in 1...20 {
      let out = try Rankings(policy: [Double](repeating: -7, count: size), groups: 1).evaluate()
      let expected = (1...size).map { log(Double($0)) }.reduce(0, +)
      #expect((out.loss - expected).magnitude <= 4 * expected.ulp)
    }
  }

  @Test func `one item has no choice`() throws {
    let out = try Rankings(policy: [-1e4, 3, 1e4], groups: 3).evaluate()
    #expect(out.losses == [0, 0, 0])
    #expect(out.gradient == [0, 0, 0])
  }

  @Test func `the probabilities of all orders add up to 1`() throws {
    let scores = [0.1, -2, 3.5, 1, 0.4]
    var orders: [[Int64]] = [[]]
    for _ in scores {
      orders = orders.flatMap { order in (0..<5).filter { !order.contains($0) }.map { order + [$0] } }
    }
    let policy = [[Double]](repeating: scores, count: orders.count).flatMap(\.self)
    let out = try Rankings(policy: policy, orders: orders.flatMap(\.self), groups: orders.count).evaluate()
    #expect((out.losses.map { exp(-$0) }.reduce(0, +) - 1).magnitude < 1e-14)
  }

  @Test(arguments: [0.5, 20, 1e4])
  func `the gradient is that of the loss, and adds up to 0`(_ spread: Double) throws {
    let scores = (0..<7).map { spread * sin(Double($0 * $0)) }
    let out = try Rankings(policy: scores, orders: [3, 1, 0, 6, 2, 5, 4], groups: 1).evaluate()
    #expect(out.gradient.reduce(0, +).magnitude < 1e-14)
    let step = 1e-5 * max(spread, 1)
    for item in scores.indices {
      func loss(_ shift: Double) throws -> Double {
        var moved = scores
        moved[item] += shift
        return try Rankings(policy: moved, orders: [3, 1, 0, 6, 2, 5, 4], groups: 1).evaluate().loss
      }
      let slope = try (loss(step) - loss(-step)) / (2 * step)
      #expect((slope - out.gradient[item]).magnitude < 1e-8)
    }
  }

  @Test func `a wrong order of far scores costs their distances`() throws {
    let out = try Rankings(policy: [-1e4, 0, 1e4], groups: 1).evaluate()
    #expect(out.loss == 3e4)
    #expect(out.gradient == [-1, -1, 2])
    #expect(try Rankings(policy: [1e4, 0, -1e4], groups: 1).evaluate().loss == 0)
  }

  @Test func `errors name field, element and rule`() {
    func refusal(_ change: (inout Rankings) -> Void) -> Refusal? {
      var rankings = Rankings(policy: [-1, -2, -3, -4, -5, -6], orders: [0, 1, 2, 2, 1, 0], groups: 2)
      change(&rankings)
      do {
        _ = try rankings.evaluate()
        return nil
      } catch {
        return error
      }
    }
    #expect(refusal { _ in } == nil)
    #expect(refusal { $0.orders?[4] = 2 } == Refusal(SWIFTDPO_ERROR_NOT_A_RANKING, "rankings", 4))
    #expect(refusal { $0.orders?[0] = 3 } == Refusal(SWIFTDPO_ERROR_NOT_A_RANKING, "rankings", 0))
    #expect(refusal { $0.orders?[5] = -1 } == Refusal(SWIFTDPO_ERROR_NOT_A_RANKING, "rankings", 5))
    #expect(refusal { $0.policy[3] = .nan } == Refusal(SWIFTDPO_ERROR_NONFINITE, "policy_logps", 3))
    #expect(refusal { $0.options.beta = 0 } == Refusal(SWIFTDPO_ERROR_BETA, "beta"))
  }
}
