/* swiftdpo_unpaired_loss_*, swiftdpo_kto_baseline_*, swiftdpo_bco_delta_*: single responses, desirable or not. */
#include "core.h"

enum { POLICY, REF, BETA, WEIGHTS, NUM_FLOATS, DESIRABLE = NUM_FLOATS, NUM_INPUTS };
enum { LOSSES, GRAD_POLICY, REWARDS, GRAD_BETA, CURVATURES, NUM_OUTPUTS };

typedef struct {
  double loss, grad_baseline;
  swiftdpo_unpaired_metrics metrics;
} numbers;

#define DEFINE_CALLS(DTYPE) \
  static swiftdpo_status call_##DTYPE(const fused_call *fused, const operand *in, \
                                      const swiftdpo_unpaired_options *options, numbers *sums, \
                                      PyArrayObject *const *out, swiftdpo_culprit *culprit) { \
    const swiftdpo_unpaired_##DTYPE unpaired = { \
        .struct_size = sizeof unpaired, \
        .count = (size_t)PyArray_SIZE(in[POLICY].array), \
        .policy_logps = fused ? NULL : data_of(in[POLICY].array), \
        .ref_logps = data_of(in[REF].array), \
        .desirable = data_of(in[DESIRABLE].array), \
        .betas = data_of(in[BETA].array), \
        .weights = data_of(in[WEIGHTS].array), \
    }; \
    const swiftdpo_unpaired_results_##DTYPE results = { \
        .struct_size = sizeof results, \
        .loss = &sums->loss, \
        .losses = data_of(out[LOSSES]), \
        .grad_policy_logps = data_of(out[GRAD_POLICY]), \
        .rewards = data_of(out[REWARDS]), \
        .grad_betas = data_of(out[GRAD_BETA]), \
        .curvatures = data_of(out[CURVATURES]), \
        .grad_baseline = &sums->grad_baseline, \
        .metrics = &sums->metrics, \
    }; \
    if (fused) \
      return fused_unpaired(fused, &unpaired, options, &results, culprit); \
    return swiftdpo_unpaired_loss_##DTYPE(&unpaired, options, &results, culprit); \
  }

DEFINE_CALLS(f32)
DEFINE_CALLS(f64)

static int check_shapes(const operand *in) {
  PyArrayObject *first = in[POLICY].array;
  if (PyArray_NDIM(first) > 1) {
    PyErr_Format(PyExc_ValueError, "policy_logps has %d dimensions; expected 1, an element for each response",
                 PyArray_NDIM(first));
    return -1;
  }
  for (int i = REF; i < NUM_INPUTS; i++) {
    if (check_shape(&in[i], PyArray_NDIM(first), PyArray_DIMS(first), "as policy_logps") < 0)
      return -1;
  }
  return 0;
}

/** The inputs in their order, then loss_type, reduction, nonfinite, desirable_weight, undesirable_weight, baseline. */
static int take(operand *in, swiftdpo_unpaired_options *options, PyObject *const *args) {
  PyObject *floats[NUM_FLOATS] = {args[POLICY], args[REF], args[BETA], args[WEIGHTS]};
  PyObject *const *others = args + NUM_INPUTS;
  if (take_number(&options->beta, &floats[BETA], "beta") < 0)
    return -1;
  options->loss_type = (swiftdpo_unpaired_loss_type)PyLong_AsLong(others[0]);
  if (PyErr_Occurred())
    return -1;
  if (take_reduction(&options->reduction, others[1]) < 0 || take_nonfinite(&options->nonfinite, others[2]) < 0)
    return -1;
  if (take_double(&options->desirable_weight, others[3], "desirable_weight") < 0 ||
      take_double(&options->undesirable_weight, others[4], "undesirable_weight") < 0 ||
      take_double(&options->baseline, others[5], "baseline") < 0)
    return -1;
  if (take_floats(in, floats, NUM_FLOATS, 1) < 0 || take_converted(&in[DESIRABLE], args[DESIRABLE], NPY_UINT8) < 0)
    return -1;
  return check_shapes(in);
}

