/* parcel.h - the memory of a batch on its way, and what the threads of the pool do with it.
 *
 * Private to loader.c and parcel.c. A parcel is owned by the loop, its pieces by the pool's threads
 * while they are gathered, its payload by the frames that lent it: `refs` counts those, and the
 * loop as one. Buffers are used again and grow to the largest batch: in steady state nothing is
 * allocated.
 */
#ifndef OHEMD_PARCEL_H
#define OHEMD_PARCEL_H

#include "loader.h"
#include "pool.h"

#include <stdatomic.h>

struct parcel;

/* Some records that lie side by side in the block. */
struct piece {
    struct pool_item item; /* first: an item is its piece */
    struct parcel *parcel;
    uint32_t first, count; /* records */
    uint64_t gather_ns;
    bool gathered, sent;
};

struct parcel {
    struct loader_parcel public; /* first: a loader_parcel is its parcel */
    struct loader *loader;
    struct dataset *dataset;
    struct share_ring *ring; /* shm */
    unsigned char *block;    /* where the records go: `payload`, or the slot */
    atomic_int refs;
    bool announced; /* BATCH was sent */
    uint32_t *ids;  /* as the engine has them; the message's are 64 bits wide */
    unsigned char *vectors, *payload;
    size_t ids_capacity, vectors_capacity, payload_capacity; /* bytes */
    struct piece *pieces;
    uint32_t piece_count, piece_capacity;
    uint32_t left;             /* pieces to be gathered */
    TAILQ_ENTRY(parcel) entry; /* in one of the loader's lists */
};

TAILQ_HEAD(parcel_list, parcel);

struct parcel *parcel_new(struct loader *l);
void parcel_free(struct parcel *p);

/**
 * Fill in all but the records, with memory for those.
 * @return 0, or -OHEM_NOMEM: the parcel can be used again, or freed
 */
int parcel_fill(struct parcel *p, const struct loader_order *order);

/** pool_item.run: gather a piece. */
void parcel_gather_piece(struct pool_item *item);

/** Its gather has ended: the slot that it wrote to may be written to again, and the data set is let
 *  go. */
void parcel_leave(struct parcel *p);

/** The PART that carries a piece. */
struct message parcel_part(const struct parcel *p, const struct piece *piece);

#endif
