// The kernels that this process uses, chosen when the library is loaded.
#ifndef SWIFTDPO_KERNEL_CHOICE_H
#define SWIFTDPO_KERNEL_CHOICE_H

// Chooses the kernels for this machine, fills in their table and returns which they are (SwiftDPO/Dispatch.swift).
int swiftdpo_load(void *table);

// Each build of the kernels fills in a table of its entry points (Preference/KernelTable.swift).
void swiftdpo_kernels_baseline(void *table);
void swiftdpo_kernels_avx2(void *table);
void swiftdpo_kernels_avx512(void *table);

// What swiftdpo_load found, constant from then on.
const void *chosen_kernels(void);
int chosen_isa(void);

#endif
