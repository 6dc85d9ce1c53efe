/* memory.h - large arrays that are read here and there. */
#ifndef OHEM_MEMORY_H
#define OHEM_MEMORY_H

#include <stddef.h>

/**
 * Take a large array of our allocator, which nobody has touched yet, from the system at once, and
 * in huge pages if it has them: a jump into it then costs no walk through page tables, and the
 * first one into a page does not wait until that is cleared (2 MB; 4 ms were seen). A hint: it
 * changes no byte and cannot fail; small arrays, and systems that know nothing of it, are left as
 * they are.
 */
void memory_take_large(void *memory, size_t size);

#endif
