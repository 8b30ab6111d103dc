/* swiftdpo_plackett_luce_loss_*: ranked lists of responses. */
#include "core.h"

enum { POLICY, REF, BETA, WEIGHTS, RANKINGS, NUM_INPUTS }; /* all but the rankings are floating-point */
enum { LOSSES, REWARDS, GRAD_POLICY, GRADIENT_WEIGHTS, NUM_OUTPUTS };

#define DEFINE_CALL(DTYPE) \
  static swiftdpo_status call_##DTYPE(const operand *in, const swiftdpo_plackett_luce_options *options, double *loss, \
                                      PyArrayObject *const *out, swiftdpo_culprit *culprit) { \
    const int last = PyArray_NDIM(in[POLICY].array) - 1; \
    const swiftdpo_rankings_##DTYPE rankings = { \
        .struct_size = sizeof rankings, \
        .num_groups = (size_t)PyArray_SIZE(out[LOSSES]), \
        .group_size = (size_t)PyArray_DIM(in[POLICY].array, last), \
        .policy_logps = data_of(in[POLICY].array), \
        .ref_logps = data_of(in[REF].array), \
        .rankings = data_of(in[RANKINGS].array), \
        .betas = data_of(in[BETA].array), \
        .weights = data_of(in[WEIGHTS].array), \
    }; \
    const swiftdpo_ranking_results_##DTYPE results = { \
        .struct_size = sizeof results, \
        .loss = loss, \
        .losses = data_of(out[LOSSES]), \
        .grad_policy_logps = data_of(out[GRAD_POLICY]), \
        .rewards = data_of(out[REWARDS]), \
        .gradient_weights = data_of(out[GRADIENT_WEIGHTS]), \
    }; \
    return swiftdpo_plackett_luce_loss_##DTYPE(&rankings, options, &results, culprit); \
  }

DEFINE_CALL(f32)
DEFINE_CALL(f64)

/** Items are (B, K), or (K,) for a single group; groups are (B,), or (). */
static int check_shapes(const operand *in) {
  PyArrayObject *policy = in[POLICY].array;
  int ndim = PyArray_NDIM(policy);
  const npy_intp *shape = PyArray_DIMS(policy);
  if (ndim != 1 && ndim != 2) {
    PyErr_Format(PyExc_ValueError, "policy_logps has %d dimensions; expected 2, (B, K), or 1 for a single group", ndim);
    return -1;
  }
  if (check_shape(&in[REF], ndim, shape, "as policy_logps") < 0)
    return -1;
  if (check_shape(&in[RANKINGS], ndim, shape, "as policy_logps") < 0)
    return -1;
  if (check_shape(&in[BETA], ndim - 1, shape, "an element for each group") < 0)
    return -1;
  return check_shape(&in[WEIGHTS], ndim - 1, shape, "an element for each group");
}

/** The arguments: the inputs in their order, then reduction, nonfinite. */
static int take(operand *in, swiftdpo_plackett_luce_options *options, PyObject *const *args) {
  PyObject *const *choices = args + NUM_INPUTS;
  PyObject *arrays[RANKINGS];
  for (int i = 0; i < RANKINGS; i++)
    arrays[i] = args[i];
  if (take_beta(&options->beta, &arrays[BETA]) < 0)
    return -1;
  if (take_reduction(&options->reduction, choices[0]) < 0 || take_nonfinite(&options->nonfinite, choices[1]) < 0)
    return -1;
  if (take_floats(in, arrays, RANKINGS, 1) < 0)
    return -1;
  if (args[RANKINGS] != Py_None && take_converted(&in[RANKINGS], args[RANKINGS], NPY_INT64) < 0)
    return -1;
  return check_shapes(in);
}

PyObject *core_plackett_luce_loss(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs) {
  operand in[NUM_INPUTS] = {
      {"policy_logps", "policy_logps", NULL}, {"ref_logps", "ref_logps", NULL}, {"betas", "beta", NULL},
      {"weights", "weights", NULL},           {"rankings", "rankings", NULL},
  };
  swiftdpo_plackett_luce_options options = SWIFTDPO_PLACKETT_LUCE_OPTIONS_INIT;
  PyArrayObject *out[NUM_OUTPUTS] = {NULL};
  PyObject *results = NULL;

  if (expect_arguments("plackett_luce_loss", nargs, NUM_INPUTS + 2) < 0 || take(in, &options, args) < 0)
    goto done;
  PyArrayObject *policy = in[POLICY].array;
  int ndim = PyArray_NDIM(policy), type = PyArray_TYPE(policy);
  if (new_arrays(&out[LOSSES], 1, ndim - 1, PyArray_DIMS(policy), type) < 0)
    goto done;
  if (new_arrays(&out[REWARDS], NUM_OUTPUTS - REWARDS, ndim, PyArray_DIMS(policy), type) < 0)
    goto done;

  double loss = 0;
  swiftdpo_culprit culprit = {NULL, 0};
  PyThreadState *released = release_gil_if(PyArray_SIZE(policy) >= MANY_SCORES);
  swiftdpo_status status = (type == NPY_FLOAT ? call_f32 : call_f64)(in, &options, &loss, out, &culprit);
  regain_gil(released);

  if (status == SWIFTDPO_OK)
    results = head_results(loss, options.reduction, out, NUM_OUTPUTS);
  else
    raise_status(status, &culprit, in, NUM_INPUTS);
done:
  if (results == NULL)
    release_arrays(out, NUM_OUTPUTS);
  release_operands(in, NUM_INPUTS);
  return results;
}
