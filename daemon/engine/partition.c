/* partition.c - bags of ids in pages, one bag per bucket; see partition.h.
 *
 * A bag grows and shrinks at its end only: a new id goes behind the last, and the hole that an id
 * leaves is filled with the last. Pages come from one array with a free list, so the whole is
 * allocated once: n ids need n / page size pages, and each bucket may have one that is part full.
 */
#include "partition.h"

#include "../../proto/error.h"
#include "memory.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_SHIFT_MIN   6  /* 64 ids on a page */
#define PAGE_COUNT_SHIFT 14 /* about 2^14 pages for large n: the tables stay in the cache */

static unsigned page_shift_for(uint32_t n)
{
    unsigned shift = PAGE_SHIFT_MIN;

    while (((uint64_t)n >> shift) > (UINT64_C(1) << PAGE_COUNT_SHIFT))
        shift++;
    return shift;
}

int partition_init(struct partition *p, uint32_t n)
{
    unsigned shift = page_shift_for(n);
    uint32_t full_pages = (uint32_t)(((uint64_t)n + (UINT64_C(1) << shift) - 1) >> shift);
    uint32_t pages = full_pages + PARTITION_BUCKETS;

    *p = (struct partition){.n = n, .page_shift = shift, .page_count = pages};
    p->ids = malloc(((size_t)pages << shift) * sizeof *p->ids);
    p->place = malloc(n * sizeof *p->place);
    p->free_pages = malloc(pages * sizeof *p->free_pages);
    p->page_tables = calloc((size_t)(full_pages + 1) * PARTITION_BUCKETS, sizeof *p->page_tables);
    if (p->ids == NULL || p->place == NULL || p->free_pages == NULL || p->page_tables == NULL) {
        partition_deinit(p);
        return -OHEM_NOMEM;
    }
    memory_take_large(p->ids, ((size_t)pages << shift) * sizeof *p->ids);
    memory_take_large(p->place, n * sizeof *p->place);
    partition_clear(p);
    for (unsigned b = 0; b < PARTITION_BUCKETS; b++)
        p->buckets[b].pages = p->page_tables + (size_t)b * (full_pages + 1);
    return 0;
}

void partition_deinit(struct partition *p)
{
    free(p->ids);
    free(p->place);
    free(p->free_pages);
    free(p->page_tables);
    *p = (struct partition){0};
}

void partition_clear(struct partition *p)
{
    memset(p->place, 0xff, p->n * sizeof *p->place); /* PARTITION_NONE */
    for (unsigned b = 0; b < PARTITION_BUCKETS; b++)
        p->buckets[b].count = 0;
    for (uint32_t i = 0; i < p->page_count; i++)
        p->free_pages[i] = p->page_count - 1 - i;
    p->free_count = p->page_count;
    p->count = 0;
}

double partition_bucket_floor(unsigned bucket)
{
    return ldexp(1.0 + (bucket & 7) / 8.0,
                 (int)(bucket >> PARTITION_OCTAVE_BITS) + PARTITION_EXPONENT_MIN);
}

double partition_bucket_middle(unsigned bucket)
{
    return ldexp(1.0 + ((bucket & 7) + 0.5) / 8.0,
                 (int)(bucket >> PARTITION_OCTAVE_BITS) + PARTITION_EXPONENT_MIN);
}

bool partition_has(const struct partition *p, uint32_t id)
{
    return p->place[id] != PARTITION_NONE;
}

uint32_t partition_at(const struct partition *p, unsigned bucket, uint32_t index)
{
    return *partition_cell(p, bucket, index);
}

/* Does the bag's page begin with this index? */
static bool begins_page(const struct partition *p, uint32_t index)
{
    return (index & ((1u << p->page_shift) - 1)) == 0;
}

static inline void put_in(struct partition *p, uint32_t id, unsigned bucket)
{
    struct partition_bucket *b = &p->buckets[bucket];
    uint32_t index = b->count++;

    if (begins_page(p, index))
        b->pages[index >> p->page_shift] = p->free_pages[--p->free_count];
    *partition_cell(p, bucket, index) = id;
    p->place[id] = index;
}

/* A bag, page by page of the source: its pages are no larger, and both sizes are powers of two. */
static void copy_bag(struct partition *p, const struct partition *from, unsigned bucket)
{
    struct partition_bucket *b = &p->buckets[bucket];
    uint32_t page = 1u << from->page_shift, part;

    assert(p->page_shift >= from->page_shift);
    for (; b->count < from->buckets[bucket].count; b->count += part) {
        part = from->buckets[bucket].count - b->count;
        part = part < page ? part : page;
        if (begins_page(p, b->count))
            b->pages[b->count >> p->page_shift] = p->free_pages[--p->free_count];
        memcpy(partition_cell(p, bucket, b->count), partition_cell(from, bucket, b->count),
               part * sizeof *p->ids);
    }
}

void partition_copy(struct partition *p, const struct partition *from)
{
    assert(p->count == 0 && p->n >= from->n);
    memcpy(p->place, from->place, from->n * sizeof *p->place);
    for (unsigned b = 0; b < PARTITION_BUCKETS; b++)
        copy_bag(p, from, b);
    p->count = from->count;
}

static inline void take_out(struct partition *p, uint32_t id, unsigned bucket)
{
    struct partition_bucket *b = &p->buckets[bucket];
    uint32_t place = p->place[id], last = b->count - 1;
    uint32_t *hole = partition_cell(p, bucket, place);
    uint32_t moved = partition_at(p, bucket, last);

    assert(b->count > 0 && place <= last && *hole == id);
    *hole = moved;
    p->place[moved] = place;
    if (begins_page(p, last))
        p->free_pages[p->free_count++] = b->pages[last >> p->page_shift];
    b->count = last;
}

void partition_insert(struct partition *p, uint32_t id, unsigned bucket)
{
    assert(p->place[id] == PARTITION_NONE);
    put_in(p, id, bucket);
    p->count++;
}

void partition_remove(struct partition *p, uint32_t id, unsigned bucket)
{
    take_out(p, id, bucket);
    p->place[id] = PARTITION_NONE;
    p->count--;
}

void partition_move(struct partition *p, uint32_t id, unsigned from, unsigned to)
{
    if (from == to)
        return;
    take_out(p, id, from);
    put_in(p, id, to);
}
