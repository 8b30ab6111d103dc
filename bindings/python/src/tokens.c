/* swiftdpo_wpo_weights, swiftdpo_humanline_clamp: what weighs or bounds tokens. */
#include "core.h"

/** Two arrays of one shape, (B, L), in double; the second may be None. */
static int take_tokens(operand *in, PyObject *const *args) {
  for (int i = 0; i < 2; i++) {
    if ((i == 0 || args[i] != Py_None) && take_converted(&in[i], args[i], NPY_DOUBLE) < 0)
      return -1;
  }
  if (PyArray_NDIM(in[0].array) != 2) {
    PyErr_Format(PyExc_ValueError, "%s has %d dimensions; expected 2", in[0].name, PyArray_NDIM(in[0].array));
    return -1;
  }
  return check_shape(&in[1], 2, PyArray_DIMS(in[0].array), "as the other tokens");
}

PyObject *core_wpo_weights(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs) {
  operand in[3] = {{"token_logps", "token_logps", NULL},
                   {"log_sum_squares", "log_sum_squares", NULL},
                   {"num_tokens", "num_tokens", NULL}};
  PyArrayObject *out[1] = {NULL};
  if (expect_arguments("wpo_weights", nargs, 3) < 0 || take_tokens(in, args) < 0 ||
      take_converted(&in[2], args[2], NPY_INT64) < 0)
    goto done;
  const npy_intp *shape = PyArray_DIMS(in[0].array);
  if (check_shape(&in[2], 1, shape, "a count for each response") < 0 || new_arrays(out, 1, 1, shape, NPY_DOUBLE) < 0)
    goto done;
  swiftdpo_culprit culprit = {NULL, 0};
  swiftdpo_status status = swiftdpo_wpo_weights(data_of(in[0].array), data_of(in[1].array), data_of(in[2].array),
                                                (size_t)shape[0], (size_t)shape[1], data_of(out[0]), &culprit);
  if (status != SWIFTDPO_OK) {
    raise_status(status, &culprit, in, 3);
    release_arrays(out, 1);
  }
done:
  release_operands(in, 3);
  return (PyObject *)out[0];
}

PyObject *core_humanline_clamp(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs) {
  operand in[2] = {{"policy_token_logps", "policy_token_logps", NULL}, {"ref_token_logps", "ref_token_logps", NULL}};
  PyArrayObject *sums = NULL, *passes = NULL;
  PyObject *results = NULL;
  double low, high;
  if (expect_arguments("humanline_clamp", nargs, 4) < 0 || take_tokens(in, args) < 0 ||
      take_double(&low, args[2], "low") < 0 || take_double(&high, args[3], "high") < 0)
    goto done;
  const npy_intp *shape = PyArray_DIMS(in[0].array);
  if (new_arrays(&sums, 1, 1, shape, NPY_DOUBLE) < 0 || new_arrays(&passes, 1, 2, shape, NPY_DOUBLE) < 0)
    goto done;
  swiftdpo_culprit culprit = {NULL, 0};
  swiftdpo_status status =
      swiftdpo_humanline_clamp(data_of(in[0].array), data_of(in[1].array), (size_t)shape[0], (size_t)shape[1], low,
                               high, data_of(sums), data_of(passes), &culprit);
  results = status == SWIFTDPO_OK ? Py_BuildValue("(OO)", sums, passes) : raise_status(status, &culprit, in, 2);
done:
  release_arrays(&sums, 1);
  release_arrays(&passes, 1);
  release_operands(in, 2);
  return results;
}
