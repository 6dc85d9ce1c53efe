/* hardness.c - how hard each instance has lately been; see hardness.h.
 *
 * Knows the arithmetic of a score and keeps the partition in step with it. Knows no sampling rule.
 */
#include "hardness.h"

#include "../../proto/error.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

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
        partition_deinit(&h->partition);
        return -OHEM_NOMEM;
    }
    return 0;
}

void hardness_deinit(struct hardness *h)
{
    free(h->entries);
    partition_deinit(&h->partition);
    *h = (struct hardness){0};
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

void hardness_report(struct hardness *h, uint32_t id, float loss, uint64_t step)
{
    struct hardness_entry *e = &h->entries[id];
    float counted = loss > 0 ? loss : 0;
    unsigned before;

    assert(id < h->n && isfinite(loss));
    if (e->visits == 0) {
        e->score = counted;
        partition_insert(&h->partition, id, partition_bucket_of(counted));
    } else {
        before = partition_bucket_of(e->score);
        roll(e, h->lambda, counted);
        partition_move(&h->partition, id, before, partition_bucket_of(e->score));
    }
    e->last_loss = loss;
    e->last_step = (uint32_t)step;
    if (e->visits < HARDNESS_VISITS_MAX)
        e->visits++;
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

    if (e->visits > 0)
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
    double rank = q * h->partition.count, below = 0;

    for (unsigned b = 0; b < PARTITION_BUCKETS; b++) {
        double count = h->partition.buckets[b].count;

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
        sum += h->partition.buckets[b].count * partition_bucket_middle(b);
    return h->partition.count > 0 ? sum / h->partition.count : 0;
}

/* Is instance a less hard than b? Ties: the larger id is. */
static bool less_hard(const struct hardness *h, uint32_t a, uint32_t b)
{
    float x = h->entries[a].score, y = h->entries[b].score;

    return x != y ? x < y : a > b;
}

/* ids[0..count) is a heap with the least hard on top; let the one at i sink to its place. */
static void sift_down(const struct hardness *h, uint32_t *ids, size_t count, size_t i)
{
    for (;;) {
        size_t child = 2 * i + 1;
        uint32_t id;

        if (child >= count)
            return;
        if (child + 1 < count && less_hard(h, ids[child + 1], ids[child]))
            child++;
        if (!less_hard(h, ids[child], ids[i]))
            return;
        id = ids[i];
        ids[i] = ids[child];
        ids[child] = id;
        i = child;
    }
}

static void heap_offer(const struct hardness *h, uint32_t *ids, size_t *count, size_t n,
                       uint32_t id)
{
    if (*count < n) {
        ids[(*count)++] = id;
        if (*count == n)
            for (size_t i = n / 2; i-- > 0;)
                sift_down(h, ids, n, i);
    } else if (less_hard(h, ids[0], id)) {
        ids[0] = id;
        sift_down(h, ids, n, 0);
    }
}

/* From a heap, or from any order when it never filled, to hardest first. */
static void heap_sort(const struct hardness *h, uint32_t *ids, size_t count)
{
    for (size_t i = count / 2; i-- > 0;)
        sift_down(h, ids, count, i);
    for (size_t end = count; end > 1; end--) {
        uint32_t least = ids[0];

        ids[0] = ids[end - 1];
        ids[end - 1] = least;
        sift_down(h, ids, end - 1, 0);
    }
}

size_t hardness_hardest(const struct hardness *h, size_t n, uint32_t *ids)
{
    size_t count = 0, scanned = 0;

    assert(n <= HARDNESS_HARDEST_MAX);
    /* from the hardest bucket down; once n are found, the buckets below cannot matter */
    for (unsigned b = PARTITION_BUCKETS; b-- > 0 && count < n && scanned < HARDNESS_SCAN_MAX;)
        for (uint32_t i = 0; i < h->partition.buckets[b].count; i++) {
            if (scanned++ >= HARDNESS_SCAN_MAX)
                break;
            heap_offer(h, ids, &count, n, partition_at(&h->partition, b, i));
        }
    heap_sort(h, ids, count);
    return count;
}
