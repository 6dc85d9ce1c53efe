/* hardness.c - how hard each instance has lately been; see hardness.h.
 *
 * Knows the arithmetic of a score and keeps the partition in step with it. Knows no sampling rule.
 */
#include "hardness.h"

#include "../../proto/error.h"
#include "memory.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define VARIANCE_MAX 0x7f00 /* the packed form of 2^127 */

/* How many reports ahead memory is fetched: the cell when the entry has arrived. */
#define FETCH_ENTRY_AHEAD 16u
#define FETCH_CELL_AHEAD  8u

/* gcc 12 takes a function that only prefetches for one without effect, and leaves its call out. */
#define FETCH static inline __attribute__((always_inline))

int hardness_init(struct hardness *h, uint32_t n, float lambda)
{
    int rc;

    *h = (struct hardness){.n = n, .lambda = lambda};
    rc = partition_init(&h->partition, n);
    if (rc != 0)
        return rc;
    h->entries = calloc(n, sizeof *h->entries);
    if (h->entries == NULL) {
        hardness_deinit(h);
        return -OHEM_NOMEM;
    }
    memory_take_large(h->entries, n * sizeof *h->entries);
    return 0;
}

int hardness_init_ordered(struct hardness *h, uint32_t n, float lambda)
{
    int rc = hardness_init(h, n, lambda);

    if (rc != 0)
        return rc;
    h->ordered = calloc(1, sizeof *h->ordered);
    rc = h->ordered != NULL ? ordered_init(h->ordered, n) : -OHEM_NOMEM;
    if (rc != 0)
        hardness_deinit(h);
    return rc;
}

void hardness_deinit(struct hardness *h)
{
    if (h->ordered != NULL)
        ordered_deinit(h->ordered);
    free(h->ordered);
    free(h->entries);
    partition_deinit(&h->partition);
    *h = (struct hardness){0};
}

int hardness_grow(struct hardness *h, uint32_t n)
{
    struct hardness larger;
    int rc;

    assert(n >= h->n);
    if (h->ordered != NULL)
        rc = hardness_init_ordered(&larger, n, h->lambda);
    else
        rc = hardness_init(&larger, n, h->lambda);
    if (rc != 0)
        return rc;
    memcpy(larger.entries, h->entries, h->n * sizeof *h->entries);
    memcpy(larger.aside, h->aside, sizeof h->aside);
    larger.aside_count = h->aside_count;
    partition_copy(&larger.partition, &h->partition);
    if (h->ordered != NULL)
        ordered_copy(larger.ordered, h->ordered);
    hardness_deinit(h);
    *h = larger;
    return 0;
}

/* A float's upper 16 bits, rounded to nearest, ties to even: 8 significant bits. x >= 0, finite. */
static uint16_t pack_variance(float x)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof bits);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static float unpack_variance(uint16_t packed)
{
    uint32_t bits = (uint32_t)packed << 16;
    float x;

    memcpy(&x, &bits, sizeof x);
    return x;
}

/* The square of a distance may leave the range; times a lambda of 1 it is then no number. */
static float clamp_variance(float x)
{
    if (isnan(x))
        return 0;
    return x < 0x1p127f ? x : 0x1p127f;
}

/* The rolling score and variance of an instance that was seen before. */
static void roll(struct hardness_entry *e, float lambda, float loss)
{
    float distance = loss - e->score;
    float variance = (1 - lambda) * (unpack_variance(e->variance) + lambda * (distance * distance));

    e->variance = pack_variance(clamp_variance(variance));
    e->score = e->score + lambda * distance;
}

static inline void update(struct hardness_entry *e, float lambda, float loss, uint64_t step)
{
    float counted = loss > 0 ? loss : 0;

    if (e->visits == 0)
        e->score = counted;
    else
        roll(e, lambda, counted);
    e->last_loss = loss;
    e->last_step = (uint32_t)step;
    if (e->visits < HARDNESS_VISITS_MAX)
        e->visits++;
}

void hardness_apply(struct hardness *h, uint32_t id, float loss, uint64_t step)
{
    assert(id < h->n && isfinite(loss));
    update(&h->entries[id], h->lambda, loss, step);
}

/* An id that was in no bucket. */
static void insert(struct hardness *h, uint32_t id, unsigned bucket)
{
    partition_insert(&h->partition, id, bucket);
    if (h->ordered != NULL)
        ordered_insert(h->ordered, id, bucket);
}

static void move(struct hardness *h, uint32_t id, unsigned from, unsigned to)
{
    if (hardness_is_aside(h, id)) {
        h->aside[from]--;
        h->aside[to]++;
        return;
    }
    partition_move(&h->partition, id, from, to);
    if (h->ordered != NULL)
        ordered_move(h->ordered, id, from, to);
}

void hardness_report(struct hardness *h, uint32_t id, float loss, uint64_t step)
{
    struct hardness_entry *e = &h->entries[id];
    bool scored = e->visits > 0;
    unsigned before = partition_bucket_of(e->score);

    assert(id < h->n && isfinite(loss));
    update(e, h->lambda, loss, step);
    if (scored)
        move(h, id, before, partition_bucket_of(e->score));
    else
        insert(h, id, partition_bucket_of(e->score));
}

