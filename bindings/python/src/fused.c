/* swiftdpo_fused_linear_*: log-probabilities of hidden states, and the gradients of the head. */
#include "fused.h"

/** A matrix of the head's type: hidden of any number of axes, or weight [V, H] or bias [V], which are contiguous. */
static int take_matrix(head *head, int which, PyObject *object, int ndim, int contiguous) {
  operand *matrix = &head->in[which];
  element type;
  if (take_logits(matrix, object, &type) < 0)
    return -1;
  if (which == HIDDEN)
    head->batch.type = type;
  if (type == F64) {
    PyErr_Format(PyExc_TypeError, "%s has dtype float64; expected float32, float16 or bfloat16", matrix->name);
    return -1;
  }
  if (type != head->batch.type) {
    PyErr_Format(PyExc_TypeError, "%s has another dtype than hidden: the matrices of one call share one", matrix->name);
    return -1;
  }
  if (PyArray_NDIM(matrix->array) != ndim) {
    PyErr_Format(PyExc_ValueError, "%s has %d dimensions; expected %d", matrix->name, PyArray_NDIM(matrix->array),
                 ndim);
    return -1;
  }
  if (!contiguous || PyArray_ISCARRAY_RO(matrix->array))
    return 0;
  PyErr_Format(PyExc_ValueError, "%s is not contiguous: copy it (numpy.ascontiguousarray)", matrix->name);
  return -1;
}

/** hidden, weight and bias of the policy or, from REF_HIDDEN on, of the reference. */
static int take_matrices(head *head, int first, PyObject *const *objects) {
  operand *in = head->in;
  const int ndim = in[OFFSETS].array != NULL ? 2 : 3;
  PyArrayObject *labels = in[LABELS].array;
  if (take_matrix(head, first, objects[0], ndim, 0) < 0 || take_matrix(head, first + 1, objects[1], 2, 1) < 0)
    return -1;
  if (objects[2] != Py_None && take_matrix(head, first + 2, objects[2], 1, 1) < 0)
    return -1;
  const npy_intp *shape = PyArray_DIMS(in[first].array), *rows = PyArray_DIMS(labels);
  const npy_intp wanted[3] = {rows[0], ndim == 3 ? rows[1] : shape[1], shape[ndim - 1]};
  if (check_shape(&in[first], ndim, wanted, ndim == 3 ? "(B, T, H) of labels (B, T)" : "(N, H) of labels (N,)") < 0)
    return -1;
  const npy_intp entries = first == HIDDEN ? PyArray_DIM(in[WEIGHT].array, 0) : (npy_intp)head->batch.vocab_size;
  const npy_intp weights[2] = {entries, shape[ndim - 1]};
  if (check_shape(&in[first + 1], 2, weights, "(V, H)") < 0 || check_shape(&in[first + 2], 1, weights, "(V,)") < 0)
    return -1;
  if (first == HIDDEN) {
    head->batch.vocab_size = (size_t)entries;
    head->hidden_size = (size_t)weights[1];
    return take_row_stride(&in[first], &head->hidden_stride);
  }
  head->ref_hidden_size = (size_t)weights[1];
  return take_row_stride(&in[first], &head->ref_hidden_stride);
}

/** An array that the call writes: the given one, or for True a new one like `like`, of zeros if `type` says what. */
static int take_gradient(head *head, int which, PyObject *object, int like, int type) {
  operand *in = head->in;
  if (object == Py_None || in[like].array == NULL)
    return 0;
  PyArrayObject *shape = in[like].array;
  PyObject *made = NULL;
  if (object == Py_True) {
    if (type == NPY_NOTYPE)
      return PyErr_Format(PyExc_TypeError,
                          "grad_hidden is required for tensors of bfloat16, which NumPy has no type for"),
             -1;
    made = PyArray_SimpleNew(PyArray_NDIM(shape), PyArray_DIMS(shape), type);
    if (made == NULL)
      return -1;
    object = made;
  }
  const int taken = take_output(&in[which], object, which == GRAD_HIDDEN ? head->batch.type : F32);
  if (which == GRAD_HIDDEN && taken == 0)
    head->grad_hidden = Py_NewRef(object);
  Py_XDECREF(made);
  if (taken < 0 ||
      check_shape(&in[which], PyArray_NDIM(shape), PyArray_DIMS(shape), "as what it is the gradient by") < 0)
    return -1;
  if (PyArray_IS_C_CONTIGUOUS(in[which].array))
    return 0;
  PyErr_Format(PyExc_ValueError, "%s is not contiguous", in[which].name);
  return -1;
}

