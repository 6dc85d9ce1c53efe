/* loader.h - gathers batches off the loop's thread.
 *
 * A parcel is a batch on its way: a BATCH whose vectors lie in pooled memory, and a block of
 * records that is gathered in pieces by the threads of a pool: into pooled memory (inline), or
 * straight into the session's shared slot (shm). A batch by map has no block and is sent at once.
 * The loop sends; a parcel is free again when the last frame that lent its memory has left.
 */
#ifndef OHEMD_LOADER_H
#define OHEMD_LOADER_H

#include "../proto/message.h"
#include "dataset.h"
#include "engine/engine.h"
#include "ring.h"

#include <uv.h>

#define LOADER_GATHERS_MAX  64 /* batches being gathered at once */
#define LOADER_PER_PEER_MAX 4  /* batches of one peer being gathered or sent */
#define LOADER_PIECE_BYTES \
    (1u << 20) /* of a block, about: what is gathered, or sent, in one go \
                */
#define LOADER_BYTES_MAX \
    (UINT64_C(1) << 30) /* of pooled blocks of all peers; a peer's first goes beyond it */

struct loader;

struct loader_parcel {
    uint64_t peer;
    struct session_key key; /* of the session that it is for */
    struct message batch;   /* BATCH; its vectors point into the parcel */
    uint64_t gather_ns;     /* how long copying took, all threads together; send_cb may reset it */
    bool dropped;           /* set by send_cb: the rest of it is not to be sent */
};

/* What is to be gathered. */
struct loader_order {
    const struct engine_delivery *delivery;
    struct dataset *dataset;
    enum message_records layout;
    enum message_way way;    /* as wished: a block that does not fit its slot goes inline */
    struct share_ring *ring; /* shm: where the slot is; kept until the parcel has been sent */
};

/** On the loop's thread: `m` is to be sent, the parcel's BATCH or, after it, a PART. A payload
 *  points into the parcel: loader_ref() for as long as it is lent. BATCHes come in the order of
 *  loader_gather() for each peer. */
typedef void (*loader_send_cb)(void *ctx, struct loader_parcel *parcel, const struct message *m);

/** @param lanes  data sets: their numbers are below. @return 0, -OHEM_NOMEM or -OHEM_SYSTEM. */
int loader_new(uv_loop_t *loop, uint32_t threads, uint32_t lanes, loader_send_cb send_cb, void *ctx,
               struct loader **out);

/** How many more batches can be gathered now, whosever they are. */
size_t loader_room(const struct loader *l);

/** May another batch be gathered for this peer? Not while the ones before wait to be read. */
bool loader_has_room_for(struct loader *l, uint64_t peer);

/** Start gathering. Needs room, of both kinds. @return 0, or -OHEM_NOMEM: then nothing has begun.
 */
int loader_gather(struct loader *l, const struct loader_order *order);

/** One more frame lends the parcel's memory. */
void loader_ref(struct loader_parcel *parcel);

/** It does no more. Any thread: ZeroMQ calls it when a zero-copy frame has left. */
void loader_unref(struct loader_parcel *parcel);

/** Stop the threads and close the loop's handles, when no other thread can call loader_unref() any
 *  more. What was not gathered never is: run the loop until it is empty, then loader_free(). */
void loader_close(struct loader *l);
void loader_free(struct loader *l);

#endif
