/*
 * What the files of the extension share: Python objects taken as NumPy arrays, and statuses raised as exceptions.
 *
 * Every call has one shape: take the arguments as operands, allocate the results, call the library, then build the
 * tuple of results or raise. What each call means is said in swiftdpo.h, and to Python users in the module that wraps
 * it; what an object that Python handed in may be is decided here.
 */
#ifndef SWIFTDPO_PYTHON_CORE_H
#define SWIFTDPO_PYTHON_CORE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <string.h>

#define NPY_NO_DEPRECATED_API NPY_1_22_API_VERSION
#define NPY_TARGET_VERSION NPY_1_22_API_VERSION
#define PY_ARRAY_UNIQUE_SYMBOL swiftdpo_numpy_api
#ifndef SWIFTDPO_IMPORTS_NUMPY
#define NO_IMPORT_ARRAY
#endif
#include <numpy/arrayobject.h>

#include "swiftdpo.h"

/* Functions that return an int return 0, or -1 with an exception set. Those that return an object may return NULL. */

/* -- arrays.c: objects as arrays ------------------------------------------------------------------------------------ */

/** An array argument. */
typedef struct {
  const char *field;    /* its name in the library's structs */
  const char *name;     /* its name in Python */
  PyArrayObject *array; /* NULL where None was given */
} operand;

/** Takes contiguous floating-point arrays, all of one type. None, which the first `required` may not be, gives NULL. */
int take_floats(operand *operands, PyObject *const *objects, size_t count, size_t required);

/** Takes a contiguous array of `type`. Types that convert to it without loss are converted. */
int take_converted(operand *argument, PyObject *object, int type);

/** Takes a contiguous array of labels, in 64 bits or, as the field labels_i32, in 32. */
int take_labels(operand *argument, PyObject *object);

/** Takes a contiguous array of booleans, or of 0 and 1 in bytes. */
int take_mask(operand *argument, PyObject *object);

/** The types of logits. */
typedef enum { F32, F64, F16, BF16 } element;

/** Takes logits of any type, strided as they may be, without ever copying them. bfloat16, which NumPy does not have,
 * comes as an array of bit patterns. */
int take_logits(operand *argument, PyObject *object, element *type);

/** As take_floats, for operands that may be of half precision, which become float32. One of them, `beta`, may be a number
 * instead: it is left in *number. */
int take_widened(operand *operands, PyObject *const *objects, size_t count, size_t required, size_t beta,
                 double *number);

/** Groups of entries: (B, K), or (K,) for a single group, or (N,) with (B + 1,) offsets. Numbers of groups then are (B,),
 * or () for a single one. */
typedef struct {
  size_t num_groups, group_size;
  int ndim;
  npy_intp shape[1];
} groups;

/** Finds the groups of `entries`; `offsets` may have no array. */
int take_groups(groups *layout, const operand *entries, const operand *offsets);

/** As take_logits, for an array that the call writes: it must be of `type`, in memory that can be written. */
int take_output(operand *argument, PyObject *object, element type);

void release_operands(operand *operands, size_t count);

/** Checks the shape of an operand, if it was given. `meaning` says in words what is expected. */
int check_shape(const operand *argument, int ndim, const npy_intp *shape, const char *meaning);

/** An array of rows has at least one dimension. */
int check_rows(const operand *argument);

/** Allocates arrays of one shape. On failure all stay NULL. */
int new_arrays(PyArrayObject **arrays, size_t count, int ndim, const npy_intp *shape, int type);

void release_arrays(PyArrayObject **arrays, size_t count);

/** A tuple of arrays, with None for NULL. */
PyObject *tuple_of_arrays(PyArrayObject *const *arrays, size_t count);

/** Whether `type` is a kind of tuple, such as a named one. */
int expect_tuple_type(PyObject *type);

/** A tuple as one of a named kind, by what that kind's own function in Python comes to. Takes the tuple over. */
PyObject *named(PyObject *tuple, PyObject *type);

/** (loss, losses, ...) from a head's arrays, losses first, which it takes over; NULL is None. Unreduced, the loss is the
 * losses. */
PyObject *head_results(double loss, swiftdpo_reduction reduction, PyArrayObject **arrays, size_t count);

/** As tuple_of_arrays, with numbers for arrays without dimensions. */
PyObject *tuple_of_values(PyArrayObject *const *arrays, size_t count);

