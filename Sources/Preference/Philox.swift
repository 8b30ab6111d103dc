/// Philox4x32-10, the counter-based generator of Salmon, Moraes, Dror and Shaw ("Parallel random numbers: as easy as 1,
/// 2, 3", SC 2011): four words of 32 bits that are a function of a counter and a key, whoever asks for them, and when.
public struct Philox {
  public var key: (UInt32, UInt32)

  public init(seed: UInt64) { key = (UInt32(truncatingIfNeeded: seed), UInt32(truncatingIfNeeded: seed >> 32)) }

  public func words(_ c0: UInt32, _ c1: UInt32, _ c2: UInt32, _ c3: UInt32) -> (UInt32, UInt32, UInt32, UInt32) {
    var (x0, x1, x2, x3) = (c0, c1, c2, c3)
    var (k0, k1) = key
    for _ in 0..<10 {
      let first = UInt64(x0) &* 0xd251_1f53
      let second = UInt64(x2) &* 0xcd9e_8d57
      (x0, x1, x2, x3) = (
        UInt32(truncatingIfNeeded: second >> 32) ^ x1 ^ k0, UInt32(truncatingIfNeeded: second),
        UInt32(truncatingIfNeeded: first >> 32) ^ x3 ^ k1, UInt32(truncatingIfNeeded: first)
      )
      k0 = k0 &+ 0x9e37_79b9
      k1 = k1 &+ 0xbb67_ae85
    }
    return (x0, x1, x2, x3)
  }

  /// The number of (0, 1) that belongs to an item of a sample of a group: a multiple of 2^-53 from the words' upper 53
  /// bits, and half a step, so that neither end is reached.
  public func uniform(group: Int, sample: Int, item: Int) -> Double {
    let words = words(
      UInt32(truncatingIfNeeded: sample), UInt32(truncatingIfNeeded: sample >> 32),
      UInt32(truncatingIfNeeded: item >> 1), UInt32(truncatingIfNeeded: group))
    let (low, high) = item & 1 == 0 ? (words.0, words.1) : (words.2, words.3)
    let bits = UInt64(high) << 32 | UInt64(low)
    return (Double(bits >> 11) + 0.5) * 0x1p-53
  }
}
