//! Direct Preference Optimization of a bigram model, from Rust:
//!
//!     rustc -O bigrams.rs -L /usr/local/lib
//!
//! Declarations are those of swiftdpo.h, by hand; `bindgen` writes them for larger programs. `struct_size` is the size
//! that this program knows, so that structs may grow in later releases of the library.

use std::ffi::CStr;
use std::mem::{size_of, zeroed};
use std::os::raw::{c_char, c_int};
use std::ptr::null;

/// swiftdpo_logits_f32
#[repr(C)]
struct Logits {
    struct_size: usize,
    num_sequences: usize,
    sequence_length: usize,
    vocab_size: usize,
    logits: *const f32,
    row_stride: usize,
    labels: *const i64,
    labels_i32: *const i32,
    offsets: *const i64,
    mask: *const u8,
    token_weights: *const f64,
    ld_lengths: *const i64,
    vocab_start: usize,
}

/// swiftdpo_logps_results
#[repr(C)]
struct LogpsResults {
    struct_size: usize,
    logps: *mut f64,
    num_tokens: *mut i64,
    token_logps: *mut f64,
    log_normalizers: *mut f64,
    entropies: *mut f64,
    log_sum_squares: *mut f64,
    mean_logits: *mut f64,
    top_1: *mut u8,
    row_flags: *mut u8,
}

/// swiftdpo_pairs_f64
#[repr(C)]
struct Pairs {
    struct_size: usize,
    count: usize,
    policy_chosen_logps: *const f64,
    policy_rejected_logps: *const f64,
    ref_chosen_logps: *const f64,
    ref_rejected_logps: *const f64,
    betas: *const f64,
    margins: *const f64,
    weights: *const f64,
    soft_labels: *const f64,
    chosen_lengths: *const i64,
    rejected_lengths: *const i64,
    ties: *const u8,
    reward_gaps: *const f64,
    sft_logps: *const f64,
    sft_lengths: *const i64,
}

/// swiftdpo_pair_results_f64
#[repr(C)]
struct PairResults {
    struct_size: usize,
    loss: *mut f64,
    losses: *mut f64,
    grad_policy_chosen_logps: *mut f64,
    grad_policy_rejected_logps: *mut f64,
    chosen_rewards: *mut f64,
    rejected_rewards: *mut f64,
    gradient_weights: *mut f64,
    grad_ref_chosen_logps: *mut f64,
    grad_ref_rejected_logps: *mut f64,
    grad_sft_logps: *mut f64,
    grad_betas: *mut f64,
    grad_margins: *mut f64,
    curvatures: *mut f64,
    grad_tie_strength: *mut f64,
    metrics: *mut u8,
}

#[repr(C)]
struct Culprit {
    argument: *const c_char,
    index: usize,
}

/// Options that are left to their defaults: NULL.
type Defaults = *const u8;

#[link(name = "swiftdpo")]
extern "C" {
    fn swiftdpo_version() -> u32;
    fn swiftdpo_abi_version() -> u32;
    fn swiftdpo_status_string(status: c_int) -> *const c_char;
    fn swiftdpo_sequence_logps_f32(
        logits: *const Logits,
        options: Defaults,
        results: *const LogpsResults,
        culprit: *mut Culprit,
    ) -> c_int;
    fn swiftdpo_sequence_logps_backward_f32(
        logits: *const Logits,
        options: Defaults,
        grad_logps: *const f64,
        log_normalizers: *const f64,
        grad_logits: *mut f32,
        culprit: *mut Culprit,
    ) -> c_int;
    fn swiftdpo_dpo_loss_f64(
        pairs: *const Pairs,
        options: Defaults,
        results: *const PairResults,
        culprit: *mut Culprit,
    ) -> c_int;
}

/// Refusals say which field broke which rule, at which element.
fn check(call: impl FnOnce(*mut Culprit) -> c_int) -> Result<(), String> {
    let mut culprit = Culprit {
        argument: null(),
        index: 0,
    };
    let status = call(&mut culprit);
    if status == 0 {
        return Ok(());
    }
    // Both texts are static and end in a NUL. A culprit is written whenever a call fails.
    let (argument, rule) = unsafe {
        (
            CStr::from_ptr(culprit.argument),
            CStr::from_ptr(swiftdpo_status_string(status)),
        )
    };
    Err(format!(
        "{}[{}]: {}",
        argument.to_string_lossy(),
        culprit.index,
        rule.to_string_lossy()
    ))
}

/// Logits of whole sequences and their labels, all of one length.
struct Batch<'a> {
    length: usize,
    vocabulary: usize,
    logits: &'a [f32],
    labels: &'a [i64],
}

