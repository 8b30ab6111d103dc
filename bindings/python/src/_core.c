/* The extension module swiftdpo._core: the library's calls, for the package's own modules. */
#define SWIFTDPO_IMPORTS_NUMPY
#include "core.h"

#define STRING_(x) #x
#define STRING(x) STRING_(x)
#define VERSION STRING(SWIFTDPO_VERSION_MAJOR) "." STRING(SWIFTDPO_VERSION_MINOR) "." STRING(SWIFTDPO_VERSION_PATCH)

static PyObject *core_build_info(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(none)) {
  swiftdpo_build build = SWIFTDPO_BUILD_INIT;
  swiftdpo_status status = swiftdpo_build_info(&build);
  if (status != SWIFTDPO_OK)
    return raise_status(status, &(swiftdpo_culprit){NULL, 0}, NULL, 0);
  return Py_BuildValue("sssi", build.version, build.compiler, build.instruction_set, (int)build.num_threads);
}

static PyObject *core_num_threads(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(none)) {
  return PyLong_FromLong(swiftdpo_num_threads());
}

static PyObject *core_set_num_threads(PyObject *Py_UNUSED(module), PyObject *object) {
  int64_t threads;
  if (take_int64(&threads, object, "threads") < 0)
    return NULL;
  /* Numbers that 32 bits don't hold are refused as -1 is. */
  swiftdpo_status status = swiftdpo_set_num_threads(threads == (int32_t)threads ? (int32_t)threads : -1);
  if (status != SWIFTDPO_OK)
    return raise_status(status, &(swiftdpo_culprit){"threads", 0}, NULL, 0);
  return Py_NewRef(Py_None);
}

