/* Frames of XLA's foreign-function interface, read into the library's structs. */
#include "frame.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static XLA_FFI_Error *complain(const XLA_FFI_CallFrame *given, XLA_FFI_Error_Code code, const char *message) {
  XLA_FFI_Error_Create_Args args = {XLA_FFI_Error_Create_Args_STRUCT_SIZE, NULL, message, code};
  return given->api->XLA_FFI_Error_Create(&args);
}

/** Answers XLA's question, asked when a handler is registered, which version it was compiled for. */
static int answer_metadata(const XLA_FFI_CallFrame *given) {
  XLA_FFI_Extension_Base *extension = given->extension_start;
  if (extension == NULL || extension->type != XLA_FFI_Extension_Metadata)
    return 0;
  XLA_FFI_Metadata *metadata = ((XLA_FFI_Metadata_Extension *)extension)->metadata;
  metadata->api_version.major_version = XLA_FFI_API_MAJOR;
  metadata->api_version.minor_version = XLA_FFI_API_MINOR;
  metadata->traits = 0;
  return 1;
}

size_t elements(const XLA_FFI_Buffer *buffer, int64_t from, int64_t to) {
  size_t count = 1;
  for (int64_t axis = from < 0 ? from + buffer->rank : from; axis < (to < 0 ? to + buffer->rank : to); axis++)
    count *= (size_t)buffer->dims[axis];
  return count;
}

const char *measure_outer(frame *frame, const XLA_FFI_Buffer *buffer, int64_t rank) {
  if (buffer == NULL)
    return "a required input is missing";
  if (buffer->rank < rank)
    return "an input has too few dimensions";
  frame->outer = elements(buffer, 0, buffer->rank - rank);
  return NULL;
}

const XLA_FFI_Buffer *input_named(const frame *frame, const char *name) {
  for (size_t i = 0; i < frame->num_inputs; i++) {
    if (strcmp(frame->inputs[i].field->name, name) == 0)
      return frame->inputs[i].buffer;
  }
  return NULL;
}

static const field *field_named(const field *fields, const char *name, size_t length) {
  for (; fields->name != NULL; fields++) {
    if (strlen(fields->name) == length && memcmp(fields->name, name, length) == 0)
      return fields;
  }
  return NULL;
}

/** Binds buffers to the fields that a list of names, separated by commas, says. Returns how many, or -1. */
static int64_t bind(binding *bindings, const field *fields, XLA_FFI_ByteSpan names, void *const *buffers,
                    int64_t num_buffers) {
  int64_t count = 0;
  for (const char *name = names.ptr, *end = name + names.len; name < end; count++) {
    const char *comma = memchr(name, ',', (size_t)(end - name));
    const char *stop = comma == NULL ? end : comma;
    const field *found = field_named(fields, name, (size_t)(stop - name));
    if (found == NULL || count == num_buffers || count == MAX_BINDINGS)
      return -1;
    bindings[count] = (binding){.field = found, .buffer = buffers[count]};
    name = stop + (comma != NULL);
  }
  return count == num_buffers ? count : -1;
}

/** Writes a field of a struct, whatever its type. */
static void set(void *target, const field *field, const void *value, size_t size) {
  memcpy((char *)target + field->offset, value, size);
}

/** Sets an option from an attribute. */
static int set_option(frame *read, void *options, const field *field, XLA_FFI_AttrType type, const void *attribute) {
  if (type == XLA_FFI_AttrType_ARRAY) {
    const XLA_FFI_Array *array = attribute;
    const XLA_FFI_DataType expected = field->element == DOUBLES ? XLA_FFI_DataType_F64 : XLA_FFI_DataType_S32;
    if ((field->element != INT32S && field->element != DOUBLES) || array->dtype != expected)
      return -1;
    *(field->element == DOUBLES ? &read->num_doubles : &read->num_int32s) = array->size;
    set(options, field, (const void *)&array->data, sizeof array->data);
    return 0;
  }
  if (type != XLA_FFI_AttrType_SCALAR)
    return -1;
  const XLA_FFI_Scalar *scalar = attribute;
  size_t size = sizeof(double);
  XLA_FFI_DataType expected = XLA_FFI_DataType_F64;
  if (field->element == INT32) {
    size = sizeof(int32_t);
    expected = XLA_FFI_DataType_S32;
  } else if (field->element == INT64 || field->element == SIZE) {
    expected = XLA_FFI_DataType_S64;
  } else if (field->element != DOUBLE) {
    return -1;
  }
  if (scalar->dtype != expected)
    return -1;
  set(options, field, scalar->value, size);
  return 0;
}

static size_t size_of(XLA_FFI_DataType type) {
  switch (type) {
  case XLA_FFI_DataType_PRED:
  case XLA_FFI_DataType_U8:
    return 1;
  case XLA_FFI_DataType_F16:
  case XLA_FFI_DataType_BF16:
    return 2;
  case XLA_FFI_DataType_F32:
  case XLA_FFI_DataType_S32:
  case XLA_FFI_DataType_U32:
    return 4;
  default:
    return 8;
  }
}

