import Elementary
import Preference

@inline(never) func outcome(logP: F64x8, logQ: F64x8) -> Outcome { Outcome(logP: logP, logQ: logQ) }

@inline(never) func generalizedKL(_ outcome: Outcome) -> DivergenceTerm { outcome.generalizedKLDivergence }
