/* coverage.h - every instance once per epoch, also when trainers die holding some.
 *
 * An epoch is one pass over its permutation. An instance handed out is settled (reported, or
 * released by a live trainer) or comes back, and what came back is handed out first. The next epoch
 * begins as soon as the permutation is used up; the old one closes, with its report, when its last
 * instance is settled. Knows ids and epochs; knows no lease and no session.
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

struct coverage_slot {
    uint32_t id;
    uint32_t epoch; /* the epoch that this hand-out covers */
};

/* What became of an epoch. When it is closed: N = covered + skipped + missing, and missing is 0. */
struct coverage_report {
    uint64_t epoch;
    uint64_t served;   /* instances handed out, repeats included */
    uint64_t reported; /* settled with a loss */
    uint64_t released; /* settled without one, by a live trainer */
    uint64_t returned; /* came back */
    uint64_t repeated; /* handed out again after they came back */
    uint64_t skipped;  /* left out by the policy (infobatch) */
    uint64_t missing;  /* N - covered - skipped */
    bool closed;
};

struct coverage {
    uint64_t n;
    struct rng rng;
    struct permutation order; /* of the current epoch */
    uint64_t epoch;           /* the current one, from 0 */
    uint64_t position;        /* in it, 0..n; n only until the next take */

    struct coverage_slot *pool; /* came back: a ring */
    size_t pool_head, pool_count, pool_capacity;

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

/** May up to N instances be taken now? They may begin one more epoch, so: not while
 *  COVERAGE_OPEN_MAX epochs wait. */
bool coverage_ready(const struct coverage *c);

/** The next instance to hand out: a returned one, or the permutation's next. coverage_ready() has
 *  said yes at most N takes ago. */
struct coverage_slot coverage_take(struct coverage *c);

/** So many takes at once: the ids, and the epoch that each covers. */
void coverage_take_many(struct coverage *c, uint32_t count, uint32_t *ids, uint32_t *epochs);

/** It was reported, or released by a live trainer without a report. */
void coverage_settle(struct coverage *c, struct coverage_slot slot, bool reported);

/** The same for many at once, known by the epochs that they cover. */
void coverage_settle_many(struct coverage *c, const uint32_t *epochs, uint32_t count,
                          bool reported);

/** Its lease ended without either: it is handed out again. */
void coverage_return(struct coverage *c, struct coverage_slot slot);

/** Epochs passed, with the fraction of the current one that is handed out. */
double coverage_progress(const struct coverage *c);

/** The report of the open epoch i, oldest first; i < open_count. */
const struct coverage_report *coverage_open(const struct coverage *c, size_t i);

/** The report of the closed epoch that is `back` behind the latest closed one; NULL if not kept. */
const struct coverage_report *coverage_closed(const struct coverage *c, size_t back);

#endif
