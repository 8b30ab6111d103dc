/* The header alone, in the strictest C11 that the compiler knows. */
#include "swiftdpo.h"

int header_only_in_c(void);
int header_only_in_c(void) { return SWIFTDPO_VERSION; }
