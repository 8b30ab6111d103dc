/* Python objects as NumPy arrays: what is taken as it lies in memory, what is copied, what is refused. */
#include "core.h"

static int exports_dlpack(PyObject *object) { return PyObject_HasAttrString(object, "__dlpack__"); }

/** `object` as an array over its own memory, if it is an array of any kind; else as NumPy's conversion of it. */
static PyArrayObject *as_array(PyObject *object, const char *name) {
  if (PyArray_Check(object))
    return (PyArrayObject *)Py_NewRef(object);
  if (object == Py_None)
    return (PyArrayObject *)PyErr_Format(PyExc_TypeError, "%s is required, and may not be None", name);
  PyArrayObject *array =
      exports_dlpack(object) ? borrow_dlpack(object) : (PyArrayObject *)PyArray_FromAny(object, NULL, 0, 0, 0, NULL);
  if (array == NULL)
    blame(name);
  return array;
}

/** Lists, tuples and numbers: what has no element type of its own. */
static int is_untyped(PyObject *object) {
  return PyList_Check(object) || PyTuple_Check(object) || PyLong_Check(object);
}

/** `array` itself if it is contiguous, aligned and in native byte order, else a copy that is. Takes `array` over. */
static PyArrayObject *contiguous(PyArrayObject *array, int type) {
  if (PyArray_TYPE(array) == type && PyArray_ISCARRAY_RO(array))
    return array;
  PyObject *copy = PyArray_FromArray(array, PyArray_DescrFromType(type), NPY_ARRAY_CARRAY_RO);
  Py_DECREF(array);
  return (PyArrayObject *)copy;
}

static int refuse_type(const operand *argument, PyArrayObject *array, const char *expected) {
  PyErr_Format(PyExc_TypeError, "%s has dtype %S; expected %s", argument->name, PyArray_DESCR(array), expected);
  return -1;
}

static int is_float(int type) { return type == NPY_FLOAT || type == NPY_DOUBLE; }

static int take_float(operand *argument, PyObject *object, const operand *first) {
  PyArrayObject *array = as_array(object, argument->name);
  if (array == NULL)
    return -1;
  int type = PyArray_TYPE(array);
  if (is_untyped(object) && (PyTypeNum_ISINTEGER(type) || PyTypeNum_ISBOOL(type)))
    type = NPY_DOUBLE;

  if (!is_float(type)) {
    refuse_type(argument, array, "float32 or float64");
  } else if (first != argument && type != PyArray_TYPE(first->array)) {
    PyErr_Format(PyExc_TypeError,
                 "%s is %s but %s is %s: the floating-point arrays of one call share one dtype (lists are float64)",
                 argument->name, type == NPY_FLOAT ? "float32" : "float64", first->name,
                 type == NPY_FLOAT ? "float64" : "float32");
  } else {
    argument->array = contiguous(array, type);
    return argument->array == NULL ? -1 : 0;
  }
  Py_DECREF(array);
  return -1;
}

int take_floats(operand *operands, PyObject *const *objects, size_t count, size_t required) {
  for (size_t i = 0; i < count; i++) {
    if (i >= required && objects[i] == Py_None)
      continue;
    if (take_float(&operands[i], objects[i], &operands[0]) < 0)
      return -1;
  }
  return 0;
}

int take_converted(operand *argument, PyObject *object, int type) {
  PyArrayObject *array = as_array(object, argument->name);
  if (array == NULL)
    return -1;
  /* Booleans would convert, but are no labels or positions: more likely a mask in the wrong place. */
  if (PyTypeNum_ISBOOL(PyArray_TYPE(array)) || !PyArray_CanCastSafely(PyArray_TYPE(array), type)) {
    refuse_type(argument, array, type == NPY_INT64 ? "int64 or int32" : "float64 or float32");
    Py_DECREF(array);
    return -1;
  }
  argument->array = contiguous(array, type);
  return argument->array == NULL ? -1 : 0;
}

int take_view(operand *argument, PyObject *object, int type) {
  argument->array = as_array(object, argument->name);
  if (argument->array == NULL)
    return -1;
  if (PyArray_TYPE(argument->array) != type || !PyArray_ISNOTSWAPPED(argument->array))
    return refuse_type(argument, argument->array, type == NPY_FLOAT ? "float32" : "float64");
  return 0;
}

int take_output(operand *argument, PyObject *object, int type) {
  if (!PyArray_Check(object) && !PyObject_CheckBuffer(object) && !exports_dlpack(object)) {
    PyErr_Format(PyExc_TypeError, "%s is no array: nothing could be written to it", argument->name);
    return -1;
  }
  if (take_view(argument, object, type) < 0)
    return -1;
  if (!PyArray_ISWRITEABLE(argument->array)) {
    PyErr_Format(PyExc_ValueError, "%s is read-only", argument->name);
    return -1;
  }
  return 0;
}

void release_operands(operand *operands, size_t count) {
  for (size_t i = 0; i < count; i++)
    Py_CLEAR(operands[i].array);
}

int check_shape(const operand *argument, int ndim, const npy_intp *shape, const char *meaning) {
  PyArrayObject *array = argument->array;
  if (array == NULL)
    return 0;
  if (PyArray_NDIM(array) == ndim && PyArray_CompareLists(PyArray_DIMS(array), shape, ndim))
    return 0;
  PyObject *actual = tuple_of(PyArray_NDIM(array), PyArray_DIMS(array));
  PyObject *expected = tuple_of(ndim, shape);
  if (actual != NULL && expected != NULL)
    PyErr_Format(PyExc_ValueError, "%s has shape %S; expected %S, %s", argument->name, actual, expected, meaning);
  Py_XDECREF(actual);
  Py_XDECREF(expected);
  return -1;
}

int new_arrays(PyArrayObject **arrays, size_t count, int ndim, const npy_intp *shape, int type) {
  for (size_t i = 0; i < count; i++) {
    arrays[i] = (PyArrayObject *)PyArray_SimpleNew(ndim, (npy_intp *)shape, type);
    if (arrays[i] == NULL) {
      release_arrays(arrays, i);
      return -1;
    }
  }
  return 0;
}

void release_arrays(PyArrayObject **arrays, size_t count) {
  for (size_t i = 0; i < count; i++)
    Py_CLEAR(arrays[i]);
}

PyObject *head_results(double loss, swiftdpo_reduction reduction, PyArrayObject **arrays, size_t count) {
  PyObject *results = PyTuple_New((Py_ssize_t)count + 1);
  PyObject *reduced =
      reduction == SWIFTDPO_REDUCTION_NONE ? Py_NewRef((PyObject *)arrays[0]) : PyFloat_FromDouble(loss);
  if (results == NULL || reduced == NULL) {
    Py_XDECREF(results);
    Py_XDECREF(reduced);
    release_arrays(arrays, count);
    return NULL;
  }
  PyTuple_SetItem(results, 0, reduced);
  for (size_t i = 0; i < count; i++)
    PyTuple_SetItem(results, (Py_ssize_t)i + 1, (PyObject *)arrays[i]);
  return results;
}
