import CSwiftDPO

/// A batch of preference pairs in double precision, as Swift arrays.
struct Pairs {
  var policyChosen: [Double]
  var policyRejected: [Double]
  var refChosen: [Double]
  var refRejected: [Double]
  var softLabels: [Double]?
  var options: swiftdpo_dpo_options

  init(
    policyChosen: [Double], policyRejected: [Double], refChosen: [Double]? = nil, refRejected: [Double]? = nil,
    softLabels: [Double]? = nil, beta: Double = 0.1, labelSmoothing: Double = 0,
    reduction: swiftdpo_reduction = SWIFTDPO_REDUCTION_SUM
  ) {
    self.policyChosen = policyChosen
    self.policyRejected = policyRejected
    self.refChosen = refChosen ?? policyChosen.map { _ in 0 }
    self.refRejected = refRejected ?? policyRejected.map { _ in 0 }
    self.softLabels = softLabels
    options = swiftdpo_dpo_options()
    swiftdpo_dpo_options_init(&options)
    options.beta = beta
    options.label_smoothing = labelSmoothing
    options.reduction = reduction
  }

  /// What the library says about the batch.
  struct Loss {
    var loss = 0.0
    var losses: [Double]
    var gradChosen: [Double]
    var gradRejected: [Double]
    var chosenRewards: [Double]
    var rejectedRewards: [Double]
    var gradientWeights: [Double]
  }

  func evaluate() throws(Refusal) -> Loss {
    let count = policyChosen.count
    let inputs = policyChosen + policyRejected + refChosen + refRejected + (softLabels ?? [])
    var outputs = [Double](repeating: .nan, count: 6 * count)
    var loss = Double.nan

    try inputs.withUnsafeBufferPointer { (inputs) throws(Refusal) in
      try outputs.withUnsafeMutableBufferPointer { (outputs) throws(Refusal) in
        try withUnsafeMutablePointer(to: &loss) { (loss) throws(Refusal) in
          func input(_ place: Int) -> UnsafePointer<Double>? { inputs.baseAddress.map { $0 + place * count } }
          func output(_ place: Int) -> UnsafeMutablePointer<Double>? { outputs.baseAddress.map { $0 + place * count } }

          var pairs = swiftdpo_pairs_f64()
          swiftdpo_pairs_f64_init(&pairs)
          pairs.count = count
          pairs.policy_chosen_logps = input(0)
          pairs.policy_rejected_logps = input(1)
          pairs.ref_chosen_logps = input(2)
          pairs.ref_rejected_logps = input(3)
          pairs.soft_labels = softLabels == nil ? nil : input(4)

          var results = swiftdpo_pair_results_f64()
          swiftdpo_pair_results_f64_init(&results)
          results.loss = loss
          results.losses = output(0)
          results.grad_policy_chosen_logps = output(1)
          results.grad_policy_rejected_logps = output(2)
          results.chosen_rewards = output(3)
          results.rejected_rewards = output(4)
          results.gradient_weights = output(5)

          var options = options
          try check { culprit in swiftdpo_dpo_loss_f64(&pairs, &options, &results, culprit) }
        }
      }
    }
    func part(_ place: Int) -> [Double] { Array(outputs[place * count..<(place + 1) * count]) }
    return Loss(
      loss: loss, losses: part(0), gradChosen: part(1), gradRejected: part(2), chosenRewards: part(3),
      rejectedRewards: part(4), gradientWeights: part(5))
  }
}
