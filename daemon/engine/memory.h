/* memory.h - large arrays that are read here and there. */
#ifndef OHEM_MEMORY_H
#define OHEM_MEMORY_H

#include <stddef.h>

/**
 * Ask the system for huge pages under an array of our allocator that nobody has touched yet: a
 * jump into it then costs no walk through page tables. A hint: it changes no byte and cannot fail;
 * small arrays, and systems that know nothing of it, are left as they are.
 */
void memory_advise_large(void *memory, size_t size);

#endif