static int take_gradients(head *head, PyObject *tuple, PyObject *hidden) {
  PyObject *grad_hidden, *grad_weight, *grad_bias;
  int accumulate, taken = -1;
  if (!PyArg_ParseTuple(tuple, "OOOp;gradients", &grad_hidden, &grad_weight, &grad_bias, &accumulate))
    return -1;
  head->accumulate = accumulate;
  PyObject *like = NULL;
  int type = head->batch.type == F32 ? NPY_FLOAT : head->batch.type == F16 ? NPY_HALF : NPY_NOTYPE;
  if (grad_hidden == Py_True && type == NPY_NOTYPE && PyArray_Check(hidden)) { /* the type of ml_dtypes */
    like = PyArray_NewLikeArray((PyArrayObject *)hidden, NPY_CORDER, NULL, 0);
    if (like == NULL)
      return -1;
    grad_hidden = like;
  }
  if (take_gradient(head, GRAD_HIDDEN, grad_hidden, HIDDEN, type) == 0 &&
      take_gradient(head, GRAD_WEIGHT, grad_weight, WEIGHT, NPY_FLOAT) == 0)
    taken = take_gradient(head, GRAD_BIAS, grad_bias, BIAS, NPY_FLOAT);
  Py_XDECREF(like);
  return taken;
}

/** Temporary memory that the caller keeps: any writable buffer, of which the library takes what is aligned. */
static int take_workspace(head *head, PyObject *object) {
  if (PyObject_GetBuffer(object, &head->workspace, PyBUF_WRITABLE) < 0)
    return PyErr_Format(PyExc_TypeError, "workspace must be a contiguous buffer that can be written to"), -1;
  const size_t size = (size_t)head->workspace.len;
  const size_t before = -(uintptr_t)head->workspace.buf % 64;
  if (size < before + 64)
    return PyErr_Format(PyExc_ValueError, "workspace has %zu bytes, which is not enough to be aligned to 64", size), -1;
  head->options.workspace = (char *)head->workspace.buf + before;
  head->options.workspace_size = size - before;
  return 0;
}

int take_head(head *head, PyObject *tuple) {
  static const operand names[NUM_HEAD] = {
      [HIDDEN] = {"hidden", "hidden", NULL},
      [WEIGHT] = {"weight", "weight", NULL},
      [BIAS] = {"bias", "bias", NULL},
      [REF_HIDDEN] = {"ref.hidden", "ref_hidden", NULL},
      [REF_WEIGHT] = {"ref.weight", "ref_weight", NULL},
      [REF_BIAS] = {"ref.bias", "ref_bias", NULL},
      [GRAD_HIDDEN] = {"grad_hidden", "grad_hidden", NULL},
      [GRAD_WEIGHT] = {"grad_weight", "grad_weight", NULL},
      [GRAD_BIAS] = {"grad_bias", "grad_bias", NULL},
  };
  memset(head, 0, sizeof *head);
  memcpy(head->in, names, sizeof names);
  head->options = (swiftdpo_fused_options)SWIFTDPO_FUSED_OPTIONS_INIT;
  PyObject *matrices[6], *labels, *options, *workspace_size, *workspace, *vocab_start, *gradients;
  if (!PyArg_ParseTuple(tuple, "OOOOOOOOOOOO;head", &matrices[0], &matrices[1], &matrices[2], &matrices[3],
                        &matrices[4], &matrices[5], &labels, &options, &workspace_size, &workspace, &vocab_start,
                        &gradients))
    return -1;
  if (take_batch(&head->batch, head->in, NULL, labels, options) < 0)
    return -1;
  if (take_matrices(head, HIDDEN, matrices) < 0)
    return -1;
  if (matrices[3] != Py_None && take_matrices(head, REF_HIDDEN, matrices + 3) < 0)
    return -1;
  if (workspace_size != Py_None && take_count(&head->options.workspace_size, workspace_size, "workspace_size") < 0)
    return -1;
  if (workspace != Py_None && take_workspace(head, workspace) < 0)
    return -1;
  if (take_count(&head->batch.vocab_start, vocab_start, "vocab_start") < 0)
    return -1;
  return gradients == Py_None ? 0 : take_gradients(head, gradients, matrices[0]);
}