static PyObject *unpaired_loss(PyObject *const *args, Py_ssize_t nargs, const fused_call *fused) {
  operand in[NUM_INPUTS] = {
      {"policy_logps", "policy_logps", NULL}, {"ref_logps", "ref_logps", NULL}, {"betas", "beta", NULL},
      {"weights", "weights", NULL},           {"desirable", "desirable", NULL},
  };
  swiftdpo_unpaired_options options = SWIFTDPO_UNPAIRED_OPTIONS_INIT;
  PyArrayObject *out[NUM_OUTPUTS] = {NULL};
  PyObject *results = NULL;

  if (expect_arguments("unpaired_loss", nargs, NUM_INPUTS + 6) < 0 || take(in, &options, args) < 0)
    goto done;
  PyArrayObject *first = in[POLICY].array;
  int type = PyArray_TYPE(first);
  if (new_arrays(out, NUM_OUTPUTS, PyArray_NDIM(first), PyArray_DIMS(first), type) < 0)
    goto done;

  numbers sums = {0, 0, SWIFTDPO_UNPAIRED_METRICS_INIT};
  swiftdpo_culprit culprit = {NULL, 0};
  PyThreadState *released = release_gil_if(fused != NULL || PyArray_SIZE(first) >= MANY_SCORES);
  swiftdpo_status status = (type == NPY_FLOAT ? call_f32 : call_f64)(fused, in, &options, &sums, out, &culprit);
  regain_gil(released);

  if (status != SWIFTDPO_OK) {
    raise_status(status, &culprit, in, NUM_INPUTS);
    goto done;
  }
  PyObject *heads = head_results(sums.loss, options.reduction, out, NUM_OUTPUTS);
  for (int i = 0; i < NUM_OUTPUTS; i++)
    out[i] = NULL; /* the tuple's now */
  const swiftdpo_unpaired_metrics *m = &sums.metrics;
  results = heads == NULL ? NULL
                          : Py_BuildValue("(Nd(nnddddd))", heads, sums.grad_baseline, (Py_ssize_t)m->num_desirable,
                                          (Py_ssize_t)m->num_undesirable, m->losses, m->desirable_rewards,
                                          m->undesirable_rewards, m->desirable_logps, m->undesirable_logps);
done:
  release_arrays(out, NUM_OUTPUTS);
  release_operands(in, NUM_INPUTS);
  return results;
}

PyObject *core_unpaired_loss(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs) {
  return unpaired_loss(args, nargs, NULL);
}

/** The arguments: a head, then those of unpaired_loss, whose policy's log-probabilities only lend their shape. */
PyObject *core_fused_linear_unpaired_loss(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs) {
  fused_call *fused = nargs < 1 ? NULL : new_fused_call(args[0]);
  return fused == NULL ? NULL : finish_fused_call(fused, unpaired_loss(args + 1, nargs - 1, fused));
}

/** Two arrays of log-probabilities of one shape; the second may be None. */
static int take_logps(operand *in, PyObject *const *args) {
  if (take_floats(in, args, 2, 1) < 0)
    return -1;
  return check_shape(&in[1], PyArray_NDIM(in[0].array), PyArray_DIMS(in[0].array), "as policy_logps");
}

PyObject *core_kto_baseline_add(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs) {
  operand in[2] = {{"policy_logps", "policy_kl_logps", NULL}, {"ref_logps", "ref_kl_logps", NULL}};
  swiftdpo_kto_baseline state = SWIFTDPO_KTO_BASELINE_INIT;
  PyObject *result = NULL;
  if (expect_arguments("kto_baseline_add", nargs, 2) < 0 || take_logps(in, args) < 0)
    goto done;
  swiftdpo_culprit culprit = {NULL, 0};
  size_t count = (size_t)PyArray_SIZE(in[0].array);
  const void *policy = data_of(in[0].array), *reference = data_of(in[1].array);
  swiftdpo_status status = PyArray_TYPE(in[0].array) == NPY_FLOAT
                               ? swiftdpo_kto_baseline_add_f32(&state, policy, reference, count, &culprit)
                               : swiftdpo_kto_baseline_add_f64(&state, policy, reference, count, &culprit);
  result = status == SWIFTDPO_OK
               ? Py_BuildValue("(nnnddd)", (Py_ssize_t)state.count, (Py_ssize_t)state.num_nonzero,
                               (Py_ssize_t)state.num_batches, state.sum, state.sum_means, state.sum_clamped_means)
               : raise_status(status, &culprit, in, 2);
done:
  release_operands(in, 2);
  return result;
}

