#ifndef LARGE_H
#define LARGE_H

/** Returns how many calls passed; 0 if one did not. */
unsigned long test_large(unsigned rounds);

#endif
