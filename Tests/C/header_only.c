/* The header alone, in the strictest C11 that the compiler knows. Its structs have no padding: what a later field took the
 * place of would hold whatever an older program left there. */
#pragma GCC diagnostic error "-Wpadded"
#include "swiftdpo.h"

int header_only_in_c(void);
int header_only_in_c(void) { return SWIFTDPO_VERSION; }
