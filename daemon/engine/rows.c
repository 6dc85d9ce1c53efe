/* rows.c - a list of changes in one piece of memory; see rows.h. */
#include "rows.h"

#include "../../proto/error.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define BYTES_MIN 65536

/* Before each value; the value follows, and ends at a multiple of 8. */
struct header {
    struct rows_key key;
    uint64_t last, size;
    uint64_t removes; /* whether it has no value */
};

void rows_deinit(struct rows *r)
{
    free(r->bytes);
    *r = (struct rows){0};
}

void rows_clear(struct rows *r)
{
    r->size = r->count = 0;
    r->failed = false;
}

static bool reserve(struct rows *r, size_t more)
{
    size_t capacity = r->capacity > 0 ? r->capacity : BYTES_MIN;
    unsigned char *bytes;

    if (r->failed || more > SIZE_MAX / 4)
        return !(r->failed = true);
    while (capacity - r->size < more)
        capacity *= 2;
    if (capacity == r->capacity)
        return true;
    bytes = realloc(r->bytes, capacity);
    if (bytes == NULL)
        return !(r->failed = true);
    r->bytes = bytes;
    r->capacity = capacity;
    return true;
}

_Static_assert(sizeof(struct header) + 7 <= ROWS_CHANGE_BYTES, "rows.h says so");

int rows_reserve(struct rows *r, size_t bytes)
{
    bool failed = r->failed;

    if (reserve(r, bytes))
        return 0;
    r->failed = failed; /* what is in it is as whole as it was */
    return -OHEM_NOMEM;
}

static void *append(struct rows *r, const struct header *h)
{
    size_t padded = ((size_t)h->size + 7) / 8 * 8;
    unsigned char *at;

    if (!reserve(r, sizeof *h + padded))
        return NULL;
    at = r->bytes + r->size;
    memcpy(at, h, sizeof *h);
    memset(at + sizeof *h + h->size, 0, padded - (size_t)h->size);
    r->size += sizeof *h + padded;
    r->count++;
    return at + sizeof *h;
}

void *rows_put(struct rows *r, struct rows_key key, size_t size)
{
    return append(r, &(struct header){.key = key, .last = key.number, .size = size});
}

void rows_remove(struct rows *r, uint32_t table, uint32_t job, uint64_t first, uint64_t last)
{
    (void)append(r, &(struct header){.key = {table, job, first}, .last = last, .removes = 1});
}

bool rows_next(const struct rows *r, size_t *at, struct rows_change *out)
{
    struct header h;

    if (*at >= r->size)
        return false;
    memcpy(&h, r->bytes + *at, sizeof h);
    *out = (struct rows_change){.key = h.key, .last = h.last, .size = (size_t)h.size};
    if (h.removes == 0)
        out->value = r->bytes + *at + sizeof h;
    *at += sizeof h + ((size_t)h.size + 7) / 8 * 8;
    return true;
}

/* ---- removed ones ------------------------------------------------------------------------------
 */

int rows_gone_reserve(struct rows_gone *g, size_t count)
{
    uint64_t *numbers;

    if (count <= g->capacity)
        return 0;
    numbers = realloc(g->numbers, count * sizeof *numbers);
    if (numbers == NULL)
        return -OHEM_NOMEM;
    g->numbers = numbers;
    g->capacity = count;
    return 0;
}

void rows_gone_deinit(struct rows_gone *g)
{
    free(g->numbers);
    *g = (struct rows_gone){0};
}

void rows_gone_add(struct rows_gone *g, uint64_t number)
{
    assert(g->count < g->capacity);
    g->numbers[g->count++] = number;
}

void rows_gone_capture(struct rows_gone *g, uint32_t table, uint32_t job, struct rows *out)
{
    for (size_t i = 0; i < g->count; i++)
        rows_remove(out, table, job, g->numbers[i], g->numbers[i]);
    g->count = 0;
}
