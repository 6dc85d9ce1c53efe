/* quarantine_cut.c - where a histogram of scores falls into two heaps; see quarantine.h.
 *
 * Otsu's threshold (IEEE Trans. SMC 9, 1979) maximises the variance between the two classes. It
 * exists for any histogram, and for one normal heap explains 2/pi of the variance already: so a
 * valley is asked for as well.
 */
#include "quarantine.h"

#include <math.h>

#define EXPLAINED_MIN 0.6
#define VALLEY_MAX    0.8 /* of the lower of the two heights beside it, ... */
#define CHANCE        4   /* ... and so many deviations of that count below it */
#define SMOOTH        8   /* buckets: an octave */

/* Sums over buckets below a cut, or all: of 1, b and b^2. */
struct moments {
    double count, sum, squares;
};

static struct moments moments_of(const uint32_t *counts)
{
    struct moments m = {0};

    for (unsigned b = 0; b < PARTITION_BUCKETS; b++) {
        m.count += counts[b];
        m.sum += (double)counts[b] * b;
        m.squares += (double)counts[b] * b * b;
    }
    return m;
}

/* The cut that explains most: the first bucket above it. Of equal ones, as across a gap, the middle. */
static unsigned best_cut(const uint32_t *counts, struct moments all, double *out_between)
{
    struct moments below = {0};
    unsigned first = 0, last = 0;

    *out_between = 0;
    for (unsigned b = 0; b + 1 < PARTITION_BUCKETS; b++) {
        double above, distance, between;

        below.count += counts[b];
        below.sum += (double)counts[b] * b;
        above = all.count - below.count;
        if (!(below.count > 0) || !(above > 0))
            continue;
        distance = below.sum / below.count - (all.sum - below.sum) / above;
        between = below.count * above * distance * distance / all.count;
        if (between > *out_between) {
            *out_between = between;
            first = last = b + 1;
        } else if (first > 0 && last == b && counts[b] == 0) {
            last = b + 1; /* nothing lies between it and the best: as good */
        }
    }
    return (first + last) / 2;
}

/* A histogram's height at a bucket, over an octave. */
static double height(const uint32_t *counts, unsigned bucket)
{
    unsigned first = bucket > SMOOTH / 2 ? bucket - SMOOTH / 2 : 0;
    unsigned last = bucket + SMOOTH / 2 < PARTITION_BUCKETS ? bucket + SMOOTH / 2
                                                            : PARTITION_BUCKETS - 1;
    double sum = 0;

    for (unsigned b = first; b <= last; b++)
        sum += counts[b];
    return sum;
}

/* The highest point of first..end-1. */
static unsigned summit(const uint32_t *counts, unsigned first, unsigned end)
{
    unsigned best = first;

    for (unsigned b = first; b < end; b++)
        if (height(counts, b) > height(counts, best))
            best = b;
    return best;
}

static bool has_valley(const uint32_t *counts, unsigned cut)
{
    unsigned below = summit(counts, 0, cut), above = summit(counts, cut, PARTITION_BUCKETS);
    double lower = height(counts, below) < height(counts, above) ? height(counts, below)
                                                                 : height(counts, above);

    for (unsigned b = below; b <= above; b++)
        if (height(counts, b) < VALLEY_MAX * lower &&
            height(counts, b) < lower - CHANCE * sqrt(lower))
            return true;
    return false;
}

static double share_above(const uint32_t *counts, unsigned cut, double all)
{
    double above = 0;

    for (unsigned b = cut; b < PARTITION_BUCKETS; b++)
        above += counts[b];
    return above / all;
}

unsigned quarantine_find_cut(const uint32_t counts[PARTITION_BUCKETS], double cap,
                             double *out_explained)
{
    struct moments all = moments_of(counts);
    double between, total;
    unsigned cut;

    *out_explained = 0;
    if (all.count < QUARANTINE_EVIDENCE_MIN)
        return 0;
    cut = best_cut(counts, all, &between);
    total = all.squares - all.sum * all.sum / all.count;
    if (cut == 0 || !(total > 0))
        return 0;
    *out_explained = between / total;
    if (*out_explained < EXPLAINED_MIN || share_above(counts, cut, all.count) > cap ||
        !has_valley(counts, cut))
        return 0;
    return cut;
}
