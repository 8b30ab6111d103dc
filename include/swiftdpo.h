/*
 * swiftdpo: preference-learning losses and their exact gradients.
 *
 * This header is the contract and the manual. What is not in it is not API.
 *
 * WHAT IT DOES
 *   A program that trains a policy on human preferences hands in log-probabilities or logits that it owns, and gets
 *   back losses, gradients, rewards and metrics in buffers that it owns:
 *
 *     swiftdpo_sequence_logps_*           logits -> log-probabilities of whole responses
 *     swiftdpo_dpo_loss_*                 pairs of responses, one preferred: loss and gradient
 *     swiftdpo_tdpo_loss_*                the same with the divergence of each token: TDPO
 *     swiftdpo_unpaired_loss_*            single responses, desirable or not: loss and gradient
 *     swiftdpo_plackett_luce_loss_*       ranked lists of responses: loss and gradient
 *     swiftdpo_listwise_loss_*            lists of responses with targets: loss and gradient
 *     swiftdpo_sequence_logps_backward_*  gradient by log-probabilities -> gradient by logits, in place if you like
 *     swiftdpo_fused_linear_*             the same from hidden states and the head's weight, without the logits
 *
 * CONVENTIONS
 *   Units           Natural logarithms everywhere (nats). pi is the policy, ref the frozen reference.
 *   logps           log pi(y|x): the sum over the response's tokens, not their mean, unless an option says so.
 *   chosen          the preferred response y_w ("winner"); rejected is y_l ("loser").
 *   Rankings        run from best to worst. Item indices start at 0.
 *   Rewards         implicit rewards beta * (log pi(y|x) - log ref(y|x)), without beta * log Z(x), which cancels.
 *   dtypes          a name ends in the type of its floating-point buffers: _f32 (float), _f64 (double), _bf16 or
 *                   _f16 (bit patterns in uint16_t).
 *   Arithmetic      Losses over log-probabilities are computed in double precision whatever the buffers' type, but for
 *                   what follows from the margin in plain DPO of f32.
 *   The same bits   A result never depends on the number of threads, the instruction set, the alignment of a buffer
 *                   or the other rows of its batch.
 *
 * CALLS
 *   Each call takes its structs by pointer: what you have, what you choose (options; NULL means the defaults),
 *   where results go, and who is to blame if it fails (culprit; may be NULL). Results whose pointer is NULL are
 *   skipped, and cost nothing where they can be skipped.
 *   - The caller owns every buffer, and keeps it valid and unchanged during the call. The library keeps no pointer.
 *   - A buffer is contiguous, aligned for its element type, and does not overlap another one that the same call
 *     writes, unless the field says so.
 *   - Counts are in elements, never in bytes. Zero is legal for every count of groups: an empty batch has loss 0.
 *   - Every call is reentrant and may run on any number of threads at once.
 *
 * ERRORS
 *   Every call that can fail returns a swiftdpo_status; SWIFTDPO_OK is 0. Arguments are checked before any work: on an
 *   error no result has been written, unless you allow it (SWIFTDPO_NONFINITE_ERROR_LATE). swiftdpo_status_string() says
 *   the rule that was broken, the culprit says which field and which element broke it. No input crashes the process; a
 *   pointer to memory that is not there is the one thing that no library can check.
 *
 * STRUCTS THAT GROW
 *   Every struct that you fill begins with struct_size. Start from its _INIT macro (C, C++) or its _init function (for
 *   callers who cannot expand macros), then set fields by name. New fields come at the end, and zero in them means
 *   what the library did before it knew them: a program that was compiled against an older header keeps working, and
 *   one that was compiled against a newer header as long as it leaves new fields at zero. An _init function, which is
 *   not told how much memory there is, fills what the struct had in the first release of this ABI version, and says so
 *   in struct_size: to use later fields, zero your struct before, and set struct_size to its size after.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef SWIFTDPO_H
#define SWIFTDPO_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------------------------------------------------------
 * Version
 * ------------------------------------------------------------------------------------------------------------------ */

#define SWIFTDPO_VERSION_MAJOR 0
#define SWIFTDPO_VERSION_MINOR 1
#define SWIFTDPO_VERSION_PATCH 0

/** One number to compare: 10000 * major + 100 * minor + patch. */
#define SWIFTDPO_VERSION (SWIFTDPO_VERSION_MAJOR * 10000 + SWIFTDPO_VERSION_MINOR * 100 + SWIFTDPO_VERSION_PATCH)

/** Changes when a program compiled against the older header would break. The SONAME is libswiftdpo.so.<this>. */
#define SWIFTDPO_ABI_VERSION 0

/** The library's own SWIFTDPO_VERSION: compare it with the header's at start-up. */
uint32_t swiftdpo_version(void);

/** The library's own SWIFTDPO_ABI_VERSION. It must equal the header's. */
uint32_t swiftdpo_abi_version(void);

/**
 * Nonzero if the library at hand serves a program that was compiled against this header: it has the same ABI version and
 * is not older. Evaluate it before the first call wherever the two can differ, as after dlopen or in a plug-in; where it
 * is 0, call nothing else. (The linker's SONAME keeps most programs from libraries of another ABI version.)
 */
#define SWIFTDPO_CHECK_VERSION() \
  (swiftdpo_abi_version() == SWIFTDPO_ABI_VERSION && swiftdpo_version() >= SWIFTDPO_VERSION)

/* ------------------------------------------------------------------------------------------------------------------
 * Status
 * ------------------------------------------------------------------------------------------------------------------ */

/** Values are pinned and grouped by tens; later releases add values inside a group. */
typedef enum swiftdpo_status {
  SWIFTDPO_OK = 0,

  /* Buffers and structs */
  SWIFTDPO_ERROR_NULL_POINTER = 10,  /**< A required pointer is NULL, or one of two that go together. */
  SWIFTDPO_ERROR_STRUCT_SIZE = 11,   /**< struct_size is not one that a header of this ABI version has. */
  SWIFTDPO_ERROR_MISALIGNED = 12,    /**< A pointer is not aligned for its element type. */
  SWIFTDPO_ERROR_SIZE_OVERFLOW = 13, /**< The bytes that the counts ask for do not fit in the address space. */
  SWIFTDPO_ERROR_OVERLAP = 14,       /**< A result overlaps an input or another result. */
  SWIFTDPO_ERROR_STRIDE = 15,        /**< A stride is smaller than the row that it steps over. */
  SWIFTDPO_ERROR_COUNT = 16,         /**< A count is not allowed here, such as a vocabulary of 0 entries. */

  /* Options */
  SWIFTDPO_ERROR_BETA = 20,             /**< beta is not a finite number above 0. */
  SWIFTDPO_ERROR_LABEL_SMOOTHING = 21,  /**< label_smoothing is not in [0, 0.5). */
  SWIFTDPO_ERROR_REDUCTION = 22,        /**< reduction is none of the swiftdpo_reduction values. */
  SWIFTDPO_ERROR_NONFINITE_POLICY = 23, /**< nonfinite is none of the swiftdpo_nonfinite values. */
  SWIFTDPO_ERROR_FLAG = 24,             /**< A yes-or-no option, or an element of a mask, is neither 0 nor 1. */
  SWIFTDPO_ERROR_LOGIT_SCALE = 25,      /**< logit_scale is not a finite number above 0. */
  SWIFTDPO_ERROR_SOFTCAP = 26,          /**< softcap is not a finite number of at least 0. */
  SWIFTDPO_ERROR_LD_ALPHA = 27,         /**< ld_alpha is not in [0, 1]. */
  SWIFTDPO_ERROR_THREADS = 28,          /**< A number of threads is negative or above 1024. */
  SWIFTDPO_ERROR_SHARDED = 29,          /**< A result that shards of a vocabulary cannot give is asked for. */

  /* Data */
  SWIFTDPO_ERROR_NONFINITE = 30,       /**< A value is NaN or infinite where only finite numbers have a meaning. */
  SWIFTDPO_ERROR_LABEL = 31,           /**< A label is neither ignore_index nor in [0, vocab_size). */
  SWIFTDPO_ERROR_NOT_A_RANKING = 32,   /**< A ranking lists an item twice, or one that its group does not have. */
  SWIFTDPO_ERROR_SOFT_LABEL = 33,      /**< A soft label is not in [0, 1]. */
  SWIFTDPO_ERROR_WEIGHT = 34,          /**< A weight is negative, infinite or NaN. */
  SWIFTDPO_ERROR_OFFSETS = 35,         /**< Offsets do not rise from 0. */
  SWIFTDPO_ERROR_RANK = 51,            /**< A rank is not in [-1, number of its group's entries]. */
  SWIFTDPO_ERROR_CHOICE_OF_INPUT = 52, /**< Two arguments exclude each other, or one needs another. */
  SWIFTDPO_ERROR_UNLISTED = 53,        /**< A ranking does not list all items, and `unlisted` does not say why. */
  SWIFTDPO_ERROR_TIE = 54,             /**< More items are tied than this kind of ties allows. */
  SWIFTDPO_ERROR_TIE_STRENGTH = 55,    /**< A tie strength is not a finite number above 0. */
  SWIFTDPO_ERROR_TARGET = 56,          /**< Targets are no distribution, or a grade is beyond what its loss takes. */

  /* Distributions and optimal policies */
  SWIFTDPO_ERROR_DIVERGENCE_KIND = 70, /**< kind is none of the swiftdpo_divergence_kind values. */
  SWIFTDPO_ERROR_LOG_PROBABILITY = 71, /**< A log-probability is above 0, by more than rounding. */
  SWIFTDPO_ERROR_SUPPORT = 72,         /**< A reference gives probability 0 to all responses of a prompt. */
  SWIFTDPO_ERROR_ACCUMULATOR = 73,     /**< An accumulator is none, is empty, or has samples of another beta. */
  SWIFTDPO_ERROR_TERMS = 74,           /**< A sum has more terms than max_terms allows. */
  SWIFTDPO_ERROR_STATE = 75,           /**< A state is not in [0, num_states). */
  SWIFTDPO_ERROR_CALLBACK = 76,        /**< A call of the caller's returned something else than 0. */
  SWIFTDPO_ERROR_BOUND = 77,           /**< A reward exceeds the bound that rejection sampling was given. */

  /* The system */
  SWIFTDPO_ERROR_OUT_OF_MEMORY = 40, /**< Temporary memory could not be had. */
  SWIFTDPO_ERROR_BLAS = 41,          /**< No BLAS was found, or the one named does not serve. */
  SWIFTDPO_ERROR_WORKSPACE = 42,     /**< workspace_size is less than this head needs. */

  /* Losses over pairs */
  SWIFTDPO_ERROR_LOSS_TYPE = 60,    /**< A loss is none of the known values, or there are more than 16. */
  SWIFTDPO_ERROR_F_DIVERGENCE = 61, /**< f_divergence is unknown, or not allowed with one of the losses. */
  SWIFTDPO_ERROR_PARAMETER = 62,    /**< A parameter of a loss is outside its range. */
  SWIFTDPO_ERROR_REFERENCE = 63,    /**< This loss has no reference. */
  SWIFTDPO_ERROR_LENGTH = 64        /**< A number of tokens is negative. */
} swiftdpo_status;

/** A sentence, in English, that states the rule behind a status. Static text, never NULL, for any value. */
const char *swiftdpo_status_string(swiftdpo_status status);

/** Who broke the rule. Written when a call fails, and only then. */
typedef struct swiftdpo_culprit {
  const char *argument; /**< Name of the struct's field, such as "policy_chosen_logps". Static text. */
  size_t index;         /**< Flat index of the first offending element in it; 0 where there is just one. */
} swiftdpo_culprit;

/* ------------------------------------------------------------------------------------------------------------------
 * Choices that several calls share
 * ------------------------------------------------------------------------------------------------------------------ */

/** How the losses of a batch become one loss, whose gradient is given. */
typedef enum swiftdpo_reduction {
  SWIFTDPO_REDUCTION_MEAN = 0, /**< The sum divided by the number of pairs or groups, whatever their weights. */
  SWIFTDPO_REDUCTION_SUM = 1,
  SWIFTDPO_REDUCTION_NONE = 2 /**< For callers who reduce `losses` themselves: `loss` and gradients as for SUM. */
} swiftdpo_reduction;

/** What to do with NaN and infinities in log-probabilities. */
typedef enum swiftdpo_nonfinite {
  SWIFTDPO_NONFINITE_ERROR = 0,     /**< Fail with SWIFTDPO_ERROR_NONFINITE and point at the first one. */
  SWIFTDPO_NONFINITE_PROPAGATE = 1, /**< Compute: NaN and infinities go through to the results that depend on them. */
  /** Fail as SWIFTDPO_NONFINITE_ERROR does, but results may have been written before: for arrays that nobody else has seen,
   * to be thrown away then. Saves plain DPO of f32 a pass over the log-probabilities. */
  SWIFTDPO_NONFINITE_ERROR_LATE = 2
} swiftdpo_nonfinite;

/* ------------------------------------------------------------------------------------------------------------------
 * Pairs: Direct Preference Optimization and its relatives
 * ------------------------------------------------------------------------------------------------------------------
 *
 *   a = log pi(y_w) - log ref(y_w),   b = log pi(y_l) - log ref(y_l)       log-ratios
 *   z = beta * (a - b) - margin                                          the margin of the implicit rewards
 *   u = beta * a - margin / 2,   v = beta * b + margin / 2                 so that z = u - v
 *
 *   loss   = the sum over losses of  loss_weight * L(z, u, v),   by default DPO's  L = - log sigma(z)
 *   d/da   = beta * dL/du   and   d/db = beta * dL/dv;   for a function of z alone dL/du = dL/dz = - dL/dv
 *   rewards  beta * a  and  beta * b, whatever the loss
 *
 * p is the probability that the preferred response is the better one: 1 - label_smoothing, or the pair's soft label. A
 * loss L0 that knows no doubt becomes its expected value, p * L0(z, u, v) + (1 - p) * L0(-z, v, u); with DPO's that is
 * cDPO. The formulas of swiftdpo_loss_type are for p = 1 where p does not stand in them.
 *
 * Accuracy (f64): losses and gradients, by every parameter, are within 4 ulp of the exact value of the given numbers, for
 * every loss, score and margin. Where terms of opposite sign cancel, as z and its target do, that is 4 ulp of the largest
 * term: in ROBUST, EXO_PAIR, the RPO_ losses, gradients of losses in u and v, everything for 0 < p < 1, and tied pairs.
 * f32: the double rounded; but SIGMOID is computed in f32 from margins in f64, within 4 ulp of f32 likewise, and so is its
 * reduced loss. Second derivatives are for preconditioning: they carry a few roundings more. A slope below the least
 * normal number, as s(-z) beyond z = 708, has a denormal's digits, and so have its products with a beta, a weight or a
 * log-ratio, and those with a log-ratio so small.
 * What exceeds the type is an infinity of the right sign. No finite input gives NaN: of infinite terms of opposite sign,
 * in the sum over losses, over pairs, or in a derivative of an infinite loss, the first stands.
 */

