/* quarantine_cut.c - where a histogram of scores falls into two heaps; see quarantine.h.
 *
 * Otsu's threshold (IEEE Trans. SMC 9, 1979) maximises the variance between the two classes. It
 * exists for any histogram, and explains 0.64 of a normal one's variance and 0.65 of an exponential
 * one's: so more is asked for, and a valley.
 *
 * Both numbers are from `make experiment-noise` (on images that were kept out). Over training, the
 * best cut explained 0.63 to 0.72 with clean labels, 0.75 to 0.82 with a tenth of them wrong, and
 * 0.81 to 0.86 with a fifth. The valley was at 0.47 to 0.6 of the lower heap in the middle of the
 * second, at 0.3 to 0.4 of the third, and with clean labels at 0.65 at the very end, where all that
 * can be is learnt by heart; before above 0.8. Otsu over the numbers of the buckets, that is over
 * the logarithms, came to lie between what is learnt by heart and all else: of its suspects 0.69
 * were wrong, of those of this one 0.94.
 */
#include "quarantine.h"

#include <math.h>

#define EXPLAINED_MIN 0.75
#define VALLEY_MAX    0.7 /* of the lower of the two heights beside it, ... */
#define CHANCE        5   /* ... and so many deviations of that count below it */
#define REACH         2   /* buckets on either side are counted with one */

/* Sums over buckets below a cut, or all: of 1, x and x^2, with x a bucket's middle. */
struct moments {
    double count, sum, squares;
};

static struct moments moments_of(const uint32_t *counts)
{
    struct moments m = {0};

    for (unsigned b = 0; b < PARTITION_BUCKETS; b++) {
        double x = partition_bucket_middle(b);

        m.count += counts[b];
        m.sum += counts[b] * x;
        m.squares += counts[b] * x * x;
    }
    return m;
}

/* The cut that explains most: the first bucket above it. Of equal ones, as across a gap, the
 * middle. */
static unsigned best_cut(const uint32_t *counts, struct moments all, double *out_between)
{
    struct moments below = {0};
    unsigned first = 0, last = 0;

    *out_between = 0;
    for (unsigned b = 0; b + 1 < PARTITION_BUCKETS; b++) {
        double above, distance, between;

        below.count += counts[b];
        below.sum += counts[b] * partition_bucket_middle(b);
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

/* A histogram's height at a bucket. What is too small for the buckets is in the first,
 * however much it is: it is not looked at. */
static double height(const uint32_t *counts, unsigned bucket)
{
    unsigned first = bucket > REACH ? bucket - REACH : 1;
    unsigned last = bucket + REACH < PARTITION_BUCKETS ? bucket + REACH : PARTITION_BUCKETS - 1;
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
