/* swiftdpo_listwise_loss_*: lists of candidates with targets. */
#include "core.h"

enum { POLICY, REF, TARGETS, BETA, WEIGHTS, OFFSETS, NUM_INPUTS };
enum { NUM_FLOATS = OFFSETS };
enum { LOSSES, REWARDS, GRAD_POLICY, NUM_OUTPUTS };

#define DEFINE_CALL(DTYPE) \
  static swiftdpo_status call_##DTYPE(const operand *in, const groups *sizes, \
                                      const swiftdpo_listwise_options *options, double *loss, \
                                      PyArrayObject *const *out, swiftdpo_culprit *culprit) { \
    const swiftdpo_lists_##DTYPE lists = { \
        .struct_size = sizeof lists, \
        .num_groups = sizes->num_groups, \
        .group_size = sizes->group_size, \
        .policy_logps = data_of(in[POLICY].array), \
        .ref_logps = data_of(in[REF].array), \
        .targets = data_of(in[TARGETS].array), \
        .betas = data_of(in[BETA].array), \
        .weights = data_of(in[WEIGHTS].array), \
        .offsets = data_of(in[OFFSETS].array), \
    }; \
    const swiftdpo_list_results_##DTYPE results = { \
        .struct_size = sizeof results, \
        .loss = loss, \
        .losses = data_of(out[LOSSES]), \
        .grad_policy_logps = data_of(out[GRAD_POLICY]), \
        .rewards = data_of(out[REWARDS]), \
    }; \
    return swiftdpo_listwise_loss_##DTYPE(&lists, options, &results, culprit); \
  }

DEFINE_CALL(f32)
DEFINE_CALL(f64)

/** The arguments: the inputs in their order, but that the targets are no option, then loss_type, reduction, nonfinite. */
static int take(operand *in, swiftdpo_listwise_options *options, groups *sizes, PyObject *const *args) {
  PyObject *const *choices = args + NUM_INPUTS;
  if (args[TARGETS] == Py_None) {
    PyErr_SetString(PyExc_TypeError, "targets is required, and may not be None");
    return -1;
  }
  if (take_listwise_loss_type(&options->loss_type, choices[0]) < 0 ||
      take_reduction(&options->reduction, choices[1]) < 0 || take_nonfinite(&options->nonfinite, choices[2]) < 0)
    return -1;
  if (take_widened(in, args, NUM_FLOATS, 1, BETA, &options->beta) < 0)
    return -1;
  if (args[OFFSETS] != Py_None && take_converted(&in[OFFSETS], args[OFFSETS], NPY_INT64) < 0)
    return -1;
  if (take_groups(sizes, &in[POLICY], &in[OFFSETS]) < 0)
    return -1;
  PyArrayObject *policy = in[POLICY].array;
  for (int i = REF; i < OFFSETS; i++) {
    const int of_items = i == REF || i == TARGETS;
    if (of_items && check_shape(&in[i], PyArray_NDIM(policy), PyArray_DIMS(policy), "as policy_logps") < 0)
      return -1;
    if (!of_items && check_shape(&in[i], sizes->ndim, sizes->shape, "an element for each group") < 0)
      return -1;
  }
  return 0;
}

PyObject *core_listwise_loss(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs) {
  operand in[NUM_INPUTS] = {
      {"policy_logps", "policy_logps", NULL}, {"ref_logps", "ref_logps", NULL},
      {"targets", "targets", NULL},           {"betas", "beta", NULL},
      {"weights", "weights", NULL},           {"offsets", "offsets", NULL},
  };
  swiftdpo_listwise_options options = SWIFTDPO_LISTWISE_OPTIONS_INIT;
  PyArrayObject *out[NUM_OUTPUTS] = {NULL};
  PyObject *results = NULL;
  groups sizes;

  if (expect_arguments("listwise_loss", nargs, NUM_INPUTS + 3) < 0 || take(in, &options, &sizes, args) < 0)
    goto done;
  PyArrayObject *policy = in[POLICY].array;
  int ndim = PyArray_NDIM(policy), type = PyArray_TYPE(policy);
  if (new_arrays(&out[LOSSES], 1, sizes.ndim, sizes.shape, type) < 0 ||
      new_arrays(&out[REWARDS], 2, ndim, PyArray_DIMS(policy), type) < 0)
    goto done;

  double loss = 0;
  swiftdpo_culprit culprit = {NULL, 0};
  PyThreadState *released = release_gil_if(PyArray_SIZE(policy) >= MANY_SCORES);
  swiftdpo_status status = (type == NPY_FLOAT ? call_f32 : call_f64)(in, &sizes, &options, &loss, out, &culprit);
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