static inline PyObject *object_or_none(PyArrayObject *array) { return array == NULL ? Py_None : (PyObject *)array; }

static inline void *data_of(PyArrayObject *array) { return array == NULL ? NULL : PyArray_DATA(array); }

/* -- memory.c: where results lie ------------------------------------------------------------------------------------ */

/** Memory that begins with a line of the caches; NULL if there is none. In any thread, with or without the GIL. */
void *take_memory(size_t size);

/** Gives it back. NULL is none. */
void give_memory(void *memory);

/** NumPy takes the memory of arrays of `size` bytes from here until it is left, if they are large and the program has not
 * chosen another place for them. */
int use_memory(PyObject **before, size_t size);
int leave_memory(PyObject *before); /* keeps an exception that is set */

/* -- dlpack.c: tensors of other libraries as arrays ----------------------------------------------------------------- */

int name_dlpack(void); /* once, before the rest */
int exports_dlpack(PyObject *object);

/** An array over the memory of an object that exports DLPack. It keeps the export alive. bfloat16 is refused where
 * is_bfloat16 is NULL, and else an array of bit patterns. */
PyArrayObject *borrow_dlpack(PyObject *object, int *is_bfloat16);

int name_exchange(void); /* tensors.c; once, before the calls */
int name_choices(void);  /* options.c; as well */
int make_handler(void);  /* memory.c; as well */

int add_shortened(PyObject *module); /* shortened.c: adds the type to the module */

/* -- options.c: arguments that are no arrays ------------------------------------------------------------------------ */

int expect_arguments(const char *function, Py_ssize_t given, Py_ssize_t expected);
int take_double(double *number, PyObject *object, const char *name);
int take_int64(int64_t *number, PyObject *object, const char *name);
int take_count(size_t *count, PyObject *object, const char *name);
int take_flag(int32_t *flag, PyObject *object, const char *name);
int take_reduction(swiftdpo_reduction *reduction, PyObject *object);
int take_nonfinite(swiftdpo_nonfinite *nonfinite, PyObject *object);

/** The same, where nobody sees the results of a call that fails. */
int take_nonfinite_late(swiftdpo_nonfinite *nonfinite, PyObject *object);

int take_unlisted(swiftdpo_unlisted *unlisted, PyObject *object);
int take_ties(swiftdpo_ties *ties, PyObject *object);
int take_first_choice(swiftdpo_first_choice *first_choice, PyObject *object);
int take_listwise_loss_type(swiftdpo_listwise_loss_type *loss_type, PyObject *object);

/** An integer above 0. */
int take_positive(size_t *count, PyObject *object, const char *name);
int take_divergence_kind(swiftdpo_divergence_kind *kind, PyObject *object);

/** If *object is one number for the whole batch, takes it and leaves None; an array stays, to be an operand. */
int take_number(double *number, PyObject **object, const char *name);

/* -- errors.c ------------------------------------------------------------------------------------------------------- */

/** Raises the exception for a status: names the argument, the index and the rule. Returns NULL. */
PyObject *raise_status(swiftdpo_status status, const swiftdpo_culprit *culprit, const operand *operands, size_t count);

/** Puts the name of an argument in front of the exception that converting it has set. */
void blame(const char *name);

/** A shape or a position as a tuple of Python's integers. */
PyObject *tuple_of(int count, const npy_intp *numbers);

/* -- fused.c: a loss over a fused linear head in one call ----------------------------------------------------------- */

/** A head, and what a call over it gives besides the loss's own results. */
typedef struct fused_call fused_call;

fused_call *new_fused_call(PyObject *head);

/** (results of the loss, arrays of log-probabilities, ref_logps, gradients). Takes both arguments over. */
PyObject *finish_fused_call(fused_call *call, PyObject *loss_results);

/** The loss of a head, given the loss's own structs of double precision, without the policy's log-probabilities. */
swiftdpo_status fused_pairs(const fused_call *call, const void *pairs, const swiftdpo_dpo_options *options,
                            const void *results, swiftdpo_culprit *culprit);
swiftdpo_status fused_unpaired(const fused_call *call, const void *unpaired, const swiftdpo_unpaired_options *options,
                               const void *results, swiftdpo_culprit *culprit);
swiftdpo_status fused_rankings(const fused_call *call, const void *rankings,
                               const swiftdpo_plackett_luce_options *options, const void *results,
                               swiftdpo_culprit *culprit);

