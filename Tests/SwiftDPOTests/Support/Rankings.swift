import CSwiftDPO

/// A batch of ranked groups in double precision, as Swift arrays.
struct Rankings {
  var policy: [Double]
  var ref: [Double]?
  var orders: [Int64]?
  var groups: Int
  var options: swiftdpo_plackett_luce_options

  init(
    policy: [Double], ref: [Double]? = nil, orders: [Int64]? = nil, groups: Int, beta: Double = 1,
    reduction: swiftdpo_reduction = SWIFTDPO_REDUCTION_SUM
  ) {
    self.policy = policy
    self.ref = ref
    self.orders = orders
    self.groups = groups
    options = swiftdpo_plackett_luce_options()
    swiftdpo_plackett_luce_options_init(&options)
    options.beta = beta
    options.reduction = reduction
  }

  /// What the library says about the batch.
  struct Loss {
    var loss = 0.0
    var losses: [Double]
    var gradient: [Double]
    var rewards: [Double]
    var gradientWeights: [Double]
  }

  func evaluate() throws(Refusal) -> Loss {
    var loss = Double.nan
    var losses = [Double](repeating: .nan, count: groups)
    var items = [Double](repeating: .nan, count: 3 * policy.count)

    try withBuffers(&loss, &losses, &items) { (loss, losses, items) throws(Refusal) in
      try policy.withUnsafeBufferPointer { (policy) throws(Refusal) in
        try (ref ?? []).withUnsafeBufferPointer { (ref) throws(Refusal) in
          try (orders ?? []).withUnsafeBufferPointer { (orders) throws(Refusal) in
            var rankings = swiftdpo_rankings_f64()
            swiftdpo_rankings_f64_init(&rankings)
            rankings.num_groups = groups
            rankings.group_size = groups == 0 ? 1 : policy.count / groups
            rankings.policy_logps = policy.baseAddress
            rankings.ref_logps = self.ref == nil ? nil : ref.baseAddress
            rankings.rankings = self.orders == nil ? nil : orders.baseAddress

            var results = swiftdpo_ranking_results_f64()
            swiftdpo_ranking_results_f64_init(&results)
            results.loss = loss
            results.losses = losses
            results.grad_policy_logps = items
            results.rewards = items + policy.count
            results.gradient_weights = items + 2 * policy.count

            var options = options
            try check { culprit in swiftdpo_plackett_luce_loss_f64(&rankings, &options, &results, culprit) }
          }
        }
      }
    }
    func part(_ place: Int) -> [Double] { Array(items[place * policy.count..<(place + 1) * policy.count]) }
    return Loss(loss: loss, losses: losses, gradient: part(0), rewards: part(1), gradientWeights: part(2))
  }
}

/// Pointers to a number and two arrays, for the time of a call.
private func withBuffers(
  _ number: inout Double, _ first: inout [Double], _ second: inout [Double],
  _ body: (UnsafeMutablePointer<Double>, UnsafeMutablePointer<Double>, UnsafeMutablePointer<Double>) throws(Refusal) ->
    Void
) throws(Refusal) { try body(&number, &first, &second) }
