/*
 * The loss of pairs for PyTorch, on the shortest way from tensors to tensors.
 *
 * A loss of eight pairs takes less than one tensor's conversion to an array, so tensors come and go through DLPack's
 * interface for C (https://dmlc.github.io/dlpack/latest/python_spec.html), which makes no object on the way. What does
 * not suit this way, or the library refuses, gives None: the general way takes it, or says what is wrong with it.
 */
#include "core.h"

#include <stddef.h>

#include "third_party/dlpack.h"

static PyObject *exchange_name, *requires_grad_name, *is_neg_name;

int name_exchange(void) {
  if (exchange_name == NULL)
    exchange_name = PyUnicode_InternFromString("__dlpack_c_exchange_api__");
  if (requires_grad_name == NULL)
    requires_grad_name = PyUnicode_InternFromString("requires_grad");
  if (is_neg_name == NULL)
    is_neg_name = PyUnicode_InternFromString("is_neg");
  return exchange_name == NULL || requires_grad_name == NULL || is_neg_name == NULL ? -1 : 0;
}

/** The functions of a tensor's framework, which last as long as the process; NULL, with no exception, without any. */
static const DLPackExchangeAPI *exchange_of(PyObject *tensor) {
  PyObject *capsule = PyObject_GetAttr((PyObject *)Py_TYPE(tensor), exchange_name);
  const DLPackExchangeAPI *api = capsule == NULL ? NULL : PyCapsule_GetPointer(capsule, "dlpack_exchange_api");
  Py_XDECREF(capsule);
  PyErr_Clear();
  if (api == NULL || api->header.version.major != DLPACK_MAJOR_VERSION)
    return NULL;
  return api->dltensor_from_py_object_no_sync == NULL ? NULL : api;
}

static size_t size_of(const DLTensor *tensor) { return tensor->ndim == 0 ? 1 : (size_t)tensor->shape[0]; }

/** Whether what is asked about a tensor is False. Takes the answer over. */
static int is_false(PyObject *value) {
  Py_XDECREF(value);
  return value == Py_False;
}

/** Looks at a tensor where it lies: whether it is a number, or a row without gaps, on the host, in single or double
 * precision, that shows what lies there. An exception may be left. */
static int look_at(DLTensor *tensor, PyObject *object, const DLPackExchangeAPI *api) {
  if (api->dltensor_from_py_object_no_sync(object, tensor) != 0)
    return 0;
  const DLDataType type = tensor->dtype;
  if (tensor->device.device_type != kDLCPU || type.code != kDLFloat || type.lanes != 1)
    return 0;
  if (tensor->ndim > 1 || (type.bits != 32 && type.bits != 64))
    return 0;
  tensor->data = (char *)tensor->data + tensor->byte_offset;
  if (tensor->ndim == 1 && tensor->strides != NULL && tensor->strides[0] != 1)
    return 0;
  /* PyTorch's imaginary parts of complex numbers may be views that negate what lies there. More than one has gaps. */
  return size_of(tensor) > 1 || is_false(PyObject_CallMethodObjArgs(object, is_neg_name, NULL));
}

static int alike(const DLTensor *x, const DLTensor *y) {
  return x->dtype.bits == y->dtype.bits && x->ndim == y->ndim && size_of(x) == size_of(y);
}

/** A tensor in memory of its own, until its framework has it. It lies behind its elements. */
typedef struct {
  DLManagedTensorVersioned managed;
  int64_t shape[1], strides[1];
} new_tensor;

/** A tensor may go in any thread. */
static void delete_tensor(DLManagedTensorVersioned *managed) { give_memory(managed->manager_ctx); }

static void drop_tensor(new_tensor *tensor) {
  if (tensor != NULL)
    delete_tensor(&tensor->managed);
}

/** A number, or a row as long as `row`, in its type. */
static new_tensor *make_tensor(const DLTensor *row, int ndim) {
  const size_t size = (ndim == 0 ? 1 : size_of(row)) * (row->dtype.bits / 8);
  const size_t place = (size + _Alignof(new_tensor) - 1) / _Alignof(new_tensor) * _Alignof(new_tensor);
  char *data = take_memory(place + sizeof(new_tensor));
  if (data == NULL)
    return NULL;
  new_tensor *made = (new_tensor *)(data + place);
  made->shape[0] = (int64_t)size_of(row);
  made->strides[0] = 1;
  made->managed = (DLManagedTensorVersioned){
      .version = {DLPACK_MAJOR_VERSION, DLPACK_MINOR_VERSION},
      .manager_ctx = data,
      .deleter = delete_tensor,
      .dl_tensor = {data, {kDLCPU, 0}, ndim, row->dtype, made->shape, made->strides, 0},
  };
  return made;
}

/** A tuple of the framework's tensors, with room for `others`. Takes the tensors over, some of which may be NULL for
 * want of memory. */
