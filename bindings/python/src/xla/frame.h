/*
 * Calls of the library as handlers of XLA's foreign-function interface (typed FFI, third_party/xla/ffi_c_api.h).
 *
 * XLA hands over a frame: buffers, and attributes by name. Every handler here reads it in one way. The attributes
 * `inputs` and `outputs` list, separated by commas, the fields of the library's structs that the buffers are for, in
 * their order; each other attribute is a field of the options. Tables say where a field stands in its struct, what its
 * elements are and how many a call has of them. Buffers may have dimensions in front of those that the call knows: then
 * the library is called for each of what they count (that is how vmap comes in).
 *
 * Without jax_enable_x64 a program has no 64-bit types. So what is double or int64 in the library may be f32 or s32 in
 * the program, and is converted; or, if nobody but another handler reads it, u32 of twice the size, which is not.
 */
#ifndef SWIFTDPO_XLA_FRAME_H
#define SWIFTDPO_XLA_FRAME_H

#include <xla/ffi_c_api.h> /* in third_party */

#include "swiftdpo.h"

/** What the elements of a field are. */
typedef enum {
  REAL,      /**< The type that the call is for. */
  DOUBLE,    /**< double; f32 in the program is converted. */
  INT64,     /**< int64_t; s32 is converted. */
  INT32,     /**< int32_t, or an enumeration. */
  BYTE,      /**< uint8_t; booleans. */
  SIZE,      /**< size_t; as an attribute s64. */
  PARAMETER, /**< A buffer of one number, f64 or f32, for a double of the options. */
  INT32S,    /**< An attribute that is an array of s32: a pointer. */
  DOUBLES    /**< An attribute that is an array of f64: a pointer. */
} element;

/** How many elements a field has. Each call gives the letters a meaning when it measures. */
typedef enum { ONE, ROWS, GROUPS, OFFSETS, ITEMS, OTHERS, NUM_EXTENTS } extent;

/** A field of a struct. */
typedef struct {
  const char *name; /**< NULL behind the last one. */
  size_t offset;
  element element;
  extent extent;
} field;

/** A buffer, and the field that it is for. */
typedef struct {
  const field *field;
  const XLA_FFI_Buffer *buffer;
  size_t count;    /**< Elements for one call of the library. */
  void *converted; /**< Where they lie if they have to be converted. */
} binding;

enum { MAX_BINDINGS = 32 };

/** A frame, read. */
typedef struct {
  binding inputs[MAX_BINDINGS], outputs[MAX_BINDINGS];
  size_t num_inputs, num_outputs;
  size_t num_int32s, num_doubles; /**< Lengths of the options that are arrays. */
  XLA_FFI_DataType real;          /**< The type of REAL fields. */
  size_t outer;                   /**< How many calls of the library. */
  size_t extents[NUM_EXTENTS];    /**< Set by `measure`. */
} frame;

/** The structs of one call, as memory: what there is, choices, results. */
typedef struct {
  void *data, *options, *results;
} structs;

/** One of the library's calls. */
typedef struct {
  const field *inputs, *outputs, *options;
  int takes_halves; /**< Whether REAL may be bf16 and f16, besides f32 and f64. */
  /** Checks the shapes that decide sizes; sets extents and counts. Returns a complaint, or NULL. */
  const char *(*measure)(frame *frame, structs *structs);
  swiftdpo_status (*run)(XLA_FFI_DataType real, const structs *structs, swiftdpo_culprit *culprit);
} call;

/** Answers a frame. `structs` are at their INIT values. */
XLA_FFI_Error *answer(XLA_FFI_CallFrame *frame, const call *call, structs *structs);

/** The buffer for a field, or NULL where there is none. */
const XLA_FFI_Buffer *input_named(const frame *frame, const char *name);

/** The product of a buffer's dimensions from one to before another; -1 is the last one. */
size_t elements(const XLA_FFI_Buffer *buffer, int64_t from, int64_t to);

/** Sets the number of calls from the dimensions in front of the last `rank`, of which there must be so many. */
const char *measure_outer(frame *frame, const XLA_FFI_Buffer *buffer, int64_t rank);

/* The handlers. */
XLA_FFI_Error *xla_dpo_loss(XLA_FFI_CallFrame *frame);           /* pairs.c */
XLA_FFI_Error *xla_unpaired_loss(XLA_FFI_CallFrame *frame);      /* unpaired.c */
XLA_FFI_Error *xla_plackett_luce_loss(XLA_FFI_CallFrame *frame); /* rankings.c */
XLA_FFI_Error *xla_sequence_logps(XLA_FFI_CallFrame *frame);     /* logps.c */
XLA_FFI_Error *xla_sequence_logps_backward(XLA_FFI_CallFrame *frame);

#endif
