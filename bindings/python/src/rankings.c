/* swiftdpo_plackett_luce_loss_*: ranked lists of responses. */
#include "core.h"

enum { POLICY, REF, BETA, WEIGHTS, POSITION_WEIGHTS, DIRECTION, RANKINGS, RANKS, OFFSETS, TIE_STRENGTHS, NUM_INPUTS };
enum { NUM_FLOATS = RANKINGS };
enum { LOSSES, REWARDS, GRAD_POLICY, GRADIENT_WEIGHTS, HESSIAN_PRODUCT, GRAD_TIE_STRENGTHS, NUM_OUTPUTS };

/** A batch's layout, and where its groups come from. */
typedef struct {
  groups groups;
  size_t num_shared_items;
} layout;

static size_t size_of(PyArrayObject *array) { return array == NULL ? 0 : (size_t)PyArray_SIZE(array); }

#define DEFINE_CALL(DTYPE) \
  static swiftdpo_status call_##DTYPE(const fused_call *fused, const operand *in, const layout *sizes, \
                                      const swiftdpo_plackett_luce_options *options, double *loss, \
                                      PyArrayObject *const *out, swiftdpo_culprit *culprit) { \
    const swiftdpo_rankings_##DTYPE rankings = { \
        .struct_size = sizeof rankings, \
        .num_groups = sizes->groups.num_groups, \
        .group_size = sizes->groups.group_size, \
        .policy_logps = fused ? NULL : data_of(in[POLICY].array), \
        .ref_logps = data_of(in[REF].array), \
        .rankings = data_of(in[RANKINGS].array), \
        .betas = data_of(in[BETA].array), \
        .weights = data_of(in[WEIGHTS].array), \
        .offsets = data_of(in[OFFSETS].array), \
        .ranks = data_of(in[RANKS].array), \
        .position_weights = data_of(in[POSITION_WEIGHTS].array), \
        .num_position_weights = size_of(in[POSITION_WEIGHTS].array), \
        .num_shared_items = sizes->num_shared_items, \
        .direction = data_of(in[DIRECTION].array), \
        .tie_strengths = data_of(in[TIE_STRENGTHS].array), \
        .num_tie_strengths = size_of(in[TIE_STRENGTHS].array), \
    }; \
    const swiftdpo_ranking_results_##DTYPE results = { \
        .struct_size = sizeof results, \
        .loss = loss, \
        .losses = data_of(out[LOSSES]), \
        .grad_policy_logps = data_of(out[GRAD_POLICY]), \
        .rewards = data_of(out[REWARDS]), \
        .gradient_weights = data_of(out[GRADIENT_WEIGHTS]), \
        .hessian_product = data_of(out[HESSIAN_PRODUCT]), \
        .grad_tie_strengths = data_of(out[GRAD_TIE_STRENGTHS]), \
    }; \
    if (fused) \
      return fused_rankings(fused, &rankings, options, &results, culprit); \
    return swiftdpo_plackett_luce_loss_##DTYPE(&rankings, options, &results, culprit); \
  }

DEFINE_CALL(f32)
DEFINE_CALL(f64)

static int check_ndim(const operand *argument, int lowest, int highest, const char *expected) {
  int ndim = PyArray_NDIM(argument->array);
  if (ndim >= lowest && ndim <= highest)
    return 0;
  PyErr_Format(PyExc_ValueError, "%s has %d dimension%s; expected %s", argument->name, ndim, ndim == 1 ? "" : "s",
               expected);
  return -1;
}

int take_groups(groups *layout, const operand *entries, const operand *offsets) {
  const npy_intp *shape = PyArray_DIMS(entries->array);
  if (offsets->array == NULL) {
    if (check_ndim(entries, 1, 2, "2, (B, K), or 1 for a single group") < 0)
      return -1;
    int ndim = PyArray_NDIM(entries->array);
    *layout = (groups){.num_groups = ndim == 2 ? (size_t)shape[0] : 1,
                       .group_size = (size_t)shape[ndim - 1],
                       .ndim = ndim - 1,
                       .shape = {shape[0]}};
    return 0;
  }
  if (check_ndim(entries, 1, 1, "1, (N,), beside offsets") < 0 || check_ndim(offsets, 1, 1, "1, (B + 1,)") < 0)
    return -1;
  npy_intp ends = PyArray_DIM(offsets->array, 0);
  if (ends == 0) {
    PyErr_SetString(PyExc_ValueError, "offsets has shape (0,); expected (B + 1,), the first of them 0");
    return -1;
  }
  npy_intp last = (npy_intp)((const int64_t *)PyArray_DATA(offsets->array))[ends - 1];
  if (last != shape[0]) {
    PyErr_Format(PyExc_ValueError, "offsets[%zd] is %zd; expected %zd, the length of %s", (Py_ssize_t)ends - 1,
                 (Py_ssize_t)last, (Py_ssize_t)shape[0], entries->name);
    return -1;
  }
  *layout = (groups){.num_groups = (size_t)ends - 1, .ndim = 1, .shape = {ends - 1}};
  return 0;
}

