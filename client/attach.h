/* attach.h - memory of the daemon's that the client has mapped: a ring of slots, or a data file.
 *
 * Fetched over the share socket (PROTOCOL.md, section 9). Batches that lie in it hold a reference,
 * so it stays mapped for them after the session, the client or the daemon have ended. The
 * connection to the share socket stands for as long as the memory is used. One thread at a time.
 */
#ifndef OHEM_ATTACH_H
#define OHEM_ATTACH_H

#include "../proto/message.h"
#include "../proto/reason.h"

#include <stdbool.h>

struct attachment;

/**
 * Fetch and map what WELCOME offers.
 * @param timeout_ms  for the conversation
 * @return 0, or -OHEM_SYSTEM, -OHEM_TIMEDOUT, -OHEM_MALFORMED, -OHEM_NOMEM, or the error that the
 *         daemon answered, with the reason. The caller has one reference.
 */
int attach_open(const struct message_welcome *welcome, int timeout_ms, struct attachment **out,
                struct reason *why);

/** The session uses it no more: its connection is closed (that of a file when the last batch is
 *  given back, since it holds the file's pages), the memory stays. NULL is allowed. */
void attach_leave(struct attachment *a);

/** @return a */
struct attachment *attach_ref(struct attachment *a);

/** The last one unmaps it. NULL is allowed. */
void attach_unref(struct attachment *a);

enum message_way attach_way(const struct attachment *a);

/**
 * Where a BATCH's records begin to be counted. A file that has grown is mapped again first.
 * @return 0, or -OHEM_MALFORMED when a record would lie beyond the memory
 */
int attach_base(struct attachment *a, const struct message_batch *b, const unsigned char **out_base,
                struct reason *why);

/** Is all that was read of it so far what the daemon meant? Cheap: one or three words are read. */
bool attach_is_good(const struct attachment *a);

/** Did a daemon guard the memory when it was mapped? Not the file of an immutable data set. */
bool attach_is_guarded(const struct attachment *a);

/** Is it by map, and the daemon that kept the file's pages dead? */
bool attach_is_left(const struct attachment *a);

/** Records of a mapped file will be read at once: bring the beginning of each into the cache. */
void attach_prefetch(const struct attachment *a, const void *const *records, const uint32_t *sizes,
                     uint32_t count);

/** Records of a mapped file will be read soon: tell the kernel, when the disk was waited for
 * lately. */
void attach_read_ahead(struct attachment *a, const void *const *records, const uint32_t *sizes,
                       uint32_t count);

#endif
