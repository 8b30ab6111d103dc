/* Samples of the optimal policy out of samples of the reference. Rewards are taken as doubles. */
#include "core.h"

enum { REWARDS, BETA, OTHER, NUM_INPUTS };

/** Rewards (..., N), and beta for all or for each prompt. */
static int take_samples(operand *in, swiftdpo_policy_options *options, PyObject *rewards, PyObject *beta) {
  if (take_converted(&in[REWARDS], rewards, NPY_DOUBLE) < 0 || check_rows(&in[REWARDS]) < 0 ||
      take_number(&options->beta, &beta, "beta") < 0)
    return -1;
  if (beta != Py_None && take_converted(&in[BETA], beta, NPY_DOUBLE) < 0)
    return -1;
  PyArrayObject *array = in[REWARDS].array;
  return check_shape(&in[BETA], PyArray_NDIM(array) - 1, PyArray_DIMS(array), "an element for each prompt");
}

static swiftdpo_responses_f64 responses_of(const operand *in) {
  PyArrayObject *rewards = in[REWARDS].array;
  const int last = PyArray_NDIM(rewards) - 1;
  swiftdpo_responses_f64 responses = SWIFTDPO_RESPONSES_F64_INIT;
  responses.num_prompts = (size_t)PyArray_MultiplyList(PyArray_DIMS(rewards), last);
  responses.num_responses = (size_t)PyArray_DIM(rewards, last);
  responses.rewards = data_of(rewards);
  responses.betas = data_of(in[BETA].array);
  return responses;
}

static int take_seed(uint64_t *seed, PyObject *object) {
  *seed = PyLong_AsUnsignedLongLong(object);
  if (*seed != (uint64_t)-1 || !PyErr_Occurred())
    return 0;
  blame("seed");
  return -1;
}

/** The arguments: rewards, beta, bound, seed. Returns (accepted as bytes, acceptance rates). */
PyObject *core_rejection_sample(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs) {
  operand in[NUM_INPUTS] = {{"rewards", "rewards", NULL}, {"betas", "beta", NULL}, {"bounds", "bound", NULL}};
  swiftdpo_policy_options options = SWIFTDPO_POLICY_OPTIONS_INIT;
  PyArrayObject *out[2] = {NULL};
  PyObject *results = NULL;
  uint64_t seed;

  if (expect_arguments("rejection_sample", nargs, 4) < 0 || take_samples(in, &options, args[0], args[1]) < 0 ||
      take_seed(&seed, args[3]) < 0 || (args[2] != Py_None && take_converted(&in[OTHER], args[2], NPY_DOUBLE) < 0))
    goto done;
  PyArrayObject *rewards = in[REWARDS].array;
  const int ndim = PyArray_NDIM(rewards);
  const npy_intp *shape = PyArray_DIMS(rewards);
  if (check_shape(&in[OTHER], ndim - 1, shape, "an element for each prompt") < 0 ||
      new_arrays(&out[0], 1, ndim, shape, NPY_UINT8) < 0 || new_arrays(&out[1], 1, ndim - 1, shape, NPY_DOUBLE) < 0)
    goto done;
  const swiftdpo_responses_f64 responses = responses_of(in);
  swiftdpo_culprit culprit = {NULL, 0};
  swiftdpo_status status = swiftdpo_rejection_sample_f64(&responses, &options, data_of(in[OTHER].array), seed,
                                                         data_of(out[0]), data_of(out[1]), &culprit);
  results = status == SWIFTDPO_OK ? tuple_of_values(out, 2) : raise_status(status, &culprit, in, NUM_INPUTS);
done:
  release_arrays(out, 2);
  release_operands(in, NUM_INPUTS);
  return results;
}