/** The losses over pairs. Values are pinned. s(x) = 1 / (1 + e^-x), sp(x) = log(1 + e^x), s'(x) = s(x) s(-x). */
typedef enum swiftdpo_loss_type {
  /** sp(-z): DPO (Rafailov et al. 2023, arXiv:2305.18290), cDPO for p < 1 (Mitchell 2023). dL/dz = s(z) - p. In [0, inf)
   * for p = 1, ln 2 at z = 0; for p < 1 the least value is the entropy of p, at z = logit(p). Convex; grows like |z|. */
  SWIFTDPO_LOSS_SIGMOID = 0,
  /** ((1 - e) sp(-z) - e sp(z)) / (1 - 2e), e = label_smoothing: unbiased where labels are flipped at the known rate e
   * (Chowdhury et al. 2024, arXiv:2403.00409). dL/dz = s(z) - (1 - e) / (1 - 2e). Unbounded below as z grows, for e > 0.
   * e is no doubt about the label here: p is 1 or the pair's soft label. */
  SWIFTDPO_LOSS_ROBUST = 1,
  /** max(0, 1 - z) (Zhao et al. 2023, arXiv:2305.10425; Liu et al. 2023, arXiv:2309.06657). dL/dz = -1 for z < 1, else 0. */
  SWIFTDPO_LOSS_HINGE = 2,
  /** ((z - 1/2) / beta)^2: IPO on summed log-ratios (Azar et al. 2023, arXiv:2310.12036; beta is its tau).
   * dL/dz = 2 (z - 1/2) / beta^2. */
  SWIFTDPO_LOSS_IPO = 3,
  /** KL(s(z) || p), p in (0, 1): EXO (Ji et al. 2024, arXiv:2402.00856). dL/dz = s'(z) (z - logit(p)): it vanishes far
   * away on either side. In [0, max(-ln p, -ln(1 - p))]. Needs label_smoothing > 0 or soft labels inside (0, 1). */
  SWIFTDPO_LOSS_EXO_PAIR = 4,
  /** sp(-u) + sp(u)/2 + sp(v)/2: NCA (Chen et al. 2024, arXiv:2402.05369). dL/du = 3/2 s(u) - 1, dL/dv = s(v)/2. Least
   * where s(u) = 2/3 and v = -inf. */
  SWIFTDPO_LOSS_NCA_PAIR = 5,
  /** sp(-u) + sp(v): BCO's classifier on pairs, without a shift (Jung et al. 2024, arXiv:2404.04656). dL/du = -s(-u),
   * dL/dv = s(v). In [0, inf). */
  SWIFTDPO_LOSS_BCO_PAIR = 6,
  /** ((u - 1/2)^2 + (v + 1/2)^2) / beta^2: SPPO (Wu et al. 2024, arXiv:2405.00675). dL/du = 2 (u - 1/2) / beta^2,
   * dL/dv = 2 (v + 1/2) / beta^2. */
  SWIFTDPO_LOSS_SPPO_HARD = 7,
  /** DPO's loss of the margins' quantiles (Melnyk et al. 2024, arXiv:2406.05882): a pair whose policy margin
   * log pi(y_w) - log pi(y_l) has rank k is compared with the reference margin of rank k, its own parameters apply.
   * Couples the batch. Ties keep the pairs' order, so that results are the same everywhere. */
  SWIFTDPO_LOSS_AOT = 8,
  /** The same with the k-th smallest a against the k-th smallest b, parameters being those of a's pair. */
  SWIFTDPO_LOSS_AOT_UNPAIRED = 9,
  /** s(-u) + s(v): APO-zero (D'Oosterlinck et al. 2024, arXiv:2408.06266). dL/du = -s'(u), dL/dv = s'(v). In [0, 2]. */
  SWIFTDPO_LOSS_APO_ZERO = 10,
  /** s(u) + s(-z): APO-down (the same). dL/du = s'(u) - s'(z), dL/dv = s'(z). In [0, 2]. */
  SWIFTDPO_LOSS_APO_DOWN = 11,
  /** (1 - m) sp(-z) + m e^-z, m = s(z / discopop_tau): DiscoPOP (Lu et al. 2024, arXiv:2406.08414).
   * dL/dz = -(1 - m) s(-z) - m e^-z + m (1 - m) / tau * (e^-z - sp(-z)). Not convex. Above discopop_tau = 1 it grows
   * exponentially as z falls. */
  SWIFTDPO_LOSS_DISCOPOP = 12,
  /** SIGMOID with a and b divided by their numbers of tokens (length-normalised DPO). Needs lengths. */
  SWIFTDPO_LOSS_SIGMOID_NORM = 13,
  /** - log pi(y_w) * count / (tokens of the batch's chosen responses), so that the mean is the token mean of the
   * negative log-likelihood; of sft_logps and sft_lengths where they are given. Needs lengths. 0 for a batch without
   * tokens. It has no part in z, rewards, margins or the reference's gradient. */
  SWIFTDPO_LOSS_SFT = 14,
  /** IPO with a and b divided by their numbers of tokens, as TRL has it under the name of ipo. Needs lengths. */
  SWIFTDPO_LOSS_IPO_NORM = 15,
  /** KL(s(t) || s(z)), t = reward_scale * reward_gap: reward-aware preference optimization, RPO (Nvidia 2024,
   * arXiv:2406.11704; Sun et al. 2025, arXiv:2502.00203). dL/dz = s(z) - s(t). In [0, inf), 0 at z = t. Flipping a label
   * flips the gap, so that p makes no difference, here and in the next two. */
  SWIFTDPO_LOSS_RPO_BWD_KL = 16,
  /** KL(s(z) || s(t)): the same with forward KL. dL/dz = s'(z) (z - t). */
  SWIFTDPO_LOSS_RPO_FWD_KL = 17,
  /** (z - t)^2: the same with squared distance. dL/dz = 2 (z - t). */
  SWIFTDPO_LOSS_RPO_SQ = 18,
  /** Ties after Rao and Kupper (1967; for DPO Chen et al. 2024, arXiv:2409.17431), A = ln tie_strength, tie_strength > 1:
   * sp(A - z) for a decided pair, dL/dz = -s(A - z); sp(A - z) + sp(A + z) - ln(tie_strength^2 - 1) for a tied one,
   * dL/dz = s(A + z) - s(A - z). As tie_strength falls to 1 it becomes DPO, and ties impossible. */
  SWIFTDPO_LOSS_RAO_KUPPER = 19,
  /** Ties after Davidson (1970; for DPO as above), nu = tie_strength > 0: E = 1 + 2 nu e^(-z/2) + e^-z; ln E for a decided
   * pair, dL/dz = -(e^-z + nu e^(-z/2)) / E; ln E + z/2 - ln(2 nu) for a tied one, dL/dz greater by 1/2. (delta_2 of
   * Davidson-Luce is 2 nu.) As tie_strength falls to 0 it becomes DPO. */
  SWIFTDPO_LOSS_DAVIDSON = 20,
  /** sp(-z) where z compares (1 - e^(-alpha x)) / alpha, x being a mean log-ratio: AlphaPO (Gupta et al. 2025,
   * arXiv:2501.03884), alpha = alphapo_alpha; SimPO (Meng et al. 2024, arXiv:2405.14734) at 0. Needs lengths. */
  SWIFTDPO_LOSS_ALPHAPO = 21,
  /** beta * sp(-z), z = log-odds of y_w - log-odds of y_l - margin, log-odds = x - ln(1 - e^x) of mean log-ratios x: the
   * odds-ratio term of ORPO (Hong et al. 2024, arXiv:2403.07691), without a reference. u and v are the log-odds.
   * dL/dx_w = -beta s(-z) / (1 - e^x_w), dL/dx_l = beta s(-z) / (1 - e^x_l), which diverges as x_l nears 0. Where x is not
   * below -2^-1018 that stands for it. Needs lengths. */
  SWIFTDPO_LOSS_ODDS_RATIO = 22,
  /** max(0, -z), that is max(0, margin - beta * (a - b)): SLiC's calibration term (Zhao et al. 2023). */
  SWIFTDPO_LOSS_SLIC = 23
} swiftdpo_loss_type;

/**
 * What stands for the log-ratio x in z (Wang et al. 2023, arXiv:2309.16240): scores that are 0 where policy and reference
 * agree. Only differences of scores have a meaning, so that only losses of z take others than the first: SIGMOID, ROBUST,
 * HINGE, IPO, EXO_PAIR, DISCOPOP, SIGMOID_NORM, IPO_NORM, RPO_*, RAO_KUPPER, DAVIDSON, SLIC (and SFT, which has none).
 */
typedef enum swiftdpo_f_divergence {
  SWIFTDPO_REVERSE_KL = 0,      /**< x */
  SWIFTDPO_FORWARD_KL = 1,      /**< 1 - e^-x */
  SWIFTDPO_JS_DIVERGENCE = 2,   /**< ln(2 s(x)) */
  SWIFTDPO_ALPHA_DIVERGENCE = 3 /**< (e^((c - 1) x) - 1) / (c - 1), c = f_alpha_divergence_coef; x at c = 1 */
} swiftdpo_f_divergence;

/** A batch of preference pairs. */
typedef struct swiftdpo_pairs_f32 {
  size_t struct_size;                 /**< sizeof(swiftdpo_pairs_f32) */
  size_t count;                       /**< Number of pairs: each array below has this many elements. */
  const float *policy_chosen_logps;   /**< log pi(y_w|x). Required. */
  const float *policy_rejected_logps; /**< log pi(y_l|x). Required. */
  const float *ref_chosen_logps;      /**< log ref(y_w|x). NULL, together with the next: reference-free, a = log pi. */
  const float *ref_rejected_logps;    /**< log ref(y_l|x). */
  const float *betas;                 /**< Each pair's own beta > 0. NULL: options->beta. */
  const float *margins;               /**< Subtracted from z, in nats. NULL: options->margin. */
  const float *weights;               /**< Factor >= 0 of each pair's loss. NULL: 1. */
  const float *soft_labels;           /**< p in [0, 1] for each pair. NULL: 1 - options->label_smoothing. */
  const int64_t *chosen_lengths;      /**< Tokens of each y_w, >= 0, for losses that divide by them. 0 counts as 1. */
  const int64_t *rejected_lengths;    /**< Tokens of each y_l. */
  const uint8_t *ties;        /**< 1 where neither response is better, 0 elsewhere: RAO_KUPPER, DAVIDSON. NULL: 0. */
  const float *reward_gaps;   /**< Reward of y_w minus reward of y_l, for the RPO_ losses. */
  const float *sft_logps;     /**< log pi of a further response to each prompt, for SFT. NULL: y_w. */
  const int64_t *sft_lengths; /**< Tokens of that response; needed with sft_logps. */
} swiftdpo_pairs_f32;

/** As swiftdpo_pairs_f32, in double. */
typedef struct swiftdpo_pairs_f64 {
  size_t struct_size;
  size_t count;
  const double *policy_chosen_logps;
  const double *policy_rejected_logps;
  const double *ref_chosen_logps;
  const double *ref_rejected_logps;
  const double *betas;
  const double *margins;
  const double *weights;
  const double *soft_labels;
  const int64_t *chosen_lengths;
  const int64_t *rejected_lengths;
  const uint8_t *ties;
  const double *reward_gaps;
  const double *sft_logps;
  const int64_t *sft_lengths;
} swiftdpo_pairs_f64;

#define SWIFTDPO_PAIRS_F32_INIT \
  {sizeof(swiftdpo_pairs_f32), 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL}
#define SWIFTDPO_PAIRS_F64_INIT \
  {sizeof(swiftdpo_pairs_f64), 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL}
void swiftdpo_pairs_f32_init(swiftdpo_pairs_f32 *pairs);
void swiftdpo_pairs_f64_init(swiftdpo_pairs_f64 *pairs);

typedef struct swiftdpo_dpo_options {
  size_t struct_size;                   /**< sizeof(swiftdpo_dpo_options) */
  double beta;                          /**< Strength of the KL regularisation, > 0. Default 0.1. */
  double label_smoothing;               /**< Probability that a label is flipped, in [0, 0.5). Default 0. */
  swiftdpo_reduction reduction;         /**< Default SWIFTDPO_REDUCTION_MEAN. */
  swiftdpo_nonfinite nonfinite;         /**< Default SWIFTDPO_NONFINITE_ERROR. Parameters must be finite either way. */
  const swiftdpo_loss_type *loss_types; /**< num_losses of them. NULL: SIGMOID alone. */
  const double *loss_weights;           /**< Finite factors >= 0 of the losses. NULL: 1 for each. */
  size_t num_losses;                    /**< At most 16; 0 with loss_types NULL. */
  swiftdpo_f_divergence f_divergence;   /**< Default SWIFTDPO_REVERSE_KL. */
  int32_t reference_free;               /**< 1: leave the reference out, even where it is given. Default 0. */
  double f_alpha_divergence_coef;       /**< c of SWIFTDPO_ALPHA_DIVERGENCE, finite. Default 0.5. */
  double margin;                        /**< Subtracted from z where pairs have no margins of their own. Default 0. */
  double discopop_tau;                  /**< > 0. Default 0.05. */
  double tie_strength;                  /**< nu of RAO_KUPPER (> 1) and DAVIDSON (> 0), at most 2^1000. Default 2. */
  double reward_scale;                  /**< Factor of reward_gaps, finite. Default 1. */
  double alphapo_alpha;                 /**< Finite. Default 0, which is SimPO. */
} swiftdpo_dpo_options;

#define SWIFTDPO_DPO_OPTIONS_INIT \
  {sizeof(swiftdpo_dpo_options), \
   0.1, \
   0.0, \
   SWIFTDPO_REDUCTION_MEAN, \
   SWIFTDPO_NONFINITE_ERROR, \
   NULL, \
   NULL, \
   0, \
   SWIFTDPO_REVERSE_KL, \
   0, \
   0.5, \
   0.0, \
   0.05, \
   2.0, \
   1.0, \
   0.0}
void swiftdpo_dpo_options_init(swiftdpo_dpo_options *options);

/**
 * Sums and counts that metrics are made of: a call adds to what stands there, so that the sums of micro-batches, and
 * added field by field those of several processes, are exact. Divide by count for means. Rewards and log-ratios are those
 * of the responses given, whatever the loss.
 */
typedef struct swiftdpo_pair_metrics {
  size_t struct_size;      /**< sizeof(swiftdpo_pair_metrics) */
  size_t count;            /**< Pairs. */
  size_t num_correct;      /**< Pairs with a > b: the policy has moved towards y_w. */
  size_t num_tied;         /**< Pairs with a = b, as at the first step: neither right nor wrong. */
  double losses;           /**< Sum of `losses`. The fields below are sums as well. */
  double chosen_rewards;   /**< beta * a */
  double rejected_rewards; /**< beta * b; the sum of margins is the difference of the two. */
  double chosen_logps;     /**< log pi(y_w|x) */
  double rejected_logps;   /**< log pi(y_l|x) */
  double gradient_weights; /**< sigma(-z) */
  double chosen_kl_k1;     /**< a: with responses drawn from the policy, estimates of KL(pi || ref). */
  double chosen_kl_k2;     /**< a^2 / 2 */
  double chosen_kl_k3;     /**< e^-a - 1 + a, never negative */
  double rejected_kl_k1;   /**< The same of b. */
  double rejected_kl_k2;
  double rejected_kl_k3;
} swiftdpo_pair_metrics;

#define SWIFTDPO_PAIR_METRICS_INIT {sizeof(swiftdpo_pair_metrics), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
void swiftdpo_pair_metrics_init(swiftdpo_pair_metrics *metrics);

/** Where results go. Each may be NULL. Arrays have one element for each pair. Gradients are those of `loss`. */
typedef struct swiftdpo_pair_results_f32 {
  size_t struct_size;                /**< sizeof(swiftdpo_pair_results_f32) */
  double *loss;                      /**< The reduced loss: one number. */
  float *losses;                     /**< Loss of each pair, its weight included. */
  float *grad_policy_chosen_logps;   /**< d loss / d log pi(y_w|x). */
  float *grad_policy_rejected_logps; /**< d loss / d log pi(y_l|x). */
  float *chosen_rewards;             /**< beta * a */
  float *rejected_rewards;           /**< beta * b */
  float *
      gradient_weights; /**< sigma(-z), of the first loss: near 0 where the policy is right and sure, near 1 where wrong. */
  float *grad_ref_chosen_logps;   /**< d loss / d log ref(y_w|x). */
  float *grad_ref_rejected_logps; /**< d loss / d log ref(y_l|x). */
  float *grad_sft_logps;          /**< d loss / d sft_logps. */
  float *grad_betas;              /**< d loss / d beta of each pair; their sum is that by options->beta. */
  float *grad_margins;            /**< d loss / d margin of each pair. */
  float *curvatures;              /**< d^2 loss / dz^2 of each pair, at u + v fixed. */
  double *grad_tie_strength;      /**< d loss / d tie_strength: one number. */
  swiftdpo_pair_metrics *metrics; /**< Added to. */
} swiftdpo_pair_results_f32;

/** As swiftdpo_pair_results_f32, in double. */
typedef struct swiftdpo_pair_results_f64 {
  size_t struct_size;
  double *loss;
  double *losses;
  double *grad_policy_chosen_logps;
  double *grad_policy_rejected_logps;
  double *chosen_rewards;
  double *rejected_rewards;
  double *gradient_weights;
  double *grad_ref_chosen_logps;
  double *grad_ref_rejected_logps;
  double *grad_sft_logps;
  double *grad_betas;
  double *grad_margins;
  double *curvatures;
  double *grad_tie_strength;
  swiftdpo_pair_metrics *metrics;
} swiftdpo_pair_results_f64;

#define SWIFTDPO_PAIR_RESULTS_F32_INIT \
  {sizeof(swiftdpo_pair_results_f32), \
   NULL, \
   NULL, \
   NULL, \
   NULL, \
   NULL, \
   NULL, \
   NULL, \
   NULL, \
   NULL, \
   NULL, \
   NULL, \
   NULL, \
   NULL, \
   NULL, \
   NULL}
#define SWIFTDPO_PAIR_RESULTS_F64_INIT \
  {sizeof(swiftdpo_pair_results_f64), \
   NULL, \
   NULL, \
   NULL, \
   NULL, \
   NULL, \
   NULL, \
   NULL, \
   NULL, \
   NULL, \
   NULL, \
   NULL, \
   NULL, \
   NULL, \
   NULL, \
   NULL}
void swiftdpo_pair_results_f32_init(swiftdpo_pair_results_f32 *results);
void swiftdpo_pair_results_f64_init(swiftdpo_pair_results_f64 *results);

/** Loss of a batch of pairs and its gradient. It keeps nothing, and takes temporary memory (up to eight words for each pair) for
 * AOT and AOT_UNPAIRED alone. */
swiftdpo_status swiftdpo_dpo_loss_f32(const swiftdpo_pairs_f32 *pairs, const swiftdpo_dpo_options *options,
                                      const swiftdpo_pair_results_f32 *results, swiftdpo_culprit *culprit);
swiftdpo_status swiftdpo_dpo_loss_f64(const swiftdpo_pairs_f64 *pairs, const swiftdpo_dpo_options *options,
                                      const swiftdpo_pair_results_f64 *results, swiftdpo_culprit *culprit);

