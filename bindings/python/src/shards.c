/* swiftdpo_vocab_shard_*: a vocabulary cut into shards, one for each worker. */
#include "logits.h"

enum { MAXIMA, SUMS, LABEL_LOGITS, NUM_STATISTICS };

static swiftdpo_shard_statistics statistics(PyArrayObject *maxima, PyArrayObject *sums, PyArrayObject *label_logits) {
  return (swiftdpo_shard_statistics){
      .struct_size = sizeof(swiftdpo_shard_statistics),
      .maxima = data_of(maxima),
      .sums = data_of(sums),
      .label_logits = data_of(label_logits),
  };
}

/** The arguments: logits, labels, options, vocab_start. */
PyObject *core_vocab_shard(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs) {
  operand in[NUM_BATCH] = {0};
  batch batch;
  PyArrayObject *out[NUM_STATISTICS] = {NULL};
  PyObject *results = NULL;

  if (expect_arguments("vocab_shard", nargs, 4) < 0)
    goto done;
  if (take_batch(&batch, in, args[0], args[1], args[2]) < 0)
    goto done;
  if (take_count(&batch.vocab_start, args[3], "vocab_start") < 0)
    goto done;
  if (new_row_arrays(out, NUM_STATISTICS, &batch, NPY_DOUBLE) < 0)
    goto done;

  const swiftdpo_shard_statistics buffers = statistics(out[MAXIMA], out[SUMS], out[LABEL_LOGITS]);
  swiftdpo_culprit culprit = {NULL, 0};
  PyThreadState *released = release_gil_if(is_long(&batch));
  swiftdpo_status status = CALL(swiftdpo_vocab_shard, &batch, &buffers, &culprit);
  regain_gil(released);

  results =
      status == SWIFTDPO_OK ? tuple_of_arrays(out, NUM_STATISTICS) : raise_status(status, &culprit, in, NUM_BATCH);
done:
  release_arrays(out, NUM_STATISTICS);
  release_operands(in, NUM_BATCH);
  return results;
}

/** The arguments: the statistics of one shard, then those of another. */
PyObject *core_vocab_shard_merge(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs) {
  operand in[2 * NUM_STATISTICS] = {
      {"maxima", "maxima", NULL}, {"sums", "sums", NULL}, {"label_logits", "label_logits", NULL},
      {"maxima", "maxima", NULL}, {"sums", "sums", NULL}, {"label_logits", "label_logits", NULL},
  };
  PyArrayObject *out[NUM_STATISTICS] = {NULL};
  PyObject *results = NULL;

  if (expect_arguments("vocab_shard_merge", nargs, 2 * NUM_STATISTICS) < 0)
    goto done;
  for (int i = 0; i < 2 * NUM_STATISTICS; i++) {
    if (take_converted(&in[i], args[i], NPY_DOUBLE) < 0)
      goto done;
    if (check_shape(&in[i], PyArray_NDIM(in[0].array), PyArray_DIMS(in[0].array), "as the first shard's maxima") < 0)
      goto done;
  }
  if (new_arrays(out, NUM_STATISTICS, PyArray_NDIM(in[0].array), PyArray_DIMS(in[0].array), NPY_DOUBLE) < 0)
    goto done;
  for (int i = 0; i < NUM_STATISTICS; i++) {
    if (PyArray_CopyInto(out[i], in[i].array) < 0)
      goto done;
  }

  const operand *other = in + NUM_STATISTICS;
  const swiftdpo_shard_statistics into = statistics(out[MAXIMA], out[SUMS], out[LABEL_LOGITS]);
  const swiftdpo_shard_statistics from = statistics(other[MAXIMA].array, other[SUMS].array, other[LABEL_LOGITS].array);
  swiftdpo_culprit culprit = {NULL, 0};
  const size_t rows = (size_t)PyArray_SIZE(out[MAXIMA]);
  swiftdpo_status status = swiftdpo_vocab_shard_merge(rows, &into, &from, &culprit);

  results =
      status == SWIFTDPO_OK ? tuple_of_arrays(out, NUM_STATISTICS) : raise_status(status, &culprit, in, NUM_STATISTICS);
done:
  release_arrays(out, NUM_STATISTICS);
  release_operands(in, 2 * NUM_STATISTICS);
  return results;
}

/** The arguments: the statistics of all shards, labels, options. */
PyObject *core_vocab_shard_logps(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs) {
  enum { MERGED = NUM_BATCH, NUM_INPUTS = NUM_BATCH + NUM_STATISTICS };
  operand in[NUM_INPUTS] = {
      [MERGED + MAXIMA] = {"maxima", "merged.maxima", NULL},
      [MERGED + SUMS] = {"sums", "merged.sums", NULL},
      [MERGED + LABEL_LOGITS] = {"label_logits", "merged.label_logits", NULL},
  };
  batch batch;
  PyArrayObject *out[NUM_LOGPS_ARRAYS] = {NULL};
  PyObject *results = NULL;

  if (expect_arguments("vocab_shard_logps", nargs, NUM_STATISTICS + 2) < 0)
    goto done;
  if (take_batch(&batch, in, NULL, args[NUM_STATISTICS], args[NUM_STATISTICS + 1]) < 0)
    goto done;
  for (int i = 0; i < NUM_STATISTICS; i++) {
    if (take_converted(&in[MERGED + i], args[i], NPY_DOUBLE) < 0 || check_row_shape(&in[MERGED + i], &batch) < 0)
      goto done;
  }
  if (new_logps_arrays(out, &batch, 0) < 0)
    goto done;

  const operand *merged = in + MERGED;
  const swiftdpo_shard_statistics shards =
      statistics(merged[MAXIMA].array, merged[SUMS].array, merged[LABEL_LOGITS].array);
  const swiftdpo_logps_results buffers = logps_results(out);
  swiftdpo_culprit culprit = {NULL, 0};
  swiftdpo_status status =
      swiftdpo_vocab_shard_logps(AS(swiftdpo_logits_f32, &batch), &batch.options, &shards, &buffers, &culprit);

  results =
      status == SWIFTDPO_OK ? tuple_of_arrays(out, NUM_LOGPS_ARRAYS) : raise_status(status, &culprit, in, NUM_INPUTS);
done:
  release_arrays(out, NUM_LOGPS_ARRAYS);
  release_operands(in, NUM_INPUTS);
  return results;
}