#define FAST(name, signature) \
  {#name, (PyCFunction)(void (*)(void))core_##name, METH_FASTCALL, #name signature "\n--\n\n"}

static PyMethodDef methods[] = {
    FAST(dpo_loss, "($module, policy_chosen_logps, policy_rejected_logps, ref_chosen_logps, ref_rejected_logps, beta, "
                   "margin, weights, soft_labels, label_smoothing, reduction, nonfinite, mixture, result_type, /)"),
    FAST(tdpo_loss, "($module, tdpo, /, *dpo_loss)"),
    FAST(tensors_dpo_loss,
         "($module, policy_chosen_logps, policy_rejected_logps, ref_chosen_logps, ref_rejected_logps, "
         "beta, label_smoothing, reduction, nonfinite, apply, result_type, /)"),
    FAST(tensors_scaled, "($module, by_chosen, by_rejected, grad_loss, /)"),
    FAST(unpaired_loss, "($module, policy_logps, ref_logps, beta, weights, desirable, loss_type, reduction, nonfinite, "
                        "desirable_weight, undesirable_weight, baseline, /)"),
    FAST(kto_baseline_add, "($module, policy_kl_logps, ref_kl_logps, /)"),
    FAST(kto_baseline_value, "($module, state, estimator, /)"),
    FAST(bco_delta_add, "($module, policy_logps, ref_logps, beta, /)"),
    FAST(udm_weights, "($module, probabilities, /)"),
    FAST(wpo_weights, "($module, token_logps, log_sum_squares, num_tokens, /)"),
    FAST(humanline_clamp, "($module, policy_token_logps, ref_token_logps, low, high, /)"),
    FAST(plackett_luce_loss, "($module, policy_logps, ref_logps, beta, weights, position_weights, direction, rankings, "
                             "ranks, offsets, tie_strengths, reduction, nonfinite, unlisted, first_choice, top, "
                             "ties, shared, /)"),
    FAST(listwise_loss, "($module, policy_logps, ref_logps, targets, beta, weights, offsets, loss_type, reduction, "
                        "nonfinite, /)"),
    FAST(sample_rankings, "($module, rewards, num_samples, seed, /)"),
    FAST(ranking_marginals, "($module, rewards, /)"),
    FAST(sequence_logps, "($module, logits, labels, options, by_products, /)"),
    FAST(sequence_logps_backward,
         "($module, logits, labels, options, grad_logps, log_normalizers, out, vocab_start, /)"),
    FAST(fused_linear_workspace, "($module, head, /)"),
    FAST(fused_linear_logps, "($module, head, by_products, /)"),
    FAST(fused_linear_logps_backward, "($module, head, grad_logps, log_normalizers, /)"),
    FAST(fused_linear_vocab_shard, "($module, head, /)"),
    FAST(fused_linear_dpo_loss, "($module, head, /, *dpo_loss)"),
    FAST(fused_linear_unpaired_loss, "($module, head, /, *unpaired_loss)"),
    FAST(fused_linear_plackett_luce_loss, "($module, head, /, *plackett_luce_loss)"),
    {"use_blas", core_use_blas, METH_O, "use_blas($module, path, /)\n--\n\n"},
    {"blas_info", core_blas_info, METH_NOARGS, "blas_info($module, /)\n--\n\n"},
    FAST(vocab_shard, "($module, logits, labels, options, vocab_start, /)"),
    FAST(vocab_shard_merge, "($module, maxima, sums, label_logits, other_maxima, other_sums, other_label_logits, /)"),
    FAST(vocab_shard_logps, "($module, maxima, sums, label_logits, labels, options, /)"),
    {"num_threads", core_num_threads, METH_NOARGS, "num_threads($module, /)\n--\n\n"},
    {"set_num_threads", core_set_num_threads, METH_O, "set_num_threads($module, threads, /)\n--\n\n"},
    FAST(divergence, "($module, logp, logq, kind, gradients, nonfinite, /)"),
    FAST(kl_estimates, "($module, policy_logps, ref_logps, nonfinite, /)"),
    FAST(preference_probability, "($module, chosen_rewards, rejected_rewards, nonfinite, /)"),
    FAST(optimal_policy, "($module, rewards, ref_logps, beta, policy_logps, nonfinite, /)"),
    FAST(implicit_rewards, "($module, policy_logps, ref_logps, beta, log_partition, nonfinite, /)"),
    FAST(count_responses, "($module, vocab_size, horizon, has_end_token, /)"),
    FAST(token_partition,
         "($module, logps, rewards, next_states, beta, horizon, end_token, initial_state, max_terms, /)"),
    FAST(enumerate_partition, "($module, next_logps, reward, beta, vocab_size, horizon, end_token, max_terms, /)"),
    FAST(rejection_sample, "($module, rewards, beta, bound, seed, /)"),
    FAST(importance_resample, "($module, rewards, beta, num_draws, seed, /)"),
    FAST(best_of_n_kl_bound, "($module, n, /)"),
    FAST(best_of_n, "($module, ref_logps, rewards, n, /)"),
    FAST(partition_add, "($module, accumulators, rewards, beta, /)"),
    FAST(partition_merge, "($module, accumulators, other, /)"),
    FAST(partition_estimate, "($module, accumulators, /)"),
    FAST(policy_from_rewards, "($module, rewards, ref_logps, beta, log_partition, nonfinite, /)"),
    {"build_info", core_build_info, METH_NOARGS, "build_info($module, /)\n--\n\n"},
    {NULL, NULL, 0, NULL},
};

/** The library that the loader found must be the one that this file was compiled against. */
static int check_library(void) {
  if (swiftdpo_abi_version() == SWIFTDPO_ABI_VERSION && swiftdpo_version() == SWIFTDPO_VERSION)
    return 0;
  PyErr_Format(PyExc_ImportError,
               "swiftdpo was compiled against version %d (ABI %d) of its library, but the loader found version %u "
               "(ABI %u): reinstall the package, or look for another libswiftdpo.so." STRING(SWIFTDPO_ABI_VERSION),
               SWIFTDPO_VERSION, SWIFTDPO_ABI_VERSION, (unsigned)swiftdpo_version(), (unsigned)swiftdpo_abi_version());
  return -1;
}

static int execute(PyObject *module) {
  if (check_library() < 0 || PyArray_ImportNumPyAPI() < 0 || name_dlpack() < 0 || name_exchange() < 0 ||
      name_choices() < 0 || make_handler() < 0 || add_shortened(module) < 0)
    return -1;
  return PyModule_AddStringConstant(module, "__version__", VERSION);
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, execute},
/* NumPy keeps its C interface in one place for the whole process, and takes no part in subinterpreters. */
#ifdef Py_mod_multiple_interpreters
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#endif
    {0, NULL},
};

static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "swiftdpo._core",
    .m_doc = "The calls of libswiftdpo. Private: use the package's functions.",
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__core(void) { return PyModuleDef_Init(&definition); }