/* ------------------------------------------------------------------------------------------------------------------
 * Pairs with the divergence of each token: TDPO
 * ------------------------------------------------------------------------------------------------------------------
 *
 *   D(y)  = the sum over the steps t of a response of  KL(ref(. | x, y_<t) || pi(. | x, y_<t))
 *   z     = beta * (a - b) - alpha * beta * (D(y_l) - D(y_w)) - margin
 *
 *   loss      = - log sigma(z), or another loss of z
 *   d/dD(y_l) = - alpha * beta * dL/dz
 *   d/dD(y_w) =   alpha * beta * dL/dz  for TDPO1, and 0 for TDPO2, which takes D(y_w) as a constant
 *
 * Token-level direct preference optimization (Zeng et al. 2024, arXiv:2404.11999): a pair counts as less decided, the
 * further the policy has moved from the reference on y_l than on y_w. TDPO1 is alpha = 1; TDPO2 chooses alpha, and lets the
 * chosen response move away freely. KL of a step and its gradient by the logits of pi: swiftdpo_divergence_*, of ref and pi,
 * with GENERALIZED_KL. The loss has the range of the one without divergences, rewards are without them, and all else is as
 * above: gradients by the log-probabilities, by beta (with D held), by the margin; accuracy; infinities. alpha = 0 is
 * swiftdpo_dpo_loss, bit for bit. Losses that are no function of z alone, as f_divergence has them, are refused.
 */

typedef enum swiftdpo_tdpo_loss_type {
  SWIFTDPO_TDPO2 = 0, /**< Any alpha, and no gradient by D(y_w). */
  SWIFTDPO_TDPO1 = 1  /**< alpha = 1, and a gradient by both divergences. */
} swiftdpo_tdpo_loss_type;

/** The divergences of a batch's responses, how they enter the loss, and where the gradients by them go. */
typedef struct swiftdpo_tdpo_f32 {
  size_t struct_size;       /**< sizeof(swiftdpo_tdpo_f32) */
  const float *chosen_kl;   /**< D(y_w) of each pair, in nats: finite, and, being an estimate, perhaps below 0. */
  const float *rejected_kl; /**< D(y_l). Both are required. */
  double alpha;             /**< Of TDPO2: finite, >= 0. Default 0.5. */
  swiftdpo_tdpo_loss_type loss_type; /**< Default SWIFTDPO_TDPO2. */
  int32_t reserved;                  /**< 0 */
  float *grad_chosen_kl;             /**< d loss / d D(y_w); 0 for TDPO2. May be NULL, as the next two. */
  float *grad_rejected_kl;           /**< d loss / d D(y_l) */
  float *kl_margins;                 /**< alpha * beta * (D(y_l) - D(y_w)) */
} swiftdpo_tdpo_f32;

/** As swiftdpo_tdpo_f32, in double. */
typedef struct swiftdpo_tdpo_f64 {
  size_t struct_size;
  const double *chosen_kl;
  const double *rejected_kl;
  double alpha;
  swiftdpo_tdpo_loss_type loss_type;
  int32_t reserved;
  double *grad_chosen_kl;
  double *grad_rejected_kl;
  double *kl_margins;
} swiftdpo_tdpo_f64;

#define SWIFTDPO_TDPO_F32_INIT {sizeof(swiftdpo_tdpo_f32), NULL, NULL, 0.5, SWIFTDPO_TDPO2, 0, NULL, NULL, NULL}
#define SWIFTDPO_TDPO_F64_INIT {sizeof(swiftdpo_tdpo_f64), NULL, NULL, 0.5, SWIFTDPO_TDPO2, 0, NULL, NULL, NULL}
void swiftdpo_tdpo_f32_init(swiftdpo_tdpo_f32 *tdpo);
void swiftdpo_tdpo_f64_init(swiftdpo_tdpo_f64 *tdpo);

/** Loss of a batch of pairs with their divergences, and its gradient. Neither allocates nor keeps anything. */
swiftdpo_status swiftdpo_tdpo_loss_f32(const swiftdpo_pairs_f32 *pairs, const swiftdpo_tdpo_f32 *tdpo,
                                       const swiftdpo_dpo_options *options, const swiftdpo_pair_results_f32 *results,
                                       swiftdpo_culprit *culprit);
swiftdpo_status swiftdpo_tdpo_loss_f64(const swiftdpo_pairs_f64 *pairs, const swiftdpo_tdpo_f64 *tdpo,
                                       const swiftdpo_dpo_options *options, const swiftdpo_pair_results_f64 *results,
                                       swiftdpo_culprit *culprit);

/* ------------------------------------------------------------------------------------------------------------------
 * Single responses: KTO and BCO
 * ------------------------------------------------------------------------------------------------------------------
 *
 *   a = log pi(y) - log ref(y),   each response being desirable or not
 *   y = x for a desirable response, -x for another
 *
 *   KTO                 x = beta * (a - baseline)   loss = s(-y)     d/dy = -s'(y)    (Ethayarajh et al. 2024)
 *   APO_ZERO_UNPAIRED   x = beta * a                loss = s(-y)     d/dy = -s'(y)    (D'Oosterlinck et al. 2024)
 *   BCO                 x = beta * a - baseline     loss = sp(-y)    d/dy = -s(-y)    (Jung et al. 2024)
 *
 * times the weight of its class and its own. KTO is in [0, 1], and its gradient vanishes far away on either side; BCO is
 * in [0, inf). KTO's baseline is an estimate of KL(pi || ref), from swiftdpo_kto_baseline; BCO's is the running mean of
 * rewards, from swiftdpo_bco_delta. Neither has a part in the gradient by the policy. A class without responses
 * contributes nothing. Accuracy (f64): losses, rewards and gradients by the policy and by beta, 4 ulp, unless s(-y)
 * or a is below the least normal number. No finite input gives NaN: of infinite terms of opposite sign in a sum, the first stands.
 */

typedef enum swiftdpo_unpaired_loss_type {
  SWIFTDPO_UNPAIRED_KTO = 0,
  SWIFTDPO_UNPAIRED_APO_ZERO = 1, /**< Leaves the baseline out. */
  SWIFTDPO_UNPAIRED_BCO = 2
} swiftdpo_unpaired_loss_type;

/** A batch of responses, each judged by itself. */
typedef struct swiftdpo_unpaired_f32 {
  size_t struct_size;        /**< sizeof(swiftdpo_unpaired_f32) */
  size_t count;              /**< Number of responses: each array below has this many elements. */
  const float *policy_logps; /**< log pi(y|x). Required. */
  const float *ref_logps;    /**< log ref(y|x). NULL: reference-free. */
  const uint8_t *desirable;  /**< 1 where the response is desirable, 0 elsewhere. Required. */
  const float *betas;        /**< Each response's own beta > 0. NULL: options->beta. */
  const float *weights;      /**< Factor >= 0 of each response's loss, such as swiftdpo_udm_weights gives. NULL: 1. */
} swiftdpo_unpaired_f32;

/** As swiftdpo_unpaired_f32, in double. */
typedef struct swiftdpo_unpaired_f64 {
  size_t struct_size;
  size_t count;
  const double *policy_logps;
  const double *ref_logps;
  const uint8_t *desirable;
  const double *betas;
  const double *weights;
} swiftdpo_unpaired_f64;

#define SWIFTDPO_UNPAIRED_F32_INIT {sizeof(swiftdpo_unpaired_f32), 0, NULL, NULL, NULL, NULL, NULL}
#define SWIFTDPO_UNPAIRED_F64_INIT {sizeof(swiftdpo_unpaired_f64), 0, NULL, NULL, NULL, NULL, NULL}
void swiftdpo_unpaired_f32_init(swiftdpo_unpaired_f32 *unpaired);
void swiftdpo_unpaired_f64_init(swiftdpo_unpaired_f64 *unpaired);

typedef struct swiftdpo_unpaired_options {
  size_t struct_size;                    /**< sizeof(swiftdpo_unpaired_options) */
  double beta;                           /**< > 0. Default 0.1. */
  double desirable_weight;               /**< lambda_D >= 0. Default 1. */
  double undesirable_weight;             /**< lambda_U >= 0. Default 1. */
  double baseline;                       /**< KTO: KL, in nats. BCO: delta, a reward. Finite. Default 0. */
  swiftdpo_unpaired_loss_type loss_type; /**< Default SWIFTDPO_UNPAIRED_KTO. */
  swiftdpo_reduction reduction;          /**< Default SWIFTDPO_REDUCTION_MEAN, over all responses of both classes. */
  swiftdpo_nonfinite nonfinite;          /**< Default SWIFTDPO_NONFINITE_ERROR. */
  int32_t reference_free;                /**< 1: leave the reference out, even where it is given. Default 0. */
} swiftdpo_unpaired_options;

#define SWIFTDPO_UNPAIRED_OPTIONS_INIT \
  {sizeof(swiftdpo_unpaired_options), 0.1, 1.0, 1.0, 0.0, SWIFTDPO_UNPAIRED_KTO, SWIFTDPO_REDUCTION_MEAN, \
   SWIFTDPO_NONFINITE_ERROR,          0}
void swiftdpo_unpaired_options_init(swiftdpo_unpaired_options *options);

/** Sums and counts of single responses: a call adds to what stands there. */
typedef struct swiftdpo_unpaired_metrics {
  size_t struct_size; /**< sizeof(swiftdpo_unpaired_metrics) */
  size_t num_desirable;
  size_t num_undesirable;
  double losses;
  double desirable_rewards; /**< Sum of beta * a over the class, as below. */
  double undesirable_rewards;
  double desirable_logps; /**< Sum of log pi(y|x) */
  double undesirable_logps;
} swiftdpo_unpaired_metrics;

#define SWIFTDPO_UNPAIRED_METRICS_INIT {sizeof(swiftdpo_unpaired_metrics), 0, 0, 0, 0, 0, 0, 0}
void swiftdpo_unpaired_metrics_init(swiftdpo_unpaired_metrics *metrics);

/** Where results go. Each may be NULL. */
typedef struct swiftdpo_unpaired_results_f32 {
  size_t struct_size;                 /**< sizeof(swiftdpo_unpaired_results_f32) */
  double *loss;                       /**< The reduced loss: one number. */
  float *losses;                      /**< Loss of each response, its weights included. */
  float *grad_policy_logps;           /**< d loss / d log pi(y|x); that by log ref(y|x) is the negative of it. */
  float *rewards;                     /**< beta * a */
  float *grad_betas;                  /**< d loss / d beta of each response. */
  float *curvatures;                  /**< d^2 loss / dx^2 of each response. */
  double *grad_baseline;              /**< d loss / d baseline: one number. */
  swiftdpo_unpaired_metrics *metrics; /**< Added to. */
} swiftdpo_unpaired_results_f32;

/** As swiftdpo_unpaired_results_f32, in double. */
typedef struct swiftdpo_unpaired_results_f64 {
  size_t struct_size;
  double *loss;
  double *losses;
  double *grad_policy_logps;
  double *rewards;
  double *grad_betas;
  double *curvatures;
  double *grad_baseline;
  swiftdpo_unpaired_metrics *metrics;
} swiftdpo_unpaired_results_f64;

#define SWIFTDPO_UNPAIRED_RESULTS_F32_INIT \
  {sizeof(swiftdpo_unpaired_results_f32), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL}
#define SWIFTDPO_UNPAIRED_RESULTS_F64_INIT \
  {sizeof(swiftdpo_unpaired_results_f64), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL}
void swiftdpo_unpaired_results_f32_init(swiftdpo_unpaired_results_f32 *results);
void swiftdpo_unpaired_results_f64_init(swiftdpo_unpaired_results_f64 *results);

/** Loss of a batch of single responses and its gradient. Neither allocates nor keeps anything. */
swiftdpo_status swiftdpo_unpaired_loss_f32(const swiftdpo_unpaired_f32 *unpaired,
                                           const swiftdpo_unpaired_options *options,
                                           const swiftdpo_unpaired_results_f32 *results, swiftdpo_culprit *culprit);
swiftdpo_status swiftdpo_unpaired_loss_f64(const swiftdpo_unpaired_f64 *unpaired,
                                           const swiftdpo_unpaired_options *options,
                                           const swiftdpo_unpaired_results_f64 *results, swiftdpo_culprit *culprit);

/**
 * KTO's estimate of KL(pi || ref): sums over mismatched pairs (a prompt with another prompt's response) since the state
 * was zeroed. Plain numbers, to be stored and added field by field, so that processes, micro-batches and restarts give
 * one answer. Zero it for each step, or keep it for a running estimate.
 */
typedef struct swiftdpo_kto_baseline {
  size_t struct_size;       /**< sizeof(swiftdpo_kto_baseline) */
  size_t count;             /**< Log-ratios added. */
  size_t num_nonzero;       /**< Those that are not 0. */
  size_t num_batches;       /**< Calls that added at least one. */
  double sum;               /**< Sum of log-ratios. */
  double sum_means;         /**< Sum of the batches' means. */
  double sum_clamped_means; /**< Sum of the batches' means, those below 0 counting as 0. */
} swiftdpo_kto_baseline;

#define SWIFTDPO_KTO_BASELINE_INIT {sizeof(swiftdpo_kto_baseline), 0, 0, 0, 0, 0, 0}
void swiftdpo_kto_baseline_init(swiftdpo_kto_baseline *baseline);

/** How the sums become an estimate, never below 0; 0 without data. A batch is what one call added. */
typedef enum swiftdpo_kto_estimator {
  SWIFTDPO_KTO_GLOBAL = 0,        /**< max(0, sum / count): independent of how the data were cut into batches. */
  SWIFTDPO_KTO_BATCH_MEANS = 1,   /**< max(0, mean of means): as TRL over its processes. */
  SWIFTDPO_KTO_CLAMPED_MEANS = 2, /**< Mean of max(0, mean): as NeMo-Aligner over its processes; biased upwards. */
  SWIFTDPO_KTO_NONZERO = 3        /**< max(0, sum / num_nonzero): as HALOs, which leaves equal log-ratios out. */
} swiftdpo_kto_estimator;

/** Adds the log-ratios of mismatched pairs. ref_logps may be NULL. On an error nothing is added. */
swiftdpo_status swiftdpo_kto_baseline_add_f32(swiftdpo_kto_baseline *baseline, const float *policy_logps,
                                              const float *ref_logps, size_t count, swiftdpo_culprit *culprit);
swiftdpo_status swiftdpo_kto_baseline_add_f64(swiftdpo_kto_baseline *baseline, const double *policy_logps,
                                              const double *ref_logps, size_t count, swiftdpo_culprit *culprit);

/** Writes the estimate to *value. */
swiftdpo_status swiftdpo_kto_baseline_value(const swiftdpo_kto_baseline *baseline, swiftdpo_kto_estimator estimator,
                                            double *value);

/**
 * BCO's delta: the mean of rewards over all responses seen in training, of both classes together. Plain numbers, as
 * above. Update it before the loss of the same step, and leave it alone in evaluation.
 */
typedef struct swiftdpo_bco_delta {
  size_t struct_size; /**< sizeof(swiftdpo_bco_delta) */
  size_t count;       /**< Rewards added. */
  double sum;         /**< Their sum. The mean, 0 without data, is the baseline of SWIFTDPO_UNPAIRED_BCO. */
} swiftdpo_bco_delta;

#define SWIFTDPO_BCO_DELTA_INIT {sizeof(swiftdpo_bco_delta), 0, 0}
void swiftdpo_bco_delta_init(swiftdpo_bco_delta *delta);

/** Adds the rewards beta * (log pi - log ref). ref_logps may be NULL. On an error nothing is added. */
swiftdpo_status swiftdpo_bco_delta_add_f32(swiftdpo_bco_delta *delta, const float *policy_logps, const float *ref_logps,
                                           double beta, size_t count, swiftdpo_culprit *culprit);
swiftdpo_status swiftdpo_bco_delta_add_f64(swiftdpo_bco_delta *delta, const double *policy_logps,
                                           const double *ref_logps, double beta, size_t count,
                                           swiftdpo_culprit *culprit);

/**
 * BCO's weights of undesirable responses where the prompts' distributions differ between the classes: with p the
 * probability that a prompt is from the desirable set, weight = p / (1 - p + 1e-8), clamped to [0.5, 10] (Jung et al.
 * 2024). Desirable responses have weight 1.
 */
swiftdpo_status swiftdpo_udm_weights_f32(const float *probabilities, size_t count, float *weights,
                                         swiftdpo_culprit *culprit);
swiftdpo_status swiftdpo_udm_weights_f64(const double *probabilities, size_t count, double *weights,
                                         swiftdpo_culprit *culprit);

/* ------------------------------------------------------------------------------------------------------------------
 * Rankings: Plackett-Luce
 * ------------------------------------------------------------------------------------------------------------------
 *
 *   s_i = beta * (log pi(y_i) - log ref(y_i)),   best first: s_1, ..., s_K
 *
 *   loss = - log P(ranking) = sum over k < K of  log sum over j >= k of exp(s_j - s_k)
 *   d/ds_i = sum over k <= min(i, K-1) of exp(s_i - LSE_k)  -  [i < K],   LSE_k = log sum over j >= k of exp(s_j)
 *
 * (Plackett 1975; Luce 1959; for policies Rafailov et al. 2023, appendix A.3.) K = 2 gives exactly the numbers of
 * swiftdpo_dpo_loss. K = 1 has loss 0. The gradients of a group sum to 0 but for the rounding of each: half an ulp, and
 * in f64 half an ulp of w_i (below). Time is linear in K; the loss is finite for all finite scores, however far apart.
 *
 * What was observed need not be a full ranking:
 *   top-m          options->top = m: the sum ends at k = m. m = 1, the best of K, is S-DPO's loss (Chen et al. 2024,
 *                  arXiv:2406.09215).
 *   partial        `unlisted` says whether items that a list does not name were absent or remained behind those named.
 *   from the worst options->first_choice = WORST: stages choose the worst item of those left, with probabilities
 *                  proportional to exp(-s), and lists begin with the worst; with top = 1 only the worst is known. That
 *                  is the model of best-worst scaling (Marley and Louviere 2005). For K > 2 it is not the probability
 *                  that a ranking drawn from the best on ends with the item.
 *   places         with weights v_k the loss is the sum of v_k (LSE_k - s_k) (position-aware ListMLE, Lan et al. 2014).
 *   ties           items of equal rank are chosen at once, in one of the ways of swiftdpo_ties; the place of all of them
 *                  is that of the first.
 *
 * Accuracy (f64), for any K and any finite scores: losses within 4 ulp; gradients within 4 ulp of the larger of their
 * two terms, what the stages before an item's own ask of it, and the probability w_i that its own picks another:
 *   d/ds_i = sum over k < i of exp(s_i - LSE_k)  -  w_i,     w_i = 1 - exp(s_i - LSE_i) for i < K, 0 for i = K
 * f32, bf16, f16: that value to 1e-12, then rounded; but f32 with K = 2, which is DPO.
 * Groups of more than 64 items take temporary memory of 88 * K doubles for each thread at work.
 */

