/* swiftdpo_sequence_logps_*: logits to log-probabilities of sequences, and back. */
#include "core.h"

enum { LOGITS, LABELS, NUM_INPUTS, GRAD_LOGPS = NUM_INPUTS, LOG_NORMALIZERS, OUT, NUM_BACKWARD };
enum { LOGPS, NUM_TOKENS, TOKEN_LOGPS, NORMALIZERS, NUM_OUTPUTS };

/** The elements from one row of V to the next in a [B, T, V] array. It may be a slice, if its rows lie evenly. */
static int take_row_stride(const operand *argument, size_t *row_stride) {
  PyArrayObject *array = argument->array;
  const npy_intp *shape = PyArray_DIMS(array), *strides = PyArray_STRIDES(array);
  const npy_intp item = PyArray_ITEMSIZE(array), row = shape[2] * item;
  npy_intp step = shape[1] > 1 ? strides[1] : shape[0] > 1 ? strides[0] : row;
  if (PyArray_SIZE(array) == 0)
    step = row;

  int even = shape[0] <= 1 || shape[1] <= 1 || strides[0] == shape[1] * step;
  int dense = shape[2] <= 1 || strides[2] == item;
  if (PyArray_SIZE(array) != 0 && !(even && dense && step >= row && step % item == 0)) {
    PyErr_Format(PyExc_ValueError,
                 "%s is not laid out in rows: the last axis must be contiguous, and one stride must lead from row to "
                 "row across B and T. Copy it (numpy.ascontiguousarray); instead of logits[:, :-1] use shift=True",
                 argument->name);
    return -1;
  }
  *row_stride = (size_t)(step / item);
  return 0;
}

/** The first two operands, and the options that both directions share: ignore_index, shift, average, nonfinite. */
static int take(operand *in, size_t *row_stride, swiftdpo_logps_options *options, PyObject *const *args,
                PyObject *const *choices) {
  if (take_int64(&options->ignore_index, choices[0], "ignore_index") < 0)
    return -1;
  if (take_flag(&options->shift, choices[1], "shift") < 0 || take_flag(&options->average, choices[2], "average") < 0)
    return -1;
  if (take_nonfinite(&options->nonfinite, choices[3]) < 0)
    return -1;

  if (take_view(&in[LOGITS], args[LOGITS], NPY_FLOAT) < 0)
    return -1;
  PyArrayObject *logits = in[LOGITS].array;
  if (PyArray_NDIM(logits) != 3) {
    PyErr_Format(PyExc_ValueError, "logits has %d dimensions; expected 3, (B, T, V)", PyArray_NDIM(logits));
    return -1;
  }
  if (take_row_stride(&in[LOGITS], row_stride) < 0)
    return -1;
  if (take_converted(&in[LABELS], args[LABELS], NPY_INT64) < 0)
    return -1;
  return check_shape(&in[LABELS], 2, PyArray_DIMS(logits), "(B, T) of logits (B, T, V)");
}

static swiftdpo_logits_f32 describe(const operand *in, size_t row_stride) {
  const npy_intp *shape = PyArray_DIMS(in[LOGITS].array);
  return (swiftdpo_logits_f32){
      .struct_size = sizeof(swiftdpo_logits_f32),
      .num_sequences = (size_t)shape[0],
      .sequence_length = (size_t)shape[1],
      .vocab_size = (size_t)shape[2],
      .logits = data_of(in[LOGITS].array),
      .row_stride = row_stride,
      .labels = data_of(in[LABELS].array),
  };
}

PyObject *core_sequence_logps(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs) {
  operand in[NUM_INPUTS] = {
      {"logits", "logits", NULL},
      {"labels", "labels", NULL},
  };
  swiftdpo_logps_options options = SWIFTDPO_LOGPS_OPTIONS_INIT;
  PyArrayObject *out[NUM_OUTPUTS] = {NULL};
  PyObject *results = NULL;
  size_t row_stride;

  if (expect_arguments("sequence_logps", nargs, NUM_INPUTS + 4) < 0)
    goto done;
  if (take(in, &row_stride, &options, args, args + NUM_INPUTS) < 0)
    goto done;
  const npy_intp *shape = PyArray_DIMS(in[LOGITS].array);
  if (new_arrays(&out[LOGPS], 1, 1, shape, NPY_DOUBLE) < 0)
    goto done;
  if (new_arrays(&out[NUM_TOKENS], 1, 1, shape, NPY_INT64) < 0)
    goto done;
  if (new_arrays(&out[TOKEN_LOGPS], 2, 2, shape, NPY_DOUBLE) < 0)
    goto done;

  const swiftdpo_logits_f32 logits = describe(in, row_stride);
  const swiftdpo_logps_results buffers = {
      .struct_size = sizeof buffers,
      .logps = data_of(out[LOGPS]),
      .num_tokens = data_of(out[NUM_TOKENS]),
      .token_logps = data_of(out[TOKEN_LOGPS]),
      .log_normalizers = data_of(out[NORMALIZERS]),
  };
  swiftdpo_culprit culprit = {NULL, 0};
  PyThreadState *released = release_gil_if(PyArray_SIZE(in[LOGITS].array) >= MANY_LOGITS);
  swiftdpo_status status = swiftdpo_sequence_logps_f32(&logits, &options, &buffers, &culprit);
  regain_gil(released);

  if (status == SWIFTDPO_OK)
    results = PyTuple_Pack(NUM_OUTPUTS, out[LOGPS], out[NUM_TOKENS], out[TOKEN_LOGPS], out[NORMALIZERS]);
  else
    raise_status(status, &culprit, in, NUM_INPUTS);
done:
  release_arrays(out, NUM_OUTPUTS);
  release_operands(in, NUM_INPUTS);
  return results;
}

