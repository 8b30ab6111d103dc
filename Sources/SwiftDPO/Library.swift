import CKernelChoice
import CSwiftDPO

@_cdecl("swiftdpo_version") @implementation
public func swiftdpo_version() -> UInt32 {
  UInt32(SWIFTDPO_VERSION_MAJOR * 10000 + SWIFTDPO_VERSION_MINOR * 100 + SWIFTDPO_VERSION_PATCH)
}

@_cdecl("swiftdpo_abi_version") @implementation
public func swiftdpo_abi_version() -> UInt32 { UInt32(SWIFTDPO_ABI_VERSION) }

@_cdecl("swiftdpo_build_info") @implementation
public func swiftdpo_build_info(_ build: UnsafeMutablePointer<swiftdpo_build>!) -> swiftdpo_status {
  answer(nil) { () throws(Fault) in
    _ = try read(UnsafePointer(build), "build")
    update(build) { info in
      info.version = ("0.1.0" as StaticString).cString
      info.compiler = ("Swift 6.3" as StaticString).cString
      info.instruction_set = chosen_isa()
      info.num_threads = Threads.count
    }
  }
}

@_cdecl("swiftdpo_status_string") @implementation
public func swiftdpo_status_string(_ status: swiftdpo_status) -> UnsafePointer<CChar>! { rule(behind: status).cString }

/// One sentence for each status.
private func rule(behind status: swiftdpo_status) -> StaticString {
  switch status {
  case SWIFTDPO_OK: "ok"
  case SWIFTDPO_ERROR_NULL_POINTER: "a required pointer is NULL, or only one of two that go together is given"
  case SWIFTDPO_ERROR_STRUCT_SIZE: "struct_size must be the sizeof of a struct of this ABI version"
  case SWIFTDPO_ERROR_MISALIGNED: "a pointer must be aligned for its element type"
  case SWIFTDPO_ERROR_SIZE_OVERFLOW: "the bytes that the counts ask for must fit in the address space"
  case SWIFTDPO_ERROR_OVERLAP: "a result must not overlap an input or another result"
  case SWIFTDPO_ERROR_STRIDE: "a stride must be at least the length of the row that it steps over"
  case SWIFTDPO_ERROR_COUNT: "this count is not allowed here"
  case SWIFTDPO_ERROR_BETA: "beta must be a finite number above 0"
  case SWIFTDPO_ERROR_LABEL_SMOOTHING: "label_smoothing must be in [0, 0.5)"
  case SWIFTDPO_ERROR_REDUCTION: "reduction must be one of the swiftdpo_reduction values"
  case SWIFTDPO_ERROR_NONFINITE_POLICY: "nonfinite must be one of the swiftdpo_nonfinite values"
  case SWIFTDPO_ERROR_FLAG: "a yes-or-no value must be 0 or 1"
  case SWIFTDPO_ERROR_LOGIT_SCALE: "logit_scale must be a finite number above 0"
  case SWIFTDPO_ERROR_SOFTCAP: "softcap must be a finite number above 0, or 0 for none"
  case SWIFTDPO_ERROR_LD_ALPHA: "ld_alpha must be in [0, 1]"
  case SWIFTDPO_ERROR_THREADS: "a number of threads must be in 0...1024"
  case SWIFTDPO_ERROR_SHARDED: "shards of a vocabulary do not give this result"
  case SWIFTDPO_ERROR_LOSS_TYPE: "a loss must be one of the swiftdpo_loss_type values, and there may be 16 at most"
  case SWIFTDPO_ERROR_F_DIVERGENCE:
    "f_divergence must be reverse KL with this loss: it is no function of a difference of scores"
  case SWIFTDPO_ERROR_PARAMETER: "a parameter of the loss must be in its range"
  case SWIFTDPO_ERROR_REFERENCE: "this loss has no reference"
  case SWIFTDPO_ERROR_NONFINITE: "values must be finite, neither NaN nor infinite"
  case SWIFTDPO_ERROR_LABEL: "a label must be ignore_index or in [0, vocab_size)"
  case SWIFTDPO_ERROR_NOT_A_RANKING: "a ranking must list each item of its group exactly once"
  case SWIFTDPO_ERROR_SOFT_LABEL: "a soft label must be in [0, 1]"
  case SWIFTDPO_ERROR_WEIGHT: "a weight must be finite and at least 0"
  case SWIFTDPO_ERROR_OFFSETS: "offsets must rise from 0"
  case SWIFTDPO_ERROR_RANK: "a rank must be in [1, number of the group's entries], or 0 (unranked), or -1 (absent)"
  case SWIFTDPO_ERROR_CHOICE_OF_INPUT: "these arguments exclude each other, or one needs another"
  case SWIFTDPO_ERROR_UNLISTED: "a ranking must list all items, unless unlisted says what the others did"
  case SWIFTDPO_ERROR_LENGTH: "a number of tokens must be at least 0"
  case SWIFTDPO_ERROR_TIE: "too many items are tied: 10 for averages, 1 more than there are tie_strengths for Davidson"
  case SWIFTDPO_ERROR_TIE_STRENGTH: "a tie strength must be finite and above 0"
  case SWIFTDPO_ERROR_TARGET: "targets must be a distribution over their group, or grades in [-512, 512]"
  case SWIFTDPO_ERROR_DIVERGENCE_KIND: "kind must be one of the swiftdpo_divergence_kind values"
  case SWIFTDPO_ERROR_LOG_PROBABILITY: "a log-probability must be at most 0 (rounding of up to 0.01 is let through)"
  case SWIFTDPO_ERROR_SUPPORT: "at least one response of each prompt must have a reference probability above 0"
  case SWIFTDPO_ERROR_ACCUMULATOR: "an accumulator must come from this library, have samples, and be of the same beta"
  case SWIFTDPO_ERROR_TERMS: "the sum must not have more terms than max_terms"
  case SWIFTDPO_ERROR_STATE: "a state must be in [0, num_states)"
  case SWIFTDPO_ERROR_CALLBACK: "a callback must return 0"
  case SWIFTDPO_ERROR_BOUND: "a reward must not exceed the bound of its prompt"
  case SWIFTDPO_ERROR_OUT_OF_MEMORY: "temporary memory could not be had"
  case SWIFTDPO_ERROR_BLAS:
    "matrix products need a BLAS with cblas_sgemm: install OpenBLAS, or name one (SWIFTDPO_BLAS, swiftdpo_use_blas)"
  case SWIFTDPO_ERROR_WORKSPACE: "workspace_size must be at least what swiftdpo_fused_linear_workspace says"
  default: "unknown status"
  }
}