/** Items are laid out as the entries, unless all groups share them. */
static int check_shapes(const operand *in, int shared, layout *sizes) {
  const operand *entries = shared ? &in[RANKINGS] : &in[POLICY];
  if (shared && (in[RANKINGS].array == NULL || check_ndim(&in[POLICY], 1, 1, "1, an element for each item") < 0)) {
    if (!PyErr_Occurred())
      PyErr_SetString(PyExc_TypeError, "rankings is required, and may not be None");
    return -1;
  }
  const npy_intp *shape = PyArray_DIMS(entries->array);
  *sizes = (layout){.num_shared_items = 0};
  if (take_groups(&sizes->groups, entries, &in[OFFSETS]) < 0)
    return -1;
  if (shared)
    sizes->num_shared_items = (size_t)PyArray_SIZE(in[POLICY].array);

  PyArrayObject *policy = in[POLICY].array;
  for (int i = REF; i < NUM_INPUTS; i++) {
    if (i == REF || i == DIRECTION) {
      if (check_shape(&in[i], PyArray_NDIM(policy), PyArray_DIMS(policy), "as policy_logps") < 0)
        return -1;
    } else if (i == RANKINGS || i == RANKS) {
      if (check_shape(&in[i], PyArray_NDIM(entries->array), shape, shared ? "as rankings" : "as policy_logps") < 0)
        return -1;
    } else if (i == BETA || i == WEIGHTS) {
      if (check_shape(&in[i], sizes->groups.ndim, sizes->groups.shape, "an element for each group") < 0)
        return -1;
    } else if (i == POSITION_WEIGHTS || i == TIE_STRENGTHS) {
      if (in[i].array != NULL && check_ndim(&in[i], 1, 1, "1") < 0)
        return -1;
    }
  }
  return 0;
}

/** The arguments: the inputs in their order, then reduction, nonfinite, unlisted, first_choice, top, ties, shared. */
static int take(operand *in, swiftdpo_plackett_luce_options *options, layout *sizes, PyObject *const *args) {
  PyObject *const *choices = args + NUM_INPUTS;
  if (take_widened(in, args, NUM_FLOATS, 1, BETA, &options->beta) < 0)
    return -1;
  if (take_reduction(&options->reduction, choices[0]) < 0 || take_nonfinite(&options->nonfinite, choices[1]) < 0)
    return -1;
  if (take_unlisted(&options->unlisted, choices[2]) < 0 || take_first_choice(&options->first_choice, choices[3]) < 0)
    return -1;
  if (choices[4] != Py_None && take_positive(&options->top, choices[4], "top") < 0)
    return -1;
  int32_t shared;
  if (take_ties(&options->ties, choices[5]) < 0 || take_flag(&shared, choices[6], "shared") < 0)
    return -1;
  for (int i = RANKINGS; i < NUM_INPUTS; i++) {
    int type = i == TIE_STRENGTHS ? NPY_DOUBLE : NPY_INT64;
    if (args[i] != Py_None && take_converted(&in[i], args[i], type) < 0)
      return -1;
  }
  return check_shapes(in, shared, sizes);
}

static PyObject *plackett_luce_loss(PyObject *const *args, Py_ssize_t nargs, const fused_call *fused) {
  operand in[NUM_INPUTS] = {
      {"policy_logps", "policy_logps", NULL},
      {"ref_logps", "ref_logps", NULL},
      {"betas", "beta", NULL},
      {"weights", "weights", NULL},
      {"position_weights", "position_weights", NULL},
      {"direction", "direction", NULL},
      {"rankings", "rankings", NULL},
      {"ranks", "ranks", NULL},
      {"offsets", "offsets", NULL},
      {"tie_strengths", "tie_strengths", NULL},
  };
  swiftdpo_plackett_luce_options options = SWIFTDPO_PLACKETT_LUCE_OPTIONS_INIT;
  PyArrayObject *out[NUM_OUTPUTS] = {NULL};
  PyObject *results = NULL;
  layout sizes;

  if (expect_arguments("plackett_luce_loss", nargs, NUM_INPUTS + 7) < 0 || take(in, &options, &sizes, args) < 0)
    goto done;
  PyArrayObject *policy = in[POLICY].array;
  int ndim = PyArray_NDIM(policy), type = PyArray_TYPE(policy);
  if (new_arrays(&out[LOSSES], 1, sizes.groups.ndim, sizes.groups.shape, type) < 0)
    goto done;
  /* What a call does not give stays NULL, and is None. */
  const int given[NUM_OUTPUTS] = {
      [REWARDS] = 1,
      [GRAD_POLICY] = 1,
      [GRADIENT_WEIGHTS] = options.ties == SWIFTDPO_TIES_BRESLOW && sizes.num_shared_items == 0,
      [HESSIAN_PRODUCT] = in[DIRECTION].array != NULL,
  };
  for (int i = REWARDS; i < GRAD_TIE_STRENGTHS; i++) {
    if (given[i] && new_arrays(&out[i], 1, ndim, PyArray_DIMS(policy), type) < 0)
      goto done;
  }
  if (options.ties == SWIFTDPO_TIES_DAVIDSON) {
    npy_intp strengths = (npy_intp)size_of(in[TIE_STRENGTHS].array);
    if (new_arrays(&out[GRAD_TIE_STRENGTHS], 1, 1, &strengths, NPY_DOUBLE) < 0)
      goto done;
  }

  double loss = 0;
  swiftdpo_culprit culprit = {NULL, 0};
  PyThreadState *released = release_gil_if(fused != NULL || PyArray_SIZE(policy) >= MANY_SCORES);
  swiftdpo_status status = (type == NPY_FLOAT ? call_f32 : call_f64)(fused, in, &sizes, &options, &loss, out, &culprit);
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

PyObject *core_plackett_luce_loss(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs) {
  return plackett_luce_loss(args, nargs, NULL);
}

/** The arguments: a head, then those of plackett_luce_loss, whose policy's log-probabilities only lend their shape. */
PyObject *core_fused_linear_plackett_luce_loss(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs) {
  fused_call *fused = nargs < 1 ? NULL : new_fused_call(args[0]);
  return fused == NULL ? NULL : finish_fused_call(fused, plackett_luce_loss(args + 1, nargs - 1, fused));
}
