/* lease.h - a batch handed out and not yet given back: what was promised to whom, and until when.
 *
 *                 report                    release, or the session leaves
 *     FREE -> OPEN ------------> SETTLED ------------------> FREE
 *              |  \_____________________________________________^   (release without a report)
 *              | lease_ms over: coverage instances go back to the pool
 *              v      report: late, once
 *           RETURNED -----------> SETTLED
 *              | late_ms over                                   ^
 *              v                                                |
 *            CLOSED (a report is refused: OHEM_EXPIRED) --------+  (release)
 *
 * Leases are taken from the session's slots; their memory is taken when the session joins. All
 * leases of a job stand in one table by step. Leases of one job are equally long, so the open ones
 * and the returned ones are two queues in the order of their end. Knows no scores and no policy:
 * what settling and returning mean is said by the caller, who owns coverage.
 */
#ifndef OHEM_LEASE_H
#define OHEM_LEASE_H

#include "../../proto/message.h"
#include "map.h"
#include "selection.h"

#include <sys/queue.h>

struct session;

enum lease_state { LEASE_FREE, LEASE_OPEN, LEASE_RETURNED, LEASE_SETTLED, LEASE_CLOSED };

/* What a report was answered, so that a repeat gets the same. */
struct lease_answer {
    uint64_t digest; /* keyed hash of the losses' bytes */
    uint64_t seq, lsn;
    uint32_t flags;             /* SELECTION_FLAG_LATE, SELECTION_FLAG_SUPERSEDED */
    struct selection selection; /* its arrays are the slot's */
    struct message_share share; /* of a round; while that is open, as if it came too late */
};

struct lease {
    enum lease_state state;
    struct token token;
    struct session *session; /* whose slot it is; never changes */
    uint64_t end_ms;         /* open: of the lease; returned: when it is closed */
    bool unsent;             /* to be sent again: its session came back without it */
    uint64_t epoch;          /* as the BATCH said */
    uint64_t lsn;            /* the job's last report that the draw knew of */
    uint64_t serial;         /* of the data set's generation when it was handed out */
    uint32_t count, coverage_count;
    uint32_t *ids;                  /* [K] */
    uint32_t *epochs;               /* [coverage_count] the epoch that each slot covers */
    float *probabilities, *weights; /* [K] as shipped */
    struct lease_answer answer;     /* when settled */
    bool saved, dirty;              /* it has a row; the row is not as the lease is */
    TAILQ_ENTRY(lease) queue;       /* open or returned */
    TAILQ_ENTRY(lease) unsaved;     /* dirty */
};

TAILQ_HEAD(lease_queue, lease);

struct lease_table {
    uint64_t lease_ms, late_ms;
    struct map by_step;
    struct lease_queue open, returned;
    size_t open_count, returned_count, settled_count;
    struct lease_queue unsaved; /* those whose rows are to be written or removed */
};

int lease_table_init(struct lease_table *t, uint64_t lease_ms, uint64_t late_ms);
void lease_table_deinit(struct lease_table *t);

/** Room in the table for so many leases at once. @return 0 or -OHEM_NOMEM. */
int lease_table_reserve(struct lease_table *t, size_t leases_max);

/** Memory for a slot of batches up to K. @return 0 or -OHEM_NOMEM. */
int lease_init(struct lease *l, struct session *session, uint32_t batch_size);
void lease_deinit(struct lease *l);

/** A lease of an earlier life: FREE -> as it was. */
void lease_restore(struct lease_table *t, struct lease *l, enum lease_state state);

/** All are back: each has a full time from now. */
void lease_resume(struct lease_table *t, uint64_t now_ms);

/** FREE -> OPEN. The caller has filled count, coverage_count and the arrays. */
void lease_grant(struct lease_table *t, struct lease *l, struct token token, uint64_t now_ms);

/** The lease of a step in any session, or NULL. */
struct lease *lease_find(const struct lease_table *t, uint64_t step);

/** OPEN or RETURNED -> SETTLED; l->answer has been filled by the caller. */
void lease_settle(struct lease_table *t, struct lease *l);

/** All of an answer, into arrays that are large enough and stay its own. */
void lease_answer_copy(struct lease_answer *to, const struct lease_answer *from);

/** What a SETTLED one was answered is this now: it is to be saved again. */
void lease_answer(struct lease_table *t, struct lease *l, const struct lease_answer *answer);

/** OPEN -> OPEN with a full lease from now. */
void lease_extend(struct lease_table *t, struct lease *l, uint64_t now_ms);

/** The next lease that is over: OPEN -> RETURNED (the caller returns its coverage), or NULL. */
struct lease *lease_expire(struct lease_table *t, uint64_t now_ms);

/** The next returned lease whose late_ms are over: RETURNED -> CLOSED, or NULL. */
struct lease *lease_close_late(struct lease_table *t, uint64_t now_ms);

/** Any state -> FREE, out of the table. */
void lease_release(struct lease_table *t, struct lease *l);

/** It is written, or its row removed, as it is: no longer `unsaved`. */
void lease_saved(struct lease_table *t, struct lease *l);

/** When lease_expire() or lease_close_late() has work next; UINT64_MAX: never. */
uint64_t lease_next_due(const struct lease_table *t);

#endif
