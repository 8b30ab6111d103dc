/*
 * Calls of the library, each described once, for the tests that ask how calls behave and not what they compute.
 *
 * A description (calls_*.c) makes up a call out of choices: counts, options, which pointers are NULL, what stands in the
 * buffers. Who makes the choices, where the buffers lie and what is looked at afterwards is the test's business:
 *
 *   main.c   pages without access around each buffer; results laid over other buffers; counts that overflow; many
 *            threads; children of fork
 *   fuzz.c   the choices are a fuzzer's
 *
 * A call is legal, and must succeed, unless `faults` is set: then any choice may come out wrong. Either way, on return
 *   - inputs are what they were;
 *   - a refused call has written no result, and names a culprit; a call that worked has written every element of each
 *     result, none between rows, and names nobody;
 *   - the same call again, over results that held something else, gives the same bits.
 */
#ifndef CALL_H
#define CALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "swiftdpo.h"

typedef enum element { U8, U32, I32, I64, F16, BF16, F32, F64 } element;

/** What numbers a buffer or parameter takes. Legal are all finite ones of the kind; most are of ordinary size. */
typedef enum kind {
  REAL,        /**< such as scores and margins */
  LOGIT,       /**< up to 1e30 in magnitude */
  LOGP,        /**< a log-probability that may be any number */
  PROPER_LOGP, /**< one that must not exceed 0 */
  POSITIVE,    /**< beta */
  NONNEGATIVE, /**< weights */
  UNIT,        /**< in [0, 1] */
  INNER_UNIT   /**< in (0, 1) */
} kind;

/** What a call does with a buffer. SCRATCH: writes what two calls need not agree on. WORKSPACE: so do refused calls. */
typedef enum role { INPUT, RESULT, STATE, SCRATCH, WORKSPACE } role;

typedef struct room {
  unsigned char *at;
  size_t size;
  element type;
  role role;
  bool is_struct;
  size_t row, stride;     /**< bytes: what lies between rows is not the call's */
  unsigned char *before;  /**< what stood in it before the call */
  unsigned char *written; /**< what the first of two calls left in it */
} room;

enum { MOST_ROOMS = 48, MOST_COUNTS = 16 };

typedef struct call call;

struct call {
  const char *function; /**< the one described */

  /* The driver's: */
  const uint8_t *bytes; /**< choices, if there are */
  size_t bytes_left;
  uint64_t seed;  /**< where choices come from otherwise */
  unsigned round; /**< for messages */
  bool faults;
  bool everything, nothing;             /**< all that may be NULL is there, or is not */
  bool repeats;                         /**< each call is made twice and compared */
  bool digests;                         /**< `outcome` is wanted */
  void *(*place)(call *, size_t bytes); /**< memory for a room */
  void (*seal)(call *, bool sealed);    /**< before and after the call; may be NULL */
  void (*release)(call *, void *);      /**< may be NULL */
  int over, under;                      /**< room `over` is laid over the end of room `under`, unless -1 */
  int huge[2];                          /**< these counts are replaced, unless -1 */
  size_t huge_value;

  /* The call's: */
  room rooms[MOST_ROOMS];
  int num_rooms, num_counts, num_products;
  int products[MOST_COUNTS]; /**< the first of two counts in a row that are multiplied */
  swiftdpo_status status;
  swiftdpo_culprit culprit;
  bool wild;            /**< numbers of any size */
  bool cannot_refuse;   /**< it has no status */
  bool promises_no_nan; /**< finite input gives no NaN */
  bool in_place;        /**< a result may stand in an input's place */
  bool may_write;       /**< results may have been written where it refuses what is not finite */
  uint64_t outcome;     /**< a number that tells status and results of two calls apart */
  int runs;
};

typedef struct description {
  const char *function;
  const char *family;
  void (*make)(call *);
} description;

/** Every function of the header. */
extern const description descriptions[];
extern const size_t num_descriptions;

/** Makes the call, looks at what it did, and frees its rooms. */
void make(call *c, const description *what);

/** Something is wrong: says what and where, and ends the process. */
_Noreturn void fail(const call *c, const char *format, ...);

/** Heap memory of just the size. */
void *place_on_heap(call *c, size_t bytes);
void release_to_heap(call *c, void *memory);

/* What descriptions are made of. */