/** What items that a list does not name have to do with its choices. */
typedef enum swiftdpo_unlisted {
  SWIFTDPO_UNLISTED_ERROR = 0,  /**< There must be none. */
  SWIFTDPO_UNLISTED_ABSENT = 1, /**< They were not there to be chosen; their gradient is 0. */
  SWIFTDPO_UNLISTED_REMAIN = 2  /**< They remained behind all that are listed, in an order that is not known. */
} swiftdpo_unlisted;

/**
 * How the d items of a set T that are tied are chosen from all that are left, whose worths e = exp(s) have the sum A;
 * T is the sum of their own. A set of one item is chosen as ever. `options->ties` other than BRESLOW give no
 * gradient_weights, and take each score rounded to a double. Hessian products cost some three times a gradient: linear in
 * the number of items for BRESLOW, EFRON and DAVIDSON (times D^2), and d 2^d for each tie of AVERAGE, whose sums visit all
 * subsets of the tie.
 */
typedef enum swiftdpo_ties {
  SWIFTDPO_TIES_BRESLOW = 0, /**< Product over the set of e_i / A (Breslow 1974). */
  SWIFTDPO_TIES_EFRON = 1,   /**< Product over l < d of e_l / (A - (l / d) T) (Efron 1977). */
  SWIFTDPO_TIES_AVERAGE = 2, /**< Mean over all d! orders of the probability to choose them in that order, exactly; at
                                  most 10 items. Time grows like d 2^d. Goes through logarithms: errors grow with
                                  the distance of the scores, by about 1e-16 for each nat. */
  SWIFTDPO_TIES_DAVIDSON = 3 /**< f(T) / sum of f(S) over all sets S of at most D items that are left, with
                                  f(S) = delta_|S| * (product of e_i)^(1 / |S|), delta_1 = 1 (Davidson 1970; Turner et
                                  al. 2020). rankings->tie_strengths are delta_2 to delta_D, D at most 8. */
} swiftdpo_ties;

/** Which item of those that are left a stage chooses. */
typedef enum swiftdpo_first_choice {
  SWIFTDPO_FIRST_CHOICE_BEST = 0, /**< The best, with probabilities proportional to exp(s). */
  SWIFTDPO_FIRST_CHOICE_WORST = 1 /**< The worst, proportional to exp(-s): lists and ranks run from worst to best. */
} swiftdpo_first_choice;

/**
 * A batch of groups of responses, each group ranked.
 *
 * A group has entries: [num_groups, group_size] of them, or offsets[g] to offsets[g + 1] - 1 in one long array. Entries
 * are the group's own items, unless num_shared_items says that all groups rank items of one set, which makes
 * policy_logps that set's log-worths: then entries name items through `rankings`, results for items are sums over
 * groups, and options->unlisted must say what the others did.
 */
typedef struct swiftdpo_rankings_f32 {
  size_t struct_size;        /**< sizeof(swiftdpo_rankings_f32) */
  size_t num_groups;         /**< Number of groups (prompts). */
  size_t group_size;         /**< K, the entries of each group; at least 1. Ignored where there are offsets. */
  const float *policy_logps; /**< log pi of each item. Required. */
  const float *ref_logps;    /**< log ref of each item. NULL: 0, so that scores are beta * policy_logps. */
  const int64_t *rankings;   /**< For each entry an item 0..K-1 of its group, best first; -1 for each entry behind the
                                  last one of a shorter list. NULL: items stand best first. */
  const float *betas;        /**< Each group's own beta > 0: num_groups elements. NULL: options->beta. */
  const float *weights;      /**< Factor >= 0 of each group's loss: num_groups elements. NULL: 1. */
  const int64_t *offsets;    /**< num_groups + 1 elements, from 0 on, not falling. NULL: group_size entries each. */
  const int64_t *ranks;      /**< For each entry its rank, from 1 = best to the number of the group's entries, equal for
                                  ties (only order and equality count); 0: it remained behind all ranked entries, in an
                                  order not known; -1: it was absent. Not together with `rankings`, but that
                                  num_shared_items needs both. NULL: entries stand best first. */
  const float *position_weights; /**< v_k >= 0 of each place: as many as the largest group has entries. NULL: 1. */
  size_t num_position_weights;
  size_t num_shared_items;     /**< 0: entries are the groups' own items. */
  const float *direction;      /**< u, laid out as policy_logps, to be multiplied with the Hessian. NULL: none. */
  const double *tie_strengths; /**< delta_2, delta_3, ... > 0 of SWIFTDPO_TIES_DAVIDSON. */
  size_t num_tie_strengths;
} swiftdpo_rankings_f32;

/** As swiftdpo_rankings_f32, in double. */
typedef struct swiftdpo_rankings_f64 {
  size_t struct_size;
  size_t num_groups;
  size_t group_size;
  const double *policy_logps;
  const double *ref_logps;
  const int64_t *rankings;
  const double *betas;
  const double *weights;
  const int64_t *offsets;
  const int64_t *ranks;
  const double *position_weights;
  size_t num_position_weights;
  size_t num_shared_items;
  const double *direction;
  const double *tie_strengths;
  size_t num_tie_strengths;
} swiftdpo_rankings_f64;

/** As swiftdpo_rankings_f32, in bf16 or f16: the function's name says which. */
typedef struct swiftdpo_rankings_half {
  size_t struct_size;
  size_t num_groups;
  size_t group_size;
  const uint16_t *policy_logps;
  const uint16_t *ref_logps;
  const int64_t *rankings;
  const uint16_t *betas;
  const uint16_t *weights;
  const int64_t *offsets;
  const int64_t *ranks;
  const uint16_t *position_weights;
  size_t num_position_weights;
  size_t num_shared_items;
  const uint16_t *direction;
  const double *tie_strengths;
  size_t num_tie_strengths;
} swiftdpo_rankings_half;

#define SWIFTDPO_RANKINGS_F32_INIT \
  {sizeof(swiftdpo_rankings_f32), 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, 0, NULL, NULL, 0}
#define SWIFTDPO_RANKINGS_F64_INIT \
  {sizeof(swiftdpo_rankings_f64), 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, 0, NULL, NULL, 0}
#define SWIFTDPO_RANKINGS_HALF_INIT \
  {sizeof(swiftdpo_rankings_half), 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, 0, NULL, NULL, 0}
void swiftdpo_rankings_half_init(swiftdpo_rankings_half *rankings);
void swiftdpo_rankings_f32_init(swiftdpo_rankings_f32 *rankings);
void swiftdpo_rankings_f64_init(swiftdpo_rankings_f64 *rankings);

typedef struct swiftdpo_plackett_luce_options {
  size_t struct_size;                 /**< sizeof(swiftdpo_plackett_luce_options) */
  double beta;                        /**< > 0. Default 0.1; 1 for scores that are rewards or log-worths already. */
  swiftdpo_reduction reduction;       /**< Default SWIFTDPO_REDUCTION_MEAN, over groups. */
  swiftdpo_nonfinite nonfinite;       /**< Default SWIFTDPO_NONFINITE_ERROR. */
  swiftdpo_unlisted unlisted;         /**< Default SWIFTDPO_UNLISTED_ERROR. */
  swiftdpo_first_choice first_choice; /**< Default SWIFTDPO_FIRST_CHOICE_BEST. */
  size_t top;         /**< Only the first `top` choices were observed. Default 0: all of them. With ties, those
                                     of the sets that begin among the first `top` places. */
  swiftdpo_ties ties; /**< Default SWIFTDPO_TIES_BRESLOW. */
  int32_t reserved;   /**< 0 */
} swiftdpo_plackett_luce_options;

#define SWIFTDPO_PLACKETT_LUCE_OPTIONS_INIT \
  {sizeof(swiftdpo_plackett_luce_options), \
   0.1, \
   SWIFTDPO_REDUCTION_MEAN, \
   SWIFTDPO_NONFINITE_ERROR, \
   SWIFTDPO_UNLISTED_ERROR, \
   SWIFTDPO_FIRST_CHOICE_BEST, \
   0, \
   SWIFTDPO_TIES_BRESLOW, \
   0}
void swiftdpo_plackett_luce_options_init(swiftdpo_plackett_luce_options *options);

/** Where results go. Each may be NULL. Arrays of items are laid out as policy_logps is. */
typedef struct swiftdpo_ranking_results_f32 {
  size_t struct_size;         /**< sizeof(swiftdpo_ranking_results_f32) */
  double *loss;               /**< The reduced loss: one number. */
  float *losses;              /**< -log P(ranking) of each group, its weight included: num_groups elements. */
  float *grad_policy_logps;   /**< d loss / d log pi of each item. */
  float *rewards;             /**< s_i of each item. */
  float *gradient_weights;    /**< For each item, the probability that its stage picks another: sigma(LSE_{k+1} - s_k);
                                 0 where its stage was not observed. Not with num_shared_items. */
  float *grad_ref_logps;      /**< d loss / d log ref of each item. */
  float *hessian_product;     /**< (d^2 loss / d log pi d log pi) u for the `direction` u; tie_strengths are fixed. */
  double *grad_tie_strengths; /**< d loss / d tie_strengths: num_tie_strengths elements. */
} swiftdpo_ranking_results_f32;

/** As swiftdpo_ranking_results_f32, in double. */
typedef struct swiftdpo_ranking_results_f64 {
  size_t struct_size;
  double *loss;
  double *losses;
  double *grad_policy_logps;
  double *rewards;
  double *gradient_weights;
  double *grad_ref_logps;
  double *hessian_product;
  double *grad_tie_strengths;
} swiftdpo_ranking_results_f64;

/** As swiftdpo_ranking_results_f32, in bf16 or f16. */
typedef struct swiftdpo_ranking_results_half {
  size_t struct_size;
  double *loss;
  uint16_t *losses;
  uint16_t *grad_policy_logps;
  uint16_t *rewards;
  uint16_t *gradient_weights;
  uint16_t *grad_ref_logps;
  uint16_t *hessian_product;
  double *grad_tie_strengths;
} swiftdpo_ranking_results_half;

#define SWIFTDPO_RANKING_RESULTS_F32_INIT \
  {sizeof(swiftdpo_ranking_results_f32), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL}
#define SWIFTDPO_RANKING_RESULTS_F64_INIT \
  {sizeof(swiftdpo_ranking_results_f64), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL}
#define SWIFTDPO_RANKING_RESULTS_HALF_INIT \
  {sizeof(swiftdpo_ranking_results_half), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL}
void swiftdpo_ranking_results_half_init(swiftdpo_ranking_results_half *results);
void swiftdpo_ranking_results_f32_init(swiftdpo_ranking_results_f32 *results);
void swiftdpo_ranking_results_f64_init(swiftdpo_ranking_results_f64 *results);

/** Loss of a batch of rankings and its gradient. */
swiftdpo_status swiftdpo_plackett_luce_loss_f32(const swiftdpo_rankings_f32 *rankings,
                                                const swiftdpo_plackett_luce_options *options,
                                                const swiftdpo_ranking_results_f32 *results, swiftdpo_culprit *culprit);
swiftdpo_status swiftdpo_plackett_luce_loss_f64(const swiftdpo_rankings_f64 *rankings,
                                                const swiftdpo_plackett_luce_options *options,
                                                const swiftdpo_ranking_results_f64 *results, swiftdpo_culprit *culprit);
swiftdpo_status swiftdpo_plackett_luce_loss_bf16(const swiftdpo_rankings_half *rankings,
                                                 const swiftdpo_plackett_luce_options *options,
                                                 const swiftdpo_ranking_results_half *results,
                                                 swiftdpo_culprit *culprit);
swiftdpo_status swiftdpo_plackett_luce_loss_f16(const swiftdpo_rankings_half *rankings,
                                                const swiftdpo_plackett_luce_options *options,
                                                const swiftdpo_ranking_results_half *results,
                                                swiftdpo_culprit *culprit);

/**
 * Rankings drawn from Plackett-Luce: scores with Gumbel noise, in falling order (Yellott 1977). The noise of item i of
 * sample t of group g is -log(-log(u)), with u = (b + 1/2) / 2^53 and b the upper 53 bits of two of the words
 * (2 (i mod 2), the lower half, and the next) of Philox4x32-10 at the counter {t mod 2^32, t / 2^32, i / 2, g} and the
 * key {seed mod 2^32, seed / 2^32}: the same rankings on every machine, for any number of threads.
 * @param rewards  [num_groups, group_size]: scores, finite. Required.
 * @param rankings [num_groups, num_samples, group_size]: items, best first. Required.
 */
swiftdpo_status swiftdpo_sample_rankings_f64(const double *rewards, size_t num_groups, size_t group_size,
                                             size_t num_samples, uint64_t seed, int64_t *rankings,
                                             swiftdpo_culprit *culprit);

/** The generator by itself: Philox4x32-10 (Salmon et al., SC 2011). */
void swiftdpo_philox4x32_10(const uint32_t counter[4], const uint32_t key[2], uint32_t words[4]);

/**
 * What rankings drawn from Plackett-Luce are like, item by item: the probability to come first, and the expected rank, 1
 * and the sum over the others of their probability to come before. Within 8 ulp; NULL results are skipped. Expected
 * ranks take time quadratic in group_size.
 * @param rewards [num_groups, group_size]: scores, finite. Required.
 */
swiftdpo_status swiftdpo_ranking_marginals_f64(const double *rewards, size_t num_groups, size_t group_size,
                                               double *top_one_probabilities, double *expected_ranks,
                                               swiftdpo_culprit *culprit);

/* ------------------------------------------------------------------------------------------------------------------
 * Lists: candidates with targets
 * ------------------------------------------------------------------------------------------------------------------
 *
 * Relatives of Plackett-Luce for candidates that come with numbers, t_i, instead of a ranking. Scores as above:
 * s_i = beta * (log pi(y_i) - log ref(y_i)).
 *
 *   CROSS_ENTROPY  - sum over i of t_i log softmax(s)_i,  t a distribution over the group's candidates
 *                  d/ds_i = softmax(s)_i - t_i                                           range: [entropy of t, inf)
 *                  (ListNet, Cao et al. 2007, with the targets as they are.) t = 1 for one candidate: S-DPO's loss.
 *   LAMBDA         sum over pairs with t_i > t_j of  w_ij log(1 + exp(s_j - s_i))
 *                  w_ij = |2^t_i - 2^t_j| * |1 / log(1 + rank_i) - 1 / log(1 + rank_j)|, rank_i the place of s_i among the
 *                  group's scores from 1 on, of equal scores in the order of the candidates
 *                  d/ds_i = sum over j of -w_ij sigma(s_j - s_i) [t_i > t_j] + w_ij sigma(s_i - s_j) [t_j > t_i]
 *                  (LiPO-lambda, Liu et al. 2024, arXiv:2402.01878; weights of LambdaRank, Burges et al. 2006, held
 *                  constant in the gradient.)                                            range: [0, inf)
 *   PRO            sum over k < K, numbered by falling t (equal ones in their order), of
 *                  log sum over i >= k of exp(c_ki s_i)  -  c_kk s_k,    c_ki = t_k - t_i for i > k, c_kk = t_k - t_K
 *                  d/ds_i = sum over k <= i of c_ki (exp(c_ki s_i - LSE_k) - [i = k])    range: [0, inf)
 *                  (Song et al. 2023, arXiv:2306.17492, whose temperatures are 1 / c; without its supervised term.) It
 *                  is no function of differences of scores: a constant added to a group's scores changes it.
 *
 * LAMBDA and PRO take time quadratic in the group's size; all take temporary memory of 8 doubles for each candidate of
 * the largest group, for each task. Accuracy (f64): 16 ulp of the sum of the terms' sizes, and
 * PRO's exponents within an ulp of the largest c s; f32: rounded from double.
 */

typedef enum swiftdpo_listwise_loss_type {
  SWIFTDPO_LISTWISE_CROSS_ENTROPY = 0,
  SWIFTDPO_LISTWISE_LAMBDA = 1,
  SWIFTDPO_LISTWISE_PRO = 2
} swiftdpo_listwise_loss_type;

