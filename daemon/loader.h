/* loader.h - gathers batches off the loop's thread.
 *
 * A parcel is a batch on its way: a BATCH whose vectors and payload lie in pooled buffers. The loop
 * fills in what the engine drew, a thread of libuv's pool copies the records, the loop sends; the
 * parcel is free again when the last frame that lent its memory has left.
 */
#ifndef OHEMD_LOADER_H
#define OHEMD_LOADER_H

#include "../proto/message.h"
#include "dataset.h"
#include "engine/engine.h"

#include <uv.h>

#define LOADER_GATHERS_MAX  64 /* batches being gathered at once */
#define LOADER_PER_PEER_MAX 4  /* batches of one peer being gathered or sent */
#define LOADER_BYTES_MAX \
    (UINT64_C(1) << 30) /* of those of all peers; a peer's first goes beyond \
                         */

struct loader;

struct loader_parcel {
    uint64_t peer;
    struct message message; /* BATCH; its vectors point into the parcel */
    const struct dataset *dataset;
    uint64_t gather_ns; /* how long the copying took */
};

/** On the loop's thread, when a parcel's records are there; in the order of loader_gather() for
 * each peer. The callee has one reference. */
typedef void (*loader_ready_cb)(void *ctx, struct loader_parcel *parcel);

/** @return 0, -OHEM_NOMEM or -OHEM_SYSTEM. */
int loader_new(uv_loop_t *loop, loader_ready_cb ready_cb, void *ctx, struct loader **out);

/** How many more batches can be gathered now, whosever they are. */
size_t loader_room(const struct loader *l);

/** May another batch be gathered for this peer? Not while the ones before wait to be read. */
bool loader_has_room_for(const struct loader *l, uint64_t peer);

/** Start gathering. Needs room, of both kinds. @return 0, or -OHEM_NOMEM: then nothing has begun.
 */
int loader_gather(struct loader *l, const struct engine_delivery *delivery,
                  const struct dataset *dataset);

/** One more frame lends the parcel's memory. */
void loader_ref(struct loader_parcel *parcel);

/** It does no more. Any thread: ZeroMQ calls it when a zero-copy frame has left. */
void loader_unref(struct loader_parcel *parcel);

/** Close the loop's handle, when no other thread can call loader_unref() any more. Gathers under
 * way still end with ready_cb: run the loop until it is empty, then loader_free(). */
void loader_close(struct loader *l);
void loader_free(struct loader *l);

#endif
