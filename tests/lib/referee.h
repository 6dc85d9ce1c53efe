/* referee.h - judges the rounds of a job: who waits for whom, and what each rank is told.
 *
 * Hears what trainers report and what the daemon says to it, in the order in which that happens,
 * and knows by itself who is to be waited for. A report whose answer is held back is pending; all
 * that are pending for a round have to be answered together, with the hardest of all of them.
 */
#ifndef REFEREE_H
#define REFEREE_H

#include "../../daemon/engine/job.h"

#define REFEREE_RANKS_MAX  8u
#define REFEREE_OWNERS_MAX 64u
#define REFEREE_MAX        512u /* pending, or events of one call */

struct referee_report {
    uint32_t owner, count;
    uint64_t round, due_ms, seq, lsn;
    struct token token;
    bool late; /* its lease had ended */
    float *losses;
    uint8_t *flags;
};

struct referee_rank {
    bool taken, awaited, reported;
    uint32_t owner;
    uint64_t last;
};

/* What the engine did in a call. */
struct referee_event {
    enum { REFEREE_WELCOMED, REFEREE_ENDED, REFEREE_TOLD } kind;
    uint32_t owner;
    uint64_t session;
    struct message_selection told; /* its indices are the event's */
    uint32_t *indices;
};

struct referee {
    struct job_settings settings;
    struct referee_rank ranks[REFEREE_RANKS_MAX];
    uint64_t sessions[REFEREE_OWNERS_MAX]; /* of each owner; 0: none */
    struct referee_report pending[REFEREE_MAX];
    size_t pending_count;
    struct referee_event events[REFEREE_MAX];
    size_t event_count;
    /* the round that is being answered */
    uint64_t round;
    size_t left;              /* to be answered still */
    uint64_t total, selected; /* losses; M */
    uint32_t present;
    uint64_t rounds, incomplete, missed; /* for the totals */
};

void referee_init(struct referee *f, const struct job_settings *settings);
void referee_deinit(struct referee *f);

static inline bool referee_is_on(const struct referee *f)
{
    return f->settings.round.ranks > 0;
}

uint32_t referee_rank_of(const struct referee *f, uint32_t owner);

/** The engine says these, while it is called. */
void referee_welcomed(struct referee *f, uint32_t owner, uint64_t session);
void referee_ended(struct referee *f, uint32_t owner);
void referee_told(struct referee *f, uint32_t owner, const struct message_selection *m);

/** Is the answer to this report held back, as far as was settled? */
bool referee_holds(const struct referee *f, uint32_t owner, struct token token);

/**
 * A report was taken in the call that is to be settled.
 * @param losses  what the job made of them
 * @param waits   it was not answered at once, as one that came too late
 */
void referee_taken(struct referee *f, uint32_t owner, const struct message_loss *loss,
                   const float *losses, bool waits, bool late, uint64_t lsn, uint64_t now_ms);

/** A report for this round that was answered before was said again, and answered so. */
void referee_repeated(struct referee *f, uint32_t owner, uint64_t round);

/** The call is over: judge what the engine said in it. */
void referee_settle(struct referee *f, uint64_t now_ms);

/** The daemon died; it came back with these sessions, in their order. */
void referee_died(struct referee *f);

/** Nothing waits that should not. */
void referee_check(const struct referee *f, uint64_t now_ms);

#endif
