/* share.h - what clients on the same host may map: descriptors over a Unix socket.
 *
 * WELCOME offers a session shared memory (shm) or the data set's file (map), with a cookie; the
 * client shows the cookie here and gets the descriptors (PROTOCOL.md, section 9). The connection
 * then stands for the client: when it ends, what was lent to that client is taken back at once. A
 * peer that says nothing is dropped after SHARE_SILENT_MS. All on the loop's thread.
 */
#ifndef OHEMD_SHARE_H
#define OHEMD_SHARE_H

#include "config.h"
#include "dataset.h"
#include "engine/engine.h"
#include "ring.h"

#include <uv.h>

#define SHARE_SILENT_MS 5000
#define SHARE_LINGERING_MAX \
    256 /* clients of ended sessions that still map a file; then no other \
           session maps one */
#define SHARE_PENDING_MAX \
    64 /* connections without a cookie yet; one more costs the oldest its own */

struct share;

/* What is counted, for status. */
struct share_counts {
    uint64_t fetched, refused,
        dropped;         /* cookies taken; not taken; connections that said nothing */
    uint64_t ring_bytes; /* of all rings now */
};

/**
 * Listen at config->share_socket, if trainers come over a Unix socket at all.
 * @param datasets  [config->dataset_count], open; outlive it
 * @return 0, or -OHEM_SYSTEM, -OHEM_NOMEM with the reason
 */
int share_new(uv_loop_t *loop, const struct config *config, struct dataset *const *datasets,
              struct share **out, struct reason *why);

/** The offer to a session: fills way, share and cookie.
 *  @param uid  of the process that said HELLO; ROUTER_NO_UID: nothing is offered */
void share_offer(struct share *sh, const struct session *s, uint32_t uid,
                 struct message_welcome *out);

/** How the session's next batch can go, as it wishes: by its way if what it mapped is still in use.
 *  @param out_ring  shm: lent until the loop turns */
enum message_way share_way(const struct share *sh, const struct session *s,
                           struct share_ring **out_ring);

/** The session has ended. Where its client has mapped a data set's file, the connection goes on
 *  until the client closes it: it may still read batches.
 *  @param serial  of the data set's present generation (job_dataset) */
void share_forget(struct share *sh, uint64_t session, uint64_t serial);

/** Does a client whose session has ended still have that data set's file mapped, and may it hold
 *  batches of generations up to this one? */
bool share_lingers(const struct share *sh, uint32_t dataset, uint64_t serial);

const struct share_counts *share_counts(const struct share *sh);

/** Close all handles; run the loop until it is empty, then share_free(). NULL is allowed. */
void share_close(struct share *sh);
void share_free(struct share *sh);

#endif
