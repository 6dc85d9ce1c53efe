/* ordered.c - the r-th smallest id of a bucket, by counts over ever smaller ranges; see ordered.h.
 *
 * A byte holds all 256 buckets, so there is none left to say "in no bucket": those ids carry the
 * last bucket's, whose members are found by their bits instead. It is the rarest one (scores of
 * 2^12 and more) and no slower than the others.
 */
#include "ordered.h"

#include "../../proto/error.h"

#include <assert.h>
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_SHIFT 10 /* ids in a block; its counts fit into 16 bits */
#define FAN_SHIFT   5  /* blocks in a group, groups in a region */
#define BLOCK       (1u << BLOCK_SHIFT)
#define LAST        (PARTITION_BUCKETS - 1u)
#define CHUNK       64u /* ids that are counted at once */

static uint32_t parts_of(uint32_t n, unsigned shift)
{
    return (uint32_t)(((uint64_t)n + (UINT64_C(1) << shift) - 1) >> shift);
}

int ordered_init(struct ordered *o, uint32_t n)
{
    *o = (struct ordered){
        .n = n,
        .blocks = parts_of(n, BLOCK_SHIFT),
        .groups = parts_of(n, BLOCK_SHIFT + FAN_SHIFT),
        .regions = parts_of(n, BLOCK_SHIFT + 2 * FAN_SHIFT),
    };
    o->buckets = malloc((size_t)o->blocks * BLOCK);
    o->last = calloc(o->blocks, BLOCK / 8);
    o->block_counts = calloc((size_t)o->blocks * PARTITION_BUCKETS, sizeof *o->block_counts);
    o->group_counts = calloc((size_t)o->groups * PARTITION_BUCKETS, sizeof *o->group_counts);
    o->region_counts = calloc((size_t)o->regions * PARTITION_BUCKETS, sizeof *o->region_counts);
    if (o->buckets == NULL || o->last == NULL || o->block_counts == NULL ||
        o->group_counts == NULL || o->region_counts == NULL) {
        ordered_deinit(o);
        return -OHEM_NOMEM;
    }
    memset(o->buckets, LAST, (size_t)o->blocks * BLOCK);
    return 0;
}

void ordered_deinit(struct ordered *o)
{
    free(o->buckets);
    free(o->last);
    free(o->block_counts);
    free(o->group_counts);
    free(o->region_counts);
    *o = (struct ordered){0};
}

void ordered_clear(struct ordered *o)
{
    size_t rows = PARTITION_BUCKETS;

    memset(o->buckets, LAST, (size_t)o->blocks * BLOCK);
    memset(o->last, 0, (size_t)o->blocks * (BLOCK / 8));
    memset(o->block_counts, 0, o->blocks * rows * sizeof *o->block_counts);
    memset(o->group_counts, 0, o->groups * rows * sizeof *o->group_counts);
    memset(o->region_counts, 0, o->regions * rows * sizeof *o->region_counts);
}

/* A table with a row per bucket into one with longer rows; sizes in bytes. */
static void copy_rows(void *to, size_t to_size, const void *from, size_t from_size)
{
    for (size_t b = 0; b < PARTITION_BUCKETS; b++)
        memcpy((char *)to + b * to_size, (const char *)from + b * from_size, from_size);
}

void ordered_copy(struct ordered *o, const struct ordered *from)
{
    assert(o->n >= from->n);
    memcpy(o->buckets, from->buckets, (size_t)from->blocks * BLOCK);
    memcpy(o->last, from->last, (size_t)from->blocks * (BLOCK / 8));
    copy_rows(o->block_counts, o->blocks * sizeof *o->block_counts, from->block_counts,
              from->blocks * sizeof *from->block_counts);
    copy_rows(o->group_counts, o->groups * sizeof *o->group_counts, from->group_counts,
              from->groups * sizeof *from->group_counts);
    copy_rows(o->region_counts, o->regions * sizeof *o->region_counts, from->region_counts,
              from->regions * sizeof *from->region_counts);
}

/* ---- changes -----------------------------------------------------------------------------------
 */

bool ordered_has(const struct ordered *o, uint32_t id)
{
    return o->buckets[id] != LAST || (o->last[id / 64] >> id % 64 & 1) != 0;
}

/* One id more or less; by = 1 or, modulo each type, -1. */
static inline void count(struct ordered *o, uint32_t id, unsigned bucket, uint32_t by)
{
    size_t b = bucket, block = id >> BLOCK_SHIFT, group = block >> FAN_SHIFT;

    o->block_counts[b * o->blocks + block] =
        (uint16_t)(o->block_counts[b * o->blocks + block] + by);
    o->group_counts[b * o->groups + group] += by;
    o->region_counts[b * o->regions + (group >> FAN_SHIFT)] += by;
}

