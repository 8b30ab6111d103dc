/* swiftdpo_dpo_loss_* and swiftdpo_tdpo_loss_*: pairs of responses, one preferred. */
#include "core.h"

/* Floating-point arrays come first, in the order of the function's arguments. */
enum {
  POLICY_CHOSEN,
  POLICY_REJECTED,
  REF_CHOSEN,
  REF_REJECTED,
  BETA,
  MARGIN,
  WEIGHTS,
  SOFT_LABELS,
  NUM_COMMON_INPUTS,
  REWARD_GAPS = NUM_COMMON_INPUTS,
  SFT_LOGPS,
  CHOSEN_KL,
  REJECTED_KL,
  NUM_FLOATS,
  CHOSEN_LENGTHS = NUM_FLOATS,
  REJECTED_LENGTHS,
  SFT_LENGTHS,
  TIES,
  NUM_INPUTS
};
enum {
  LOSSES,
  GRAD_CHOSEN,
  GRAD_REJECTED,
  CHOSEN_REWARDS,
  REJECTED_REWARDS,
  GRADIENT_WEIGHTS,
  NUM_OUTPUTS,
  GRAD_REF_CHOSEN = NUM_OUTPUTS,
  GRAD_REF_REJECTED,
  GRAD_BETA,
  GRAD_MARGIN,
  GRAD_SFT,
  CURVATURES,
  NUM_DPO_OUTPUTS,
  GRAD_CHOSEN_KL = NUM_DPO_OUTPUTS,
  GRAD_REJECTED_KL,
  KL_MARGINS,
  NUM_ALL_OUTPUTS
};

/* Behind the common inputs come label_smoothing, reduction, nonfinite and a mixture. */
enum { RESULT_TYPE = NUM_COMMON_INPUTS + 4, NUM_ARGUMENTS };

/** What a call asks beyond the common arguments. */
typedef struct {
  swiftdpo_dpo_options options;
  swiftdpo_loss_type loss_types[16];
  double loss_weights[16];
  int more;                /* whether all results are wanted */
  const fused_call *fused; /* what makes the policy's log-probabilities; NULL: they are given */
  PyObject *tdpo;          /* TDPO's arguments, a tuple; NULL: DPO */
  double tdpo_alpha;
  swiftdpo_tdpo_loss_type tdpo_loss_type;
} choices;

/** Results that are no arrays. */
typedef struct {
  double loss, grad_tie_strength;
  swiftdpo_pair_metrics metrics;
} numbers;

#define DEFINE_CALL(DTYPE) \
  static swiftdpo_status call_##DTYPE(const operand *in, const choices *chosen, numbers *sums, \
                                      PyArrayObject *const *out, swiftdpo_culprit *culprit) { \
    const swiftdpo_pairs_##DTYPE pairs = { \
        .struct_size = sizeof pairs, \
        .count = (size_t)PyArray_SIZE(in[POLICY_CHOSEN].array), \
        .policy_chosen_logps = chosen->fused ? NULL : data_of(in[POLICY_CHOSEN].array), \
        .policy_rejected_logps = chosen->fused ? NULL : data_of(in[POLICY_REJECTED].array), \
        .ref_chosen_logps = data_of(in[REF_CHOSEN].array), \
        .ref_rejected_logps = data_of(in[REF_REJECTED].array), \
        .betas = data_of(in[BETA].array), \
        .margins = data_of(in[MARGIN].array), \
        .weights = data_of(in[WEIGHTS].array), \
        .soft_labels = data_of(in[SOFT_LABELS].array), \
        .chosen_lengths = data_of(in[CHOSEN_LENGTHS].array), \
        .rejected_lengths = data_of(in[REJECTED_LENGTHS].array), \
        .ties = data_of(in[TIES].array), \
        .reward_gaps = data_of(in[REWARD_GAPS].array), \
        .sft_logps = data_of(in[SFT_LOGPS].array), \
        .sft_lengths = data_of(in[SFT_LENGTHS].array), \
    }; \
    const swiftdpo_pair_results_##DTYPE results = { \
        .struct_size = sizeof results, \
        .loss = &sums->loss, \
        .losses = data_of(out[LOSSES]), \
        .grad_policy_chosen_logps = data_of(out[GRAD_CHOSEN]), \
        .grad_policy_rejected_logps = data_of(out[GRAD_REJECTED]), \
        .chosen_rewards = data_of(out[CHOSEN_REWARDS]), \
        .rejected_rewards = data_of(out[REJECTED_REWARDS]), \
        .gradient_weights = data_of(out[GRADIENT_WEIGHTS]), \
        .grad_ref_chosen_logps = data_of(out[GRAD_REF_CHOSEN]), \
        .grad_ref_rejected_logps = data_of(out[GRAD_REF_REJECTED]), \
        .grad_betas = data_of(out[GRAD_BETA]), \
        .grad_margins = data_of(out[GRAD_MARGIN]), \
        .grad_sft_logps = data_of(out[GRAD_SFT]), \
        .curvatures = data_of(out[CURVATURES]), \
        .grad_tie_strength = chosen->more ? &sums->grad_tie_strength : NULL, \
        .metrics = chosen->more ? &sums->metrics : NULL, \
    }; \
    if (chosen->fused) \
      return fused_pairs(chosen->fused, &pairs, &chosen->options, &results, culprit); \
    const swiftdpo_tdpo_##DTYPE tdpo = { \
        .struct_size = sizeof tdpo, \
        .chosen_kl = data_of(in[CHOSEN_KL].array), \
        .rejected_kl = data_of(in[REJECTED_KL].array), \
        .alpha = chosen->tdpo_alpha, \
        .loss_type = chosen->tdpo_loss_type, \
        .grad_chosen_kl = data_of(out[GRAD_CHOSEN_KL]), \
        .grad_rejected_kl = data_of(out[GRAD_REJECTED_KL]), \
        .kl_margins = data_of(out[KL_MARGINS]), \
    }; \
    if (chosen->tdpo != NULL) \
      return swiftdpo_tdpo_loss_##DTYPE(&pairs, &tdpo, &chosen->options, &results, culprit); \
    return swiftdpo_dpo_loss_##DTYPE(&pairs, &chosen->options, &results, culprit); \
  }

