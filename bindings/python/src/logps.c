/* swiftdpo_sequence_logps_*: logits to log-probabilities of sequences, and back. */
#include "logits.h"

int new_logps_arrays(PyArrayObject **arrays, const batch *batch, int by_products) {
  const npy_intp sequences[] = {(npy_intp)batch->num_sequences};
  if (new_arrays(&arrays[LOGPS], 1, 1, sequences, NPY_DOUBLE) < 0)
    return -1;
  if (new_arrays(&arrays[NUM_TOKENS], 1, 1, sequences, NPY_INT64) < 0)
    return -1;
  if (new_row_arrays(&arrays[TOKEN_LOGPS], ROW_FLAGS - TOKEN_LOGPS, batch, NPY_DOUBLE) < 0)
    return -1;
  if (new_row_arrays(&arrays[ROW_FLAGS], 1, batch, NPY_UINT8) < 0)
    return -1;
  if (!by_products)
    return 0;
  if (new_row_arrays(&arrays[ENTROPIES], TOP_1 - ENTROPIES, batch, NPY_DOUBLE) < 0)
    return -1;
  return new_row_arrays(&arrays[TOP_1], 1, batch, NPY_BOOL);
}

swiftdpo_logps_results logps_results(PyArrayObject *const *arrays) {
  return (swiftdpo_logps_results){
      .struct_size = sizeof(swiftdpo_logps_results),
      .logps = data_of(arrays[LOGPS]),
      .num_tokens = data_of(arrays[NUM_TOKENS]),
      .token_logps = data_of(arrays[TOKEN_LOGPS]),
      .log_normalizers = data_of(arrays[LOG_NORMALIZERS]),
      .entropies = data_of(arrays[ENTROPIES]),
      .log_sum_squares = data_of(arrays[LOG_SUM_SQUARES]),
      .mean_logits = data_of(arrays[MEAN_LOGITS]),
      .top_1 = data_of(arrays[TOP_1]),
      .row_flags = data_of(arrays[ROW_FLAGS]),
  };
}

/** The arguments: logits, labels, options, by_products. */
PyObject *core_sequence_logps(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs) {
  operand in[NUM_BATCH] = {0};
  batch batch;
  PyArrayObject *out[NUM_LOGPS_ARRAYS] = {NULL};
  PyObject *results = NULL;
  int32_t by_products;

  if (expect_arguments("sequence_logps", nargs, 4) < 0 || take_flag(&by_products, args[3], "by_products") < 0)
    goto done;
  if (take_batch(&batch, in, args[0], args[1], args[2]) < 0 || new_logps_arrays(out, &batch, by_products) < 0)
    goto done;

  const swiftdpo_logps_results buffers = logps_results(out);
  swiftdpo_culprit culprit = {NULL, 0};
  PyThreadState *released = release_gil_if(is_long(&batch));
  swiftdpo_status status = CALL(swiftdpo_sequence_logps, &batch, &buffers, &culprit);
  regain_gil(released);

  results =
      status == SWIFTDPO_OK ? tuple_of_arrays(out, NUM_LOGPS_ARRAYS) : raise_status(status, &culprit, in, NUM_BATCH);
done:
  release_arrays(out, NUM_LOGPS_ARRAYS);
  release_operands(in, NUM_BATCH);
  return results;
}

enum { GRAD_LOGPS = NUM_BATCH, NORMALIZERS, OUT, NUM_BACKWARD };

/** What d loss / d logps and the forward call's results have to be. */
static int take_gradient(const batch *batch, operand *in, PyObject *grad_logps, PyObject *log_normalizers) {
  const npy_intp sequences[] = {(npy_intp)batch->num_sequences};
  if (take_converted(&in[GRAD_LOGPS], grad_logps, NPY_DOUBLE) < 0)
    return -1;
  if (check_shape(&in[GRAD_LOGPS], 1, sequences, "an element for each sequence") < 0)
    return -1;
  if (log_normalizers != Py_None && take_converted(&in[NORMALIZERS], log_normalizers, NPY_DOUBLE) < 0)
    return -1;
  return check_row_shape(&in[NORMALIZERS], batch);
}

