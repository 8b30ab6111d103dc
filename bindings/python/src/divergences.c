/* swiftdpo_divergence_* and swiftdpo_kl_estimates_*: how far one distribution is from another. */
#include "core.h"

enum { LOGP, LOGQ, NUM_INPUTS };
enum { GRAD_LOGP, GRAD_LOGQ, NUM_GRADIENTS };

#define DEFINE_CALLS(DTYPE) \
  static swiftdpo_status divergence_##DTYPE(const operand *in, const swiftdpo_divergence_options *options, \
                                            PyArrayObject *values, PyArrayObject *const *gradients, \
                                            swiftdpo_culprit *culprit) { \
    const swiftdpo_distributions_##DTYPE distributions = { \
        .struct_size = sizeof distributions, \
        .num_rows = (size_t)PyArray_SIZE(values), \
        .num_outcomes = (size_t)PyArray_DIM(in[LOGP].array, PyArray_NDIM(in[LOGP].array) - 1), \
        .logp = data_of(in[LOGP].array), \
        .logq = data_of(in[LOGQ].array), \
    }; \
    const swiftdpo_divergence_results_##DTYPE results = { \
        .struct_size = sizeof results, \
        .divergences = data_of(values), \
        .grad_logp = data_of(gradients[GRAD_LOGP]), \
        .grad_logq = data_of(gradients[GRAD_LOGQ]), \
    }; \
    return swiftdpo_divergence_##DTYPE(&distributions, options, &results, culprit); \
  } \
\
  static swiftdpo_status kl_estimates_##DTYPE(const operand *in, swiftdpo_nonfinite nonfinite, \
                                              PyArrayObject *const *out, swiftdpo_culprit *culprit) { \
    const size_t count = (size_t)PyArray_SIZE(in[0].array); \
    return swiftdpo_kl_estimates_##DTYPE(count, data_of(in[0].array), data_of(in[1].array), nonfinite, \
                                         data_of(out[0]), data_of(out[1]), data_of(out[2]), culprit); \
  } \
\
  static swiftdpo_status preference_probability_##DTYPE(const operand *in, swiftdpo_nonfinite nonfinite, \
                                                        PyArrayObject *const *out, swiftdpo_culprit *culprit) { \
    const size_t count = (size_t)PyArray_SIZE(in[0].array); \
    return swiftdpo_preference_probability_##DTYPE(count, data_of(in[0].array), data_of(in[1].array), nonfinite, \
                                                   data_of(out[0]), data_of(out[1]), culprit); \
  }

DEFINE_CALLS(f32)
DEFINE_CALLS(f64)

/** The arguments: logp, logq, kind, whether gradients are wanted, nonfinite. Outcomes lie along the last axis. */
PyObject *core_divergence(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs) {
  operand in[NUM_INPUTS] = {{"logp", "logp", NULL}, {"logq", "logq", NULL}};
  swiftdpo_divergence_options options = SWIFTDPO_DIVERGENCE_OPTIONS_INIT;
  PyArrayObject *values = NULL, *gradients[NUM_GRADIENTS] = {NULL};
  PyObject *results = NULL;
  int32_t wants_gradients;

  if (expect_arguments("divergence", nargs, NUM_INPUTS + 3) < 0 || take_divergence_kind(&options.kind, args[2]) < 0 ||
      take_flag(&wants_gradients, args[3], "gradients") < 0 || take_nonfinite(&options.nonfinite, args[4]) < 0 ||
      take_floats(in, args, NUM_INPUTS, NUM_INPUTS) < 0 || check_rows(&in[LOGP]) < 0)
    goto done;
  PyArrayObject *first = in[LOGP].array;
  const int ndim = PyArray_NDIM(first), type = PyArray_TYPE(first);
  if (check_shape(&in[LOGQ], ndim, PyArray_DIMS(first), "as logp") < 0)
    goto done;
  if (new_arrays(&values, 1, ndim - 1, PyArray_DIMS(first), NPY_DOUBLE) < 0 ||
      (wants_gradients && new_arrays(gradients, NUM_GRADIENTS, ndim, PyArray_DIMS(first), type) < 0))
    goto done;

  swiftdpo_culprit culprit = {NULL, 0};
  PyThreadState *released = release_gil_if(PyArray_SIZE(first) >= MANY_SCORES);
  swiftdpo_status status =
      (type == NPY_FLOAT ? divergence_f32 : divergence_f64)(in, &options, values, gradients, &culprit);
  regain_gil(released);
  if (status == SWIFTDPO_OK)
    results = Py_BuildValue("NOO", PyArray_Return((PyArrayObject *)Py_NewRef((PyObject *)values)),
                            object_or_none(gradients[GRAD_LOGP]), object_or_none(gradients[GRAD_LOGQ]));
  else
    raise_status(status, &culprit, in, NUM_INPUTS);
done:
  release_arrays(&values, 1);
  release_arrays(gradients, NUM_GRADIENTS);
  release_operands(in, NUM_INPUTS);
  return results;
}

typedef swiftdpo_status (*elementwise)(const operand *in, swiftdpo_nonfinite nonfinite, PyArrayObject *const *out,
                                       swiftdpo_culprit *culprit);

/** Two arrays of one shape, and nonfinite; a tuple of `count` arrays of that shape, up to 3. */
static PyObject *call_elementwise(const char *name, operand *in, size_t count, elementwise f32, elementwise f64,
                                  PyObject *const *args, Py_ssize_t nargs) {
  PyArrayObject *out[3] = {NULL};
  swiftdpo_nonfinite nonfinite;
  PyObject *results = NULL;

  if (expect_arguments(name, nargs, 3) < 0 || take_nonfinite(&nonfinite, args[2]) < 0 ||
      take_floats(in, args, 2, 2) < 0)
    goto done;
  PyArrayObject *first = in[0].array;
  const int type = PyArray_TYPE(first);
  if (check_shape(&in[1], PyArray_NDIM(first), PyArray_DIMS(first), "as the other array") < 0 ||
      new_arrays(out, count, PyArray_NDIM(first), PyArray_DIMS(first), type) < 0)
    goto done;

  swiftdpo_culprit culprit = {NULL, 0};
  PyThreadState *released = release_gil_if(PyArray_SIZE(first) >= MANY_SCORES);
  swiftdpo_status status = (type == NPY_FLOAT ? f32 : f64)(in, nonfinite, out, &culprit);
  regain_gil(released);
  if (status == SWIFTDPO_OK)
    results = tuple_of_values(out, count);
  else
    raise_status(status, &culprit, in, 2);
done:
  release_arrays(out, count);
  release_operands(in, 2);
  return results;
}

PyObject *core_kl_estimates(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs) {
  operand in[] = {{"policy_logps", "policy_logps", NULL}, {"ref_logps", "ref_logps", NULL}};
  return call_elementwise("kl_estimates", in, 3, kl_estimates_f32, kl_estimates_f64, args, nargs);
}

PyObject *core_preference_probability(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs) {
  operand in[] = {{"chosen_rewards", "chosen_rewards", NULL}, {"rejected_rewards", "rejected_rewards", NULL}};
  return call_elementwise("preference_probability", in, 2, preference_probability_f32, preference_probability_f64, args,
                          nargs);
}
