/* Exact partition functions over tokens: tables, and enumeration by calls of Python functions. */
#include "core.h"

/** The arguments: vocab_size, horizon, whether there is an end token. The count is 2^64 - 1 where it is larger. */
PyObject *core_count_responses(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs) {
  size_t vocab_size, horizon;
  int32_t has_end_token;
  if (expect_arguments("count_responses", nargs, 3) < 0 || take_positive(&vocab_size, args[0], "vocab_size") < 0 ||
      take_positive(&horizon, args[1], "horizon") < 0 || take_flag(&has_end_token, args[2], "has_end_token") < 0)
    return NULL;
  uint64_t count;
  double log_count;
  swiftdpo_culprit culprit = {NULL, 0};
  swiftdpo_status status = swiftdpo_count_responses(vocab_size, horizon, has_end_token, &count, &log_count, &culprit);
  if (status != SWIFTDPO_OK)
    return raise_status(status, &culprit, NULL, 0);
  return Py_BuildValue("Kd", (unsigned long long)count, log_count);
}

static int take_partition_options(swiftdpo_partition_options *options, PyObject *beta, PyObject *max_terms) {
  size_t limit;
  if (take_double(&options->beta, beta, "beta") < 0 || take_positive(&limit, max_terms, "max_terms") < 0)
    return -1;
  options->max_terms = limit;
  return 0;
}

/** The arguments: logps and rewards (S, V), next_states, beta, horizon, end_token, initial_state, max_terms. */
PyObject *core_token_partition(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs) {
  operand in[] = {{"logps", "logps", NULL}, {"rewards", "rewards", NULL}, {"next_states", "next_states", NULL}};
  swiftdpo_partition_options options = SWIFTDPO_PARTITION_OPTIONS_INIT;
  swiftdpo_token_model model = SWIFTDPO_TOKEN_MODEL_INIT;
  PyArrayObject *values = NULL, *policy = NULL;
  PyObject *results = NULL;
  int64_t initial_state;

  if (expect_arguments("token_partition", nargs, 8) < 0 || take_partition_options(&options, args[3], args[7]) < 0 ||
      take_positive(&model.horizon, args[4], "horizon") < 0 || take_int64(&model.end_token, args[5], "end_token") < 0 ||
      take_int64(&initial_state, args[6], "initial_state") < 0 || take_converted(&in[0], args[0], NPY_DOUBLE) < 0 ||
      take_converted(&in[1], args[1], NPY_DOUBLE) < 0 ||
      (args[2] != Py_None && take_converted(&in[2], args[2], NPY_INT64) < 0))
    goto done;
  if (PyArray_NDIM(in[0].array) != 2) {
    PyErr_SetString(PyExc_ValueError, "logps must have 2 dimensions, (S, V): a row for each state");
    goto done;
  }
  const npy_intp *shape = PyArray_DIMS(in[0].array);
  if (check_shape(&in[1], 2, shape, "as logps") < 0 || check_shape(&in[2], 2, shape, "as logps") < 0)
    goto done;
  model.num_states = (size_t)shape[0];
  model.vocab_size = (size_t)shape[1];
  model.initial_state = (size_t)initial_state;
  model.logps = data_of(in[0].array);
  model.rewards = data_of(in[1].array);
  model.next_states = data_of(in[2].array);

  /* Refuse what is too much before memory is asked for it. */
  swiftdpo_culprit culprit = {NULL, 0};
  swiftdpo_status status = SWIFTDPO_OK;
  double log_partition = 0;
  const double terms = (double)shape[0] * (double)shape[1] * (double)model.horizon;
  if (terms <= (double)options.max_terms) {
    const npy_intp full[] = {(npy_intp)model.horizon, shape[0], shape[1]};
    if (new_arrays(&values, 1, 2, full, NPY_DOUBLE) < 0 || new_arrays(&policy, 1, 3, full, NPY_DOUBLE) < 0)
      goto done;
  }
  PyThreadState *released = release_gil_if(terms >= MANY_SCORES);
  status = swiftdpo_token_partition(&model, &options, &log_partition, data_of(values), data_of(policy), &culprit);
  regain_gil(released);
  if (status == SWIFTDPO_OK)
    results = Py_BuildValue("dOO", log_partition, object_or_none(values), object_or_none(policy));
  else
    raise_status(status, &culprit, in, 3);
done:
  release_arrays(&values, 1);
  release_arrays(&policy, 1);
  release_operands(in, 3);
  return results;
}

/** What the trampolines below need of Python. */
typedef struct {
  PyObject *next_logps;
  PyObject *reward;
  npy_intp vocab_size;
} callbacks;

static PyObject *call_with_tokens(PyObject *function, const int64_t *tokens, size_t length) {
  PyObject *tuple = PyTuple_New((Py_ssize_t)length);
  for (size_t i = 0; tuple != NULL && i < length; i++) {
    PyObject *token = PyLong_FromLongLong(tokens[i]);
    if (token == NULL)
      Py_CLEAR(tuple);
    else
      PyTuple_SetItem(tuple, (Py_ssize_t)i, token);
  }
  PyObject *result = tuple == NULL ? NULL : PyObject_CallFunctionObjArgs(function, tuple, NULL);
  Py_XDECREF(tuple);
  return result;
}

static int call_next_logps(void *context, const int64_t *prefix, size_t length, double *logps) {
  const callbacks *calls = context;
  operand row = {"next_logps", "the result of next_logps", NULL};
  PyObject *result = call_with_tokens(calls->next_logps, prefix, length);
  int status = -1;
  if (result != NULL && take_converted(&row, result, NPY_DOUBLE) == 0 &&
      check_shape(&row, 1, &calls->vocab_size, "a log-probability for each token") == 0) {
    memcpy(logps, PyArray_DATA(row.array), (size_t)calls->vocab_size * sizeof *logps);
    status = 0;
  }
  release_operands(&row, 1);
  Py_XDECREF(result);
  return status;
}

static int call_reward(void *context, const int64_t *response, size_t length, double *reward) {
  const callbacks *calls = context;
  PyObject *result = call_with_tokens(calls->reward, response, length);
  const int status = result == NULL ? -1 : take_double(reward, result, "the result of reward");
  Py_XDECREF(result);
  return status;
}

/** The arguments: next_logps, reward, beta, vocab_size, horizon, end_token, max_terms. */
PyObject *core_enumerate_partition(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs) {
  swiftdpo_partition_options options = SWIFTDPO_PARTITION_OPTIONS_INIT;
  swiftdpo_response_model model = SWIFTDPO_RESPONSE_MODEL_INIT;
  if (expect_arguments("enumerate_partition", nargs, 7) < 0 || take_partition_options(&options, args[2], args[6]) < 0 ||
      take_positive(&model.vocab_size, args[3], "vocab_size") < 0 ||
      take_positive(&model.horizon, args[4], "horizon") < 0 || take_int64(&model.end_token, args[5], "end_token") < 0)
    return NULL;
  callbacks calls = {args[0], args[1], (npy_intp)model.vocab_size};
  model.context = &calls;
  model.next_logps = call_next_logps;
  model.reward = call_reward;
  double log_partition;
  uint64_t num_terms;
  swiftdpo_culprit culprit = {NULL, 0};
  swiftdpo_status status = swiftdpo_enumerate_partition(&model, &options, &log_partition, &num_terms, &culprit);
  if (status == SWIFTDPO_ERROR_CALLBACK)
    return NULL; /* with the exception of the callback */
  if (status != SWIFTDPO_OK)
    return raise_status(status, &culprit, NULL, 0);
  return Py_BuildValue("dK", log_partition, (unsigned long long)num_terms);
}
