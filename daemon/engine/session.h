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

/* A batch that the session says it holds, handed out by an earlier life and not known any more. */
struct session_claim {
    struct token token;
    uint64_t lsn;   /* what its report was answered; 0: not reported in this life */
    uint32_t flags; /* likewise */
};

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
    struct session_claim claims[MESSAGE_CREDIT_MAX];
    uint32_t claim_count;
    uint64_t *early; /* ascending: seqs of reports that came before their turn, to come again */
    uint32_t early_count, early_capacity;
    uint64_t reported_seq; /* the highest of its reports that was taken */
    uint64_t applied_seq;  /* of its reports, up to this one all are applied */
    uint64_t captured_seq; /* likewise, when the job was captured last */
    uint64_t durable_seq;  /* likewise, and on disk; without a disk 0 */
    uint64_t sync_seq;     /* it waits to be told that this one is durable; 0: it does not */
    bool saved, dirty;     /* it has a row; the row is not as the session is */
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

/** Its report came before its turn. @return 0 or -OHEM_NOMEM */
int session_add_early(struct session *s, uint64_t seq);

/** It came at its turn, or will not come again. */
void session_remove_early(struct session *s, uint64_t seq);

/** The bucket of a key in a map. Two keys may share it: compare the keys. */
uint64_t session_key_hash(const struct session_key *key);

#endif
