/* loader.h - gathers batches off the loop's thread.
 *
 * A parcel is a batch on its way: vectors and payload in one pooled buffer each. The loop fills in
 * what the engine drew, a thread of libuv's pool copies the records, the loop sends.
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
    uint64_t gather_ns;     /* how long the copying took */
};

/** On the loop's thread, when a parcel's records are there. The callee gives it back. */
typedef void (*loader_ready_cb)(void *ctx, struct loader_parcel *parcel);

/** @param parcels_max  batches on their way at once. @return 0, -OHEM_NOMEM or -OHEM_SYSTEM. */
int loader_new(uv_loop_t *loop, size_t parcels_max, loader_ready_cb ready_cb, void *ctx,
               struct loader **out);

/** How many more parcels can be taken now. */
size_t loader_room(const struct loader *l);

/** Start gathering. Needs room. @return 0, or -OHEM_NOMEM. */
int loader_gather(struct loader *l, const struct engine_delivery *delivery,
                  const struct dataset *dataset);

/** Give a parcel back. Any thread: ZeroMQ calls it when a zero-copy frame has left. */
void loader_put(struct loader_parcel *parcel);

/** Wait for the running gathers and free all that has come back. After the loop's last run. */
void loader_free(struct loader *l);

#endif