/** A batch of groups of candidates, laid out as those of swiftdpo_rankings_f32. */
typedef struct swiftdpo_lists_f32 {
  size_t struct_size;        /**< sizeof(swiftdpo_lists_f32) */
  size_t num_groups;         /**< Number of groups (prompts). */
  size_t group_size;         /**< K, the candidates of each group; at least 1. Ignored where there are offsets. */
  const float *policy_logps; /**< log pi of each candidate. Required. */
  const float *ref_logps;    /**< log ref of each candidate. NULL: 0. */
  const float *targets; /**< t of each candidate. Required. CROSS_ENTROPY: at least 0, with the sum 1 to within 1e-3 in
                                  each group. LAMBDA: grades or rewards in [-512, 512]. PRO: rewards. */
  const float *betas;   /**< Each group's own beta > 0: num_groups elements. NULL: options->beta. */
  const float *weights; /**< Factor >= 0 of each group's loss: num_groups elements. NULL: 1. */
  const int64_t *offsets; /**< num_groups + 1 elements, from 0 on, not falling. NULL: group_size candidates each. */
} swiftdpo_lists_f32;

/** As swiftdpo_lists_f32, in double. */
typedef struct swiftdpo_lists_f64 {
  size_t struct_size;
  size_t num_groups;
  size_t group_size;
  const double *policy_logps;
  const double *ref_logps;
  const double *targets;
  const double *betas;
  const double *weights;
  const int64_t *offsets;
} swiftdpo_lists_f64;

#define SWIFTDPO_LISTS_F32_INIT {sizeof(swiftdpo_lists_f32), 0, 0, NULL, NULL, NULL, NULL, NULL, NULL}
#define SWIFTDPO_LISTS_F64_INIT {sizeof(swiftdpo_lists_f64), 0, 0, NULL, NULL, NULL, NULL, NULL, NULL}
void swiftdpo_lists_f32_init(swiftdpo_lists_f32 *lists);
void swiftdpo_lists_f64_init(swiftdpo_lists_f64 *lists);

typedef struct swiftdpo_listwise_options {
  size_t struct_size;                    /**< sizeof(swiftdpo_listwise_options) */
  double beta;                           /**< > 0. Default 0.1. */
  swiftdpo_listwise_loss_type loss_type; /**< Default SWIFTDPO_LISTWISE_CROSS_ENTROPY. */
  swiftdpo_reduction reduction;          /**< Default SWIFTDPO_REDUCTION_MEAN, over groups. */
  swiftdpo_nonfinite nonfinite;          /**< Default SWIFTDPO_NONFINITE_ERROR; for log-probabilities. */
  int32_t reserved;                      /**< 0 */
} swiftdpo_listwise_options;

#define SWIFTDPO_LISTWISE_OPTIONS_INIT \
  {sizeof(swiftdpo_listwise_options), 0.1, SWIFTDPO_LISTWISE_CROSS_ENTROPY, SWIFTDPO_REDUCTION_MEAN, \
   SWIFTDPO_NONFINITE_ERROR,          0}
void swiftdpo_listwise_options_init(swiftdpo_listwise_options *options);

/** Where results go. Each may be NULL. */
typedef struct swiftdpo_list_results_f32 {
  size_t struct_size;       /**< sizeof(swiftdpo_list_results_f32) */
  double *loss;             /**< The reduced loss: one number. */
  float *losses;            /**< The loss of each group, its weight included: num_groups elements. */
  float *grad_policy_logps; /**< d loss / d log pi of each candidate; by log ref it is the negative. */
  float *rewards;           /**< s_i of each candidate. */
} swiftdpo_list_results_f32;

/** As swiftdpo_list_results_f32, in double. */
typedef struct swiftdpo_list_results_f64 {
  size_t struct_size;
  double *loss;
  double *losses;
  double *grad_policy_logps;
  double *rewards;
} swiftdpo_list_results_f64;

#define SWIFTDPO_LIST_RESULTS_F32_INIT {sizeof(swiftdpo_list_results_f32), NULL, NULL, NULL, NULL}
#define SWIFTDPO_LIST_RESULTS_F64_INIT {sizeof(swiftdpo_list_results_f64), NULL, NULL, NULL, NULL}
void swiftdpo_list_results_f32_init(swiftdpo_list_results_f32 *results);
void swiftdpo_list_results_f64_init(swiftdpo_list_results_f64 *results);

/** Loss of a batch of lists and its gradient. */
swiftdpo_status swiftdpo_listwise_loss_f32(const swiftdpo_lists_f32 *lists, const swiftdpo_listwise_options *options,
                                           const swiftdpo_list_results_f32 *results, swiftdpo_culprit *culprit);
swiftdpo_status swiftdpo_listwise_loss_f64(const swiftdpo_lists_f64 *lists, const swiftdpo_listwise_options *options,
                                           const swiftdpo_list_results_f64 *results, swiftdpo_culprit *culprit);

/* ------------------------------------------------------------------------------------------------------------------
 * Logits: log-probabilities of responses
 * ------------------------------------------------------------------------------------------------------------------
 *
 *   l[t, v] = logit_scale * softcap(logits[t, v]),     softcap(x) = c tanh(x / c)
 *   log pi(y_t | x, y_<t) = l[t, y_t] - LSE_t,         LSE_t = log sum over v of exp(l[t, v])
 *
 * summed over the tokens of each sequence that count. With shift, the logits at position t score the label at t + 1 of
 * the same sequence, as causal language models give them, and a sequence's last logits score nothing. Only rows whose
 * label counts are read, each of them once.
 *
 * Types: logits of f32, f64, bf16 and f16 (the last two as uint16_t bit patterns). f64 is computed in double. The
 * others are widened to single precision exactly; exponentials are single, every sum of them is carried in double.
 * Accuracy of a token's log-probability: f64 within 1e-14 relative to the largest term, a softcap counted among them;
 * f32, bf16 and f16 within 1e-6 of the exact value of the given logits, for logits within 50 of each other's size and
 * any vocabulary.
 *
 * -inf is a legal logit (a masked vocabulary entry): its probability is 0. As the label's logit it makes the
 * log-probability -inf and sets the row's flag. NaN and +inf have no meaning, nor has a row that is -inf throughout:
 * SWIFTDPO_ERROR_NONFINITE names the first one's flat index (row * row_stride + v).
 *
 * Rows. Either num_sequences sequences of sequence_length positions each, or, with offsets, a packed buffer: sequence b
 * is the rows from offsets[b] up to offsets[b + 1]. Row arrays below (labels, mask, token_weights and the results of
 * tokens) have one element for each row of logits, whatever the shift: results of a token stand at the row whose logits
 * scored it, and rows that score nothing have 0 there.
 */

/** Logits over a vocabulary, and the labels that they score. */
typedef struct swiftdpo_logits_f32 {
  size_t struct_size;        /**< sizeof(swiftdpo_logits_f32) */
  size_t num_sequences;      /**< B */
  size_t sequence_length;    /**< T. Ignored with offsets. */
  size_t vocab_size;         /**< V, at least 1: the columns of logits. */
  const float *logits;       /**< [rows, V], rows = B * T or offsets[B]. Required unless there are none. */
  size_t row_stride;         /**< Elements from one row of logits to the next; 0: V. */
  const int64_t *labels;     /**< Token ids, or ignore_index where a token does not count. One of the two labels. */
  const int32_t *labels_i32; /**< As labels, in 32 bits. */
  const int64_t *offsets;    /**< [B + 1] rows, rising from 0: packed sequences. NULL: rectangular. */
  const uint8_t *mask;       /**< 1 where a label counts, 0 where not, besides ignore_index. NULL: 1. */
  const double
      *token_weights; /**< Finite factor of each label's log-probability, standing where the label does. NULL: 1. */
  const int64_t *ld_lengths; /**< [B]: tokens beyond the first ld_lengths[b] that count weigh options->ld_alpha. */
  size_t vocab_start;        /**< First token id of these columns, for a shard of the vocabulary. Default 0. */
} swiftdpo_logits_f32;

/** As swiftdpo_logits_f32, in double. */
typedef struct swiftdpo_logits_f64 {
  size_t struct_size;
  size_t num_sequences;
  size_t sequence_length;
  size_t vocab_size;
  const double *logits;
  size_t row_stride;
  const int64_t *labels;
  const int32_t *labels_i32;
  const int64_t *offsets;
  const uint8_t *mask;
  const double *token_weights;
  const int64_t *ld_lengths;
  size_t vocab_start;
} swiftdpo_logits_f64;

/** As swiftdpo_logits_f32, with logits that are bit patterns of bfloat16 (_bf16 calls) or IEEE binary16 (_f16). */
typedef struct swiftdpo_logits_half {
  size_t struct_size;
  size_t num_sequences;
  size_t sequence_length;
  size_t vocab_size;
  const uint16_t *logits;
  size_t row_stride;
  const int64_t *labels;
  const int32_t *labels_i32;
  const int64_t *offsets;
  const uint8_t *mask;
  const double *token_weights;
  const int64_t *ld_lengths;
  size_t vocab_start;
} swiftdpo_logits_half;

#define SWIFTDPO_LOGITS_F32_INIT {sizeof(swiftdpo_logits_f32), 0, 0, 0, NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL, 0}
#define SWIFTDPO_LOGITS_F64_INIT {sizeof(swiftdpo_logits_f64), 0, 0, 0, NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL, 0}
#define SWIFTDPO_LOGITS_HALF_INIT \
  {sizeof(swiftdpo_logits_half), 0, 0, 0, NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL, 0}
void swiftdpo_logits_f32_init(swiftdpo_logits_f32 *logits);
void swiftdpo_logits_f64_init(swiftdpo_logits_f64 *logits);
void swiftdpo_logits_half_init(swiftdpo_logits_half *logits);

typedef struct swiftdpo_logps_options {
  size_t struct_size;           /**< sizeof(swiftdpo_logps_options) */
  int64_t ignore_index;         /**< Label of tokens that do not count (prompt, padding). Default -100. */
  int32_t shift;                /**< 1: logits at t score the label at t + 1. 0: at t. Default 1. */
  int32_t average;              /**< 1: divide each sum by its number of tokens that count. Default 0. */
  double logit_scale;           /**< Finite, > 0: the inverse of a sampling temperature. Default 1. */
  double softcap;               /**< c > 0; 0: none. Default 0. */
  double ld_alpha;              /**< LD-DPO's alpha in [0, 1] (Liu et al. 2024). Default 1. Needs ld_lengths. */
  swiftdpo_nonfinite nonfinite; /**< Default SWIFTDPO_NONFINITE_ERROR. */
  int32_t reserved;             /**< 0 */
} swiftdpo_logps_options;

#define SWIFTDPO_LOGPS_OPTIONS_INIT \
  {sizeof(swiftdpo_logps_options), -100, 1, 0, 1.0, 0.0, 1.0, SWIFTDPO_NONFINITE_ERROR, 0}
void swiftdpo_logps_options_init(swiftdpo_logps_options *options);

/** Flags of a row of logits. */
typedef enum swiftdpo_row_flag {
  SWIFTDPO_ROW_SOUND = 0,
  SWIFTDPO_ROW_IMPOSSIBLE = 1, /**< The label's probability is 0: its logit is -inf. */
  SWIFTDPO_ROW_NONFINITE = 2   /**< A logit is NaN or +inf, or all are -inf (with SWIFTDPO_NONFINITE_PROPAGATE). */
} swiftdpo_row_flag;

/** Where results go. Each may be NULL. p is the softmax of a row. */
typedef struct swiftdpo_logps_results {
  size_t struct_size;      /**< sizeof(swiftdpo_logps_results) */
  double *logps;           /**< [B]: weighted sum of a sequence's log-probabilities; 0 where no token counts. */
  int64_t *num_tokens;     /**< [B]: how many tokens count. */
  double *token_logps;     /**< [rows]: log-probability of each label, without weight. */
  double *log_normalizers; /**< [rows]: LSE of each row, for the backward call. */
  double *entropies;       /**< [rows]: - sum p log p. */
  double *log_sum_squares; /**< [rows]: log sum p^2, which weighs tokens in WPO (Zhou et al. 2024). */
  double *mean_logits;     /**< [rows]: the mean of l[t, v] over v. */
  uint8_t *top_1;          /**< [rows]: 1 where no vocabulary entry has a larger logit than the label. */
  uint8_t *row_flags;      /**< [rows]: swiftdpo_row_flag. */
} swiftdpo_logps_results;

#define SWIFTDPO_LOGPS_RESULTS_INIT \
  {sizeof(swiftdpo_logps_results), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL}
void swiftdpo_logps_results_init(swiftdpo_logps_results *results);

/**
 * Log-probabilities of sequences from logits. Results wait in temporary memory, some 50 bytes for each row, until all
 * rows are known to be sound: on an error nothing has been written. vocab_start must be 0.
 */
swiftdpo_status swiftdpo_sequence_logps_f32(const swiftdpo_logits_f32 *logits, const swiftdpo_logps_options *options,
                                            const swiftdpo_logps_results *results, swiftdpo_culprit *culprit);
swiftdpo_status swiftdpo_sequence_logps_f64(const swiftdpo_logits_f64 *logits, const swiftdpo_logps_options *options,
                                            const swiftdpo_logps_results *results, swiftdpo_culprit *culprit);
swiftdpo_status swiftdpo_sequence_logps_bf16(const swiftdpo_logits_half *logits, const swiftdpo_logps_options *options,
                                             const swiftdpo_logps_results *results, swiftdpo_culprit *culprit);
swiftdpo_status swiftdpo_sequence_logps_f16(const swiftdpo_logits_half *logits, const swiftdpo_logps_options *options,
                                            const swiftdpo_logps_results *results, swiftdpo_culprit *culprit);

/**
 * The gradient by the logits, given the gradient g_b by each sequence's log-probability:
 *
 *   d loss / d l[t, v] = g_b * w_t * (1[v = y_t] - p[t, v])     w_t: the token's weight, over the count if averaged
 *   grad_logits[t, v]  = that * logit_scale * (1 - tanh(logits / c)^2)
 *
 * and 0 in every row that scores no label that counts. An impossible label gives g * w * (1 - 0) at the label.
 * For f32, bf16 and f16 logits without a softcap, probabilities below 2^-124 may be taken for 0. Gradients in bf16 and
 * f16 are rounded once, from values within 1e-5 of themselves.
 *
 * @param grad_logps      [B]: d loss / d logps. Required.
 * @param log_normalizers [rows] from the forward call over the same logits and options, or NULL: then each row is read
 *                        once more. Required for a shard of the vocabulary, from the merged statistics of all shards.
 * @param grad_logits     [rows, V] with the logits' row_stride; overwritten. It may be the very buffer of the logits.
 *                        Elements between rows (row_stride > V) are left alone.
 */
swiftdpo_status swiftdpo_sequence_logps_backward_f32(const swiftdpo_logits_f32 *logits,
                                                     const swiftdpo_logps_options *options, const double *grad_logps,
                                                     const double *log_normalizers, float *grad_logits,
                                                     swiftdpo_culprit *culprit);
swiftdpo_status swiftdpo_sequence_logps_backward_f64(const swiftdpo_logits_f64 *logits,
                                                     const swiftdpo_logps_options *options, const double *grad_logps,
                                                     const double *log_normalizers, double *grad_logits,
                                                     swiftdpo_culprit *culprit);
swiftdpo_status swiftdpo_sequence_logps_backward_bf16(const swiftdpo_logits_half *logits,
                                                      const swiftdpo_logps_options *options, const double *grad_logps,
                                                      const double *log_normalizers, uint16_t *grad_logits,
                                                      swiftdpo_culprit *culprit);
swiftdpo_status swiftdpo_sequence_logps_backward_f16(const swiftdpo_logits_half *logits,
                                                     const swiftdpo_logps_options *options, const double *grad_logps,
                                                     const double *log_normalizers, uint16_t *grad_logits,
                                                     swiftdpo_culprit *culprit);

/*
 * A vocabulary cut into shards, one for each worker. Each worker calls vocab_shard over its columns; the statistics of
 * all shards are merged, in any order; vocab_shard_logps turns the whole into log-probabilities; and each worker calls
 * the backward function above over its own columns, with vocab_start set and the log_normalizers of the whole.
 */

/** What a shard knows of each row. All required. */
typedef struct swiftdpo_shard_statistics {
  size_t struct_size;   /**< sizeof(swiftdpo_shard_statistics) */
  double *maxima;       /**< [rows]: the largest l[t, v] of the shard; -inf if it is empty. */
  double *sums;         /**< [rows]: sum over v of exp(l[t, v] - maximum). */
  double *label_logits; /**< [rows]: l[t, y_t], or NaN where the label lies in another shard. */
} swiftdpo_shard_statistics;

#define SWIFTDPO_SHARD_STATISTICS_INIT {sizeof(swiftdpo_shard_statistics), NULL, NULL, NULL}
void swiftdpo_shard_statistics_init(swiftdpo_shard_statistics *statistics);

/** Statistics of one shard: columns vocab_start ... vocab_start + vocab_size - 1 of the vocabulary. A label outside
 * them, unlike elsewhere, is no error but absent. Rows that score nothing get -inf, 0 and NaN. */
swiftdpo_status swiftdpo_vocab_shard_f32(const swiftdpo_logits_f32 *logits, const swiftdpo_logps_options *options,
                                         const swiftdpo_shard_statistics *results, swiftdpo_culprit *culprit);
swiftdpo_status swiftdpo_vocab_shard_f64(const swiftdpo_logits_f64 *logits, const swiftdpo_logps_options *options,
                                         const swiftdpo_shard_statistics *results, swiftdpo_culprit *culprit);
