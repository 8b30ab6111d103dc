// The kernels that this process uses, chosen when the library is loaded.
#ifndef SWIFTDPO_KERNEL_CHOICE_H
#define SWIFTDPO_KERNEL_CHOICE_H

// Fills in the table of the kernels for an instruction set of enum platform_isa (SwiftDPO/Dispatch.swift).
void swiftdpo_load(void *table, int isa);

// Each build of the kernels fills in a table of its entry points (Preference/KernelTable.swift).
void swiftdpo_kernels_baseline(void *table);
void swiftdpo_kernels_avx2(void *table);
void swiftdpo_kernels_avx512(void *table);

// The kernels' table and their name, constant once the library is loaded. A wish of SWIFTDPO_ISA that
// was passed over is told behind it.
const void *chosen_kernels(void) __attribute__((const, returns_nonnull));
const char *chosen_isa(void) __attribute__((returns_nonnull));

#endif
