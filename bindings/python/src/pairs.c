/* swiftdpo_dpo_loss_*: pairs of responses, one preferred. */
#include "core.h"

enum { POLICY_CHOSEN, POLICY_REJECTED, REF_CHOSEN, REF_REJECTED, BETA, MARGIN, WEIGHTS, SOFT_LABELS, NUM_INPUTS };
enum { LOSSES, GRAD_CHOSEN, GRAD_REJECTED, CHOSEN_REWARDS, REJECTED_REWARDS, GRADIENT_WEIGHTS, NUM_OUTPUTS };

#define DEFINE_CALL(DTYPE) \
  static swiftdpo_status call_##DTYPE(const operand *in, const swiftdpo_dpo_options *options, double *loss, \
                                      PyArrayObject *const *out, swiftdpo_culprit *culprit) { \
    const swiftdpo_pairs_##DTYPE pairs = { \
        .struct_size = sizeof pairs, \
        .count = (size_t)PyArray_SIZE(in[POLICY_CHOSEN].array), \
        .policy_chosen_logps = data_of(in[POLICY_CHOSEN].array), \
        .policy_rejected_logps = data_of(in[POLICY_REJECTED].array), \
        .ref_chosen_logps = data_of(in[REF_CHOSEN].array), \
        .ref_rejected_logps = data_of(in[REF_REJECTED].array), \
        .betas = data_of(in[BETA].array), \
        .margins = data_of(in[MARGIN].array), \
        .weights = data_of(in[WEIGHTS].array), \
        .soft_labels = data_of(in[SOFT_LABELS].array), \
    }; \
    const swiftdpo_pair_results_##DTYPE results = { \
        .struct_size = sizeof results, \
        .loss = loss, \
        .losses = data_of(out[LOSSES]), \
        .grad_policy_chosen_logps = data_of(out[GRAD_CHOSEN]), \
        .grad_policy_rejected_logps = data_of(out[GRAD_REJECTED]), \
        .chosen_rewards = data_of(out[CHOSEN_REWARDS]), \
        .rejected_rewards = data_of(out[REJECTED_REWARDS]), \
        .gradient_weights = data_of(out[GRADIENT_WEIGHTS]), \
    }; \
    return swiftdpo_dpo_loss_##DTYPE(&pairs, options, &results, culprit); \
  }

DEFINE_CALL(f32)
DEFINE_CALL(f64)

/** One loss for each pair: every array has the shape of the first, (B,) or () for a single pair. */
static int check_shapes(const operand *in) {
  PyArrayObject *first = in[POLICY_CHOSEN].array;
  if (PyArray_NDIM(first) > 1) {
    PyErr_Format(PyExc_ValueError, "policy_chosen_logps has %d dimensions; expected 1, an element for each pair",
                 PyArray_NDIM(first));
    return -1;
  }
  for (int i = POLICY_REJECTED; i < NUM_INPUTS; i++) {
    if (check_shape(&in[i], PyArray_NDIM(first), PyArray_DIMS(first), "as policy_chosen_logps") < 0)
      return -1;
  }
  if ((in[REF_CHOSEN].array == NULL) != (in[REF_REJECTED].array == NULL)) {
    PyErr_SetString(PyExc_ValueError,
                    "ref_chosen_logps and ref_rejected_logps go together: give both, or None for both");
    return -1;
  }
  return 0;
}

/** The arguments: the inputs in their order, then label_smoothing, reduction, nonfinite. */
static int take(operand *in, swiftdpo_dpo_options *options, PyObject *const *args) {
  PyObject *const *choices = args + NUM_INPUTS;
  PyObject *arrays[NUM_INPUTS];
  for (int i = 0; i < NUM_INPUTS; i++)
    arrays[i] = args[i];
  if (take_beta(&options->beta, &arrays[BETA]) < 0)
    return -1;
  if (take_double(&options->label_smoothing, choices[0], "label_smoothing") < 0)
    return -1;
  if (options->label_smoothing != 0 && arrays[SOFT_LABELS] != Py_None) {
    PyErr_SetString(PyExc_ValueError, "label_smoothing and soft_labels both say how sure the labels are: give one");
    return -1;
  }
  if (take_reduction(&options->reduction, choices[1]) < 0 || take_nonfinite(&options->nonfinite, choices[2]) < 0)
    return -1;
  if (take_floats(in, arrays, NUM_INPUTS, 2) < 0)
    return -1;
  return check_shapes(in);
}

PyObject *core_dpo_loss(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs) {
  operand in[NUM_INPUTS] = {
      {"policy_chosen_logps", "policy_chosen_logps", NULL},
      {"policy_rejected_logps", "policy_rejected_logps", NULL},
      {"ref_chosen_logps", "ref_chosen_logps", NULL},
      {"ref_rejected_logps", "ref_rejected_logps", NULL},
      {"betas", "beta", NULL},
      {"margins", "margin", NULL},
      {"weights", "weights", NULL},
      {"soft_labels", "soft_labels", NULL},
  };
  swiftdpo_dpo_options options = SWIFTDPO_DPO_OPTIONS_INIT;
  PyArrayObject *out[NUM_OUTPUTS] = {NULL};
  PyObject *results = NULL;

  if (expect_arguments("dpo_loss", nargs, NUM_INPUTS + 3) < 0 || take(in, &options, args) < 0)
    goto done;
  PyArrayObject *first = in[POLICY_CHOSEN].array;
  int type = PyArray_TYPE(first);
  if (new_arrays(out, NUM_OUTPUTS, PyArray_NDIM(first), PyArray_DIMS(first), type) < 0)
    goto done;

  double loss = 0;
  swiftdpo_culprit culprit = {NULL, 0};
  PyThreadState *released = release_gil_if(PyArray_SIZE(first) >= MANY_SCORES);
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