void hardness_set_aside(struct hardness *h, uint32_t id)
{
    unsigned bucket = partition_bucket_of(h->entries[id].score);

    assert(h->entries[id].visits > 0 && !hardness_is_aside(h, id));
    partition_remove(&h->partition, id, bucket);
    if (h->ordered != NULL)
        ordered_remove(h->ordered, id, bucket);
    h->aside[bucket]++;
    h->aside_count++;
}

void hardness_take_back(struct hardness *h, uint32_t id)
{
    unsigned bucket = partition_bucket_of(h->entries[id].score);

    assert(hardness_is_aside(h, id));
    h->aside[bucket]--;
    h->aside_count--;
    insert(h, id, bucket);
}

/* No NaN, no infinity, not negative (nor -0): what is larger has an exponent or a sign too many. */
static bool is_score(float x)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof bits);
    return bits < UINT32_C(0x7f800000);
}

static bool is_sound(const struct hardness_entry *e)
{
    if (e->visits == 0)
        return e->score == 0 && e->last_loss == 0 && e->last_step == 0 && e->variance == 0;
    return is_score(e->score) && isfinite(e->last_loss) && e->variance <= VARIANCE_MAX;
}

bool hardness_sound(const struct hardness_entry *entries, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (!is_sound(&entries[i]))
            return false;
    return true;
}

int hardness_rebuild(struct hardness *h)
{
    if (!hardness_sound(h->entries, h->n))
        return -OHEM_STATE;
    partition_clear(&h->partition);
    if (h->ordered != NULL)
        ordered_clear(h->ordered);
    memset(h->aside, 0, sizeof h->aside);
    h->aside_count = 0;
    for (uint32_t id = 0; id < h->n; id++)
        if (h->entries[id].visits > 0)
            insert(h, id, partition_bucket_of(h->entries[id].score));
    return 0;
}

void hardness_adopt(struct hardness *h, const struct hardness *from, float factor)
{
    assert(h->n == from->n && hardness_scored(h) == 0);
    for (uint32_t id = 0; id < h->n; id++) {
        const struct hardness_entry *other = &from->entries[id];
        float variance = unpack_variance(other->variance) * (factor * factor);

        if (other->visits == 0)
            continue;
        h->entries[id] = (struct hardness_entry){.score = other->score * factor,
                                                 .last_loss = other->last_loss,
                                                 .visits = 1,
                                                 .variance = pack_variance(variance)};
        insert(h, id, partition_bucket_of(h->entries[id].score));
    }
}

/* Its memory and its place in a bag. */
FETCH void fetch_entry(const struct hardness *h, uint32_t id)
{
    __builtin_prefetch(&h->entries[id], 1);
    __builtin_prefetch(&h->partition.place[id], 1);
}

/* Its cell in the bag, which those two tell. */
FETCH void fetch_cell(const struct hardness *h, uint32_t id)
{
    const struct hardness_entry *e = &h->entries[id];

    if (e->visits > 0 && partition_has(&h->partition, id))
        __builtin_prefetch(
            partition_cell(&h->partition, partition_bucket_of(e->score), h->partition.place[id]),
            1);
}

void hardness_fetch_ahead(const struct hardness *h, const uint32_t *ids, uint32_t count,
                          uint32_t next)
{
    if (next == 0) { /* nothing was fetched yet */
        for (uint32_t i = 0; i < FETCH_ENTRY_AHEAD && i < count; i++)
            fetch_entry(h, ids[i]);
        return;
    }
    if (next + FETCH_ENTRY_AHEAD <= count)
        fetch_entry(h, ids[next + FETCH_ENTRY_AHEAD - 1]);
    if (next + FETCH_CELL_AHEAD <= count)
        fetch_cell(h, ids[next + FETCH_CELL_AHEAD - 1]);
}

struct hardness_story hardness_story(const struct hardness *h, uint32_t id)
{
    const struct hardness_entry *e = &h->entries[id];

    return (struct hardness_story){
        .scored = e->visits > 0,
        .score = e->score,
        .last_loss = e->last_loss,
        .variance = unpack_variance(e->variance),
        .visits = e->visits,
        .last_step = e->last_step,
    };
}

double hardness_quantile(const struct hardness *h, double q)
{
    double rank = q * hardness_scored(h), below = 0;

    for (unsigned b = 0; b < PARTITION_BUCKETS; b++) {
        double count = hardness_members(h, b);

        if (count > 0 && below + count >= rank) {
            double floor = partition_bucket_floor(b), ceiling = partition_bucket_floor(b + 1);
            double within = (rank - below) / count;

            return floor + (within > 0 ? within : 0) * (ceiling - floor);
        }
        below += count;
    }
    return 0;
}

double hardness_mean(const struct hardness *h)
{
    double sum = 0;

    for (unsigned b = 0; b < PARTITION_BUCKETS; b++)
        sum += hardness_members(h, b) * partition_bucket_middle(b);
    return hardness_scored(h) > 0 ? sum / hardness_scored(h) : 0;
}
