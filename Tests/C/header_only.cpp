// The header alone, in the strictest C++17 that the compiler knows.
#include "swiftdpo.h"

int header_only_in_cpp();
int header_only_in_cpp() { return SWIFTDPO_VERSION; }
