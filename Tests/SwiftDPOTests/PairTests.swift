import CSwiftDPO
import Foundation
import Testing

@Suite struct PairTests {
  @Test func `ln 2 where the policy is its reference`() throws {
    let logps = [-0.5, -12.25, -3000, 0]
    let out = try Pairs(policyChosen: logps, policyRejected: logps, refChosen: logps, refRejected: logps).evaluate()
    for loss in out.losses { #expect(loss == exact("0.693147180559945309417")) }
    for weight in out.gradientWeights { #expect(weight == 0.5) }
    #expect(out.chosenRewards == [0, 0, 0, 0])
  }

  /// The literature's numbers to 20 digits, at z = 0, ±1, ±10, ±100 and ±1e6.
  @Test(arguments: [
    (0, "0.69314718055994530942", "0.5"),
    (1, "0.31326168751822283405", "0.26894142136999512075"),
    (-1, "1.3132616875182228340", "0.73105857863000487925"),
    (10, "0.000045398899216864646", "0.000045397868702434395"),
    (-10, "10.000045398899216865", "0.99995460213129756561"),
    (100, "3.7200759760208359630e-44", "3.7200759760208359630e-44"),
    (-100, "100", "1"),
    (1e6, "0", "0"),
    (-1e6, "1000000", "1"),
  ])
  func `-log sigma(z) and its slope`(_ z: Double, _ loss: String, _ weight: String) throws {
    let out = try Pairs(policyChosen: [z], policyRejected: [0], beta: 1).evaluate()
    #expect(ulps(out.loss, exact(loss)) <= 4)
    #expect(ulps(out.gradientWeights[0], exact(weight)) <= 4)
    #expect(out.gradChosen[0] == -out.gradientWeights[0])
    #expect(out.gradRejected[0] == out.gradientWeights[0])
  }

  @Test(arguments: [0, 0.1, 0.45])
  func `the gradient is that of the loss`(_ smoothing: Double) throws {
    let step = 1e-5
    for z in stride(from: -6.0, through: 6, by: 0.5) {
      func loss(_ chosen: Double, _ rejected: Double) throws -> Double {
        try Pairs(policyChosen: [chosen], policyRejected: [rejected], beta: 0.7, labelSmoothing: smoothing).evaluate()
          .loss
      }
      let out = try Pairs(policyChosen: [z], policyRejected: [1], beta: 0.7, labelSmoothing: smoothing).evaluate()
      let byChosen = try (loss(z + step, 1) - loss(z - step, 1)) / (2 * step)
      let byRejected = try (loss(z, 1 + step) - loss(z, 1 - step)) / (2 * step)
      #expect((byChosen - out.gradChosen[0]).magnitude < 1e-10)
      #expect((byRejected - out.gradRejected[0]).magnitude < 1e-10)
    }
  }

  @Test func `an undecided pair does not care who is called chosen`() throws {
    let one = try Pairs(policyChosen: [-3], policyRejected: [-7], softLabels: [0.5]).evaluate()
    let other = try Pairs(policyChosen: [-7], policyRejected: [-3], softLabels: [0.5]).evaluate()
    #expect(one.loss == other.loss)
    #expect(one.gradChosen == other.gradRejected)
  }

  @Test func `label smoothing is a soft label`() throws {
    let chosen = [-1.0, -5, -9], rejected = [-2.0, -4, -20]
    let smoothed = try Pairs(policyChosen: chosen, policyRejected: rejected, labelSmoothing: 0.25).evaluate()
    let soft = try Pairs(policyChosen: chosen, policyRejected: rejected, softLabels: [0.75, 0.75, 0.75]).evaluate()
    #expect(smoothed.losses == soft.losses)
    #expect(smoothed.gradChosen == soft.gradChosen)
  }

  @Test func `mean and sum`() throws {
    var pairs = Pairs(policyChosen: [-1, -2, -3, -4], policyRejected: [-4, -1, -7, -2])
    let sum = try pairs.evaluate()
    pairs.options.reduction = SWIFTDPO_REDUCTION_MEAN
    let mean = try pairs.evaluate()
    #expect(mean.loss == sum.loss / 4)
    #expect(mean.gradChosen == sum.gradChosen.map { $0 / 4 })
    #expect(mean.losses == sum.losses)
  }

  @Test func `an empty batch has loss 0`() throws {
    #expect(try Pairs(policyChosen: [], policyRejected: []).evaluate().loss == 0)
  }

  @Test func `errors name field, element and rule`() {
    func refusal(_ change: (inout Pairs) -> Void) -> Refusal? {
      var pairs = Pairs(policyChosen: [-1, -2], policyRejected: [-3, -4], softLabels: [1, 1])
      change(&pairs)
      do {
        _ = try pairs.evaluate()
        return nil
      } catch {
        return error
      }
    }
    #expect(refusal { _ in } == nil)
    #expect(refusal { $0.options.beta = -1 } == Refusal(SWIFTDPO_ERROR_BETA, "beta"))
    #expect(refusal { $0.options.label_smoothing = 0.5 } == Refusal(SWIFTDPO_ERROR_LABEL_SMOOTHING, "label_smoothing"))
    #expect(refusal { $0.options.reduction.rawValue = 9 } == Refusal(SWIFTDPO_ERROR_REDUCTION, "reduction"))
    #expect(refusal { $0.options.nonfinite.rawValue = 9 } == Refusal(SWIFTDPO_ERROR_NONFINITE_POLICY, "nonfinite"))
    #expect(refusal { $0.options.struct_size = 3 } == Refusal(SWIFTDPO_ERROR_STRUCT_SIZE, "options"))
    #expect(refusal { $0.softLabels?[1] = 1.5 } == Refusal(SWIFTDPO_ERROR_SOFT_LABEL, "soft_labels", 1))
    #expect(refusal { $0.refRejected[1] = .infinity } == Refusal(SWIFTDPO_ERROR_NONFINITE, "ref_rejected_logps", 1))
    #expect(refusal { $0.policyChosen[0] = .nan } == Refusal(SWIFTDPO_ERROR_NONFINITE, "policy_chosen_logps", 0))
  }

  @Test func `NaN goes through where it is asked to`() throws {
    var pairs = Pairs(policyChosen: [-1, .nan], policyRejected: [-3, -4])
    pairs.options.nonfinite = SWIFTDPO_NONFINITE_PROPAGATE
    let out = try pairs.evaluate()
    #expect(out.losses[0].isFinite && out.losses[1].isNaN && out.loss.isNaN)
  }
}
