/* alloc.c - the failing allocator; see alloc.h. The linker sends calls to __wrap_x here and lets us
 * reach the real one as __real_x. realloc fails without touching the old block, as the real one. */
#include "alloc.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
int __real_posix_memalign(void **out, size_t alignment, size_t size);
void __real_free(void *block);

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
int __wrap_posix_memalign(void **out, size_t alignment, size_t size);
char *__wrap_strdup(const char *text);
void __wrap_free(void *block);

static size_t fail_in; /* allocations until the one that fails, itself included; 0: none */
static bool failed;
static atomic_size_t live, taken;

void alloc_fail_at(size_t nth)
{
    fail_in = nth;
    failed = false;
}

bool alloc_has_failed(void)
{
    return failed;
}

size_t alloc_live(void)
{
    return live;
}

size_t alloc_count(void)
{
    return taken;
}

static bool fails_now(void)
{
    taken++;
    if (fail_in == 0 || --fail_in > 0)
        return false;
    failed = true;
    errno = ENOMEM;
    return true;
}

static void *counted(void *block)
{
    live += block != NULL;
    return block;
}

void *__wrap_malloc(size_t size)
{
    return fails_now() ? NULL : counted(__real_malloc(size));
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails_now() ? NULL : counted(__real_calloc(count, size));
}

void *__wrap_realloc(void *old, size_t size)
{
    void *block;

    if (fails_now())
        return NULL;
    block = __real_realloc(old, size);
    return old == NULL ? counted(block) : block;
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return fails_now() ? NULL : counted(__real_aligned_alloc(alignment, size));
}

int __wrap_posix_memalign(void **out, size_t alignment, size_t size)
{
    int rc;

    if (fails_now())
        return ENOMEM;
    rc = __real_posix_memalign(out, alignment, size);
    live += rc == 0;
    return rc;
}

char *__wrap_strdup(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = __wrap_malloc(size);

    return copy == NULL ? NULL : memcpy(copy, text, size);
}

void __wrap_free(void *block)
{
    live -= block != NULL;
    __real_free(block);
}
