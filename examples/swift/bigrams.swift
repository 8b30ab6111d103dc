// Direct Preference Optimization of a bigram model, from Swift:
//
//   swiftc -I /usr/local/include/swiftdpo -L /usr/local/lib bigrams.swift
//
// The module CSwiftDPO is the C header. With -I /usr/local/lib/swiftdpo/static instead, it takes libswiftdpo.a into the
// program. The library is Swift as well, but shows no run-time that could get in the way of this program's.
import CSwiftDPO

/// What the library refused: the rule, and who broke it.
struct Refusal: Error, CustomStringConvertible {
  let status: swiftdpo_status
  let culprit: swiftdpo_culprit

  var description: String {
    let argument = culprit.argument.map { String(cString: $0) } ?? "?"
    return "\(argument)[\(culprit.index)]: \(String(cString: swiftdpo_status_string(status)))"
  }
}

func check(_ call: (UnsafeMutablePointer<swiftdpo_culprit>) -> swiftdpo_status) throws {
  var culprit = swiftdpo_culprit()
  let status = call(&culprit)
  if status != SWIFTDPO_OK { throw Refusal(status: status, culprit: culprit) }
}

/// Row i of the weights holds the logits of what follows token i.
final class BigramModel {
  let vocabulary: Int
  var weights: [Float]

  init(vocabulary: Int) {
    self.vocabulary = vocabulary
    weights = Array(repeating: 0, count: vocabulary * vocabulary)
  }

  func logits(of tokens: [Int64]) -> [Float] {
    tokens.flatMap { weights[Int($0) * vocabulary..<(Int($0) + 1) * vocabulary] }
  }

  func descend(_ gradient: [Float], of tokens: [Int64]) {
    for (position, token) in tokens.enumerated() {
      for v in 0..<vocabulary { weights[Int(token) * vocabulary + v] -= gradient[position * vocabulary + v] }
    }
  }
}

/// Log-probabilities of responses of one length, laid end to end, and the way back to the gradient by the logits.
struct Scores {
  private(set) var logps: [Double]
  private var normalizers: [Double]
  private var batch: swiftdpo_logits_f32

  init(_ logits: [Float], tokens: [Int64], length: Int, vocabulary: Int) throws {
    logps = Array(repeating: 0, count: tokens.count / length)
    normalizers = Array(repeating: 0, count: tokens.count)
    batch = swiftdpo_logits_f32()
    swiftdpo_logits_f32_init(&batch)
    batch.num_sequences = logps.count
    batch.sequence_length = length
    batch.vocab_size = vocabulary

    var results = swiftdpo_logps_results()
    swiftdpo_logps_results_init(&results)
    try logits.withUnsafeBufferPointer { logits in
      try tokens.withUnsafeBufferPointer { labels in
        try logps.withUnsafeMutableBufferPointer { logps in
          try normalizers.withUnsafeMutableBufferPointer { normalizers in
            batch.logits = logits.baseAddress
            batch.labels = labels.baseAddress
            results.logps = logps.baseAddress
            results.log_normalizers = normalizers.baseAddress
            try check { swiftdpo_sequence_logps_f32(&batch, nil, &results, $0) }
          }
        }
      }
    }
  }

  mutating func gradient(of logits: [Float], tokens: [Int64], by gradLogps: [Double]) throws -> [Float] {
    var gradient = Array(repeating: Float(0), count: logits.count)
    try logits.withUnsafeBufferPointer { logits in
      try tokens.withUnsafeBufferPointer { labels in
        batch.logits = logits.baseAddress
        batch.labels = labels.baseAddress
        try check { swiftdpo_sequence_logps_backward_f32(&batch, nil, gradLogps, normalizers, &gradient, $0) }
      }
    }
    return gradient
  }
}

/// The pair's loss, its reward margin, and the gradient by its two log-probabilities.
func dpoLoss(_ policy: [Double], _ reference: [Double]) throws -> (loss: Double, margin: Double, gradient: [Double]) {
  var loss = 0.0
  var rewards = [0.0, 0.0]
  var gradient = [0.0, 0.0]
  var pairs = swiftdpo_pairs_f64()
  var results = swiftdpo_pair_results_f64()
  swiftdpo_pairs_f64_init(&pairs)
  swiftdpo_pair_results_f64_init(&results)
  pairs.count = 1
  try policy.withUnsafeBufferPointer { policy in
    try reference.withUnsafeBufferPointer { reference in
      try rewards.withUnsafeMutableBufferPointer { rewards in
        try gradient.withUnsafeMutableBufferPointer { gradient in
          try withUnsafeMutablePointer(to: &loss) { loss in
            pairs.policy_chosen_logps = policy.baseAddress
            pairs.policy_rejected_logps = policy.baseAddress! + 1
            pairs.ref_chosen_logps = reference.baseAddress
            pairs.ref_rejected_logps = reference.baseAddress! + 1
            results.loss = loss
            results.chosen_rewards = rewards.baseAddress
            results.rejected_rewards = rewards.baseAddress! + 1
            results.grad_policy_chosen_logps = gradient.baseAddress
            results.grad_policy_rejected_logps = gradient.baseAddress! + 1
            try check { swiftdpo_dpo_loss_f64(&pairs, nil, &results, $0) }
          }
        }
      }
    }
  }
  return (loss, rewards[0] - rewards[1], gradient)
}

func rounded(_ x: Double) -> Double { (x * 10_000).rounded() / 10_000 }

// SWIFTDPO_CHECK_VERSION(), a macro with arguments, is not seen from Swift.
let header = 10_000 * SWIFTDPO_VERSION_MAJOR + 100 * SWIFTDPO_VERSION_MINOR + SWIFTDPO_VERSION_PATCH
precondition(swiftdpo_abi_version() == SWIFTDPO_ABI_VERSION && swiftdpo_version() >= header, "another library")

let responses: [Int64] = [0, 1, 2, 3] + [0, 3, 2, 1]  // token 0 is the prompt; people chose the first response
let model = BigramModel(vocabulary: 4)
var reference: [Double]?
var last = (loss: 0.0, margin: 0.0)
for _ in 0..<100 {
  let logits = model.logits(of: responses)
  var scores = try Scores(logits, tokens: responses, length: 4, vocabulary: model.vocabulary)
  reference = reference ?? scores.logps
  let (loss, margin, gradient) = try dpoLoss(scores.logps, reference!)
  model.descend(try scores.gradient(of: logits, tokens: responses, by: gradient), of: responses)
  last = (loss, margin)
}
print("loss \(rounded(last.loss)), reward margin \(rounded(last.margin))")
