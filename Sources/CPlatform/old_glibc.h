// Functions that glibc moved into libc.so between 2.32 and 2.34, and gave new versions there. The old versions are still
// in every release, and the same functions: a library that asks for those runs on systems since glibc 2.17, whichever it
// was linked on.
#ifndef SWIFTDPO_OLD_GLIBC_H
#define SWIFTDPO_OLD_GLIBC_H

#if defined(__x86_64__) && defined(__GLIBC__)
#define OLD_GLIBC(function) __asm__(".symver " #function ", " #function "@GLIBC_2.2.5")
#else
#define OLD_GLIBC(function) _Static_assert(1, "no other version is asked for here")
#endif

#endif