/** A new, contiguous array of the type of the logits, which NumPy has to have. */
static PyObject *new_gradient(const batch *batch, PyObject *logits) {
  PyArrayObject *like = PyArray_Check(logits) ? (PyArrayObject *)logits : batch->in[LOGITS].array;
  if (batch->type != BF16 || PyArray_Check(logits))
    return PyArray_NewLikeArray(like, NPY_CORDER, NULL, 0);
  return PyErr_Format(PyExc_TypeError, "out is required for tensors of bfloat16, which NumPy has no type for");
}

/** Where the gradient goes: an array that lies as the logits do. */
static int take_gradient_output(const batch *batch, operand *in, PyObject *out) {
  PyArrayObject *logits = in[LOGITS].array;
  size_t row_stride;
  if (take_output(&in[OUT], out, batch->type) < 0)
    return -1;
  if (check_shape(&in[OUT], PyArray_NDIM(logits), PyArray_DIMS(logits), "as logits") < 0)
    return -1;
  if (take_row_stride(&in[OUT], &row_stride) < 0)
    return -1;
  if (row_stride == batch->row_stride)
    return 0;
  PyErr_Format(PyExc_ValueError, "out has %zu elements from row to row, logits has %zu: out must lie as logits does",
               row_stride, batch->row_stride);
  return -1;
}

/** The library writes the gradient with the stride of the logits: so these are packed into it, and it works in place. */
static int pack_logits(batch *batch, operand *in, PyObject *out) {
  if (take_output(&in[OUT], out, batch->type) < 0 || PyArray_CopyInto(in[OUT].array, in[LOGITS].array) < 0)
    return -1;
  Py_DECREF(in[LOGITS].array);
  in[LOGITS].array = (PyArrayObject *)Py_NewRef((PyObject *)in[OUT].array);
  batch->row_stride = batch->vocab_size;
  return 0;
}

/** The arguments: logits, labels, options, grad_logps, log_normalizers, out, vocab_start. */
PyObject *core_sequence_logps_backward(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs) {
  operand in[NUM_BACKWARD] = {
      [GRAD_LOGPS] = {"grad_logps", "grad_logps", NULL},
      [NORMALIZERS] = {"log_normalizers", "forward.log_normalizers", NULL},
      [OUT] = {"grad_logits", "out", NULL},
  };
  batch batch;
  PyObject *out = NULL, *result = NULL;

  if (expect_arguments("sequence_logps_backward", nargs, 7) < 0)
    goto done;
  if (take_batch(&batch, in, args[0], args[1], args[2]) < 0)
    goto done;
  if (take_gradient(&batch, in, args[3], args[4]) < 0 || take_count(&batch.vocab_start, args[6], "vocab_start") < 0)
    goto done;
  const int given = args[5] != Py_None, strided = batch.row_stride != batch.vocab_size;
  out = given ? Py_NewRef(args[5]) : new_gradient(&batch, args[0]);
  if (out == NULL)
    goto done;
  if ((given || !strided ? take_gradient_output(&batch, in, out) : pack_logits(&batch, in, out)) < 0)
    goto done;

  swiftdpo_culprit culprit = {NULL, 0};
  PyThreadState *released = release_gil_if(is_long(&batch));
  swiftdpo_status status = CALL(swiftdpo_sequence_logps_backward, &batch, data_of(in[GRAD_LOGPS].array),
                                data_of(in[NORMALIZERS].array), data_of(in[OUT].array), &culprit);
  regain_gil(released);

  result = status == SWIFTDPO_OK ? Py_NewRef(out) : raise_status(status, &culprit, in, NUM_BACKWARD);
done:
  Py_XDECREF(out);
  release_operands(in, NUM_BACKWARD);
  return result;
}
