/* oracle.h - what must be true of a job whose daemon dies and comes back: by somebody who does not.
 *
 * It knows every batch ever handed out (its step, session and ids), in whichever life of the
 * daemon. What became of them is a timeline: which reports are applied, in which order; which
 * leases are open; where every instance of every epoch is. The timeline is copied when the engine's
 * changes are captured and put back when the daemon dies, so it says what each life must know; the
 * memory (model.h) follows from its reports alone. It is told what went over the wire and when, and
 * judges each answer. Knows no row, and nothing of how the engine keeps what it keeps.
 */
#ifndef ORACLE_H
#define ORACLE_H

#include "ledger.h"

#define ORACLE_NONE    UINT32_MAX
#define ORACLE_RELEASE (UINT32_C(1) << 31) /* beside a batch: it was released, not reported */

enum oracle_lease {
    ORACLE_UNKNOWN, /* it was not handed out in this timeline */
    ORACLE_OPEN,
    ORACLE_RETURNED,
    ORACLE_SETTLED,
    ORACLE_CLOSED,
    ORACLE_FREED
};

/* Whether a report of this batch counts. */
enum oracle_fate { ORACLE_NOT_REPORTED, ORACLE_TAKEN, ORACLE_RELEASED, ORACLE_SUPERSEDED };

/* A batch as it went out: never forgotten, whatever dies. */
struct oracle_batch {
    struct token token;
    uint32_t owner; /* who was handed it */
    uint32_t count, coverage_count;
    uint32_t *ids, *epochs;
    float *losses;     /* [count] of the report that was taken last */
    uint64_t first_ms; /* when it was handed out for the first time */
    uint64_t history;  /* strict order: a hash of what became of the steps that its draw knew */
    uint64_t selected; /* a hash of what its losses were answered; 0: not yet */
    uint64_t seq;      /* of its owner's report; 0: none was made */
    bool refused;      /* and rightly so: there is nothing to keep of it */
};

/* What a timeline knows of it. */
struct oracle_mark {
    enum oracle_lease lease;
    enum oracle_fate fate;
    bool late; /* as its report was answered */
    uint64_t end_ms, lsn;
};

struct oracle_epoch {
    uint64_t served, reported, released, returned, repeated;
    unsigned cut; /* free order: the bucket of the mean score when it was first handed out from */
};

struct oracle_time {
    struct oracle_mark *marks; /* [batch_count] */
    size_t batch_count;
    uint32_t *applied; /* [applied_count] batches, in the order in which they were applied */
    size_t applied_count;
    uint32_t *taken; /* strict order: [step_count] by which batch each step was reported, or NONE */
    size_t step_count;
    uint64_t next_step; /* strict order: the first that is not applied */
    bool held;          /* strict order: the one before was released, and that is not on disk yet */
    unsigned char *where; /* [epoch_count * n] of each instance: fresh, out, settled or back */
    unsigned char
        *below; /* likewise: free order: was its score below the epoch's cut at any time? */
    struct oracle_epoch *epochs;
    size_t epoch_count;
    uint64_t closed_count;         /* epochs whose reports were seen and found right */
    size_t open_count, back_count; /* leases; instances that came back and wait */
};

struct oracle {
    struct job_settings settings;
    uint64_t n;
    bool strict;
    struct oracle_batch *batches;
    size_t batch_count, batch_capacity;
    struct oracle_time now, captured, disk;
    struct model memory; /* of `now` */
    uint32_t *touched;   /* ids whose memory changed since it was compared */
    size_t touched_count, touched_capacity;
    uint64_t reports, late, repeats, forgotten, superseded, again, skipped; /* for the totals */
};

/* What the daemon said to a report. */
struct oracle_answer {
    int code; /* 0: SELECTION */
    uint32_t flags;
    uint64_t seq, lsn;
    uint64_t selected; /* a hash of what is selected, with the numbers about it; not 0 */
};

void oracle_init(struct oracle *o, const struct job_settings *settings);
void oracle_deinit(struct oracle *o);

/** The batch of a token, or NULL if nobody was ever handed one under it. */
struct oracle_batch *oracle_find(const struct oracle *o, struct token token);
const struct oracle_mark *oracle_mark_of(const struct oracle *o, const struct oracle_batch *b);

/** A BATCH goes out. @return whether for the first time */
bool oracle_handed_out(struct oracle *o, uint32_t owner, const struct lease *l, uint64_t now_ms);

/** A session said LOSS, and was answered. @return whether it was applied, now */
bool oracle_reported(struct oracle *o, uint32_t owner, const struct message_loss *loss,
                     const struct oracle_answer *answer, uint64_t now_ms);

/** A session said CREDIT; code: 0, or the error that answered. */
void oracle_credited(struct oracle *o, uint32_t owner, struct token token, int code);

/** What is over is over; a session was heard: its open leases are extended. */
void oracle_tick(struct oracle *o, uint64_t now_ms);
void oracle_heard(struct oracle *o, uint32_t owner, uint64_t now_ms);

/** A known session came back over a new connection with these tokens. */
void oracle_resumed(struct oracle *o, uint32_t owner, const struct message_hello *hello);

/** A session ended. */
void oracle_ended(struct oracle *o, uint32_t owner);

/** The daemon says that all of a session's reports up to this one are safe: are they? */
void oracle_durable(const struct oracle *o, uint32_t owner, uint64_t seq);

/* The daemon's commits and deaths. */
void oracle_capture(struct oracle *o);
void oracle_written(struct oracle *o);
void oracle_committed(struct oracle *o);
void oracle_died(struct oracle *o);
void oracle_restored(struct oracle *o, uint64_t now_ms);

/** Compare with the job; `all`: every instance, not only what changed. */
void oracle_check(struct oracle *o, struct job *job, bool all);

/** Reports of a session that were made, not refused, and are not applied (on disk: `saved`). */
size_t oracle_lost(const struct oracle *o, uint32_t owner, bool saved);

/** What the job makes of a reported loss: the irreducible one is subtracted. */
float oracle_loss(const struct oracle *o, const struct oracle_batch *b, uint32_t place);

#endif
