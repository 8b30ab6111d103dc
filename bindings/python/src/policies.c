/* swiftdpo_optimal_policy_*, swiftdpo_implicit_rewards_* and the way back: policies over responses that are listed. */
#include "core.h"

enum { FIRST, REF, BETA, POLICY, NUM_FLOATS };
enum { LOGPS, GRAD_REWARDS, NUM_ARRAYS };
enum { LOG_PARTITION, OBJECTIVE, EXPECTED_REWARD, KL, GRAD_BETA, POLICY_OBJECTIVE, POLICY_GAP, NUM_VALUES };

#define DEFINE_CALLS(DTYPE) \
  static swiftdpo_status optimal_policy_##DTYPE(const operand *in, const swiftdpo_policy_options *options, \
                                                PyArrayObject *const *arrays, PyArrayObject *const *values, \
                                                swiftdpo_culprit *culprit) { \
    const swiftdpo_responses_##DTYPE responses = { \
        .struct_size = sizeof responses, \
        .num_prompts = (size_t)PyArray_SIZE(values[0]), \
        .num_responses = (size_t)PyArray_DIM(in[FIRST].array, PyArray_NDIM(in[FIRST].array) - 1), \
        .ref_logps = data_of(in[REF].array), \
        .rewards = data_of(in[FIRST].array), \
        .policy_logps = data_of(in[POLICY].array), \
        .betas = data_of(in[BETA].array), \
    }; \
    const swiftdpo_policy_results_##DTYPE results = { \
        .struct_size = sizeof results, \
        .logps = data_of(arrays[LOGPS]), \
        .log_partitions = data_of(values[LOG_PARTITION]), \
        .objectives = data_of(values[OBJECTIVE]), \
        .expected_rewards = data_of(values[EXPECTED_REWARD]), \
        .kl_divergences = data_of(values[KL]), \
        .grad_rewards = data_of(arrays[GRAD_REWARDS]), \
        .grad_betas = data_of(values[GRAD_BETA]), \
        .policy_objectives = data_of(values[POLICY_OBJECTIVE]), \
        .policy_gaps = data_of(values[POLICY_GAP]), \
    }; \
    return swiftdpo_optimal_policy_##DTYPE(&responses, options, &results, culprit); \
  } \
\
  static swiftdpo_status convert_##DTYPE(const operand *in, const swiftdpo_policy_options *options, int backwards, \
                                         size_t rows, const double *log_partitions, PyArrayObject *out, \
                                         swiftdpo_culprit *culprit) { \
    const size_t size = (size_t)PyArray_SIZE(out); \
    const swiftdpo_responses_##DTYPE responses = { \
        .struct_size = sizeof responses, \
        .num_prompts = rows, \
        .num_responses = rows == 0 ? 1 : size / rows, \
        .ref_logps = data_of(in[REF].array), \
        .rewards = backwards ? data_of(in[FIRST].array) : NULL, \
        .policy_logps = backwards ? NULL : data_of(in[FIRST].array), \
        .betas = data_of(in[BETA].array), \
        .log_partitions = log_partitions, \
    }; \
    return backwards ? swiftdpo_policy_from_rewards_##DTYPE(&responses, options, data_of(out), culprit) \
                     : swiftdpo_implicit_rewards_##DTYPE(&responses, options, data_of(out), culprit); \
  }

DEFINE_CALLS(f32)
DEFINE_CALLS(f64)

/** The arguments: rewards, ref_logps, beta, policy_logps, nonfinite. Responses lie along the last axis. */
PyObject *core_optimal_policy(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs) {
  operand in[NUM_FLOATS] = {{"rewards", "rewards", NULL},
                            {"ref_logps", "ref_logps", NULL},
                            {"betas", "beta", NULL},
                            {"policy_logps", "policy_logps", NULL}};
  swiftdpo_policy_options options = SWIFTDPO_POLICY_OPTIONS_INIT;
  PyArrayObject *arrays[NUM_ARRAYS] = {NULL}, *values[NUM_VALUES] = {NULL};
  PyObject *results = NULL;

  if (expect_arguments("optimal_policy", nargs, NUM_FLOATS + 1) < 0)
    return NULL;
  PyObject *floats[NUM_FLOATS] = {args[0], args[1], args[2], args[3]};
  if (take_number(&options.beta, &floats[BETA], "beta") < 0 ||
      take_nonfinite(&options.nonfinite, args[NUM_FLOATS]) < 0 || take_floats(in, floats, NUM_FLOATS, 1) < 0 ||
      check_rows(&in[FIRST]) < 0)
    goto done;
  PyArrayObject *first = in[FIRST].array;
  const int ndim = PyArray_NDIM(first), type = PyArray_TYPE(first);
  const npy_intp *shape = PyArray_DIMS(first);
  if (check_shape(&in[REF], ndim, shape, "as rewards") < 0 || check_shape(&in[POLICY], ndim, shape, "as rewards") < 0 ||
      check_shape(&in[BETA], ndim - 1, shape, "an element for each prompt") < 0)
    goto done;
  const size_t num_values = in[POLICY].array == NULL ? POLICY_OBJECTIVE : NUM_VALUES;
  if (new_arrays(arrays, NUM_ARRAYS, ndim, shape, type) < 0 ||
      new_arrays(values, num_values, ndim - 1, shape, NPY_DOUBLE) < 0)
    goto done;

  swiftdpo_culprit culprit = {NULL, 0};
  PyThreadState *released = release_gil_if(PyArray_SIZE(first) >= MANY_SCORES);
  swiftdpo_status status =
      (type == NPY_FLOAT ? optimal_policy_f32 : optimal_policy_f64)(in, &options, arrays, values, &culprit);
  regain_gil(released);
  if (status == SWIFTDPO_OK) {
    PyObject *lists = tuple_of_values(arrays, NUM_ARRAYS), *numbers = tuple_of_values(values, NUM_VALUES);
    results = lists != NULL && numbers != NULL ? PySequence_Concat(lists, numbers) : NULL;
    Py_XDECREF(lists);
    Py_XDECREF(numbers);
  } else {
    raise_status(status, &culprit, in, NUM_FLOATS);
  }
done:
  release_arrays(arrays, NUM_ARRAYS);
  release_arrays(values, NUM_VALUES);
  release_operands(in, NUM_FLOATS);
  return results;
}

