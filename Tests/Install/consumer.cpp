// The C program again, as C++: the same source must serve both.
#include "consumer.c"
