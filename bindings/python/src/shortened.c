/*
 * A function of Python whose common calls go to the extension at once.
 *
 * To bring 27 arguments into their places takes Python as long as the library takes for 200 pairs. The callable below
 * knows the places of those that a plain call names; with any other argument the call is the function's own. Both end
 * in core_dpo_loss with the same arguments, so that they differ in nothing else. Like functools.lru_cache's, it is to be
 * given the function's name, signature and documentation by functools.update_wrapper.
 */
#include "core.h"

#include <structmember.h>

enum { NUM_ARRAYS = 4, NUM_POSITIONAL = NUM_ARRAYS + 1, NUM_ARGUMENTS = NUM_ARRAYS + 9 };

typedef struct {
  PyObject ob_base;
  PyObject *function;
  PyObject *names;    /* interned, of what core_dpo_loss takes behind the arrays, as far as it has names */
  PyObject *defaults; /* of all that it takes behind the arrays */
  PyObject *dict, *weak_references;
} shortened;

/** Puts named arguments into their places. 0 where one has no place there. */
static int place_options(const shortened *self, PyObject **args, Py_ssize_t given, PyObject *options) {
  const Py_ssize_t num_names = PyTuple_Size(self->names);
  PyObject *name, *value;
  Py_ssize_t next = 0;
  while (PyDict_Next(options, &next, &name, &value)) {
    Py_ssize_t place = given - NUM_ARRAYS;
    while (place < num_names && PyTuple_GetItem(self->names, place) != name)
      place++;
    if (place == num_names)
      return 0;
    args[NUM_ARRAYS + place] = value;
  }
  return 1;
}

static PyObject *call(PyObject *object, PyObject *positional, PyObject *options) {
  const shortened *self = (const shortened *)object;
  const Py_ssize_t given = PyTuple_Size(positional);
  if (given >= NUM_ARRAYS && given <= NUM_POSITIONAL) {
    PyObject *args[NUM_ARGUMENTS];
    for (Py_ssize_t i = 0; i < NUM_ARGUMENTS; i++)
      args[i] = i < given ? PyTuple_GetItem(positional, i) : PyTuple_GetItem(self->defaults, i - NUM_ARRAYS);
    if (options == NULL || place_options(self, args, given, options))
      return core_dpo_loss(NULL, args, NUM_ARGUMENTS);
  }
  return PyObject_Call(self->function, positional, options);
}

static PyObject *new(PyTypeObject *type, PyObject *args, PyObject *options) {
  PyObject *function, *names, *defaults;
  if (options != NULL && PyDict_Size(options) > 0)
    return PyErr_Format(PyExc_TypeError, "shortened takes no keyword arguments");
  if (!PyArg_ParseTuple(args, "OO!O!:shortened", &function, &PyTuple_Type, &names, &PyTuple_Type, &defaults))
    return NULL;
  const Py_ssize_t count = PyTuple_Size(defaults);
  if (count != NUM_ARGUMENTS - NUM_ARRAYS || PyTuple_Size(names) > count)
    return PyErr_Format(PyExc_ValueError, "expected %d defaults, and no more names", NUM_ARGUMENTS - NUM_ARRAYS);
  shortened *self = (shortened *)PyType_GenericAlloc(type, 0);
  if (self == NULL)
    return NULL;
  self->function = Py_NewRef(function);
  self->names = Py_NewRef(names);
  self->defaults = Py_NewRef(defaults);
  return (PyObject *)self;
}

static int traverse(PyObject *object, visitproc visit, void *arg) {
  shortened *self = (shortened *)object;
  Py_VISIT(Py_TYPE(object));
  Py_VISIT(self->function);
  Py_VISIT(self->names);
  Py_VISIT(self->defaults);
  Py_VISIT(self->dict);
  return 0;
}

static int clear(PyObject *object) {
  shortened *self = (shortened *)object;
  Py_CLEAR(self->function);
  Py_CLEAR(self->names);
  Py_CLEAR(self->defaults);
  Py_CLEAR(self->dict);
  return 0;
}

static void dealloc(PyObject *object) {
  PyTypeObject *type = Py_TYPE(object);
  PyObject_GC_UnTrack(object);
  PyObject_ClearWeakRefs(object);
  clear(object);
  PyObject_GC_Del(object);
  Py_DECREF((PyObject *)type);
}

/** Tools for documentation look for functions by this. */
static PyObject *get(PyObject *object, PyObject *Py_UNUSED(instance), PyObject *Py_UNUSED(owner)) {
  return Py_NewRef(object);
}

static PyObject *repr(PyObject *object) { return PyObject_Repr(((shortened *)object)->function); }

/** Pickled and copied by name, as functions are. */
static PyObject *reduce(PyObject *object, PyObject *Py_UNUSED(none)) {
  return PyObject_GetAttrString(((shortened *)object)->function, "__qualname__");
}

static PyMethodDef methods[] = {{"__reduce__", reduce, METH_NOARGS, NULL}, {NULL, NULL, 0, NULL}};
static PyMemberDef members[] = {
    {"__dictoffset__", T_PYSSIZET, offsetof(shortened, dict), READONLY, NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(shortened, weak_references), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};
static PyGetSetDef attributes[] = {
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyType_Slot slots[] = {
    {Py_tp_new, new},
    {Py_tp_call, call},
    {Py_tp_traverse, traverse},
    {Py_tp_clear, clear},
    {Py_tp_dealloc, dealloc},
    {Py_tp_descr_get, get},
    {Py_tp_repr, repr},
    {Py_tp_methods, methods},
    {Py_tp_members, members},
    {Py_tp_getset, attributes},
    {0, NULL},
};
static PyType_Spec spec = {
    .name = "swiftdpo._core.shortened",
    .basicsize = sizeof(shortened),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = slots,
};

int add_shortened(PyObject *module) {
  PyObject *type = PyType_FromModuleAndSpec(module, &spec, NULL);
  int added = type == NULL ? -1 : PyModule_AddType(module, (PyTypeObject *)type);
  Py_XDECREF(type);
  return added;
}