/** The arguments: what is converted, ref_logps, beta, log_partition, nonfinite. The first axis is that of prompts. */
static PyObject *convert(const char *name, operand *in, int backwards, PyObject *const *args, Py_ssize_t nargs) {
  swiftdpo_policy_options options = SWIFTDPO_POLICY_OPTIONS_INIT;
  operand log_partition = {"log_partitions", "log_partition", NULL};
  PyArrayObject *out = NULL;
  PyObject *result = NULL;

  if (expect_arguments(name, nargs, 5) < 0)
    return NULL;
  PyObject *floats[] = {args[0], args[1], args[2]};
  if (take_number(&options.beta, &floats[BETA], "beta") < 0 || take_nonfinite(&options.nonfinite, args[4]) < 0 ||
      take_floats(in, floats, POLICY, 1) < 0 || take_converted(&log_partition, args[3], NPY_DOUBLE) < 0)
    goto done;
  PyArrayObject *first = in[FIRST].array;
  const int ndim = PyArray_NDIM(first), type = PyArray_TYPE(first);
  const npy_intp *shape = PyArray_DIMS(first);
  if (ndim > 2) {
    PyErr_Format(PyExc_ValueError, "%s has %d dimensions; expected 2, (B, N), or fewer", in[FIRST].name, ndim);
    goto done;
  }
  if (check_shape(&in[REF], ndim, shape, "as the first array") < 0 ||
      check_shape(&in[BETA], ndim == 0 ? 0 : 1, shape, "an element for each prompt") < 0)
    goto done;

  /* Without numbers of their own all prompts are one row. */
  const int one_row = in[BETA].array == NULL && PyArray_NDIM(log_partition.array) == 0;
  const npy_intp rows = one_row || ndim == 0 ? 1 : shape[0];
  if (PyArray_NDIM(log_partition.array) != 0) {
    if (check_shape(&log_partition, ndim == 0 ? 0 : 1, shape, "an element for each prompt") < 0)
      goto done;
  } else if (rows != 1) {
    const double value = *(const double *)PyArray_DATA(log_partition.array);
    PyArrayObject *filled = NULL;
    if (new_arrays(&filled, 1, 1, &rows, NPY_DOUBLE) < 0)
      goto done;
    for (npy_intp i = 0; i < rows; i++)
      ((double *)PyArray_DATA(filled))[i] = value;
    release_operands(&log_partition, 1);
    log_partition.array = filled;
  }
  if (new_arrays(&out, 1, ndim, shape, type) < 0)
    goto done;

  swiftdpo_culprit culprit = {NULL, 0};
  swiftdpo_status status = SWIFTDPO_OK;
  if (PyArray_SIZE(out) > 0) {
    PyThreadState *released = release_gil_if(PyArray_SIZE(first) >= MANY_SCORES);
    status = (type == NPY_FLOAT ? convert_f32 : convert_f64)(in, &options, backwards, (size_t)rows,
                                                             data_of(log_partition.array), out, &culprit);
    regain_gil(released);
  }
  if (status == SWIFTDPO_OK) {
    result = PyArray_Return(out);
    out = NULL;
  } else {
    operand named[] = {in[FIRST], in[REF], in[BETA], log_partition};
    raise_status(status, &culprit, named, 4);
  }
done:
  release_arrays(&out, 1);
  release_operands(in, POLICY);
  release_operands(&log_partition, 1);
  return result;
}

PyObject *core_implicit_rewards(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs) {
  operand in[] = {{"policy_logps", "policy_logps", NULL}, {"ref_logps", "ref_logps", NULL}, {"betas", "beta", NULL}};
  return convert("implicit_rewards", in, 0, args, nargs);
}

PyObject *core_policy_from_rewards(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs) {
  operand in[] = {{"rewards", "rewards", NULL}, {"ref_logps", "ref_logps", NULL}, {"betas", "beta", NULL}};
  return convert("policy_from_rewards", in, 1, args, nargs);
}
