/* Logits, their labels and their options, as the library's structs want them. */
#include "logits.h"

int take_row_stride(const operand *argument, size_t *row_stride) {
  PyArrayObject *array = argument->array;
  const npy_intp *shape = PyArray_DIMS(array), *strides = PyArray_STRIDES(array);
  const int last = PyArray_NDIM(array) - 1;
  const npy_intp item = PyArray_ITEMSIZE(array), row = shape[last] * item;
  npy_intp step = row, rows = 1;
  int even = shape[last] <= 1 || strides[last] == item;
  for (int axis = last - 1; axis >= 0; axis--) {
    if (shape[axis] <= 1)
      continue;
    if (rows == 1)
      step = strides[axis];
    even = even && strides[axis] == rows * step;
    rows *= shape[axis];
  }

  if (PyArray_SIZE(array) == 0) {
    step = row;
  } else if (!even || step < row || step % item != 0) {
    PyErr_Format(PyExc_ValueError,
                 "%s is not laid out in rows: the last axis must be contiguous, and one stride must lead from row to "
                 "row across all other axes. Copy it (numpy.ascontiguousarray); instead of logits[:, :-1] use "
                 "shift=True",
                 argument->name);
    return -1;
  }
  *row_stride = (size_t)(step / item);
  return 0;
}

int new_row_arrays(PyArrayObject **arrays, size_t count, const batch *batch, int type) {
  PyArrayObject *labels = batch->in[LABELS].array;
  return new_arrays(arrays, count, PyArray_NDIM(labels), PyArray_DIMS(labels), type);
}

int check_row_shape(const operand *argument, const batch *batch) {
  PyArrayObject *labels = batch->in[LABELS].array;
  return check_shape(argument, PyArray_NDIM(labels), PyArray_DIMS(labels), "an element for each row of logits");
}

/** One of the options, a borrowed reference; NULL if it is left to its default. */
static PyObject *option(PyObject *options, const char *name) { return PyDict_GetItemString(options, name); }

/** As option, for those that may be None. */
static PyObject *optional(PyObject *options, const char *name) {
  PyObject *value = option(options, name);
  return value == Py_None ? NULL : value;
}

static int take_options(swiftdpo_logps_options *options, PyObject *given) {
  PyObject *ignore_index = option(given, "ignore_index"), *shift = option(given, "shift");
  PyObject *average = option(given, "average"), *temperature = option(given, "temperature");
  PyObject *softcap = optional(given, "softcap"), *ld_alpha = option(given, "ld_alpha");
  PyObject *nonfinite = option(given, "nonfinite");
  double degrees = 1;
  if (ignore_index != NULL && take_int64(&options->ignore_index, ignore_index, "ignore_index") < 0)
    return -1;
  if (shift != NULL && take_flag(&options->shift, shift, "shift") < 0)
    return -1;
  if (average != NULL && take_flag(&options->average, average, "average") < 0)
    return -1;
  if (temperature != NULL && take_double(&degrees, temperature, "temperature") < 0)
    return -1;
  if (softcap != NULL && take_double(&options->softcap, softcap, "softcap") < 0)
    return -1;
  if (ld_alpha != NULL && take_double(&options->ld_alpha, ld_alpha, "ld_alpha") < 0)
    return -1;
  if (nonfinite != NULL && take_nonfinite(&options->nonfinite, nonfinite) < 0)
    return -1;
  options->logit_scale = 1 / degrees;
  return 0;
}

/** Where packed sequences begin. The last offset has to be the number of rows, for the library cannot know that. */
static int take_offsets(operand *offsets, PyObject *object) {
  if (object == NULL)
    return 0;
  if (take_converted(offsets, object, NPY_INT64) < 0)
    return -1;
  if (PyArray_NDIM(offsets->array) == 1 && PyArray_SIZE(offsets->array) > 0)
    return 0;
  PyErr_SetString(PyExc_ValueError, "offsets must have one dimension, and an element more than there are sequences");
  return -1;
}

static int check_last_offset(const operand *offsets, npy_intp rows) {
  if (offsets->array == NULL)
    return 0;
  const npy_intp last = PyArray_SIZE(offsets->array) - 1;
  const int64_t end = ((const int64_t *)PyArray_DATA(offsets->array))[last];
  if (end == rows)
    return 0;
  PyErr_Format(PyExc_ValueError, "offsets[%zd] is %lld; expected %zd, the number of rows", last, (long long)end, rows);
  return -1;
}