/** Where the gradient goes. Given: an array that lies as the logits do. None: a new, contiguous one. */
static int take_out(operand *in, size_t *row_stride, PyObject *object) {
  PyArrayObject *logits = in[LOGITS].array;
  if (object != Py_None) {
    size_t out_stride;
    if (take_output(&in[OUT], object, NPY_FLOAT) < 0)
      return -1;
    if (check_shape(&in[OUT], 3, PyArray_DIMS(logits), "as logits") < 0)
      return -1;
    if (take_row_stride(&in[OUT], &out_stride) < 0)
      return -1;
    if (out_stride == *row_stride)
      return 0;
    PyErr_Format(PyExc_ValueError, "out has %zu elements from row to row, logits has %zu: out must lie as logits does",
                 out_stride, *row_stride);
    return -1;
  }
  if (new_arrays(&in[OUT].array, 1, 3, PyArray_DIMS(logits), NPY_FLOAT) < 0)
    return -1;
  if (*row_stride != (size_t)PyArray_DIM(logits, 2)) {
    /* The library writes the gradient with the stride of the logits: so pack them first, then work in place. */
    if (PyArray_CopyInto(in[OUT].array, logits) < 0)
      return -1;
    Py_DECREF(logits);
    in[LOGITS].array = (PyArrayObject *)Py_NewRef((PyObject *)in[OUT].array);
    *row_stride = (size_t)PyArray_DIM(in[OUT].array, 2);
  }
  return 0;
}

PyObject *core_sequence_logps_backward(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs) {
  operand in[NUM_BACKWARD] = {
      {"logits", "logits", NULL},         {"labels", "labels", NULL},
      {"grad_logps", "grad_logps", NULL}, {"log_normalizers", "forward.log_normalizers", NULL},
      {"grad_logits", "out", NULL},
  };
  swiftdpo_logps_options options = SWIFTDPO_LOGPS_OPTIONS_INIT;
  PyObject *result = NULL;
  size_t row_stride;

  if (expect_arguments("sequence_logps_backward", nargs, NUM_BACKWARD + 4) < 0)
    goto done;
  if (take(in, &row_stride, &options, args, args + NUM_BACKWARD) < 0)
    goto done;
  const npy_intp *shape = PyArray_DIMS(in[LOGITS].array);
  if (take_converted(&in[GRAD_LOGPS], args[GRAD_LOGPS], NPY_DOUBLE) < 0)
    goto done;
  if (check_shape(&in[GRAD_LOGPS], 1, shape, "an element for each sequence") < 0)
    goto done;
  if (args[LOG_NORMALIZERS] != Py_None && take_converted(&in[LOG_NORMALIZERS], args[LOG_NORMALIZERS], NPY_DOUBLE) < 0)
    goto done;
  if (check_shape(&in[LOG_NORMALIZERS], 2, shape, "an element for each row of logits") < 0)
    goto done;
  if (take_out(in, &row_stride, args[OUT]) < 0)
    goto done;

  const swiftdpo_logits_f32 logits = describe(in, row_stride);
  swiftdpo_culprit culprit = {NULL, 0};
  PyThreadState *released = release_gil_if(PyArray_SIZE(in[LOGITS].array) >= MANY_LOGITS);
  swiftdpo_status status =
      swiftdpo_sequence_logps_backward_f32(&logits, &options, data_of(in[GRAD_LOGPS].array),
                                           data_of(in[LOG_NORMALIZERS].array), data_of(in[OUT].array), &culprit);
  regain_gil(released);

  if (status == SWIFTDPO_OK)
    result = Py_NewRef((PyObject *)in[OUT].array);
  else
    raise_status(status, &culprit, in, NUM_BACKWARD);
done:
  release_operands(in, NUM_BACKWARD);
  return result;
}