impl Batch<'_> {
    fn c(&self) -> Logits {
        assert_eq!(self.logits.len(), self.labels.len() * self.vocabulary);
        assert_eq!(self.labels.len() % self.length, 0);
        Logits {
            struct_size: size_of::<Logits>(),
            num_sequences: self.labels.len() / self.length,
            sequence_length: self.length,
            vocab_size: self.vocabulary,
            logits: self.logits.as_ptr(),
            labels: self.labels.as_ptr(),
            ..unsafe { zeroed() } // NULL pointers and zeroes, which mean: not given
        }
    }

    /// Log-probabilities of the sequences, and the normalizers that `backward` takes.
    fn logps(&self) -> Result<(Vec<f64>, Vec<f64>), String> {
        let mut logps = vec![0.0; self.labels.len() / self.length];
        let mut normalizers = vec![0.0; self.labels.len()];
        let results = LogpsResults {
            struct_size: size_of::<LogpsResults>(),
            logps: logps.as_mut_ptr(),
            log_normalizers: normalizers.as_mut_ptr(),
            ..unsafe { zeroed() }
        };
        check(|culprit| unsafe {
            swiftdpo_sequence_logps_f32(&self.c(), null(), &results, culprit)
        })?;
        Ok((logps, normalizers))
    }

    /// The gradient by the logits, given that by the log-probabilities.
    fn backward(&self, grad_logps: &[f64], normalizers: &[f64]) -> Result<Vec<f32>, String> {
        assert_eq!(grad_logps.len() * self.length, self.labels.len());
        assert_eq!(normalizers.len(), self.labels.len());
        let mut gradient = vec![0.0; self.logits.len()];
        let (by_logps, normalizers) = (grad_logps.as_ptr(), normalizers.as_ptr());
        let out = gradient.as_mut_ptr();
        check(|culprit| unsafe {
            swiftdpo_sequence_logps_backward_f32(
                &self.c(),
                null(),
                by_logps,
                normalizers,
                out,
                culprit,
            )
        })?;
        Ok(gradient)
    }
}

struct Loss {
    loss: f64,
    margin: f64,
    gradient: [f64; 2],
}

/// DPO's loss of one pair, chosen response first.
fn dpo_loss(policy: &[f64; 2], reference: &[f64; 2]) -> Result<Loss, String> {
    let (mut loss, mut rewards, mut gradient) = (0.0, [0.0; 2], [0.0; 2]);
    let [chosen_reward, rejected_reward] = &mut rewards;
    let [by_chosen, by_rejected] = &mut gradient;
    let pairs = Pairs {
        struct_size: size_of::<Pairs>(),
        count: 1,
        policy_chosen_logps: &policy[0],
        policy_rejected_logps: &policy[1],
        ref_chosen_logps: &reference[0],
        ref_rejected_logps: &reference[1],
        ..unsafe { zeroed() }
    };
    let results = PairResults {
        struct_size: size_of::<PairResults>(),
        loss: &mut loss,
        chosen_rewards: chosen_reward,
        rejected_rewards: rejected_reward,
        grad_policy_chosen_logps: by_chosen,
        grad_policy_rejected_logps: by_rejected,
        ..unsafe { zeroed() }
    };
    check(|culprit| unsafe { swiftdpo_dpo_loss_f64(&pairs, null(), &results, culprit) })?;
    Ok(Loss {
        loss,
        margin: rewards[0] - rewards[1],
        gradient,
    })
}

fn main() -> Result<(), String> {
    const HEADER: u32 = 100; // version 0.1.0 of the header, whose declarations these are, and its ABI version
    const HEADER_ABI: u32 = 0;
    assert!(unsafe { swiftdpo_abi_version() == HEADER_ABI && swiftdpo_version() >= HEADER });

    const VOCABULARY: usize = 4;
    let responses: [i64; 8] = [0, 1, 2, 3, 0, 3, 2, 1]; // token 0 is the prompt; people chose the first response
    let mut weights = [[0f32; VOCABULARY]; VOCABULARY]; // row i holds the logits of what follows token i
    let mut reference = None;
    let mut last = (0.0, 0.0);
    for _ in 0..100 {
        let logits: Vec<f32> = responses
            .iter()
            .flat_map(|&token| weights[token as usize])
            .collect();
        let batch = Batch {
            length: 4,
            vocabulary: VOCABULARY,
            logits: &logits,
            labels: &responses,
        };
        let (logps, normalizers) = batch.logps()?;
        let policy = [logps[0], logps[1]];
        let out = dpo_loss(&policy, reference.get_or_insert(policy))?;
        let gradient = batch.backward(&out.gradient, &normalizers)?;
        for (token, row) in responses.iter().zip(gradient.chunks(VOCABULARY)) {
            for (weight, slope) in weights[*token as usize].iter_mut().zip(row) {
                *weight -= slope;
            }
        }
        last = (out.loss, out.margin);
    }
    println!("loss {:.4}, reward margin {:.4}", last.0, last.1);
    Ok(())
}
