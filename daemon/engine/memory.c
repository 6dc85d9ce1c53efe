/* memory.c - see memory.h. */
#include "memory.h"

#include <stdint.h>
#include <sys/mman.h>

#define PAGE_BYTES  4096u      /* madvise() wants a page's beginning; where pages are larger: */
#define LARGE_BYTES (4u << 20) /* it refuses, which does no harm. Two huge pages, on x86 */

void memory_advise_large(void *memory, size_t size)
{
#ifdef MADV_HUGEPAGE
    size_t skip = -(uintptr_t)memory % PAGE_BYTES;

    if (size >= LARGE_BYTES)
        (void)madvise((char *)memory + skip, (size - skip) / PAGE_BYTES * PAGE_BYTES,
                      MADV_HUGEPAGE);
#else
    (void)memory;
    (void)size;
#endif
}