swiftdpo_status swiftdpo_vocab_shard_bf16(const swiftdpo_logits_half *logits, const swiftdpo_logps_options *options,
                                          const swiftdpo_shard_statistics *results, swiftdpo_culprit *culprit);
swiftdpo_status swiftdpo_vocab_shard_f16(const swiftdpo_logits_half *logits, const swiftdpo_logps_options *options,
                                         const swiftdpo_shard_statistics *results, swiftdpo_culprit *culprit);

/** Merges the statistics of another shard into `into`, row by row: (max, sum e^(max_i - max)). Commutative to the bit,
 * associative up to the rounding of a double: fix the order of merging and the bits are fixed. */
swiftdpo_status swiftdpo_vocab_shard_merge(size_t rows, const swiftdpo_shard_statistics *into,
                                           const swiftdpo_shard_statistics *other, swiftdpo_culprit *culprit);

/** Log-probabilities from the merged statistics of all shards. `logits` gives the batch's shape and labels; its logits
 * are not read (and may be NULL). A label that no shard has is refused, whatever options->nonfinite says. Of the results,
 * entropies, log_sum_squares, mean_logits and top_1 must be NULL. */
swiftdpo_status swiftdpo_vocab_shard_logps(const swiftdpo_logits_f32 *logits, const swiftdpo_logps_options *options,
                                           const swiftdpo_shard_statistics *merged,
                                           const swiftdpo_logps_results *results, swiftdpo_culprit *culprit);

/* ------------------------------------------------------------------------------------------------------------------
 * The fused linear head: log-probabilities and losses of hidden states, without the logits
 * ------------------------------------------------------------------------------------------------------------------
 *
 *   logits[t, v] = sum over j of hidden[t, j] * weight[v, j]  +  bias[v]
 *
 * and from there on as above. Logits exist in tiles: some hundred rows by some thousand entries of the vocabulary. Only
 * rows whose label counts are multiplied; others may hold anything.
 *
 *   forward   swiftdpo_fused_linear_logps_*            log-probabilities of sequences; the loss is the caller's
 *   backward  swiftdpo_fused_linear_logps_backward_*   given any d loss / d logps, the gradients of the head
 *   at once   swiftdpo_fused_linear_dpo_loss_*, ..._unpaired_loss_*, ..._plackett_luce_loss_*
 *
 *   d loss / d hidden = G W,   d loss / d weight = G^T hidden,   d loss / d bias = the sum over rows of G,
 *
 * G being d loss / d logits as swiftdpo_sequence_logps_backward_* gives it. Gradients by weight and bias are added up in
 * single precision whatever the type of the weight, and handed over so; that by hidden is added up in single precision
 * and rounded once to the type of hidden.
 *
 * Products. A forward call makes one product of the size rows * V * H, a backward call three: it makes the logits again.
 * Calls that do both at once make three as well where the logits of a group (a pair, a ranking) fit in the workspace, so
 * that they can wait there until the group's loss is known, and else four. Losses that couple the batch (AOT,
 * num_shared_items, a masked label) make four unless the logits of the whole batch fit.
 *
 * The matrix products are a BLAS's: the caller's own function (`gemm`), or a library that swiftdpo_use_blas names or
 * that is found at the first call (swiftdpo_blas_info tells which). bf16 is multiplied as bf16 where that library can
 * (cblas_sbgemm, MKL's cblas_gemm_bf16bf16f32), G being rounded to bf16 for it, and else widened tile by tile, as f16
 * always is.
 *
 * Threads. The threads of this library call an OpenBLAS side by side, for a tile each. While a fused call runs, that
 * OpenBLAS is set to one thread for this, in the whole process, and set back after it. The caller's function is called by
 * one thread at a time, and so are other libraries (and an OpenBLAS with the threads of OpenMP): they use their own.
 *
 * The same bits. The workspace decides whether a tile is kept or made again, and nothing else: the products are calls of
 * the same shapes in the same order. So results are the same for every workspace and every number of threads of this
 * library as long as the BLAS gives the same result for the same call. Its choice of kernels for this machine is its
 * promise to make, and so is its own number of threads, where it uses them. Unlike elsewhere, a sequence's results may depend on the
 * others of its batch: they share its products.
 *
 * Accuracy. What a BLAS makes of a dot product of H terms in single precision, about sqrt(H) * 6e-8 times the terms'
 * size, then as for logits of f32. f64 is not offered: use logits.
 */

/** A linear head over the hidden states of a batch, and the labels that it scores. */
typedef struct swiftdpo_linear_head_f32 {
  size_t struct_size;     /**< sizeof(swiftdpo_linear_head_f32) */
  size_t num_sequences;   /**< B */
  size_t sequence_length; /**< T. Ignored with offsets. */
  size_t hidden_size;     /**< H, from 1 to 2^31 - 1 */
  size_t vocab_size;      /**< V, from 1 to 2^31 - 1 */
  const float *hidden;    /**< [rows, H], rows = B * T or offsets[B]. Required unless there are none. */
  size_t hidden_stride;   /**< Elements from one row of hidden to the next; 0: H. */
  const float *weight;    /**< [V, H]. Required. */
  const float *bias;      /**< [V]; -inf masks an entry of the vocabulary. NULL: none. */
  const int64_t *labels;  /**< As of swiftdpo_logits_f32, like the rest. */
  const int32_t *labels_i32;
  const int64_t *offsets;
  const uint8_t *mask;
  const double *token_weights;
  const int64_t *ld_lengths;
  size_t vocab_start; /**< First token id of these rows of weight, for a shard of the vocabulary. Default 0. */
} swiftdpo_linear_head_f32;

/** As swiftdpo_linear_head_f32, in bf16 or f16: the function's name says which. */
typedef struct swiftdpo_linear_head_half {
  size_t struct_size;
  size_t num_sequences;
  size_t sequence_length;
  size_t hidden_size;
  size_t vocab_size;
  const uint16_t *hidden;
  size_t hidden_stride;
  const uint16_t *weight;
  const uint16_t *bias;
  const int64_t *labels;
  const int32_t *labels_i32;
  const int64_t *offsets;
  const uint8_t *mask;
  const double *token_weights;
  const int64_t *ld_lengths;
  size_t vocab_start;
} swiftdpo_linear_head_half;

#define SWIFTDPO_LINEAR_HEAD_F32_INIT \
  {sizeof(swiftdpo_linear_head_f32), 0, 0, 0, 0, NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0}
#define SWIFTDPO_LINEAR_HEAD_HALF_INIT \
  {sizeof(swiftdpo_linear_head_half), 0, 0, 0, 0, NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0}
void swiftdpo_linear_head_f32_init(swiftdpo_linear_head_f32 *head);
void swiftdpo_linear_head_half_init(swiftdpo_linear_head_half *head);

/**
 * c = op(a) op(b) + beta * c for row-major matrices of f32: c is [m, n], op(a) [m, k], op(b) [k, n], op transposing where
 * its flag is 1; beta is 0 (c is not read) or 1. lda, ldb, ldc: elements from one stored row to the next. Called by one
 * thread at a time, for each call of the library.
 */
typedef void (*swiftdpo_gemm)(void *context, int transpose_a, int transpose_b, size_t m, size_t n, size_t k,
                              const float *a, size_t lda, const float *b, size_t ldb, float beta, float *c, size_t ldc);

typedef struct swiftdpo_fused_options {
  size_t struct_size;    /**< sizeof(swiftdpo_fused_options) */
  size_t workspace_size; /**< Bytes of temporary memory for tiles, at least what swiftdpo_fused_linear_workspace_* says.
                              Default 64 MiB. What is kept of each row besides takes some 130 bytes. */
  void *workspace;       /**< Memory of that size, aligned to 64 bytes; NULL: taken and given back by the call. */
  swiftdpo_gemm gemm;    /**< NULL: a BLAS, as above. */
  void *gemm_context;    /**< Handed to gemm. */
} swiftdpo_fused_options;

#define SWIFTDPO_FUSED_OPTIONS_INIT {sizeof(swiftdpo_fused_options), (size_t)64 << 20, NULL, NULL, NULL}
void swiftdpo_fused_options_init(swiftdpo_fused_options *options);

/** Where the head's gradients go. Each may be NULL, which spares its product. */
typedef struct swiftdpo_linear_gradients_f32 {
  size_t struct_size; /**< sizeof(swiftdpo_linear_gradients_f32) */
  float *grad_hidden; /**< [rows, H], contiguous; 0 in rows that score nothing. */
  float *grad_weight; /**< [V, H] */
  float *grad_bias;   /**< [V] */
  int32_t accumulate; /**< 1: add to what grad_weight and grad_bias hold (micro-batches). Default 0: overwrite it. */
  int32_t reserved;   /**< 0 */
} swiftdpo_linear_gradients_f32;

/** As swiftdpo_linear_gradients_f32, for bf16 and f16: grad_hidden in the type of hidden, the others in f32. */
typedef struct swiftdpo_linear_gradients_half {
  size_t struct_size;
  uint16_t *grad_hidden;
  float *grad_weight;
  float *grad_bias;
  int32_t accumulate;
  int32_t reserved;
} swiftdpo_linear_gradients_half;

#define SWIFTDPO_LINEAR_GRADIENTS_F32_INIT {sizeof(swiftdpo_linear_gradients_f32), NULL, NULL, NULL, 0, 0}
#define SWIFTDPO_LINEAR_GRADIENTS_HALF_INIT {sizeof(swiftdpo_linear_gradients_half), NULL, NULL, NULL, 0, 0}
void swiftdpo_linear_gradients_f32_init(swiftdpo_linear_gradients_f32 *gradients);
void swiftdpo_linear_gradients_half_init(swiftdpo_linear_gradients_half *gradients);

/**
 * The bytes of workspace with which calls over this head work: the least, and those beyond which more is of no use, with
 * all logits kept. Of the head, shape and labels are read.
 */
swiftdpo_status swiftdpo_fused_linear_workspace_f32(const swiftdpo_linear_head_f32 *head,
                                                    const swiftdpo_logps_options *options, size_t *least, size_t *most,
                                                    swiftdpo_culprit *culprit);
swiftdpo_status swiftdpo_fused_linear_workspace_bf16(const swiftdpo_linear_head_half *head,
                                                     const swiftdpo_logps_options *options, size_t *least, size_t *most,
                                                     swiftdpo_culprit *culprit);
swiftdpo_status swiftdpo_fused_linear_workspace_f16(const swiftdpo_linear_head_half *head,
                                                    const swiftdpo_logps_options *options, size_t *least, size_t *most,
                                                    swiftdpo_culprit *culprit);

/** Log-probabilities of sequences from hidden states: what swiftdpo_sequence_logps_* gives for the logits. */
swiftdpo_status swiftdpo_fused_linear_logps_f32(const swiftdpo_linear_head_f32 *head,
                                                const swiftdpo_logps_options *options,
                                                const swiftdpo_fused_options *fused,
                                                const swiftdpo_logps_results *results, swiftdpo_culprit *culprit);
swiftdpo_status swiftdpo_fused_linear_logps_bf16(const swiftdpo_linear_head_half *head,
                                                 const swiftdpo_logps_options *options,
                                                 const swiftdpo_fused_options *fused,
                                                 const swiftdpo_logps_results *results, swiftdpo_culprit *culprit);
swiftdpo_status swiftdpo_fused_linear_logps_f16(const swiftdpo_linear_head_half *head,
                                                const swiftdpo_logps_options *options,
                                                const swiftdpo_fused_options *fused,
                                                const swiftdpo_logps_results *results, swiftdpo_culprit *culprit);

/**
 * The head's gradients, given d loss / d logps of each sequence.
 *
 * @param grad_logps      [B]. Required.
 * @param log_normalizers [rows] from the forward call over the same head and options, or NULL: made again, at the price
 *                        of a product. Required for a shard of the vocabulary, from the merged statistics of all; then
 *                        grad_hidden is the shard's share, to be added up over the shards.
 */
swiftdpo_status swiftdpo_fused_linear_logps_backward_f32(const swiftdpo_linear_head_f32 *head,
                                                         const swiftdpo_logps_options *options,
                                                         const swiftdpo_fused_options *fused, const double *grad_logps,
                                                         const double *log_normalizers,
                                                         const swiftdpo_linear_gradients_f32 *gradients,
                                                         swiftdpo_culprit *culprit);
swiftdpo_status swiftdpo_fused_linear_logps_backward_bf16(const swiftdpo_linear_head_half *head,
                                                          const swiftdpo_logps_options *options,
                                                          const swiftdpo_fused_options *fused, const double *grad_logps,
                                                          const double *log_normalizers,
                                                          const swiftdpo_linear_gradients_half *gradients,
                                                          swiftdpo_culprit *culprit);
swiftdpo_status swiftdpo_fused_linear_logps_backward_f16(const swiftdpo_linear_head_half *head,
                                                         const swiftdpo_logps_options *options,
                                                         const swiftdpo_fused_options *fused, const double *grad_logps,
                                                         const double *log_normalizers,
                                                         const swiftdpo_linear_gradients_half *gradients,
                                                         swiftdpo_culprit *culprit);

/** Statistics of a shard of the vocabulary, for swiftdpo_vocab_shard_merge and swiftdpo_vocab_shard_logps: `weight` and
 * `bias` are its rows, vocab_start the token id of the first. */
swiftdpo_status swiftdpo_fused_linear_vocab_shard_f32(const swiftdpo_linear_head_f32 *head,
                                                      const swiftdpo_logps_options *options,
                                                      const swiftdpo_fused_options *fused,
                                                      const swiftdpo_shard_statistics *results,
                                                      swiftdpo_culprit *culprit);
swiftdpo_status swiftdpo_fused_linear_vocab_shard_bf16(const swiftdpo_linear_head_half *head,
                                                       const swiftdpo_logps_options *options,
                                                       const swiftdpo_fused_options *fused,
                                                       const swiftdpo_shard_statistics *results,
                                                       swiftdpo_culprit *culprit);
swiftdpo_status swiftdpo_fused_linear_vocab_shard_f16(const swiftdpo_linear_head_half *head,
                                                      const swiftdpo_logps_options *options,
                                                      const swiftdpo_fused_options *fused,
                                                      const swiftdpo_shard_statistics *results,
                                                      swiftdpo_culprit *culprit);

/** What a loss over a fused head gives besides the loss's own results. Each may be NULL. */
typedef struct swiftdpo_fused_results_f32 {
  size_t struct_size;                  /**< sizeof(swiftdpo_fused_results_f32) */
  const swiftdpo_logps_results *logps; /**< What swiftdpo_fused_linear_logps_* gives for the policy. */
  double *ref_logps; /**< [sequences]: the reference's log-probabilities, for later calls. Needs ref. */
  const swiftdpo_linear_gradients_f32 *gradients; /**< NULL: one product for the policy. */
} swiftdpo_fused_results_f32;

/** As swiftdpo_fused_results_f32, for bf16 and f16. */
typedef struct swiftdpo_fused_results_half {
  size_t struct_size;
  const swiftdpo_logps_results *logps;
  double *ref_logps;
  const swiftdpo_linear_gradients_half *gradients;
} swiftdpo_fused_results_half;

#define SWIFTDPO_FUSED_RESULTS_F32_INIT {sizeof(swiftdpo_fused_results_f32), NULL, NULL, NULL}
#define SWIFTDPO_FUSED_RESULTS_HALF_INIT {sizeof(swiftdpo_fused_results_half), NULL, NULL, NULL}
void swiftdpo_fused_results_f32_init(swiftdpo_fused_results_f32 *results);
void swiftdpo_fused_results_half_init(swiftdpo_fused_results_half *results);

/**
 * Losses and the head's gradients in one call. The last structs are those of the loss itself; the log-probabilities that
 * it asks for are the head's, so that policy_* pointers in it must be NULL. The head's sequences are
 *
 *   dpo_loss             [2 * pairs->count]: all chosen responses, then all rejected ones in the same order
 *   unpaired_loss        [unpaired->count]
 *   plackett_luce_loss   the items, laid out as policy_logps of swiftdpo_rankings_f64
 *
 * @param ref           The reference's head: its hidden_size, hidden, hidden_stride, weight and bias are read, the rest is
 *                      the policy's. NULL: the loss's struct has the reference's log-probabilities, or none. Not both.
 * @param results       The loss's results, its gradients by log-probabilities among them. May be NULL.
 * @param fused_results What else is asked for. May be NULL.
 *
 * Lengths that pairs leaves out are the numbers of tokens that count. A buffer of the loss's structs is not checked for
 * overlapping one of the head's.
 */
swiftdpo_status
swiftdpo_fused_linear_dpo_loss_f32(const swiftdpo_linear_head_f32 *policy, const swiftdpo_linear_head_f32 *ref,
                                   const swiftdpo_logps_options *options, const swiftdpo_fused_options *fused,
                                   const swiftdpo_pairs_f64 *pairs, const swiftdpo_dpo_options *loss_options,
                                   const swiftdpo_pair_results_f64 *results,
                                   const swiftdpo_fused_results_f32 *fused_results, swiftdpo_culprit *culprit);
swiftdpo_status
swiftdpo_fused_linear_dpo_loss_bf16(const swiftdpo_linear_head_half *policy, const swiftdpo_linear_head_half *ref,
                                    const swiftdpo_logps_options *options, const swiftdpo_fused_options *fused,
                                    const swiftdpo_pairs_f64 *pairs, const swiftdpo_dpo_options *loss_options,
                                    const swiftdpo_pair_results_f64 *results,
                                    const swiftdpo_fused_results_half *fused_results, swiftdpo_culprit *culprit);
