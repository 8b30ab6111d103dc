import Elementary
import Preference

/// Divergences of rows `range`, each row's sum in a fixed order.
func divergence(_ pointer: UnsafePointer<DivergenceJob>, _ range: Range<Int>) {
  let job = pointer.pointee
  let type = job.type
  for row in range {
    var sum = FixedOrderSum()
    var column = 0
    while column < job.length {
      let left = job.length - column
      let count = left < 8 ? left : 8
      let start = row * job.length + column
      // Lanes without an outcome are impossible under both.
      let outcome = outcome(
        logP: type.load(job.logP, start, count: count, filler: -.infinity),
        logQ: type.load(job.logQ, start, count: count, filler: -.infinity))
      let term: DivergenceTerm
      switch job.kind {
      case .kl: term = outcome.klDivergence
      case .generalizedKL: term = generalizedKL(outcome)
      case .jensenShannon: term = outcome.jensenShannon
      }
      sum.add(term.value)
      if let gradP = job.gradP { type.store(term.slopeP, gradP, start, count: count) }
      if let gradQ = job.gradQ { type.store(term.slopeQ, gradQ, start, count: count) }
      column += 8
    }
    job.values?[row] = total(sum).high[0]
  }
}
