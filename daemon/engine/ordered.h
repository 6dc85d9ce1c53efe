/* ordered.h - ids grouped by bucket and in their own order, so that a draw depends on scores alone.
 *
 * A bag of the partition is in the order that its history left. In strict order a draw must be the
 * same after a restart, which knows the scores and not how they came: it takes the r-th smallest id
 * of a bucket. One byte per id says its bucket; counts per bucket over blocks of ids, groups of
 * blocks and regions of groups lead to the block of the r-th, and a scan of the block to the id.
 */
#ifndef OHEM_ORDERED_H
#define OHEM_ORDERED_H

#include "partition.h"

struct ordered {
    uint32_t n;                       /* ids are 0..n-1 */
    uint32_t blocks, groups, regions; /* how many; regions hold groups, groups hold blocks */
    uint8_t *buckets; /* [blocks * block] of each id; that of the last bucket also for no bucket */
    uint64_t *last;   /* bits: which ids are in the last bucket; these do not need their byte */
    /* ids in each: [bucket][block], [bucket][group], [bucket][region] */
    uint16_t *block_counts;
    uint32_t *group_counts, *region_counts;
};

/** No id is in a bucket; 1 <= n < 2^32. About 1.7 bytes per id. @return 0 or -OHEM_NOMEM. */
int ordered_init(struct ordered *o, uint32_t n);
void ordered_deinit(struct ordered *o);

/** Take every id out of its bucket. */
void ordered_clear(struct ordered *o);

/** Become what `from` is; its ids keep their buckets and the further ones have none.
 *  `o` has no id in a bucket, and o->n >= from->n. */
void ordered_copy(struct ordered *o, const struct ordered *from);

/** Is the id in a bucket? */
bool ordered_has(const struct ordered *o, uint32_t id);

/** Put an id that is in no bucket into one. O(1). */
void ordered_insert(struct ordered *o, uint32_t id, unsigned bucket);

/** Take an id out of its bucket. O(1). */
void ordered_remove(struct ordered *o, uint32_t id, unsigned bucket);

/** Move an id between two buckets. O(1). */
void ordered_move(struct ordered *o, uint32_t id, unsigned from, unsigned to);

/** The r-th smallest id of a bucket, from 0; r < how many are in it. */
uint32_t ordered_at(const struct ordered *o, unsigned bucket, uint32_t r);

#endif
