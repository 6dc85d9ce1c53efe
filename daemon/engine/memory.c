/* memory.c - see memory.h. */
#include "memory.h"

#include <stdint.h>
#include <sys/mman.h>

#define PAGE_BYTES  4096u      /* madvise() wants a page's beginning; where pages are larger: */
#define LARGE_BYTES (4u << 20) /* it refuses, which does no harm. Two huge pages, on x86 */

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14; older ones refuse it */
#endif

void memory_take_large(void *memory, size_t size)
{
    size_t skip = -(uintptr_t)memory % PAGE_BYTES;
    size_t whole = (size - skip) / PAGE_BYTES * PAGE_BYTES;

    if (size < LARGE_BYTES)
        return;
    (void)madvise((char *)memory + skip, whole, MADV_HUGEPAGE);
    (void)madvise((char *)memory + skip, whole, MADV_POPULATE_WRITE);
}
