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

/** @param parcels_max  batches on their way at once. @return 0, -OHEM_NOMEM or -OHEM_SYSTEM. */
int loader_new(uv_loop_t *loop, size_t parcels_max, loader_ready_cb ready_cb, void *ctx,
               struct loader **out);

/** How many more parcels can be taken now. */
size_t loader_room(const struct loader *l);

/** Start gathering. Needs room. @return 0, -OHEM_NOMEM or -OHEM_SYSTEM: then nothing has begun. */
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
