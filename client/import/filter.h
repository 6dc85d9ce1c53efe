/* filter.h - which instances of a source stay, and with what label: a plan made from its labels
 * alone.
 *
 * The source is read twice when a filter is set: labels first, then all of it along the plan. The
 * filters work in this order, each on what the one before left, and each with chance of its own, so
 * that setting one does not change what another chooses:
 *
 *   longtail F          class c keeps n_max * F^(-c/(C-1)) instances, c = its place among the C
 * classes by number, n_max = the largest class (Cui et al., CVPR 2019, as CIFAR-LT) positive CLASS
 * label 1 for CLASS, 0 for all others share P           of the positives only as many as make up P
 * of what is left; 0: all noise P             this share gets the label of another class, any with
 * equal chance
 *
 * Pure: no file, no clock. The same labels, filters and seed give the same plan.
 */
#ifndef IMPORT_FILTER_H
#define IMPORT_FILTER_H

#include "../../proto/reason.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FILTER_OFF          (-1) /* for `positive` */
#define FILTER_LONGTAIL_MAX 1e6

struct filter {
    double longtail;  /* 1..FILTER_LONGTAIL_MAX; 0: off */
    int32_t positive; /* a class, or FILTER_OFF */
    double share;     /* 0..1, below 1 */
    double noise;     /* 0..1; 0: off */
    uint64_t seed;
};

#define PLAN_DROPPED (-1)

/* Per instance of the source, in its order: */
struct plan {
    int32_t *read;  /* the label in the source */
    int32_t *label; /* the label to write, or PLAN_DROPPED */
    uint64_t count, capacity;
};

/** Is there anything to plan? */
bool filter_is_set(const struct filter *f);

/** Does it change labels, so that they must be in the record? */
bool filter_rewrites(const struct filter *f);

/** Add the next instance's label. @return 0 or -OHEM_NOMEM. */
int plan_add(struct plan *p, int32_t label, struct reason *why);

/** Decide. @return 0; -OHEM_DATASET when the labels do not allow what is asked, -OHEM_NOMEM. */
int plan_make(struct plan *p, const struct filter *f, struct reason *why);

/** The label before noise. */
int32_t plan_clean_label(const struct plan *p, const struct filter *f, uint64_t index);

void plan_deinit(struct plan *p);

#endif
