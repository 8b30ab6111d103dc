import Foundation
import Testing

/// Values that were computed or published elsewhere.
@Suite struct GoldenTests {
  @Test(arguments: Golden.pairs.keys.sorted())
  func `published pairs at every setting`(_ name: String) throws {
    let source = try #require(Golden.pairs[name])
    for (setting, references) in source.settings {
      let value = exact(String(setting.split(separator: "=")[1]))
      let beta = setting.hasPrefix("beta") ? value : source.beta
      let smoothing = setting.hasPrefix("eps") ? value : 0
      let pairs = Pairs(
        policyChosen: source.policyChosen, policyRejected: source.policyRejected, refChosen: source.refChosen,
        refRejected: source.refRejected, softLabels: source.policyChosen.map { _ in 1 - smoothing }, beta: beta)
      let out = try pairs.evaluate()
      for (i, reference) in references.enumerated() {
        // The references belong to decimal inputs; the nearest doubles move z by this much.
        let inputs = [source.policyChosen[i], source.policyRejected[i], source.refChosen[i], source.refRejected[i]]
        let moved = 0x1p-53 * (beta * inputs.map(\.magnitude).reduce(0, +) + exact(reference.z).magnitude)
        let (loss, gradient) = (exact(reference.loss), exact(reference.dL_dpc))
        #expect((out.losses[i] - loss).magnitude <= 4 * loss.ulp + moved * (gradient / beta).magnitude, "\(setting)")
        #expect((out.gradChosen[i] - gradient).magnitude <= 4 * gradient.ulp + beta * (moved + 0x1p-53), "\(setting)")
        #expect(out.gradRejected[i] == -out.gradChosen[i])
        #expect((out.chosenRewards[i] - exact(reference.chosen_reward)).magnitude <= moved)
        #expect((out.rejectedRewards[i] - exact(reference.rejected_reward)).magnitude <= moved)
      }
    }
  }

  @Test(arguments: Golden.lists.indices)
  func `published lists`(_ index: Int) throws {
    let list = Golden.lists[index]
    let out = try Rankings(policy: list.scores, orders: list.ranking, groups: 1).evaluate()
    #expect(ulps(out.loss, exact(list.loss)) <= 4)
  }

  /// 36 races of 42 or 43 of 83 drivers: the entrants of each race are a group.
  @Test func `the NASCAR season of 2002`() throws {
    let reference = Golden.rankings.nascar83
    let drivers = reference.theta_mle_zero_mean.count
    let races = Golden.nascar.races.map { race in race.filter { $0 < drivers } }
    try expectFit(reference, items: drivers, orders: races)
  }

  @Test func `thirty rankings of T-shirts`() throws {
    try expectFit(Golden.rankings.tshirt, items: 11, orders: Golden.tshirts.orders)
  }

  /// Log-likelihood and gradient at two vectors of log-worths: a fixed one, and the maximum, where the gradient is 0.
  private func expectFit(_ reference: RankingReferences.Fit, items: Int, orders: [[Int64]]) throws {
    let fixed = (1...items).map { 0.5 * sin(Double($0)) }
    let points = [
      (fixed, reference.fixed_theta.loglik, reference.fixed_theta.grad.map(exact)),
      (reference.theta_mle_zero_mean, reference.loglik_mle, fixed.map { _ in 0 }),
    ]
    for (theta, logLikelihood, gradient) in points {
      var loss = 0.0
      var total = [Double](repeating: 0, count: items)
      for order in orders {
        let out = try Rankings(policy: order.map { theta[Int($0)] }, groups: 1).evaluate()
        loss += out.loss
        for (item, partial) in zip(order, out.gradient) { total[Int(item)] += partial }
      }
      #expect((loss + exact(logLikelihood)).magnitude <= 1e-14 * loss)
      for (total, expected) in zip(total, gradient) { #expect((total + expected).magnitude <= 2e-13) }
    }
  }
}
