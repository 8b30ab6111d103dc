import Foundation

/// The reference values and data sets that the project's test suites share.
enum Golden {
  static let pairs: [String: PairSource] = load("Tests/Golden/dpo_reference.json")
  static let rankings: RankingReferences = load("Tests/Golden/pl_reference.json")
  static let lists: [PublishedList] = load("Tests/Golden/listmle_published.json")
  static let tshirts: Orders = load("Tests/Golden/tshirts.json")
  static let nascar: Season = load("examples/data/nascar2002.json")

  private static func load<Value: Decodable>(_ path: String) -> Value {
    let root = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../..")
    do {
      return try JSONDecoder().decode(Value.self, from: Data(contentsOf: root.appending(path: path)))
    } catch {
      fatalError("\(path): \(error)")
    }
  }
}

/// Published log-probabilities, and what 50 digits say about each pair at each setting, such as "eps=0.1".
struct PairSource: Decodable {
  var policyChosen: [Double] = []
  var policyRejected: [Double] = []
  var refChosen: [Double] = []
  var refRejected: [Double] = []
  var beta = 0.0
  var settings: [String: [PairReference]] = [:]

  struct PairReference: Decodable {
    var z: String
    var loss: String
    var dL_dpc: String
    var chosen_reward: String
    var rejected_reward: String
  }

  private struct Key: CodingKey {
    var stringValue: String
    var intValue: Int? { nil }
    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
  }

  init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: Key.self)
    for key in container.allKeys {
      switch key.stringValue {
      case "pc": policyChosen = try container.decode([Double].self, forKey: key)
      case "pr": policyRejected = try container.decode([Double].self, forKey: key)
      case "rc": refChosen = try container.decode([Double].self, forKey: key)
      case "rr": refRejected = try container.decode([Double].self, forKey: key)
      case "beta": beta = try container.decode(Double.self, forKey: key)
      case let name where name.hasPrefix("mean"): break
      case let name: settings[name] = try container.decode([PairReference].self, forKey: key)
      }
    }
  }
}

struct RankingReferences: Decodable {
  var nascar83: Fit
  var tshirt: Fit

  struct Fit: Decodable {
    var theta_mle_zero_mean: [Double]
    var loglik_mle: String
    var fixed_theta: Point
  }

  struct Point: Decodable {
    var loglik: String
    var grad: [String]
  }
}

struct PublishedList: Decodable {
  var scores: [Double]
  var ranking: [Int64]
  var loss: String
}

struct Orders: Decodable {
  var orders: [[Int64]]
}

struct Season: Decodable {
  var races: [[Int64]]
}