static PyObject *hand_over(new_tensor *const *made, Py_ssize_t count, Py_ssize_t others, const DLPackExchangeAPI *api) {
  PyObject *tuple = PyTuple_New(count + others);
  for (Py_ssize_t i = 0; i < count; i++) {
    void *object = NULL;
    if (tuple == NULL || made[i] == NULL) {
      drop_tensor(made[i]);
      Py_CLEAR(tuple);
    } else if (api->managed_tensor_to_py_object_no_sync(&made[i]->managed, &object) != 0) {
      Py_CLEAR(tuple); /* the framework has taken the tensor over, whether or not it succeeds */
    } else {
      PyTuple_SetItem(tuple, i, object);
    }
  }
  return tuple != NULL || PyErr_Occurred() ? tuple : PyErr_NoMemory();
}

enum { POLICY_CHOSEN, POLICY_REJECTED, REF_CHOSEN, REF_REJECTED, NUM_INPUTS };
enum { APPLY = NUM_INPUTS + 4, RESULT_TYPE, NUM_ARGUMENTS };
enum { LOSS, CHOSEN_REWARDS, REJECTED_REWARDS, NUM_TENSORS };

#define DEFINE_CALL(DTYPE, TYPE) \
  static swiftdpo_status call_##DTYPE(const DLTensor *in, const swiftdpo_dpo_options *options, new_tensor *const *out, \
                                      PyArrayObject *const *gradients) { \
    double loss; \
    const swiftdpo_pairs_##DTYPE pairs = { \
        .struct_size = sizeof pairs, \
        .count = size_of(in), \
        .policy_chosen_logps = in[POLICY_CHOSEN].data, \
        .policy_rejected_logps = in[POLICY_REJECTED].data, \
        .ref_chosen_logps = in[REF_CHOSEN].data, \
        .ref_rejected_logps = in[REF_REJECTED].data, \
    }; \
    const int whole = options->reduction != SWIFTDPO_REDUCTION_NONE; \
    const swiftdpo_pair_results_##DTYPE results = { \
        .struct_size = sizeof results, \
        .loss = &loss, \
        .losses = whole ? NULL : (TYPE *)out[LOSS]->managed.dl_tensor.data, \
        .grad_policy_chosen_logps = data_of(gradients[0]), \
        .grad_policy_rejected_logps = data_of(gradients[1]), \
        .chosen_rewards = (TYPE *)out[CHOSEN_REWARDS]->managed.dl_tensor.data, \
        .rejected_rewards = (TYPE *)out[REJECTED_REWARDS]->managed.dl_tensor.data, \
    }; \
    const swiftdpo_status status = swiftdpo_dpo_loss_##DTYPE(&pairs, options, &results, NULL); \
    if (whole && status == SWIFTDPO_OK) \
      *(TYPE *)out[LOSS]->managed.dl_tensor.data = (TYPE)loss; \
    return status; \
  }

DEFINE_CALL(f32, float)
DEFINE_CALL(f64, double)

/** The tensors, which have to be of one framework, type and shape, with a reference that collects no gradient. */
static int take_tensors(DLTensor *in, PyObject *const *objects, const DLPackExchangeAPI *api) {
  for (int i = 0; i < NUM_INPUTS; i++) {
    if (i >= REF_CHOSEN && objects[i] == Py_None) {
      in[i].data = NULL;
      continue;
    }
    if (Py_TYPE(objects[i]) != Py_TYPE(objects[0]) || !look_at(&in[i], objects[i], api) || !alike(&in[i], &in[0]))
      return 0;
    if (i >= REF_CHOSEN && !is_false(PyObject_GetAttr(objects[i], requires_grad_name)))
      return 0;
  }
  return (objects[REF_CHOSEN] == Py_None) == (objects[REF_REJECTED] == Py_None);
}

/** The arguments behind the tensors: beta, label_smoothing, reduction, nonfinite. */
static int take_options(swiftdpo_dpo_options *options, PyObject *const *args) {
  *options = (swiftdpo_dpo_options)SWIFTDPO_DPO_OPTIONS_INIT;
  if (take_double(&options->beta, args[0], "beta") < 0)
    return 0;
  if (take_double(&options->label_smoothing, args[1], "label_smoothing") < 0)
    return 0;
  return take_reduction(&options->reduction, args[2]) == 0 && take_nonfinite_late(&options->nonfinite, args[3]) == 0;
}

/** What the autograd function of `apply` makes of (chosen, rejected, (loss, (gradient, gradient))). */
static PyObject *loss_of_policy(PyObject *const *args, PyObject *loss, PyArrayObject *const *gradients) {
  PyObject *pair = PyTuple_Pack(2, gradients[0], gradients[1]);
  PyObject *known = pair == NULL ? NULL : PyTuple_Pack(2, loss, pair);
  Py_XDECREF(pair);
  if (known == NULL)
    return NULL;
  PyObject *found = PyObject_CallFunctionObjArgs(args[APPLY], args[POLICY_CHOSEN], args[POLICY_REJECTED], known, NULL);
  Py_DECREF(known);
  return found;
}