void release_head(head *head) {
  release_operands(head->in, NUM_HEAD);
  PyBuffer_Release(&head->workspace);
  Py_CLEAR(head->grad_hidden);
}

PyObject *head_gradients(const head *head) {
  PyObject *hidden = head->grad_hidden == NULL ? Py_None : head->grad_hidden;
  return Py_BuildValue("(OOO)", hidden, object_or_none(head->in[GRAD_WEIGHT].array),
                       object_or_none(head->in[GRAD_BIAS].array));
}

/* -- A loss over a head in one call --------------------------------------------------------------------------------- */

struct fused_call {
  head head;
  PyArrayObject *logps[NUM_LOGPS_ARRAYS], *ref_logps;
  swiftdpo_logps_results buffers; /* those of `logps` */
};

fused_call *new_fused_call(PyObject *tuple) {
  fused_call *call = PyMem_Calloc(1, sizeof *call);
  if (call == NULL) {
    PyErr_NoMemory();
    return NULL;
  }
  if (take_head(&call->head, tuple) < 0 || new_logps_arrays(call->logps, &call->head.batch, 0) < 0)
    goto failed;
  call->buffers = logps_results(call->logps);
  const npy_intp sequences[] = {(npy_intp)call->head.batch.num_sequences};
  if (has_reference(&call->head) && new_arrays(&call->ref_logps, 1, 1, sequences, NPY_DOUBLE) < 0)
    goto failed;
  return call;
failed:
  finish_fused_call(call, NULL);
  return NULL;
}

PyObject *finish_fused_call(fused_call *call, PyObject *loss_results) {
  PyObject *all = NULL;
  if (loss_results != NULL) {
    PyObject *logps = tuple_of_arrays(call->logps, NUM_LOGPS_ARRAYS), *gradients = head_gradients(&call->head);
    if (logps != NULL && gradients != NULL)
      all = Py_BuildValue("(OOOO)", loss_results, logps, object_or_none(call->ref_logps), gradients);
    Py_XDECREF(logps);
    Py_XDECREF(gradients);
    Py_DECREF(loss_results);
  }
  release_arrays(call->logps, NUM_LOGPS_ARRAYS);
  Py_CLEAR(call->ref_logps);
  release_head(&call->head);
  PyMem_Free(call);
  return all;
}

#define FUSED_RESULTS_AS(STRUCT, GRADIENTS, call) \
  &(const STRUCT){ \
      .struct_size = sizeof(STRUCT), \
      .logps = &(call)->buffers, \
      .ref_logps = data_of((call)->ref_logps), \
      .gradients = GRADIENTS_AS(GRADIENTS, &(call)->head), \
  }