/** The arguments: rewards, beta, num_draws, seed. Returns indices. */
PyObject *core_importance_resample(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs) {
  operand in[NUM_INPUTS] = {{"rewards", "rewards", NULL}, {"betas", "beta", NULL}, {NULL, NULL, NULL}};
  swiftdpo_policy_options options = SWIFTDPO_POLICY_OPTIONS_INIT;
  PyArrayObject *indices = NULL;
  PyObject *result = NULL;
  uint64_t seed;
  size_t num_draws;

  if (expect_arguments("importance_resample", nargs, 4) < 0 || take_samples(in, &options, args[0], args[1]) < 0 ||
      take_positive(&num_draws, args[2], "num_draws") < 0 || take_seed(&seed, args[3]) < 0)
    goto done;
  PyArrayObject *rewards = in[REWARDS].array;
  npy_intp shape[NPY_MAXDIMS];
  const int prompt_axes = PyArray_NDIM(rewards) - 1;
  if (prompt_axes < 0) {
    PyErr_SetString(PyExc_ValueError, "rewards has no dimensions; expected at least 1, the samples");
    goto done;
  }
  for (int i = 0; i < prompt_axes; i++)
    shape[i] = PyArray_DIM(rewards, i);
  shape[prompt_axes] = (npy_intp)num_draws;
  if (new_arrays(&indices, 1, prompt_axes + 1, shape, NPY_INT64) < 0)
    goto done;
  const swiftdpo_responses_f64 responses = responses_of(in);
  swiftdpo_culprit culprit = {NULL, 0};
  swiftdpo_status status =
      swiftdpo_importance_resample_f64(&responses, &options, num_draws, seed, data_of(indices), &culprit);
  result = status == SWIFTDPO_OK ? Py_NewRef((PyObject *)indices) : raise_status(status, &culprit, in, NUM_INPUTS);
done:
  release_arrays(&indices, 1);
  release_operands(in, NUM_INPUTS);
  return result;
}

PyObject *core_best_of_n_kl_bound(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs) {
  size_t n;
  if (expect_arguments("best_of_n_kl_bound", nargs, 1) < 0 || take_positive(&n, args[0], "n") < 0)
    return NULL;
  return PyFloat_FromDouble(swiftdpo_best_of_n_kl_bound(n));
}

/** The arguments: ref_logps, rewards, n. Returns (logps, KL, expected reward). */
PyObject *core_best_of_n(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs) {
  operand in[NUM_INPUTS] = {{"rewards", "rewards", NULL}, {NULL, NULL, NULL}, {"ref_logps", "ref_logps", NULL}};
  PyArrayObject *out[3] = {NULL};
  PyObject *results = NULL;
  size_t n;

  if (expect_arguments("best_of_n", nargs, 3) < 0 || take_converted(&in[REWARDS], args[1], NPY_DOUBLE) < 0 ||
      check_rows(&in[REWARDS]) < 0 || take_converted(&in[OTHER], args[0], NPY_DOUBLE) < 0 ||
      take_positive(&n, args[2], "n") < 0)
    goto done;
  PyArrayObject *rewards = in[REWARDS].array;
  const int ndim = PyArray_NDIM(rewards);
  const npy_intp *shape = PyArray_DIMS(rewards);
  if (check_shape(&in[OTHER], ndim, shape, "as rewards") < 0 || new_arrays(out, 1, ndim, shape, NPY_DOUBLE) < 0 ||
      new_arrays(out + 1, 2, ndim - 1, shape, NPY_DOUBLE) < 0)
    goto done;
  swiftdpo_responses_f64 responses = responses_of(in);
  responses.ref_logps = data_of(in[OTHER].array);
  swiftdpo_culprit culprit = {NULL, 0};
  swiftdpo_status status =
      swiftdpo_best_of_n_f64(&responses, n, data_of(out[0]), data_of(out[1]), data_of(out[2]), &culprit);
  results = status == SWIFTDPO_OK ? tuple_of_values(out, 3) : raise_status(status, &culprit, in, NUM_INPUTS);
done:
  release_arrays(out, 3);
  release_operands(in, NUM_INPUTS);
  return results;
}
