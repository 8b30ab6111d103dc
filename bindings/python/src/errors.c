/* Statuses of the library, and failures of conversions, as Python exceptions that say which argument is to blame. */
#include "core.h"

PyObject *tuple_of(int count, const npy_intp *numbers) {
  PyObject *tuple = PyTuple_New(count);
  for (int i = 0; tuple != NULL && i < count; i++) {
    PyObject *number = PyLong_FromSsize_t(numbers[i]);
    if (number == NULL)
      Py_CLEAR(tuple);
    else
      PyTuple_SetItem(tuple, i, number);
  }
  return tuple;
}

/** Which operand the library means by a field, or NULL for what is no array. */
static const operand *find(const char *field, const operand *operands, size_t count) {
  for (size_t i = 0; i < count; i++) {
    if (operands[i].array != NULL && strcmp(operands[i].field, field) == 0)
      return &operands[i];
  }
  return NULL;
}

/** What Python's users call a field that is no operand: a length, or an option. */
static const char *python_name(const char *field) {
  if (strcmp(field, "group_size") == 0)
    return "policy_logps.shape[-1]";
  if (strcmp(field, "num_position_weights") == 0)
    return "position_weights.shape[0]";
  if (strcmp(field, "num_tie_strengths") == 0)
    return "tie_strengths.shape[0]";
  if (strcmp(field, "num_responses") == 0)
    return "rewards.shape[-1]";
  if (strcmp(field, "num_outcomes") == 0)
    return "logp.shape[-1]";
  if (strcmp(field, "vocab_size") == 0)
    return "logits.shape[-1]";
  if (strcmp(field, "logit_scale") == 0)
    return "1 / temperature";
  return field;
}

/** The offset of an element, as the library counts it, as text: "[3]", or "[0, 2, 17]" in three dimensions. */
static void write_position(char *text, size_t size, size_t offset, PyArrayObject *array) {
  size_t used = 0;
  for (int axis = 0; axis < PyArray_NDIM(array) && used < size; axis++) {
    size_t position = 0, step = (size_t)(PyArray_STRIDE(array, axis) / PyArray_ITEMSIZE(array));
    if (PyArray_DIM(array, axis) > 1 && step > 0) {
      position = offset / step;
      offset %= step;
    }
    used += (size_t)PyOS_snprintf(text + used, size - used, axis == 0 ? "[%zu" : ", %zu", position);
  }
  if (used > 0 && used < size)
    PyOS_snprintf(text + used, size - used, "]");
}

PyObject *raise_status(swiftdpo_status status, const swiftdpo_culprit *culprit, const operand *operands, size_t count) {
  if (status == SWIFTDPO_ERROR_OUT_OF_MEMORY)
    return PyErr_NoMemory();
  const char *rule = swiftdpo_status_string(status);
  if (culprit->argument == NULL)
    return PyErr_Format(PyExc_ValueError, "%s", rule);
  const operand *argument = find(culprit->argument, operands, count);
  if (argument == NULL)
    return PyErr_Format(PyExc_ValueError, "%s: %s", python_name(culprit->argument), rule);
  char position[128] = "";
  if (status >= SWIFTDPO_ERROR_BETA) /* those below are about a buffer as a whole */
    write_position(position, sizeof position, culprit->index, argument->array);
  return PyErr_Format(PyExc_ValueError, "%s%s: %s", argument->name, position, rule);
}

void blame(const char *name) {
  if (!PyErr_ExceptionMatches(PyExc_Exception) || PyErr_ExceptionMatches(PyExc_MemoryError))
    return;
  PyObject *type, *cause, *traceback, *raised;
  PyErr_Fetch(&type, &cause, &traceback);
  PyErr_NormalizeException(&type, &cause, &traceback);
  if (traceback != NULL)
    PyException_SetTraceback(cause, traceback);
  int of_type = PyErr_GivenExceptionMatches(type, PyExc_TypeError);
  Py_XDECREF(type);
  Py_XDECREF(traceback);

  PyErr_Format(of_type ? PyExc_TypeError : PyExc_ValueError, "%s: %S", name, cause);
  PyErr_Fetch(&type, &raised, &traceback);
  PyErr_NormalizeException(&type, &raised, &traceback);
  PyException_SetCause(raised, cause); /* takes the cause over */
  PyErr_Restore(type, raised, traceback);
}
