/* sampler.h - which instances come next: a mix of coverage and hardness-weighted draws.
 *
 * A batch of K has C coverage slots (the epoch's permutation) and K - C hard ones, drawn with
 * q proportional to count(b) * weight(b) over the buckets of the partition. Pure: the draw is a
 * function of (seed, job, step), the policy, what hardness holds and the coverage position.
 */
#ifndef OHEM_SAMPLER_H
#define OHEM_SAMPLER_H

#include "coverage.h"
#include "hardness.h"
#include "rng.h"

enum sampler_weight {
    SAMPLER_HARD,   /* rep^alpha, rep the middle of the bucket */
    SAMPLER_RANK,   /* R^-alpha, R = instances in harder buckets + half of its own */
    SAMPLER_UNIFORM /* 1 */
};

/* Is there a bias? In shadow there is none, but it can be asked what it would do. */
enum sampler_mode {
    SAMPLER_ON,
    SAMPLER_AUTO, /* where it pays (gain.h) */
    SAMPLER_SHADOW,
    SAMPLER_OFF
};

enum sampler_sampling {
    SAMPLER_MIX,      /* coverage and hard draws, as said here */
    SAMPLER_INFOBATCH /* coverage that leaves out some of the easy (infobatch.h) */
};

enum sampler_normalise { SAMPLER_MEAN, SAMPLER_MAX, SAMPLER_NONE };

/* With infobatch the fields from mode to anneal_out say nothing. */
struct sampler_policy {
    enum sampler_sampling sampling;
    double infobatch_ratio; /* r: so many of those below the cut are skipped, 0 < r < 1 */
    double infobatch_full;  /* 0..1: the share of `epochs`, at their end, that is covered whole */
    enum sampler_mode mode;
    double gain_min; /* auto: the gain above which it pays */
    double rho;      /* share of coverage slots, 0 < rho <= 1: coverage always goes on */
    enum sampler_weight weight;
    double alpha; /* 0..8 */
    double beta;  /* 0..1; 0: all weights 1 */
    enum sampler_normalise normalise;
    bool unique;          /* redraw a hard id that is in the batch already */
    uint32_t redraws;     /* at most so often, then the slot falls to coverage */
    double warmup_epochs; /* no bias before */
    double anneal_in;     /* epochs over which the bias rises after the warm-up */
    double anneal_out;    /* epochs over which it falls before `epochs` */
    double epochs;        /* of the whole run; 0: endless, no falling, and never covered whole */
};

/* The policy's defaults: one place for config, tests and docs. */
#define SAMPLER_POLICY_DEFAULT \
    { \
        .infobatch_ratio = 0.5, .infobatch_full = 0.125, .gain_min = 1.5, .rho = 0.5, \
        .weight = SAMPLER_HARD, .alpha = 1.0, .beta = 0.0, .normalise = SAMPLER_MEAN, \
        .unique = true, .redraws = 16 \
    }

/* A batch as drawn. Memory is the caller's, room for K each. */
struct sampler_batch {
    uint32_t *ids;
    uint32_t *epochs;        /* of slots 0..coverage_count-1: the epoch each covers */
    float *probabilities;    /* p */
    float *weights;          /* w */
    uint32_t count;          /* K; set by the caller */
    uint32_t coverage_count; /* slots 0.. are coverage, the rest hard; set by the draw */
    double bias_share;       /* of hard slots, as planned; 0 while nobody has a score */
    uint32_t redraw_count;   /* hard draws thrown away since their id was in the batch */
    uint32_t
        fallback_count;  /* hard slots that fell to coverage: coverage_count = planned + these */
    uint32_t skip_count; /* infobatch: instances left out on the way */
};

struct sampler {
    struct sampler_policy policy;
    struct rng rng;
    uint64_t carry;                              /* coverage share left over, in 2^-32 slots */
    double gain;                                 /* auto: its moving average; 0: none yet */
    double hard_table[PARTITION_BUCKETS];        /* rep^alpha, computed once */
    double bucket_weight[PARTITION_BUCKETS + 1]; /* of the last draw; 0 for those without a score */
    double cumulative[PARTITION_BUCKETS];        /* likewise: running sums of count * weight */
    double powers[PARTITION_BUCKETS + 1];        /* likewise: (N p)^-beta, 0 where nobody asked */
    uint16_t *buckets;      /* [K] of the batch's ids; PARTITION_BUCKETS without a score */
    uint32_t *seen;         /* an open-addressing set of the batch's ids */
    uint32_t seen_capacity; /* of the memory: a power of two, at least 4 * K */
    unsigned seen_shift;    /* 32 - log2 of the part that the present batch uses */
};

/** @return 0 or -OHEM_NOMEM. */
int sampler_init(struct sampler *s, const struct sampler_policy *policy, struct rng rng,
                 uint32_t batch_size_max);
void sampler_deinit(struct sampler *s);

/** Another policy, from the next batch on. */
void sampler_set_policy(struct sampler *s, const struct sampler_policy *policy);

/** The share of hard slots at a fractional epoch: (1 - rho) * a(e), whatever the mode; 0 with
 *  infobatch. */
double sampler_bias_share(const struct sampler_policy *policy, double epoch);

/** Is the bias in force, by the policy's mode and the gain as it is? */
bool sampler_is_biased(const struct sampler *s);

/* What the bias does, or would do. */
struct sampler_outlook {
    double bias_share;  /* of the slots, by its schedule; 0 while nobody has a score */
    double score_ratio; /* of the mean score of hard draws to that of uniform ones; 1 without */
    double overlap;     /* sum over all instances of the smaller probability, with and without it */
};

struct sampler_outlook sampler_look(const struct sampler *s, const struct hardness *h,
                                    const struct coverage *c);

/**
 * Draw the batch of a step. For instance i, with C the planned coverage slots,
 *   p_i = (C/K)/N + (1-C/K) * q_i,    q_i = weight(bucket of i) / sum of count(b) * weight(b)
 * before redraws, q frozen at the draw; q_i = 0 without a score.
 *   w_i = (N * p_i)^-beta, normalised over the batch to mean 1, max 1, or not (PER: Schaul et al.,
 *   ICLR 2016, section 3.4).
 * With infobatch p and w are as infobatch_draw() says; w is not normalised.
 * Where h is ordered (strict order), the batch is a function of the scores, coverage's state, the
 * carry, the policy and (seed, job, step); else also of the order in the partition's bags.
 * Needs coverage_ready() and 1 <= K <= min(N, batch_size_max).
 */
void sampler_draw(struct sampler *s, const struct hardness *h, struct coverage *c, uint64_t step,
                  struct sampler_batch *out);

#endif