/** The rows' own arrays, which have the shape of the labels. */
static int take_row_arrays(operand *in, PyObject *options) {
  PyObject *mask = optional(options, "mask"), *token_weights = optional(options, "token_weights");
  const npy_intp *shape = PyArray_DIMS(in[LABELS].array);
  const int ndim = PyArray_NDIM(in[LABELS].array);
  if (mask != NULL && take_mask(&in[MASK], mask) < 0)
    return -1;
  if (token_weights != NULL && take_converted(&in[TOKEN_WEIGHTS], token_weights, NPY_DOUBLE) < 0)
    return -1;
  if (check_shape(&in[MASK], ndim, shape, "as labels") < 0)
    return -1;
  return check_shape(&in[TOKEN_WEIGHTS], ndim, shape, "as labels");
}

static int take_ld_lengths(batch *batch, operand *ld_lengths, PyObject *object) {
  if (object == NULL) {
    if (batch->options.ld_alpha == 1)
      return 0;
    PyErr_SetString(PyExc_ValueError, "ld_alpha weighs the tokens beyond ld_lengths, which are missing");
    return -1;
  }
  if (take_converted(ld_lengths, object, NPY_INT64) < 0)
    return -1;
  const npy_intp shape[] = {(npy_intp)batch->num_sequences};
  return check_shape(ld_lengths, 1, shape, "an element for each sequence");
}

/** Logits [B, T, V], or [N, V] of packed sequences. */
static int take_shaped_logits(batch *batch, operand *in, PyObject *object, int ndim) {
  if (take_logits(&in[LOGITS], object, &batch->type) < 0)
    return -1;
  if (PyArray_NDIM(in[LOGITS].array) != ndim) {
    PyErr_Format(PyExc_ValueError, "logits has %d dimensions; expected %s", PyArray_NDIM(in[LOGITS].array),
                 ndim == 3 ? "3, (B, T, V)" : "2, (N, V), for they are packed: offsets is given");
    return -1;
  }
  batch->vocab_size = (size_t)PyArray_DIM(in[LOGITS].array, ndim - 1);
  return take_row_stride(&in[LOGITS], &batch->row_stride);
}

/** The labels give their rows the shape that the logits have but for the last axis. */
static int check_labels(const operand *in, int ndim) {
  PyArrayObject *logits = in[LOGITS].array;
  if (logits != NULL)
    return check_shape(&in[LABELS], ndim, PyArray_DIMS(logits),
                       ndim == 1 ? "(N,) of logits (N, V)" : "(B, T) of logits (B, T, V)");
  if (PyArray_NDIM(in[LABELS].array) == ndim)
    return 0;
  PyErr_Format(PyExc_ValueError, "labels has %d dimensions; expected %s", PyArray_NDIM(in[LABELS].array),
               ndim == 1 ? "1, (N,), for they are packed: offsets is given" : "2, (B, T)");
  return -1;
}

int take_batch(batch *batch, operand *in, PyObject *logits, PyObject *labels, PyObject *options) {
  static const operand names[NUM_BATCH] = {
      {"logits", "logits", NULL},
      {"labels", "labels", NULL},
      {"mask", "mask", NULL},
      {"offsets", "offsets", NULL},
      {"token_weights", "token_weights", NULL},
      {"ld_lengths", "ld_lengths", NULL},
  };
  memcpy(in, names, sizeof names);
  *batch = (struct batch){.in = in, .vocab_size = 1, .options = SWIFTDPO_LOGPS_OPTIONS_INIT};
  if (!PyDict_Check(options)) {
    PyErr_SetString(PyExc_TypeError, "options must be a dictionary");
    return -1;
  }
  if (take_options(&batch->options, options) < 0 || take_offsets(&in[OFFSETS], optional(options, "offsets")) < 0)
    return -1;

  const int packed = in[OFFSETS].array != NULL, ndim = packed ? 1 : 2;
  if (logits != NULL && take_shaped_logits(batch, in, logits, ndim + 1) < 0)
    return -1;
  if (take_labels(&in[LABELS], labels) < 0 || check_labels(in, ndim) < 0)
    return -1;
  const npy_intp *shape = PyArray_DIMS(in[LABELS].array);
  if (check_last_offset(&in[OFFSETS], shape[0]) < 0)
    return -1;
  batch->num_sequences = (size_t)(packed ? PyArray_SIZE(in[OFFSETS].array) - 1 : shape[0]);
  batch->sequence_length = packed ? 0 : (size_t)shape[1];

  if (take_row_arrays(in, options) < 0)
    return -1;
  return take_ld_lengths(batch, &in[LD_LENGTHS], optional(options, "ld_lengths"));
}
