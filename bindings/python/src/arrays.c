/* Python objects as NumPy arrays: what is taken as it lies in memory, what is copied, what is refused. */
#include "core.h"

/** `object` as an array over its own memory, if it is an array of any kind; else as NumPy's conversion of it. Tensors of
 * bfloat16, which NumPy does not have, become their bit patterns and say so, where they are taken at all. */
static PyArrayObject *as_array(PyObject *object, const char *name, int *is_bfloat16) {
  if (PyArray_Check(object))
    return (PyArrayObject *)Py_NewRef(object);
  if (object == Py_None)
    return (PyArrayObject *)PyErr_Format(PyExc_TypeError, "%s is required, and may not be None", name);
  PyArrayObject *array = exports_dlpack(object) ? borrow_dlpack(object, is_bfloat16)
                                                : (PyArrayObject *)PyArray_FromAny(object, NULL, 0, 0, 0, NULL);
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

static const char *const element_names[] = {
    [F32] = "float32", [F64] = "float64", [F16] = "float16", [BF16] = "bfloat16"};
static const char any_float[] = "float32, float64, float16 or bfloat16";

static int is_float(int type) { return type == NPY_FLOAT || type == NPY_DOUBLE; }

static const char *name_of(int type, element single) { return element_names[type == NPY_DOUBLE ? F64 : single]; }

/** What came as half precision is float32 by now: `singles` say what the object and the first one were, for messages. */
static int take_float(operand *argument, PyObject *object, const operand *first, const char *expected,
                      const element singles[2]) {
  PyArrayObject *array = as_array(object, argument->name, NULL);
  if (array == NULL)
    return -1;
  int type = PyArray_TYPE(array);
  if (is_untyped(object) && (PyTypeNum_ISINTEGER(type) || PyTypeNum_ISBOOL(type)))
    type = NPY_DOUBLE;

  if (!is_float(type)) {
    refuse_type(argument, array, expected);
  } else if (first != argument && type != PyArray_TYPE(first->array)) {
    PyErr_Format(PyExc_TypeError,
                 "%s is %s but %s is %s: the floating-point arrays of one call share one dtype (lists are float64)",
                 argument->name, name_of(type, singles[0]), first->name,
                 name_of(PyArray_TYPE(first->array), singles[1]));
  } else {
    argument->array = contiguous(array, type);
    return argument->array == NULL ? -1 : 0;
  }
  Py_DECREF(array);
  return -1;
}

int take_floats(operand *operands, PyObject *const *objects, size_t count, size_t required) {
  static const element singles[] = {F32, F32};
  for (size_t i = 0; i < count; i++) {
    if (i >= required && objects[i] == Py_None)
      continue;
    if (take_float(&operands[i], objects[i], &operands[0], "float32 or float64", singles) < 0)
      return -1;
  }
  return 0;
}

/** Leaves `argument` an array that it has as a contiguous one of `type`. */
static int make_contiguous(operand *argument, int type) {
  argument->array = contiguous(argument->array, type);
  return argument->array == NULL ? -1 : 0;
}

/** `argument` has an array whose type must be `type`, or convert to it without loss. */
static int convert(operand *argument, int type) {
  const int given = PyArray_TYPE(argument->array);
  /* Booleans would convert, but are no labels or positions: more likely a mask in the wrong place. */
  if (PyTypeNum_ISBOOL(given) || !PyArray_CanCastSafely(given, type))
    return refuse_type(argument, argument->array, type == NPY_INT64 ? "int64 or int32" : "float64 or float32");
  return make_contiguous(argument, type);
}

int take_converted(operand *argument, PyObject *object, int type) {
  argument->array = as_array(object, argument->name, NULL);
  return argument->array == NULL ? -1 : convert(argument, type);
}

int take_labels(operand *argument, PyObject *object) {
  argument->array = as_array(object, argument->name, NULL);
  if (argument->array == NULL)
    return -1;
  if (PyArray_TYPE(argument->array) != NPY_INT32)
    return convert(argument, NPY_INT64);
  argument->field = "labels_i32";
  return make_contiguous(argument, NPY_INT32);
}

int take_mask(operand *argument, PyObject *object) {
  argument->array = as_array(object, argument->name, NULL);
  if (argument->array == NULL)
    return -1;
  const int type = PyArray_TYPE(argument->array);
  if (type != NPY_BOOL && type != NPY_UINT8)
    return refuse_type(argument, argument->array, "bool or uint8");
  return make_contiguous(argument, type);
}

/** Whether an array has the type that the package ml_dtypes gives to NumPy. */
static int has_type_bfloat16(PyArrayObject *array) {
  if (PyArray_TYPE(array) < NPY_USERDEF)
    return 0;
  PyObject *name = PyObject_Str((PyObject *)PyArray_DESCR(array));
  if (name == NULL)
    PyErr_Clear();
  const int is_bfloat16 = name != NULL && PyUnicode_CompareWithASCIIString(name, element_names[BF16]) == 0;
  Py_XDECREF(name);
  return is_bfloat16;
}

/** Leaves `argument` the bit patterns of an array that it has. */
static int view_bits(operand *argument) {
  PyObject *bits = PyArray_View(argument->array, PyArray_DescrFromType(NPY_UINT16), NULL);
  Py_DECREF(argument->array);
  argument->array = (PyArrayObject *)bits;
  return bits == NULL ? -1 : 0;
}

int take_logits(operand *argument, PyObject *object, element *type) {
  int is_bfloat16 = 0;
  argument->array = as_array(object, argument->name, &is_bfloat16);
  if (argument->array == NULL)
    return -1;
  *type = BF16;
  if (is_bfloat16)
    return 0;
  if (has_type_bfloat16(argument->array))
    return view_bits(argument);
  const int given = PyArray_TYPE(argument->array);
  *type = given == NPY_DOUBLE ? F64 : given == NPY_HALF ? F16 : F32;
  if ((*type != F32 || given == NPY_FLOAT) && PyArray_ISNOTSWAPPED(argument->array))
    return 0;
  return refuse_type(argument, argument->array, any_float);
}

/** Bit patterns of bfloat16 as float32. */
static PyObject *widen_bits(PyArrayObject *bits) {
  PyObject *single = PyArray_SimpleNew(PyArray_NDIM(bits), PyArray_DIMS(bits), NPY_FLOAT);
  if (single == NULL)
    return NULL;
  const uint16_t *from = PyArray_DATA(bits);
  uint32_t *to = PyArray_DATA((PyArrayObject *)single);
  for (npy_intp i = 0; i < PyArray_SIZE(bits); i++)
    to[i] = (uint32_t)from[i] << 16;
  return single;
}

/** An array or tensor of half precision as a new one of float32, with the same values; any other object as it is. `*given`
 * is which half it was, else F32. */
static PyObject *widened(PyObject *object, const char *name, element *given) {
  *given = F32;
  if (!PyArray_Check(object) && !exports_dlpack(object))
    return Py_NewRef(object);
  int is_bfloat16 = 0;
  operand half = {name, name, as_array(object, name, &is_bfloat16)};
  if (half.array == NULL)
    return NULL;
  PyObject *single = NULL;
  if (PyArray_TYPE(half.array) == NPY_HALF) {
    *given = F16;
    single = PyArray_FromArray(half.array, PyArray_DescrFromType(NPY_FLOAT), NPY_ARRAY_CARRAY_RO);
  } else if (!is_bfloat16 && !has_type_bfloat16(half.array)) {
    single = Py_NewRef(object);
  } else if ((is_bfloat16 || view_bits(&half) == 0) && make_contiguous(&half, NPY_UINT16) == 0) {
    *given = BF16;
    single = widen_bits(half.array);
  }
  Py_XDECREF((PyObject *)half.array);
  return single;
}

int take_widened(operand *operands, PyObject *const *objects, size_t count, size_t required, size_t beta,
                 double *number) {
  element singles[2];
  for (size_t i = 0; i < count; i++) {
    PyObject *owned = widened(objects[i], operands[i].name, &singles[0]), *object = owned;
    if (owned == NULL)
      return -1;
    if (i == 0)
      singles[1] = singles[0];
    int taken = i == beta ? take_number(number, &object, operands[i].name) : 0;
    if (taken == 0 && (i < required || object != Py_None))
      taken = take_float(&operands[i], object, &operands[0], any_float, singles);
    Py_DECREF(owned);
    if (taken < 0)
      return -1;
  }
  return 0;
}

int take_output(operand *argument, PyObject *object, element type) {
  element given;
  if (!PyArray_Check(object) && !PyObject_CheckBuffer(object) && !exports_dlpack(object)) {
    PyErr_Format(PyExc_TypeError, "%s is no array: nothing could be written to it", argument->name);
    return -1;
  }
  if (take_logits(argument, object, &given) < 0)
    return -1;
  if (given != type) {
    PyErr_Format(PyExc_TypeError, "%s has dtype %s; expected %s, as logits", argument->name, element_names[given],
                 element_names[type]);
    return -1;
  }
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

int check_rows(const operand *argument) {
  if (PyArray_NDIM(argument->array) > 0)
    return 0;
  PyErr_Format(PyExc_ValueError, "%s is a single number; expected an array whose last axis lists what it is about",
               argument->name);
  return -1;
}

int new_arrays(PyArrayObject **arrays, size_t count, int ndim, const npy_intp *shape, int type) {
  PyArray_Descr *descr = PyArray_DescrFromType(type);
  size_t size = (size_t)PyDataType_ELSIZE(descr), made = 0;
  for (int i = 0; i < ndim; i++)
    size *= (size_t)shape[i];
  PyObject *before;
  if (use_memory(&before, size) < 0) {
    Py_DECREF((PyObject *)descr);
    return -1;
  }
  for (; made < count; made++) {
    Py_INCREF((PyObject *)descr); /* the array takes it over */
    arrays[made] = (PyArrayObject *)PyArray_NewFromDescr(&PyArray_Type, descr, ndim, shape, NULL, NULL, 0, NULL);
    if (arrays[made] == NULL)
      break;
  }
  Py_DECREF((PyObject *)descr);
  if (leave_memory(before) == 0 && made == count)
    return 0;
  release_arrays(arrays, made);
  return -1;
}

void release_arrays(PyArrayObject **arrays, size_t count) {
  for (size_t i = 0; i < count; i++)
    Py_CLEAR(arrays[i]);
}

PyObject *tuple_of_arrays(PyArrayObject *const *arrays, size_t count) {
  PyObject *tuple = PyTuple_New((Py_ssize_t)count);
  for (size_t i = 0; tuple != NULL && i < count; i++)
    PyTuple_SetItem(tuple, (Py_ssize_t)i, Py_NewRef(arrays[i] == NULL ? Py_None : (PyObject *)arrays[i]));
  return tuple;
}

int expect_tuple_type(PyObject *type) {
  if (PyType_Check(type) && PyType_IsSubtype((PyTypeObject *)type, &PyTuple_Type))
    return 0;
  PyErr_Format(PyExc_TypeError, "result_type is %R; expected a kind of tuple", type);
  return -1;
}

PyObject *named(PyObject *tuple, PyObject *type) {
  newfunc make = (newfunc)PyType_GetSlot(&PyTuple_Type, Py_tp_new);
  PyObject *arguments = PyTuple_Pack(1, tuple);
  PyObject *found = arguments == NULL ? NULL : make((PyTypeObject *)type, arguments, NULL);
  Py_XDECREF(arguments);
  Py_DECREF(tuple);
  return found;
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
    PyTuple_SetItem(results, (Py_ssize_t)i + 1, arrays[i] == NULL ? Py_NewRef(Py_None) : (PyObject *)arrays[i]);
  return results;
}

PyObject *tuple_of_values(PyArrayObject *const *arrays, size_t count) {
  PyObject *tuple = PyTuple_New((Py_ssize_t)count);
  for (size_t i = 0; tuple != NULL && i < count; i++) {
    PyObject *object = Py_NewRef(object_or_none(arrays[i]));
    if (arrays[i] != NULL)
      object = PyArray_Return((PyArrayObject *)object);
    if (object == NULL)
      Py_CLEAR(tuple);
    else
      PyTuple_SetItem(tuple, (Py_ssize_t)i, object);
  }
  return tuple;
}
