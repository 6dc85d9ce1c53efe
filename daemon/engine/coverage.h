/* coverage.h - every instance once per epoch, also when trainers die holding some.
 *
 * An epoch is one pass over its permutation. An instance handed out is settled (reported, or
 * released by a live trainer) or comes back, and what came back is handed out first. The next epoch
 * begins as soon as the permutation is used up; the old one closes, with its report, when its last
 * instance is settled. Ids that join the data set in mid-epoch belong to the epoch in which they
 * come, in a permutation of their own. Knows ids and epochs; knows no lease and no session.
 */
#ifndef OHEM_COVERAGE_H
#define OHEM_COVERAGE_H

#include "permutation.h"

#include <stdbool.h>
#include <stddef.h>

#define COVERAGE_OPEN_MAX \
    4096                        /* epochs that wait for instances; then nothing more is handed out \
                                 */
#define COVERAGE_REPORTS_MAX 64 /* closed epochs whose reports are kept */
#define COVERAGE_JOINED_MAX  16 /* times that the data set may grow in one epoch */

struct coverage_slot {
    uint32_t id;
    uint32_t epoch; /* the epoch that this hand-out covers */
    /* Of what comes back: 1 if it had stood its chance to be skipped (infobatch.h), so that it
     * counts for others as well. Else 0. */
    uint32_t thinned;
};

/* What became of an epoch. N = covered + skipped + missing, covered = reported + released; when it
 * is closed, missing is 0. */
struct coverage_report {
    uint64_t epoch;
    uint64_t instances; /* N of this epoch: what joined in it included */
    uint64_t served;    /* instances handed out, repeats included, what is skipped not */
    uint64_t reported;  /* settled with a loss */
    uint64_t released;  /* settled without one, by a live trainer */
    uint64_t returned;  /* came back */
    uint64_t repeated;  /* handed out again after they came back */
    uint64_t skipped;   /* left out by the policy (infobatch) */
    uint64_t missing;   /* N - covered - skipped */
    bool closed;
    /* What infobatch froze when it first drew from this epoch: scores in buckets below the cut were
     * skipped with this probability. 0 and 0 before. */
    bool frozen;
    uint16_t cut; /* a bucket of the partition */
    float ratio;  /* 0: nothing is skipped */
};

/* Ids first..first+count-1, which joined in the current epoch. */
struct coverage_joined {
    uint64_t first, count;
    uint64_t position; /* in their permutation, 0..count */
};

/* What is plain data here and must be kept to go on later: n, epoch, position,
 * joined[0..joined_count), the pool, open[0..open_count), reports and closed_count. The rest
 * follows from it and from the stream (coverage_resume). To change one of these once it reaches the
 * disk: a new format version of the state, read both, write the new one. */
struct coverage {
    uint64_t n; /* ids, those that joined included */
    struct rng rng;
    struct permutation order; /* of the current epoch; without what joined in it */
    uint64_t epoch;           /* the current one, from 0 */
    uint64_t position; /* in `order`, to its end; at the end of all only until the next take */

    struct coverage_joined joined[COVERAGE_JOINED_MAX]; /* in this epoch: the end of the ids */
    size_t joined_count;
    struct permutation *joined_orders; /* [COVERAGE_JOINED_MAX], from the first growth on */

    struct coverage_slot *pool; /* came back: a ring */
    size_t pool_head, pool_count, pool_capacity;
    uint64_t pool_taken; /* out of it, ever: so every slot that was in it has a number */

    struct coverage_report *open; /* oldest first; the last one is the current epoch */
    size_t open_count;

    struct coverage_report reports[COVERAGE_REPORTS_MAX]; /* a ring of the closed */
    uint64_t closed_count;                                /* ever */
};

/** @return 0 or -OHEM_NOMEM. n >= 1. */
int coverage_init(struct coverage *c, uint64_t n, struct rng rng);
void coverage_deinit(struct coverage *c);

/** Make room for so many instances on lease at once, so that none can fail to come back.
 *  @return 0 or -OHEM_NOMEM; the room never shrinks. */
int coverage_reserve(struct coverage *c, size_t leased_max);

/**
 * The data set has n ids now, the new ones at the end. The current epoch has them all still to hand
 * out, each new one as likely next as each of the others that are left; older open epochs do not
 * know them. If the current epoch is closed already they join with the next.
 * @return 0, or -OHEM_NOMEM, or -OHEM_LIMIT when it has grown COVERAGE_JOINED_MAX times in this
 *         epoch; then nothing has changed. n >= c->n, n < 2^32.
 */
int coverage_grow(struct coverage *c, uint64_t n);

/** See to it that the next coverage_grow() will not fail. @return 0, or as coverage_grow() */
int coverage_reserve_growth(struct coverage *c);

/**
 * Go on from plain data. After coverage_init() with the n that was kept, and coverage_reserve(),
 * write the other fields (the pool from its beginning: pool_head = 0), then call this before
 * anything else.
 * @return 0, or -OHEM_NOMEM, or -OHEM_STATE: no life of a coverage leaves such data. Then only
 *         coverage_deinit() is allowed.
 */
int coverage_resume(struct coverage *c);

/** Can this plain data be what a life of a coverage left? All that could later break an assertion
 *  is looked at; that an instance is in no two places is not. Changes nothing when it returns. */
bool coverage_sound(struct coverage *c);

/** May up to N instances be taken now? They may begin one more epoch, so: not while
 *  COVERAGE_OPEN_MAX epochs wait. */
bool coverage_ready(const struct coverage *c);

/** The next instance to hand out: a returned one, or the permutation's next. coverage_ready() has
 *  said yes at most N takes ago. */
struct coverage_slot coverage_take(struct coverage *c);

/** So many takes at once: the ids, and the epoch that each covers. */
void coverage_take_many(struct coverage *c, uint32_t count, uint32_t *ids, uint32_t *epochs);

/** The next of the epoch whatever came back, at most to its end: the ids, and the epoch for each.
 *  @return how many, at least 1. */
uint32_t coverage_take_run(struct coverage *c, uint32_t count, uint32_t *ids, uint32_t *epochs);

/** So many of those that were just taken of this epoch are left out: as if they had not been handed
 *  out, and not waited for. */
void coverage_skip(struct coverage *c, uint64_t epoch, uint32_t count);

/** A number in [0, 1) for the decision whether to leave an id out of an epoch: the same whenever it
 *  is asked for. */
double coverage_chance(const struct coverage *c, uint64_t epoch, uint32_t id);

/** It was reported, or released by a live trainer without a report. */
void coverage_settle(struct coverage *c, struct coverage_slot slot, bool reported);

/** The same for many at once, known by the epochs that they cover. */
void coverage_settle_many(struct coverage *c, const uint32_t *epochs, uint32_t count,
                          bool reported);

/** Its lease ended without either: it is handed out again. */
void coverage_return(struct coverage *c, struct coverage_slot slot);

/** How many instances the current epoch has not handed out yet, those apart that came back. */
uint64_t coverage_left(const struct coverage *c);

/** The open epoch of that number; NULL if there is none. */
struct coverage_report *coverage_find_open(struct coverage *c, uint64_t epoch);

/** Epochs passed, with the fraction of the current one that is handed out. It falls when the data
 *  set grows. */
double coverage_progress(const struct coverage *c);

/** The report of the open epoch i, oldest first; i < open_count. */
const struct coverage_report *coverage_open(const struct coverage *c, size_t i);

/** The report of the closed epoch that is `back` behind the latest closed one; NULL if not kept. */
const struct coverage_report *coverage_closed(const struct coverage *c, size_t back);

#endif
