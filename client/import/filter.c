/* filter.c - which instances stay, and with what label; see filter.h.
 *
 * "Keep k of these n" is always selection sampling (Knuth, TAOCP 3.4.2, algorithm S): one pass,
 * exactly k, every subset with equal chance.
 */
#include "filter.h"

#include "reader.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#define CLASSES_MAX (READER_LABEL_MAX + 1)

enum purpose { PURPOSE_LONGTAIL = 1, PURPOSE_SHARE, PURPOSE_NOISE };

/* SplitMix64 (Steele et al., OOPSLA 2014). */
struct chance {
    uint64_t state;
};

static uint64_t chance_next(struct chance *c)
{
    uint64_t x = c->state += UINT64_C(0x9e3779b97f4a7c15);

    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* Streams of different purposes do not meet: their states are a mix apart. */
static struct chance chance_make(uint64_t seed, enum purpose purpose)
{
    struct chance mix = {seed ^ (uint64_t)purpose << 56};

    return (struct chance){chance_next(&mix)};
}

/* 0..n-1, n < 2^32; the bias is below 2^-32. */
static uint64_t chance_below(struct chance *c, uint64_t n)
{
    return ((chance_next(c) >> 32) * n) >> 32;
}

/* Selection sampling's step: is the present one of `*left` among the `*wanted`? */
static bool take_one(struct chance *c, uint64_t *wanted, uint64_t *left)
{
    bool taken = chance_below(c, (*left)--) < *wanted;

    *wanted -= taken;
    return taken;
}

bool filter_is_set(const struct filter *f)
{
    return f->longtail > 0 || filter_rewrites(f);
}

bool filter_rewrites(const struct filter *f)
{
    return f->positive != FILTER_OFF || f->noise > 0;
}

static int fail_memory(struct reason *why)
{
    reason_set(why, "out of memory for the labels of the source");
    return -OHEM_NOMEM;
}

static int grow(int32_t **array, uint64_t capacity)
{
    int32_t *grown = realloc(*array, capacity * sizeof *grown);

    if (grown == NULL)
        return -OHEM_NOMEM;
    *array = grown;
    return 0;
}

int plan_add(struct plan *p, int32_t label, struct reason *why)
{
    uint64_t capacity = p->capacity == 0 ? 4096 : p->capacity * 2;

    if (p->count == p->capacity) {
        if (grow(&p->read, capacity) != 0 || grow(&p->label, capacity) != 0)
            return fail_memory(why);
        p->capacity = capacity;
    }
    p->read[p->count] = label;
    p->label[p->count++] = label;
    return 0;
}

void plan_deinit(struct plan *p)
{
    free(p->read);
    free(p->label);
    *p = (struct plan){0};
}

int32_t plan_clean_label(const struct plan *p, const struct filter *f, uint64_t index)
{
    return f->positive == FILTER_OFF ? p->read[index] : p->read[index] == f->positive;
}

/* How many instances of each class are left, [CLASSES_MAX]; NULL without memory. */
static uint64_t *count_classes(const struct plan *p)
{
    uint64_t *counts = calloc(CLASSES_MAX, sizeof *counts);

    for (uint64_t i = 0; counts != NULL && i < p->count; i++)
        if (p->label[i] != PLAN_DROPPED)
            counts[p->label[i]]++;
    return counts;
}

static unsigned present_classes(const uint64_t *counts, uint64_t *out_max)
{
    unsigned present = 0;

    *out_max = 0;
    for (unsigned c = 0; c < CLASSES_MAX; c++) {
        present += counts[c] > 0;
        if (counts[c] > *out_max)
            *out_max = counts[c];
    }
    return present;
}

/* At least one of each class stays. The small term undoes rounding below a whole number. */
static void set_quotas(const uint64_t *counts, double factor, uint64_t *wanted)
{
    uint64_t largest;
    unsigned classes = present_classes(counts, &largest), place = 0;

    for (unsigned c = 0; c < CLASSES_MAX; c++) {
        double quota;

        if (counts[c] == 0)
            continue;
        quota = (double)largest * pow(factor, classes > 1 ? -(double)place / (classes - 1) : 0);
        wanted[c] = quota < 1 ? 1 : (uint64_t)(quota + 1e-6);
        if (wanted[c] > counts[c])
            wanted[c] = counts[c];
        place++;
    }
}

static int apply_longtail(struct plan *p, const struct filter *f, struct reason *why)
{
    struct chance chance = chance_make(f->seed, PURPOSE_LONGTAIL);
    uint64_t *left = count_classes(p);
    uint64_t *wanted = calloc(CLASSES_MAX, sizeof *wanted);
    int rc = left != NULL && wanted != NULL ? 0 : fail_memory(why);

    if (rc == 0)
        set_quotas(left, f->longtail, wanted);
    for (uint64_t i = 0; rc == 0 && i < p->count; i++)
        if (!take_one(&chance, &wanted[p->label[i]], &left[p->label[i]]))
            p->label[i] = PLAN_DROPPED;
    free(left);
    free(wanted);
    return rc;
}

static int check_positives(const struct filter *f, uint64_t positives, uint64_t negatives,
                           uint64_t wanted, struct reason *why)
{
    if (positives == 0) {
        reason_set(why, "--positive %d: no instance has this label", f->positive);
        return -OHEM_DATASET;
    }
    if (wanted <= positives && wanted > 0)
        return 0;
    reason_set(why,
               "--share %g: needs %" PRIu64 " positives beside %" PRIu64
               " negatives; there are %" PRIu64 " (a share of %.6f), and one at least must stay",
               f->share, wanted, negatives, positives,
               (double)positives / (double)(positives + negatives));
    return -OHEM_DATASET;
}

static int apply_positive(struct plan *p, const struct filter *f, struct reason *why)
{
    struct chance chance = chance_make(f->seed, PURPOSE_SHARE);
    uint64_t positives = 0, negatives = 0, wanted;
    int rc;

    for (uint64_t i = 0; i < p->count; i++) {
        if (p->label[i] == PLAN_DROPPED)
            continue;
        p->label[i] = p->label[i] == f->positive;
        positives += p->label[i] == 1;
        negatives += p->label[i] == 0;
    }
    wanted =
        f->share > 0 ? (uint64_t)llround(f->share / (1 - f->share) * (double)negatives) : positives;
    rc = check_positives(f, positives, negatives, wanted, why);
    for (uint64_t i = 0; rc == 0 && i < p->count; i++)
        if (p->label[i] == 1 && !take_one(&chance, &wanted, &positives))
            p->label[i] = PLAN_DROPPED;
    return rc;
}

/* The labels in use, ascending, into classes[]; places[] is the way back. */
static unsigned list_classes(const uint64_t *counts, int32_t *classes, unsigned *places,
                             uint64_t *out_total)
{
    unsigned used = 0;

    *out_total = 0;
    for (int32_t c = 0; c < CLASSES_MAX; c++) {
        if (counts[c] == 0)
            continue;
        *out_total += counts[c];
        places[c] = used;
        classes[used++] = c;
    }
    return used;
}

struct flip {
    int32_t classes[CLASSES_MAX];
    unsigned places[CLASSES_MAX];
};

static int flip_labels(struct plan *p, const struct filter *f, const uint64_t *counts,
                       struct flip *flip, struct reason *why)
{
    struct chance chance = chance_make(f->seed, PURPOSE_NOISE);
    uint64_t left, wanted;
    unsigned used = list_classes(counts, flip->classes, flip->places, &left);

    if (used < 2) {
        reason_set(why, "--noise %g: there is one class only, so no other label", f->noise);
        return -OHEM_DATASET;
    }
    wanted = (uint64_t)llround(f->noise * (double)left);
    for (uint64_t i = 0; i < p->count; i++) {
        unsigned other;

        if (p->label[i] == PLAN_DROPPED || !take_one(&chance, &wanted, &left))
            continue;
        other = (unsigned)chance_below(&chance, used - 1);
        other += other >= flip->places[p->label[i]];
        p->label[i] = flip->classes[other];
    }
    return 0;
}

static int apply_noise(struct plan *p, const struct filter *f, struct reason *why)
{
    uint64_t *counts = count_classes(p);
    struct flip *flip = calloc(1, sizeof *flip);
    int rc =
        counts != NULL && flip != NULL ? flip_labels(p, f, counts, flip, why) : fail_memory(why);

    free(counts);
    free(flip);
    return rc;
}

int plan_make(struct plan *p, const struct filter *f, struct reason *why)
{
    int rc = 0;

    if (f->longtail > 0)
        rc = apply_longtail(p, f, why);
    if (rc == 0 && f->positive != FILTER_OFF)
        rc = apply_positive(p, f, why);
    if (rc == 0 && f->noise > 0)
        rc = apply_noise(p, f, why);
    return rc;
}
