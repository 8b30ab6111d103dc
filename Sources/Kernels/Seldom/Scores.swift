import Elementary
import Preference

/// The scores of a pair's two responses as one term of a mixture takes them, and a quarter of their difference, which
/// may be finite where they are not.
struct PairScores {
  var chosen: Score
  var rejected: Score
  var quarterDifference: DoubleDouble

  init(
    _ term: LossTerm, chosen: DoubleDouble, rejected: DoubleDouble, tokens chosenTokens: F64x8, _ rejectedTokens: F64x8
  ) {
    let a = term.meanLogRatio ? OutOfLine.quotient(chosen, chosenTokens) : chosen
    let b = term.meanLogRatio ? OutOfLine.quotient(rejected, rejectedTokens) : rejected
    self.chosen = score(term, a, chosenTokens)
    self.rejected = score(term, b, rejectedTokens)
    if term.score == .power && !term.meanScore {
      quarterDifference = powerScoreDifference(quarter: a, b, term.gain, OutOfLine.self)
      return
    }
    quarterDifference = OutOfLine.difference(self.chosen.quarter, self.rejected.quarter)
    if term.score == .power {
      // Where both are infinite, the larger exponent decides.
      let ratio = OutOfLine.log(rejectedTokens / chosenTokens)
      let lead = (OutOfLine.difference(a, b).high * 4).fma(F64x8(repeating: term.gain), ratio)
      let zero = F64x8(repeating: 0)
      let limit = zero.selected(lead .== 0, else: lead * .infinity) * term.gain
      let undecided = quarterDifference.high .!= quarterDifference.high
      quarterDifference = DoubleDouble(limit).selected(undecided, else: quarterDifference)
    }
  }
}

@inline(never)
private func score(_ term: LossTerm, _ quarter: DoubleDouble, _ tokens: F64x8) -> Score {
  var score = term.score.score(quarter: quarter, gain: term.gain, OutOfLine.self)
  if term.meanScore { score.quarter = OutOfLine.quotient(score.quarter, tokens) }
  if term.meanScore || term.meanLogRatio { score.slope /= tokens }
  return score
}