swiftdpo_status
swiftdpo_fused_linear_dpo_loss_f16(const swiftdpo_linear_head_half *policy, const swiftdpo_linear_head_half *ref,
                                   const swiftdpo_logps_options *options, const swiftdpo_fused_options *fused,
                                   const swiftdpo_pairs_f64 *pairs, const swiftdpo_dpo_options *loss_options,
                                   const swiftdpo_pair_results_f64 *results,
                                   const swiftdpo_fused_results_half *fused_results, swiftdpo_culprit *culprit);
swiftdpo_status swiftdpo_fused_linear_unpaired_loss_f32(
    const swiftdpo_linear_head_f32 *policy, const swiftdpo_linear_head_f32 *ref, const swiftdpo_logps_options *options,
    const swiftdpo_fused_options *fused, const swiftdpo_unpaired_f64 *unpaired,
    const swiftdpo_unpaired_options *loss_options, const swiftdpo_unpaired_results_f64 *results,
    const swiftdpo_fused_results_f32 *fused_results, swiftdpo_culprit *culprit);
swiftdpo_status swiftdpo_fused_linear_unpaired_loss_bf16(
    const swiftdpo_linear_head_half *policy, const swiftdpo_linear_head_half *ref,
    const swiftdpo_logps_options *options, const swiftdpo_fused_options *fused, const swiftdpo_unpaired_f64 *unpaired,
    const swiftdpo_unpaired_options *loss_options, const swiftdpo_unpaired_results_f64 *results,
    const swiftdpo_fused_results_half *fused_results, swiftdpo_culprit *culprit);
swiftdpo_status swiftdpo_fused_linear_unpaired_loss_f16(
    const swiftdpo_linear_head_half *policy, const swiftdpo_linear_head_half *ref,
    const swiftdpo_logps_options *options, const swiftdpo_fused_options *fused, const swiftdpo_unpaired_f64 *unpaired,
    const swiftdpo_unpaired_options *loss_options, const swiftdpo_unpaired_results_f64 *results,
    const swiftdpo_fused_results_half *fused_results, swiftdpo_culprit *culprit);
swiftdpo_status swiftdpo_fused_linear_plackett_luce_loss_f32(
    const swiftdpo_linear_head_f32 *policy, const swiftdpo_linear_head_f32 *ref, const swiftdpo_logps_options *options,
    const swiftdpo_fused_options *fused, const swiftdpo_rankings_f64 *rankings,
    const swiftdpo_plackett_luce_options *loss_options, const swiftdpo_ranking_results_f64 *results,
    const swiftdpo_fused_results_f32 *fused_results, swiftdpo_culprit *culprit);
swiftdpo_status swiftdpo_fused_linear_plackett_luce_loss_bf16(
    const swiftdpo_linear_head_half *policy, const swiftdpo_linear_head_half *ref,
    const swiftdpo_logps_options *options, const swiftdpo_fused_options *fused, const swiftdpo_rankings_f64 *rankings,
    const swiftdpo_plackett_luce_options *loss_options, const swiftdpo_ranking_results_f64 *results,
    const swiftdpo_fused_results_half *fused_results, swiftdpo_culprit *culprit);
swiftdpo_status swiftdpo_fused_linear_plackett_luce_loss_f16(
    const swiftdpo_linear_head_half *policy, const swiftdpo_linear_head_half *ref,
    const swiftdpo_logps_options *options, const swiftdpo_fused_options *fused, const swiftdpo_rankings_f64 *rankings,
    const swiftdpo_plackett_luce_options *loss_options, const swiftdpo_ranking_results_f64 *results,
    const swiftdpo_fused_results_half *fused_results, swiftdpo_culprit *culprit);

/** The BLAS in use. */
typedef struct swiftdpo_blas {
  size_t struct_size;    /**< sizeof(swiftdpo_blas), set by the caller. */
  const char *path;      /**< The file that was loaded; NULL: none was found. */
  const char *function;  /**< Its matrix product, such as "cblas_sgemm" or "scipy_cblas_sgemm64_". */
  int32_t integer_bits;  /**< Of its sizes: 32 or 64. */
  int32_t has_bf16_gemm; /**< 1: it multiplies bf16 by itself. */
} swiftdpo_blas;

#define SWIFTDPO_BLAS_INIT {sizeof(swiftdpo_blas), NULL, NULL, 0, 0}

/**
 * Takes the matrix products from the shared library `path` from now on, instead of the one that is looked for at the
 * first call that needs one: what the environment's SWIFTDPO_BLAS names and nothing else; or, where that is not set, a
 * cblas_sgemm that the process has loaded already, OpenBLAS, MKL, BLIS, NVPL, Accelerate. The library needs cblas_sgemm,
 * or one of its names with the prefix scipy_ or a suffix for 64-bit integers. Calls that have begun keep theirs.
 * @param path as dlopen takes it; NULL: look again.
 */
swiftdpo_status swiftdpo_use_blas(const char *path, swiftdpo_culprit *culprit);

/** Fills *blas, after looking for one if need be: SWIFTDPO_ERROR_BLAS if there is none. The strings are static. */
swiftdpo_status swiftdpo_blas_info(swiftdpo_blas *blas);

/* ------------------------------------------------------------------------------------------------------------------
 * Divergences between distributions over listed outcomes
 * ------------------------------------------------------------------------------------------------------------------
 *
 *   KL              sum of p (log p - log q)                                       (Kullback and Leibler 1951)
 *   REVERSE_KL      the same with p and q exchanged
 *   GENERALIZED_KL  sum of p (log p - log q) - p + q                               (Csiszar 1975)
 *   JENSEN_SHANNON  (KL(p || m) + KL(q || m)) / 2 with m = (p + q) / 2, at most log 2       (Lin 1991)
 *
 *   d KL / d log p = p (log p - log q + 1)     d GENERALIZED_KL / d log p = p (log p - log q)     d JS / d log p = p log(p/m) / 2
 *   d KL / d log q = -p                        d GENERALIZED_KL / d log q = q - p                 d JS / d log q = q log(q/m) / 2
 *
 * with each log-probability taken as free. Where they come from a softmax, the gradient g by them becomes
 * g_i - p_i * sum of g by its logits. Between distributions GENERALIZED_KL is KL without the terms that cancel: it is
 * exactly 0 for p = q, never negative, and loses no digits however near p and q are; in KL the rounding of the inputs
 * shows as some 1e-16, of either sign. Take KL for a q that lists only what p can give.
 *
 * Edge cases: -inf is a legal log-probability. Outcomes with p = 0 add nothing to KL; q = 0 < p makes it infinite, and
 * JENSEN_SHANNON stays finite. Log-probabilities above 0.01 are refused: such an array holds something else.
 * Accuracy (f64): GENERALIZED_KL and JENSEN_SHANNON within 8 ulp, KL within 4 ulp of the sum of |p (log p - log q)|;
 * sums run in 106 bits.
 */

typedef enum swiftdpo_divergence_kind {
  SWIFTDPO_DIVERGENCE_KL = 0,
  SWIFTDPO_DIVERGENCE_REVERSE_KL = 1,
  SWIFTDPO_DIVERGENCE_GENERALIZED_KL = 2,
  SWIFTDPO_DIVERGENCE_JENSEN_SHANNON = 3
} swiftdpo_divergence_kind;

/** Rows of outcomes, each with two distributions over them. */
typedef struct swiftdpo_distributions_f32 {
  size_t struct_size;  /**< sizeof(swiftdpo_distributions_f32) */
  size_t num_rows;     /**< B */
  size_t num_outcomes; /**< N of each row; at least 1. */
  const float *logp;   /**< [B, N]: log p. Required. */
  const float *logq;   /**< [B, N]: log q. Required. */
} swiftdpo_distributions_f32;

/** As swiftdpo_distributions_f32, in double. */
typedef struct swiftdpo_distributions_f64 {
  size_t struct_size;
  size_t num_rows;
  size_t num_outcomes;
  const double *logp;
  const double *logq;
} swiftdpo_distributions_f64;

#define SWIFTDPO_DISTRIBUTIONS_F32_INIT {sizeof(swiftdpo_distributions_f32), 0, 0, NULL, NULL}
#define SWIFTDPO_DISTRIBUTIONS_F64_INIT {sizeof(swiftdpo_distributions_f64), 0, 0, NULL, NULL}
void swiftdpo_distributions_f32_init(swiftdpo_distributions_f32 *distributions);
void swiftdpo_distributions_f64_init(swiftdpo_distributions_f64 *distributions);

typedef struct swiftdpo_divergence_options {
  size_t struct_size;            /**< sizeof(swiftdpo_divergence_options) */
  swiftdpo_divergence_kind kind; /**< Default SWIFTDPO_DIVERGENCE_KL. */
  swiftdpo_nonfinite nonfinite;  /**< For NaN and +inf. Default SWIFTDPO_NONFINITE_ERROR. */
} swiftdpo_divergence_options;

#define SWIFTDPO_DIVERGENCE_OPTIONS_INIT \
  {sizeof(swiftdpo_divergence_options), SWIFTDPO_DIVERGENCE_KL, SWIFTDPO_NONFINITE_ERROR}
void swiftdpo_divergence_options_init(swiftdpo_divergence_options *options);

/** Where results go. Each may be NULL. */
typedef struct swiftdpo_divergence_results_f32 {
  size_t struct_size;  /**< sizeof(swiftdpo_divergence_results_f32) */
  double *divergences; /**< [B] */
  float *grad_logp;    /**< [B, N]: d divergence / d log p. */
  float *grad_logq;    /**< [B, N]: d divergence / d log q. */
} swiftdpo_divergence_results_f32;

/** As swiftdpo_divergence_results_f32, in double. */
typedef struct swiftdpo_divergence_results_f64 {
  size_t struct_size;
  double *divergences;
  double *grad_logp;
  double *grad_logq;
} swiftdpo_divergence_results_f64;

#define SWIFTDPO_DIVERGENCE_RESULTS_F32_INIT {sizeof(swiftdpo_divergence_results_f32), NULL, NULL, NULL}
#define SWIFTDPO_DIVERGENCE_RESULTS_F64_INIT {sizeof(swiftdpo_divergence_results_f64), NULL, NULL, NULL}
void swiftdpo_divergence_results_f32_init(swiftdpo_divergence_results_f32 *results);
void swiftdpo_divergence_results_f64_init(swiftdpo_divergence_results_f64 *results);

swiftdpo_status swiftdpo_divergence_f32(const swiftdpo_distributions_f32 *distributions,
                                        const swiftdpo_divergence_options *options,
                                        const swiftdpo_divergence_results_f32 *results, swiftdpo_culprit *culprit);
swiftdpo_status swiftdpo_divergence_f64(const swiftdpo_distributions_f64 *distributions,
                                        const swiftdpo_divergence_options *options,
                                        const swiftdpo_divergence_results_f64 *results, swiftdpo_culprit *culprit);

/**
 * Estimates of KL(pi || ref) from samples y of pi, one from each, with d = log pi(y|x) - log ref(y|x):
 *
 *   k1 = d     k2 = d^2 / 2     k3 = exp(-d) - 1 + d                                              (Schulman 2020)
 *
 * k1 and k3 are unbiased, k2 is not; k2 and k3 are never negative. Derivatives by log pi(y|x): 1, k1, k1 - k3. (The
 * mean of k2's derivatives, not of k3's, estimates the gradient of KL.) Within 4 ulp.
 *
 * @param count      Samples. Arrays have an element for each.
 * @param k1, k2, k3 Results; each may be NULL.
 */
swiftdpo_status swiftdpo_kl_estimates_f32(size_t count, const float *policy_logps, const float *ref_logps,
                                          swiftdpo_nonfinite nonfinite, float *k1, float *k2, float *k3,
                                          swiftdpo_culprit *culprit);
swiftdpo_status swiftdpo_kl_estimates_f64(size_t count, const double *policy_logps, const double *ref_logps,
                                          swiftdpo_nonfinite nonfinite, double *k1, double *k2, double *k3,
                                          swiftdpo_culprit *culprit);

/* ------------------------------------------------------------------------------------------------------------------
 * Optimal policies, where a prompt's responses can be listed
 * ------------------------------------------------------------------------------------------------------------------
 *
 *   J(pi)   = E_pi[r] - beta * KL(pi || ref)
 *   pi*(y)  = ref(y) * exp(r(y) / beta) / Z,   Z = sum over y of ref(y) * exp(r(y) / beta)
 *   J(pi*)  = beta * log Z,                    J(pi*) - J(pi) = beta * KL(pi || pi*)
 *
 *   d log Z / d r(y) = pi*(y) / beta,          d log Z / d beta = - E_pi*[r] / beta^2
 *
 * (Rafailov et al. 2023, section 4 and appendix A.1.) And the way back, from a policy to a reward for which it is
 * optimal:   r(y) = beta * (log pi(y) - log ref(y)) + beta * log Z.
 *
 * Rewards enter by their distance to the best one, so that no finite reward and beta over- or underflow before their
 * probability does. Accuracy (f64): log-probabilities within 2 ulp of the largest of |log pi*|, |log Z - best / beta|
 * and log N; sums run in 106 bits.
 */

/** Prompts with as many responses each. A call reads what it says that it reads. */
typedef struct swiftdpo_responses_f32 {
  size_t struct_size;           /**< sizeof(swiftdpo_responses_f32) */
  size_t num_prompts;           /**< B */
  size_t num_responses;         /**< N of each prompt; at least 1. */
  const float *ref_logps;       /**< [B, N]: log ref. NULL: 0. */
  const float *rewards;         /**< [B, N]: r. */
  const float *policy_logps;    /**< [B, N]: log pi of any policy. */
  const float *betas;           /**< [B]: each prompt's own beta > 0. NULL: options->beta. */
  const double *log_partitions; /**< [B]: log Z of each prompt. NULL: 0. */
} swiftdpo_responses_f32;

/** As swiftdpo_responses_f32, in double. */
typedef struct swiftdpo_responses_f64 {
  size_t struct_size;
  size_t num_prompts;
  size_t num_responses;
  const double *ref_logps;
  const double *rewards;
  const double *policy_logps;
  const double *betas;
  const double *log_partitions;
} swiftdpo_responses_f64;

#define SWIFTDPO_RESPONSES_F32_INIT {sizeof(swiftdpo_responses_f32), 0, 0, NULL, NULL, NULL, NULL, NULL}
#define SWIFTDPO_RESPONSES_F64_INIT {sizeof(swiftdpo_responses_f64), 0, 0, NULL, NULL, NULL, NULL, NULL}
void swiftdpo_responses_f32_init(swiftdpo_responses_f32 *responses);
void swiftdpo_responses_f64_init(swiftdpo_responses_f64 *responses);

typedef struct swiftdpo_policy_options {
  size_t struct_size;           /**< sizeof(swiftdpo_policy_options) */
  double beta;                  /**< Strength of the KL regularisation, > 0. Default 0.1. */
  swiftdpo_nonfinite nonfinite; /**< Default SWIFTDPO_NONFINITE_ERROR. */
  int32_t reserved;             /**< 0 */
} swiftdpo_policy_options;

#define SWIFTDPO_POLICY_OPTIONS_INIT {sizeof(swiftdpo_policy_options), 0.1, SWIFTDPO_NONFINITE_ERROR, 0}
void swiftdpo_policy_options_init(swiftdpo_policy_options *options);

/** Where results go. Each may be NULL. */
typedef struct swiftdpo_policy_results_f32 {
  size_t struct_size;        /**< sizeof(swiftdpo_policy_results_f32) */
  float *logps;              /**< [B, N]: log pi*. */
  double *log_partitions;    /**< [B]: log Z. */
  double *objectives;        /**< [B]: J(pi*) = beta * log Z. */
  double *expected_rewards;  /**< [B]: E_pi*[r]. */
  double *kl_divergences;    /**< [B]: KL(pi* || ref). */
  float *grad_rewards;       /**< [B, N]: d log Z / d r. */
  double *grad_betas;        /**< [B]: d log Z / d beta. */
  double *policy_objectives; /**< [B]: J(policy), by its definition. Needs policy_logps. */
  double *policy_gaps;       /**< [B]: beta * KL(policy || pi*), never negative. Needs policy_logps. */
} swiftdpo_policy_results_f32;

/** As swiftdpo_policy_results_f32, in double. */
typedef struct swiftdpo_policy_results_f64 {
  size_t struct_size;
  double *logps;
  double *log_partitions;
  double *objectives;
  double *expected_rewards;
  double *kl_divergences;
  double *grad_rewards;
  double *grad_betas;
  double *policy_objectives;
  double *policy_gaps;
} swiftdpo_policy_results_f64;

#define SWIFTDPO_POLICY_RESULTS_F32_INIT \
  {sizeof(swiftdpo_policy_results_f32), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL}
#define SWIFTDPO_POLICY_RESULTS_F64_INIT \
  {sizeof(swiftdpo_policy_results_f64), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL}
void swiftdpo_policy_results_f32_init(swiftdpo_policy_results_f32 *results);
void swiftdpo_policy_results_f64_init(swiftdpo_policy_results_f64 *results);

/** The optimal policy for rewards, which are required. Reads ref_logps, rewards, policy_logps, betas. A reference of
 * -inf is a response that cannot be given; a row of nothing else is refused. The reference need not sum to 1. */
