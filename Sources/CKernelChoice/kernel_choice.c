#include "kernel_choice.h"

// The choice is made before any call: no call pays for it, and no two calls race for it.
_Alignas(64) static unsigned char kernel_table[1024];
static int isa;

__attribute__((constructor)) static void load(void) { isa = swiftdpo_load(kernel_table); }

const void *chosen_kernels(void) { return kernel_table; }

int chosen_isa(void) { return isa; }