DEFINE_CALL(f32)
DEFINE_CALL(f64)

/** Takes the arrays of the call that is made most often: rows of one type and length that lie as the library reads them,
 * with nothing for each pair beside them. 0, with nothing taken, where they are anything else. */
static int took_plain_rows(operand *in, PyObject *const *floats) {
  PyArrayObject *first = (PyArrayObject *)floats[POLICY_CHOSEN];
  for (int i = POLICY_CHOSEN; i <= REF_REJECTED; i++) {
    PyArrayObject *array = (PyArrayObject *)floats[i];
    if (!PyArray_Check(floats[i]) || !PyArray_ISCARRAY_RO(array) || PyArray_NDIM(array) != 1)
      return 0;
    if (PyArray_TYPE(array) != PyArray_TYPE(first) || PyArray_DIM(array, 0) != PyArray_DIM(first, 0))
      return 0;
  }
  if (PyArray_TYPE(first) != NPY_FLOAT && PyArray_TYPE(first) != NPY_DOUBLE)
    return 0;
  for (int i = BETA; i < NUM_COMMON_INPUTS; i++) {
    if (floats[i] != Py_None)
      return 0;
  }
  for (int i = POLICY_CHOSEN; i <= REF_REJECTED; i++)
    in[i].array = (PyArrayObject *)Py_NewRef(floats[i]);
  return 1;
}

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

/** The losses of a mixture: a tuple of numbers as swiftdpo_loss_type has them, and of weights or None. */
static int take_losses(choices *chosen, PyObject *types, PyObject *weights) {
  Py_ssize_t count = PyTuple_Size(types);
  Py_ssize_t num_weights = weights == Py_None ? count : PyTuple_Size(weights);
  if (count < 0 || num_weights < 0)
    return -1;
  if (count != num_weights || count > 16) {
    PyErr_Format(PyExc_ValueError, "loss_type has %zd losses and loss_weights %zd; expected as many, 16 at most", count,
                 num_weights);
    return -1;
  }
  for (Py_ssize_t i = 0; i < count; i++) {
    chosen->loss_types[i] = (swiftdpo_loss_type)PyLong_AsLong(PyTuple_GetItem(types, i));
    chosen->loss_weights[i] = 1;
    if (PyErr_Occurred())
      return -1;
    if (weights != Py_None && take_double(&chosen->loss_weights[i], PyTuple_GetItem(weights, i), "loss_weights") < 0)
      return -1;
  }
  chosen->options.loss_types = chosen->loss_types;
  chosen->options.loss_weights = chosen->loss_weights;
  chosen->options.num_losses = (size_t)count;
  return 0;
}

/** The tuple that the package makes of what is not common (swiftdpo/dpo.py). */
static int take_mixture(operand *in, choices *chosen, PyObject **floats, PyObject *mixture) {
  swiftdpo_dpo_options *options = &chosen->options;
  PyObject *types, *weights, *others[NUM_INPUTS - NUM_FLOATS];
  int divergence, reference_free;
  if (!PyArg_ParseTuple(mixture, "O!OiidddddOOOOOOp;mixture", &PyTuple_Type, &types, &weights, &divergence,
                        &reference_free, &options->f_alpha_divergence_coef, &options->discopop_tau,
                        &options->tie_strength, &options->reward_scale, &options->alphapo_alpha, &floats[REWARD_GAPS],
                        &floats[SFT_LOGPS], &others[0], &others[1], &others[2], &others[3], &chosen->more))
    return -1;
  options->f_divergence = (swiftdpo_f_divergence)divergence;
  options->reference_free = reference_free;
  for (int i = NUM_FLOATS; i < NUM_INPUTS; i++) {
    PyObject *object = others[i - NUM_FLOATS];
    if (object != Py_None && take_converted(&in[i], object, i == TIES ? NPY_UINT8 : NPY_INT64) < 0)
      return -1;
  }
  return take_losses(chosen, types, weights);
}

