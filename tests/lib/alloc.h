/* alloc.h - an allocator that fails when it is told to, and knows what is not yet freed.
 *
 * For programs that are linked with ALLOC_LDFLAGS of the Makefile (--wrap): there, malloc, calloc,
 * realloc, aligned_alloc, posix_memalign, strdup and free of *our* objects come through here;
 * shared libraries keep the real ones. Without a call to alloc_fail_at() nothing fails. Counting is
 * for all threads, failing for one.
 */
#ifndef ALLOC_H
#define ALLOC_H

#include <stdbool.h>
#include <stddef.h>

/** Let the nth allocation from now on fail (1: the next one), and only that. 0: none. */
void alloc_fail_at(size_t nth);

/** Did it come to the failure since alloc_fail_at()? */
bool alloc_has_failed(void);

/** Blocks that were allocated and not yet freed. */
size_t alloc_live(void);

/** Allocations since the start, reallocations included. */
size_t alloc_count(void);

#endif