/** The type that a field's elements have in the library. */
static XLA_FFI_DataType own_type(const field *field, XLA_FFI_DataType real) {
  switch (field->element) {
  case REAL:
    return real;
  case INT64:
    return XLA_FFI_DataType_S64;
  case INT32:
    return XLA_FFI_DataType_S32;
  case BYTE:
    return XLA_FFI_DataType_U8;
  default:
    return XLA_FFI_DataType_F64;
  }
}

/** Whether a buffer's elements are the field's, or convert to them. */
static int fits(const binding *bound, XLA_FFI_DataType real, size_t outer) {
  const XLA_FFI_DataType given = bound->buffer->dtype, own = own_type(bound->field, real);
  const size_t count = elements(bound->buffer, 0, bound->buffer->rank);
  if (given == XLA_FFI_DataType_U32)
    return own == XLA_FFI_DataType_F64 && count == 2 * outer * bound->count;
  if (count != outer * bound->count)
    return 0;
  return given == own || (own == XLA_FFI_DataType_U8 && given == XLA_FFI_DataType_PRED) ||
         (bound->field->element == DOUBLE && given == XLA_FFI_DataType_F32) ||
         (bound->field->element == PARAMETER && given == XLA_FFI_DataType_F32) ||
         (own == XLA_FFI_DataType_S64 && given == XLA_FFI_DataType_S32);
}

static int converts(const binding *bound) {
  const XLA_FFI_DataType given = bound->buffer->dtype;
  return (bound->field->element == DOUBLE && given == XLA_FFI_DataType_F32) ||
         (bound->field->element == INT64 && given == XLA_FFI_DataType_S32);
}

/** The part of a buffer that one call has. */
static void *part(const binding *bound, size_t call) {
  const size_t elements_of_words = bound->buffer->dtype == XLA_FFI_DataType_U32 ? 2 : 1;
  return (char *)bound->buffer->data + call * bound->count * elements_of_words * size_of(bound->buffer->dtype);
}

static void widen(const binding *bound, size_t call) {
  if (bound->field->element == DOUBLE) {
    const float *from = part(bound, call);
    for (size_t i = 0; i < bound->count; i++)
      ((double *)bound->converted)[i] = (double)from[i];
  } else {
    const int32_t *from = part(bound, call);
    for (size_t i = 0; i < bound->count; i++)
      ((int64_t *)bound->converted)[i] = from[i];
  }
}

static void narrow(const binding *bound, size_t call) {
  if (bound->field->element == DOUBLE) {
    float *to = part(bound, call);
    for (size_t i = 0; i < bound->count; i++)
      to[i] = (float)((const double *)bound->converted)[i];
  } else {
    int32_t *to = part(bound, call);
    for (size_t i = 0; i < bound->count; i++)
      to[i] = (int32_t)((const int64_t *)bound->converted)[i];
  }
}

/** Reads names and options, and finds the type of the call. Returns a complaint, or NULL. */
static const char *read(frame *read, const XLA_FFI_CallFrame *given, const call *call, structs *structs) {
  int64_t num_inputs = -1, num_outputs = -1;
  for (int64_t i = 0; i < given->attrs.size; i++) {
    const XLA_FFI_ByteSpan name = *given->attrs.names[i];
    const XLA_FFI_AttrType type = given->attrs.types[i];
    const void *attribute = given->attrs.attrs[i];
    const field *option = field_named(call->options, name.ptr, name.len);
    if (option != NULL) {
      if (set_option(read, structs->options, option, type, attribute) < 0)
        return "an option has the wrong type";
    } else if (type == XLA_FFI_AttrType_STRING && name.len == 6 && memcmp(name.ptr, "inputs", 6) == 0) {
      num_inputs =
          bind(read->inputs, call->inputs, *(const XLA_FFI_ByteSpan *)attribute, given->args.args, given->args.size);
    } else if (type == XLA_FFI_AttrType_STRING && name.len == 7 && memcmp(name.ptr, "outputs", 7) == 0) {
      num_outputs =
          bind(read->outputs, call->outputs, *(const XLA_FFI_ByteSpan *)attribute, given->rets.rets, given->rets.size);
    } else {
      return "an attribute is unknown";
    }
  }
  if (num_inputs < 0 || num_outputs < 0)
    return "inputs or outputs are not what their names say";
  read->num_inputs = (size_t)num_inputs;
  read->num_outputs = (size_t)num_outputs;
  for (int64_t i = num_inputs; i-- > 0;) {
    if (read->inputs[i].field->element == REAL)
      read->real = read->inputs[i].buffer->dtype;
  }
  switch (read->real) {
  case XLA_FFI_DataType_F32:
  case XLA_FFI_DataType_F64:
    return NULL;
  case XLA_FFI_DataType_F16:
  case XLA_FFI_DataType_BF16:
    return call->takes_halves ? NULL : "inputs are neither f32 nor f64";
  default:
    return "inputs are no floating-point numbers";
  }
}

