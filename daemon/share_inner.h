/* share_inner.h - what the two files of share share.
 *
 * A grant is what was offered to a session. A connection comes without a name, shows a cookie, and
 * is tied to its grant from then on. Either may go first: the session (then the connection is
 * closed), or the connection (then the grant stays, empty, and the session's batches go inline).
 */
#ifndef OHEMD_SHARE_INNER_H
#define OHEMD_SHARE_INNER_H

#include "../proto/share.h"
#include "engine/map.h"
#include "life.h"
#include "share.h"
#include "unix_socket.h"

struct grant {
    uint64_t session;
    enum message_way way;
    uint32_t dataset;
    uint32_t uid;              /* who may fetch it */
    struct session_key cookie; /* zeros once it was taken */
    uint32_t slot_count;       /* shm */
    size_t slot_bytes;
    struct share_ring *ring; /* shm: once fetched, until the client is gone */
    struct connection *connection;
    TAILQ_ENTRY(grant) entry;
};

struct connection {
    uv_poll_t poll; /* data: the connection */
    struct share *share;
    int fd;
    struct grant *grant;                          /* NULL until it has shown a cookie */
    unsigned char cookie[SHARE_COOKIE_BYTES + 1]; /* and a byte for what comes behind it */
    size_t got;                                   /* bytes of it */
    uint64_t since_ms;
    bool lingers;     /* its session has ended, and it may read of the data set, up to ... */
    uint32_t dataset; /* ... this generation */
    uint64_t serial;
    TAILQ_ENTRY(connection) entry; /* oldest first */
};

struct share {
    uv_loop_t *loop;
    const struct config *config;
    struct dataset *const *datasets;
    struct unix_socket file; /* fd -1: nothing is shared */
    uv_poll_t listening;
    uv_timer_t silent;
    struct life *guarded, *unguarded;
    struct map by_session;
    TAILQ_HEAD(grant_list, grant) grants;
    TAILQ_HEAD(connection_list, connection) pending, named, lingering;
    size_t pending_count, lingering_count;
    struct share_counts counts;
};

/* ---- share.c ---- */

/** The grant whose cookie that is, not yet taken; or NULL. */
struct grant *share_find_grant(const struct share *sh, const unsigned char *cookie);

/** Its client is gone: what it had is taken back. */
void share_empty_grant(struct share *sh, struct grant *g);

/* ---- share_socket.c ---- */

/** Take connections at the socket, which is listening. */
void share_socket_start(struct share *sh);

void share_end_connection(struct connection *c);

#endif