PyObject *core_kto_baseline_value(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs) {
  swiftdpo_kto_baseline state = SWIFTDPO_KTO_BASELINE_INIT;
  Py_ssize_t count, num_nonzero, num_batches;
  if (expect_arguments("kto_baseline_value", nargs, 2) < 0 ||
      !PyArg_ParseTuple(args[0], "nnnddd", &count, &num_nonzero, &num_batches, &state.sum, &state.sum_means,
                        &state.sum_clamped_means))
    return NULL;
  state.count = (size_t)count;
  state.num_nonzero = (size_t)num_nonzero;
  state.num_batches = (size_t)num_batches;
  long estimator = PyLong_AsLong(args[1]);
  if (PyErr_Occurred())
    return NULL;
  double value;
  swiftdpo_status status = swiftdpo_kto_baseline_value(&state, (swiftdpo_kto_estimator)estimator, &value);
  return status == SWIFTDPO_OK ? PyFloat_FromDouble(value)
                               : raise_status(status, &(swiftdpo_culprit){NULL, 0}, NULL, 0);
}

PyObject *core_bco_delta_add(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs) {
  operand in[2] = {{"policy_logps", "policy_logps", NULL}, {"ref_logps", "ref_logps", NULL}};
  swiftdpo_bco_delta state = SWIFTDPO_BCO_DELTA_INIT;
  PyObject *result = NULL;
  double beta;
  if (expect_arguments("bco_delta_add", nargs, 3) < 0 || take_double(&beta, args[2], "beta") < 0 ||
      take_logps(in, args) < 0)
    goto done;
  swiftdpo_culprit culprit = {NULL, 0};
  size_t count = (size_t)PyArray_SIZE(in[0].array);
  const void *policy = data_of(in[0].array), *reference = data_of(in[1].array);
  swiftdpo_status status = PyArray_TYPE(in[0].array) == NPY_FLOAT
                               ? swiftdpo_bco_delta_add_f32(&state, policy, reference, beta, count, &culprit)
                               : swiftdpo_bco_delta_add_f64(&state, policy, reference, beta, count, &culprit);
  result = status == SWIFTDPO_OK ? Py_BuildValue("(nd)", (Py_ssize_t)state.count, state.sum)
                                 : raise_status(status, &culprit, in, 2);
done:
  release_operands(in, 2);
  return result;
}

PyObject *core_udm_weights(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs) {
  operand in[1] = {{"probabilities", "probabilities", NULL}};
  PyArrayObject *out[1] = {NULL};
  if (expect_arguments("udm_weights", nargs, 1) < 0 || take_floats(in, args, 1, 1) < 0)
    return NULL;
  PyArrayObject *array = in[0].array;
  if (new_arrays(out, 1, PyArray_NDIM(array), PyArray_DIMS(array), PyArray_TYPE(array)) == 0) {
    swiftdpo_culprit culprit = {NULL, 0};
    size_t count = (size_t)PyArray_SIZE(array);
    swiftdpo_status status = PyArray_TYPE(array) == NPY_FLOAT
                                 ? swiftdpo_udm_weights_f32(data_of(array), count, data_of(out[0]), &culprit)
                                 : swiftdpo_udm_weights_f64(data_of(array), count, data_of(out[0]), &culprit);
    if (status != SWIFTDPO_OK) {
      raise_status(status, &culprit, in, 1);
      release_arrays(out, 1);
    }
  }
  release_operands(in, 1);
  return (PyObject *)out[0];
}
