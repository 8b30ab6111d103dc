/*
 * Tensors of other libraries, through the DLPack protocol, for the length of one call.
 *
 * The consumer that keeps a tensor renames its capsule and calls the deleter later. We only borrow: the capsule keeps
 * its name, the array holds the capsule, and when the array goes the capsule's own destructor frees the export.
 */
#include "core.h"

#include "third_party/dlpack.h"

enum { MAX_DIMENSIONS = 8 }; /* far more than any argument has */

/** The protocol's names, made once: a string made for each call would stay in the interpreter's cache of attributes. */
static PyObject *dlpack_name, *dlpack_device_name;

int name_dlpack(void) {
  if (dlpack_name == NULL)
    dlpack_name = PyUnicode_InternFromString("__dlpack__");
  if (dlpack_device_name == NULL)
    dlpack_device_name = PyUnicode_InternFromString("__dlpack_device__");
  return dlpack_name == NULL || dlpack_device_name == NULL ? -1 : 0;
}

int exports_dlpack(PyObject *object) { return PyObject_HasAttr(object, dlpack_name); }

static const struct {
  uint8_t code, bits;
  int type;
} types[] = {
    {kDLFloat, 16, NPY_HALF},  {kDLFloat, 32, NPY_FLOAT}, {kDLFloat, 64, NPY_DOUBLE}, {kDLInt, 8, NPY_INT8},
    {kDLInt, 16, NPY_INT16},   {kDLInt, 32, NPY_INT32},   {kDLInt, 64, NPY_INT64},    {kDLUInt, 8, NPY_UINT8},
    {kDLUInt, 16, NPY_UINT16}, {kDLUInt, 32, NPY_UINT32}, {kDLUInt, 64, NPY_UINT64},  {kDLBool, 8, NPY_BOOL},
};

/** NumPy's type for a tensor's. That for bfloat16 holds its bit patterns, where they are taken. */
static int numpy_type(DLDataType dtype, int *is_bfloat16) {
  for (size_t i = 0; dtype.lanes == 1 && i < sizeof types / sizeof types[0]; i++) {
    if (types[i].code == dtype.code && types[i].bits == dtype.bits)
      return types[i].type;
  }
  if (dtype.code == kDLBfloat && dtype.bits == 16 && dtype.lanes == 1 && is_bfloat16 != NULL) {
    *is_bfloat16 = 1;
    return NPY_UINT16;
  }
  if (dtype.code == kDLBfloat)
    PyErr_SetString(PyExc_TypeError, "bfloat16 is not taken here: convert it to float32");
  else
    PyErr_Format(PyExc_TypeError, "its element type is not taken (DLPack code %d, %d bits, %d lanes)", dtype.code,
                 dtype.bits, dtype.lanes);
  return NPY_NOTYPE;
}

/** Only memory that the processor reads is taken: its own, and the part of it that is pinned for a GPU. */
static int check_device(PyObject *object) {
  PyObject *device = PyObject_CallMethodObjArgs(object, dlpack_device_name, NULL);
  if (device == NULL)
    return -1;
  PyObject *first = PySequence_GetItem(device, 0);
  Py_DECREF(device);
  if (first == NULL)
    return -1;
  long kind = PyLong_AsLong(first);
  Py_DECREF(first);
  if (kind == -1 && PyErr_Occurred())
    return -1;
  if (kind == kDLCPU || kind == kDLCUDAHost || kind == kDLROCMHost)
    return 0;
  PyErr_Format(PyExc_TypeError, "it is on a device (DLPack type %ld), not in CPU memory: copy it there first", kind);
  return -1;
}

/** The tensor's capsule, of the newest kind that its library has. */
static PyObject *export_capsule(PyObject *object) {
  PyObject *export = PyObject_GetAttr(object, dlpack_name);
  PyObject *none = PyTuple_New(0);
  PyObject *newest = Py_BuildValue("{s(ii)}", "max_version", DLPACK_MAJOR_VERSION, DLPACK_MINOR_VERSION);
  PyObject *capsule = NULL;
  if (export != NULL && none != NULL && newest != NULL) {
    capsule = PyObject_Call(export, none, newest);
    if (capsule == NULL && PyErr_ExceptionMatches(PyExc_TypeError)) { /* older than DLPack 1.0 */
      PyErr_Clear();
      capsule = PyObject_Call(export, none, NULL);
    }
  }
  Py_XDECREF(export);
  Py_XDECREF(none);
  Py_XDECREF(newest);
  return capsule;
}

/** The tensor in a capsule, and whether it may be written: older exports don't say, and so may not. */
static const DLTensor *open_capsule(PyObject *capsule, int *writable) {
  if (PyCapsule_IsValid(capsule, "dltensor_versioned")) {
    struct DLManagedTensorVersioned *managed = PyCapsule_GetPointer(capsule, "dltensor_versioned");
    if (managed->version.major != DLPACK_MAJOR_VERSION) {
      PyErr_Format(PyExc_ValueError, "it is exported as DLPack %u.%u; expected %d", managed->version.major,
                   managed->version.minor, DLPACK_MAJOR_VERSION);
      return NULL;
    }
    *writable = (managed->flags & DLPACK_FLAG_BITMASK_READ_ONLY) == 0;
    return &managed->dl_tensor;
  }
  DLManagedTensor *managed = PyCapsule_GetPointer(capsule, "dltensor");
  *writable = 0;
  return managed == NULL ? NULL : &managed->dl_tensor;
}

/** An array over the tensor's memory, which it does not own. */
static PyArrayObject *view_tensor(const DLTensor *tensor, int writable, int *is_bfloat16) {
  int type = numpy_type(tensor->dtype, is_bfloat16);
  if (type == NPY_NOTYPE)
    return NULL;
  if (tensor->ndim < 0 || tensor->ndim > MAX_DIMENSIONS)
    return (PyArrayObject *)PyErr_Format(PyExc_ValueError, "it has %d dimensions", tensor->ndim);

  npy_intp shape[MAX_DIMENSIONS], strides[MAX_DIMENSIONS]; /* strides: DLPack counts elements, NumPy bytes */
  int empty = 0;
  for (int i = 0; i < tensor->ndim; i++) {
    shape[i] = tensor->shape[i];
    strides[i] = tensor->strides == NULL ? 0 : tensor->strides[i] * (tensor->dtype.bits / 8);
    empty |= shape[i] == 0;
  }
  if (tensor->data == NULL && !empty)
    return (PyArrayObject *)PyErr_Format(PyExc_ValueError, "it has no data");
  char *data = tensor->data == NULL ? NULL : (char *)tensor->data + tensor->byte_offset;
  return (PyArrayObject *)PyArray_New(&PyArray_Type, tensor->ndim, shape, type,
                                      tensor->strides == NULL ? NULL : strides, data, 0,
                                      writable ? NPY_ARRAY_WRITEABLE : 0, NULL);
}

PyArrayObject *borrow_dlpack(PyObject *object, int *is_bfloat16) {
  if (check_device(object) < 0)
    return NULL;
  PyObject *capsule = export_capsule(object);
  if (capsule == NULL)
    return NULL;
  int writable;
  const DLTensor *tensor = open_capsule(capsule, &writable);
  PyArrayObject *array = tensor == NULL ? NULL : view_tensor(tensor, writable, is_bfloat16);
  if (array == NULL)
    Py_DECREF(capsule);
  else if (PyArray_SetBaseObject(array, capsule) < 0) /* takes the capsule over, even if it fails */
    Py_CLEAR(array);
  return array;
}