/** Checks every buffer against what its field asks for; gives the bytes that conversions take. NULL, or who is wrong. */
static const field *check(frame *read, binding *bindings, size_t count, size_t *bytes) {
  for (size_t i = 0; i < count; i++) {
    binding *bound = &bindings[i];
    bound->count = read->extents[bound->field->extent];
    if (!fits(bound, read->real, read->outer))
      return bound->field;
    if (converts(bound))
      *bytes += bound->count * sizeof(double);
  }
  return NULL;
}

/** Hands out memory for conversions. */
static void place(binding *bindings, size_t count, char **memory) {
  for (size_t i = 0; i < count; i++) {
    if (converts(&bindings[i])) {
      bindings[i].converted = *memory;
      *memory += bindings[i].count * sizeof(double);
    }
  }
}

static double parameter(const binding *bound, size_t call) {
  const void *value = part(bound, call);
  return bound->buffer->dtype == XLA_FFI_DataType_F32 ? (double)*(const float *)value : *(const double *)value;
}

/** Points the structs at what one call has. */
static void point(const frame *read, structs *structs, size_t call) {
  for (size_t i = 0; i < read->num_inputs; i++) {
    const binding *bound = &read->inputs[i];
    if (bound->field->element == PARAMETER) {
      const double value = parameter(bound, call);
      set(structs->options, bound->field, &value, sizeof value);
      continue;
    }
    if (bound->converted != NULL)
      widen(bound, call);
    const void *pointer = bound->converted != NULL ? bound->converted : part(bound, call);
    set(structs->data, bound->field, (const void *)&pointer, sizeof pointer);
  }
  for (size_t i = 0; i < read->num_outputs; i++) {
    const binding *bound = &read->outputs[i];
    void *pointer = bound->converted != NULL ? bound->converted : part(bound, call);
    set(structs->results, bound->field, (const void *)&pointer, sizeof pointer);
  }
}

static XLA_FFI_Error *blame(const XLA_FFI_CallFrame *given, swiftdpo_status status, const swiftdpo_culprit *culprit) {
  if (status == SWIFTDPO_ERROR_OUT_OF_MEMORY)
    return complain(given, XLA_FFI_Error_Code_RESOURCE_EXHAUSTED, swiftdpo_status_string(status));
  char message[512];
  snprintf(message, sizeof message, "%s[%zu]: %s", culprit->argument == NULL ? "" : culprit->argument, culprit->index,
           swiftdpo_status_string(status));
  return complain(given, XLA_FFI_Error_Code_INVALID_ARGUMENT, message);
}

/** The calls, one after the other. */
static XLA_FFI_Error *run(const XLA_FFI_CallFrame *given, const call *call, const frame *read, structs *structs) {
  for (size_t i = 0; i < read->outer; i++) {
    swiftdpo_culprit culprit = {NULL, 0};
    point(read, structs, i);
    const swiftdpo_status status = call->run(read->real, structs, &culprit);
    if (status != SWIFTDPO_OK)
      return blame(given, status, &culprit);
    for (size_t output = 0; output < read->num_outputs; output++) {
      if (read->outputs[output].converted != NULL)
        narrow(&read->outputs[output], i);
    }
  }
  return NULL;
}

XLA_FFI_Error *answer(XLA_FFI_CallFrame *given, const call *call, structs *structs) {
  if (answer_metadata(given))
    return NULL;
  frame frame = {.extents = {[ONE] = 1}};
  const char *complaint = read(&frame, given, call, structs);
  if (complaint == NULL)
    complaint = call->measure(&frame, structs);
  if (complaint != NULL)
    return complain(given, XLA_FFI_Error_Code_INVALID_ARGUMENT, complaint);

  size_t bytes = 0;
  const field *wrong = check(&frame, frame.inputs, frame.num_inputs, &bytes);
  if (wrong == NULL)
    wrong = check(&frame, frame.outputs, frame.num_outputs, &bytes);
  if (wrong != NULL) {
    char message[128];
    snprintf(message, sizeof message, "%s has the wrong type or number of elements", wrong->name);
    return complain(given, XLA_FFI_Error_Code_INVALID_ARGUMENT, message);
  }
  char *memory = bytes == 0 ? NULL : malloc(bytes);
  if (bytes != 0 && memory == NULL)
    return complain(given, XLA_FFI_Error_Code_RESOURCE_EXHAUSTED, "no memory to convert 64-bit numbers");
  char *next = memory;
  place(frame.inputs, frame.num_inputs, &next);
  place(frame.outputs, frame.num_outputs, &next);
  XLA_FFI_Error *error = run(given, call, &frame, structs);
  free(memory);
  return error;
}
