/* The extension module swiftdpo._xla: the handlers, as capsules for jax.ffi.register_ffi_target. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "frame.h"

static int add(PyObject *handlers, const char *name, XLA_FFI_Handler *handler) {
  PyObject *capsule = PyCapsule_New((void *)handler, NULL, NULL);
  if (capsule == NULL)
    return -1;
  const int failed = PyDict_SetItemString(handlers, name, capsule);
  Py_DECREF(capsule);
  return failed;
}

static int execute(PyObject *module) {
  PyObject *handlers = PyDict_New();
  if (handlers == NULL)
    return -1;
  int failed = add(handlers, "dpo_loss", xla_dpo_loss);
  failed = failed || add(handlers, "unpaired_loss", xla_unpaired_loss);
  failed = failed || add(handlers, "plackett_luce_loss", xla_plackett_luce_loss);
  failed = failed || add(handlers, "sequence_logps", xla_sequence_logps);
  failed = failed || add(handlers, "sequence_logps_backward", xla_sequence_logps_backward);
  failed = failed || PyModule_AddObjectRef(module, "handlers", handlers);
  Py_DECREF(handlers);
  return failed ? -1 : 0;
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, (void *)execute},
#ifdef Py_GIL_DISABLED
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "swiftdpo._xla",
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__xla(void) { return PyModuleDef_Init(&definition); }
