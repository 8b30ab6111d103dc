/* Rankings drawn from Plackett-Luce, and what they are like on average. */
#include "core.h"

/** (B, K) rewards, or (K,) of a single group. */
static int take_rewards(operand *rewards, PyObject *object, npy_intp *groups, npy_intp *size) {
  if (take_converted(rewards, object, NPY_DOUBLE) < 0)
    return -1;
  int ndim = PyArray_NDIM(rewards->array);
  if (ndim != 1 && ndim != 2) {
    PyErr_Format(PyExc_ValueError, "rewards has %d dimension%s; expected 2, (B, K), or 1 for a single group", ndim,
                 ndim == 1 ? "" : "s");
    return -1;
  }
  *groups = ndim == 2 ? PyArray_DIM(rewards->array, 0) : 1;
  *size = PyArray_DIM(rewards->array, ndim - 1);
  return 0;
}

/** rewards, num_samples, seed */
PyObject *core_sample_rankings(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs) {
  operand rewards = {"rewards", "rewards", NULL};
  PyArrayObject *rankings = NULL;
  npy_intp groups, size;
  size_t samples;
  if (expect_arguments("sample_rankings", nargs, 3) < 0 || take_rewards(&rewards, args[0], &groups, &size) < 0)
    goto done;
  if (take_positive(&samples, args[1], "num_samples") < 0)
    goto done;
  uint64_t seed = PyLong_AsUnsignedLongLong(args[2]);
  if (seed == (uint64_t)-1 && PyErr_Occurred()) {
    blame("seed");
    goto done;
  }
  const npy_intp shape[3] = {groups, (npy_intp)samples, size};
  int skipped = PyArray_NDIM(rewards.array) == 1;
  if (new_arrays(&rankings, 1, 3 - skipped, shape + skipped, NPY_INT64) < 0)
    goto done;
  swiftdpo_culprit culprit = {NULL, 0};
  PyThreadState *released = release_gil_if(PyArray_SIZE(rankings) >= MANY_SCORES);
  swiftdpo_status status = swiftdpo_sample_rankings_f64(PyArray_DATA(rewards.array), (size_t)groups, (size_t)size,
                                                        samples, seed, PyArray_DATA(rankings), &culprit);
  regain_gil(released);
  if (status != SWIFTDPO_OK) {
    raise_status(status, &culprit, &rewards, 1);
    Py_CLEAR(rankings);
  }
done:
  release_operands(&rewards, 1);
  return (PyObject *)rankings;
}

/** rewards; (top-one probabilities, expected ranks) */
PyObject *core_ranking_marginals(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs) {
  operand rewards = {"rewards", "rewards", NULL};
  PyArrayObject *results[2] = {NULL, NULL};
  PyObject *tuple = NULL;
  npy_intp groups, size;
  if (expect_arguments("ranking_marginals", nargs, 1) < 0 || take_rewards(&rewards, args[0], &groups, &size) < 0)
    goto done;
  if (new_arrays(results, 2, PyArray_NDIM(rewards.array), PyArray_DIMS(rewards.array), NPY_DOUBLE) < 0)
    goto done;
  swiftdpo_culprit culprit = {NULL, 0};
  swiftdpo_status status = swiftdpo_ranking_marginals_f64(PyArray_DATA(rewards.array), (size_t)groups, (size_t)size,
                                                          PyArray_DATA(results[0]), PyArray_DATA(results[1]), &culprit);
  if (status == SWIFTDPO_OK)
    tuple = tuple_of_arrays(results, 2);
  else
    raise_status(status, &culprit, &rewards, 1);
done:
  release_arrays(results, 2);
  release_operands(&rewards, 1);
  return tuple;
}
