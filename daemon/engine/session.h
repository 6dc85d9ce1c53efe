/* session.h - one connected trainer: who it is, what it holds, what it may ask next.
 *
 * Its key says who speaks; its peer says only where answers go, and changes when the client
 * reconnects. It is made by HELLO and ends by BYE, or when nothing was heard of it for so long that
 * none of its batches can still be reported.
 */
#ifndef OHEM_SESSION_H
#define OHEM_SESSION_H

#include "lease.h"

struct job;

struct session {
    struct session_key key;
    uint64_t number; /* in logs and status, from 1 */
    uint64_t peer;   /* where answers go */
    struct job *job;
    uint32_t rank, batch_size, credit;
    uint32_t credit_asked; /* by its first HELLO, which may have been more: it may say so again */
    uint32_t layout, ways; /* as HELLO said */
    uint32_t way;          /* offered to it; once it is ready, in force */
    bool ready;            /* it has mapped what was offered, or needs not */
    char agent[MESSAGE_AGENT_BYTES_MAX + 1];
    uint64_t heard_ms;
    uint64_t active_ms;        /* last heard, or given a batch: from then on it may still report */
    struct lease *slots;       /* [credit] */
    uint32_t free_count;       /* slots that are FREE: batches that it may be sent */
    uint32_t unsent_count;     /* slots whose batch is to be sent again */
    uint32_t redrawn_count;    /* batches undone in a row since they were too old to be sent */
    bool hungry;               /* stands in the engine's queue of those to be served */
    bool unreachable;          /* the last send failed; nothing is drawn for it until it is heard */
    uint64_t reports, batches; /* totals for status */
    TAILQ_ENTRY(session) of_job, hungry_queue;
};

TAILQ_HEAD(session_list, session);

/** @return a session with its slots, or NULL when there is no memory. */
struct session *session_new(const struct message_hello *hello, struct job *job, uint64_t peer,
                            uint64_t number, uint64_t now_ms);
void session_free(struct session *s);

/** A slot that is FREE; there is one (free_count > 0). */
struct lease *session_free_slot(struct session *s);

/** The slot that holds this token, or NULL. */
struct lease *session_find(struct session *s, struct token token);

/** The bucket of a key in a map. Two keys may share it: compare the keys. */
uint64_t session_key_hash(const struct session_key *key);

#endif
