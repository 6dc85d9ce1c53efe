/* strict.h - batches of a job in strict order: drawn, not all reported, none applied too early.
 *
 * Batch b is drawn when exactly the reports of the batches up to b - D are applied (D is the
 * staleness), and reports are applied in the order of the steps. So the stream is a function of the
 * data set, the seed, the settings and the losses: neither timing nor the number of trainers can
 * change it, nor a restart. This is the window of the D batches that are drawn and not applied; who
 * fills and applies them is job_order.c.
 */
#ifndef OHEM_STRICT_H
#define OHEM_STRICT_H

#include "../../proto/reason.h"
#include "rows.h"
#include "session.h"

#define STRICT_STALENESS_MAX 4096

enum strict_state {
    STRICT_READY, /* to be handed out */
    STRICT_OUT,   /* on lease */
    STRICT_DONE   /* reported or released, to be applied at its turn */
};

struct strict_batch {
    enum strict_state state;
    uint64_t step, epoch, lsn;
    uint32_t count, coverage_count;
    double bias_share;              /* as its draw said */
    uint32_t *ids, *epochs;         /* [K], as in a lease */
    float *probabilities, *weights; /* [K] */
    float *losses;                  /* [K] when done and reported */
    uint32_t *selected;             /* [K] likewise: what was selected, for the audit */
    uint32_t selected_count;
    bool reported;            /* done by a report, not by a release */
    uint64_t digest, seq;     /* of the report */
    struct session *reporter; /* NULL: it has left */
    uint64_t reporter_number; /* of that session, also when it has left */
    bool saved;
};

struct strict {
    uint32_t staleness; /* D; 0: the job's order is free */
    uint32_t batch_size;
    struct strict_batch *window; /* [D] step s at s % D */
    uint64_t applied, drawn;     /* the next step to apply, and to draw; drawn - applied <= D */
    uint32_t ready_count;
    uint64_t saved_applied; /* rows before are gone */
    bool held;          /* the last step applied was released without a report, and a death would
                         * forget that: nothing is drawn or applied until it is on disk */
    bool held_captured; /* likewise, and it was captured */
};

/** @return 0 or -OHEM_NOMEM. staleness 0: nothing is kept, the order is free */
int strict_init(struct strict *s, uint32_t staleness, uint32_t batch_size);
void strict_deinit(struct strict *s);

static inline bool strict_is_on(const struct strict *s)
{
    return s->staleness > 0;
}

/** May the next batch be drawn? */
bool strict_may_draw(const struct strict *s);

/** The batch to draw into, of step s->drawn; strict_may_draw(). It is READY then. */
struct strict_batch *strict_draw(struct strict *s);

/** The batch of a step that is in the window, or NULL. */
struct strict_batch *strict_at(const struct strict *s, uint64_t step);

/** The same if it is on lease. */
struct strict_batch *strict_out(const struct strict *s, uint64_t step);

/** The first batch that may be handed to this session: READY, and none that it holds. Or NULL. */
struct strict_batch *strict_ready(const struct strict *s, const struct session *session);

void strict_set(struct strict *s, struct strict_batch *b, enum strict_state state);

/** The batch whose turn it is to be applied, if it is DONE, or NULL. */
struct strict_batch *strict_next(const struct strict *s);

/** It is applied: the window moves. */
void strict_applied(struct strict *s);

/** All reports of the session up to this number are applied, if those up to reported_seq came. */
uint64_t strict_applied_seq(const struct strict *s, const struct session *session,
                            uint64_t reported_seq);

void strict_forget_session(struct strict *s, const struct session *session);

/** Rows (table ROWS_BATCH). Bytes at most; collect what changed; a row comes back. */
size_t strict_capture_bytes(const struct strict *s);
void strict_capture(struct strict *s, uint32_t job, struct rows *out);
int strict_restore(struct strict *s, uint64_t step, const void *value, size_t size, uint64_t n,
                   struct reason *why);

#endif