static inline void put_in(struct ordered *o, uint32_t id, unsigned bucket)
{
    o->buckets[id] = (uint8_t)bucket;
    if (bucket == LAST)
        o->last[id / 64] |= UINT64_C(1) << id % 64;
    count(o, id, bucket, 1);
}

static inline void take_out(struct ordered *o, uint32_t id, unsigned bucket)
{
    assert(o->buckets[id] == bucket);
    if (bucket == LAST)
        o->last[id / 64] &= ~(UINT64_C(1) << id % 64);
    count(o, id, bucket, UINT32_MAX);
}

void ordered_insert(struct ordered *o, uint32_t id, unsigned bucket)
{
    assert(!ordered_has(o, id));
    put_in(o, id, bucket);
}

void ordered_remove(struct ordered *o, uint32_t id, unsigned bucket)
{
    assert(ordered_has(o, id));
    take_out(o, id, bucket);
    o->buckets[id] = LAST;
}

void ordered_move(struct ordered *o, uint32_t id, unsigned from, unsigned to)
{
    if (from == to)
        return;
    assert(ordered_has(o, id));
    take_out(o, id, from);
    put_in(o, id, to);
}

/* ---- the r-th ----------------------------------------------------------------------------------
 */

/* In which of the ranges from `first` on is the r-th? r becomes its place in there. */
static inline uint32_t walk(const uint32_t *counts, uint32_t first, uint32_t end, uint32_t *r)
{
    uint32_t i = first;

    for (; *r >= counts[i]; i++) {
        *r -= counts[i];
        assert(i + 1 < end);
    }
    return i;
}

static inline uint32_t walk_blocks(const uint16_t *counts, uint32_t first, uint32_t end,
                                   uint32_t *r)
{
    uint32_t i = first;

    for (; *r >= counts[i]; i++) {
        *r -= counts[i];
        assert(i + 1 < end);
    }
    return i;
}

/* A loop that compilers turn into vector instructions: of known length, with a sum of bytes. */
static inline uint32_t count_equal(const uint8_t *bytes, uint8_t wanted)
{
    uint8_t sum = 0;

    for (unsigned i = 0; i < CHUNK; i++)
        sum = (uint8_t)(sum + (bytes[i] == wanted));
    return sum;
}

/* A 1 in each byte that is equal (exactly: nothing is carried between bytes). The first byte in
 * memory is the lowest. */
static inline uint64_t equal_bytes(const uint8_t *bytes, uint64_t wanted)
{
    const uint64_t low = UINT64_C(0x7f7f7f7f7f7f7f7f);
    uint64_t word;

    memcpy(&word, bytes, sizeof word);
    word = le64toh(word) ^ wanted;
    return ~(((word & low) + low) | word | low) >> 7;
}

/* The place of the r-th 1. */
static inline uint32_t nth_one(uint64_t ones, uint32_t r)
{
    for (; r > 0; r--)
        ones &= ones - 1;
    return (uint32_t)__builtin_ctzll(ones);
}

/* Where in the block is the r-th byte of this value? There is one. */
static uint32_t nth_equal(const uint8_t *block, uint8_t wanted, uint32_t r)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), pattern = wanted * ones;
    uint32_t at = 0, found;
    uint64_t equal;

    for (; (found = count_equal(block + at, wanted)) <= r; at += CHUNK)
        r -= found;
    for (;; at += 8) {
        equal = equal_bytes(block + at, pattern);
        found = (uint32_t)(equal * ones >> 56);
        if (r < found)
            return at + nth_one(equal, r) / 8;
        r -= found;
    }
}

static uint32_t nth_bit(const uint64_t *words, uint32_t r)
{
    uint32_t i = 0, found;

    for (; (found = (uint32_t)__builtin_popcountll(words[i])) <= r; i++)
        r -= found;
    return i * 64 + nth_one(words[i], r);
}

uint32_t ordered_at(const struct ordered *o, unsigned bucket, uint32_t r)
{
    size_t b = bucket;
    uint32_t region = walk(o->region_counts + b * o->regions, 0, o->regions, &r);
    uint32_t group = walk(o->group_counts + b * o->groups, region << FAN_SHIFT, o->groups, &r);
    uint32_t block =
        walk_blocks(o->block_counts + b * o->blocks, group << FAN_SHIFT, o->blocks, &r);
    size_t first = (size_t)block << BLOCK_SHIFT;
    uint32_t within = bucket == LAST ? nth_bit(o->last + first / 64, r)
                                     : nth_equal(o->buckets + first, (uint8_t)bucket, r);

    return (uint32_t)first + within;
}