/** A number below n. */
uint64_t pick(call *c, uint64_t n);

/** Seldom true: once in n. */
static inline bool seldom(call *c, uint64_t n) { return pick(c, n) == n - 1; }

/** Whether to leave out what may be left out. */
bool leave_out(call *c);

/** Whether something goes wrong here. */
static inline bool fault(call *c) { return c->faults && seldom(c, 48); }

/** A value of an enumeration of n values, or a yes or no with n = 2. */
int choice(call *c, int n);

/** Chooses a count and returns it; the field may say something else. */
size_t count(call *c, size_t *field, size_t least, size_t most);

/** Says that the product of the last two counts is a count of elements. */
void multiplied(call *c);

double number(call *c, kind kind);

/** Numbers of a kind. The second form may be NULL. */
const void *numbers(call *c, element type, size_t count, kind kind);
const void *maybe_numbers(call *c, element type, size_t count, kind kind);

/** Integers in [low, high]. */
const void *integers(call *c, element type, size_t count, int64_t low, int64_t high);
const void *maybe_integers(call *c, element type, size_t count, int64_t low, int64_t high);

/** array[index] = value, rounded to the type. */
void store(element type, void *array, size_t index, double value);

/** An input with given contents. */
const void *copied(call *c, element type, size_t count, const void *contents);

/** One by which the call knows how large others are: its contents may be wrong, its pointer is right. */
const void *measure(call *c, element type, size_t count, const void *contents);

/** Where a result goes. The second form may be NULL. */
void *result(call *c, element type, size_t count);
void *maybe_result(call *c, element type, size_t count);

/** Marks the last result as rows of `row` elements that begin `stride` elements apart. */
void in_rows(call *c, size_t row, size_t stride);

/** A struct from its INIT macro, in memory of its own; sometimes one that a newer header made larger. */
/* NOLINTBEGIN(bugprone-macro-parentheses): a type and a list in braces cannot have any */
#define STRUCT(c, type, INIT) structure(c, &(const type)INIT, sizeof(type), INPUT)
#define STATE_STRUCT(c, type, INIT) structure(c, &(const type)INIT, sizeof(type), STATE)
/* NOLINTEND(bugprone-macro-parentheses) */
void *structure(call *c, const void *initial, size_t size, role role);

/** State that a call adds to, with the given contents. */
void *state(call *c, element type, size_t count, const void *contents);

/** Temporary memory for the call, at a multiple of 64 if `bytes` is one. */
void *workspace(call *c, size_t bytes);

/** Memory until the call is over, not the call's. */
void *scratch(call *c, size_t bytes);

/** The call itself; `&c->culprit` is its culprit. */
#define CALL(c, expression) \
  do { \
    ready(c); \
    do \
      (c)->status = (expression); \
    while (again(c)); \
  } while (0)
#define CALL_VOID(c, expression) \
  do { \
    (c)->cannot_refuse = true; \
    CALL(c, ((expression), SWIFTDPO_OK)); \
  } while (0)
void ready(call *c);
bool again(call *c);

/* One description for several dtypes: the file is compiled with -DDTYPE=f32, f64, bf16 or f16. */
#ifdef DTYPE
#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)
#define PASTE3_(a, b, c) a##b##c
#define PASTE3(a, b, c) PASTE3_(a, b, c)
#define ELEMENT_f32 F32
#define ELEMENT_f64 F64
#define ELEMENT_bf16 BF16
#define ELEMENT_f16 F16
#define LAYOUT_f32 f32
#define LAYOUT_f64 f64
#define LAYOUT_bf16 half
#define LAYOUT_f16 half
#define UPPER_LAYOUT_f32 F32
#define UPPER_LAYOUT_f64 F64
#define UPPER_LAYOUT_bf16 HALF
#define UPPER_LAYOUT_f16 HALF
#define ELEMENT PASTE(ELEMENT_, DTYPE)                                            /* F32 */
#define TYPED(name) PASTE3(name, _, DTYPE)                                        /* name_f32 */
#define LAID_OUT(name) PASTE3(name, _, PASTE(LAYOUT_, DTYPE))                     /* name_f32 or name_half: a struct */
#define INIT(NAME) PASTE3(SWIFTDPO_##NAME##_, PASTE(UPPER_LAYOUT_, DTYPE), _INIT) /* its macro */
#endif

#endif
