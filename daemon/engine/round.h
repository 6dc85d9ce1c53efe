/* round.h - rounds: the shards of one global batch, each with another trainer, of all of which the
 * hardest are chosen together.
 *
 * A job's R trainers hold the ranks 0..R-1, one session each: the newest that came with the rank.
 * A report says which round it is for, by the trainer's own number (its step), which rises with
 * each of its reports. A round opens with its first report. It is answered when nobody is awaited
 * any more, or `ms` after it opened; then all that are in it are answered at once. A rank that has
 * reported is in it; one that is not is awaited, unless it has reported a later round, or its
 * session has ended, or it was missed: a round's time was over without it, and nothing was reported
 * under the rank since, nor did a session join with it. So a rank that dies costs the others `ms`
 * once.
 *
 * A report for a round that is over is late: its losses count like any other's, and nothing is
 * selected. A round is over for a rank when another rank has been in it or beyond it, and it is not
 * open; or when the rank is in it already.
 *
 * With M the selected of all ranks and M_r those of rank r, rank r's loss is as ever
 * L_r = sum over its own of w s l / M_r, its scale is R M_r / M (0 where M_r is), and the mean over
 * the R ranks of scale_r L_r is the sum over all M of w s l, by M: that of the one big batch.
 *
 * Knows no clock, no policy of its own, and of sessions only which is which.
 */
#ifndef OHEM_ROUND_H
#define OHEM_ROUND_H

#include "lease.h"

#define ROUND_OPEN_MAX      64u        /* then the oldest is answered, whoever is missing */
#define ROUND_INSTANCES_MAX (1u << 22) /* in all open rounds; likewise */

struct round_policy {
    uint32_t ranks; /* R, 1..MESSAGE_ROUND_RANKS_MAX; 0: no rounds */
    uint64_t ms;    /* from a round's first report until it is answered anyhow */
    bool balanced;  /* the rule is applied to each shard by itself, not to all together */
};

#define ROUND_POLICY_DEFAULT \
    { \
        .ms = 1000 \
    }

/* A rank's report in a round. */
struct round_shard {
    struct session *session;
    uint32_t rank;
    struct token token;
    uint32_t count;
    uint32_t *ids;              /* [count] */
    float *losses;              /* [count] */
    uint8_t *flags;             /* [count] LOSS_FLAG_* */
    struct lease_answer answer; /* what it is to be told; its selection is the round's to fill */
    uint32_t capacity;
    SLIST_ENTRY(round_shard) spare;
};

struct round {
    uint64_t number, due_ms;
    uint32_t present;  /* shards in it */
    uint64_t total;    /* their losses */
    bool complete;     /* once it is answered: nobody was awaited any more */
    uint32_t selected; /* likewise: M */
    struct round_shard *shards[MESSAGE_ROUND_RANKS_MAX];
    TAILQ_ENTRY(round) queue;
};

TAILQ_HEAD(round_queue, round);

/** The shard of this rank or the first above it that is in the round; NULL: none. */
static inline struct round_shard *round_shard_from(const struct round *r, uint32_t rank)
{
    while (rank < MESSAGE_ROUND_RANKS_MAX && r->shards[rank] == NULL)
        rank++;
    return rank < MESSAGE_ROUND_RANKS_MAX ? r->shards[rank] : NULL;
}

/* In the order of the ranks; the body may take the shard out of the round. */
#define ROUND_FOREACH(shard, r) \
    for ((shard) = round_shard_from((r), 0); (shard) != NULL; \
         (shard) = round_shard_from((r), (shard)->rank + 1))

struct round_rank {
    struct session *session; /* NULL: none */
    bool awaited;
    bool reported; /* by this session: */
    uint64_t last; /* the highest round */
};

/* For all shards of a round, one behind the other. */
struct round_scratch {
    float *losses, *weights;
    uint8_t *flags;
    uint32_t *indices;
    size_t capacity;
};

struct rounds {
    struct round_policy policy;
    struct round_rank ranks[MESSAGE_ROUND_RANKS_MAX];
    struct round *memory;           /* [ROUND_OPEN_MAX + 1] */
    struct round_queue open, spare; /* open: in the order of their first reports */
    uint32_t open_count;
    uint64_t total; /* losses in open rounds */
    SLIST_HEAD(round_shard_list, round_shard) spare_shards;
    struct round_scratch scratch;
};

/** @return 0 or -OHEM_NOMEM. Without ranks all of the below find nothing to do. */
int rounds_init(struct rounds *t, const struct round_policy *policy);
void rounds_deinit(struct rounds *t);

static inline bool rounds_are_on(const struct rounds *t)
{
    return t->policy.ranks > 0;
}

/** A session joins, or ends; a rank beyond R has no part in it. What one that ends has in open
 * rounds leaves them, unanswered. */
void rounds_join(struct rounds *t, struct session *s, uint32_t rank);
void rounds_leave(struct rounds *t, const struct session *s, uint32_t rank);

/** Is the round over for a report of this session? */
bool rounds_is_over(const struct rounds *t, const struct session *s, uint32_t rank,
                    uint64_t number);

/** Room for a report of so many losses. @return 0 or -OHEM_NOMEM */
int rounds_reserve(struct rounds *t, uint64_t number, uint32_t count);

/* A report for a round, of a batch of `count` instances. */
struct round_report {
    uint64_t number, now_ms;
    struct token token;
    uint32_t count;
    const uint32_t *ids;
    const float *losses;
    const uint8_t *flags; /* NULL: all 0 */
    /* Of which M is 0 still. The statistics of its losses are those to be told; what is selected,
     * and the share, are the round's to fill. */
    const struct lease_answer *answer;
};

/** It comes into a round that is not over for it; rounds_reserve() said yes. Copied. */
void rounds_add(struct rounds *t, struct session *s, uint32_t rank,
                const struct round_report *report);

/** This rank has reported for this round, in it or too late. */
void rounds_note(struct rounds *t, const struct session *s, uint32_t rank, uint64_t number);

/** Is the answer to the report of this batch held back? */
bool rounds_hold(const struct rounds *t, const struct session *s, struct token token);

/** The next round to be answered now, or NULL; no longer open. Whoever is awaited in it is missed.
 */
struct round *rounds_next(struct rounds *t, uint64_t now_ms);

/** It is answered: its memory is free. */
void rounds_done(struct rounds *t, struct round *r);

/** When rounds_next() has a round whose time is over; UINT64_MAX: never. */
uint64_t rounds_next_due(const struct rounds *t);

/**
 * Choose among all losses of a round: fills each shard's answer, its selection and its share.
 * The policy's counts are of one shard: of all together as many times more. Among equals the lower
 * rank comes first, then the lower place. Losses are taken as if they were of one batch, that of
 * the latest step in it.
 * @param in  recent and rng, for cdf
 */
void rounds_choose(struct rounds *t, struct round *r, const struct selection_policy *policy,
                   const struct selection_input *in);

#endif
