/* ragged.h - a ragged report worked through: each instance's loss, and which items are selected.
 *
 * An instance of a ragged report has any number of losses: those of its regions, anchors or pixels,
 * the items. From them follows one loss for the instance, which goes the way of every loss; the
 * selection is made among all items of the report, hard ones that overlap a harder one left out
 * first where that is asked for (OHEM: Shrivastava et al., CVPR 2016, section 4.3).
 *
 * ragged_work() reads nothing but what it is given: it may run on any thread.
 */
#ifndef OHEM_RAGGED_H
#define OHEM_RAGGED_H

#include "selection.h"

struct ragged {
    /* set before the work */
    struct selection_policy policy; /* not cdf: its percentiles are of instances */
    uint64_t step;                  /* of the batch */
    bool has_aside;
    uint8_t *aside; /* [K] 1: none of the instance's items is selected */
    /* what comes of it */
    uint32_t k, n;
    float *scores;              /* [K] the instance's loss; NaN: it has no item that counts */
    uint32_t *kept;             /* [K] how many of its items are selected */
    struct selection selection; /* among all n */
    /* memory */
    const float
        *items;      /* [n] the losses that count, the others no numbers: the report's or these */
    float *losses;   /* [n] */
    uint8_t *flags;  /* [n] */
    uint64_t *order; /* [MESSAGE_INSTANCE_BOXES_MAX], once there are boxes */
    size_t k_capacity, n_capacity;
};

void ragged_init(struct ragged *r);
void ragged_deinit(struct ragged *r);

/** Memory for this report. @return 0 or -OHEM_NOMEM: what was there stays */
int ragged_reserve(struct ragged *r, const struct message_loss *loss);

/**
 * Work through a report that items_check() passed; after ragged_reserve().
 *
 * An item counts if its loss is finite and it is not flagged as ignored. The instance's loss is the
 * largest of those that count, their mean, or the mean of its `top` largest (fewer if it has
 * fewer); in double arithmetic.
 *
 * With an iou, of each instance, from its hardest item down (of equals the first): an item that
 * is still there takes out all later ones of its class whose boxes overlap its own by more,
 * I > iou * (A + B - I), in double arithmetic; A and B are areas, I is that of the intersection, a
 * side that is turned or no number is 0. What is taken out is not selected; it counts for the
 * instance's loss all the same.
 */
void ragged_work(struct ragged *r, const struct message_loss *loss);

#endif