/** chosen_kl, rejected_kl, alpha, and the loss as swiftdpo_tdpo_loss_type has it. */
static int take_tdpo(choices *chosen, PyObject **floats) {
  int loss_type;
  if (!PyArg_ParseTuple(chosen->tdpo, "OOdi;tdpo", &floats[CHOSEN_KL], &floats[REJECTED_KL], &chosen->tdpo_alpha,
                        &loss_type))
    return -1;
  chosen->tdpo_loss_type = (swiftdpo_tdpo_loss_type)loss_type;
  return 0;
}

/** The arguments: common inputs in their order, then label_smoothing, reduction, nonfinite, and a mixture or None. */
static int take(operand *in, choices *chosen, PyObject *const *args) {
  PyObject *const *others = args + NUM_COMMON_INPUTS;
  swiftdpo_dpo_options *options = &chosen->options;
  PyObject *floats[NUM_FLOATS];
  for (int i = 0; i < NUM_FLOATS; i++)
    floats[i] = i < NUM_COMMON_INPUTS ? args[i] : Py_None;
  if (take_number(&options->beta, &floats[BETA], "beta") < 0)
    return -1;
  if (floats[MARGIN] != Py_None && take_number(&options->margin, &floats[MARGIN], "margin") < 0)
    return -1;
  if (take_double(&options->label_smoothing, others[0], "label_smoothing") < 0)
    return -1;
  if (take_reduction(&options->reduction, others[1]) < 0 || take_nonfinite_late(&options->nonfinite, others[2]) < 0)
    return -1;
  if (others[3] != Py_None) {
    if (take_mixture(in, chosen, floats, others[3]) < 0)
      return -1;
  } else if (chosen->tdpo == NULL && took_plain_rows(in, floats)) {
    return 0;
  } else if (options->label_smoothing != 0 && floats[SOFT_LABELS] != Py_None) {
    PyErr_SetString(PyExc_ValueError, "label_smoothing and soft_labels both say how sure the labels are: give one");
    return -1;
  }
  if (chosen->tdpo != NULL && take_tdpo(chosen, floats) < 0)
    return -1;
  if (take_floats(in, floats, NUM_FLOATS, 2) < 0)
    return -1;
  return check_shapes(in);
}

static PyObject *tuple_of_metrics(const swiftdpo_pair_metrics *m) {
  return Py_BuildValue("(nnndddddddddddd)", (Py_ssize_t)m->count, (Py_ssize_t)m->num_correct, (Py_ssize_t)m->num_tied,
                       m->losses, m->chosen_rewards, m->rejected_rewards, m->chosen_logps, m->rejected_logps,
                       m->gradient_weights, m->chosen_kl_k1, m->chosen_kl_k2, m->chosen_kl_k3, m->rejected_kl_k1,
                       m->rejected_kl_k2, m->rejected_kl_k3);
}

/** All fields of the results, as a `type`: the loss, the arrays, and numbers, of which the metrics are a tuple; then TDPO's
 * own arrays, if it is one. None stands for what was not computed. */
static PyObject *results_of(const choices *chosen, const numbers *sums, PyArrayObject *const *out, PyObject *type) {
  enum { FIRST = 1, GRAD_TIE_STRENGTH = FIRST + NUM_DPO_OUTPUTS, METRICS, NUM_FIELDS };
  PyObject *fields[NUM_FIELDS + NUM_ALL_OUTPUTS - NUM_DPO_OUTPUTS];
  const int num_fields = chosen->tdpo == NULL ? NUM_FIELDS : NUM_FIELDS + NUM_ALL_OUTPUTS - NUM_DPO_OUTPUTS;
  PyObject *results = PyTuple_New(num_fields);
  fields[0] = chosen->options.reduction == SWIFTDPO_REDUCTION_NONE ? Py_NewRef((PyObject *)out[LOSSES])
                                                                   : PyFloat_FromDouble(sums->loss);
  for (int i = 0; i < NUM_DPO_OUTPUTS; i++)
    fields[FIRST + i] = Py_NewRef(object_or_none(out[i]));
  fields[GRAD_TIE_STRENGTH] = chosen->more ? PyFloat_FromDouble(sums->grad_tie_strength) : Py_NewRef(Py_None);
  fields[METRICS] = chosen->more ? tuple_of_metrics(&sums->metrics) : Py_NewRef(Py_None);
  for (int i = NUM_FIELDS; i < num_fields; i++)
    fields[i] = Py_NewRef((PyObject *)out[NUM_DPO_OUTPUTS + i - NUM_FIELDS]);
  for (int i = 0; i < num_fields; i++) {
    if (fields[i] == NULL)
      Py_CLEAR(results);
    if (results == NULL)
      Py_XDECREF(fields[i]);
    else
      PyTuple_SetItem(results, i, fields[i]);
  }
  return results == NULL ? NULL : named(results, type);
}

