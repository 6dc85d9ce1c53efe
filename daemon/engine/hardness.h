/* hardness.h - how hard each instance has lately been: its rolling score and what is kept with it.
 *
 * A loss pulls its instance's score towards itself: h <- h + lambda * (loss - h), the first sets
 * h = loss. An instance without a report has no score and is in no bucket of the partition:
 * coverage brings it. One that is set aside keeps its score and is in no bucket either: its score
 * moves with its reports, but no draw by hardness finds it. Age is counted in steps, not seconds: a
 * paused run must not forget.
 */
#ifndef OHEM_HARDNESS_H
#define OHEM_HARDNESS_H

#include "ordered.h"
#include "partition.h"

#define HARDNESS_HARDEST_MAX 1000       /* instances in one list */
#define HARDNESS_SCAN_MAX    (1u << 20) /* ids looked at for one list */
#define HARDNESS_VISITS_MAX  UINT16_MAX

/* One instance's memory; 16 bytes, so that it never straddles a cache line. To change it once it
 * reaches the disk: a new format version of the state, read both, write the new one. */
struct hardness_entry {
    float score;        /* h */
    float last_loss;    /* as reported, may be negative */
    uint32_t last_step; /* low 32 bits of the step of the last report */
    uint16_t visits;    /* reports so far, saturating; 0: no score */
    uint16_t variance; /* rolling variance: the upper 16 bits of a float, rounded to nearest even */
};

/* An instance's memory as others see it. */
struct hardness_story {
    bool scored; /* false: no report yet, the rest is 0 */
    float score, last_loss, variance;
    uint32_t visits, last_step;
};

struct hardness {
    uint32_t n;
    float lambda; /* 0 < lambda <= 1 */
    struct hardness_entry *entries;
    struct partition partition; /* of the ids that have a score and are not set aside */
    struct ordered *ordered;    /* the same for draws in strict order; NULL in free order */
    uint32_t aside_count;
    uint32_t aside[PARTITION_BUCKETS]; /* those set aside, by the bucket of their score */
};

/** @return 0 or -OHEM_NOMEM. n >= 1. */
int hardness_init(struct hardness *h, uint32_t n, float lambda);
void hardness_deinit(struct hardness *h);

/** The same for strict order: draws depend on the scores and not on how they came. They cost more,
 *  and so does a report. */
int hardness_init_ordered(struct hardness *h, uint32_t n, float lambda);

/** Make room for more ids, which have no score; the others keep all that they have. To take that
 *  much at once needs the memory of both sizes for a moment.
 *  @return 0, or -OHEM_NOMEM and nothing has changed. n >= h->n. */
int hardness_grow(struct hardness *h, uint32_t n);

/**
 * One loss of one instance, in float32 arithmetic:
 *   first:  h = l,                      v = 0
 *   later:  v = (1-lambda) * (v + lambda * (l-h)^2), then h = h + lambda * (l-h)
 * where l is max(loss, 0). v is at most 2^127 and is rounded to 8 significant bits when stored.
 * @param loss  finite (asserted)
 */
void hardness_report(struct hardness *h, uint32_t id, float loss, uint64_t step);

/** Take an id that has a score out of its bucket, or put it back. O(1). */
void hardness_set_aside(struct hardness *h, uint32_t id);
void hardness_take_back(struct hardness *h, uint32_t id);

static inline bool hardness_is_aside(const struct hardness *h, uint32_t id)
{
    return h->aside_count > 0 && h->entries[id].visits > 0 && !partition_has(&h->partition, id);
}

/** How many have a score, and how many of these in a bucket's range; those set aside included. */
static inline uint32_t hardness_scored(const struct hardness *h)
{
    return h->partition.count + h->aside_count;
}

static inline uint32_t hardness_members(const struct hardness *h, unsigned bucket)
{
    return h->partition.buckets[bucket].count + h->aside[bucket];
}

/* ---- a memory that comes from the disk ---------------------------------------------------------
 *
 * Entries are written to h->entries as they were, what was reported since is applied, and then one
 * pass sorts all into buckets. Between the first of these and the last nothing else may be called.
 */

/** Are these what hardness_report() can leave? Those that it cannot must not reach a rebuild. */
bool hardness_sound(const struct hardness_entry *entries, uint32_t count);

/** What hardness_report() does to the entry, bit for bit, and no more. */
void hardness_apply(struct hardness *h, uint32_t id, float loss, uint64_t step);

/** Sort all ids into their buckets anew; none is set aside then. As if every report had come now,
 * but for the order in the bags, which is that of the ids.
 *  @return 0, or -OHEM_STATE: an entry is not sound, and the buckets are what they were */
int hardness_rebuild(struct hardness *h);

/**
 * Begin with another's memory: each score times a factor, each variance times its square, one visit
 * each. Nothing was reported before; both have as many ids.
 * @param factor  0..1
 */
void hardness_adopt(struct hardness *h, const struct hardness *from, float factor);

/**
 * Reports come in batches, and what they touch lies far apart: begin to fetch it some reports
 * ahead. To be called with 0 before the first report of a batch, and with i + 1 before the report
 * of ids[i]. A hint: it changes nothing, and a report does not need it.
 */
void hardness_fetch_ahead(const struct hardness *h, const uint32_t *ids, uint32_t count,
                          uint32_t next);

struct hardness_story hardness_story(const struct hardness *h, uint32_t id);

/** The score's quantile q (0..1) over the scored, to the bucket's precision (6 %); 0 if none. */
double hardness_quantile(const struct hardness *h, double q);

/** The mean score over the scored, to the buckets' precision; 0 if none. */
double hardness_mean(const struct hardness *h);

/**
 * The hardest n instances of those that are not set aside, hardest first, ties by id.
 * @param ids  room for n <= HARDNESS_HARDEST_MAX
 * @return how many there are. Exact as long as HARDNESS_SCAN_MAX ids need to be looked at; beyond
 *         that the list is a sample of the lowest bucket that it reaches.
 */
size_t hardness_hardest(const struct hardness *h, size_t n, uint32_t *ids);

#endif
