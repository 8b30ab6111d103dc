/* The table of all functions. */
#include "calls.h"

#define DECLARED(family, name) void name(call *c);
#define INIT_DECLARED(name) void name##_init(call *c);
FUNCTIONS(DECLARED)
INIT_FUNCTIONS(INIT_DECLARED)

#define ENTRY(family, name) {"swiftdpo_" #name, #family, name},
#define INIT_ENTRY(name) {"swiftdpo_" #name "_init", "library", name##_init},
const description descriptions[] = {FUNCTIONS(ENTRY) INIT_FUNCTIONS(INIT_ENTRY)};
const size_t num_descriptions = sizeof descriptions / sizeof *descriptions;