#define CALL_LOSS(FUNCTION, HALF, call, ...) \
  FUNCTION(POLICY_HEAD(swiftdpo_linear_head_##HALF, &(call)->head), \
           REF_HEAD(swiftdpo_linear_head_##HALF, &(call)->head), &(call)->head.batch.options, &(call)->head.options, \
           __VA_ARGS__, FUSED_RESULTS_AS(swiftdpo_fused_results_##HALF, swiftdpo_linear_gradients_##HALF, call), \
           culprit)
#define DEFINE_LOSS(NAME, FUNCTION, STRUCT, OPTIONS, RESULTS) \
  swiftdpo_status NAME(const fused_call *call, const void *inputs, const OPTIONS *options, const void *results, \
                       swiftdpo_culprit *culprit) { \
    const STRUCT *given = inputs; \
    const RESULTS *wanted = results; \
    switch (call->head.batch.type) { \
    case F16: \
      return CALL_LOSS(FUNCTION##_f16, half, call, given, options, wanted); \
    case BF16: \
      return CALL_LOSS(FUNCTION##_bf16, half, call, given, options, wanted); \
    default: \
      return CALL_LOSS(FUNCTION##_f32, f32, call, given, options, wanted); \
    } \
  }

DEFINE_LOSS(fused_pairs, swiftdpo_fused_linear_dpo_loss, swiftdpo_pairs_f64, swiftdpo_dpo_options,
            swiftdpo_pair_results_f64)
DEFINE_LOSS(fused_unpaired, swiftdpo_fused_linear_unpaired_loss, swiftdpo_unpaired_f64, swiftdpo_unpaired_options,
            swiftdpo_unpaired_results_f64)
DEFINE_LOSS(fused_rankings, swiftdpo_fused_linear_plackett_luce_loss, swiftdpo_rankings_f64,
            swiftdpo_plackett_luce_options, swiftdpo_ranking_results_f64)

/** The arguments: head. */
PyObject *core_fused_linear_workspace(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs) {
  head head = {0};
  PyObject *results = NULL;
  if (expect_arguments("fused_linear_workspace", nargs, 1) < 0 || take_head(&head, args[0]) < 0)
    goto done;
  size_t least, most;
  swiftdpo_culprit culprit = {NULL, 0};
  const swiftdpo_logps_options *options = &head.batch.options;
  const swiftdpo_linear_head_half *half = POLICY_HEAD(swiftdpo_linear_head_half, &head);
  swiftdpo_status status =
      head.batch.type == F32   ? swiftdpo_fused_linear_workspace_f32(POLICY_HEAD(swiftdpo_linear_head_f32, &head),
                                                                     options, &least, &most, &culprit)
      : head.batch.type == F16 ? swiftdpo_fused_linear_workspace_f16(half, options, &least, &most, &culprit)
                               : swiftdpo_fused_linear_workspace_bf16(half, options, &least, &most, &culprit);
  results = status == SWIFTDPO_OK ? Py_BuildValue("(nn)", (Py_ssize_t)least, (Py_ssize_t)most)
                                  : raise_status(status, &culprit, head.in, NUM_HEAD);
done:
  release_head(&head);
  return results;
}

/** The arguments: head, by_products. */
PyObject *core_fused_linear_logps(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs) {
  head head = {0};
  PyArrayObject *out[NUM_LOGPS_ARRAYS] = {NULL};
  PyObject *results = NULL;
  int32_t by_products;
  if (expect_arguments("fused_linear_logps", nargs, 2) < 0 || take_flag(&by_products, args[1], "by_products") < 0)
    goto done;
  if (take_head(&head, args[0]) < 0 || new_logps_arrays(out, &head.batch, by_products) < 0)
    goto done;
  const swiftdpo_logps_results buffers = logps_results(out);
  swiftdpo_culprit culprit = {NULL, 0};
  PyThreadState *released = release_gil_if(1);
  swiftdpo_status status = CALL_HEAD(swiftdpo_fused_linear_logps, &head, &buffers, &culprit);
  regain_gil(released);
  results = status == SWIFTDPO_OK ? tuple_of_arrays(out, NUM_LOGPS_ARRAYS)
                                  : raise_status(status, &culprit, head.in, NUM_HEAD);
done:
  release_arrays(out, NUM_LOGPS_ARRAYS);
  release_head(&head);
  return results;
}

/** The arguments: head. */
PyObject *core_fused_linear_vocab_shard(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs) {
  enum { NUM_STATISTICS = 3 };
  head head = {0};
  PyArrayObject *out[NUM_STATISTICS] = {NULL};
  PyObject *results = NULL;
  if (expect_arguments("fused_linear_vocab_shard", nargs, 1) < 0 || take_head(&head, args[0]) < 0)
    goto done;
  if (new_row_arrays(out, NUM_STATISTICS, &head.batch, NPY_DOUBLE) < 0)
    goto done;
  const swiftdpo_shard_statistics statistics = {sizeof statistics, data_of(out[0]), data_of(out[1]), data_of(out[2])};
  swiftdpo_culprit culprit = {NULL, 0};
  PyThreadState *released = release_gil_if(1);
  swiftdpo_status status = CALL_HEAD(swiftdpo_fused_linear_vocab_shard, &head, &statistics, &culprit);
  regain_gil(released);
  results =
      status == SWIFTDPO_OK ? tuple_of_arrays(out, NUM_STATISTICS) : raise_status(status, &culprit, head.in, NUM_HEAD);
done:
  release_arrays(out, NUM_STATISTICS);
  release_head(&head);
  return results;
}

enum { GRAD_LOGPS = NUM_HEAD, NORMALIZERS, NUM_BACKWARD };

static swiftdpo_status call_backward(const head *head, const operand *in, swiftdpo_culprit *culprit) {
  const double *grad_logps = data_of(in[GRAD_LOGPS].array), *normalizers = data_of(in[NORMALIZERS].array);
  const swiftdpo_logps_options *options = &head->batch.options;
  if (head->batch.type == F32)
    return swiftdpo_fused_linear_logps_backward_f32(POLICY_HEAD(swiftdpo_linear_head_f32, head), options,
                                                    &head->options, grad_logps, normalizers,
                                                    GRADIENTS_AS(swiftdpo_linear_gradients_f32, head), culprit);
  return (head->batch.type == F16 ? swiftdpo_fused_linear_logps_backward_f16
                                  : swiftdpo_fused_linear_logps_backward_bf16)(
      POLICY_HEAD(swiftdpo_linear_head_half, head), options, &head->options, grad_logps, normalizers,
      GRADIENTS_AS(swiftdpo_linear_gradients_half, head), culprit);
}

/** The arguments: head, grad_logps, log_normalizers. */
PyObject *core_fused_linear_logps_backward(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs) {
  head head = {0};
  operand in[NUM_BACKWARD] = {{0}};
  PyObject *results = NULL;
  if (expect_arguments("fused_linear_logps_backward", nargs, 3) < 0 || take_head(&head, args[0]) < 0)
    goto done;
  in[GRAD_LOGPS] = (operand){"grad_logps", "grad_logps", NULL};
  in[NORMALIZERS] = (operand){"log_normalizers", "forward.log_normalizers", NULL};
  const npy_intp sequences[] = {(npy_intp)head.batch.num_sequences};
  if (take_converted(&in[GRAD_LOGPS], args[1], NPY_DOUBLE) < 0 ||
      check_shape(&in[GRAD_LOGPS], 1, sequences, "an element for each sequence") < 0)
    goto done;
  if (args[2] != Py_None && take_converted(&in[NORMALIZERS], args[2], NPY_DOUBLE) < 0)
    goto done;
  if (check_row_shape(&in[NORMALIZERS], &head.batch) < 0)
    goto done;

  swiftdpo_culprit culprit = {NULL, 0};
  PyThreadState *released = release_gil_if(1);
  swiftdpo_status status = call_backward(&head, in, &culprit);
  regain_gil(released);
  if (status == SWIFTDPO_OK) {
    results = head_gradients(&head);
  } else {
    operand all[NUM_BACKWARD];
    memcpy(all, head.in, sizeof head.in);
    memcpy(all + NUM_HEAD, in + NUM_HEAD, sizeof all - sizeof head.in);
    raise_status(status, &culprit, all, NUM_BACKWARD);
  }
done:
  release_operands(in, NUM_BACKWARD);
  release_head(&head);
  return results;
}

PyObject *core_use_blas(PyObject *Py_UNUSED(module), PyObject *object) {
  PyObject *encoded = NULL;
  if (object != Py_None && !PyUnicode_FSConverter(object, (void *)&encoded))
    return NULL;
  char *path = encoded == NULL ? NULL : PyBytes_AsString(encoded);
  swiftdpo_culprit culprit = {NULL, 0};
  swiftdpo_status status = swiftdpo_use_blas(path, &culprit);
  Py_XDECREF(encoded);
  return status == SWIFTDPO_OK ? Py_NewRef(Py_None) : raise_status(status, &culprit, NULL, 0);
}

PyObject *core_blas_info(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(none)) {
  swiftdpo_blas blas = SWIFTDPO_BLAS_INIT;
  if (swiftdpo_blas_info(&blas) != SWIFTDPO_OK)
    return Py_NewRef(Py_None);
  return Py_BuildValue("ssii", blas.path, blas.function, (int)blas.integer_bits, (int)blas.has_bf16_gemm);
}
