import CPlatform
import CSwiftDPO
import Elementary
import Preference

// What makes lists and ranks legal.

func checkUnlisted(_ unlisted: swiftdpo_unlisted) throws(Fault) -> UnlistedItems {
  switch unlisted {
  case SWIFTDPO_UNLISTED_ERROR: return .none
  case SWIFTDPO_UNLISTED_ABSENT: return .absent
  case SWIFTDPO_UNLISTED_REMAIN: return .remain
  default: throw Fault(SWIFTDPO_ERROR_UNLISTED, "unlisted")
  }
}

func checkFirstChoice(_ choice: swiftdpo_first_choice) throws(Fault) -> Bool {
  switch choice {
  case SWIFTDPO_FIRST_CHOICE_BEST: return false
  case SWIFTDPO_FIRST_CHOICE_WORST: return true
  default: throw Fault(SWIFTDPO_ERROR_FLAG, "first_choice")
  }
}

func checkTies(_ ties: swiftdpo_ties) throws(Fault) -> Ties {
  switch ties {
  case SWIFTDPO_TIES_BRESLOW: return .breslow
  case SWIFTDPO_TIES_EFRON: return .efron
  case SWIFTDPO_TIES_AVERAGE: return .average
  case SWIFTDPO_TIES_DAVIDSON: return .davidson
  default: throw Fault(SWIFTDPO_ERROR_FLAG, "ties")
  }
}

/// Strengths of ties of 2, 3, ... items.
func checkTieStrengths(_ job: RankingJob) throws(Fault) {
  guard job.ties == .davidson else { return }
  let tooMany = job.numTieStrengths < 0 || job.numTieStrengths >= Ties.mostStrengths
  try require(!tooMany, SWIFTDPO_ERROR_COUNT, "num_tie_strengths")
  guard let strengths = job.tieStrengths else {
    return try require(job.numTieStrengths == 0, SWIFTDPO_ERROR_NULL_POINTER, "tie_strengths")
  }
  for index in 0..<job.numTieStrengths {
    let isStrength = strengths[index] > 0 && strengths[index].isFinite
    try require(isStrength, SWIFTDPO_ERROR_TIE_STRENGTH, "tie_strengths", at: index)
  }
}

/// Each list names items of its group, none twice, and all of them unless `unlisted` says what the others did: only then
/// may it end early.
///
/// - Parameter capacity: the most items that a group has.
func checkRankings(_ job: RankingJob, capacity: Int) throws(Fault) {
  guard let rankings = job.rankings else { return }
  guard let memory = calloc(capacity / 64 + 1, 8) else { throw Fault(SWIFTDPO_ERROR_OUT_OF_MEMORY, "rankings") }
  defer { free(memory) }
  let seen = memory.assumingMemoryBound(to: UInt64.self)
  for group in 0..<job.numGroups {
    let entries = job.entries(group)
    let items = job.items(group).count
    var listed = 0
    for entry in entries {
      let item = rankings[entry]
      let ended = listed < entry - entries.lowerBound
      let legal = (item == -1 && job.unlisted != .none) || (!ended && item >= 0 && item < Int64(items))
      try require(legal, SWIFTDPO_ERROR_NOT_A_RANKING, "rankings", at: entry)
      if item >= 0 { listed += 1 }
    }
    if job.unlisted == .none && listed < items {
      let culprit = entries.lowerBound + (listed < entries.count ? listed : entries.count - 1)
      throw Fault(SWIFTDPO_ERROR_UNLISTED, "rankings", at: culprit < 0 ? 0 : culprit)
    }
    try checkDistinct(rankings, entries.lowerBound..<entries.lowerBound + listed, seen)
  }
}

/// `seen` has a bit for each item, all 0 before and after.
private func checkDistinct(
  _ rankings: UnsafePointer<Int64>, _ entries: Range<Int>, _ seen: UnsafeMutablePointer<UInt64>
) throws(Fault) {
  for entry in entries {
    let item = Int(rankings[entry])
    let bit: UInt64 = 1 << UInt64(item & 63)
    try require(seen[item >> 6] & bit == 0, SWIFTDPO_ERROR_NOT_A_RANKING, "rankings", at: entry)
    seen[item >> 6] |= bit
  }
  for entry in entries { seen[Int(rankings[entry]) >> 6] = 0 }
}

/// Ranks count from 1 to the number of the group's entries; 0 and -1 have meanings of their own. A list of shared items
/// says that one is absent by leaving it out.
func checkRanks(_ job: RankingJob) throws(Fault) {
  guard let ranks = job.ranks else { return }
  let lowest: Int64 = job.numSharedItems > 0 ? 0 : -1
  for group in 0..<job.numGroups {
    let entries = job.entries(group)
    for entry in entries {
      let legal = ranks[entry] >= lowest && ranks[entry] <= Int64(entries.count)
      try require(legal, SWIFTDPO_ERROR_RANK, "ranks", at: entry)
    }
  }
}
