/* Arguments that are no arrays: numbers, and choices by name. */
#include "core.h"

int expect_arguments(const char *function, Py_ssize_t given, Py_ssize_t expected) {
  if (given == expected)
    return 0;
  PyErr_Format(PyExc_TypeError, "%s takes %zd arguments, got %zd", function, expected, given);
  return -1;
}

int take_double(double *number, PyObject *object, const char *name) {
  *number = PyFloat_AsDouble(object);
  if (*number != -1.0 || !PyErr_Occurred())
    return 0;
  blame(name);
  return -1;
}

int take_number(double *number, PyObject **object, const char *name) {
  /* Arrays and sequences have a length; numbers, and arrays of no dimensions, have none. */
  if (!PyFloat_Check(*object)) {
    if (PyObject_Size(*object) >= 0)
      return 0;
    if (!PyErr_ExceptionMatches(PyExc_TypeError)) {
      blame(name);
      return -1;
    }
    PyErr_Clear();
  }
  if (take_double(number, *object, name) < 0)
    return -1;
  *object = Py_None;
  return 0;
}

int take_int64(int64_t *number, PyObject *object, const char *name) {
  int overflow;
  *number = PyLong_AsLongLongAndOverflow(object, &overflow);
  if (overflow != 0)
    PyErr_Format(PyExc_ValueError, "%s is %R; expected an int64", name, object);
  else if (*number == -1 && PyErr_Occurred())
    blame(name);
  else
    return 0;
  return -1;
}

int take_count(size_t *count, PyObject *object, const char *name) {
  int64_t number;
  if (take_int64(&number, object, name) < 0)
    return -1;
  *count = (size_t)number;
  if (number >= 0)
    return 0;
  PyErr_Format(PyExc_ValueError, "%s is %lld; expected a number of at least 0", name, (long long)number);
  return -1;
}

int take_flag(int32_t *flag, PyObject *object, const char *name) {
  *flag = PyObject_IsTrue(object);
  if (*flag >= 0)
    return 0;
  blame(name);
  return -1;
}

/** The position of a name in a list that ends in NULL, or -1 with an exception that lists them all. */
static int take_choice(PyObject *object, const char *name, const char *const *choices, const char *listed) {
  for (int i = 0; PyUnicode_Check(object) && choices[i] != NULL; i++) {
    if (PyUnicode_CompareWithASCIIString(object, choices[i]) == 0)
      return i;
  }
  PyErr_Format(PyExc_ValueError, "%s is %R; expected %s", name, object, listed);
  return -1;
}

/** The names that most calls have, which comparing by letters takes longer than all their other arguments. */
static PyObject *mean_name, *error_name;

int name_choices(void) {
  if (mean_name == NULL)
    mean_name = PyUnicode_InternFromString("mean");
  if (error_name == NULL)
    error_name = PyUnicode_InternFromString("error");
  return mean_name == NULL || error_name == NULL ? -1 : 0;
}

int take_reduction(swiftdpo_reduction *reduction, PyObject *object) {
  *reduction = SWIFTDPO_REDUCTION_MEAN;
  if (object == mean_name)
    return 0;
  static const char *const choices[] = {"mean", "sum", "none", NULL}; /* as swiftdpo_reduction counts */
  int choice = take_choice(object, "reduction", choices, "'mean', 'sum' or 'none'");
  if (choice >= 0)
    *reduction = (swiftdpo_reduction)choice;
  return choice < 0 ? -1 : 0;
}

int take_nonfinite(swiftdpo_nonfinite *nonfinite, PyObject *object) {
  *nonfinite = SWIFTDPO_NONFINITE_ERROR;
  if (object == error_name)
    return 0;
  static const char *const choices[] = {"error", "propagate", NULL}; /* as swiftdpo_nonfinite counts */
  int choice = take_choice(object, "nonfinite", choices, "'error' or 'propagate'");
  if (choice >= 0)
    *nonfinite = (swiftdpo_nonfinite)choice;
  return choice < 0 ? -1 : 0;
}

int take_nonfinite_late(swiftdpo_nonfinite *nonfinite, PyObject *object) {
  if (take_nonfinite(nonfinite, object) < 0)
    return -1;
  if (*nonfinite == SWIFTDPO_NONFINITE_ERROR)
    *nonfinite = SWIFTDPO_NONFINITE_ERROR_LATE;
  return 0;
}

int take_unlisted(swiftdpo_unlisted *unlisted, PyObject *object) {
  static const char *const choices[] = {"error", "absent", "remain", NULL}; /* as swiftdpo_unlisted counts */
  int choice = take_choice(object, "unlisted", choices, "'error', 'absent' or 'remain'");
  if (choice >= 0)
    *unlisted = (swiftdpo_unlisted)choice;
  return choice < 0 ? -1 : 0;
}

int take_first_choice(swiftdpo_first_choice *first_choice, PyObject *object) {
  static const char *const choices[] = {"best", "worst", NULL}; /* as swiftdpo_first_choice counts */
  int choice = take_choice(object, "first_choice", choices, "'best' or 'worst'");
  if (choice >= 0)
    *first_choice = (swiftdpo_first_choice)choice;
  return choice < 0 ? -1 : 0;
}

int take_ties(swiftdpo_ties *ties, PyObject *object) {
  static const char *const choices[] = {"breslow", "efron", "average", "davidson", NULL}; /* as swiftdpo_ties counts */
  int choice = take_choice(object, "ties", choices, "'breslow', 'efron', 'average' or 'davidson'");
  if (choice >= 0)
    *ties = (swiftdpo_ties)choice;
  return choice < 0 ? -1 : 0;
}

int take_listwise_loss_type(swiftdpo_listwise_loss_type *loss_type, PyObject *object) {
  static const char *const choices[] = {"cross_entropy", "lambda", "pro", NULL}; /* as the enum counts */
  int choice = take_choice(object, "loss_type", choices, "'cross_entropy', 'lambda' or 'pro'");
  if (choice >= 0)
    *loss_type = (swiftdpo_listwise_loss_type)choice;
  return choice < 0 ? -1 : 0;
}

int take_positive(size_t *count, PyObject *object, const char *name) {
  int64_t number;
  if (take_int64(&number, object, name) < 0)
    return -1;
  *count = (size_t)number;
  if (number > 0)
    return 0;
  PyErr_Format(PyExc_ValueError, "%s is %R; expected an integer above 0", name, object);
  return -1;
}

int take_divergence_kind(swiftdpo_divergence_kind *kind, PyObject *object) {
  static const char *const choices[] = {"kl", "reverse_kl", "generalized_kl", "jensen_shannon", NULL};
  int choice = take_choice(object, "kind", choices, "'kl', 'reverse_kl', 'generalized_kl' or 'jensen_shannon'");
  if (choice >= 0)
    *kind = (swiftdpo_divergence_kind)choice;
  return choice < 0 ? -1 : 0;
}