static PyObject *dpo_loss(PyObject *const *args, Py_ssize_t nargs, const fused_call *fused, PyObject *tdpo) {
  operand in[NUM_INPUTS] = {
      {"policy_chosen_logps", "policy_chosen_logps", NULL},
      {"policy_rejected_logps", "policy_rejected_logps", NULL},
      {"ref_chosen_logps", "ref_chosen_logps", NULL},
      {"ref_rejected_logps", "ref_rejected_logps", NULL},
      {"betas", "beta", NULL},
      {"margins", "margin", NULL},
      {"weights", "weights", NULL},
      {"soft_labels", "soft_labels", NULL},
      {"reward_gaps", "reward_gaps", NULL},
      {"sft_logps", "sft_logps", NULL},
      {"chosen_kl", "chosen_kl", NULL},
      {"rejected_kl", "rejected_kl", NULL},
      {"chosen_lengths", "chosen_lengths", NULL},
      {"rejected_lengths", "rejected_lengths", NULL},
      {"sft_lengths", "sft_lengths", NULL},
      {"ties", "ties", NULL},
  };
  choices chosen;
  chosen.options = (swiftdpo_dpo_options)SWIFTDPO_DPO_OPTIONS_INIT;
  chosen.more = 0;
  chosen.fused = fused;
  chosen.tdpo = tdpo;
  chosen.tdpo_alpha = 0;
  chosen.tdpo_loss_type = SWIFTDPO_TDPO2;
  PyArrayObject *out[NUM_ALL_OUTPUTS] = {NULL};
  PyObject *results = NULL;

  if (expect_arguments("dpo_loss", nargs, NUM_ARGUMENTS) < 0 || expect_tuple_type(args[RESULT_TYPE]) < 0 ||
      take(in, &chosen, args) < 0)
    goto done;
  PyArrayObject *first = in[POLICY_CHOSEN].array;
  int type = PyArray_TYPE(first);
  if (new_arrays(out, chosen.more ? NUM_DPO_OUTPUTS : NUM_OUTPUTS, PyArray_NDIM(first), PyArray_DIMS(first), type) < 0)
    goto done;
  if (tdpo != NULL && new_arrays(out + NUM_DPO_OUTPUTS, NUM_ALL_OUTPUTS - NUM_DPO_OUTPUTS, PyArray_NDIM(first),
                                 PyArray_DIMS(first), type) < 0)
    goto done;

  numbers sums = {0, 0, SWIFTDPO_PAIR_METRICS_INIT};
  swiftdpo_culprit culprit = {NULL, 0};
  PyThreadState *released = release_gil_if(fused != NULL || PyArray_SIZE(first) >= MANY_SCORES);
  swiftdpo_status status = (type == NPY_FLOAT ? call_f32 : call_f64)(in, &chosen, &sums, out, &culprit);
  regain_gil(released);

  if (status != SWIFTDPO_OK) {
    raise_status(status, &culprit, in, NUM_INPUTS);
    goto done;
  }
  results = results_of(&chosen, &sums, out, args[RESULT_TYPE]);
done:
  release_arrays(out, NUM_ALL_OUTPUTS);
  release_operands(in, NUM_INPUTS);
  return results;
}

PyObject *core_dpo_loss(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs) {
  return dpo_loss(args, nargs, NULL, NULL);
}

/** The arguments: TDPO's own as a tuple, then those of dpo_loss. */
PyObject *core_tdpo_loss(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs) {
  if (nargs < 1 || !PyTuple_Check(args[0])) {
    PyErr_SetString(PyExc_TypeError, "tdpo is no tuple");
    return NULL;
  }
  return dpo_loss(args + 1, nargs - 1, NULL, args[0]);
}

/** The arguments: a head, then those of dpo_loss, whose policy's log-probabilities only lend their shape. */
PyObject *core_fused_linear_dpo_loss(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs) {
  fused_call *fused = nargs < 1 ? NULL : new_fused_call(args[0]);
  return fused == NULL ? NULL : finish_fused_call(fused, dpo_loss(args + 1, nargs - 1, fused, NULL));
}
