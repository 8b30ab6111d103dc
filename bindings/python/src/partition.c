/* swiftdpo_partition_*: log Z estimated from samples. In Python accumulators are arrays (..., 7) of doubles. */
#include "core.h"

enum { FIELDS = sizeof(swiftdpo_partition_accumulator) / sizeof(double), NUM_ESTIMATES = 5 };

static int take_accumulators(operand *argument, PyObject *object) {
  if (take_converted(argument, object, NPY_DOUBLE) < 0)
    return -1;
  const int ndim = PyArray_NDIM(argument->array);
  if (ndim > 0 && PyArray_DIM(argument->array, ndim - 1) == FIELDS)
    return 0;
  PyErr_Format(PyExc_ValueError, "%s is no array of accumulators", argument->name);
  return -1;
}

static size_t count_of(PyArrayObject *accumulators) { return (size_t)PyArray_SIZE(accumulators) / FIELDS; }

/** The arguments: accumulators, rewards, beta, nonfinite. Returns new accumulators with the samples added. */
PyObject *core_partition_add(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs) {
  operand in[] = {{"rewards", "rewards", NULL}, {"betas", "beta", NULL}, {"accumulators", "accumulators", NULL}};
  swiftdpo_policy_options options = SWIFTDPO_POLICY_OPTIONS_INIT;
  PyObject *sum = NULL;

  if (expect_arguments("partition_add", nargs, 3) < 0)
    return NULL;
  PyObject *floats[] = {args[1], args[2]};
  if (take_number(&options.beta, &floats[1], "beta") < 0 || take_floats(in, floats, 2, 1) < 0 ||
      check_rows(&in[0]) < 0 || take_accumulators(&in[2], args[0]) < 0)
    goto done;
  PyArrayObject *rewards = in[0].array, *accumulators = in[2].array;
  const int ndim = PyArray_NDIM(rewards);
  if (PyArray_NDIM(accumulators) != ndim ||
      !PyArray_CompareLists(PyArray_DIMS(accumulators), PyArray_DIMS(rewards), ndim - 1)) {
    PyErr_SetString(PyExc_ValueError, "rewards must have a row of samples for each accumulator");
    goto done;
  }
  if (check_shape(&in[1], ndim - 1, PyArray_DIMS(rewards), "an element for each prompt") < 0)
    goto done;
  sum = PyArray_NewCopy(accumulators, NPY_CORDER);
  if (sum == NULL)
    goto done;

  const size_t prompts = count_of(accumulators), samples = (size_t)PyArray_DIM(rewards, ndim - 1);
  swiftdpo_partition_accumulator *into = data_of((PyArrayObject *)sum);
  swiftdpo_culprit culprit = {NULL, 0};
  swiftdpo_status status;
  PyThreadState *released = release_gil_if(PyArray_SIZE(rewards) >= MANY_SCORES);
  if (PyArray_TYPE(rewards) == NPY_FLOAT) {
    const swiftdpo_responses_f32 responses = {.struct_size = sizeof responses,
                                              .num_prompts = prompts,
                                              .num_responses = samples,
                                              .rewards = data_of(rewards),
                                              .betas = data_of(in[1].array)};
    status = swiftdpo_partition_add_f32(&responses, &options, into, &culprit);
  } else {
    const swiftdpo_responses_f64 responses = {.struct_size = sizeof responses,
                                              .num_prompts = prompts,
                                              .num_responses = samples,
                                              .rewards = data_of(rewards),
                                              .betas = data_of(in[1].array)};
    status = swiftdpo_partition_add_f64(&responses, &options, into, &culprit);
  }
  regain_gil(released);
  if (status != SWIFTDPO_OK) {
    Py_CLEAR(sum);
    culprit.index *= culprit.argument != NULL && strcmp(culprit.argument, "accumulators") == 0 ? FIELDS : 1;
    raise_status(status, &culprit, in, 3);
  }
done:
  release_operands(in, 3);
  return sum;
}

/** The arguments: accumulators, and others of the same shape. Returns new ones with the samples of both. */
PyObject *core_partition_merge(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs) {
  operand in[] = {{"into", "accumulators", NULL}, {"from", "other", NULL}};
  PyObject *sum = NULL;

  if (expect_arguments("partition_merge", nargs, 2) < 0 || take_accumulators(&in[0], args[0]) < 0 ||
      take_accumulators(&in[1], args[1]) < 0 ||
      check_shape(&in[1], PyArray_NDIM(in[0].array), PyArray_DIMS(in[0].array), "as the accumulators") < 0)
    goto done;
  sum = PyArray_NewCopy(in[0].array, NPY_CORDER);
  if (sum == NULL)
    goto done;
  swiftdpo_culprit culprit = {NULL, 0};
  swiftdpo_status status =
      swiftdpo_partition_merge(count_of(in[0].array), data_of((PyArrayObject *)sum), data_of(in[1].array), &culprit);
  if (status != SWIFTDPO_OK) {
    Py_CLEAR(sum);
    culprit.index *= FIELDS;
    raise_status(status, &culprit, in, 2);
  }
done:
  release_operands(in, 2);
  return sum;
}

/** The argument: accumulators. Returns what swiftdpo_partition_estimates has, in its order. */
PyObject *core_partition_estimate(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs) {
  operand in[] = {{"accumulators", "accumulators", NULL}};
  PyArrayObject *out[NUM_ESTIMATES] = {NULL};
  PyObject *results = NULL;

  if (expect_arguments("partition_estimate", nargs, 1) < 0 || take_accumulators(&in[0], args[0]) < 0 ||
      new_arrays(out, NUM_ESTIMATES, PyArray_NDIM(in[0].array) - 1, PyArray_DIMS(in[0].array), NPY_DOUBLE) < 0)
    goto done;
  const swiftdpo_partition_estimates estimates = {
      .struct_size = sizeof estimates,
      .log_partitions = data_of(out[0]),
      .standard_errors = data_of(out[1]),
      .effective_sample_sizes = data_of(out[2]),
      .corrected = data_of(out[3]),
      .largest_shares = data_of(out[4]),
  };
  swiftdpo_culprit culprit = {NULL, 0};
  swiftdpo_status status =
      swiftdpo_partition_estimate(count_of(in[0].array), data_of(in[0].array), &estimates, &culprit);
  if (status == SWIFTDPO_OK) {
    results = tuple_of_values(out, NUM_ESTIMATES);
  } else {
    culprit.index *= FIELDS;
    raise_status(status, &culprit, in, 1);
  }
done:
  release_arrays(out, NUM_ESTIMATES);
  release_operands(in, 1);
  return results;
}