PyObject *core_tensors_dpo_loss(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs) {
  if (expect_arguments("tensors_dpo_loss", nargs, NUM_ARGUMENTS) < 0 || expect_tuple_type(args[RESULT_TYPE]) < 0)
    return NULL;
  DLTensor in[NUM_INPUTS];
  swiftdpo_dpo_options options;
  const DLPackExchangeAPI *api = exchange_of(args[0]);
  if (api == NULL || !take_tensors(in, args, api) || !take_options(&options, args + NUM_INPUTS)) {
    PyErr_Clear();
    return Py_NewRef(Py_None);
  }

  PyArrayObject *gradients[2] = {NULL};
  const npy_intp count = (npy_intp)size_of(in);
  const int is_single = in->dtype.bits == 32;
  if (new_arrays(gradients, 2, in->ndim, &count, is_single ? NPY_FLOAT : NPY_DOUBLE) < 0)
    return NULL;
  new_tensor *out[NUM_TENSORS] = {
      make_tensor(in, options.reduction == SWIFTDPO_REDUCTION_NONE ? in->ndim : 0),
      make_tensor(in, in->ndim),
      make_tensor(in, in->ndim),
  };
  swiftdpo_status status = SWIFTDPO_ERROR_OUT_OF_MEMORY;
  if (out[0] != NULL && out[1] != NULL && out[2] != NULL) {
    PyThreadState *released = release_gil_if(count >= MANY_SCORES);
    status = (is_single ? call_f32 : call_f64)(in, &options, out, gradients);
    regain_gil(released);
  }
  if (status != SWIFTDPO_OK) {
    for (int i = 0; i < NUM_TENSORS; i++)
      drop_tensor(out[i]);
    release_arrays(gradients, 2);
    return Py_NewRef(Py_None);
  }
  PyObject *results = hand_over(out, NUM_TENSORS, 0, api);
  PyObject *loss = results == NULL ? NULL : loss_of_policy(args, PyTuple_GetItem(results, LOSS), gradients);
  release_arrays(gradients, 2);
  if (loss == NULL || PyTuple_SetItem(results, LOSS, loss) < 0) {
    Py_XDECREF(results);
    return NULL;
  }
  return named(results, args[RESULT_TYPE]);
}

#define DEFINE_SCALE(DTYPE, TYPE) \
  static void scale_##DTYPE(const new_tensor *out, PyArrayObject *gradient, const DLTensor *by) { \
    const TYPE *from = PyArray_DATA(gradient), *factors = by->data; \
    void *to = out->managed.dl_tensor.data; \
    const npy_intp count = PyArray_SIZE(gradient); \
    const int is_row = by->ndim == 1; \
    const TYPE factor = is_row ? 1 : *factors; \
    for (npy_intp i = 0; i < count; i++) \
      ((TYPE *)to)[i] = from[i] * (is_row ? factors[i] : factor); \
  }

DEFINE_SCALE(f32, float)
DEFINE_SCALE(f64, double)

/** Whether `object` is a gradient as core_tensors_dpo_loss has it, for a loss of which `by` is the gradient. */
static int suits(PyObject *object, const DLTensor *by) {
  if (!PyArray_Check(object))
    return 0;
  PyArrayObject *gradient = (PyArrayObject *)object;
  if (PyArray_TYPE(gradient) != (by->dtype.bits == 32 ? NPY_FLOAT : NPY_DOUBLE) || !PyArray_ISCARRAY_RO(gradient))
    return 0;
  return PyArray_NDIM(gradient) <= 1 && (by->ndim == 0 || PyArray_SIZE(gradient) == by->shape[0]);
}

PyObject *core_tensors_scaled(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs) {
  if (expect_arguments("tensors_scaled", nargs, 3) < 0)
    return NULL;
  DLTensor by;
  const DLPackExchangeAPI *api = exchange_of(args[2]);
  if (api == NULL || !look_at(&by, args[2], api) || !suits(args[0], &by) || !suits(args[1], &by)) {
    PyErr_Clear();
    return Py_NewRef(Py_None);
  }
  new_tensor *out[2];
  for (int i = 0; i < 2; i++) {
    PyArrayObject *gradient = (PyArrayObject *)args[i];
    int64_t count = PyArray_SIZE(gradient);
    const DLTensor row = {.ndim = 1, .dtype = by.dtype, .shape = &count};
    out[i] = make_tensor(&row, PyArray_NDIM(gradient));
    if (out[i] != NULL)
      (by.dtype.bits == 32 ? scale_f32 : scale_f64)(out[i], gradient, &by);
  }
  PyObject *scaled = hand_over(out, 2, 1, api);
  if (scaled != NULL)
    PyTuple_SetItem(scaled, 2, Py_NewRef(Py_None));
  return scaled;
}
