import CSwiftDPO
import Testing

@Suite struct TokenLevelDPOTests {
  /// One pair at beta = 0.5: its loss, and the gradients by both divergences.
  private func loss(
    _ chosen: Double, _ rejected: Double, _ type: swiftdpo_tdpo_loss_type, alpha: Double = 0.25
  ) throws(Refusal) -> (loss: Double, byChosen: Double, byRejected: Double) {
    let inputs = UnsafeMutablePointer<Double>.allocate(capacity: 4)
    let outputs = UnsafeMutablePointer<Double>.allocate(capacity: 3)
    defer {
      inputs.deallocate()
      outputs.deallocate()
    }
    (inputs[0], inputs[1], inputs[2], inputs[3]) = (-4, -7, chosen, rejected)
    var pairs = swiftdpo_pairs_f64()
    swiftdpo_pairs_f64_init(&pairs)
    pairs.count = 1
    pairs.policy_chosen_logps = UnsafePointer(inputs)
    pairs.policy_rejected_logps = UnsafePointer(inputs + 1)
    var tdpo = swiftdpo_tdpo_f64()
    swiftdpo_tdpo_f64_init(&tdpo)
    tdpo.chosen_kl = UnsafePointer(inputs + 2)
    tdpo.rejected_kl = UnsafePointer(inputs + 3)
    tdpo.alpha = alpha
    tdpo.loss_type = type
    tdpo.grad_chosen_kl = outputs + 1
    tdpo.grad_rejected_kl = outputs + 2
    var options = swiftdpo_dpo_options()
    swiftdpo_dpo_options_init(&options)
    options.beta = 0.5
    var results = swiftdpo_pair_results_f64()
    swiftdpo_pair_results_f64_init(&results)
    results.loss = outputs
    try check { culprit in swiftdpo_tdpo_loss_f64(&pairs, &tdpo, &options, &results, culprit) }
    return (outputs[0], outputs[1], outputs[2])
  }

  @Test(arguments: [SWIFTDPO_TDPO1, SWIFTDPO_TDPO2])
  func `gradients by the divergences are those of the loss`(_ type: swiftdpo_tdpo_loss_type) throws {
    let step = 1e-5
    for chosen in stride(from: 0.0, through: 8, by: 2) {
      for rejected in stride(from: 0.0, through: 8, by: 1.5) {
        let out = try loss(chosen, rejected, type)
        let byRejected = try (loss(chosen, rejected + step, type).loss - loss(chosen, rejected - step, type).loss)
        #expect((byRejected / (2 * step) - out.byRejected).magnitude < 1e-10)
        let byChosen = try (loss(chosen + step, rejected, type).loss - loss(chosen - step, rejected, type).loss)
        let stopped = type == SWIFTDPO_TDPO2
        #expect(stopped ? out.byChosen == 0 : (byChosen / (2 * step) - out.byChosen).magnitude < 1e-10)
        #expect(byChosen < 0 && byRejected > 0)
      }
    }
  }

  @Test func `the first kind knows no alpha`() throws {
    #expect(try loss(1, 3, SWIFTDPO_TDPO1, alpha: 0.25) == loss(1, 3, SWIFTDPO_TDPO1, alpha: 7))
    #expect(try loss(1, 3, SWIFTDPO_TDPO1).loss == loss(1, 3, SWIFTDPO_TDPO2, alpha: 1).loss)
  }

  @Test func `errors name field, element and rule`() {
    #expect(throws: Refusal(SWIFTDPO_ERROR_PARAMETER, "alpha")) { try loss(1, 1, SWIFTDPO_TDPO2, alpha: -1) }
    #expect(throws: Refusal(SWIFTDPO_ERROR_NONFINITE, "rejected_kl")) { try loss(1, .nan, SWIFTDPO_TDPO2) }
    #expect(throws: Refusal(SWIFTDPO_ERROR_LOSS_TYPE, "loss_type")) { try loss(1, 1, .init(rawValue: 2)) }
  }
}