/* -- The GIL -------------------------------------------------------------------------------------------------------- */

/* A thread that lets the GIL go may wait milliseconds to get it back, so it is released only around work that is long
 * against handing it over. So many scores or logits take some 40 us. */
enum { MANY_SCORES = 1 << 12, MANY_LOGITS = 1 << 17 };

static inline PyThreadState *release_gil_if(int worthwhile) { return worthwhile ? PyEval_SaveThread() : NULL; }

static inline void regain_gil(PyThreadState *released) {
  if (released != NULL)
    PyEval_RestoreThread(released);
}

/* -- The calls ------------------------------------------------------------------------------------------------------ */

PyObject *core_dpo_loss(PyObject *module, PyObject *const *args, Py_ssize_t nargs);         /* pairs.c */
PyObject *core_tdpo_loss(PyObject *module, PyObject *const *args, Py_ssize_t nargs);        /* pairs.c */
PyObject *core_tensors_dpo_loss(PyObject *module, PyObject *const *args, Py_ssize_t nargs); /* tensors.c */
PyObject *core_tensors_scaled(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *core_unpaired_loss(PyObject *module, PyObject *const *args, Py_ssize_t nargs); /* unpaired.c */
PyObject *core_kto_baseline_add(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *core_kto_baseline_value(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *core_bco_delta_add(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *core_udm_weights(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *core_wpo_weights(PyObject *module, PyObject *const *args, Py_ssize_t nargs); /* tokens.c */
PyObject *core_humanline_clamp(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *core_plackett_luce_loss(PyObject *module, PyObject *const *args, Py_ssize_t nargs); /* rankings.c */
PyObject *core_listwise_loss(PyObject *module, PyObject *const *args, Py_ssize_t nargs);      /* listwise.c */
PyObject *core_sample_rankings(PyObject *module, PyObject *const *args, Py_ssize_t nargs);    /* ranking_samples.c */
PyObject *core_ranking_marginals(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *core_sequence_logps(PyObject *module, PyObject *const *args, Py_ssize_t nargs); /* logps.c */
PyObject *core_sequence_logps_backward(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *core_vocab_shard(PyObject *module, PyObject *const *args, Py_ssize_t nargs); /* shards.c */
PyObject *core_vocab_shard_merge(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *core_vocab_shard_logps(PyObject *module, PyObject *const *args, Py_ssize_t nargs);

PyObject *core_fused_linear_workspace(PyObject *module, PyObject *const *args, Py_ssize_t nargs); /* fused.c */
PyObject *core_fused_linear_logps(PyObject *module, PyObject *const *args, Py_ssize_t nargs);     /* fused.c */
PyObject *core_fused_linear_logps_backward(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *core_fused_linear_vocab_shard(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *core_use_blas(PyObject *module, PyObject *path);
PyObject *core_blas_info(PyObject *module, PyObject *none);
PyObject *core_fused_linear_dpo_loss(PyObject *module, PyObject *const *args, Py_ssize_t nargs);      /* pairs.c */
PyObject *core_fused_linear_unpaired_loss(PyObject *module, PyObject *const *args, Py_ssize_t nargs); /* unpaired.c */
PyObject *core_fused_linear_plackett_luce_loss(PyObject *module, PyObject *const *args,
                                               Py_ssize_t nargs); /* rankings.c */

PyObject *core_divergence(PyObject *module, PyObject *const *args, Py_ssize_t nargs); /* divergences.c */
PyObject *core_kl_estimates(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *core_preference_probability(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *core_optimal_policy(PyObject *module, PyObject *const *args, Py_ssize_t nargs); /* policies.c */
PyObject *core_implicit_rewards(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *core_policy_from_rewards(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *core_partition_add(PyObject *module, PyObject *const *args, Py_ssize_t nargs); /* partition.c */
PyObject *core_partition_merge(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *core_partition_estimate(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *core_count_responses(PyObject *module, PyObject *const *args, Py_ssize_t nargs); /* enumeration.c */
PyObject *core_token_partition(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *core_enumerate_partition(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *core_rejection_sample(PyObject *module, PyObject *const *args, Py_ssize_t nargs); /* policy_samples.c */
PyObject *core_importance_resample(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *core_best_of_n_kl_bound(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *core_best_of_n(PyObject *module, PyObject *const *args, Py_ssize_t nargs);

#endif