swiftdpo_status swiftdpo_optimal_policy_f32(const swiftdpo_responses_f32 *responses,
                                            const swiftdpo_policy_options *options,
                                            const swiftdpo_policy_results_f32 *results, swiftdpo_culprit *culprit);
swiftdpo_status swiftdpo_optimal_policy_f64(const swiftdpo_responses_f64 *responses,
                                            const swiftdpo_policy_options *options,
                                            const swiftdpo_policy_results_f64 *results, swiftdpo_culprit *culprit);

/**
 * Estimates of log Z from rewards of responses that were sampled from the reference, where they cannot be listed:
 * Z is the mean of w_i = exp(r_i / beta) over them.
 *
 *   standard error of log Z  = sqrt((n * sum w^2 - (sum w)^2) / ((n - 1) * (sum w)^2))            (delta method)
 *   corrected for bias       : log Z + (standard error)^2 / 2
 *   effective samples        = (sum w)^2 / sum w^2                                                 (Kong 1992)
 *
 * To be trusted the estimate needs some exp(KL(pi* || ref)) samples (Chatterjee and Diaconis 2018): with fewer, those
 * that matter have not been seen, and the standard error does not know it. Few effective samples, or one sample with a
 * large share, are the sign. Sums run in 106 bits, relative to the best weight: no finite reward overflows.
 *
 * An accumulator holds what samples of one prompt leave behind; all zeros is one without samples. It is plain data:
 * send it to another process, and merge it there. Adding in another order changes the last bits at most.
 */
typedef struct swiftdpo_partition_accumulator {
  double beta;       /**< Of the samples; 0 before the first. */
  double count;      /**< How many samples, exact up to 2^53. */
  double best;       /**< The best reward so far. */
  double weight_sum; /**< Sum of exp((r - best) / beta), and what it lost to rounding. */
  double weight_sum_low;
  double square_sum; /**< Sum of the squares, likewise. */
  double square_sum_low;
} swiftdpo_partition_accumulator;

/** Adds the rewards [B, N] of N samples for each of B prompts to B accumulators. Reads rewards and betas; samples that
 * an accumulator has already must be of the same beta. */
swiftdpo_status swiftdpo_partition_add_f32(const swiftdpo_responses_f32 *responses,
                                           const swiftdpo_policy_options *options,
                                           swiftdpo_partition_accumulator *accumulators, swiftdpo_culprit *culprit);
swiftdpo_status swiftdpo_partition_add_f64(const swiftdpo_responses_f64 *responses,
                                           const swiftdpo_policy_options *options,
                                           swiftdpo_partition_accumulator *accumulators, swiftdpo_culprit *culprit);

/** Adds the samples of each accumulator of `from` to its counterpart in `into`. */
swiftdpo_status swiftdpo_partition_merge(size_t count, swiftdpo_partition_accumulator *into,
                                         const swiftdpo_partition_accumulator *from, swiftdpo_culprit *culprit);

/** Where estimates go: an element for each accumulator. Each may be NULL. */
typedef struct swiftdpo_partition_estimates {
  size_t struct_size;             /**< sizeof(swiftdpo_partition_estimates) */
  double *log_partitions;         /**< log Z. */
  double *standard_errors;        /**< Of log Z; infinite for a single sample. */
  double *effective_sample_sizes; /**< Between 1 and the number of samples. */
  double *corrected;              /**< log Z, its bias removed to first order; as log_partitions for a single sample. */
  double *largest_shares;         /**< Share of the best sample in the sum. */
} swiftdpo_partition_estimates;

#define SWIFTDPO_PARTITION_ESTIMATES_INIT {sizeof(swiftdpo_partition_estimates), NULL, NULL, NULL, NULL, NULL}
void swiftdpo_partition_estimates_init(swiftdpo_partition_estimates *estimates);

/** Estimates from accumulators, each of which must have a sample. */
swiftdpo_status swiftdpo_partition_estimate(size_t count, const swiftdpo_partition_accumulator *accumulators,
                                            const swiftdpo_partition_estimates *estimates, swiftdpo_culprit *culprit);

/**
 * Exact log Z over the responses of a small autoregressive reference: up to `horizon` tokens out of a vocabulary, ending
 * before if there is an end token. They are many:
 *
 *   responses = V^T                                        without an end token
 *             = (V - 1)^T + sum over t < T of (V - 1)^t             with one
 *
 * log_count is the logarithm of their number, and *count the number itself, or UINT64_MAX where it is larger: 1000
 * tokens of 50000 are exp(10820) responses. Either result may be NULL.
 */
swiftdpo_status swiftdpo_count_responses(size_t vocab_size, size_t horizon, int32_t has_end_token, uint64_t *count,
                                         double *log_count, swiftdpo_culprit *culprit);

/**
 * A reference and rewards that look at a state alone, which each token moves to another: tables [S, V]. With S = V and
 * next_states NULL the state is the last token (a bigram model).
 */
typedef struct swiftdpo_token_model {
  size_t struct_size;         /**< sizeof(swiftdpo_token_model) */
  size_t num_states;          /**< S, at least 1 */
  size_t vocab_size;          /**< V, at least 1 */
  size_t horizon;             /**< T, at least 1: a response ends after so many tokens, */
  int64_t end_token;          /**< or with this token; -1: there is none. */
  size_t initial_state;       /**< Before the first token. */
  const double *logps;        /**< [S, V]: log ref(token | state). Required; -inf is legal, but not for a whole row. */
  const double *rewards;      /**< [S, V]: the reward of taking the token in the state. Required. */
  const int64_t *next_states; /**< [S, V]: where the token leads. NULL, with S = V: to the state of its own number. */
} swiftdpo_token_model;

#define SWIFTDPO_TOKEN_MODEL_INIT {sizeof(swiftdpo_token_model), 0, 0, 0, -1, 0, NULL, NULL, NULL}
void swiftdpo_token_model_init(swiftdpo_token_model *model);

typedef struct swiftdpo_partition_options {
  size_t struct_size; /**< sizeof(swiftdpo_partition_options) */
  double beta;        /**< > 0. Default 0.1. */
  uint64_t max_terms; /**< More terms than this are refused before the first is computed. Default 10 million. */
} swiftdpo_partition_options;

#define SWIFTDPO_PARTITION_OPTIONS_INIT {sizeof(swiftdpo_partition_options), 0.1, 10000000}
void swiftdpo_partition_options_init(swiftdpo_partition_options *options);

/**
 * log Z where rewards decompose over tokens, by dynamic programming: T * S * V terms instead of V^T.
 *
 *   V_t(s) = beta * log sum over tokens v of ref(v | s) * exp((r(s, v) + V_t+1(next(s, v))) / beta),    V_T = 0
 *
 * so that beta * log Z = V_0(initial_state), and pi*(v | s) at step t is the summand's share: the optimal policy, token
 * by token. The limit on terms is options->max_terms.
 *
 * @param log_partition 1 number: log Z. May be NULL.
 * @param values        [T, S]: V_t(s). May be NULL.
 * @param policy_logps  [T, S, V]: log pi*. May be NULL.
 */
swiftdpo_status swiftdpo_token_partition(const swiftdpo_token_model *model, const swiftdpo_partition_options *options,
                                         double *log_partition, double *values, double *policy_logps,
                                         swiftdpo_culprit *culprit);

/** A reference and rewards of any kind, asked by calls. Each returns 0, or anything else to stop. */
typedef struct swiftdpo_response_model {
  size_t struct_size; /**< sizeof(swiftdpo_response_model) */
  size_t vocab_size;  /**< V, at least 1 */
  size_t horizon;     /**< T, at least 1 */
  int64_t end_token;  /**< -1: none. */
  void *context;      /**< Handed to the calls. */
  /** Writes log ref(token | prefix) of all V tokens. -inf prunes what would follow. Required. */
  int (*next_logps)(void *context, const int64_t *prefix, size_t length, double *logps);
  /** Writes the reward of a whole response, its end token included. Required. */
  int (*reward)(void *context, const int64_t *response, size_t length, double *reward);
} swiftdpo_response_model;

#define SWIFTDPO_RESPONSE_MODEL_INIT {sizeof(swiftdpo_response_model), 0, 0, -1, NULL, NULL, NULL}
void swiftdpo_response_model_init(swiftdpo_response_model *model);

/**
 * log Z by enumeration, for rewards that look at whole responses: one call of `reward` for each response. The number of
 * responses, as swiftdpo_count_responses gives it, is compared with options->max_terms before the first call. Takes
 * memory for 2 * T * V doubles. Results may be NULL.
 *
 * @param log_partition 1 number: log Z.
 * @param num_terms     How many responses have been asked for: fewer than counted if some had probability 0.
 */
swiftdpo_status swiftdpo_enumerate_partition(const swiftdpo_response_model *model,
                                             const swiftdpo_partition_options *options, double *log_partition,
                                             uint64_t *num_terms, swiftdpo_culprit *culprit);

/**
 * Samples of pi* out of N samples of the reference for each of B prompts, by their rewards. Each reads rewards and betas.
 * The seed, the prompt and the sample or draw alone decide (Philox4x32-10): the same on every machine.
 *
 * Rejection: sample i is accepted with probability exp((r_i - bound) / beta). With a bound that no reward of the
 * reference exceeds, what is accepted is distributed as pi*, and a share Z * exp(-bound / beta) is. A reward above the
 * bound is refused. bounds NULL: the best reward of each prompt's samples, which is a bound of those alone, so that
 * rare better responses are drawn too seldom (Liu et al. 2023).
 *
 * @param accepted         [B, N]: 1 or 0. May be NULL.
 * @param acceptance_rates [B]: the mean probability of acceptance, which estimates that share. May be NULL.
 */
swiftdpo_status swiftdpo_rejection_sample_f64(const swiftdpo_responses_f64 *responses,
                                              const swiftdpo_policy_options *options, const double *bounds,
                                              uint64_t seed, uint8_t *accepted, double *acceptance_rates,
                                              swiftdpo_culprit *culprit);

/** Importance resampling (Rubin 1988): indices [B, num_draws] of samples, drawn with replacement with probabilities
 * proportional to exp(r / beta). As good as there are effective samples: see swiftdpo_partition_estimate. */
swiftdpo_status swiftdpo_importance_resample_f64(const swiftdpo_responses_f64 *responses,
                                                 const swiftdpo_policy_options *options, size_t num_draws,
                                                 uint64_t seed, int64_t *indices, swiftdpo_culprit *culprit);

/** log n - (n - 1) / n: KL(best of n || ref) is never more, and just that where no two responses have one reward and
 * each is rare (Beirami et al. 2024). n = 0 is taken as 1. */
double swiftdpo_best_of_n_kl_bound(size_t n);

/**
 * The policy that draws n responses of the reference and keeps the best, over listed responses: exactly. Of equally
 * good ones the first drawn is kept.
 *
 *   P(y) = ref(y) / R(y) * (F(y)^n - (F(y) - R(y))^n)
 *
 * with R(y) the probability of a reward of r(y), and F(y) that of at most r(y). Reads ref_logps and rewards, both
 * required; the reference is normalised.
 *
 * @param logps            [B, N]: log P. May be NULL.
 * @param kl_divergences   [B]: KL(P || ref). May be NULL.
 * @param expected_rewards [B]: E_P[r]. May be NULL.
 */
swiftdpo_status swiftdpo_best_of_n_f64(const swiftdpo_responses_f64 *responses, size_t n, double *logps,
                                       double *kl_divergences, double *expected_rewards, swiftdpo_culprit *culprit);

/** rewards[B, N] = beta * (log pi - log ref) + beta * log Z, within 1 ulp: what a policy, which is required, is optimal
 * for. Reads policy_logps, ref_logps, betas, log_partitions. */
swiftdpo_status swiftdpo_implicit_rewards_f32(const swiftdpo_responses_f32 *responses,
                                              const swiftdpo_policy_options *options, float *rewards,
                                              swiftdpo_culprit *culprit);
swiftdpo_status swiftdpo_implicit_rewards_f64(const swiftdpo_responses_f64 *responses,
                                              const swiftdpo_policy_options *options, double *rewards,
                                              swiftdpo_culprit *culprit);

/** The way back: policy_logps[B, N] = log ref + r / beta - log Z, within 1 ulp. Rewards are required. Reads rewards,
 * ref_logps, betas, log_partitions; with the log Z of swiftdpo_optimal_policy it is the optimal policy. */
swiftdpo_status swiftdpo_policy_from_rewards_f32(const swiftdpo_responses_f32 *responses,
                                                 const swiftdpo_policy_options *options, float *policy_logps,
                                                 swiftdpo_culprit *culprit);
swiftdpo_status swiftdpo_policy_from_rewards_f64(const swiftdpo_responses_f64 *responses,
                                                 const swiftdpo_policy_options *options, double *policy_logps,
                                                 swiftdpo_culprit *culprit);

/**
 * P(y_w preferred to y_l) = sigma(r_w - r_l), and its logarithm, which stays finite where the probability underflows
 * (Bradley and Terry 1952). A constant in both rewards, such as beta * log Z(x), cancels. Within 4 ulp.
 *
 * @param count                             Pairs. Arrays have an element for each.
 * @param probabilities, log_probabilities  Results; each may be NULL.
 */
swiftdpo_status swiftdpo_preference_probability_f32(size_t count, const float *chosen_rewards,
                                                    const float *rejected_rewards, swiftdpo_nonfinite nonfinite,
                                                    float *probabilities, float *log_probabilities,
                                                    swiftdpo_culprit *culprit);
swiftdpo_status swiftdpo_preference_probability_f64(size_t count, const double *chosen_rewards,
                                                    const double *rejected_rewards, swiftdpo_nonfinite nonfinite,
                                                    double *probabilities, double *log_probabilities,
                                                    swiftdpo_culprit *culprit);

/* ------------------------------------------------------------------------------------------------------------------
 * Tokens: what weighs or bounds them before they are summed
 * ------------------------------------------------------------------------------------------------------------------ */

/**
 * WPO's weight of each response (Zhou et al. 2024, arXiv:2406.11827), how near it is to what the policy would write:
 *
 *   weight = exp(mean over tokens of (log pi(y_t) - log sum over v of pi(v)^2))
 *
 * The weight of a pair is the product of its two, and takes no part in the gradient. It may exceed 1. A response without
 * tokens has weight 1.
 *
 * @param token_logps     [num_sequences, length], 0 where a token does not count, as swiftdpo_sequence_logps_* gives them.
 * @param log_sum_squares The same for log sum p^2. NULL: 0, the variant without alignment of weights.
 * @param num_tokens      [num_sequences]: how many tokens count.
 * @param weights         [num_sequences]: the result.
 */
swiftdpo_status swiftdpo_wpo_weights(const double *token_logps, const double *log_sum_squares,
                                     const int64_t *num_tokens, size_t num_sequences, size_t length, double *weights,
                                     swiftdpo_culprit *culprit);

/**
 * Humanline clamping (Liu et al. 2025): log-ratios of tokens, held to [low, high] before they are summed.
 *
 *   log_ratio = sum over tokens of min(max(log pi(y_t) - log ref(y_t), low), high)
 *
 * @param policy_token_logps, ref_token_logps [num_sequences, length], 0 where a token does not count.
 * @param low, high       Bounds in nats, low <= 0 <= high, so that tokens that do not count stay 0.
 * @param log_ratios      [num_sequences]: the sums, which stand for log pi - log ref of a response. May be NULL.
 * @param passes          [num_sequences, length]: 1 where the gradient passes, 0 where a token is clamped. May be NULL.
 */
swiftdpo_status swiftdpo_humanline_clamp(const double *policy_token_logps, const double *ref_token_logps,
                                         size_t num_sequences, size_t length, double low, double high,
                                         double *log_ratios, double *passes, swiftdpo_culprit *culprit);

/* ------------------------------------------------------------------------------------------------------------------
 * The library itself
 * ------------------------------------------------------------------------------------------------------------------ */

/**
 * Threads that one call may use, its caller's among them. The default is SWIFTDPO_NUM_THREADS, or the processors that
 * this process may run on. Results are the same for every number. Calls from several threads at once share the workers;
 * a child of fork makes its own.
 * @param threads at least 1; 0 restores the default.
 */
swiftdpo_status swiftdpo_set_num_threads(int32_t threads);
int32_t swiftdpo_num_threads(void);

/** What this build is, and what it chose on this machine. */
typedef struct swiftdpo_build {
  size_t struct_size;          /**< sizeof(swiftdpo_build), set by the caller. */
  const char *version;         /**< "major.minor.patch" */
  const char *compiler;        /**< Name and version of the compiler. */
  const char *instruction_set; /**< Kernels in use: "baseline", "avx2", "avx512" or "neon". The best that the processor
                                    has, or a lesser one that the environment's SWIFTDPO_ISA names at load. A name that
                                    is none of them, or not on this machine, is passed over, and told:
                                    "avx2 (SWIFTDPO_ISA=avx1 unknown)". */
  int32_t num_threads;         /**< swiftdpo_num_threads() */
  int32_t reserved;            /**< 0 */
} swiftdpo_build;

#define SWIFTDPO_BUILD_INIT {sizeof(swiftdpo_build), NULL, NULL, NULL, 0, 0}

/** Fills *build. The strings are static. */
swiftdpo_status swiftdpo_build_info(swiftdpo_build *build);

#ifdef __cplusplus
}
#endif

#endif /* SWIFTDPO_H */
