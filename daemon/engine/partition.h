/* partition.h - ids grouped by quantised score, so that drawing by hardness needs no tree.
 *
 * A score falls into one of 256 buckets, 8 per octave over 2^-20 .. 2^12, by the bits of the float.
 * Each bucket is a bag of ids, kept as pages of ids; each id knows its index in its bag. So an id
 * moves from any bucket to any other in O(1), and drawing, counting, the histogram, quantiles and
 * the hardest n fall out of 256 counts. Counts are integers: nothing drifts.
 */
#ifndef OHEM_PARTITION_H
#define OHEM_PARTITION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define PARTITION_BUCKETS      256
#define PARTITION_OCTAVE_BITS  3     /* 8 buckets per octave */
#define PARTITION_EXPONENT_MIN (-20) /* scores below 2^-20 share the lowest bucket */
#define PARTITION_NONE         UINT32_MAX

struct partition_bucket {
    uint32_t count;  /* ids in it */
    uint32_t *pages; /* numbers of its pages; page i holds indices i << page_shift and on */
};

struct partition {
    uint32_t n;          /* ids are 0..n-1 */
    uint32_t count;      /* ids that are in a bucket */
    unsigned page_shift; /* log2 of the ids on a page */
    uint32_t *ids;       /* all pages, one behind the other */
    uint32_t *place;     /* [n] index in its bucket's bag, PARTITION_NONE when in no bucket */
    uint32_t *free_pages;
    uint32_t free_count, page_count;
    uint32_t *page_tables; /* the memory behind all buckets' pages */
    struct partition_bucket buckets[PARTITION_BUCKETS];
};

/** An empty partition of n ids (1 <= n < 2^32). @return 0 or -OHEM_NOMEM. */
int partition_init(struct partition *p, uint32_t n);
void partition_deinit(struct partition *p);

/** Take every id out of its bucket. */
void partition_clear(struct partition *p);

/** Become what `from` is: its ids keep their buckets and their places in the bags, the further ones
 *  are in none. `p` is empty, and p->n >= from->n. */
void partition_copy(struct partition *p, const struct partition *from);

/** The bucket of a score: 0 for zero, negative and tiny ones, 255 for huge ones. Finite only. */
static inline unsigned partition_bucket_of(float score)
{
    uint32_t bits;
    int32_t bucket;

    if (!(score > 0))
        return 0;
    memcpy(&bits, &score, sizeof bits);
    /* exponent and the upper 3 bits of the mantissa, counted from those of 2^-20 */
    bucket = (int32_t)(bits >> (23 - PARTITION_OCTAVE_BITS)) -
             ((127 + PARTITION_EXPONENT_MIN) << PARTITION_OCTAVE_BITS);
    if (bucket < 0)
        return 0;
    return bucket < PARTITION_BUCKETS ? (unsigned)bucket : PARTITION_BUCKETS - 1;
}

/** The lower edge of a bucket's range, as a score; that of bucket 256 is the upper edge of all. */
double partition_bucket_floor(unsigned bucket);

/** The middle of a bucket's range: what stands for its members in a weight. */
double partition_bucket_middle(unsigned bucket);

/** Is the id in a bucket? */
bool partition_has(const struct partition *p, uint32_t id);

/** Put an id that is in no bucket into one. O(1). */
void partition_insert(struct partition *p, uint32_t id, unsigned bucket);

/** Take an id out of its bucket. O(1). */
void partition_remove(struct partition *p, uint32_t id, unsigned bucket);

/** Move an id between two buckets. O(1). */
void partition_move(struct partition *p, uint32_t id, unsigned from, unsigned to);

/** Where the id at an index of a bucket's bag lies, index < its count: to be fetched ahead. */
static inline uint32_t *partition_cell(const struct partition *p, unsigned bucket, uint32_t index)
{
    uint32_t page = p->buckets[bucket].pages[index >> p->page_shift];

    return &p->ids[((size_t)page << p->page_shift) + (index & ((1u << p->page_shift) - 1))];
}

/** The id at an index of a bucket's bag; index < its count. The order in a bag means nothing. */
uint32_t partition_at(const struct partition *p, unsigned bucket, uint32_t index);

#endif
