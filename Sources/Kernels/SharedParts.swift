import Elementary
import Preference

// What several kernels need once or twice for each row: one copy in each build.

@inline(never) func total(_ sum: FixedOrderSum) -> DoubleDouble { sum.total }

@inline(never) func outcome(logP: F64x8, logQ: F64x8) -> Outcome { Outcome(logP: logP, logQ: logQ) }

@inline(never) func generalizedKL(_ outcome: Outcome) -> DivergenceTerm { outcome.generalizedKLDivergence }
