/* ring.h - the slots of memory that a session shares with the daemon.
 *
 * A memfd without a name: the daemon maps it writable and then seals it, so that nobody else can
 * write to it or change its size; the session maps it for reading. The memory goes when both have
 * unmapped it, whoever dies first. From the loop's thread only; the slots are written by any.
 */
#ifndef OHEMD_RING_H
#define OHEMD_RING_H

#include "../proto/message.h"

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct share_ring;

/** @return 0, or -OHEM_SYSTEM, -OHEM_NOMEM. The caller has one reference. */
int share_ring_new(uv_loop_t *loop, uint32_t slot_count, size_t slot_bytes,
                   struct share_ring **out);

/** To be handed out, once: close it then, the memory stays. */
int share_ring_descriptor(const struct share_ring *r);
void share_ring_close_descriptor(struct share_ring *r);

/**
 * A slot to gather into, until share_ring_end(). A gather that a reconnect has overtaken may still
 * be writing: then the slot is not to be had, or it would write over the next batch.
 * @return lent as long as the ring is; NULL: it is being gathered into, or it has fewer bytes
 */
unsigned char *share_ring_begin(struct share_ring *r, uint32_t slot, size_t bytes);

/** The gather into a slot has ended. */
void share_ring_end(struct share_ring *r, uint32_t slot);

/** @return r */
struct share_ring *share_ring_ref(struct share_ring *r);

/** The last one unmaps it, on a thread of libuv's pool: that takes long for large rings. NULL is
 *  allowed. */
void share_ring_unref(struct share_ring *r);

#endif
